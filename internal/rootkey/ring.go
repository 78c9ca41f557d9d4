// Package rootkey is the key that seals the material of the software key store.
//
// It rests in the Secret keywright-root as wraps, one for each sealer, any of
// which opens it. The only sealer so far is a key in a Secret beside it:
//
//	keywright-root         type keywright.dev/root-key     data.root: JSON, the wraps
//	keywright-root-sealer  type keywright.dev/root-sealer  data.key: 32 bytes
//
// That is an arrangement and not a protection: who reads both Secrets has every
// key. The KeyStore says so in its condition RootKeyProtected.
//
// A root key is made once in the life of an installation. When it is gone while
// anything shows that there was one, nothing is made in its place, because
// whatever it sealed would then look corrupt instead of missing.
package rootkey

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/material"
	"github.com/keywright/keywright/internal/secret"
)

// Size is the length of a root key and of a sealer's key: AES-256.
const Size = 32

// Ring is an open root key in all its versions. It is safe for concurrent use.
type Ring struct {
	current  uint32
	versions map[uint32]cipher.AEAD
}

var _ material.Root = (*Ring)(nil)

// newAEAD returns AES-256-GCM with random 96-bit nonces, which is good for 2^32
// messages (NIST SP 800-38D §8.3). A root key seals one message for every key
// version.
func newAEAD(key secret.Bytes) (cipher.AEAD, error) {
	if key.Len() != Size {
		return nil, fmt.Errorf("key has %d bytes, want %d", key.Len(), Size)
	}
	block, err := aes.NewCipher(key.Unsafe())
	if err != nil {
		return nil, fmt.Errorf("expand key: %w", err)
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// Current implements material.Root.
func (r *Ring) Current() uint32 { return r.current }

// Seal implements material.Root.
func (r *Ring) Seal(plaintext secret.Bytes, aad []byte) ([]byte, error) {
	return r.versions[r.current].Seal(nil, nil, plaintext.Unsafe(), aad), nil
}

// Open implements material.Root.
func (r *Ring) Open(version uint32, sealed, aad []byte) (secret.Bytes, error) {
	aead, ok := r.versions[version]
	if !ok {
		return secret.Bytes{}, material.ErrUnknownRootVersion
	}
	plaintext, err := aead.Open(nil, nil, sealed, aad)
	if err != nil {
		return secret.Bytes{}, keystore.ErrOpen
	}
	return secret.New(plaintext), nil
}

// errNotLoaded says that there is no open root key in this process.
var errNotLoaded = errors.New("the root key is not open")

// Source is the root key of this process, once it is open. The zero value has
// none. It is safe for concurrent use.
type Source struct {
	ring atomic.Pointer[Ring]
}

var _ material.Root = (*Source)(nil)

// Set replaces the root key; nil takes it away.
func (s *Source) Set(ring *Ring) { s.ring.Store(ring) }

// Ready returns nil once there is a root key. Errors: keystore.ErrUnavailable.
func (s *Source) Ready() error {
	if s.ring.Load() == nil {
		return fmt.Errorf("%w: %w", keystore.ErrUnavailable, errNotLoaded)
	}
	return nil
}

// Current implements material.Root; it is zero while there is no root key.
func (s *Source) Current() uint32 {
	if ring := s.ring.Load(); ring != nil {
		return ring.Current()
	}
	return 0
}

// Seal implements material.Root. Errors: keystore.ErrUnavailable.
func (s *Source) Seal(plaintext secret.Bytes, aad []byte) ([]byte, error) {
	ring := s.ring.Load()
	if ring == nil {
		return nil, s.Ready()
	}
	return ring.Seal(plaintext, aad)
}

// Open implements material.Root. Errors: also keystore.ErrUnavailable.
func (s *Source) Open(version uint32, sealed, aad []byte) (secret.Bytes, error) {
	ring := s.ring.Load()
	if ring == nil {
		return secret.Bytes{}, s.Ready()
	}
	return ring.Open(version, sealed, aad)
}
