// Package material is the form in which key material rests: one immutable Secret
// for every key version, sealed under the root key.
//
//	metadata.name  kw-<key id>-v<version>
//	type           keywright.dev/material
//	data.header    JSON: who owns the version, which it is, when and why it was made
//	data.sealed    nonce (12) ‖ AES-256-GCM(root key, material) ‖ tag (16)
//
// The header is authenticated with the material: the AAD is the label
// "keywright/material/v1", a zero byte and the bytes of data.header as they are.
// So a Secret cannot be renumbered, renamed, or handed to another owner, and
// what decisions are made from cannot be forged. Labels only index.
package material

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/secret"
)

// SecretType is the type of material Secrets. A Secret's type is immutable, so
// policies that guard material go by it.
const SecretType corev1.SecretType = "keywright.dev/material"

const (
	headerKey = "header"
	sealedKey = "sealed"

	format   = 1
	aadLabel = "keywright/material/v1\x00"
)

// ErrUnknownRootVersion is returned by a Root that does not have the version
// that a Secret is sealed under.
var ErrUnknownRootVersion = errors.New("root key version is not known")

// Root seals and opens material under a version of the root key.
type Root interface {
	// Current returns the version that seals.
	Current() uint32
	// Seal seals under the current version.
	Seal(plaintext secret.Bytes, aad []byte) ([]byte, error)
	// Open opens what Seal returned. Errors: ErrUnknownRootVersion,
	// keystore.ErrOpen.
	Open(version uint32, sealed, aad []byte) (secret.Bytes, error)
}

// header is the JSON form of what is authenticated.
type header struct {
	Format      int                             `json:"format"`
	RootVersion uint32                          `json:"rootVersion"`
	KeyID       string                          `json:"keyID"`
	Version     uint32                          `json:"version"`
	KeySpec     keywrightv1alpha1.KeySpec       `json:"keySpec"`
	Origin      keywrightv1alpha1.VersionOrigin `json:"origin"`
	CreatedAt   time.Time                       `json:"createdAt"`
	RequestedAt time.Time                       `json:"requestedAt,omitzero"`
	Namespace   string                          `json:"namespace"`
	Name        string                          `json:"name"`
}

// SecretName returns the name of the Secret of a key version. It follows from
// the id, so that whoever makes a version twice finds the first.
func SecretName(id keystore.VersionID) string {
	return fmt.Sprintf("kw-%s-v%d", id.Key, id.Version)
}

// OwnerHash returns the value of the owner label: namespace and name in a form
// that fits a label.
func OwnerHash(owner keystore.Owner) string {
	sum := sha256.Sum256([]byte(owner.Namespace + "/" + owner.Name))
	return hex.EncodeToString(sum[:20])
}

// Seal returns the Secret for a key version. It opens what it has sealed before
// it returns it. Errors: keystore.ErrUnavailable.
func Seal(root Root, namespace string, m keystore.Metadata, key secret.Bytes) (*corev1.Secret, error) {
	if m.ID.Version == 0 || m.ID.Key == (keystore.KeyID{}) {
		// decode would refuse it, and a Secret cannot be taken back.
		return nil, fmt.Errorf("seal version %d of key %s: there is no such version", m.ID.Version, m.ID.Key)
	}
	rootVersion := root.Current()
	h, err := json.Marshal(header{
		Format:      format,
		RootVersion: rootVersion,
		KeyID:       m.ID.Key.String(),
		Version:     m.ID.Version,
		KeySpec:     m.KeySpec,
		Origin:      m.Origin,
		CreatedAt:   m.CreatedAt.UTC(),
		RequestedAt: m.RequestedAt.UTC(),
		Namespace:   m.Owner.Namespace,
		Name:        m.Owner.Name,
	})
	if err != nil {
		return nil, fmt.Errorf("encode material header: %w", err)
	}
	sealed, err := root.Seal(key, aad(h))
	if err != nil {
		return nil, fmt.Errorf("seal material: %w", err)
	}
	// The root key may have been replaced between Current and Seal. A Secret that
	// says the wrong version would be corrupt for ever.
	opened, err := root.Open(rootVersion, sealed, aad(h))
	defer opened.Clear()
	if err != nil || !opened.Equal(key) {
		return nil, fmt.Errorf("open material that was just sealed under root key version %d: %w", rootVersion, keystore.ErrUnavailable)
	}
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace,
			Name:      SecretName(m.ID),
			Labels: map[string]string{
				keywrightv1alpha1.MaterialLabel:  "true",
				keywrightv1alpha1.KeyIDLabel:     m.ID.Key.String(),
				keywrightv1alpha1.VersionLabel:   strconv.FormatUint(uint64(m.ID.Version), 10),
				keywrightv1alpha1.OwnerHashLabel: OwnerHash(m.Owner),
			},
			Annotations: map[string]string{
				keywrightv1alpha1.OwnerAnnotation: m.Owner.Namespace + "/" + m.Owner.Name,
			},
		},
		Type:      SecretType,
		Immutable: new(true),
		Data:      map[string][]byte{headerKey: h, sealedKey: sealed},
	}, nil
}

