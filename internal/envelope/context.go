package envelope

import (
	"encoding/binary"
	"errors"
	"slices"
	"unicode/utf8"
)

// MaxContextBytes bounds the canonical encoding of an encryption context.
const MaxContextBytes = 8 << 10

// Errors of an encryption context.
var (
	// ErrContextTooLarge is returned when the canonical encoding is longer than
	// MaxContextBytes.
	ErrContextTooLarge = errors.New("encryption context is longer than 8 KiB")
	// ErrContextNotUTF8 is returned when a key or value is not valid UTF-8.
	ErrContextNotUTF8 = errors.New("encryption context is not valid UTF-8")
)

// aadLabel separates this use of a key version from every other.
const aadLabel = "keywright/v1"

// AppendAAD appends the additional authenticated data of a ciphertext with this
// header and encryption context to dst.
//
// The context is written as its pairs in ascending order of the key bytes, each
// key and each value as a 32-bit big-endian length and its bytes. No two
// different contexts have the same encoding; no context and an empty one are the
// same. Nothing is folded or normalised: case and code points count.
func AppendAAD(dst []byte, h Header, context map[string]string) ([]byte, error) {
	dst = append(dst, aadLabel...)
	dst = h.Append(dst)
	return appendContext(dst, context)
}

func appendContext(dst []byte, context map[string]string) ([]byte, error) {
	if len(context) == 0 {
		return dst, nil
	}
	size := 0
	// Contexts have a handful of pairs; the array keeps their keys off the heap.
	var few [8]string
	keys := few[:0]
	for k, v := range context {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return nil, ErrContextNotUTF8
		}
		size += 8 + len(k) + len(v)
		keys = append(keys, k)
	}
	// After the loop, so that the error does not depend on the order of the map.
	if size > MaxContextBytes {
		return nil, ErrContextTooLarge
	}
	slices.Sort(keys)
	dst = slices.Grow(dst, size)
	for _, k := range keys {
		dst = appendString(dst, k)
		dst = appendString(dst, context[k])
	}
	return dst, nil
}

func appendString(dst []byte, s string) []byte {
	// The length fits: MaxContextBytes has been checked.
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(s))) //nolint:gosec // at most MaxContextBytes
	return append(dst, s...)
}
