package software

import (
	"errors"
	"testing"

	"github.com/keywright/keywright/internal/keystore"
)

// TestMessageKeysDiffer takes every bit of the first half of the nonce and of the
// key: whichever changes, the message key does.
func TestMessageKeysDiffer(t *testing.T) {
	encrypted := map[[blockSize]byte]string{}
	derive := func(name string, key, prefix []byte) {
		x, err := newXAES(key)
		if err != nil {
			t.Fatal(err)
		}
		block, err := x.messageBlock(prefix)
		if err != nil {
			t.Fatal(err)
		}
		var b [blockSize]byte
		block.Encrypt(b[:], b[:])
		if other, ok := encrypted[b]; ok {
			t.Errorf("%s and %s have the same message key", name, other)
		}
		encrypted[b] = name
	}
	key, prefix := make([]byte, xaesKeySize), make([]byte, prefixSize)
	derive("all zeros", key, prefix)
	for _, input := range [][]byte{key, prefix} {
		for bit := range len(input) * 8 {
			input[bit/8] ^= 1 << (bit % 8)
			derive("one bit", key, prefix)
			input[bit/8] ^= 1 << (bit % 8)
		}
	}
	if len(encrypted) != 1+8*(xaesKeySize+prefixSize) {
		t.Errorf("%d message keys", len(encrypted))
	}
}

func TestKeysOfAnotherSizeAreCorrupt(t *testing.T) {
	for _, size := range []int{0, 16, 24, 31, 33, 64} {
		if _, err := newXAES(make([]byte, size)); !errors.Is(err, keystore.ErrCorrupt) {
			t.Errorf("a key of %d bytes: %v, want ErrCorrupt", size, err)
		}
	}
}
