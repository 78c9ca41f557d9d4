package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KeyType says who manages a key and who may use it.
//
// +kubebuilder:validation:Enum=CustomerManaged
type KeyType string

// CustomerManagedKeyType is a key that its owner creates, rotates, disables and
// deletes, as an AWS KMS customer managed key.
const CustomerManagedKeyType KeyType = "CustomerManaged"

// KeySpec names the cryptographic configuration of a key, in the words of AWS KMS.
//
// +kubebuilder:validation:Enum=SYMMETRIC_DEFAULT
type KeySpec string

// SymmetricDefaultKeySpec is a 256-bit symmetric key for authenticated encryption.
const SymmetricDefaultKeySpec KeySpec = "SYMMETRIC_DEFAULT"

// KeyUsage says what a key may be used for.
//
// +kubebuilder:validation:Enum=EncryptDecrypt
type KeyUsage string

// EncryptDecryptKeyUsage allows encryption, decryption and data keys.
const EncryptDecryptKeyUsage KeyUsage = "EncryptDecrypt"

// KeyOrigin says where key material comes from.
//
// +kubebuilder:validation:Enum=Generated
type KeyOrigin string

// GeneratedKeyOrigin is material that the key store generates.
const GeneratedKeyOrigin KeyOrigin = "Generated"

// KeyState is what a key can be used for right now.
//
// +kubebuilder:validation:Enum=Creating;Enabled;Disabled;Unavailable
type KeyState string

const (
	// CreatingKeyState is a key whose first version is not stored yet.
	CreatingKeyState KeyState = "Creating"
	// EnabledKeyState is a key that encrypts and decrypts.
	EnabledKeyState KeyState = "Enabled"
	// DisabledKeyState is a key whose owner has stopped every crypto operation.
	DisabledKeyState KeyState = "Disabled"
	// UnavailableKeyState is a key whose current version cannot be used although
	// its owner wants it enabled.
	UnavailableKeyState KeyState = "Unavailable"
)

// VersionOrigin says why a key version was made.
//
// +kubebuilder:validation:Enum=Created;Rotation;OnDemandRotation
type VersionOrigin string

const (
	// CreatedVersionOrigin is the first version of a key.
	CreatedVersionOrigin VersionOrigin = "Created"
	// RotationVersionOrigin is a version that the rotation schedule asked for.
	RotationVersionOrigin VersionOrigin = "Rotation"
	// OnDemandRotationVersionOrigin is a version that spec.rotation.requestedAt
	// asked for.
	OnDemandRotationVersionOrigin VersionOrigin = "OnDemandRotation"
)

// KeyStoreReference names a KeyStore.
type KeyStoreReference struct {
	// name is the name of the KeyStore.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`
}

// RotationSpec says when a key gets a new current version. Old versions stay and
// keep decrypting; rotation re-encrypts nothing.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.schedule) && has(self.periodDays))",message="set schedule or periodDays, not both"
// +kubebuilder:validation:XValidation:rule="has(self.schedule) || has(self.periodDays) || has(self.requestedAt)",message="set schedule or periodDays for automatic rotation, requestedAt for one rotation now, or leave rotation out"
// +kubebuilder:validation:XValidation:rule="!has(self.timeZone) || has(self.schedule)",message="timeZone goes with schedule; periodDays counts days of 24 hours in any time zone"
type RotationSpec struct {
	// schedule is a cron expression in the syntax of CronJob: five fields, or a
	// macro such as @yearly. The time zone is given by timeZone and not inside
	// the expression. A schedule that cannot be parsed leaves the key as it is and
	// sets Ready to False with reason InvalidSchedule.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=100
	// +kubebuilder:validation:XValidation:rule="!self.contains('TZ')",message="give the time zone in timeZone, not inside schedule"
	Schedule string `json:"schedule,omitempty"`

	// timeZone is the IANA name of the time zone that schedule is read in, for
	// example Europe/Oslo. Default: UTC.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	TimeZone string `json:"timeZone,omitempty"`

	// periodDays is the number of days, of 24 hours each, from one automatic
	// rotation to the next.
	// +optional
	// +kubebuilder:validation:Minimum=90
	// +kubebuilder:validation:Maximum=2560
	PeriodDays int32 `json:"periodDays,omitempty"`

	// suspend stops automatic rotation while it is true. When it is lifted, an
	// overdue key rotates once. Default: false.
	// +optional
	Suspend *bool `json:"suspend,omitempty"`

	// requestedAt asks for one rotation, now, by setting it to the current time.
	// It is honoured once, and only when it is not earlier than the creation of
	// the current version; a time in the future is honoured when it comes. It
	// does not move the automatic schedule.
	// +optional
	RequestedAt *metav1.Time `json:"requestedAt,omitempty"`
}

