package kms

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authz"
	"github.com/keywright/keywright/internal/envelope"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
)

// TestForbiddenComesFirst has callers without permission: to them there must be no
// difference between a key that is there, disabled, broken, or not there at all.
func TestForbiddenComesFirst(t *testing.T) {
	for operation := range calls(t, newWorld(t)) {
		for state, prepare := range map[string]func(*world){
			"the key is there":     func(*world) {},
			"the key is not there": func(w *world) { w.ring.Remove(orders) },
			"the key is disabled":  func(w *world) { w.set(t, orders, func(r *keyring.Record) { r.Enabled = false }) },
			"the material is lost": func(w *world) { w.store.Lose(w.id(t, orders, 3)) },
		} {
			t.Run(operation+": "+state, func(t *testing.T) {
				w := newWorld(t)
				do := calls(t, w)[operation]
				prepare(w)
				w.authz.deny(operation, orders, fmt.Errorf("no RBAC policy matched: %w", authz.ErrDenied))
				results, err := do(t.Context(), w)
				e := requireKind(t, err, ErrForbidden)
				if results != nil {
					t.Errorf("results: %s", describe(results))
				}
				want := fmt.Sprintf("user %q cannot create resource %q in API group %q in the namespace %q for key %q; ask for a Role that allows it",
					"system:serviceaccount:team-a:alice", "encryptionkeys/"+operation, "crypto.keywright.dev", "team-a", "orders")
				if e.Message != want {
					t.Errorf("the message is %q, want %q", e.Message, want)
				}
				// Nothing was looked at, nothing was looked up.
				if calls := w.store.Calls(); w.lookups != 0 || len(calls) != 0 {
					t.Errorf("%d look-ups, and the key store was asked %v", w.lookups, calls)
				}
				event := w.audit.only(t)
				if event.Decision != audit.Deny || event.Outcome != audit.OutcomeForbidden || event.KeyID != "" || event.KeyVersion != 0 ||
					event.Reason != "no permission to create encryptionkeys/"+operation {
					t.Errorf("the audit event is %+v", event)
				}
			})
		}
	}
}

func TestReEncryptNeedsBothPermissions(t *testing.T) {
	w := newWorld(t)
	do := calls(t, w)[OperationReEncrypt]
	w.authz.deny("reencryptto", invoices, authz.ErrDenied)
	_, err := do(t.Context(), w)
	if e := requireKind(t, err, ErrForbidden); !strings.Contains(e.Message, "encryptionkeys/reencryptto") || !strings.Contains(e.Message, "invoices") {
		t.Errorf("the message is %q", e.Message)
	}
	if event := w.audit.only(t); event.Decision != audit.Deny || event.DestinationKeyID != "" || event.KeyID != "" {
		t.Errorf("the audit event is %+v", event)
	}
	if len(w.store.Calls()) != 0 || w.lookups != 0 {
		t.Error("the keys were looked at")
	}
	// Permission to encrypt, decrypt, or reencrypt with the other one is not enough.
	w.authz.reset()
	w.authz.deny("reencryptto", orders, authz.ErrDenied)
	_, err = w.ReEncrypt(t.Context(), alice, orders, orders, []ReEncryptItem{{}})
	requireKind(t, err, ErrForbidden)
}

func TestAnotherPrincipalIsForbidden(t *testing.T) {
	w := newWorld(t)
	mallory := Caller{Principal: &user.DefaultInfo{Name: "mallory"}}
	_, err := w.Decrypt(t.Context(), mallory, orders, []DecryptItem{{}})
	requireKind(t, err, ErrForbidden)
	if event := w.audit.only(t); event.Principal.GetName() != "mallory" {
		t.Errorf("the audit event is %+v", event)
	}
}

