package kms

import (
	"context"
	"errors"
	"sync"

	"github.com/keywright/keywright/internal/envelope"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
)

// aadPool keeps the buffers that AAD is built in. They hold encryption contexts,
// which are not secret.
var aadPool = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// encrypter makes ciphertexts with one key version.
type encrypter struct {
	sealer keystore.Sealer
	id     keystore.VersionID
}

// encrypt returns header and sealed plaintext in one new slice.
func (e *encrypter) encrypt(ctx context.Context, plaintext []byte, encryptionContext map[string]string) ([]byte, error) {
	header := envelope.Header{Algorithm: e.sealer.Algorithm(), KeyID: e.id.Key, Version: e.id.Version}
	buffer := aadPool.Get().(*[]byte)
	defer aadPool.Put(buffer)
	aad, err := envelope.AppendAAD((*buffer)[:0], header, encryptionContext)
	if err != nil {
		return nil, contextError(err)
	}
	*buffer = aad
	ciphertext := make([]byte, 0, envelope.HeaderSize+len(plaintext)+e.sealer.Overhead())
	ciphertext, err = e.sealer.Seal(ctx, header.Append(ciphertext), plaintext, aad)
	if err != nil {
		return nil, &Error{Kind: ErrUnavailable, Message: "the key store cannot encrypt at the moment; try again", Cause: err}
	}
	return ciphertext, nil
}

// decrypt opens a ciphertext of the key and returns the version that made it.
func (s *Service) decrypt(ctx context.Context, record keyring.Record, ciphertext []byte, encryptionContext map[string]string) ([]byte, uint32, error) {
	header, sealed, err := envelope.Parse(ciphertext)
	if err != nil {
		return nil, 0, invalidCiphertext(err)
	}
	if header.KeyID != record.ID {
		return nil, 0, &Error{Kind: ErrIncorrectKey, Field: "ciphertext",
			Message: "the ciphertext was not made by this key; name the key that encrypted it"}
	}
	key, err := s.ring.Version(ctx, record, header.Version)
	switch {
	case errors.Is(err, keyring.ErrNoVersion):
		return nil, 0, invalidCiphertext(err)
	case err != nil:
		return nil, 0, unavailable(record.Name, err)
	}
	sealer, ok := key.(keystore.Sealer)
	if !ok || sealer.Algorithm() != header.Algorithm {
		return nil, 0, invalidCiphertext(errors.New("algorithm of the header is not the one of the key"))
	}
	buffer := aadPool.Get().(*[]byte)
	defer aadPool.Put(buffer)
	aad, err := envelope.AppendAAD((*buffer)[:0], header, encryptionContext)
	if err != nil {
		return nil, 0, contextError(err)
	}
	*buffer = aad
	plaintext, err := sealer.Open(ctx, make([]byte, 0, len(sealed)), sealed, aad)
	switch {
	case errors.Is(err, keystore.ErrOpen):
		return nil, 0, invalidCiphertext(err)
	case err != nil:
		return nil, 0, &Error{Kind: ErrUnavailable, Message: "the key store cannot decrypt at the moment; try again", Cause: err}
	}
	return plaintext, header.Version, nil
}

// invalidCiphertext is one answer for everything that may be wrong with a
// ciphertext, so that nobody learns from the answer which part was.
func invalidCiphertext(cause error) *Error {
	return &Error{Kind: ErrInvalidCiphertext, Field: "ciphertext", Cause: cause,
		Message: "the ciphertext cannot be opened with this key and encryption context"}
}

func contextError(err error) *Error {
	kind := ErrInvalidRequest
	if errors.Is(err, envelope.ErrContextTooLarge) {
		kind = ErrTooLarge
	}
	return &Error{Kind: kind, Field: "encryptionContext", Message: err.Error()}
}