// EncryptionKeySpec is what the owner of a key wants.
type EncryptionKeySpec struct {
	// type says who manages the key and who may use it. Immutable.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="type is immutable; create another EncryptionKey"
	Type KeyType `json:"type,omitempty"`

	// keySpec is the cryptographic configuration of the key. Immutable. It has a
	// stored default, because a key must keep the algorithm it was made with.
	// +optional
	// +kubebuilder:default=SYMMETRIC_DEFAULT
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="keySpec is immutable; create another EncryptionKey"
	KeySpec KeySpec `json:"keySpec,omitempty"`

	// keyUsage is what the key may be used for. Immutable, with a stored default.
	// +optional
	// +kubebuilder:default=EncryptDecrypt
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="keyUsage is immutable; create another EncryptionKey"
	KeyUsage KeyUsage `json:"keyUsage,omitempty"`

	// origin says where the key material comes from. Immutable, with a stored
	// default.
	// +optional
	// +kubebuilder:default=Generated
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="origin is immutable; create another EncryptionKey"
	Origin KeyOrigin `json:"origin,omitempty"`

	// keyStoreRef names the KeyStore that holds the key material. Immutable, with
	// a stored default.
	// +optional
	// +kubebuilder:default={name: default}
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="keyStoreRef is immutable; create another EncryptionKey and re-encrypt under it"
	KeyStoreRef KeyStoreReference `json:"keyStoreRef,omitzero"`

	// enabled allows crypto operations. false refuses every one of them on every
	// replica, and keeps material and schedule. Default: true.
	// +optional
	Enabled *bool `json:"enabled,omitempty"`

	// description is free text for people.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	Description string `json:"description,omitempty"`

	// rotation says when the key gets a new current version. Without it the key
	// rotates never.
	// +optional
	Rotation *RotationSpec `json:"rotation,omitempty"`
}

// KeyVersion is one generation of key material under a key.
type KeyVersion struct {
	// version is the number of the generation. It starts at 1 and only grows.
	// +required
	// +kubebuilder:validation:Minimum=1
	Version int32 `json:"version,omitempty"`

	// createdAt is when the material was made.
	// +required
	CreatedAt metav1.Time `json:"createdAt,omitempty,omitzero"` //nolint:kubeapilinter // a time is a string in the schema and never {}

	// origin is why the version was made.
	// +required
	Origin VersionOrigin `json:"origin,omitempty"`
}

// MaxStatusVersions is how many key versions status lists, the newest ones.
// All of them live in material Secrets.
const MaxStatusVersions = 32

// EncryptionKeyStatus is what the controller sees. It is a view: the sealed
// material is the truth, and all of it can be rebuilt from there.
type EncryptionKeyStatus struct {
	// conditions are Ready, MaterialAvailable, KeyStoreAvailable and
	// RotationUpToDate, all written by the EncryptionKey controller.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that status tells of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// keyID is the UUID of the key. It never changes and is never reused.
	// +optional
	// +kubebuilder:validation:MinLength=36
	// +kubebuilder:validation:MaxLength=36
	KeyID string `json:"keyID,omitempty"`

	// state is what the key can be used for right now.
	// +optional
	State KeyState `json:"state,omitempty"`

	// currentVersion is the version that encrypts.
	// +optional
	// +kubebuilder:validation:Minimum=1
	CurrentVersion int32 `json:"currentVersion,omitempty"`

	// versions are the newest 32 versions, the newest first.
	// +optional
	// +listType=map
	// +listMapKey=version
	// +kubebuilder:validation:MaxItems=32
	Versions []KeyVersion `json:"versions,omitempty"`

	// lastRotationTime is when the current version was made, if it is not the
	// first one.
	// +optional
	LastRotationTime *metav1.Time `json:"lastRotationTime,omitempty"`

	// nextRotationTime is when the next rotation is due. It is absent when there
	// is none to come: no schedule, suspended, or disabled.
	// +optional
	NextRotationTime *metav1.Time `json:"nextRotationTime,omitempty"`
}

// EncryptionKey is a named, versioned key. Workloads use it through the crypto
// endpoint; its material never appears in the resource.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=ek,categories=keywright,path=encryptionkeys
// +kubebuilder:printcolumn:name="Type",type=string,JSONPath=`.spec.type`
// +kubebuilder:printcolumn:name="Spec",type=string,JSONPath=`.spec.keySpec`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Version",type=integer,JSONPath=`.status.currentVersion`
// +kubebuilder:printcolumn:name="Next Rotation",type=string,JSONPath=`.status.nextRotationTime`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Key ID",type=string,JSONPath=`.status.keyID`,priority=1
// +kubebuilder:printcolumn:name="Store",type=string,JSONPath=`.spec.keyStoreRef.name`,priority=1
// +kubebuilder:printcolumn:name="Origin",type=string,JSONPath=`.spec.origin`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1
type EncryptionKey struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is what the owner of the key wants.
	// +required
	Spec EncryptionKeySpec `json:"spec,omitempty,omitzero"`

	// status is what the controller sees.
	// +optional
	Status EncryptionKeyStatus `json:"status,omitempty,omitzero"`
}

// IsEnabled reports whether the owner allows crypto operations.
func (k *EncryptionKey) IsEnabled() bool {
	return k.Spec.Enabled == nil || *k.Spec.Enabled
}

// EncryptionKeyList is a list of EncryptionKeys.
//
// +kubebuilder:object:root=true
type EncryptionKeyList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []EncryptionKey `json:"items"`
}
