package kms

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authz"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
)

func TestAuditEvents(t *testing.T) {
	w := newWorld(t)
	from, to := w.record(t, orders).ID.String(), w.record(t, invoices).ID.String()
	base := audit.Event{
		Time: time.Unix(1e9, 0), RequestID: "request-1", Decision: audit.Allow, Reason: "permitted by RBAC", Outcome: audit.OutcomeSuccess,
		Principal: alice.Principal, SourceAddress: "192.0.2.7:41000",
		Namespace: "team-a", Name: "orders", KeyID: from, KeyVersion: 3,
		EncryptionContext: map[string]string{"a": "b"},
	}
	for operation, do := range calls(t, w) {
		t.Run(operation, func(t *testing.T) {
			w.audit.reset()
			if results, err := do(t.Context(), w); err != nil || firstErr(results) != nil {
				t.Fatalf("%v %s", err, describe(results))
			}
			want := base
			want.Operation = operation
			if operation == OperationReEncrypt {
				want.DestinationNamespace, want.DestinationName, want.DestinationKeyID, want.DestinationKeyVersion = "team-a", "invoices", to, 1
				want.DestinationEncryptionContext = map[string]string{"c": "d"}
			}
			got := w.audit.only(t)
			if diff := cmp.Diff(want, got, cmpopts.EquateComparable()); diff != "" {
				t.Errorf("the audit event (-want +got):\n%s", diff)
			}
			if printed := fmt.Sprintf("%+v", got); strings.Contains(printed, secretText) {
				t.Errorf("the plaintext is in the audit event: %s", printed)
			}
		})
	}
	t.Run("an old version is named", func(t *testing.T) {
		old := w.encryptWith(t, orders, 1, "old")
		if _, err := w.ReEncrypt(t.Context(), alice, orders, orders, []ReEncryptItem{{Ciphertext: old}}); err != nil {
			t.Fatal(err)
		}
		if event := w.audit.only(t); event.KeyVersion != 1 || event.DestinationKeyVersion != 3 {
			t.Errorf("the audit event is %+v", event)
		}
	})
	t.Run("a context over the limit does not fill the log", func(t *testing.T) {
		w.audit.reset()
		w.authz.deny(OperationDecrypt, orders, authz.ErrDenied)
		defer w.authz.reset()
		huge := map[string]string{"k": strings.Repeat("v", 1<<20)}
		_, err := w.Decrypt(t.Context(), alice, orders, []DecryptItem{{Context: huge}})
		requireKind(t, err, ErrForbidden)
		if event := w.audit.only(t); event.EncryptionContext != nil {
			t.Error("the context is in the audit event")
		}
	})
	t.Run("the latency is measured", func(t *testing.T) {
		w.audit.reset()
		slow := &slowStore{Fake: w.store, tick: w.audit.tick}
		ring := keyring.New(slow, w.lookup, w.clock)
		ring.Set(w.record(t, orders))
		if _, err := New(ring, w.authz, w.audit, w.clock).Encrypt(t.Context(), alice, orders, []EncryptItem{{}}); err != nil {
			t.Fatal(err)
		}
		if event := w.audit.only(t); event.Latency != time.Millisecond {
			t.Errorf("the latency is %v, want 1ms", event.Latency)
		}
	})
}

// slowStore takes a tick of the clock to open a version.
type slowStore struct {
	*keystoretest.Fake
	tick func()
}

func (s *slowStore) Open(ctx context.Context, id keystore.VersionID) (keystore.Key, error) {
	s.tick()
	return s.Fake.Open(ctx, id)
}

// TestWhatIsNotAuditedIsNotAnswered has an audit log that takes nothing.
func TestWhatIsNotAuditedIsNotAnswered(t *testing.T) {
	w := newWorld(t)
	for operation, do := range calls(t, w) {
		w.audit.err = errors.New("disk full")
		results, err := do(t.Context(), w)
		e := requireKind(t, err, ErrUnavailable)
		if results != nil || !strings.Contains(e.Message, "audit log") || strings.Contains(e.Message, "disk") || e.Cause == nil {
			t.Errorf("%s: message %q, cause %v, %s", operation, e.Message, e.Cause, describe(results))
		}
		// An error is answered as it is.
		w.authz.deny(operation, orders, authz.ErrDenied)
		_, err = do(t.Context(), w)
		requireKind(t, err, ErrForbidden)
		w.authz.reset()
		w.audit.err = nil
	}
}
