package software

import (
	"bytes"
	"testing"
)

// TestEdge05_NonceIsTheStoresOwn is what edge 5 comes to for software: no caller
// gives an IV, both halves of the nonce are new for every message, and opening
// goes by the nonce that is there and not by another.
func TestEdge05_NonceIsTheStoresOwn(t *testing.T) {
	x, err := newXAES(bytes.Repeat([]byte{7}, xaesKeySize))
	if err != nil {
		t.Fatal(err)
	}
	plaintext, aad := []byte("card 4111"), []byte("aad")
	first, err := x.seal(nil, plaintext, aad)
	if err != nil {
		t.Fatal(err)
	}
	second, err := x.seal(nil, plaintext, aad)
	if err != nil {
		t.Fatal(err)
	}
	for name, half := range map[string][2]int{"prefix": {0, prefixSize}, "rest": {prefixSize, xaesNonceSize}} {
		if bytes.Equal(first[half[0]:half[1]], second[half[0]:half[1]]) {
			t.Errorf("%s of the nonce was used twice", name)
		}
		swapped := bytes.Clone(first)
		copy(swapped[half[0]:half[1]], second[half[0]:half[1]])
		if _, err := x.open(nil, swapped, aad); err == nil {
			t.Errorf("opened under the %s of another message's nonce", name)
		}
	}
}
