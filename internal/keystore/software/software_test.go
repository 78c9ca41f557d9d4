package software_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
	"github.com/keywright/keywright/internal/keystore/software"
	"github.com/keywright/keywright/internal/material"
	"github.com/keywright/keywright/internal/rootkey"
	"github.com/keywright/keywright/internal/secret"
)

const namespace = "keywright-system"

func newClient(t *testing.T, intercept interceptor.Funcs) client.Client {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, keywrightv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	return fake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(intercept).Build()
}

func newRoot(t *testing.T, c client.Client) *rootkey.Source {
	t.Helper()
	ring, _, err := rootkey.Ensure(t.Context(), c, c, namespace, clocktesting.NewFakePassiveClock(time.Unix(1e9, 0)))
	if err != nil {
		t.Fatal(err)
	}
	root := &rootkey.Source{}
	root.Set(ring)
	return root
}

func TestStoreKeepsTheContract(t *testing.T) {
	keystoretest.Run(t, func(t *testing.T) keystore.Store {
		c := newClient(t, interceptor.Funcs{})
		return software.New(c, c, namespace, newRoot(t, c))
	})
}

// TestReplicasShareVersions has a controller that creates and a server that has
// read the root key for itself and may not write.
func TestReplicasShareVersions(t *testing.T) {
	c := newClient(t, interceptor.Funcs{})
	controller := software.New(c, c, namespace, newRoot(t, c))
	server := software.New(c, nil, namespace, newRoot(t, c))
	m := keystoretest.NewMetadata()
	if _, err := controller.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	sealed, err := open(t, controller, m.ID).Seal(t.Context(), nil, []byte("plaintext"), []byte("aad"))
	if err != nil {
		t.Fatal(err)
	}
	opened, err := open(t, server, m.ID).Open(t.Context(), nil, sealed, []byte("aad"))
	if err != nil || string(opened) != "plaintext" {
		t.Fatalf("the server opens %q, %v", opened, err)
	}
	if _, err := server.Create(t.Context(), keystoretest.NewMetadata()); !errors.Is(err, keystore.ErrNotSupported) {
		t.Errorf("Create without a writer = %v, want ErrNotSupported", err)
	}
}

func TestErrorsOfTheAPIServer(t *testing.T) {
	secrets := schema.GroupResource{Resource: "secrets"}
	for name, apiErr := range map[string]error{
		"the API server is away":          errors.New("connection refused"),
		"the API server is busy":          apierrors.NewTooManyRequests("later", 1),
		"the permission is missing":       apierrors.NewForbidden(secrets, "kw", nil),
		"the deadline of the call passed": context.DeadlineExceeded,
	} {
		t.Run(name, func(t *testing.T) {
			var broken bool
			c := newClient(t, interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
					if broken {
						return apiErr
					}
					return c.Get(ctx, key, obj, opts...)
				},
				Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
					if broken {
						return apiErr
					}
					return c.Create(ctx, obj, opts...)
				},
			})
			store := software.New(c, c, namespace, newRoot(t, c))
			m := keystoretest.NewMetadata()
			broken = true
			if _, err := store.Create(t.Context(), m); !errors.Is(err, keystore.ErrUnavailable) || !errors.Is(err, apiErr) {
				t.Errorf("Create = %v, want ErrUnavailable and the cause", err)
			}
			if _, err := store.Open(t.Context(), m.ID); !errors.Is(err, keystore.ErrUnavailable) || errors.Is(err, keystore.ErrNotFound) {
				t.Errorf("Open = %v, want ErrUnavailable", err)
			}
			broken = false
			if _, err := store.Create(t.Context(), m); err != nil {
				t.Errorf("Create afterwards = %v", err)
			}
		})
	}
}

// TestCreateThatIsNotAnswered is a Create whose answer is lost: the version is
// there, and the next Create adopts it.
func TestCreateThatIsNotAnswered(t *testing.T) {
	lose := true
	c := newClient(t, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			err := c.Create(ctx, obj, opts...)
			if _, isMaterial := obj.GetLabels()[keywrightv1alpha1.MaterialLabel]; isMaterial && lose {
				return errors.New("timeout")
			}
			return err
		},
	})
	store := software.New(c, c, namespace, newRoot(t, c))
	m := keystoretest.NewMetadata()
	if _, err := store.Create(t.Context(), m); !errors.Is(err, keystore.ErrUnavailable) {
		t.Fatalf("Create = %v, want ErrUnavailable", err)
	}
	first := open(t, store, m.ID)
	lose = false
	later := m
	later.CreatedAt = m.CreatedAt.Add(time.Hour)
	adopted, err := store.Create(t.Context(), later)
	if err != nil || !adopted.CreatedAt.Equal(m.CreatedAt) {
		t.Fatalf("the second Create = %v, %v; want the first version", adopted, err)
	}
	sealed, _ := first.Seal(t.Context(), nil, []byte("p"), nil)
	if _, err := open(t, store, m.ID).Open(t.Context(), nil, sealed, nil); err != nil {
		t.Error(err)
	}
}

