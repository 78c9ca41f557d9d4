// Package secret holds raw key material. Bytes is the only type in Keywright
// that carries it between packages, and it prints as [redacted] whatever the
// verb or encoder, so that a log line or an error cannot leak it by accident.
//
// The linter lists the packages that may call Bytes.Unsafe, so that one search
// finds every place that touches raw key bytes.
package secret

import (
	"crypto/rand"
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Bytes is raw key material. The zero value is empty. Copies share the bytes;
// it is safe for concurrent use as long as nobody calls Clear.
type Bytes struct {
	// Not comparable: == would say whether two are the same memory.
	_ [0]func()
	// A pointer, because package fmt bypasses Format for a verb that it thinks
	// wrong, such as %p or %w, and prints fields by reflection. It does not follow
	// a pointer in a field.
	b *[]byte
}

// New takes ownership of b: the caller must not use b afterwards.
func New(b []byte) Bytes { return Bytes{b: &b} }

// Random returns n bytes from the system's random number generator.
func Random(n int) Bytes {
	b := make([]byte, n)
	// crypto/rand.Read never returns an error: it ends the program when the
	// system has no randomness to give.
	_, _ = rand.Read(b)
	return New(b)
}

// Unsafe returns the raw bytes, not a copy. The caller must not keep, change or
// print them.
func (s Bytes) Unsafe() []byte {
	if s.b == nil {
		return nil
	}
	return *s.b
}

// Len returns the number of bytes.
func (s Bytes) Len() int { return len(s.Unsafe()) }

// Equal compares in constant time.
func (s Bytes) Equal(other Bytes) bool {
	return subtle.ConstantTimeCompare(s.Unsafe(), other.Unsafe()) == 1
}

// Clear overwrites the bytes with zeros. It is best effort: the runtime may have
// copied them before.
func (s Bytes) Clear() { clear(s.Unsafe()) }

// Format implements fmt.Formatter for every verb.
func (s Bytes) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String implements fmt.Stringer.
func (s Bytes) String() string { return redacted }

// GoString implements fmt.GoStringer.
func (s Bytes) GoString() string { return redacted }

// MarshalText implements encoding.TextMarshaler, which JSON and YAML use too.
func (s Bytes) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements slog.LogValuer.
func (s Bytes) LogValue() slog.Value { return slog.StringValue(redacted) }
