package kms

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"k8s.io/apiserver/pkg/authentication/user"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authz"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
)

var (
	orders   = keyring.Name{Namespace: "team-a", Name: "orders"}
	invoices = keyring.Name{Namespace: "team-a", Name: "invoices"}
	alice    = Caller{
		Principal:     &user.DefaultInfo{Name: "system:serviceaccount:team-a:alice", UID: "uid-of-alice"},
		SourceAddress: "192.0.2.7:41000",
		RequestID:     "request-1",
	}
)

// world is a Service and everything around it.
type world struct {
	*Service
	store *keystoretest.Fake
	ring  *keyring.Ring
	authz *fakeAuthorizer
	audit *recorder
	clock *clocktesting.FakePassiveClock

	mu      sync.Mutex
	lookups int
	// creating lets a live look-up find keys without a version.
	creating bool
}

// newWorld has the keys orders and invoices, with three versions and one.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{
		store: keystoretest.NewFake(),
		authz: &fakeAuthorizer{denied: map[authz.Permission]error{}},
		clock: clocktesting.NewFakePassiveClock(time.Unix(1e9, 0)),
	}
	w.audit = &recorder{tick: func() { w.clock.SetTime(w.clock.Now().Add(time.Millisecond)) }}
	w.ring = keyring.New(w.store, w.lookup, w.clock)
	w.Service = New(w.ring, w.authz, w.audit, w.clock)
	w.addKey(t, orders, 3)
	w.addKey(t, invoices, 1)
	w.store.Reset()
	return w
}

// lookup finds nothing: the watch has brought everything.
func (w *world) lookup(_ context.Context, name keyring.Name) (keyring.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookups++
	if w.creating {
		return keyring.Record{Name: name, Enabled: true}, nil
	}
	return keyring.Record{}, keyring.ErrKeyNotFound
}

func (w *world) addKey(t testing.TB, name keyring.Name, versions uint32) keyring.Record {
	t.Helper()
	record := keyring.Record{Name: name, UID: uuid.NewString(), ID: uuid.New(), Latest: versions, Enabled: true}
	for version := range versions {
		m := keystoretest.NewMetadata()
		m.ID = keystore.VersionID{Key: record.ID, Version: version + 1}
		m.Owner = keystore.Owner(name)
		if _, err := w.store.Create(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	w.ring.Set(record)
	return record
}

func (w *world) record(t testing.TB, name keyring.Name) keyring.Record {
	t.Helper()
	record, err := w.ring.Key(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// set edits what the watch says of a key.
func (w *world) set(t testing.TB, name keyring.Name, edit func(*keyring.Record)) {
	t.Helper()
	record := w.record(t, name)
	edit(&record)
	w.ring.Set(record)
}

// id returns the id of a version of a key.
func (w *world) id(t testing.TB, name keyring.Name, version uint32) keystore.VersionID {
	t.Helper()
	return keystore.VersionID{Key: w.record(t, name).ID, Version: version}
}

// encrypt encrypts one plaintext and forgets the audit event.
func (w *world) encrypt(t testing.TB, name keyring.Name, plaintext string, encryptionContext map[string]string) []byte {
	t.Helper()
	results, err := w.Encrypt(t.Context(), alice, name, []EncryptItem{{Plaintext: []byte(plaintext), Context: encryptionContext}})
	if err = errors.Join(err, firstErr(results)); err != nil {
		t.Fatal(err)
	}
	w.audit.reset()
	return results[0].Ciphertext
}

// encryptWith encrypts under an old version.
func (w *world) encryptWith(t testing.TB, name keyring.Name, version uint32, plaintext string) []byte {
	t.Helper()
	latest := w.record(t, name).Latest
	w.set(t, name, func(r *keyring.Record) { r.Latest = version })
	defer w.set(t, name, func(r *keyring.Record) { r.Latest = latest })
	return w.encrypt(t, name, plaintext, nil)
}

func firstErr(results []Result) error {
	if len(results) == 0 {
		return nil
	}
	return results[0].Err
}

// fakeAuthorizer allows everything that is not in denied.
type fakeAuthorizer struct {
	mu     sync.Mutex
	denied map[authz.Permission]error
	asked  []authz.Permission
}

func (a *fakeAuthorizer) Authorize(_ context.Context, principal user.Info, p authz.Permission) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, p)
	if principal.GetName() != alice.Principal.GetName() {
		return authz.ErrDenied
	}
	return a.denied[p]
}

func (a *fakeAuthorizer) deny(subresource string, name keyring.Name, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.denied[authz.Permission{Subresource: subresource, Namespace: name.Namespace, Name: name.Name}] = err
}

func (a *fakeAuthorizer) reset() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked, a.denied = nil, map[authz.Permission]error{}
}

// recorder keeps audit events.
type recorder struct {
	tick func()

	mu     sync.Mutex
	events []audit.Event
	err    error
}

func (r *recorder) Record(_ context.Context, event *audit.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	r.events = append(r.events, *event)
	return nil
}

func (r *recorder) reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = nil
}

