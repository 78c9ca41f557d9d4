// Package keystore keeps KeyStores: it makes the one named default, opens its
// root key, and says in status whether the store can be used.
package keystore

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/controllers/encryptionkey"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/rootkey"
)

const (
	// checkInterval is how often a store is checked by a round trip.
	checkInterval = time.Minute
	// retryInterval is how often a store that cannot be used is tried again.
	retryInterval = 5 * time.Second
)

// Reconciler reconciles KeyStores. All fields are required.
type Reconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Live reads from the API server.
	Live client.Reader
	// Root receives the open root key.
	Root *rootkey.Source
	// Store is the software key store under Root.
	Store keystore.Store
	// Namespace is where the root key rests.
	Namespace string
	Clock     clock.PassiveClock
	Recorder  events.EventRecorder
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var store keywrightv1alpha1.KeyStore
	err := r.Client.Get(ctx, request.NamespacedName, &store)
	if apierrors.IsNotFound(err) && request.Name == keywrightv1alpha1.DefaultKeyStoreName {
		return ctrl.Result{}, r.EnsureDefault(ctx)
	}
	if err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	root, err := r.openRoot(ctx)
	if err != nil {
		return ctrl.Result{}, err
	}
	keys, err := r.countKeys(ctx, store.Name)
	if err != nil {
		return ctrl.Result{}, err
	}
	before := store.DeepCopy()
	deriveStatus(&store, keys, root, r.Clock.Now())
	if !equality.Semantic.DeepEqual(before.Status, store.Status) {
		if err := r.Client.Status().Patch(ctx, &store, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
			if apierrors.IsConflict(err) {
				return ctrl.Result{RequeueAfter: time.Second}, nil
			}
			return ctrl.Result{}, fmt.Errorf("patch status: %w", err)
		}
	}
	if root.created {
		r.Recorder.Eventf(&store, nil, corev1.EventTypeNormal, keywrightv1alpha1.RootKeyCreatedEventReason, "Create",
			"Made the root key; back up the Secrets %s and %s of namespace %s: without them no key opens", rootkey.SecretName, rootkey.SealerSecretName, r.Namespace)
	}
	r.tellTransition(before, &store)
	if root.unavailable != "" {
		return ctrl.Result{RequeueAfter: retryInterval}, nil
	}
	return ctrl.Result{RequeueAfter: checkInterval}, nil
}

// EnsureDefault makes the KeyStore default if there is none.
func (r *Reconciler) EnsureDefault(ctx context.Context) error {
	err := r.Client.Create(ctx, &keywrightv1alpha1.KeyStore{
		ObjectMeta: metav1.ObjectMeta{Name: keywrightv1alpha1.DefaultKeyStoreName},
		Spec:       keywrightv1alpha1.KeyStoreSpec{Software: &keywrightv1alpha1.SoftwareKeyStore{}},
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create KeyStore %s: %w", keywrightv1alpha1.DefaultKeyStoreName, err)
	}
	return nil
}

// rootFacts is what openRoot found out.
type rootFacts struct {
	version uint32
	// created says that this call made the root key.
	created bool
	// unavailable says why the root key cannot be used; empty if it can.
	unavailable string
}

// openRoot opens the root key where it rests, also when this process has it open
// already: a root key that only lives in memory must not seal anything new. An
// error means that the API server did not answer, which says nothing about the
// root key.
func (r *Reconciler) openRoot(ctx context.Context) (rootFacts, error) {
	ring, created, err := rootkey.Ensure(ctx, r.Live, r.Client, r.Namespace, r.Clock)
	switch {
	case errors.Is(err, rootkey.ErrUnavailable):
		r.Root.Set(nil)
		return rootFacts{unavailable: err.Error()}, nil
	case err != nil:
		return rootFacts{}, err
	}
	r.Root.Set(ring)
	facts := rootFacts{version: ring.Current(), created: created}
	if err := r.Store.Check(ctx); err != nil {
		facts.unavailable = err.Error()
	}
	return facts, nil
}

func (r *Reconciler) countKeys(ctx context.Context, store string) (int32, error) {
	var keys keywrightv1alpha1.EncryptionKeyList
	if err := r.Client.List(ctx, &keys, client.MatchingFields{encryptionkey.KeyStoreField: store}, client.UnsafeDisableDeepCopy); err != nil {
		return 0, fmt.Errorf("list EncryptionKeys: %w", err)
	}
	return int32(min(len(keys.Items), 1<<31-1)), nil
}

// deriveStatus turns facts into status. It is pure.
func deriveStatus(store *keywrightv1alpha1.KeyStore, keys int32, root rootFacts, now time.Time) {
	available := metav1.Condition{
		Type:    keywrightv1alpha1.KeyStoreRootKeyAvailableCondition,
		Status:  metav1.ConditionTrue,
		Reason:  keywrightv1alpha1.KeyStoreRootKeyOpenReason,
		Message: fmt.Sprintf("Root key version %d seals new material", root.version),
	}
	ready := metav1.Condition{
		Type:    keywrightv1alpha1.KeyStoreReadyCondition,
		Status:  metav1.ConditionTrue,
		Reason:  keywrightv1alpha1.KeyStoreReadyReason,
		Message: "A round trip under the root key succeeded",
	}
	if root.unavailable != "" {
		available.Status, available.Reason, available.Message = metav1.ConditionFalse, keywrightv1alpha1.KeyStoreRootKeyUnavailableReason, root.unavailable
		ready.Status, ready.Reason, ready.Message = available.Status, available.Reason, available.Message
	} else {
		store.Status.RootKeyVersion = int32(root.version) //nolint:gosec // starts at 1 and grows by hand
	}
	protected := metav1.Condition{
		Type:    keywrightv1alpha1.KeyStoreRootKeyProtectedCondition,
		Status:  metav1.ConditionFalse,
		Reason:  keywrightv1alpha1.KeyStoreSealedBySecretReason,
		Message: "The root key is wrapped by a Secret beside it: who reads the Secrets of Keywright's namespace, or a backup of them, has every key of this store",
	}
	for _, c := range []metav1.Condition{ready, available, protected} {
		c.ObservedGeneration = store.Generation
		c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
		meta.SetStatusCondition(&store.Status.Conditions, c)
	}
	store.Status.Keys = new(keys)
	store.Status.ObservedGeneration = store.Generation
}

func (r *Reconciler) tellTransition(before, after *keywrightv1alpha1.KeyStore) {
	was := meta.FindStatusCondition(before.Status.Conditions, keywrightv1alpha1.KeyStoreReadyCondition)
	is := meta.FindStatusCondition(after.Status.Conditions, keywrightv1alpha1.KeyStoreReadyCondition)
	switch {
	case is.Status == metav1.ConditionFalse && (was == nil || was.Status != metav1.ConditionFalse):
		r.Recorder.Eventf(after, nil, corev1.EventTypeWarning, is.Reason, "Open", "%s", is.Message)
	case is.Status == metav1.ConditionTrue && was != nil && was.Status == metav1.ConditionFalse:
		r.Recorder.Eventf(after, nil, corev1.EventTypeNormal, is.Reason, "Open", "%s", is.Message)
	}
}
