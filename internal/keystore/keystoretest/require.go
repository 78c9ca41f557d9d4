package keystoretest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keywright/keywright/internal/keystore"
)

// longName is as long as the name of a resource can be.
var longName = strings.Repeat("n", 253)

// stated are the errors that the contract knows.
var stated = []error{keystore.ErrNotFound, keystore.ErrUnavailable, keystore.ErrCorrupt, keystore.ErrNotSupported, keystore.ErrOpen}

// requireError fails unless err is want and none of the other errors of the
// contract.
func requireError(t *testing.T, err, want error) {
	t.Helper()
	for _, e := range stated {
		if errors.Is(err, e) != (e == want) { //nolint:errorlint // which of them it is
			t.Fatalf("the error is %v, want %v alone", err, want)
		}
	}
}

// requireMetadata compares times by instant.
func requireMetadata(t *testing.T, what string, got, want keystore.Metadata) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// requireErrOpen fails unless key refuses sealed with ErrOpen, says nothing else,
// and returns nothing.
func requireErrOpen(t *testing.T, key keystore.Sealer, sealed, aad []byte) {
	t.Helper()
	plaintext, err := key.Open(t.Context(), nil, sealed, aad)
	requireError(t, err, keystore.ErrOpen)
	if err.Error() != keystore.ErrOpen.Error() {
		t.Fatalf("the error says more than it should: %v", err)
	}
	if plaintext != nil {
		t.Fatalf("Open returned %d bytes with its error", len(plaintext))
	}
}

func requireOpens(t *testing.T, key keystore.Sealer, sealed, aad, want []byte) {
	t.Helper()
	got, err := key.Open(t.Context(), nil, sealed, aad)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("opened %d bytes that are not the %d that were sealed", len(got), len(want))
	}
}

func create(t *testing.T, store keystore.Store, m keystore.Metadata) {
	t.Helper()
	if _, err := store.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, store keystore.Store, id keystore.VersionID) keystore.Sealer {
	t.Helper()
	key, err := store.Open(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return sealer(t, key)
}

func newKey(t *testing.T, store keystore.Store) keystore.Sealer {
	t.Helper()
	m := NewMetadata()
	create(t, store, m)
	return open(t, store, m.ID)
}

func sealer(t *testing.T, key keystore.Key) keystore.Sealer {
	t.Helper()
	s, ok := key.(keystore.Sealer)
	if !ok {
		t.Fatalf("a key for encryption is a %T, which seals nothing", key)
	}
	return s
}

func seal(t *testing.T, key keystore.Sealer, plaintext, aad []byte) []byte {
	t.Helper()
	sealed, err := key.Seal(t.Context(), nil, plaintext, aad)
	if err != nil {
		t.Fatal(err)
	}
	return sealed
}