// TestKinds is the errors of a whole operation, by what is the matter.
func TestKinds(t *testing.T) {
	for name, row := range map[string]struct {
		prepare func(t *testing.T, w *world)
		kind    error
		outcome string
		message string
	}{
		"the authorizer does not answer": {
			func(_ *testing.T, w *world) {
				for operation := range map[string]bool{OperationEncrypt: true, OperationDecrypt: true, OperationGenerateDataKey: true, OperationReEncrypt: true} {
					w.authz.deny(operation, orders, fmt.Errorf("%w: SubjectAccessReview: timeout", authz.ErrUnavailable))
				}
			}, ErrUnavailable, audit.OutcomeUnavailable, "whether you are permitted",
		},
		"the key is not there": {
			func(_ *testing.T, w *world) { w.ring.Remove(orders) },
			ErrNotFound, audit.OutcomeNotFound, `encryptionkeys.keywright.dev "orders" not found in namespace "team-a"`,
		},
		"the key is disabled": {
			func(t *testing.T, w *world) { w.set(t, orders, func(r *keyring.Record) { r.Enabled = false }) },
			ErrDisabled, audit.OutcomeDisabled, "key team-a/orders is disabled; its owner can enable it with spec.enabled: true",
		},
	} {
		for operation := range calls(t, newWorld(t)) {
			t.Run(operation+": "+name, func(t *testing.T) {
				w := newWorld(t)
				do := calls(t, w)[operation]
				row.prepare(t, w)
				results, err := do(t.Context(), w)
				if e := requireKind(t, err, row.kind); !strings.Contains(e.Message, row.message) {
					t.Errorf("the message is %q", e.Message)
				}
				if results != nil {
					t.Errorf("results: %s", describe(results))
				}
				if event := w.audit.only(t); event.Outcome != row.outcome || event.Operation != operation {
					t.Errorf("the audit event is %+v", event)
				}
			})
		}
	}
}

// TestUnavailableKeys is what goes wrong between the record and the cryptography.
// For encryption the operation fails, for decryption the item.
func TestUnavailableKeys(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, w *world){
		"the material is lost":    func(t *testing.T, w *world) { w.store.Lose(w.id(t, orders, 3)) },
		"the material is corrupt": func(t *testing.T, w *world) { w.store.Corrupt(w.id(t, orders, 3)) },
		"the key store is away": func(_ *testing.T, w *world) {
			w.store.FailNext(fmt.Errorf("%w: connection refused", keystore.ErrUnavailable))
		},
	} {
		for operation := range calls(t, newWorld(t)) {
			t.Run(operation+": "+name, func(t *testing.T) {
				w := newWorld(t)
				do := calls(t, w)[operation]
				// Forget what is open.
				record := w.record(t, orders)
				w.ring.Remove(orders)
				w.ring.Set(record)
				// The destination of a re-encryption is not its subject.
				if _, err := w.ring.Current(t.Context(), w.record(t, invoices)); err != nil {
					t.Fatal(err)
				}
				prepare(t, w)
				results, err := do(t.Context(), w)
				e := requireKind(t, errors.Join(err, firstErr(results)), ErrUnavailable)
				for _, leak := range []string{"connection refused", "corrupt", "not found", record.ID.String()} {
					if strings.Contains(e.Message, leak) {
						t.Errorf("the message says too much: %q", e.Message)
					}
				}
				if event := w.audit.only(t); event.Outcome != audit.OutcomeUnavailable || event.Decision != audit.Allow {
					t.Errorf("the audit event is %+v", event)
				}
			})
		}
	}
}

// TestForgedAnnotationLooksLikeLostMaterial compares the two, word for word.
func TestForgedAnnotationLooksLikeLostMaterial(t *testing.T) {
	messages := map[string]string{}
	for name, prepare := range map[string]func(w *world){
		"forged": func(w *world) {
			other := w.addKey(t, keyring.Name{Namespace: "team-b", Name: "orders"}, 3)
			w.set(t, orders, func(r *keyring.Record) { r.ID = other.ID })
		},
		"lost": func(w *world) { w.store.Lose(w.id(t, orders, 3)) },
	} {
		w := newWorld(t)
		prepare(w)
		_, err := w.Encrypt(t.Context(), alice, orders, []EncryptItem{{}})
		messages[name] = requireKind(t, err, ErrUnavailable).Message
	}
	if messages["forged"] != messages["lost"] {
		t.Errorf("they differ: %q", messages)
	}
}

// TestForgedAnnotationDecryptsNothing has the ciphertext of a victim, and a key of
// the thief's own with the victim's id in its annotation.
func TestForgedAnnotationDecryptsNothing(t *testing.T) {
	w := newWorld(t)
	victim := keyring.Name{Namespace: "team-b", Name: "orders"}
	record := w.addKey(t, victim, 1)
	ciphertext := w.encrypt(t, victim, secretText, nil)
	w.set(t, orders, func(r *keyring.Record) { r.ID, r.Latest = record.ID, 1 })
	results, err := w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: ciphertext}})
	requireKind(t, errors.Join(err, firstErr(results)), ErrUnavailable)
	if results[0].Plaintext != nil {
		t.Error("the thief has the plaintext")
	}
}

