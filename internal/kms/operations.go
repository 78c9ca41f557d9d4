package kms

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authz"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
)

// EncryptItem is one plaintext. The slices and maps are only read.
type EncryptItem struct {
	Plaintext []byte
	Context   map[string]string
}

// DecryptItem is one ciphertext.
type DecryptItem struct {
	Ciphertext []byte
	Context    map[string]string
}

// DataKeyItem is one data key that is wanted.
type DataKeyItem struct {
	// Bytes is its length, from 1 to MaxDataKey.
	Bytes            int
	WithoutPlaintext bool
	Context          map[string]string
}

// ReEncryptItem is one ciphertext that is wanted under another version or key.
type ReEncryptItem struct {
	Ciphertext         []byte
	SourceContext      map[string]string
	DestinationContext map[string]string
}

// Result is what became of one item. The fields that its operation does not
// have are zero. The slices belong to the caller.
type Result struct {
	Plaintext  []byte
	Ciphertext []byte
	// Key is the key version that encrypted, or that made the decrypted ciphertext.
	Key keystore.VersionID
	// Source is the key version that made the ciphertext that was re-encrypted.
	Source keystore.VersionID
	// Err is an *Error, or nil.
	Err error
}

// Encrypt encrypts under the current version of the key.
func (s *Service) Encrypt(ctx context.Context, caller Caller, name keyring.Name, items []EncryptItem) ([]Result, error) {
	event := s.begin(caller, OperationEncrypt, name)
	if len(items) == 1 {
		event.EncryptionContext = auditable(items[0].Context)
	}
	results, err := s.encryptAll(ctx, event, name, len(items), func(enc *encrypter, i int) Result {
		item := &items[i]
		if len(item.Plaintext) > MaxPlaintext {
			return Result{Err: &Error{Kind: ErrTooLarge, Field: "plaintext", Message: fmt.Sprintf(
				"plaintext has %d bytes, at most %d are allowed; generate a data key and encrypt with that", len(item.Plaintext), MaxPlaintext)}}
		}
		ciphertext, err := enc.encrypt(ctx, item.Plaintext, item.Context)
		return Result{Ciphertext: ciphertext, Key: enc.id, Err: err}
	})
	return s.end(ctx, event, results, err)
}

// GenerateDataKey makes random bytes and encrypts them under the current version
// of the key.
func (s *Service) GenerateDataKey(ctx context.Context, caller Caller, name keyring.Name, items []DataKeyItem) ([]Result, error) {
	event := s.begin(caller, OperationGenerateDataKey, name)
	if len(items) == 1 {
		event.EncryptionContext = auditable(items[0].Context)
	}
	results, err := s.encryptAll(ctx, event, name, len(items), func(enc *encrypter, i int) Result {
		item := &items[i]
		if item.Bytes < 1 || item.Bytes > MaxDataKey {
			return Result{Err: &Error{Kind: ErrInvalidRequest, Field: "numberOfBytes", Message: fmt.Sprintf(
				"a data key has from 1 to %d bytes", MaxDataKey)}}
		}
		plaintext := make([]byte, item.Bytes)
		// crypto/rand.Read never returns an error.
		_, _ = rand.Read(plaintext)
		ciphertext, err := enc.encrypt(ctx, plaintext, item.Context)
		if err != nil || item.WithoutPlaintext {
			clear(plaintext)
			plaintext = nil
		}
		return Result{Plaintext: plaintext, Ciphertext: ciphertext, Key: enc.id, Err: err}
	})
	return s.end(ctx, event, results, err)
}

// Decrypt opens ciphertexts of the key.
func (s *Service) Decrypt(ctx context.Context, caller Caller, name keyring.Name, items []DecryptItem) ([]Result, error) {
	event := s.begin(caller, OperationDecrypt, name)
	if len(items) == 1 {
		event.EncryptionContext = auditable(items[0].Context)
	}
	record, err := s.admit(ctx, event, name)
	if err != nil {
		return s.end(ctx, event, nil, err)
	}
	results := make([]Result, len(items))
	for i := range items {
		plaintext, version, err := s.decrypt(ctx, record, items[i].Ciphertext, items[i].Context)
		results[i] = Result{Plaintext: plaintext, Key: keystore.VersionID{Key: record.ID, Version: version}, Err: err}
	}
	return s.end(ctx, event, results, nil)
}

