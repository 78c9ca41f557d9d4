package keystoretest

import (
	"crypto/aes"
	"crypto/cipher"
	"math/big"
)

const (
	keySize   = 32
	nonceSize = 24
	overhead  = nonceSize + 16
)

// xaes is XAES-256-GCM of C2SP for tests: the text of the specification step by
// step, with big integers for the field and CBC for the XOR, and sharing no line
// with the implementation that it is compared with. It is slow and not in
// constant time.
type xaes struct {
	block cipher.Block
	k1    []byte
}

// newXAES panics if key is not an AES-256 key.
func newXAES(key []byte) *xaes {
	if len(key) != keySize {
		panic("keystoretest: key is not one of AES-256")
	}
	block := must(aes.NewCipher(key))
	// 1. L = AES-256_K(0).
	l := make([]byte, block.BlockSize())
	block.Encrypt(l, l)
	// 2. K1 = L << 1, and if the bit that falls out is set ⊕ 0b10000111.
	k1 := new(big.Int).Lsh(new(big.Int).SetBytes(l), 1)
	if k1.Bit(128) == 1 {
		k1.SetBit(k1, 128, 0)
		k1.Xor(k1, big.NewInt(0b10000111))
	}
	return &xaes{block: block, k1: k1.FillBytes(make([]byte, 16))}
}

// aead returns AES-256-GCM under the key of a message.
func (x *xaes) aead(nonce []byte) cipher.AEAD {
	var key []byte
	for _, counter := range []byte{1, 2} {
		// 3., 4. M = 00 ‖ counter ‖ 'X' ‖ 00 ‖ N[:12].
		m := append([]byte{0, counter, 'X', 0}, nonce[:12]...)
		// 5. AES-256_K(M ⊕ K1): one block of CBC whose IV is K1.
		cipher.NewCBCEncrypter(x.block, x.k1).CryptBlocks(m, m)
		key = append(key, m...)
	}
	return must(cipher.NewGCM(must(aes.NewCipher(key))))
}

// seal appends nonce ‖ ciphertext ‖ tag to dst.
func (x *xaes) seal(dst, nonce, plaintext, aad []byte) []byte {
	return x.aead(nonce).Seal(append(dst, nonce...), nonce[12:], plaintext, aad)
}

// open appends the plaintext of nonce ‖ ciphertext ‖ tag to dst.
func (x *xaes) open(dst, sealed, aad []byte) ([]byte, bool) {
	if len(sealed) < overhead {
		return nil, false
	}
	nonce, sealed := sealed[:nonceSize], sealed[nonceSize:]
	plaintext, err := x.aead(nonce).Open(dst, nonce[12:], sealed, aad)
	return plaintext, err == nil
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
