// Package keystore is the contract between Keywright and what holds key
// material. A Store makes and opens key versions; a Key does the cryptography
// with one of them. Whether the material is a sealed Secret or an object in an
// HSM is the store's affair.
//
// Every store passes the suite in keystoretest.
package keystore

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/envelope"
)

// Errors of a Store and its Keys. They are wrapped; compare with errors.Is.
var (
	// ErrNotFound is returned when there is no such key version.
	ErrNotFound = errors.New("key version not found")
	// ErrUnavailable is returned when the store cannot be used at the moment;
	// trying again later may succeed.
	ErrUnavailable = errors.New("key store unavailable")
	// ErrCorrupt is returned when a key version is there and does not open:
	// trying again does not help, restoring it does.
	ErrCorrupt = errors.New("key material corrupt")
	// ErrNotSupported is returned for a key spec or operation that the store
	// does not have.
	ErrNotSupported = errors.New("not supported by the key store")
	// ErrOpen is returned by Sealer.Open for everything that is not an authentic
	// ciphertext, whichever byte was wrong.
	ErrOpen = errors.New("not an authentic ciphertext")
)

// KeyID is the identity of a key. It is never reused.
type KeyID = uuid.UUID

// ParseKeyID reads the canonical form of a key id: 36 lower-case characters.
func ParseKeyID(s string) (KeyID, error) {
	id, err := uuid.Parse(s)
	if err != nil || id.String() != s || id == uuid.Nil {
		return KeyID{}, errors.New("not a UUID in its canonical form of 36 lower-case characters")
	}
	return id, nil
}

// VersionID names one version of one key.
type VersionID struct {
	Key     KeyID
	Version uint32
}

// Owner is the EncryptionKey that a key version was made for.
type Owner struct {
	Namespace string
	Name      string
}

// Metadata is what a store keeps about a key version and authenticates with its
// material: what decisions are made from.
type Metadata struct {
	ID        VersionID
	Owner     Owner
	KeySpec   keywrightv1alpha1.KeySpec
	Origin    keywrightv1alpha1.VersionOrigin
	CreatedAt time.Time
	// RequestedAt is the spec.rotation.requestedAt that this version fulfils; zero
	// when there was none.
	RequestedAt time.Time
}

// Store keeps key material and does the cryptography with it. It is safe for
// concurrent use, also by several processes.
type Store interface {
	// Create makes the version m.ID, or adopts the one that is already there, and
	// returns the metadata of what is there, read back from where it rests. Safe
	// to repeat and to race: all callers get the same answer. Errors:
	// ErrUnavailable, ErrCorrupt (there is something, and it does not open),
	// ErrNotSupported.
	Create(ctx context.Context, m Metadata) (Metadata, error)
	// Open returns a key version for use. Errors: ErrNotFound, ErrCorrupt,
	// ErrUnavailable, ErrNotSupported (a later release made it).
	Open(ctx context.Context, id VersionID) (Key, error)
	// Check does a real round trip. Errors: ErrUnavailable.
	Check(ctx context.Context) error
}

// Key is an open key version. It is safe for concurrent use. What it can do are
// further interfaces, found by type assertion: Sealer.
type Key interface {
	// Metadata returns what was authenticated with the material.
	Metadata() Metadata
}

// Sealer is a Key for authenticated encryption.
type Sealer interface {
	Key
	// Algorithm goes into the header of the ciphertexts.
	Algorithm() envelope.Algorithm
	// Overhead is how many bytes Seal adds to a plaintext.
	Overhead() int
	// Seal appends the encrypted plaintext, nonce and tag included, to dst. dst
	// and plaintext must not overlap. Errors: ErrUnavailable.
	Seal(ctx context.Context, dst, plaintext, aad []byte) ([]byte, error)
	// Open appends the plaintext to dst. dst and sealed must not overlap. Errors:
	// ErrOpen, ErrUnavailable.
	Open(ctx context.Context, dst, sealed, aad []byte) ([]byte, error)
}
