package encryptionkey

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

// writeStatus derives the status from the facts and writes it if it changed,
// then tells the events. It is the only writer of status.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope, complete bool) error {
	status := s.key.Status.DeepCopy()
	deriveStatus(status, s, complete)
	changed := !equality.Semantic.DeepEqual(status, &s.before.Status)
	if changed {
		patched := s.key.DeepCopy()
		patched.Status = *status
		base := s.key.DeepCopy()
		base.Status = s.before.Status
		// A merge patch replaces the whole list of conditions, hence the lock.
		if err := r.Client.Status().Patch(ctx, patched, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
			return fmt.Errorf("patch status: %w", err)
		}
	}
	for _, e := range append(s.notices, transitions(&s.before.Status, status)...) {
		r.Recorder.Eventf(s.key, nil, e.eventType, e.reason, e.action, "%s", e.note)
	}
	return nil
}

// transitions returns the events that a change of status is worth.
func transitions(before, after *keywrightv1alpha1.EncryptionKeyStatus) []notice {
	var told []notice
	if before.State != after.State {
		if e, ok := stateChanged(before.State, after.State); ok {
			told = append(told, e)
		}
	}
	was := meta.FindStatusCondition(before.Conditions, keywrightv1alpha1.EncryptionKeyReadyCondition)
	is := meta.FindStatusCondition(after.Conditions, keywrightv1alpha1.EncryptionKeyReadyCondition)
	if is != nil && is.Status == metav1.ConditionFalse && is.Reason != keywrightv1alpha1.EncryptionKeyDisabledReason &&
		(was == nil || was.Status != is.Status || was.Reason != is.Reason) {
		told = append(told, warning(is.Reason, is.Message))
	}
	return told
}

// deriveStatus turns facts into status. It is pure. complete says that every
// step ran without an error.
func deriveStatus(status *keywrightv1alpha1.EncryptionKeyStatus, s *scope, complete bool) {
	setCondition(status, s, storeCondition(s))
	setCondition(status, s, materialCondition(s))
	setCondition(status, s, rotationCondition(s))
	setCondition(status, s, readyCondition(status, s))
	status.State = state(status, s)
	if complete {
		status.ObservedGeneration = s.key.Generation
	}
	if !s.material.taken {
		// Nothing is known about material; what was known stands.
		return
	}
	versions := s.material.newest()
	status.Versions = nil
	for _, m := range versions[:min(len(versions), keywrightv1alpha1.MaxStatusVersions)] {
		status.Versions = append(status.Versions, keywrightv1alpha1.KeyVersion{
			Version:   int32(m.ID.Version), //nolint:gosec // bounded by the annotation's parser
			CreatedAt: *toTime(m.CreatedAt),
			Origin:    m.Origin,
		})
	}
	if s.material.promised > 0 {
		status.KeyID = s.identity.id.String()
	}
	status.CurrentVersion, status.LastRotationTime, status.NextRotationTime = 0, nil, nil
	if current, ok := s.material.current(); ok {
		status.CurrentVersion = int32(current.ID.Version) //nolint:gosec // as above
		if current.ID.Version > 1 {
			status.LastRotationTime = toTime(current.CreatedAt)
		}
	}
	if !s.rotation.Next.IsZero() {
		status.NextRotationTime = toTime(s.rotation.Next)
	}
}

// toTime cuts a time to the precision of the API, so that what is read back
// equals what was written.
func toTime(t time.Time) *metav1.Time {
	cut := metav1.NewTime(t.Truncate(time.Second))
	return &cut
}

// setCondition sets a condition with the generation that it tells of, and with
// the reconcile's idea of now.
func setCondition(status *keywrightv1alpha1.EncryptionKeyStatus, s *scope, c metav1.Condition) {
	c.ObservedGeneration = s.key.Generation
	c.LastTransitionTime = *toTime(s.now)
	const maxMessage = 32768
	c.Message = c.Message[:min(len(c.Message), maxMessage)]
	meta.SetStatusCondition(&status.Conditions, c)
}

func storeCondition(s *scope) metav1.Condition {
	c := metav1.Condition{Type: keywrightv1alpha1.EncryptionKeyKeyStoreAvailableCondition}
	if s.store.available() {
		c.Status, c.Reason = metav1.ConditionTrue, keywrightv1alpha1.EncryptionKeyKeyStoreAvailableReason
		c.Message = fmt.Sprintf("KeyStore %q can be used", s.key.Spec.KeyStoreRef.Name)
		return c
	}
	c.Status, c.Reason, c.Message = metav1.ConditionFalse, s.store.reason, s.store.message
	return c
}

