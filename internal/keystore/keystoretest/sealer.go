package keystoretest

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"

	"github.com/keywright/keywright/internal/keystore"
)

func testRoundTrip(t *testing.T, newStore NewStore) {
	key := newKey(t, newStore(t))
	for name, plaintext := range map[string][]byte{
		"no plaintext":       nil,
		"an empty plaintext": {},
		"one byte":           {0},
		"one block":          bytes.Repeat([]byte{0xff}, 16),
		"a block and a byte": bytes.Repeat([]byte{0xff}, 17),
		"64 KiB":             bytes.Repeat([]byte("keywright 64 KiB"), 4<<10),
	} {
		for aadName, aad := range map[string][]byte{"no aad": nil, "an aad": []byte("aad"), "an aad of 8 KiB": make([]byte, 8<<10)} {
			t.Run(name+" with "+aadName, func(t *testing.T) {
				requireOpens(t, key, seal(t, key, plaintext, aad), aad, plaintext)
			})
		}
	}
	t.Run("no aad and an empty one are the same", func(t *testing.T) {
		requireOpens(t, key, seal(t, key, []byte("p"), nil), []byte{}, []byte("p"))
		requireOpens(t, key, seal(t, key, []byte("p"), []byte{}), nil, []byte("p"))
	})
}

func testOverhead(t *testing.T, newStore NewStore) {
	key := newKey(t, newStore(t))
	for _, size := range []int{0, 1, 15, 16, 4096} {
		if got := len(seal(t, key, make([]byte, size), nil)); got != size+key.Overhead() {
			t.Errorf("%d bytes seal to %d, want %d and the overhead of %d", size, got, size, key.Overhead())
		}
	}
}

func testAppend(t *testing.T, newStore NewStore) {
	key := newKey(t, newStore(t))
	plaintext, aad := []byte("plaintext"), []byte("aad")
	for name, capacity := range map[string]int{"without room": 0, "with some room": 4, "with enough room": 1 << 10} {
		t.Run(name, func(t *testing.T) {
			prefix := []byte("prefix")
			dst := append(make([]byte, 0, len(prefix)+capacity), prefix...)
			sealed, err := key.Seal(t.Context(), dst, plaintext, aad)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.HasPrefix(sealed, prefix) || !bytes.Equal(dst, prefix) {
				t.Fatalf("Seal disturbed dst: %q, %q", sealed, dst)
			}
			requireOpens(t, key, sealed[len(prefix):], aad, plaintext)

			dst = append(make([]byte, 0, len(prefix)+capacity), prefix...)
			opened, err := key.Open(t.Context(), dst, sealed[len(prefix):], aad)
			if err != nil {
				t.Fatal(err)
			}
			if string(opened) != "prefixplaintext" || !bytes.Equal(dst, prefix) {
				t.Fatalf("Open disturbed dst: %q, %q", opened, dst)
			}
		})
	}
}

func testInputs(t *testing.T, newStore NewStore) {
	key := newKey(t, newStore(t))
	plaintext, aad := []byte("plaintext"), []byte("aad")
	sealed := seal(t, key, plaintext, aad)
	if string(plaintext) != "plaintext" || string(aad) != "aad" {
		t.Errorf("Seal changed its inputs: %q, %q", plaintext, aad)
	}
	before := bytes.Clone(sealed)
	requireOpens(t, key, sealed, aad, plaintext)
	if !bytes.Equal(sealed, before) || string(aad) != "aad" {
		t.Error("Open changed its inputs")
	}
	clear(plaintext)
	requireOpens(t, key, sealed, aad, []byte("plaintext"))
}

func testFresh(t *testing.T, newStore NewStore) {
	key := newKey(t, newStore(t))
	seen := map[string]bool{}
	for range 1000 {
		seen[string(seal(t, key, []byte("the same"), nil))] = true
	}
	if len(seen) != 1000 {
		t.Errorf("1000 seals gave %d different ciphertexts", len(seen))
	}
}

