// Package authz decides whether somebody may do an operation with a key. A
// permission is the verb create on a subresource of encryptionkeys in the API
// group crypto.keywright.dev, so that a plain Role is the policy.
package authz

import (
	"context"
	"errors"

	"k8s.io/apiserver/pkg/authentication/user"
)

// Errors of an Authorizer. They are wrapped; compare with errors.Is.
var (
	// ErrDenied is returned when the principal may not.
	ErrDenied = errors.New("not permitted")
	// ErrUnavailable is returned when nobody can say whether the principal may.
	// The answer to doubt is no.
	ErrUnavailable = errors.New("authorization unavailable")
)

// Permission is one thing that a principal may be allowed to do.
type Permission struct {
	// Subresource of encryptionkeys, for example encrypt.
	Subresource string
	// Namespace and Name of the EncryptionKey.
	Namespace string
	Name      string
}

// Authorizer decides. It is safe for concurrent use.
type Authorizer interface {
	// Authorize returns nil if principal has the permission. It is asked before
	// anything is said about the key, its existence included. Errors: ErrDenied,
	// ErrUnavailable.
	Authorize(ctx context.Context, principal user.Info, permission Permission) error
}
