package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/test/rig"
)

// clientWorkers is how many writes a client has in flight, as many as the
// controller reconciles at once by default.
const clientWorkers = 8

// work is something done for every key.
type work struct {
	took     time.Duration
	calls    float64       // to the API server; 0 if not counted
	cpu      time.Duration // of the controller
	baseline time.Duration // the same writes by a client
}

// controllerResults is everything that is measured of the controller and of memory.
type controllerResults struct {
	keys int

	create, rotate work
	// late is by how much the last request for a rotation missed the moment when all
	// were due; the figure of rotate is then not what it should be.
	late time.Duration
	// Restart, from the start of the process.
	ready, reconciled time.Duration
	restartCalls      float64
	restartCPU        time.Duration
	list              time.Duration // by a client: all keys and Secrets
	serverReady       time.Duration

	empty, full, worked footprint
	serverLoaded        memory // when every key was used once
	firstUse            *histogram
	materials           int
}

// footprint is what Keywright takes when nobody asks anything of it.
type footprint struct {
	controller, server           memory
	controllerCalls, serverCalls float64 // a minute
	controllerCPU, serverCPU     float64 // share of one core
}

func isReady(key *keywrightv1alpha1.EncryptionKey) bool {
	return meta.IsStatusConditionTrue(key.Status.Conditions, keywrightv1alpha1.EncryptionKeyReadyCondition)
}

func keyName(i int) string { return "key-" + strconv.Itoa(i) }

// parallel calls do for 0 to n-1 from several goroutines and stops at an error.
func parallel(ctx context.Context, n, workers int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// watchKeys tells when n keys have satisfied done. It watches from before it
// returns. A watch that ends is begun again, and then brings all keys as they are.
func (c *cluster) watchKeys(ctx context.Context, n int, done func(*keywrightv1alpha1.EncryptionKey) bool) (<-chan error, error) {
	begin := func() (watch.Interface, error) {
		return c.admin.Watch(ctx, &keywrightv1alpha1.EncryptionKeyList{}, client.InNamespace(benchNamespace))
	}
	watcher, err := begin()
	if err != nil {
		return nil, err
	}
	result := make(chan error, 1)
	go func() {
		seen := map[string]bool{}
		for err == nil {
			for event := range watcher.ResultChan() {
				key, ok := event.Object.(*keywrightv1alpha1.EncryptionKey)
				if ok && key.Name != benchKey && done(key) {
					seen[key.Name] = true
				}
				if len(seen) == n || !ok {
					break
				}
			}
			watcher.Stop()
			if len(seen) == n {
				break
			}
			if err = pause(ctx, 100*time.Millisecond); err == nil {
				watcher, err = begin()
			}
		}
		result <- err
	}()
	return result, nil
}

// counted runs f and says how long it took and what the controller did meanwhile.
func (c *cluster) counted(ctx context.Context, f func() (time.Time, error)) (w work, err error) {
	calls, err := c.controllerCalls(ctx)
	if err != nil {
		return w, err
	}
	cpu, err := cpuTime(c.controller().PID())
	if err != nil {
		return w, err
	}
	begin, err := f()
	if err != nil {
		return w, err
	}
	w.took = time.Since(begin)
	after, err := cpuTime(c.controller().PID())
	if err != nil {
		return w, err
	}
	w.cpu = after - cpu
	total, err := c.controllerCalls(ctx)
	w.calls = total - calls
	return w, err
}

func measureControllers(ctx context.Context, c *cluster, o *options, empty footprint) (*controllerResults, error) {
	r := &controllerResults{keys: o.keys, empty: empty}
	for _, step := range []struct {
		name string
		do   func(context.Context, *cluster, *options) error
	}{
		{"writes by a client", r.raw},
		{"create", r.measureCreate},
		{"rotate", r.measureRotate},
		{"restart", r.measureRestart},
		{"memory", r.measureMemory},
	} {
		progress("controllers: %s, %d keys", step.name, o.keys)
		if err := step.do(ctx, c, o); err != nil {
			return nil, fmt.Errorf("%s: %w", step.name, err)
		}
	}
	return r, nil
}

// raw makes the writes without a controller: the resource, its Secret, annotations
// and status, then all but the first again.
func (r *controllerResults) raw(ctx context.Context, c *cluster, o *options) error {
	if err := c.controller().Stop(); err != nil {
		return err
	}
	var model keywrightv1alpha1.EncryptionKey
	if err := c.admin.Get(ctx, types.NamespacedName{Namespace: benchNamespace, Name: benchKey}, &model); err != nil {
		return err
	}
	var sealed corev1.Secret
	if err := c.admin.Get(ctx, types.NamespacedName{Namespace: rig.Namespace, Name: "kw-" + model.Status.KeyID + "-v1"}, &sealed); err != nil {
		return err
	}
	keys := make([]*keywrightv1alpha1.EncryptionKey, o.keys)
	version := func(ctx context.Context, i, version int) error {
		key := keys[i]
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: rawNamespace, Name: fmt.Sprintf("kw-%s-v%d", key.UID, version),
				Labels: sealed.Labels, Annotations: sealed.Annotations,
			},
			Type: sealed.Type, Immutable: new(true), Data: sealed.Data,
		}
		if err := c.admin.Create(ctx, secret); err != nil {
			return err
		}
		if err := c.admin.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
			return err
		}
		base := key.DeepCopy()
		key.Annotations = map[string]string{
			keywrightv1alpha1.KeyIDAnnotation:         string(key.UID),
			keywrightv1alpha1.LatestVersionAnnotation: strconv.Itoa(version),
		}
		if err := c.admin.Patch(ctx, key, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})); err != nil {
			return err
		}
		base = key.DeepCopy()
		model.Status.DeepCopyInto(&key.Status)
		key.Status.KeyID, key.Status.CurrentVersion = string(key.UID), int32(version)
		key.Status.Versions = nil
		for v := version; v > 0; v-- {
			key.Status.Versions = append(key.Status.Versions, keywrightv1alpha1.KeyVersion{
				Version: int32(v), CreatedAt: model.CreationTimestamp, Origin: keywrightv1alpha1.CreatedVersionOrigin,
			})
		}
		return c.admin.Status().Patch(ctx, key, client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{}))
	}
	begin := time.Now()
	if err := parallel(ctx, o.keys, clientWorkers, func(ctx context.Context, i int) error {
		keys[i] = newKey(rawNamespace, keyName(i))
		if err := c.admin.Create(ctx, keys[i]); err != nil {
			return err
		}
		return version(ctx, i, 1)
	}); err != nil {
		return err
	}
	r.create.baseline = time.Since(begin)
	begin = time.Now()
	if err := parallel(ctx, o.keys, clientWorkers, func(ctx context.Context, i int) error { return version(ctx, i, 2) }); err != nil {
		return err
	}
	r.rotate.baseline = time.Since(begin)
	for _, object := range []client.Object{&keywrightv1alpha1.EncryptionKey{}, &corev1.Secret{}} {
		if err := c.admin.DeleteAllOf(ctx, object, client.InNamespace(rawNamespace)); err != nil {
			return err
		}
	}
	return c.startController(ctx)
}

