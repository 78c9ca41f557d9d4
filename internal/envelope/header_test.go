package envelope

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"testing"
)

func TestHeaderBytes(t *testing.T) {
	h := Header{Algorithm: AlgorithmXAES256GCM, Version: 0x01020304}
	for i := range h.KeyID {
		h.KeyID[i] = 0xa0 + byte(i)
	}
	const want = "01" + "01" + "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf" + "01020304"
	if got := hex.EncodeToString(h.Append(nil)); got != want || len(want) != 2*HeaderSize {
		t.Errorf("header = %s, want %s", got, want)
	}
}

func TestParse(t *testing.T) {
	good := Header{Algorithm: AlgorithmXAES256GCM, KeyID: [16]byte{9}, Version: math.MaxUint32}.Append(nil)
	edit := func(i int, b byte) []byte {
		edited := append(bytes.Clone(good), 0)
		edited[i] = b
		return edited
	}
	for name, malformed := range map[string][]byte{
		"nothing":                       nil,
		"a header and nothing after it": good,
		"format 0":                      edit(0, 0),
		"format 2":                      edit(0, 2),
		"algorithm 0":                   edit(1, 0),
		"algorithm 2":                   edit(1, 2),
		"version 0":                     append(Header{Algorithm: AlgorithmXAES256GCM}.Append(nil), 0),
		"text":                          []byte("this is no ciphertext at all, is it?"),
	} {
		h, rest, err := Parse(malformed)
		if !errors.Is(err, ErrMalformed) || h != (Header{}) || rest != nil {
			t.Errorf("%s: Parse = %+v, %x, %v; want ErrMalformed alone", name, h, rest, err)
		}
	}
	for n := range HeaderSize + 1 {
		if _, _, err := Parse(good[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("the first %d bytes: %v, want ErrMalformed", n, err)
		}
	}
	h, rest, err := Parse(append(good, "rest"...))
	if err != nil || h.Version != math.MaxUint32 || h.KeyID != ([16]byte{9}) || string(rest) != "rest" {
		t.Errorf("Parse = %+v, %q, %v", h, rest, err)
	}
}

// TestEdge02 flips every bit of the header: whatever it is, it changes the AAD or
// is not a header any more. The operations' half of it is in package kms.
func TestEdge02(t *testing.T) {
	ciphertext := append(Header{Algorithm: AlgorithmXAES256GCM, KeyID: [16]byte{7}, Version: 3}.Append(nil), "sealed"...)
	aad := func(ciphertext []byte) ([]byte, error) {
		h, _, err := Parse(ciphertext)
		if err != nil {
			return nil, err
		}
		return AppendAAD(nil, h, map[string]string{"a": "b"})
	}
	want, err := aad(ciphertext)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(want, ciphertext[:HeaderSize]) {
		t.Fatal("the header is not in the AAD")
	}
	for bit := range HeaderSize * 8 {
		flipped := bytes.Clone(ciphertext)
		flipped[bit/8] ^= 1 << (bit % 8)
		if got, err := aad(flipped); err == nil && bytes.Equal(got, want) {
			t.Errorf("bit %d of the header does not change the AAD", bit)
		}
	}
}

// FuzzParse shows that Parse does not panic and loses nothing.
func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add(append(Header{Algorithm: AlgorithmXAES256GCM, Version: 1}.Append(nil), make([]byte, 40)...))
	f.Add(make([]byte, HeaderSize+1))
	f.Fuzz(func(t *testing.T, ciphertext []byte) {
		h, rest, err := Parse(ciphertext)
		if err != nil {
			if !errors.Is(err, ErrMalformed) || rest != nil {
				t.Fatalf("Parse = %x, %v", rest, err)
			}
			return
		}
		if got := append(h.Append(nil), rest...); !bytes.Equal(got, ciphertext) {
			t.Fatalf("%x comes back as %x", ciphertext, got)
		}
		if len(rest) == 0 || h.Version == 0 {
			t.Fatalf("Parse took %x", ciphertext)
		}
	})
}