func materialCondition(s *scope) metav1.Condition {
	c := metav1.Condition{Type: keywrightv1alpha1.EncryptionKeyMaterialAvailableCondition, Status: metav1.ConditionFalse}
	f := &s.material
	missing := f.missing()
	switch {
	case s.identity.invalid != "":
		c.Reason, c.Message = keywrightv1alpha1.EncryptionKeyInvalidKeyIDReason, s.identity.invalid
	case !s.store.available():
		c.Status, c.Reason = metav1.ConditionUnknown, s.store.reason
		c.Message = "Material cannot be looked at without the key store"
	case !f.taken || f.promised == 0:
		c.Reason, c.Message = keywrightv1alpha1.EncryptionKeyMaterialNotCreatedReason, "The first version is not stored yet"
	case len(f.bad) > 0:
		versions := slices.Sorted(maps.Keys(f.bad))
		var spans []span
		for _, v := range versions {
			spans = append(spans, span{v, v})
		}
		c.Reason = keywrightv1alpha1.EncryptionKeyMaterialCorruptReason
		c.Message = fmt.Sprintf("Material of key %s, version %s, does not open: %v; other versions keep working; restore the Secret from a backup",
			s.identity.id, list(spans), f.bad[versions[0]])
	case len(missing) > 0 && len(f.versions) > 0 && missing[len(missing)-1].last == f.promised:
		c.Reason = keywrightv1alpha1.EncryptionKeyVersionGapReason
		c.Message = fmt.Sprintf("Material of key %s, version %s, is missing, up to the latest that was promised; nothing is made over it; restore the Secrets kw-%s-v<version> in Keywright's namespace from a newer backup",
			s.identity.id, list(missing), s.identity.id)
	case len(missing) > 0:
		c.Reason = keywrightv1alpha1.EncryptionKeyMaterialMissingReason
		c.Message = fmt.Sprintf("Material of key %s, version %s, is missing for %s/%s; nothing is made in its place; restore the Secrets kw-%s-v<version> in Keywright's namespace from a backup, or delete this resource and its annotations to make another key",
			s.identity.id, list(missing), s.key.Namespace, s.key.Name, s.identity.id)
	default:
		c.Status, c.Reason = metav1.ConditionTrue, keywrightv1alpha1.EncryptionKeyMaterialAvailableReason
		c.Message = fmt.Sprintf("Every version from 1 to %d is stored and opens", f.promised)
	}
	return c
}

func rotationCondition(s *scope) metav1.Condition {
	c := metav1.Condition{Type: keywrightv1alpha1.EncryptionKeyRotationUpToDateCondition, Status: metav1.ConditionTrue}
	switch {
	case s.rotation.Invalid:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, s.rotation.Reason, s.rotation.Message
	case s.rotation.Due && !s.material.complete():
		c.Status, c.Reason = metav1.ConditionFalse, keywrightv1alpha1.EncryptionKeyRotationBlockedReason
		c.Message = "A rotation is due and waits until all material is available"
	case s.rotation.Reason == "":
		c.Status, c.Reason = metav1.ConditionUnknown, keywrightv1alpha1.EncryptionKeyRotationBlockedReason
		c.Message = "Rotation cannot be decided while the current version is not available"
	default:
		c.Reason, c.Message = s.rotation.Reason, s.rotation.Message
	}
	return c
}

// readyCondition is the summary: the first of the others that is not True, or
// that the key is disabled.
func readyCondition(status *keywrightv1alpha1.EncryptionKeyStatus, s *scope) metav1.Condition {
	c := metav1.Condition{Type: keywrightv1alpha1.EncryptionKeyReadyCondition, Status: metav1.ConditionFalse}
	for _, conditionType := range []string{
		keywrightv1alpha1.EncryptionKeyKeyStoreAvailableCondition,
		keywrightv1alpha1.EncryptionKeyMaterialAvailableCondition,
		keywrightv1alpha1.EncryptionKeyRotationUpToDateCondition,
	} {
		if part := meta.FindStatusCondition(status.Conditions, conditionType); part.Status != metav1.ConditionTrue {
			c.Reason, c.Message = part.Reason, part.Message
			return c
		}
	}
	if !s.key.IsEnabled() {
		c.Reason = keywrightv1alpha1.EncryptionKeyDisabledReason
		c.Message = "The key is disabled; set spec.enabled: true to use it"
		return c
	}
	c.Status, c.Reason = metav1.ConditionTrue, keywrightv1alpha1.EncryptionKeyReadyReason
	c.Message = fmt.Sprintf("Version %d encrypts", s.material.promised)
	return c
}

// state is what servers make of the key, in one word.
func state(status *keywrightv1alpha1.EncryptionKeyStatus, s *scope) keywrightv1alpha1.KeyState {
	_, current := s.material.current()
	switch {
	case !s.store.available() && status.State != "":
		// A key store that is away changes no key's state.
		return status.State
	case !s.key.IsEnabled() && s.material.promised > 0:
		return keywrightv1alpha1.DisabledKeyState
	case current:
		return keywrightv1alpha1.EnabledKeyState
	case s.identity.invalid != "" || s.material.promised > 0:
		return keywrightv1alpha1.UnavailableKeyState
	default:
		return keywrightv1alpha1.CreatingKeyState
	}
}
