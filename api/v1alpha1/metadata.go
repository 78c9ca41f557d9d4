package v1alpha1

// Annotations on an EncryptionKey. They are written by the controller and
// survive a backup that drops status; they are a claim, and the sealed material
// is the proof.
const (
	// KeyIDAnnotation is the id of the key, a UUID. A resource that is restored
	// with it gets the material of that id or none.
	KeyIDAnnotation = "keywright.dev/key-id"
	// LatestVersionAnnotation is the newest key version that has been stored, in
	// decimal. Material for every version up to it must exist.
	LatestVersionAnnotation = "keywright.dev/latest-version"
)

// Labels on material Secrets. They index; nothing is decided by them.
const (
	// MaterialLabel marks the Secrets that hold sealed key material; its value is
	// "true".
	MaterialLabel = "keywright.dev/material"
	// KeyIDLabel is the id of the key that the material belongs to.
	KeyIDLabel = "keywright.dev/key-id"
	// VersionLabel is the key version that the material belongs to, in decimal.
	VersionLabel = "keywright.dev/version"
	// OwnerHashLabel is a hash of the namespace and name of the EncryptionKey
	// that the material was made for.
	OwnerHashLabel = "keywright.dev/owner-hash"
)

// OwnerAnnotation on a material Secret is the namespace and name of its
// EncryptionKey, as namespace/name. It is for people to read; the sealed payload
// decides.
const OwnerAnnotation = "keywright.dev/owner"

// DefaultKeyStoreName is the name of the KeyStore that every installation has
// and that keys use when they name none.
const DefaultKeyStoreName = "default"
