package material

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/secret"
)

const namespace = "keywright-system"

// testRoot is a Root with the versions that are in it.
type testRoot struct {
	current  uint32
	versions map[uint32]cipher.AEAD
	// openErr, if set, is what Open returns.
	openErr error
}

var _ Root = (*testRoot)(nil)

// newTestRoot returns a Root of one version, which is number version and whose
// key is that byte 32 times.
func newTestRoot(t *testing.T, version byte) *testRoot {
	t.Helper()
	key := make([]byte, 32)
	for i := range key {
		key[i] = version
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		t.Fatal(err)
	}
	return &testRoot{current: uint32(version), versions: map[uint32]cipher.AEAD{uint32(version): aead}}
}

func (r *testRoot) Current() uint32 { return r.current }

func (r *testRoot) Seal(plaintext secret.Bytes, aad []byte) ([]byte, error) {
	return r.versions[r.current].Seal(nil, nil, plaintext.Unsafe(), aad), nil
}

func (r *testRoot) Open(version uint32, sealed, aad []byte) (secret.Bytes, error) {
	if r.openErr != nil {
		return secret.Bytes{}, r.openErr
	}
	aead, ok := r.versions[version]
	if !ok {
		return secret.Bytes{}, ErrUnknownRootVersion
	}
	plaintext, err := aead.Open(nil, nil, sealed, aad)
	if err != nil {
		return secret.Bytes{}, keystore.ErrOpen
	}
	return secret.New(plaintext), nil
}

// replacedRoot answers Current with a version that is replaced before Seal.
type replacedRoot struct{ *testRoot }

func (replacedRoot) Current() uint32 { return 9 }

func TestSealNeverReturnsWhatDoesNotOpen(t *testing.T) {
	for name, root := range map[string]Root{
		"the root key is replaced meanwhile": replacedRoot{newTestRoot(t, 1)},
		"the root key is taken away":         &testRoot{current: 1, versions: newTestRoot(t, 1).versions, openErr: errors.New("gone")},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Seal(root, namespace, metadata(1), secret.Random(32))
			if !errors.Is(err, keystore.ErrUnavailable) || s != nil {
				t.Errorf("Seal = %v, %v; want ErrUnavailable", s, err)
			}
		})
	}
}

var keyID = uuid.MustParse("6f1c2d3e-4a5b-4c6d-8e7f-90a1b2c3d4e5")

// metadata is of a version of the key keyID, which is team-a/orders.
func metadata(version uint32) keystore.Metadata {
	return keystore.Metadata{
		ID:        keystore.VersionID{Key: keyID, Version: version},
		Owner:     keystore.Owner{Namespace: "team-a", Name: "orders"},
		KeySpec:   keywrightv1alpha1.SymmetricDefaultKeySpec,
		Origin:    keywrightv1alpha1.CreatedVersionOrigin,
		CreatedAt: time.Date(2026, time.July, 1, 12, 30, 0, 123456789, time.UTC),
	}
}