// TestStoreFailsDuringTheOperation has a key store that is away when the key is
// already open.
func TestStoreFailsDuringTheOperation(t *testing.T) {
	w := newWorld(t)
	operations := calls(t, w)
	for _, name := range []keyring.Name{orders, invoices} {
		if _, err := w.ring.Current(t.Context(), w.record(t, name)); err != nil {
			t.Fatal(err)
		}
	}
	for operation, do := range operations {
		w.store.FailNext(fmt.Errorf("%w: HSM on fire", keystore.ErrUnavailable))
		results, err := do(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		if e := requireKind(t, firstErr(results), ErrUnavailable); strings.Contains(e.Message, "fire") || e.Cause == nil {
			t.Errorf("%s: message %q, cause %v", operation, e.Message, e.Cause)
		}
		if results[0].Plaintext != nil || results[0].Ciphertext != nil {
			t.Errorf("%s: %s", operation, describe(results))
		}
	}
}

// TestEdge02 flips every byte of a ciphertext, through the operation.
func TestEdge02(t *testing.T) {
	w := newWorld(t)
	ciphertext := w.encrypt(t, orders, secretText, nil)
	for i := range ciphertext {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			flipped := bytes.Clone(ciphertext)
			flipped[i] ^= flip
			want := ErrInvalidCiphertext
			if i >= 2 && i < 18 {
				want = ErrIncorrectKey
			}
			results, err := w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: flipped}})
			requireKind(t, errors.Join(err, firstErr(results)), want)
			if results[0].Plaintext != nil {
				t.Fatalf("byte %d: a plaintext comes with the error", i)
			}
		}
	}
}

// TestEdge04 is everything that may be wrong with a ciphertext: the answer is the
// same to the letter.
func TestEdge04(t *testing.T) {
	w := newWorld(t)
	encryptionContext := map[string]string{"tenant": "team-a"}
	good := w.encrypt(t, orders, secretText, encryptionContext)
	id := w.record(t, orders).ID
	edit := func(f func(b []byte) []byte) DecryptItem {
		return DecryptItem{Ciphertext: f(bytes.Clone(good)), Context: encryptionContext}
	}
	version := func(v uint32) DecryptItem {
		header := envelope.Header{Algorithm: envelope.AlgorithmXAES256GCM, KeyID: id, Version: v}
		return edit(func(b []byte) []byte { return append(header.Append(nil), b[envelope.HeaderSize:]...) })
	}
	items := map[string]DecryptItem{
		"nothing":                         {},
		"no bytes":                        {Ciphertext: []byte{}},
		"text":                            {Ciphertext: []byte("this is no ciphertext at all, is it?")},
		"only the header":                 edit(func(b []byte) []byte { return b[:envelope.HeaderSize] }),
		"a byte is missing":               edit(func(b []byte) []byte { return b[:len(b)-1] }),
		"less than nonce and tag":         edit(func(b []byte) []byte { return b[:envelope.HeaderSize+39] }),
		"a byte more":                     edit(func(b []byte) []byte { return append(b, 0) }),
		"the tag is wrong":                edit(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
		"the nonce is wrong":              edit(func(b []byte) []byte { b[envelope.HeaderSize] ^= 1; return b }),
		"format 2":                        edit(func(b []byte) []byte { b[0] = 2; return b }),
		"algorithm 2":                     edit(func(b []byte) []byte { b[1] = 2; return b }),
		"version 0":                       version(0),
		"an old version":                  version(1),
		"a version that is not yet":       version(4),
		"a version that will never be":    version(1<<32 - 1),
		"no context":                      {Ciphertext: good},
		"another context":                 {Ciphertext: good, Context: map[string]string{"tenant": "team-b"}},
		"a context with a pair more":      {Ciphertext: good, Context: map[string]string{"tenant": "team-a", "a": "b"}},
		"a context in another case":       {Ciphertext: good, Context: map[string]string{"Tenant": "team-a"}},
		"the header of another cluster's": {Ciphertext: append(envelope.Header{Algorithm: 1, KeyID: id, Version: 3}.Append(nil), make([]byte, 80)...)},
	}
	for name, item := range items {
		t.Run(name, func(t *testing.T) {
			w.audit.reset()
			results, err := w.Decrypt(t.Context(), alice, orders, []DecryptItem{item})
			if err != nil {
				t.Fatal(err)
			}
			e := requireKind(t, firstErr(results), ErrInvalidCiphertext)
			if e.Message != "the ciphertext cannot be opened with this key and encryption context" || e.Field != "ciphertext" {
				t.Errorf("message %q, field %q", e.Message, e.Field)
			}
			if results[0].Plaintext != nil {
				t.Error("a plaintext comes with the error")
			}
			event := w.audit.only(t)
			if event.Outcome != audit.OutcomeInvalidCiphertext || event.KeyVersion != 0 || event.Reason != "permitted by RBAC" {
				t.Errorf("the audit event is %+v", event)
			}
			// Re-encryption says the same.
			moved, err := w.ReEncrypt(t.Context(), alice, orders, invoices, []ReEncryptItem{{Ciphertext: item.Ciphertext, SourceContext: item.Context}})
			if err != nil || requireKind(t, firstErr(moved), ErrInvalidCiphertext).Message != e.Message {
				t.Errorf("ReEncrypt: %v, %s", err, describe(moved))
			}
		})
	}
	t.Run("the ciphertext of another key is named as such, to those who may decrypt", func(t *testing.T) {
		other := w.encrypt(t, invoices, "other", nil)
		results, err := w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: other}})
		e := requireKind(t, errors.Join(err, firstErr(results)), ErrIncorrectKey)
		for _, leak := range []string{w.record(t, invoices).ID.String(), "invoices"} {
			if strings.Contains(e.Message, leak) {
				t.Errorf("the message says whose it is: %q", e.Message)
			}
		}
		w.authz.deny(OperationDecrypt, orders, authz.ErrDenied)
		_, err = w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: other}})
		requireKind(t, err, ErrForbidden)
		w.authz.reset()
	})
}

