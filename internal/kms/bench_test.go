package kms

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authz"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
)

type allowAll struct{}

func (allowAll) Authorize(context.Context, user.Info, authz.Permission) error { return nil }

type discard struct{}

func (discard) Record(context.Context, *audit.Event) error { return nil }

var sizes = map[string]int{"32 B": 32, "4 KiB": 4 << 10}

var benchContext = map[string]string{"tenant": "team-a", "table": "orders"}

// newBench has the software key store under it, and nothing around it.
func newBench(b *testing.B) (*Service, keyring.Name, keystore.Sealer) {
	b.Helper()
	store, id := newSoftwareStore(b, keystore.Owner(orders))
	w := newWorld(b)
	ring := keyring.New(store, w.lookup, w.clock)
	record := keyring.Record{Name: orders, ID: id.Key, Latest: 1, Enabled: true}
	ring.Set(record)
	key, err := ring.Current(b.Context(), record)
	if err != nil {
		b.Fatal(err)
	}
	return New(ring, allowAll{}, discard{}, w.clock), orders, key.(keystore.Sealer)
}

func BenchmarkEncrypt(b *testing.B) {
	service, name, _ := newBench(b)
	for size, n := range sizes {
		b.Run(size, func(b *testing.B) {
			items := []EncryptItem{{Plaintext: make([]byte, n), Context: benchContext}}
			ctx := b.Context()
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if results, err := service.Encrypt(ctx, alice, name, items); err != nil || results[0].Err != nil {
					b.Fatal(err, results)
				}
			}
		})
	}
}

func BenchmarkDecrypt(b *testing.B) {
	service, name, _ := newBench(b)
	for size, n := range sizes {
		b.Run(size, func(b *testing.B) {
			ctx := b.Context()
			sealed, err := service.Encrypt(ctx, alice, name, []EncryptItem{{Plaintext: make([]byte, n), Context: benchContext}})
			if err != nil {
				b.Fatal(err)
			}
			items := []DecryptItem{{Ciphertext: sealed[0].Ciphertext, Context: benchContext}}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if results, err := service.Decrypt(ctx, alice, name, items); err != nil || results[0].Err != nil {
					b.Fatal(err, results)
				}
			}
		})
	}
}

// BenchmarkAEAD is the bare cryptography, for comparison: a Seal of the software
// key store, which is two AES calls more than AES-256-GCM with a random nonce.
func BenchmarkAEAD(b *testing.B) {
	_, _, key := newBench(b)
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		b.Fatal(err)
	}
	for size, n := range sizes {
		plaintext, aad, buffer := make([]byte, n), make([]byte, 64), make([]byte, 0, n+64)
		b.Run("XAES seal "+size, func(b *testing.B) {
			ctx := b.Context()
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := key.Seal(ctx, buffer, plaintext, aad); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("XAES open "+size, func(b *testing.B) {
			ctx := b.Context()
			sealed, err := key.Seal(ctx, nil, plaintext, aad)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := key.Open(ctx, buffer, sealed, aad); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("GCM seal "+size, func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				gcm.Seal(buffer, nil, plaintext, aad)
			}
		})
	}
}