// Open returns what is sealed in a Secret. Errors: keystore.ErrCorrupt if it is
// not what Seal made for a Secret of this name, ErrUnknownRootVersion, and
// whatever else the Root returns, such as keystore.ErrUnavailable. The caller
// clears the key after use.
func Open(root Root, s *corev1.Secret) (keystore.Metadata, secret.Bytes, error) {
	m, rootVersion, err := decode(s)
	if err != nil {
		return keystore.Metadata{}, secret.Bytes{}, err
	}
	key, err := root.Open(rootVersion, s.Data[sealedKey], aad(s.Data[headerKey]))
	switch {
	case errors.Is(err, ErrUnknownRootVersion):
		return keystore.Metadata{}, secret.Bytes{}, fmt.Errorf("Secret %s is sealed under root key version %d: %w", s.Name, rootVersion, err)
	case errors.Is(err, keystore.ErrOpen):
		return keystore.Metadata{}, secret.Bytes{}, corrupt(s, "it does not open under root key version %d", rootVersion)
	case err != nil:
		// It may open another time: only what was tried and failed is corrupt.
		return keystore.Metadata{}, secret.Bytes{}, fmt.Errorf("open Secret %s: %w", s.Name, err)
	}
	return m, key, nil
}

func decode(s *corev1.Secret) (keystore.Metadata, uint32, error) {
	if s.Type != SecretType {
		return keystore.Metadata{}, 0, corrupt(s, "its type is %q", s.Type)
	}
	var h header
	decoder := json.NewDecoder(bytes.NewReader(s.Data[headerKey]))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&h); err != nil {
		return keystore.Metadata{}, 0, corrupt(s, "its header cannot be read")
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return keystore.Metadata{}, 0, corrupt(s, "its header cannot be read")
	}
	if h.Format != format {
		return keystore.Metadata{}, 0, corrupt(s, "its format is %d and this release knows %d", h.Format, format)
	}
	keyID, err := keystore.ParseKeyID(h.KeyID)
	if err != nil {
		return keystore.Metadata{}, 0, corrupt(s, "its key id is %w", err)
	}
	m := keystore.Metadata{
		ID:          keystore.VersionID{Key: keyID, Version: h.Version},
		Owner:       keystore.Owner{Namespace: h.Namespace, Name: h.Name},
		KeySpec:     h.KeySpec,
		Origin:      h.Origin,
		CreatedAt:   h.CreatedAt,
		RequestedAt: h.RequestedAt,
	}
	if h.Version == 0 || SecretName(m.ID) != s.Name {
		return keystore.Metadata{}, 0, corrupt(s, "it holds version %d of key %s", h.Version, h.KeyID)
	}
	return m, h.RootVersion, nil
}

func corrupt(s *corev1.Secret, format string, args ...any) error {
	return fmt.Errorf("Secret %s: "+format+": %w", append(append([]any{s.Name}, args...), keystore.ErrCorrupt)...)
}

func aad(header []byte) []byte {
	return append([]byte(aadLabel), header...)
}
