package keystore

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

// countDelay gathers the comings and goings of keys into one count.
const countDelay = 2 * time.Second

// SetupWithManager registers the controller.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Client == nil || r.Live == nil || r.Root == nil || r.Store == nil || r.Namespace == "" || r.Clock == nil || r.Recorder == nil {
		return errors.New("keystore.Reconciler: every field is required")
	}
	// The store must exist before there is anything to reconcile.
	if err := mgr.Add(manager.RunnableFunc(r.EnsureDefault)); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("keystore").
		For(&keywrightv1alpha1.KeyStore{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&keywrightv1alpha1.EncryptionKey{}, countLater()).
		Complete(reconcile.Func(r.Reconcile))
}

// countLater reconciles the store of a key that came or went.
func countLater() handler.EventHandler {
	enqueue := func(o client.Object, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		key, ok := o.(*keywrightv1alpha1.EncryptionKey)
		if !ok {
			return
		}
		queue.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Name: key.Spec.KeyStoreRef.Name}}, countDelay)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(e.Object, queue)
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			enqueue(e.Object, queue)
		},
	}
}
