// Package encryptionkey makes the key versions that EncryptionKeys ask for, and
// says in their status what there is.
//
// A reconcile gathers facts into a scope, step by step, and derives the status
// from it at the end. It may be interrupted anywhere and repeated, by two leaders
// at once: whatever it makes has a name that follows from the key, so the second
// to come adopts what the first has made.
package encryptionkey

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/material"
	"github.com/keywright/keywright/internal/policy"
)

const (
	// longestWait bounds how long a key is not looked at. A timer runs on the
	// monotonic clock, so it does not notice when the wall clock is set.
	longestWait = time.Hour
	// storeWait is when a key is looked at again that waits for its key store.
	storeWait = time.Second
)

// RootKey says whether the root key is open in this process.
type RootKey interface {
	material.Root
	Ready() error
}

// Reconciler reconciles EncryptionKeys. All fields are required, except where it
// says so.
type Reconciler struct {
	// Client reads from the cache and writes.
	Client client.Client
	// Live reads from the API server, for what a stale cache must not decide.
	Live client.Reader
	// Store makes and opens key versions.
	Store keystore.Store
	// Root opens what the inventory finds.
	Root RootKey
	// Namespace is where material rests.
	Namespace string
	Clock     clock.PassiveClock
	Recorder  events.EventRecorder
	// Indexed says that Client reads from a cache with the indexes of
	// material.AddIndexes.
	Indexed bool
	// MinRotationInterval is the shortest time between two automatic rotations of
	// a key. Zero means policy.DefaultMinInterval.
	MinRotationInterval time.Duration
}

// scope is the facts of one reconcile. Each field says which step sets it.
type scope struct {
	key    *keywrightv1alpha1.EncryptionKey
	before *keywrightv1alpha1.EncryptionKey
	now    time.Time

	store    storeFacts              // resolveStore
	identity identity                // identify
	material materialFacts           // takeInventory, createFirst, rotate
	rotation policy.RotationDecision // rotate

	notices []notice // any step
}

func (s *scope) owner() keystore.Owner {
	return keystore.Owner{Namespace: s.key.Namespace, Name: s.key.Name}
}

// Reconcile implements reconcile.Reconciler.
func (r *Reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	var key keywrightv1alpha1.EncryptionKey
	if err := r.Client.Get(ctx, request.NamespacedName, &key); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !key.DeletionTimestamp.IsZero() {
		// Somebody else's finalizer. Material outlives the resource anyway.
		return ctrl.Result{}, nil
	}
	s := &scope{key: &key, before: key.DeepCopy(), now: r.Clock.Now()}
	stepErr := r.runSteps(ctx, s)
	if errors.Is(stepErr, errStoreNotReady) {
		return ctrl.Result{RequeueAfter: storeWait}, nil
	}
	// What was found out before an error is worth saying, and a version that was
	// stored must be told of even then.
	statusErr := r.writeStatus(ctx, s, stepErr == nil)
	if err := errors.Join(stepErr, statusErr); err != nil {
		if onlyConflict(stepErr, statusErr) {
			// The cache is behind a write, most often our own. Its event brings the
			// key back; the wait is for the case that it does not.
			return ctrl.Result{RequeueAfter: storeWait}, nil
		}
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: s.wait()}, nil
}

func onlyConflict(errs ...error) bool {
	for _, err := range errs {
		if err != nil && !apierrors.IsConflict(err) {
			return false
		}
	}
	return true
}

// runSteps runs the steps until one says that the rest must not happen.
func (r *Reconciler) runSteps(ctx context.Context, s *scope) error {
	steps := []struct {
		doing string
		step  func(context.Context, *scope) (proceed bool, err error)
	}{
		{"resolve key store", r.resolveStore},
		{"identify key", r.identify},
		{"take inventory of material", r.takeInventory},
		{"create first version", r.createFirst},
		{"rotate", r.rotate},
		{"record versions", r.annotate},
	}
	for _, step := range steps {
		proceed, err := step.step(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", step.doing, err)
		}
		if !proceed {
			return nil
		}
	}
	return nil
}

// wait returns when the key is to be looked at again.
func (s *scope) wait() time.Duration {
	wait := longestWait
	if !s.store.available() {
		wait = 30 * time.Second
	}
	if !s.rotation.Next.IsZero() {
		wait = min(wait, max(s.rotation.Next.Sub(s.now), time.Millisecond))
	}
	return wait
}
