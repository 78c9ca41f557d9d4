package rootkey

import (
	"crypto/cipher"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/keywright/keywright/internal/secret"
)

// document is data.root of the Secret keywright-root.
type document struct {
	Format   int       `json:"format"`
	Versions []version `json:"versions"`
}

// version is one generation of the root key. The last one in the document seals.
type version struct {
	Version   uint32    `json:"version"`
	CreatedAt time.Time `json:"createdAt"`
	Wraps     []wrap    `json:"wraps"`
}

// wrap is the root key as one sealer wrapped it.
type wrap struct {
	// Sealer is the name of the sealer.
	Sealer string `json:"sealer"`
	// Wrapped is nonce (12) ‖ AES-256-GCM(sealer's key, root key) ‖ tag (16), with
	// the AAD of wrapAAD.
	Wrapped []byte `json:"wrapped"`
}

const documentFormat = 1

// wrapAAD binds a wrap to its place, so that wraps cannot be swapped.
func wrapAAD(sealer string, version uint32) []byte {
	aad := append([]byte("keywright/root/v1\x00"), sealer...)
	return binary.BigEndian.AppendUint32(append(aad, 0), version)
}

// newDocument wraps a new root key of version 1.
func newDocument(sealer string, sealerKey, root secret.Bytes, now time.Time) ([]byte, error) {
	aead, err := newAEAD(sealerKey)
	if err != nil {
		return nil, fmt.Errorf("sealer %s: %w", sealer, err)
	}
	const first = 1
	return json.Marshal(document{Format: documentFormat, Versions: []version{{
		Version:   first,
		CreatedAt: now.UTC().Truncate(time.Second),
		Wraps: []wrap{{
			Sealer:  sealer,
			Wrapped: aead.Seal(nil, nil, root.Unsafe(), wrapAAD(sealer, first)),
		}},
	}}})
}

// open opens every version in the document with the key of one sealer.
func open(encoded []byte, sealer string, sealerKey secret.Bytes) (*Ring, error) {
	var d document
	if err := json.Unmarshal(encoded, &d); err != nil {
		// The decoder's message would quote the input.
		return nil, errors.New("data.root cannot be read")
	}
	if d.Format != documentFormat {
		return nil, fmt.Errorf("data.root has format %d and this release knows %d", d.Format, documentFormat)
	}
	aead, err := newAEAD(sealerKey)
	if err != nil {
		return nil, fmt.Errorf("sealer %s: %w", sealer, err)
	}
	ring := &Ring{versions: map[uint32]cipher.AEAD{}}
	for _, v := range d.Versions {
		root, err := unwrap(aead, v, sealer)
		if err != nil {
			return nil, fmt.Errorf("root key version %d: %w", v.Version, err)
		}
		ring.versions[v.Version], err = newAEAD(root)
		root.Clear()
		if err != nil {
			return nil, fmt.Errorf("root key version %d: %w", v.Version, err)
		}
		ring.current = v.Version
	}
	if ring.current == 0 {
		return nil, errors.New("data.root holds no root key")
	}
	return ring, nil
}

func unwrap(aead cipher.AEAD, v version, sealer string) (secret.Bytes, error) {
	for _, w := range v.Wraps {
		if w.Sealer != sealer {
			continue
		}
		root, err := aead.Open(nil, nil, w.Wrapped, wrapAAD(sealer, v.Version))
		if err != nil {
			return secret.Bytes{}, fmt.Errorf("sealer %s does not open it", sealer)
		}
		return secret.New(root), nil
	}
	return secret.Bytes{}, fmt.Errorf("sealer %s has no wrap of it", sealer)
}
