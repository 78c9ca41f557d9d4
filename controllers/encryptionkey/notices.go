package encryptionkey

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
)

// notice is something to tell about a key once the status that says it is written.
type notice struct {
	eventType string
	reason    string
	action    string
	note      string
}

func keyCreated(id keystore.KeyID) notice {
	return notice{corev1.EventTypeNormal, keywrightv1alpha1.KeyCreatedEventReason, "Create",
		fmt.Sprintf("Stored version 1 of key %s", id)}
}

func keyRotated(m keystore.Metadata) notice {
	why := "as scheduled"
	if m.Origin == keywrightv1alpha1.OnDemandRotationVersionOrigin {
		why = "on request"
	}
	return notice{corev1.EventTypeNormal, keywrightv1alpha1.KeyRotatedEventReason, "Rotate",
		fmt.Sprintf("Stored version %d %s; it encrypts from now on, and earlier versions keep decrypting", m.ID.Version, why)}
}

func keyRecovered(id keystore.KeyID, latest uint32) notice {
	return notice{corev1.EventTypeNormal, keywrightv1alpha1.KeyRecoveredEventReason, "Recover",
		fmt.Sprintf("Found the material of key %s, versions 1 to %d, from before the resource was deleted", id, latest)}
}

func stateChanged(from, to keywrightv1alpha1.KeyState) (notice, bool) {
	switch {
	case to == keywrightv1alpha1.DisabledKeyState:
		return notice{corev1.EventTypeNormal, keywrightv1alpha1.KeyDisabledEventReason, "Disable",
			"The key is disabled; every crypto operation with it is refused"}, true
	case from == keywrightv1alpha1.DisabledKeyState && to == keywrightv1alpha1.EnabledKeyState:
		return notice{corev1.EventTypeNormal, keywrightv1alpha1.KeyEnabledEventReason, "Enable",
			"The key is enabled"}, true
	default:
		return notice{}, false
	}
}

func warning(reason, message string) notice {
	return notice{corev1.EventTypeWarning, reason, "Reconcile", message}
}