// only returns the one event since the last reset.
func (r *recorder) only(t *testing.T) audit.Event {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.events) != 1 {
		t.Fatalf("%d audit events, want 1: %+v", len(r.events), r.events)
	}
	return r.events[0]
}

// call is an operation with one good item.
type call func(ctx context.Context, w *world) ([]Result, error)

// calls are the four operations on orders; reencrypt goes to invoices.
func calls(t *testing.T, w *world) map[string]call {
	t.Helper()
	ciphertext := w.encrypt(t, orders, secretText, map[string]string{"a": "b"})
	w.store.Reset()
	return map[string]call{
		OperationEncrypt: func(ctx context.Context, w *world) ([]Result, error) {
			return w.Encrypt(ctx, alice, orders, []EncryptItem{{Plaintext: []byte(secretText), Context: map[string]string{"a": "b"}}})
		},
		OperationDecrypt: func(ctx context.Context, w *world) ([]Result, error) {
			return w.Decrypt(ctx, alice, orders, []DecryptItem{{Ciphertext: ciphertext, Context: map[string]string{"a": "b"}}})
		},
		OperationGenerateDataKey: func(ctx context.Context, w *world) ([]Result, error) {
			return w.GenerateDataKey(ctx, alice, orders, []DataKeyItem{{Bytes: 32, Context: map[string]string{"a": "b"}}})
		},
		OperationReEncrypt: func(ctx context.Context, w *world) ([]Result, error) {
			return w.ReEncrypt(ctx, alice, orders, invoices, []ReEncryptItem{{
				Ciphertext: ciphertext, SourceContext: map[string]string{"a": "b"}, DestinationContext: map[string]string{"c": "d"},
			}})
		},
	}
}

// secretText must never be anywhere but in a result.
const secretText = "hunter2-the-plaintext"

// requireKind fails unless err is an *Error of one kind, and returns it.
func requireKind(t *testing.T, err, kind error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, kind) {
		t.Fatalf("the error is %v (%T), want %v", err, err, kind)
	}
	for _, other := range []error{
		ErrForbidden, ErrNotFound, ErrDisabled, ErrUnavailable, ErrInvalidCiphertext, ErrIncorrectKey, ErrInvalidRequest, ErrTooLarge,
	} {
		if other != kind && errors.Is(err, other) { //nolint:errorlint // which of them it is
			t.Fatalf("the error is %v as well as %v", other, kind)
		}
	}
	if e.Message == "" || e.Error() != e.Message {
		t.Fatalf("the message is %q and the error %q", e.Message, e.Error())
	}
	return e
}

func describe(results []Result) string {
	s := ""
	for i, r := range results {
		s += fmt.Sprintf("%d: plaintext %q, %d bytes of ciphertext, key %v, source %v, %v\n", i, r.Plaintext, len(r.Ciphertext), r.Key, r.Source, r.Err)
	}
	return s
}