func testWrongAAD(t *testing.T, newStore NewStore) {
	key := newKey(t, newStore(t))
	for name, pair := range map[string][2][]byte{
		"none for some":          {[]byte("aad"), nil},
		"some for none":          {nil, []byte("aad")},
		"a zero byte for none":   {nil, {0}},
		"one byte more":          {[]byte("aad"), []byte("aad\x00")},
		"one byte less":          {[]byte("aad"), []byte("aa")},
		"another case":           {[]byte("aad"), []byte("aaD")},
		"the plaintext":          {[]byte("aad"), []byte("plaintext")},
		"the last bit of 8 KiB":  {make([]byte, 8<<10), append(make([]byte, 8<<10-1), 1)},
		"the first bit of 8 KiB": {make([]byte, 8<<10), append([]byte{0x80}, make([]byte, 8<<10-1)...)},
	} {
		t.Run(name, func(t *testing.T) {
			requireErrOpen(t, key, seal(t, key, []byte("plaintext"), pair[0]), pair[1])
		})
	}
}

func testFlippedBits(t *testing.T, newStore NewStore) {
	key := newKey(t, newStore(t))
	for _, size := range []int{0, 1, 33} {
		sealed := seal(t, key, make([]byte, size), []byte("aad"))
		for bit := range len(sealed) * 8 {
			flipped := bytes.Clone(sealed)
			flipped[bit/8] ^= 1 << (bit % 8)
			requireErrOpen(t, key, flipped, []byte("aad"))
		}
	}
}

func testTruncated(t *testing.T, newStore NewStore) {
	key := newKey(t, newStore(t))
	sealed := seal(t, key, make([]byte, 33), nil)
	requireErrOpen(t, key, nil, nil)
	for n := range sealed {
		requireErrOpen(t, key, sealed[:n], nil)
		requireErrOpen(t, key, sealed[n+1:], nil)
	}
	requireErrOpen(t, key, append(bytes.Clone(sealed), 0), nil)
	requireErrOpen(t, key, append([]byte{0}, sealed...), nil)
	requireErrOpen(t, key, append(bytes.Clone(sealed), sealed...), nil)
	// Lengths at which a careless implementation would slice out of bounds.
	for n := range 2 * key.Overhead() {
		requireErrOpen(t, key, make([]byte, n), nil)
	}
}

func testOpensAreInterchangeable(t *testing.T, newStore NewStore) {
	store := newStore(t)
	m := NewMetadata()
	create(t, store, m)
	a, b := open(t, store, m.ID), open(t, store, m.ID)
	requireOpens(t, b, seal(t, a, []byte("from a"), nil), nil, []byte("from a"))
	requireOpens(t, a, seal(t, b, []byte("from b"), nil), nil, []byte("from b"))
	if a.Algorithm() != b.Algorithm() || a.Overhead() != b.Overhead() {
		t.Error("two opens of one version differ in algorithm or overhead")
	}
}

func testVersionsDiffer(t *testing.T, newStore NewStore) {
	store := newStore(t)
	first := NewMetadata()
	second, other := first, first
	second.ID.Version = 2
	other.ID.Key = uuid.New()
	var keys []keystore.Sealer
	for _, m := range []keystore.Metadata{first, second, other} {
		create(t, store, m)
		keys = append(keys, open(t, store, m.ID))
	}
	for i, from := range keys {
		sealed := seal(t, from, []byte("plaintext"), nil)
		for j, to := range keys {
			if i != j {
				requireErrOpen(t, to, sealed, nil)
			}
		}
	}
}

func testConcurrentUse(t *testing.T, newStore NewStore) {
	store := newStore(t)
	key := newKey(t, store)
	var group sync.WaitGroup
	errs := make([]error, 16)
	for i := range errs {
		group.Go(func() {
			plaintext, aad := fmt.Appendf(nil, "plaintext %d", i), fmt.Appendf(nil, "aad %d", i)
			for range 50 {
				sealed, err := key.Seal(t.Context(), nil, plaintext, aad)
				if err != nil {
					errs[i] = err
					return
				}
				opened, err := key.Open(t.Context(), nil, sealed, aad)
				if err != nil || !bytes.Equal(opened, plaintext) {
					errs[i] = fmt.Errorf("sealed %q, opened %q: %w", plaintext, opened, err)
					return
				}
			}
		})
		group.Go(func() {
			if _, err := store.Create(t.Context(), NewMetadata()); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Error(err)
	}
}
