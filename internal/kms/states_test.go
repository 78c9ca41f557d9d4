package kms

import (
	"errors"
	"testing"

	"github.com/keywright/keywright/internal/keyring"
)

// TestEdge09_KeyStates is the rows of the AWS key-state table that exist for
// generated customer-managed keys: what each operation answers in each state.
func TestEdge09_KeyStates(t *testing.T) {
	states := map[string]struct {
		set  func(t *testing.T, w *world)
		want error
	}{
		"Enabled":  {set: func(*testing.T, *world) {}},
		"Disabled": {set: func(t *testing.T, w *world) { w.set(t, orders, func(r *keyring.Record) { r.Enabled = false }) }, want: ErrDisabled},
		"Creating": {set: func(_ *testing.T, w *world) {
			w.ring.Set(keyring.Record{Name: orders, UID: "new", Enabled: true})
			w.creating = true
		}, want: ErrUnavailable},
		"Unavailable": {set: func(t *testing.T, w *world) {
			// The newest version is promised and not there.
			w.set(t, orders, func(r *keyring.Record) { r.Latest = 9 })
		}, want: ErrUnavailable},
	}
	for state, tt := range states {
		t.Run(state, func(t *testing.T) {
			w := newWorld(t)
			ciphertext := w.encrypt(t, orders, "card 4111", nil)
			other := w.encrypt(t, invoices, "card 4111", nil)
			tt.set(t, w)
			operations := map[string]struct {
				call func() ([]Result, error)
				want error
			}{
				"encrypt": {func() ([]Result, error) {
					return w.Encrypt(t.Context(), alice, orders, []EncryptItem{{Plaintext: []byte("x")}})
				}, tt.want},
				"decrypt": {func() ([]Result, error) {
					return w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: ciphertext}})
				}, tt.want},
				"generatedatakey": {func() ([]Result, error) {
					return w.GenerateDataKey(t.Context(), alice, orders, []DataKeyItem{{Bytes: 32}})
				}, tt.want},
				"reencrypt from": {func() ([]Result, error) {
					return w.ReEncrypt(t.Context(), alice, orders, invoices, []ReEncryptItem{{Ciphertext: ciphertext}})
				}, tt.want},
				"reencrypt to": {func() ([]Result, error) {
					return w.ReEncrypt(t.Context(), alice, invoices, orders, []ReEncryptItem{{Ciphertext: other}})
				}, tt.want},
			}
			if state == "Unavailable" {
				// Versions that are there keep decrypting.
				for _, name := range []string{"decrypt", "reencrypt from"} {
					o := operations[name]
					o.want = nil
					operations[name] = o
				}
			}
			for name, operation := range operations {
				results, err := operation.call()
				if err = errors.Join(err, firstErr(results)); !errors.Is(err, operation.want) || (operation.want == nil && err != nil) {
					t.Errorf("%s: %v, want %v", name, err, operation.want)
				}
			}
		})
	}
}
