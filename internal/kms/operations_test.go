package kms

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authz"
	"github.com/keywright/keywright/internal/envelope"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
)

func TestEncryptAndDecrypt(t *testing.T) {
	w := newWorld(t)
	for name, plaintext := range map[string][]byte{
		"nothing":                {},
		"a word":                 []byte("plaintext"),
		"as much as may be":      make([]byte, MaxPlaintext),
		"nothing, said with nil": nil,
	} {
		t.Run(name, func(t *testing.T) {
			encryptionContext := map[string]string{"tenant": "team-a", "": ""}
			results, err := w.Encrypt(t.Context(), alice, orders, []EncryptItem{{Plaintext: plaintext, Context: encryptionContext}})
			if err != nil || firstErr(results) != nil || results[0].Key != w.id(t, orders, 3) || results[0].Plaintext != nil {
				t.Fatalf("Encrypt: %v\n%s", err, describe(results))
			}
			ciphertext := results[0].Ciphertext
			if want := envelope.HeaderSize + len(plaintext) + 40; len(ciphertext) != want {
				t.Errorf("the ciphertext has %d bytes, want %d", len(ciphertext), want)
			}
			before := bytes.Clone(ciphertext)
			results, err = w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: ciphertext, Context: encryptionContext}})
			if err != nil || firstErr(results) != nil || results[0].Key != w.id(t, orders, 3) || results[0].Ciphertext != nil {
				t.Fatalf("Decrypt: %v\n%s", err, describe(results))
			}
			if !bytes.Equal(results[0].Plaintext, plaintext) || results[0].Plaintext == nil {
				t.Errorf("it decrypts to %q (nil: %t)", results[0].Plaintext, results[0].Plaintext == nil)
			}
			if !bytes.Equal(ciphertext, before) {
				t.Error("Decrypt changed its input")
			}
		})
	}
}

func TestEveryVersionDecrypts(t *testing.T) {
	w := newWorld(t)
	var items []DecryptItem
	for version := uint32(1); version <= 3; version++ {
		items = append(items, DecryptItem{Ciphertext: w.encryptWith(t, orders, version, fmt.Sprint(version))})
	}
	results, err := w.Decrypt(t.Context(), alice, orders, items)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if want := w.id(t, orders, uint32(i+1)); r.Err != nil || r.Key != want || string(r.Plaintext) != fmt.Sprint(i+1) {
			t.Errorf("version %d: %s", i+1, describe(results[i:i+1]))
		}
	}
}

func TestGenerateDataKey(t *testing.T) {
	w := newWorld(t)
	items := []DataKeyItem{{Bytes: 1}, {Bytes: 16}, {Bytes: 32, Context: map[string]string{"a": "b"}}, {Bytes: MaxDataKey}, {Bytes: 32, WithoutPlaintext: true}}
	results, err := w.GenerateDataKey(t.Context(), alice, orders, items)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range results {
		if r.Err != nil || r.Key != w.id(t, orders, 3) {
			t.Fatalf("item %d: %s", i, describe(results[i:i+1]))
		}
		opened, err := w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: r.Ciphertext, Context: items[i].Context}})
		if err = errors.Join(err, firstErr(opened)); err != nil {
			t.Fatal(err)
		}
		switch {
		case items[i].WithoutPlaintext && r.Plaintext != nil:
			t.Error("a data key without plaintext has one")
		case !items[i].WithoutPlaintext && !bytes.Equal(opened[0].Plaintext, r.Plaintext):
			t.Error("the data key is not what is in its ciphertext")
		case len(opened[0].Plaintext) != items[i].Bytes:
			t.Errorf("%d bytes, want %d", len(opened[0].Plaintext), items[i].Bytes)
		case items[i].Bytes >= 16 && bytes.Count(opened[0].Plaintext, []byte{0}) == items[i].Bytes:
			t.Error("a data key of zeros")
		}
	}
	if bytes.Equal(results[2].Plaintext, results[1].Plaintext) {
		t.Error("two data keys are the same")
	}
}