// ReEncrypt opens ciphertexts of the source key and encrypts what was in them
// under the current version of the destination key. The plaintext is not shown.
func (s *Service) ReEncrypt(ctx context.Context, caller Caller, source, destination keyring.Name, items []ReEncryptItem) ([]Result, error) {
	event := s.begin(caller, OperationReEncrypt, source)
	event.DestinationNamespace, event.DestinationName = destination.Namespace, destination.Name
	if len(items) == 1 {
		event.EncryptionContext = auditable(items[0].SourceContext)
		event.DestinationEncryptionContext = auditable(items[0].DestinationContext)
	}
	results, err := s.reEncryptAll(ctx, event, source, destination, items)
	return s.end(ctx, event, results, err)
}

func (s *Service) reEncryptAll(ctx context.Context, event *audit.Event, source, destination keyring.Name, items []ReEncryptItem) ([]Result, error) {
	// Both permissions are checked before anything is said about either key.
	err := s.authorize(ctx, event,
		authz.Permission{Subresource: OperationReEncrypt, Namespace: source.Namespace, Name: source.Name},
		authz.Permission{Subresource: permissionReEncryptTo, Namespace: destination.Namespace, Name: destination.Name})
	if err != nil {
		return nil, err
	}
	from, err := s.usable(ctx, source)
	if err != nil {
		return nil, err
	}
	to, err := s.usable(ctx, destination)
	if err != nil {
		return nil, err
	}
	event.KeyID, event.DestinationKeyID = from.ID.String(), to.ID.String()
	enc, err := s.encrypter(ctx, to)
	if err != nil {
		return nil, err
	}
	event.DestinationKeyVersion = enc.id.Version
	results := make([]Result, len(items))
	for i := range items {
		results[i] = s.reEncrypt(ctx, from, enc, &items[i])
	}
	return results, nil
}

func (s *Service) reEncrypt(ctx context.Context, from keyring.Record, enc *encrypter, item *ReEncryptItem) Result {
	plaintext, version, err := s.decrypt(ctx, from, item.Ciphertext, item.SourceContext)
	if err != nil {
		return Result{Err: inField(err, "encryptionContext", "sourceEncryptionContext")}
	}
	defer clear(plaintext)
	ciphertext, err := enc.encrypt(ctx, plaintext, item.DestinationContext)
	return Result{
		Ciphertext: ciphertext,
		Key:        enc.id,
		Source:     keystore.VersionID{Key: from.ID, Version: version},
		Err:        inField(err, "encryptionContext", "destinationEncryptionContext"),
	}
}

// inField renames the field that an error is about.
func inField(err error, from, to string) error {
	var e *Error
	if errors.As(err, &e) && e.Field == from {
		e.Field = to
	}
	return err
}

// admit authorizes the operation of event and returns the key's record.
func (s *Service) admit(ctx context.Context, event *audit.Event, name keyring.Name) (keyring.Record, error) {
	err := s.authorize(ctx, event, authz.Permission{Subresource: event.Operation, Namespace: name.Namespace, Name: name.Name})
	if err != nil {
		return keyring.Record{}, err
	}
	record, err := s.usable(ctx, name)
	if err != nil {
		return keyring.Record{}, err
	}
	event.KeyID = record.ID.String()
	return record, nil
}

// encryptAll admits the operation and calls f for every item with what encrypts.
func (s *Service) encryptAll(ctx context.Context, event *audit.Event, name keyring.Name, n int, f func(enc *encrypter, i int) Result) ([]Result, error) {
	record, err := s.admit(ctx, event, name)
	if err != nil {
		return nil, err
	}
	enc, err := s.encrypter(ctx, record)
	if err != nil {
		return nil, err
	}
	event.KeyVersion = enc.id.Version
	results := make([]Result, n)
	for i := range results {
		results[i] = f(enc, i)
	}
	return results, nil
}
