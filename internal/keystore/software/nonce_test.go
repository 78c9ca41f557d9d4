package software_test

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"
	"sync"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keywright/keywright/internal/keystore/keystoretest"
	"github.com/keywright/keywright/internal/keystore/software"
)

const nonceSize, prefixSize = 24, 12

// TestEdge03 seals 10^6 messages with one key version, in two replicas that have
// opened it each for itself, and looks for a nonce or a message key that comes
// twice. The two halves of a message key are each a permutation of the first half
// of the nonce, so that distinct first halves are distinct message keys.
func TestEdge03(t *testing.T) {
	const replicas, routines, messages = 2, 4, 125_000
	c := newClient(t, interceptor.Funcs{})
	m := keystoretest.NewMetadata()
	if _, err := software.New(c, c, namespace, newRoot(t, c)).Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	nonces := make([][nonceSize]byte, replicas*routines*messages)
	var group sync.WaitGroup
	for replica := range replicas {
		key := open(t, software.New(c, nil, namespace, newRoot(t, c)), m.ID)
		for routine := range routines {
			mine := nonces[(replica*routines+routine)*messages:][:messages]
			group.Go(func() {
				buffer := make([]byte, 0, 64)
				for i := range mine {
					sealed, err := key.Seal(ctx, buffer, nil, nil)
					if err != nil {
						t.Error(err)
						return
					}
					mine[i] = [nonceSize]byte(sealed)
				}
			})
		}
	}
	group.Wait()
	for name, at := range map[string]int{"message key (first half of the nonce)": 0, "GCM nonce (second half)": prefixSize} {
		half := func(i int) []byte { return nonces[i][at : at+prefixSize] }
		slices.SortFunc(nonces, func(a, b [nonceSize]byte) int {
			// Eight bytes nearly always decide, and are quicker to compare.
			if c := cmp.Compare(binary.BigEndian.Uint64(a[at:]), binary.BigEndian.Uint64(b[at:])); c != 0 {
				return c
			}
			return bytes.Compare(a[at:at+prefixSize], b[at:at+prefixSize])
		})
		for i := 1; i < len(nonces); i++ {
			if bytes.Equal(half(i-1), half(i)) {
				t.Fatalf("a %s came twice: %x", name, half(i))
			}
		}
	}
}