func TestReEncrypt(t *testing.T) {
	for name, row := range map[string]struct {
		destination keyring.Name
		version     uint32
	}{
		"to another key": {invoices, 1},
		"to the current version of the very same key": {orders, 3},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			ciphertext := w.encryptWith(t, orders, 2, secretText)
			w.authz.reset()
			results, err := w.ReEncrypt(t.Context(), alice, orders, row.destination,
				[]ReEncryptItem{{Ciphertext: ciphertext, DestinationContext: map[string]string{"c": "d"}}})
			if err != nil || firstErr(results) != nil {
				t.Fatalf("ReEncrypt: %v\n%s", err, describe(results))
			}
			r := results[0]
			if r.Plaintext != nil || r.Source != w.id(t, orders, 2) || r.Key != w.id(t, row.destination, row.version) {
				t.Errorf("the result is %s", describe(results))
			}
			want := []authz.Permission{
				{Subresource: "reencrypt", Namespace: "team-a", Name: "orders"},
				{Subresource: "reencryptto", Namespace: "team-a", Name: row.destination.Name},
			}
			if diff := cmp.Diff(want, w.authz.asked); diff != "" {
				t.Errorf("permissions (-want +got):\n%s", diff)
			}
			opened, err := w.Decrypt(t.Context(), alice, row.destination, []DecryptItem{{Ciphertext: r.Ciphertext, Context: map[string]string{"c": "d"}}})
			if err != nil || firstErr(opened) != nil || string(opened[0].Plaintext) != secretText {
				t.Errorf("it decrypts to %s, %v", describe(opened), err)
			}
		})
	}
}

func TestBatchesWithMixedItems(t *testing.T) {
	w := newWorld(t)
	good, other := w.encrypt(t, orders, "good", nil), w.encrypt(t, invoices, "other", nil)
	huge := map[string]string{"k": strings.Repeat("v", envelope.MaxContextBytes)}
	notUTF8 := map[string]string{"k": "\xff"}
	for name, row := range map[string]struct {
		do     func() ([]Result, error)
		kinds  []error
		fields []string
	}{
		"encrypt": {
			func() ([]Result, error) {
				return w.Encrypt(t.Context(), alice, orders, []EncryptItem{
					{Plaintext: []byte("good")}, {Plaintext: make([]byte, MaxPlaintext+1)}, {Context: huge}, {Context: notUTF8}, {},
				})
			},
			[]error{nil, ErrTooLarge, ErrTooLarge, ErrInvalidRequest, nil},
			[]string{"", "plaintext", "encryptionContext", "encryptionContext", ""},
		},
		"decrypt": {
			func() ([]Result, error) {
				return w.Decrypt(t.Context(), alice, orders, []DecryptItem{
					{Ciphertext: good}, {Ciphertext: other}, {Ciphertext: good[1:]}, {Ciphertext: good, Context: huge}, {Ciphertext: good, Context: notUTF8}, {Ciphertext: good},
				})
			},
			[]error{nil, ErrIncorrectKey, ErrInvalidCiphertext, ErrTooLarge, ErrInvalidRequest, nil},
			[]string{"", "ciphertext", "ciphertext", "encryptionContext", "encryptionContext", ""},
		},
		"generatedatakey": {
			func() ([]Result, error) {
				return w.GenerateDataKey(t.Context(), alice, orders, []DataKeyItem{{Bytes: 32}, {}, {Bytes: 1025}, {Bytes: -1}, {Bytes: 32, Context: huge}})
			},
			[]error{nil, ErrInvalidRequest, ErrInvalidRequest, ErrInvalidRequest, ErrTooLarge},
			[]string{"", "numberOfBytes", "numberOfBytes", "numberOfBytes", "encryptionContext"},
		},
		"reencrypt": {
			func() ([]Result, error) {
				return w.ReEncrypt(t.Context(), alice, orders, invoices, []ReEncryptItem{
					{Ciphertext: good}, {Ciphertext: other}, {Ciphertext: nil}, {Ciphertext: good, SourceContext: huge}, {Ciphertext: good, DestinationContext: notUTF8},
				})
			},
			[]error{nil, ErrIncorrectKey, ErrInvalidCiphertext, ErrTooLarge, ErrInvalidRequest},
			[]string{"", "ciphertext", "ciphertext", "sourceEncryptionContext", "destinationEncryptionContext"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			w.audit.reset()
			results, err := row.do()
			if err != nil || len(results) != len(row.kinds) {
				t.Fatalf("%d results, %v", len(results), err)
			}
			failed := 0
			for i, r := range results {
				if row.kinds[i] == nil {
					if r.Err != nil || r.Plaintext == nil && r.Ciphertext == nil {
						t.Errorf("item %d: %s", i, describe(results[i:i+1]))
					}
					continue
				}
				failed++
				if e := requireKind(t, r.Err, row.kinds[i]); e.Field != row.fields[i] {
					t.Errorf("item %d: the field is %q, want %q", i, e.Field, row.fields[i])
				}
				if r.Plaintext != nil || r.Ciphertext != nil {
					t.Errorf("item %d has a result with its error: %s", i, describe(results[i:i+1]))
				}
			}
			event := w.audit.only(t)
			if event.Outcome != audit.OutcomePartial || event.Items != len(results) || event.Failed != failed || event.EncryptionContext != nil {
				t.Errorf("the audit event is %+v", event)
			}
		})
	}
	t.Run("all of them good", func(t *testing.T) {
		w.audit.reset()
		if _, err := w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: good}, {Ciphertext: good}}); err != nil {
			t.Fatal(err)
		}
		if event := w.audit.only(t); event.Outcome != audit.OutcomeSuccess || event.Items != 2 || event.Failed != 0 {
			t.Errorf("the audit event is %+v", event)
		}
	})
}

