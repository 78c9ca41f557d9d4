package encryptionkey

import (
	"context"
	"errors"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

// KeyStoreField is the index of EncryptionKeys by the name of their KeyStore.
const KeyStoreField = "spec.keyStoreRef.name"

// KeyStoreOf is the extractor of KeyStoreField.
func KeyStoreOf(o client.Object) []string {
	return []string{o.(*keywrightv1alpha1.EncryptionKey).Spec.KeyStoreRef.Name}
}

// SetupWithManager registers the controller. workers is how many keys are
// reconciled at once.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager, workers int) error {
	if r.Client == nil || r.Live == nil || r.Store == nil || r.Root == nil || r.Namespace == "" || r.Clock == nil || r.Recorder == nil {
		return errors.New("encryptionkey.Reconciler: every field is required")
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("encryptionkey").
		For(&keywrightv1alpha1.EncryptionKey{}, builder.WithPredicates(
			// Annotations carry the identity: one that somebody took away comes back.
			predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, statusWipedPredicate()),
		)).
		Watches(&corev1.Secret{}, handler.EnqueueRequestsFromMapFunc(ownerOfMaterial)).
		Watches(&keywrightv1alpha1.KeyStore{}, handler.EnqueueRequestsFromMapFunc(r.keysOfStore), builder.WithPredicates(storeChangedPredicate())).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(reconcile.Func(r.Reconcile))
}

// statusWipedPredicate lets a key through whose status was taken away, as a
// restore does, and not the status that the controller has just written.
func statusWipedPredicate() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(o client.Object) bool {
		key, ok := o.(*keywrightv1alpha1.EncryptionKey)
		return ok && len(key.Status.Conditions) == 0
	})
}

// storeChangedPredicate lets a KeyStore through when what keys need of it may
// have changed, and not when it has counted its keys.
func storeChangedPredicate() predicate.Predicate {
	rootKey := func(o client.Object) *metav1.Condition {
		store, ok := o.(*keywrightv1alpha1.KeyStore)
		if !ok {
			return nil
		}
		return meta.FindStatusCondition(store.Status.Conditions, keywrightv1alpha1.KeyStoreRootKeyAvailableCondition)
	}
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		return !equality.Semantic.DeepEqual(rootKey(e.ObjectOld), rootKey(e.ObjectNew))
	}}
}

// ownerOfMaterial maps a material Secret to its key by the annotation, which is
// only a hint: the reconcile goes by what is sealed.
func ownerOfMaterial(_ context.Context, o client.Object) []reconcile.Request {
	namespace, name, ok := strings.Cut(o.GetAnnotations()[keywrightv1alpha1.OwnerAnnotation], "/")
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: name}}}
}

// keysOfStore maps a KeyStore to its keys.
func (r *Reconciler) keysOfStore(ctx context.Context, o client.Object) []reconcile.Request {
	var keys keywrightv1alpha1.EncryptionKeyList
	if err := r.Client.List(ctx, &keys, client.MatchingFields{KeyStoreField: o.GetName()}, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Listing the keys of a KeyStore", "KeyStore", o.GetName())
		return nil
	}
	var requests []reconcile.Request
	for i := range keys.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&keys.Items[i])})
	}
	return requests
}
