package kms

import (
	"errors"

	"github.com/keywright/keywright/internal/audit"
)

// Kinds of Error. Front ends translate them, once each.
var (
	// ErrForbidden: the principal may not do this with a key of this name,
	// whether or not there is one.
	ErrForbidden = errors.New("forbidden")
	// ErrNotFound: there is no such key, and the principal may know it.
	ErrNotFound = errors.New("not found")
	// ErrDisabled: the owner has disabled the key.
	ErrDisabled = errors.New("disabled")
	// ErrUnavailable: trying again later may succeed.
	ErrUnavailable = errors.New("unavailable")
	// ErrInvalidCiphertext: not a ciphertext of this key in this encryption
	// context. It never says which part was wrong.
	ErrInvalidCiphertext = errors.New("invalid ciphertext")
	// ErrIncorrectKey: the ciphertext names another key.
	ErrIncorrectKey = errors.New("incorrect key")
	// ErrInvalidRequest: the request makes no sense as it is.
	ErrInvalidRequest = errors.New("invalid request")
	// ErrTooLarge: something in the request is over its limit.
	ErrTooLarge = errors.New("too large")
)

// Error is a failed operation.
type Error struct {
	// Kind is one of the Err variables of this package.
	Kind error
	// Message is for the caller and says what to do next. It holds no plaintext,
	// ciphertext, token or context value.
	Message string
	// Field is the part of the input that is at fault, such as plaintext; empty
	// when it is none.
	Field string
	// Cause is for the log of the server; it is not shown to callers. May be nil.
	Cause error
}

// Error implements error.
func (e *Error) Error() string { return e.Message }

// Unwrap makes errors.Is find the kind.
func (e *Error) Unwrap() error { return e.Kind }

// Outcome returns the outcome class of an error, for audit lines and metrics.
func Outcome(err error) string {
	switch {
	case err == nil:
		return audit.OutcomeSuccess
	case errors.Is(err, ErrForbidden):
		return audit.OutcomeForbidden
	case errors.Is(err, ErrNotFound):
		return audit.OutcomeNotFound
	case errors.Is(err, ErrDisabled):
		return audit.OutcomeDisabled
	case errors.Is(err, ErrUnavailable):
		return audit.OutcomeUnavailable
	case errors.Is(err, ErrInvalidCiphertext):
		return audit.OutcomeInvalidCiphertext
	case errors.Is(err, ErrIncorrectKey):
		return audit.OutcomeIncorrectKey
	case errors.Is(err, ErrInvalidRequest):
		return audit.OutcomeInvalidRequest
	case errors.Is(err, ErrTooLarge):
		return audit.OutcomeTooLarge
	default:
		return audit.OutcomeError
	}
}
