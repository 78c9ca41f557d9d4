package kms

import (
	"errors"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
	"github.com/keywright/keywright/internal/keystore/software"
	"github.com/keywright/keywright/internal/rootkey"
)

// newSoftwareStore returns a software key store with one version.
func newSoftwareStore(t testing.TB, owner keystore.Owner) (keystore.Store, keystore.VersionID) {
	t.Helper()
	const namespace = "keywright-system"
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, keywrightv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).Build()
	root, _, err := rootkey.Ensure(t.Context(), c, c, namespace, clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	store := software.New(c, c, namespace, root)
	m := keystoretest.NewMetadata()
	m.Owner = owner
	if _, err := store.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return store, m.ID
}

// TestOverTheSoftwareStore goes from plaintext to ciphertext and back with two
// servers that share nothing but the cluster, and flips every byte on the way.
func TestOverTheSoftwareStore(t *testing.T) {
	store, id := newSoftwareStore(t, keystore.Owner(orders))
	w := newWorld(t)
	server := func() *Service {
		ring := keyring.New(store, w.lookup, w.clock)
		ring.Set(keyring.Record{Name: orders, ID: id.Key, Latest: id.Version, Enabled: true})
		return New(ring, w.authz, w.audit, w.clock)
	}
	one, two := server(), server()
	encryptionContext := map[string]string{"tenant": "team-a"}
	sealed, err := one.Encrypt(t.Context(), alice, orders, []EncryptItem{{Plaintext: []byte(secretText), Context: encryptionContext}})
	if err != nil {
		t.Fatal(err)
	}
	ciphertext := sealed[0].Ciphertext
	opened, err := two.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: ciphertext, Context: encryptionContext}})
	if err != nil || string(opened[0].Plaintext) != secretText {
		t.Fatalf("%v %s", err, describe(opened))
	}
	for i := range ciphertext {
		ciphertext[i] ^= 0x10
		opened, err := two.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: ciphertext, Context: encryptionContext}})
		if err != nil || (!errors.Is(opened[0].Err, ErrInvalidCiphertext) && !errors.Is(opened[0].Err, ErrIncorrectKey)) {
			t.Fatalf("byte %d: %v %s", i, err, describe(opened))
		}
		ciphertext[i] ^= 0x10
	}
}
