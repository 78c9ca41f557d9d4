// Package software is the key store that keeps material in sealed Secrets and
// does the cryptography in this process.
package software

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/envelope"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/material"
	"github.com/keywright/keywright/internal/secret"
)

// Store is the software key store.
type Store struct {
	reader    client.Reader
	writer    client.Writer
	namespace string
	root      material.Root
}

var _ keystore.Store = (*Store)(nil)

// New returns a Store that keeps its Secrets in namespace, sealed under root.
// reader must not be cached: what a Store has created it must be able to read
// back. A nil writer makes a Store that creates nothing, for servers.
func New(reader client.Reader, writer client.Writer, namespace string, root material.Root) *Store {
	return &Store{reader: reader, writer: writer, namespace: namespace, root: root}
}

// Create implements keystore.Store.
func (s *Store) Create(ctx context.Context, m keystore.Metadata) (keystore.Metadata, error) {
	if m.KeySpec != keywrightv1alpha1.SymmetricDefaultKeySpec {
		return keystore.Metadata{}, fmt.Errorf("key spec %q: %w", m.KeySpec, keystore.ErrNotSupported)
	}
	if s.writer == nil {
		return keystore.Metadata{}, fmt.Errorf("create in a read-only key store: %w", keystore.ErrNotSupported)
	}
	key := secret.Random(xaesKeySize)
	defer key.Clear()
	sealed, err := material.Seal(s.root, s.namespace, m, key)
	if err != nil {
		return keystore.Metadata{}, err
	}
	if err := s.writer.Create(ctx, sealed); err != nil && !apierrors.IsAlreadyExists(err) {
		return keystore.Metadata{}, unavailable("create Secret "+sealed.Name, err)
	}
	stored, err := s.Open(ctx, m.ID)
	if err != nil {
		return keystore.Metadata{}, fmt.Errorf("read back: %w", err)
	}
	if got := stored.Metadata(); got.Owner != m.Owner {
		return keystore.Metadata{}, fmt.Errorf("Secret %s belongs to another EncryptionKey: %w", sealed.Name, keystore.ErrCorrupt)
	}
	return stored.Metadata(), nil
}

// Open implements keystore.Store.
func (s *Store) Open(ctx context.Context, id keystore.VersionID) (keystore.Key, error) {
	name := material.SecretName(id)
	var sealed corev1.Secret
	err := s.reader.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &sealed)
	switch {
	case apierrors.IsNotFound(err):
		return nil, fmt.Errorf("Secret %s: %w", name, keystore.ErrNotFound)
	case err != nil:
		return nil, unavailable("get Secret "+name, err)
	}
	m, key, err := material.Open(s.root, &sealed)
	switch {
	case errors.Is(err, material.ErrUnknownRootVersion):
		return nil, fmt.Errorf("%w: %w", keystore.ErrUnavailable, err)
	case err != nil:
		return nil, err
	}
	defer key.Clear()
	if m.KeySpec != keywrightv1alpha1.SymmetricDefaultKeySpec {
		// A later release has made it.
		return nil, fmt.Errorf("Secret %s: key spec %q: %w", name, m.KeySpec, keystore.ErrNotSupported)
	}
	x, err := newXAES(key.Unsafe())
	if err != nil {
		return nil, fmt.Errorf("Secret %s: %w", name, err)
	}
	return &softwareKey{metadata: m, xaes: x}, nil
}

// Check implements keystore.Store: it seals, opens and uses a key that is not
// stored.
func (s *Store) Check(_ context.Context) error {
	if s.root.Current() == 0 {
		return fmt.Errorf("root key: %w", keystore.ErrUnavailable)
	}
	aad := []byte("keywright/check/v1")
	key := secret.Random(xaesKeySize)
	defer key.Clear()
	sealed, err := s.root.Seal(key, aad)
	if err != nil {
		return fmt.Errorf("seal under the root key: %w", err)
	}
	opened, err := s.root.Open(s.root.Current(), sealed, aad)
	defer opened.Clear()
	if err != nil || !opened.Equal(key) {
		return fmt.Errorf("a round trip under the root key failed: %w", keystore.ErrUnavailable)
	}
	return nil
}

func unavailable(doing string, err error) error {
	return fmt.Errorf("%s: %w: %w", doing, keystore.ErrUnavailable, err)
}

// softwareKey is an open version.
type softwareKey struct {
	metadata keystore.Metadata
	xaes     *xaes
}

var _ keystore.Sealer = (*softwareKey)(nil)

// Metadata implements keystore.Key.
func (k *softwareKey) Metadata() keystore.Metadata { return k.metadata }

// Algorithm implements keystore.Sealer.
func (k *softwareKey) Algorithm() envelope.Algorithm { return envelope.AlgorithmXAES256GCM }

// Overhead implements keystore.Sealer.
func (k *softwareKey) Overhead() int { return xaesOverhead }

// Seal implements keystore.Sealer.
func (k *softwareKey) Seal(_ context.Context, dst, plaintext, aad []byte) ([]byte, error) {
	return k.xaes.seal(dst, plaintext, aad)
}

// Open implements keystore.Sealer.
func (k *softwareKey) Open(_ context.Context, dst, sealed, aad []byte) ([]byte, error) {
	return k.xaes.open(dst, sealed, aad)
}
