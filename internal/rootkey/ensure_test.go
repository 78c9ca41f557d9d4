package rootkey

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/secret"
)

const namespace = "keywright-system"

func newClient(t *testing.T, objects ...client.Object) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, keywrightv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
}

func ensure(t *testing.T, c client.Client) (*Ring, bool, error) {
	t.Helper()
	return Ensure(t.Context(), c, c, namespace, clocktesting.NewFakePassiveClock(time.Unix(1e9, 123)))
}

func mustEnsure(t *testing.T, c client.Client) *Ring {
	t.Helper()
	ring, _, err := ensure(t, c)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// requireSame fails unless what one ring seals the other opens.
func requireSame(t *testing.T, a, b *Ring) {
	t.Helper()
	plaintext := secret.Random(32)
	sealed, err := a.Seal(plaintext, []byte("aad"))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := b.Open(a.Current(), sealed, []byte("aad"))
	if err != nil || !opened.Equal(plaintext) {
		t.Fatalf("the two are different root keys: %v", err)
	}
}

func names(t *testing.T, c client.Client) map[string]corev1.SecretType {
	t.Helper()
	var secrets corev1.SecretList
	if err := c.List(t.Context(), &secrets); err != nil {
		t.Fatal(err)
	}
	found := map[string]corev1.SecretType{}
	for _, s := range secrets.Items {
		found[s.Namespace+"/"+s.Name] = s.Type
	}
	return found
}

func TestEnsureMakesItOnce(t *testing.T) {
	c := newClient(t)
	if _, err := Load(t.Context(), c, namespace); !errors.Is(err, ErrMissing) {
		t.Fatalf("Load before = %v, want ErrMissing", err)
	}
	first, created, err := ensure(t, c)
	if err != nil || !created || first.Current() != 1 {
		t.Fatalf("the first Ensure = %v, %t, %v", first, created, err)
	}
	want := map[string]corev1.SecretType{
		"keywright-system/keywright-root":        "keywright.dev/root-key",
		"keywright-system/keywright-root-sealer": "keywright.dev/root-sealer",
	}
	if got := names(t, c); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("Secrets are %v, want %v", got, want)
	}
	second, created, err := ensure(t, c)
	if err != nil || created {
		t.Fatalf("the second Ensure: created %t, %v", created, err)
	}
	requireSame(t, first, second)
	loaded, err := Load(t.Context(), c, namespace)
	if err != nil {
		t.Fatal(err)
	}
	requireSame(t, loaded, first)
}

func TestRacingEnsuresAgree(t *testing.T) {
	const racers = 50
	c := newClient(t)
	rings := make([]*Ring, racers)
	made := make([]bool, racers)
	errs := make([]error, racers)
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range racers {
		group.Go(func() {
			<-start
			rings[i], made[i], errs[i] = ensure(t, c)
		})
	}
	close(start)
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	creators := 0
	for i := range racers {
		requireSame(t, rings[0], rings[i])
		if made[i] {
			creators++
		}
	}
	if creators != 1 {
		t.Errorf("%d say that they made the root key, want 1", creators)
	}
}

// failCreate makes the creation of one Secret fail, before or after it happens.
func failCreate(c client.WithWatch, name string, after bool) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if obj.GetName() != name {
				return c.Create(ctx, obj, opts...)
			}
			if after {
				if err := c.Create(ctx, obj, opts...); err != nil {
					return err
				}
			}
			return errors.New("the connection broke")
		},
	})
}

func TestInterruptedEnsureGoesOn(t *testing.T) {
	for name, row := range map[string]struct {
		secret string
		after  bool
	}{
		"before the sealer":                    {SealerSecretName, false},
		"after the sealer, without the answer": {SealerSecretName, true},
		"between sealer and root":              {SecretName, false},
		"after the root, without the answer":   {SecretName, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			if _, created, err := ensure(t, failCreate(c, row.secret, row.after)); err == nil || created {
				t.Fatalf("the interrupted Ensure: created %t, %v", created, err)
			}
			var sealer corev1.Secret
			sealerErr := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: SealerSecretName}, &sealer)
			ring := mustEnsure(t, c)
			requireSame(t, ring, mustEnsure(t, c))
			if sealerErr == nil {
				var again corev1.Secret
				if err := c.Get(t.Context(), client.ObjectKeyFromObject(&sealer), &again); err != nil || again.ResourceVersion != sealer.ResourceVersion {
					t.Errorf("the sealer that was there was replaced: %v", err)
				}
			}
		})
	}
}

