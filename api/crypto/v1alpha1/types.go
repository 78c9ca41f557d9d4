// Package v1alpha1 holds the requests and responses of the crypto endpoint, the
// API group crypto.keywright.dev. They have the shape of a TokenReview: spec
// asks, status answers. They are never stored.
//
// Bytes are base64 (RFC 4648 §4) in JSON. A request carries either the single
// fields of its spec or spec.items, never both; a batch answers in
// status.items, in order, each item with its result or its own error.
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of the requests in this package.
var GroupVersion = schema.GroupVersion{Group: "crypto.keywright.dev", Version: "v1alpha1"}

// The kinds of the requests, one per operation.
const (
	EncryptRequestKind   = "EncryptRequest"
	DecryptRequestKind   = "DecryptRequest"
	DataKeyRequestKind   = "DataKeyRequest"
	ReEncryptRequestKind = "ReEncryptRequest"
)

// Limits of a request. A request past one of them is refused as TooLarge.
const (
	// MaxPlaintextBytes bounds one plaintext.
	MaxPlaintextBytes = 64 << 10
	// MaxCiphertextBytes bounds one ciphertext: the largest plaintext and the
	// most that any algorithm adds to it.
	MaxCiphertextBytes = MaxPlaintextBytes + 256
	// MaxItems bounds a batch.
	MaxItems = 1000
	// MaxRequestBytes bounds the body of a request, JSON and base64 included.
	MaxRequestBytes = 1 << 20
	// MaxDataKeyBytes bounds numberOfBytes of a data key.
	MaxDataKeyBytes = 1024
)

// DataKeySpec names the length of a data key, in the words of AWS KMS.
type DataKeySpec string

const (
	// AES256DataKeySpec is a data key of 32 bytes, the default.
	AES256DataKeySpec DataKeySpec = "AES_256"
	// AES128DataKeySpec is a data key of 16 bytes.
	AES128DataKeySpec DataKeySpec = "AES_128"
)

// EncryptRequest encrypts under the current version of a key.
type EncryptRequest struct {
	metav1.TypeMeta `json:",inline"`
	Spec            EncryptSpec    `json:"spec,omitzero"`
	Status          *EncryptStatus `json:"status,omitempty"`
}

// EncryptSpec is what is to be encrypted: one item, or many in items.
type EncryptSpec struct {
	EncryptItem `json:",inline"`
	// items is a batch, of at most MaxItems.
	Items []EncryptItem `json:"items,omitempty"`
}

// EncryptItem is one plaintext.
type EncryptItem struct {
	// plaintext is at most MaxPlaintextBytes long; it may be empty.
	Plaintext []byte `json:"plaintext,omitempty"`
	// encryptionContext is authenticated with the ciphertext and not secret: the
	// same pairs must be given to decrypt. It shows in the audit log.
	EncryptionContext map[string]string `json:"encryptionContext,omitempty"`
}

// EncryptStatus answers an EncryptRequest.
type EncryptStatus struct {
	EncryptResult `json:",inline"`
	// items answers a batch, in order.
	Items []EncryptResult `json:"items,omitempty"`
}

// EncryptResult is one ciphertext, or why there is none.
type EncryptResult struct {
	Ciphertext []byte `json:"ciphertext,omitempty"`
	// keyID is the UUID of the key.
	KeyID string `json:"keyID,omitempty"`
	// keyVersion is the key version that encrypted.
	KeyVersion uint32 `json:"keyVersion,omitempty"`
	// error is set in a batch when this item failed.
	Error *ItemError `json:"error,omitempty"`
}

// DecryptRequest opens a ciphertext of a key.
type DecryptRequest struct {
	metav1.TypeMeta `json:",inline"`
	Spec            DecryptSpec    `json:"spec,omitzero"`
	Status          *DecryptStatus `json:"status,omitempty"`
}

// DecryptSpec is what is to be decrypted: one item, or many in items.
type DecryptSpec struct {
	DecryptItem `json:",inline"`
	// items is a batch, of at most MaxItems.
	Items []DecryptItem `json:"items,omitempty"`
}

// DecryptItem is one ciphertext.
type DecryptItem struct {
	// ciphertext is what encrypt, generatedatakey or reencrypt answered.
	Ciphertext []byte `json:"ciphertext,omitempty"`
	// encryptionContext must equal the one that was given to encrypt.
	EncryptionContext map[string]string `json:"encryptionContext,omitempty"`
}

// DecryptStatus answers a DecryptRequest.
type DecryptStatus struct {
	DecryptResult `json:",inline"`
	// items answers a batch, in order.
	Items []DecryptResult `json:"items,omitempty"`
}

// DecryptResult is one plaintext, or why there is none.
type DecryptResult struct {
	// plaintext is present in every success, also when it is empty.
	Plaintext []byte `json:"plaintext,omitzero"`
	// keyID is the UUID of the key.
	KeyID string `json:"keyID,omitempty"`
	// keyVersion is the key version that the ciphertext was made with.
	KeyVersion uint32 `json:"keyVersion,omitempty"`
	// error is set in a batch when this item failed.
	Error *ItemError `json:"error,omitempty"`
}

