package envelope

import (
	"encoding/binary"
	"errors"
)

// Format1 is the first byte of a ciphertext in format version 1.
const Format1 = 0x01

// HeaderSize is the length of the header in bytes.
const HeaderSize = 22

// Algorithm says how the part after the header is sealed.
type Algorithm byte

// AlgorithmXAES256GCM is XAES-256-GCM of C2SP: a 24-byte random nonce, the
// encrypted plaintext and a 16-byte tag.
const AlgorithmXAES256GCM Algorithm = 1

// ErrMalformed is returned for bytes that no release of Keywright has written.
// It says no more on purpose.
var ErrMalformed = errors.New("malformed ciphertext")

// Header says which key version made a ciphertext, and how.
type Header struct {
	Algorithm Algorithm
	KeyID     [16]byte
	Version   uint32
}

// Append appends the encoded header to dst.
func (h Header) Append(dst []byte) []byte {
	dst = append(dst, Format1, byte(h.Algorithm))
	dst = append(dst, h.KeyID[:]...)
	return binary.BigEndian.AppendUint32(dst, h.Version)
}

// Parse splits a ciphertext into its header and the sealed rest, which aliases
// ciphertext. It checks the form only, not that the rest is authentic.
func Parse(ciphertext []byte) (Header, []byte, error) {
	if len(ciphertext) <= HeaderSize || ciphertext[0] != Format1 {
		return Header{}, nil, ErrMalformed
	}
	h := Header{
		Algorithm: Algorithm(ciphertext[1]),
		KeyID:     [16]byte(ciphertext[2:18]),
		Version:   binary.BigEndian.Uint32(ciphertext[18:22]),
	}
	if h.Algorithm != AlgorithmXAES256GCM || h.Version == 0 {
		return Header{}, nil, ErrMalformed
	}
	return h, ciphertext[HeaderSize:], nil
}