// TestEdge06 is the sizes: the last that is allowed and the first that is not.
func TestEdge06(t *testing.T) {
	w := newWorld(t)
	encrypt := func(size int) error {
		results, err := w.Encrypt(t.Context(), alice, orders, []EncryptItem{{Plaintext: make([]byte, size)}})
		return errors.Join(err, firstErr(results))
	}
	dataKey := func(size int) error {
		results, err := w.GenerateDataKey(t.Context(), alice, orders, []DataKeyItem{{Bytes: size}})
		return errors.Join(err, firstErr(results))
	}
	inContext := func(size int) error {
		results, err := w.Encrypt(t.Context(), alice, orders, []EncryptItem{{Context: map[string]string{"k": strings.Repeat("v", size-9)}}})
		return errors.Join(err, firstErr(results))
	}
	for name, row := range map[string]struct {
		do   func(int) error
		size int
		want error
	}{
		"a plaintext of nothing":      {encrypt, 0, nil},
		"a plaintext of 4 KiB":        {encrypt, 4096, nil},
		"a plaintext over 4 KiB":      {encrypt, 4097, nil},
		"a plaintext of 64 KiB":       {encrypt, 65536, nil},
		"a plaintext over 64 KiB":     {encrypt, 65537, ErrTooLarge},
		"a data key of nothing":       {dataKey, 0, ErrInvalidRequest},
		"a data key of less":          {dataKey, -1, ErrInvalidRequest},
		"a data key of one byte":      {dataKey, 1, nil},
		"a data key of 1024 bytes":    {dataKey, 1024, nil},
		"a data key of 1025 bytes":    {dataKey, 1025, ErrInvalidRequest},
		"a context of 8 KiB":          {inContext, 8192, nil},
		"a context over 8 KiB":        {inContext, 8193, ErrTooLarge},
		"a context of a megabyte":     {inContext, 1 << 20, ErrTooLarge},
		"a data key of a gigabyte":    {dataKey, 1 << 30, ErrInvalidRequest},
		"a plaintext of two megabyte": {encrypt, 2 << 20, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			err := row.do(row.size)
			if row.want == nil && err != nil {
				t.Fatal(err)
			}
			if row.want != nil {
				requireKind(t, err, row.want)
			}
		})
	}
	t.Run("a data key fits into 1 kB, as KMS v2 demands", func(t *testing.T) {
		results, err := w.GenerateDataKey(t.Context(), alice, orders, []DataKeyItem{{Bytes: 32}})
		if err != nil || len(results[0].Ciphertext) != 94 {
			t.Errorf("the ciphertext of a 32-byte data key has %d bytes, want 94: %v", len(results[0].Ciphertext), err)
		}
	})
}

func TestManyAtOnce(t *testing.T) {
	w := newWorld(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			encryptionContext := map[string]string{"i": strings.Repeat(fmt.Sprint(i), 100*i)}
			for range 50 {
				sealed, err := w.Encrypt(t.Context(), alice, orders, []EncryptItem{{Plaintext: []byte(fmt.Sprint(i)), Context: encryptionContext}})
				if err = errors.Join(err, firstErr(sealed)); err != nil {
					t.Error(err)
					return
				}
				opened, err := w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: sealed[0].Ciphertext, Context: encryptionContext}})
				if err = errors.Join(err, firstErr(opened)); err != nil || string(opened[0].Plaintext) != fmt.Sprint(i) {
					t.Errorf("%s: %v", describe(opened), err)
					return
				}
			}
		})
	}
	group.Wait()
}

// TestResultsBelongToTheCaller overwrites every slice and looks whether anything
// else changes.
func TestResultsBelongToTheCaller(t *testing.T) {
	w := newWorld(t)
	results, err := w.Encrypt(t.Context(), alice, orders, []EncryptItem{{Plaintext: []byte("one")}, {Plaintext: []byte("two")}})
	if err != nil {
		t.Fatal(err)
	}
	second := slices.Clone(results[1].Ciphertext)
	_ = append(results[0].Ciphertext, bytes.Repeat([]byte{0xff}, 100)...)
	clear(results[0].Ciphertext)
	if !bytes.Equal(second, results[1].Ciphertext) {
		t.Error("the results share memory")
	}
	opened, err := w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Ciphertext: second}})
	if err != nil || string(opened[0].Plaintext) != "two" || opened[0].Key != (keystore.VersionID{Key: w.record(t, orders).ID, Version: 3}) {
		t.Errorf("%s: %v", describe(opened), err)
	}
}