// startController returns when the controller leads.
func (c *cluster) startController(ctx context.Context) error {
	if err := c.controller().Start(); err != nil {
		return err
	}
	return c.eventually(ctx, "the controller leads", func(ctx context.Context) bool {
		text, err := c.controller().Scrape(ctx)
		return err == nil && sumSeries(text, "controller_runtime_reconcile_total", `controller="encryptionkey"`) > 0
	})
}

func (r *controllerResults) measureCreate(ctx context.Context, c *cluster, o *options) error {
	baseline := r.create.baseline
	done, err := c.watchKeys(ctx, o.keys, isReady)
	if err != nil {
		return err
	}
	r.create, err = c.counted(ctx, func() (time.Time, error) {
		begin := time.Now()
		if err := parallel(ctx, o.keys, clientWorkers, func(ctx context.Context, i int) error {
			return c.admin.Create(ctx, newKey(benchNamespace, keyName(i)))
		}); err != nil {
			return begin, err
		}
		return begin, <-done
	})
	r.create.baseline = baseline
	return err
}

// measureRotate asks every key for a rotation at one moment in the future.
func (r *controllerResults) measureRotate(ctx context.Context, c *cluster, o *options) error {
	baseline := r.rotate.baseline
	done, err := c.watchKeys(ctx, o.keys, func(key *keywrightv1alpha1.EncryptionKey) bool { return key.Status.CurrentVersion == 2 })
	if err != nil {
		return err
	}
	// The patches and what the controller makes of them must be through by then, on
	// this machine: creation was more work.
	due := time.Now().Add(5*time.Second + 2*r.create.took).Truncate(time.Second)
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"rotation":{"requestedAt":%q}}}`, due.UTC().Format(time.RFC3339)))
	if err := parallel(ctx, o.keys, clientWorkers, func(ctx context.Context, i int) error {
		return c.admin.Patch(ctx, newKey(benchNamespace, keyName(i)), patch)
	}); err != nil {
		return err
	}
	r.late = max(0, -time.Until(due))
	if err := pause(ctx, time.Until(due)-100*time.Millisecond); err != nil {
		return err
	}
	r.rotate, err = c.counted(ctx, func() (time.Time, error) { return due, <-done })
	r.rotate.baseline = baseline
	if err == nil {
		r.materials, err = c.materials(ctx)
	}
	return err
}

func (r *controllerResults) measureRestart(ctx context.Context, c *cluster, o *options) (err error) {
	if r.worked.controller, err = memoryOf(c.controller().PID()); err != nil {
		return err
	}
	if err := c.controller().Stop(); err != nil {
		return err
	}
	begin := time.Now()
	if err := errors.Join(
		c.admin.List(ctx, &keywrightv1alpha1.EncryptionKeyList{}),
		c.admin.List(ctx, &corev1.SecretList{}, client.InNamespace(rig.Namespace)),
	); err != nil {
		return err
	}
	r.list = time.Since(begin)
	begin = time.Now()
	if err := c.controller().Start(); err != nil {
		return err
	}
	if err := c.controller().WaitReady(ctx); err != nil {
		return err
	}
	r.ready = time.Since(begin)
	if err := c.eventually(ctx, "all keys are reconciled", func(ctx context.Context) bool {
		text, err := c.controller().Scrape(ctx)
		const ours = `controller="encryptionkey"`
		return err == nil && sumSeries(text, "controller_runtime_reconcile_total", ours) > float64(o.keys) &&
			sumSeries(text, "workqueue_depth", ours) == 0
	}); err != nil {
		return err
	}
	r.reconciled = time.Since(begin)
	if r.restartCalls, err = c.controllerCalls(ctx); err != nil {
		return err
	}
	if r.restartCPU, err = cpuTime(c.controller().PID()); err != nil {
		return err
	}
	if err := c.server().Stop(); err != nil {
		return err
	}
	begin = time.Now()
	if err := c.server().Start(); err != nil {
		return err
	}
	err = c.server().WaitReady(ctx)
	r.serverReady = time.Since(begin)
	return err
}

// measureMemory looks at processes that have just started with all keys, and then
// uses every key once.
func (r *controllerResults) measureMemory(ctx context.Context, c *cluster, o *options) (err error) {
	if r.full, err = c.footprint(ctx, o); err != nil {
		return err
	}
	t := c.target()
	body, err := bodyFor(ctx, t, cell{operation: "encrypt", size: 32})
	if err != nil {
		return err
	}
	exchangers, err := dial(ctx, t, http1, clientWorkers)
	if err != nil {
		return err
	}
	free := make(chan exchanger, clientWorkers)
	for _, e := range exchangers {
		defer e.close()
		free <- e
	}
	var mu sync.Mutex
	r.firstUse = &histogram{}
	if err := parallel(ctx, o.keys, clientWorkers, func(_ context.Context, i int) error {
		e := <-free
		defer func() { free <- e }()
		begin := time.Now()
		if _, err := e.exchange(pathOfKey(keyName(i), "encrypt"), body); err != nil {
			return err
		}
		took := time.Since(begin)
		mu.Lock()
		defer mu.Unlock()
		r.firstUse.record(took)
		return nil
	}); err != nil {
		return err
	}
	if err := pause(ctx, o.settle); err != nil {
		return err
	}
	r.serverLoaded, err = memoryOf(c.server().PID())
	return err
}

// footprint lets Keywright settle and watches it for a while.
func (c *cluster) footprint(ctx context.Context, o *options) (f footprint, err error) {
	if err := pause(ctx, o.settle); err != nil {
		return f, err
	}
	type state struct {
		calls [2]float64
		cpu   [2]time.Duration
	}
	look := func() (s state, err error) {
		var errs [4]error
		s.calls[0], errs[0] = c.controllerCalls(ctx)
		s.calls[1], errs[1] = c.serverCalls()
		s.cpu[0], errs[2] = cpuTime(c.controller().PID())
		s.cpu[1], errs[3] = cpuTime(c.server().PID())
		return s, errors.Join(errs[:]...)
	}
	before, err := look()
	if err != nil {
		return f, err
	}
	begin := time.Now()
	if err := pause(ctx, o.idle); err != nil {
		return f, err
	}
	elapsed := time.Since(begin)
	after, err := look()
	if err != nil {
		return f, err
	}
	f.controllerCalls = (after.calls[0] - before.calls[0]) / elapsed.Minutes()
	f.serverCalls = (after.calls[1] - before.calls[1]) / elapsed.Minutes()
	f.controllerCPU = (after.cpu[0] - before.cpu[0]).Seconds() / elapsed.Seconds()
	f.serverCPU = (after.cpu[1] - before.cpu[1]).Seconds() / elapsed.Seconds()
	if f.controller, err = memoryOf(c.controller().PID()); err != nil {
		return f, err
	}
	f.server, err = memoryOf(c.server().PID())
	return f, err
}

// pause waits, or returns why it must not go on.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
