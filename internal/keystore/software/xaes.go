package software

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"

	"github.com/keywright/keywright/internal/keystore"
)

// XAES-256-GCM, as specified by C2SP (XAES-256-GCM.md, version 1):
//
//	               24-byte nonce N
//	+---------------------+---------------------+
//	|      N[:12]         |      N[12:]         |
//	+----------+----------+----------+----------+
//	           |                     |
//	 K, K1 --> Kx = AES_K(00 01 'X' 00 ‖ N[:12] ⊕ K1) ‖ AES_K(00 02 'X' 00 ‖ N[:12] ⊕ K1)
//	                                 |
//	            AES-256-GCM(Kx, nonce N[12:])
//
// A message key is derived for every nonce prefix, so random nonces have no
// budget worth counting: the specification puts 2^80 messages of one key at a
// collision risk of 2^-32.
const (
	xaesKeySize   = 32
	xaesNonceSize = 24
	xaesTagSize   = 16
	xaesOverhead  = xaesNonceSize + xaesTagSize

	prefixSize = 12
	blockSize  = aes.BlockSize
)

// xaes is XAES-256-GCM under one key. It is safe for concurrent use.
type xaes struct {
	block cipher.Block
	k1    [blockSize]byte
}

func newXAES(key []byte) (*xaes, error) {
	if len(key) != xaesKeySize {
		return nil, fmt.Errorf("%w: XAES-256-GCM key of %d bytes, want %d", keystore.ErrCorrupt, len(key), xaesKeySize)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("expand key: %w", err)
	}
	x := &xaes{block: block}
	block.Encrypt(x.k1[:], x.k1[:])
	// Doubling in GF(2^128), as for the first subkey of CMAC (NIST SP 800-38B
	// §6.1), in constant time.
	var msb byte
	for i := blockSize - 1; i >= 0; i-- {
		msb, x.k1[i] = x.k1[i]>>7, x.k1[i]<<1|msb
	}
	x.k1[blockSize-1] ^= msb * 0b10000111
	return x, nil
}

// messageBlock derives the message key for a nonce prefix and returns its cipher.
func (x *xaes) messageBlock(prefix []byte) (cipher.Block, error) {
	var k [xaesKeySize]byte
	m1, m2 := k[:blockSize], k[blockSize:]
	copy(m1, []byte{0, 1, 'X', 0})
	copy(m1[4:], prefix)
	copy(m2, m1)
	m2[1] = 2
	for i := range x.k1 {
		m1[i] ^= x.k1[i]
		m2[i] ^= x.k1[i]
	}
	x.block.Encrypt(m1, m1)
	x.block.Encrypt(m2, m2)
	block, err := aes.NewCipher(k[:])
	clear(k[:])
	if err != nil {
		return nil, fmt.Errorf("expand message key: %w", err)
	}
	return block, nil
}

// seal appends nonce ‖ ciphertext ‖ tag to dst. Both halves of the nonce are
// random and new: the first here, the second by NewGCMWithRandomNonce, which is
// the form of GCM that strict FIPS 140 mode allows (NIST SP 800-38D §8.2.2).
func (x *xaes) seal(dst, plaintext, aad []byte) ([]byte, error) {
	var prefix [prefixSize]byte
	// crypto/rand.Read never returns an error.
	_, _ = rand.Read(prefix[:])
	block, err := x.messageBlock(prefix[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	dst = append(dst, prefix[:]...)
	return aead.Seal(dst, nil, plaintext, aad), nil
}

// open appends the plaintext of nonce ‖ ciphertext ‖ tag to dst.
func (x *xaes) open(dst, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < xaesOverhead {
		return nil, keystore.ErrOpen
	}
	block, err := x.messageBlock(sealed[:prefixSize])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	plaintext, err := aead.Open(dst, nil, sealed[prefixSize:], aad)
	if err != nil {
		return nil, keystore.ErrOpen
	}
	return plaintext, nil
}