func TestLostRootKeyIsNotReplaced(t *testing.T) {
	material := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: "kw-6f1c2d3e-4a5b-4c6d-8e7f-90a1b2c3d4e5-v1",
		Labels: map[string]string{keywrightv1alpha1.MaterialLabel: "true"},
	}}
	key := &keywrightv1alpha1.EncryptionKey{ObjectMeta: metav1.ObjectMeta{
		Namespace: "team-a", Name: "orders",
		Annotations: map[string]string{keywrightv1alpha1.KeyIDAnnotation: "6f1c2d3e-4a5b-4c6d-8e7f-90a1b2c3d4e5"},
	}}
	sealer := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: SealerSecretName},
		Type:       SealerSecretType, Data: map[string][]byte{sealerDataKey: make([]byte, Size)},
	}
	for name, objects := range map[string][]client.Object{
		"there is sealed material":                     {material},
		"there is sealed material and the sealer":      {material, sealer},
		"an EncryptionKey has had material":            {key},
		"an EncryptionKey has had material and sealer": {key, sealer},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			for _, o := range objects {
				if err := c.Create(t.Context(), o.DeepCopyObject().(client.Object)); err != nil {
					t.Fatal(err)
				}
			}
			before := names(t, c)
			ring, created, err := ensure(t, c)
			if !errors.Is(err, ErrUnavailable) || ring != nil || created {
				t.Fatalf("Ensure = %v, %t, %v; want ErrUnavailable", ring, created, err)
			}
			if after := names(t, c); fmt.Sprint(after) != fmt.Sprint(before) {
				t.Errorf("Ensure made something: %v, before %v", after, before)
			}
		})
	}
	t.Run("material elsewhere and keys that are new do not count", func(t *testing.T) {
		elsewhere, fresh := material.DeepCopy(), key.DeepCopy()
		elsewhere.Namespace, fresh.Annotations = "team-a", nil
		if _, created, err := ensure(t, newClient(t, elsewhere, fresh)); err != nil || !created {
			t.Errorf("Ensure: created %t, %v", created, err)
		}
	})
}

// TestEnsureThatComesLate sees no root key, and then the material that somebody
// else has sealed under the one that was made meanwhile.
func TestEnsureThatComesLate(t *testing.T) {
	c := newClient(t)
	var other *Ring
	late := interceptor.NewClient(c, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if other == nil {
				var err error
				if other, _, err = Ensure(ctx, c, c, namespace, clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))); err != nil {
					return err
				}
				err = c.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
					Namespace: namespace, Name: "kw-1", Labels: map[string]string{keywrightv1alpha1.MaterialLabel: "true"},
				}})
				if err != nil {
					return err
				}
			}
			return c.List(ctx, list, opts...)
		},
	})
	ring, created, err := ensure(t, late)
	if err != nil || created {
		t.Fatalf("Ensure: created %t, %v", created, err)
	}
	requireSame(t, ring, other)
}

func TestEnsureDoesNotGuess(t *testing.T) {
	boom := apierrors.NewTooManyRequests("later", 1)
	for name, funcs := range map[string]interceptor.Funcs{
		"the root key cannot be read": {Get: func(context.Context, client.WithWatch, client.ObjectKey, client.Object, ...client.GetOption) error {
			return boom
		}},
		"material cannot be listed": {List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(*corev1.SecretList); ok {
				return boom
			}
			return c.List(ctx, list, opts...)
		}},
		"keys cannot be listed": {List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if _, ok := list.(*keywrightv1alpha1.EncryptionKeyList); ok {
				return boom
			}
			return c.List(ctx, list, opts...)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t)
			ring, created, err := ensure(t, interceptor.NewClient(c, funcs))
			if !errors.Is(err, boom) || errors.Is(err, ErrUnavailable) || ring != nil || created {
				t.Errorf("Ensure = %v, %t, %v; want the error of the API server", ring, created, err)
			}
			if after := names(t, c); len(after) != 0 {
				t.Errorf("Ensure made %v", after)
			}
		})
	}
}

// TestEnsureReadsEveryPage has the annotated key on the second page.
func TestEnsureReadsEveryPage(t *testing.T) {
	pages := 0
	c := interceptor.NewClient(newClient(t), interceptor.Funcs{
		List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			keys, ok := list.(*keywrightv1alpha1.EncryptionKeyList)
			if !ok {
				return nil
			}
			pages++
			var options client.ListOptions
			options.ApplyOptions(opts)
			if options.Continue == "" {
				keys.Items = []keywrightv1alpha1.EncryptionKey{{}}
				keys.Continue = "next"
				return nil
			}
			keys.Items = []keywrightv1alpha1.EncryptionKey{{ObjectMeta: metav1.ObjectMeta{
				Annotations: map[string]string{keywrightv1alpha1.KeyIDAnnotation: "x"},
			}}}
			return nil
		},
	})
	if _, _, err := ensure(t, c); !errors.Is(err, ErrUnavailable) || pages != 2 {
		t.Errorf("Ensure = %v after %d pages, want ErrUnavailable after 2", err, pages)
	}
}
