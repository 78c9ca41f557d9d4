package software

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha3"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"testing"
)

// vectors is testdata/xaes-256-gcm.json: the test vectors of the specification
// that the file names as its source, in hex.
type vectors struct {
	Source  string
	Vectors []struct {
		Name, Key, Nonce, K1, Kx, Plaintext, AAD, Ciphertext string
	}
	Accumulated []struct {
		Iterations int
		Hash       string
	}
}

func readVectors(t *testing.T) vectors {
	t.Helper()
	encoded, err := os.ReadFile("testdata/xaes-256-gcm.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	decoder := json.NewDecoder(bytes.NewReader(encoded))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&v); err != nil {
		t.Fatal(err)
	}
	if len(v.Vectors) != 2 || len(v.Accumulated) != 2 {
		t.Fatal("vectors are missing")
	}
	return v
}

// sealWithNonce is seal without its random numbers.
func sealWithNonce(t *testing.T, x *xaes, nonce, plaintext, aad []byte) []byte {
	t.Helper()
	block, err := x.messageBlock(nonce[:prefixSize])
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead.Seal(nil, nonce[prefixSize:], plaintext, aad)
}

func TestXAESVectors(t *testing.T) {
	for _, v := range readVectors(t).Vectors {
		t.Run(v.Name, func(t *testing.T) {
			nonce, plaintext, aad := unhex(t, v.Nonce), unhex(t, v.Plaintext), unhex(t, v.AAD)
			x, err := newXAES(unhex(t, v.Key))
			if err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(x.k1[:]); got != v.K1 {
				t.Errorf("K1 = %s, want %s", got, v.K1)
			}
			requireMessageKey(t, x, nonce[:prefixSize], unhex(t, v.Kx))
			if got := hex.EncodeToString(sealWithNonce(t, x, nonce, plaintext, aad)); got != v.Ciphertext {
				t.Errorf("ciphertext = %s, want %s", got, v.Ciphertext)
			}
			opened, err := x.open(nil, append(nonce, unhex(t, v.Ciphertext)...), aad)
			if err != nil || !bytes.Equal(opened, plaintext) {
				t.Errorf("open = %x, %v", opened, err)
			}
		})
	}
}

// requireMessageKey compares a derived key by what it encrypts, because the
// derivation does not show it.
func requireMessageKey(t *testing.T, x *xaes, prefix, want []byte) {
	t.Helper()
	derived, err := x.messageBlock(prefix)
	if err != nil {
		t.Fatal(err)
	}
	expected, err := aes.NewCipher(want)
	if err != nil {
		t.Fatal(err)
	}
	var a, b [aes.BlockSize]byte
	derived.Encrypt(a[:], a[:])
	expected.Encrypt(b[:], b[:])
	if a != b {
		t.Error("the message key is not Kx")
	}
}

// TestXAESAccumulated is "Accumulated randomized tests" of the specification.
func TestXAESAccumulated(t *testing.T) {
	for _, v := range readVectors(t).Accumulated {
		t.Run(fmt.Sprintf("%d iterations", v.Iterations), func(t *testing.T) {
			if v.Iterations > 10_000 && (testing.Short() || raceEnabled) {
				t.Skip("takes seconds, and a minute under the race detector")
			}
			t.Parallel()
			random, hash := sha3.NewSHAKE128(), sha3.NewSHAKE128()
			read := func(b []byte) []byte {
				_, _ = random.Read(b)
				return b
			}
			var key, nonce, length, plaintext, aad [256]byte
			for range v.Iterations {
				k, n := read(key[:xaesKeySize]), read(nonce[:xaesNonceSize])
				p := read(plaintext[:read(length[:1])[0]])
				a := read(aad[:read(length[:1])[0]])
				x, err := newXAES(k)
				if err != nil {
					t.Fatal(err)
				}
				ciphertext := sealWithNonce(t, x, n, p, a)
				opened, err := x.open(nil, append(nonce[:xaesNonceSize:xaesNonceSize], ciphertext...), a)
				if err != nil || !bytes.Equal(opened, p) {
					t.Fatalf("open = %x, %v", opened, err)
				}
				_, _ = hash.Write(ciphertext)
			}
			sum := make([]byte, 32)
			_, _ = hash.Read(sum)
			if got := hex.EncodeToString(sum); got != v.Hash {
				t.Errorf("hash = %s, want %s", got, v.Hash)
			}
		})
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