func TestCancelledOperation(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for operation, do := range calls(t, w) {
		results, err := do(ctx, w)
		requireKind(t, errors.Join(err, firstErr(results)), ErrUnavailable)
		if results != nil && (results[0].Plaintext != nil || results[0].Ciphertext != nil) {
			t.Errorf("%s: %s", operation, describe(results))
		}
	}
}

// signer is a key that does not encrypt.
type signer struct{ metadata keystore.Metadata }

func (s signer) Metadata() keystore.Metadata { return s.metadata }

type signers struct{ *keystoretest.Fake }

func (s signers) Open(ctx context.Context, id keystore.VersionID) (keystore.Key, error) {
	key, err := s.Fake.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	return signer{key.Metadata()}, nil
}

func TestKeysThatDoNotEncrypt(t *testing.T) {
	w := newWorld(t)
	operations := calls(t, w)
	record := w.record(t, orders)
	w.ring = keyring.New(signers{w.store}, w.lookup, w.clock)
	w.ring.Set(record)
	w.Service = New(w.ring, w.authz, w.audit, w.clock)
	_, err := operations[OperationEncrypt](t.Context(), w)
	requireKind(t, err, ErrInvalidRequest)
	results, err := operations[OperationDecrypt](t.Context(), w)
	requireKind(t, errors.Join(err, firstErr(results)), ErrInvalidCiphertext)
}

func TestOutcomes(t *testing.T) {
	for err, want := range map[error]string{
		nil:                        "success",
		&Error{Kind: ErrForbidden}: "forbidden",
		fmt.Errorf("x: %w", &Error{Kind: ErrNotFound}): "not_found",
		&Error{Kind: ErrDisabled}:                      "disabled",
		&Error{Kind: ErrUnavailable}:                   "unavailable",
		&Error{Kind: ErrInvalidCiphertext}:             "invalid_ciphertext",
		&Error{Kind: ErrIncorrectKey}:                  "incorrect_key",
		&Error{Kind: ErrInvalidRequest}:                "invalid_request",
		&Error{Kind: ErrTooLarge}:                      "too_large",
		errors.New("anything else"):                    "error",
	} {
		if got := Outcome(err); got != want {
			t.Errorf("Outcome(%v) = %q, want %q", err, got, want)
		}
	}
}
