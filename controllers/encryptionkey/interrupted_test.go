package encryptionkey

import (
	"context"
	"errors"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

// errKilled is how a write ends for a controller that dies around it.
var errKilled = errors.New("killed")

// dying is a client that ends at its n-th write, before or after the write has
// reached the API server.
type dying struct {
	left  int
	after bool
}

func (d *dying) write(do func() error) error {
	d.left--
	if d.left > 0 {
		return do()
	}
	if d.left == 0 && d.after {
		if err := do(); err != nil {
			return err
		}
	}
	return errKilled
}

func (e *env) dyingClient(n int, after bool) client.Client {
	d := &dying{left: n, after: after}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	e.Expect(err).NotTo(HaveOccurred())
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			return d.write(func() error { return c.Create(ctx, o, options...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			return d.write(func() error { return c.Patch(ctx, o, patch, options...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			return d.write(func() error { return c.SubResource(sub).Patch(ctx, o, patch, options...) })
		},
	})
}

// TestEdge14_LeaderDiesBetweenAnyTwoWrites ends a controller before and after each
// write of a creation and of a rotation, and lets another one go on.
func TestEdge14_LeaderDiesBetweenAnyTwoWrites(t *testing.T) {
	const writes = 3 // material, annotations, status
	for _, rotating := range []bool{false, true} {
		for n := 1; n <= writes; n++ {
			for _, after := range []bool{false, true} {
				name := map[bool]string{false: "creation", true: "rotation"}[rotating] + ", " +
					map[bool]string{false: "before", true: "after"}[after] + " write " + string(rune('0'+n))
				t.Run(name, func(t *testing.T) {
					e := newEnv(t)
					key := e.apply(e.key("orders", withSchedule("0 * * * *")))
					want := int32(1)
					if rotating {
						key = e.reconcile(key)
						e.clock.Step(2 * time.Hour)
						want = 2
					}
					_, err := e.reconciler(e.dyingClient(n, after)).Reconcile(e.ctx, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(key)})
					e.Expect(err).To(MatchError(errKilled))

					e.clock.Step(time.Minute)
					for range 2 {
						key = e.reconcile(key)
					}
					e.Expect(e.owned(key)).To(HaveLen(int(want)))
					e.Expect(key.Status.CurrentVersion).To(Equal(want))
					e.Expect(key.Status.State).To(Equal(keywrightv1alpha1.EnabledKeyState))
					e.Expect(condition(key, "Ready")).To(Equal("True/KeyReady"))
				})
			}
		}
	}
}

// blind is a reader whose cache has not seen any material yet.
type blind struct{ client.Client }

func (b blind) List(ctx context.Context, list client.ObjectList, options ...client.ListOption) error {
	if _, ok := list.(*corev1.SecretList); ok {
		return nil
	}
	return b.Client.List(ctx, list, options...)
}

func TestEdge19_StaleCacheAdoptsWhatIsThere(t *testing.T) {
	e := newEnv(t)
	key := e.reconcile(e.apply(e.key("orders", withSchedule("0 * * * *"))))
	e.r = e.reconciler(blind{e.client})
	key = e.reconcile(key)
	e.Expect(condition(key, "MaterialAvailable")).To(Equal("True/AllVersionsAvailable"))

	e.edit(key, func(k *keywrightv1alpha1.EncryptionKey) { k.Annotations = nil })
	key = e.reconcile(key)
	e.Expect(e.owned(key)).To(HaveLen(1))

	e.clock.Step(2 * time.Hour)
	for range 3 {
		key = e.reconcile(key)
	}
	e.Expect(e.owned(key)).To(HaveLen(2))
	e.Expect(key.Status.CurrentVersion).To(Equal(int32(2)))
}
