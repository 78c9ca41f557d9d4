// Package kms is the operations with keys. What an operation means is here,
// once; front ends translate a protocol into it and back.
//
// An operation goes: authorize, find the key, check its state, do the
// cryptography, audit. Authorization comes before anything that could tell
// whether the key exists. Every operation takes a batch; a single request is a
// batch of one. An error of the operation concerns the whole batch, an error in
// a result that item alone.
//
// An operation is answered only after its audit event has been handed over.
package kms

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/clock"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authz"
	"github.com/keywright/keywright/internal/envelope"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
)

// Operations, as they are named in paths, permissions, audit lines and metrics.
const (
	OperationEncrypt         = "encrypt"
	OperationDecrypt         = "decrypt"
	OperationGenerateDataKey = "generatedatakey"
	OperationReEncrypt       = "reencrypt"
)

// permissionReEncryptTo is what reencrypt needs on the destination key; on the
// source key it needs reencrypt.
const permissionReEncryptTo = "reencryptto"

// Limits of an operation.
const (
	// MaxPlaintext bounds one plaintext, in bytes.
	MaxPlaintext = 64 << 10
	// MaxDataKey bounds a data key, in bytes.
	MaxDataKey = 1024
)

// Caller is who asks, and what is known about the request.
type Caller struct {
	Principal     user.Info
	SourceAddress string
	RequestID     string
}

// Service does the operations. It is safe for concurrent use.
type Service struct {
	ring       *keyring.Ring
	authorizer authz.Authorizer
	audit      audit.Sink
	clock      clock.PassiveClock
}

// New returns a Service.
func New(ring *keyring.Ring, authorizer authz.Authorizer, sink audit.Sink, clock clock.PassiveClock) *Service {
	return &Service{ring: ring, authorizer: authorizer, audit: sink, clock: clock}
}

// begin starts an operation and its audit event.
func (s *Service) begin(caller Caller, operation string, key keyring.Name) *audit.Event {
	return &audit.Event{
		Time:          s.clock.Now(),
		RequestID:     caller.RequestID,
		Operation:     operation,
		Decision:      audit.Deny,
		Principal:     caller.Principal,
		SourceAddress: caller.SourceAddress,
		Namespace:     key.Namespace,
		Name:          key.Name,
	}
}

// auditable returns an encryption context as it goes into an audit event: one over
// the limit is left out. No operation takes it, and whoever is forbidden to use a
// key must not be able to fill the audit log instead.
func auditable(encryptionContext map[string]string) map[string]string {
	size := 0
	for k, v := range encryptionContext {
		if size += len(k) + len(v); size > envelope.MaxContextBytes {
			return nil
		}
	}
	return encryptionContext
}

// end completes the audit event and hands it over. It passes results and err on,
// unless the event is lost: what is not audited is not answered.
func (s *Service) end(ctx context.Context, event *audit.Event, results []Result, err error) ([]Result, error) {
	event.Latency = s.clock.Since(event.Time)
	event.Outcome = Outcome(err)
	if len(results) == 1 {
		event.Outcome = Outcome(results[0].Err)
		if event.KeyVersion == 0 {
			event.KeyVersion = results[0].Key.Version
		}
		if event.Operation == OperationReEncrypt {
			event.KeyVersion = results[0].Source.Version
		}
	} else if len(results) > 1 {
		event.Items = len(results)
		for i := range results {
			if results[i].Err != nil {
				event.Failed++
			}
		}
		if event.Failed > 0 {
			event.Outcome = audit.OutcomePartial
		}
	}
	if auditErr := s.audit.Record(ctx, event); auditErr != nil && err == nil {
		for i := range results {
			clear(results[i].Plaintext)
		}
		return nil, &Error{Kind: ErrUnavailable, Message: "the audit log cannot take the operation; try again", Cause: auditErr}
	}
	return results, err
}

// authorize checks permissions in order.
func (s *Service) authorize(ctx context.Context, event *audit.Event, permissions ...authz.Permission) error {
	for _, p := range permissions {
		err := s.authorizer.Authorize(ctx, event.Principal, p)
		switch {
		case err == nil:
		case errors.Is(err, authz.ErrDenied):
			event.Reason = "no permission to create encryptionkeys/" + p.Subresource
			return &Error{Kind: ErrForbidden, Message: fmt.Sprintf(
				"user %q cannot create resource %q in API group %q in the namespace %q for key %q; ask for a Role that allows it",
				event.Principal.GetName(), "encryptionkeys/"+p.Subresource, "crypto.keywright.dev", p.Namespace, p.Name)}
		default:
			event.Reason = "authorization unavailable"
			return &Error{Kind: ErrUnavailable, Message: "it cannot be checked at the moment whether you are permitted; try again", Cause: err}
		}
	}
	event.Decision = audit.Allow
	event.Reason = "permitted by RBAC"
	return nil
}

// usable returns the record of a key that may be used now.
func (s *Service) usable(ctx context.Context, name keyring.Name) (keyring.Record, error) {
	record, err := s.ring.Key(ctx, name)
	switch {
	case errors.Is(err, keyring.ErrKeyNotFound):
		return keyring.Record{}, &Error{Kind: ErrNotFound, Message: fmt.Sprintf(
			"encryptionkeys.keywright.dev %q not found in namespace %q", name.Name, name.Namespace)}
	case err != nil:
		return keyring.Record{}, unavailable(name, err)
	case !record.Enabled:
		return keyring.Record{}, &Error{Kind: ErrDisabled, Message: fmt.Sprintf(
			"key %s/%s is disabled; its owner can enable it with spec.enabled: true", name.Namespace, name.Name)}
	}
	return record, nil
}

func unavailable(name keyring.Name, cause error) *Error {
	return &Error{Kind: ErrUnavailable, Cause: cause, Message: fmt.Sprintf(
		"key %s/%s cannot be used at the moment; its conditions say why: kubectl -n %s describe encryptionkey %s",
		name.Namespace, name.Name, name.Namespace, name.Name)}
}

// encrypter opens the current version of a key.
func (s *Service) encrypter(ctx context.Context, record keyring.Record) (*encrypter, error) {
	key, err := s.ring.Current(ctx, record)
	if err != nil {
		return nil, unavailable(record.Name, err)
	}
	sealer, ok := key.(keystore.Sealer)
	if !ok {
		return nil, &Error{Kind: ErrInvalidRequest, Message: fmt.Sprintf("key %s/%s is not for encryption", record.Name.Namespace, record.Name.Name)}
	}
	return &encrypter{sealer: sealer, id: key.Metadata().ID}, nil
}