// DataKeyRequest generates a data key: random bytes for the caller to encrypt
// with, together with the same bytes encrypted under a key.
type DataKeyRequest struct {
	metav1.TypeMeta `json:",inline"`
	Spec            DataKeyRequestSpec `json:"spec,omitzero"`
	Status          *DataKeyStatus     `json:"status,omitempty"`
}

// DataKeyRequestSpec says which data key is wanted: one item, or many in items.
type DataKeyRequestSpec struct {
	DataKeyItem `json:",inline"`
	// items is a batch, of at most MaxItems.
	Items []DataKeyItem `json:"items,omitempty"`
}

// DataKeyItem says how long a data key is: by keySpec or by numberOfBytes, not
// both. Neither means AES_256.
type DataKeyItem struct {
	KeySpec DataKeySpec `json:"keySpec,omitempty"`
	// numberOfBytes is from 1 to MaxDataKeyBytes.
	NumberOfBytes *int32 `json:"numberOfBytes,omitempty"`
	// withoutPlaintext leaves the plaintext out of the answer.
	WithoutPlaintext bool `json:"withoutPlaintext,omitempty"`
	// encryptionContext must be given again to decrypt the data key.
	EncryptionContext map[string]string `json:"encryptionContext,omitempty"`
}

// DataKeyStatus answers a DataKeyRequest.
type DataKeyStatus struct {
	DataKeyResult `json:",inline"`
	// items answers a batch, in order.
	Items []DataKeyResult `json:"items,omitempty"`
}

// DataKeyResult is one data key, or why there is none.
type DataKeyResult struct {
	// plaintext is the data key. Use it, then forget it; it is absent with
	// withoutPlaintext.
	Plaintext []byte `json:"plaintext,omitzero"`
	// ciphertext is the data key under the key; keep it beside the data.
	Ciphertext []byte `json:"ciphertext,omitempty"`
	// keyID is the UUID of the key.
	KeyID string `json:"keyID,omitempty"`
	// keyVersion is the key version that encrypted the data key.
	KeyVersion uint32 `json:"keyVersion,omitempty"`
	// error is set in a batch when this item failed.
	Error *ItemError `json:"error,omitempty"`
}

// ReEncryptRequest opens a ciphertext of the key in the path and encrypts its
// plaintext under the current version of the destination key, without showing
// the plaintext.
type ReEncryptRequest struct {
	metav1.TypeMeta `json:",inline"`
	Spec            ReEncryptSpec    `json:"spec,omitzero"`
	Status          *ReEncryptStatus `json:"status,omitempty"`
}

// KeyReference names an EncryptionKey.
type KeyReference struct {
	// namespace defaults to the namespace in the path.
	Namespace string `json:"namespace,omitempty"`
	// name is the name of the EncryptionKey.
	Name string `json:"name,omitempty"`
}

// ReEncryptSpec is what is to be re-encrypted: one item, or many in items.
type ReEncryptSpec struct {
	ReEncryptItem `json:",inline"`
	// destinationKey encrypts. Default: the key in the path, which moves a
	// ciphertext to the current version.
	DestinationKey *KeyReference `json:"destinationKey,omitempty"`
	// items is a batch, of at most MaxItems, all to one destination.
	Items []ReEncryptItem `json:"items,omitempty"`
}

// ReEncryptItem is one ciphertext.
type ReEncryptItem struct {
	Ciphertext []byte `json:"ciphertext,omitempty"`
	// sourceEncryptionContext must equal the one that the ciphertext was made with.
	SourceEncryptionContext map[string]string `json:"sourceEncryptionContext,omitempty"`
	// destinationEncryptionContext is bound to the new ciphertext.
	DestinationEncryptionContext map[string]string `json:"destinationEncryptionContext,omitempty"`
}

// ReEncryptStatus answers a ReEncryptRequest.
type ReEncryptStatus struct {
	ReEncryptResult `json:",inline"`
	// items answers a batch, in order.
	Items []ReEncryptResult `json:"items,omitempty"`
}

// ReEncryptResult is one new ciphertext, or why there is none.
type ReEncryptResult struct {
	Ciphertext []byte `json:"ciphertext,omitempty"`
	// sourceKeyID is the UUID of the key that the old ciphertext was made with.
	SourceKeyID string `json:"sourceKeyID,omitempty"`
	// sourceKeyVersion is the key version that the old ciphertext was made with.
	SourceKeyVersion uint32 `json:"sourceKeyVersion,omitempty"`
	// keyID is the UUID of the destination key.
	KeyID string `json:"keyID,omitempty"`
	// keyVersion is the key version that encrypted.
	KeyVersion uint32 `json:"keyVersion,omitempty"`
	// error is set in a batch when this item failed.
	Error *ItemError `json:"error,omitempty"`
}

// ItemError says why one item of a batch failed, with the code and reason that
// the item would have got alone.
type ItemError struct {
	Code    int32               `json:"code"`
	Reason  metav1.StatusReason `json:"reason"`
	Message string              `json:"message"`
}
