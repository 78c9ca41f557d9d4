package encryptionkey

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

// errStoreNotReady says that this process has not opened the key store yet. The
// key is left as it is: another process may be using the store all the while.
var errStoreNotReady = errors.New("key store is not open in this process yet")

// storeFacts is what resolveStore found out. The zero value is an available
// store.
type storeFacts struct {
	reason  string
	message string
}

func (f storeFacts) available() bool { return f.reason == "" }

// resolveStore finds out whether the key store of the key can be used. Without
// it nothing can be said about material, so nothing else happens.
func (r *Reconciler) resolveStore(ctx context.Context, s *scope) (bool, error) {
	name := s.key.Spec.KeyStoreRef.Name
	var store keywrightv1alpha1.KeyStore
	err := r.Client.Get(ctx, client.ObjectKey{Name: name}, &store)
	switch {
	case apierrors.IsNotFound(err) && name == keywrightv1alpha1.DefaultKeyStoreName:
		// It is being made.
		return false, errStoreNotReady
	case apierrors.IsNotFound(err):
		s.store.reason = keywrightv1alpha1.EncryptionKeyKeyStoreNotFoundReason
		s.store.message = fmt.Sprintf("There is no KeyStore %q; kubectl get keystores lists those that exist", name)
		return false, nil
	case err != nil:
		return false, fmt.Errorf("get KeyStore %s: %w", name, err)
	}
	if r.Root.Ready() == nil {
		return true, nil
	}
	condition := meta.FindStatusCondition(store.Status.Conditions, keywrightv1alpha1.KeyStoreRootKeyAvailableCondition)
	if condition == nil || condition.Status != metav1.ConditionFalse {
		return false, errStoreNotReady
	}
	s.store.reason = keywrightv1alpha1.EncryptionKeyRootKeyUnavailableReason
	s.store.message = fmt.Sprintf("The root key of KeyStore %q cannot be opened: %s", name, condition.Message)
	return false, nil
}
