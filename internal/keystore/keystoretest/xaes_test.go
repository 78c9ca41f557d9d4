package keystoretest

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// TestFakeIsXAES holds the fake's cryptography to the vectors of the
// specification, as the software key store's.
func TestFakeIsXAES(t *testing.T) {
	encoded := must(os.ReadFile("../software/testdata/xaes-256-gcm.json"))
	var file struct {
		Vectors []struct {
			Name, Key, Nonce, K1, Plaintext, AAD, Ciphertext string
		}
	}
	if err := json.Unmarshal(encoded, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Vectors) != 2 {
		t.Fatalf("%d vectors, want 2", len(file.Vectors))
	}
	for _, v := range file.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			unhex := func(s string) []byte { return must(hex.DecodeString(s)) }
			x := newXAES(unhex(v.Key))
			if got := hex.EncodeToString(x.k1); got != v.K1 {
				t.Errorf("K1 = %s, want %s", got, v.K1)
			}
			sealed := x.seal(nil, unhex(v.Nonce), unhex(v.Plaintext), unhex(v.AAD))
			if got := hex.EncodeToString(sealed); got != v.Nonce+v.Ciphertext {
				t.Errorf("sealed = %s, want %s", got, v.Nonce+v.Ciphertext)
			}
			if _, ok := x.open(nil, sealed, unhex(v.AAD)); !ok {
				t.Error("it does not open")
			}
		})
	}
}