func TestStoreWithoutItsRootKey(t *testing.T) {
	c := newClient(t, interceptor.Funcs{})
	m := keystoretest.NewMetadata()
	if _, err := software.New(c, c, namespace, newRoot(t, c)).Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	store := software.New(c, c, namespace, &rootkey.Source{})
	if err := store.Check(t.Context()); !errors.Is(err, keystore.ErrUnavailable) {
		t.Errorf("Check = %v, want ErrUnavailable", err)
	}
	// What nobody could try is not corrupt: that would send people to their backups.
	if _, err := store.Open(t.Context(), m.ID); !errors.Is(err, keystore.ErrUnavailable) || errors.Is(err, keystore.ErrCorrupt) {
		t.Errorf("Open = %v, want ErrUnavailable alone", err)
	}
	other := keystoretest.NewMetadata()
	if _, err := store.Create(t.Context(), other); !errors.Is(err, keystore.ErrUnavailable) {
		t.Errorf("Create = %v, want ErrUnavailable", err)
	}
	err := c.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: material.SecretName(other.ID)}, &corev1.Secret{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("a Create without root key left a Secret behind: %v", err)
	}
}

// laterRoot is a root key of a later version.
type laterRoot struct{ material.Root }

func (laterRoot) Current() uint32 { return 7 }

func (r laterRoot) Open(version uint32, sealed, aad []byte) (secret.Bytes, error) {
	if version == 7 {
		version = r.Root.Current()
	}
	return r.Root.Open(version, sealed, aad)
}

func TestUnknownRootVersionIsUnavailable(t *testing.T) {
	c := newClient(t, interceptor.Funcs{})
	root := newRoot(t, c)
	m := keystoretest.NewMetadata()
	if _, err := software.New(c, c, namespace, laterRoot{root}).Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	_, err := software.New(c, c, namespace, root).Open(t.Context(), m.ID)
	if !errors.Is(err, keystore.ErrUnavailable) || !errors.Is(err, material.ErrUnknownRootVersion) || errors.Is(err, keystore.ErrCorrupt) {
		t.Errorf("Open = %v, want ErrUnavailable for the unknown root version", err)
	}
}

func TestMaterialThatDoesNotFit(t *testing.T) {
	for name, row := range map[string]struct {
		spec keywrightv1alpha1.KeySpec
		size int
		want error
	}{
		"a key spec of a later release": {"RSA_2048", 32, keystore.ErrNotSupported},
		"a key that is too short":       {keywrightv1alpha1.SymmetricDefaultKeySpec, 16, keystore.ErrCorrupt},
		"a key that is too long":        {keywrightv1alpha1.SymmetricDefaultKeySpec, 64, keystore.ErrCorrupt},
		"no key":                        {keywrightv1alpha1.SymmetricDefaultKeySpec, 0, keystore.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClient(t, interceptor.Funcs{})
			root := newRoot(t, c)
			m := keystoretest.NewMetadata()
			m.KeySpec = row.spec
			sealed, err := material.Seal(root, namespace, m, secret.Random(row.size))
			if err != nil {
				t.Fatal(err)
			}
			if err := c.Create(t.Context(), sealed); err != nil {
				t.Fatal(err)
			}
			if _, err := software.New(c, c, namespace, root).Open(t.Context(), m.ID); !errors.Is(err, row.want) {
				t.Errorf("Open = %v, want %v", err, row.want)
			}
		})
	}
}

func TestCorruptMaterialIsNeverReplaced(t *testing.T) {
	c := newClient(t, interceptor.Funcs{})
	store := software.New(c, c, namespace, newRoot(t, c))
	m := keystoretest.NewMetadata()
	foreign := &corev1.Secret{Type: material.SecretType, Data: map[string][]byte{"header": []byte("{}"), "sealed": []byte("x")}}
	foreign.Namespace, foreign.Name = namespace, material.SecretName(m.ID)
	if err := c.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	_, err := store.Create(t.Context(), m)
	if !errors.Is(err, keystore.ErrCorrupt) || !strings.Contains(err.Error(), foreign.Name) {
		t.Errorf("Create = %v, want ErrCorrupt that names the Secret", err)
	}
	var got corev1.Secret
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(foreign), &got); err != nil || string(got.Data["sealed"]) != "x" {
		t.Errorf("Create touched what was there: %v", err)
	}
}

func open(t *testing.T, store keystore.Store, id keystore.VersionID) keystore.Sealer {
	t.Helper()
	key, err := store.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return key.(keystore.Sealer)
}
