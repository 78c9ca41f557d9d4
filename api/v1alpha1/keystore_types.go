package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// KeyStore's Ready condition and corresponding reasons.
const (
	// KeyStoreReadyCondition is True if the store creates, opens and uses
	// material, shown by a round trip. It is computed from RootKeyAvailable.
	KeyStoreReadyCondition = "Ready"
	// KeyStoreReadyReason surfaces when the store is ready.
	KeyStoreReadyReason = "KeyStoreReady"
)

// KeyStore's RootKeyAvailable condition and corresponding reasons.
const (
	// KeyStoreRootKeyAvailableCondition is True if a sealer opens the root key and
	// a round trip under it succeeds.
	KeyStoreRootKeyAvailableCondition = "RootKeyAvailable"
	// KeyStoreRootKeyOpenReason surfaces when the root key is open.
	KeyStoreRootKeyOpenReason = "RootKeyOpen"
	// KeyStoreRootKeyUnavailableReason surfaces when no sealer opens the root key,
	// or it is gone while material that it seals exists. No other root key is made
	// in its place: restore the Secrets keywright-root and keywright-root-sealer.
	KeyStoreRootKeyUnavailableReason = "RootKeyUnavailable"
)

// KeyStore's RootKeyProtected condition and corresponding reasons.
const (
	// KeyStoreRootKeyProtectedCondition is True if reading the Secrets of
	// Keywright's namespace is not enough to open the root key. It does not count
	// towards Ready.
	KeyStoreRootKeyProtectedCondition = "RootKeyProtected"
	// KeyStoreSealedBySecretReason surfaces when the root key is wrapped by a
	// Secret that rests beside it, the default at install.
	KeyStoreSealedBySecretReason = "SealedBySecret"
)

// Reasons of the events on a KeyStore.
const (
	// RootKeyCreatedEventReason is the event when the root key is made, which
	// happens once in the life of an installation.
	RootKeyCreatedEventReason = "RootKeyCreated"
)

// SecretSealer wraps the root key with a key in a Secret beside it, in
// Keywright's namespace. It protects nothing against someone who reads the
// Secrets of that namespace, or a backup of them.
type SecretSealer struct{}

// RootKeySealer is one way to open the root key.
//
// +kubebuilder:validation:XValidation:rule="has(self.secret)",message="set secret: {}; it is the only kind of sealer"
type RootKeySealer struct {
	// name tells the sealers of a store apart.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// secret wraps the root key with a key in a Secret beside it.
	// +optional
	Secret *SecretSealer `json:"secret,omitempty"`
}

// RootKeySpec says how the root key is sealed.
type RootKeySpec struct {
	// sealers are the ways to open the root key; any one of them is enough.
	// Default: one sealer of kind secret.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1
	Sealers []RootKeySealer `json:"sealers,omitempty"`
}

// SoftwareKeyStore keeps material in Secrets of Keywright's namespace, sealed
// under the root key.
type SoftwareKeyStore struct {
	// rootKey says how the root key is sealed.
	// +optional
	RootKey *RootKeySpec `json:"rootKey,omitempty"`
}

// KeyStoreSpec says where material lives.
//
// +kubebuilder:validation:XValidation:rule="has(self.software)",message="set software: {}; it is the only kind of key store"
type KeyStoreSpec struct {
	// software keeps material in sealed Secrets.
	// +optional
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="software is immutable"
	Software *SoftwareKeyStore `json:"software,omitempty"`
}

// KeyStoreStatus is what the controller sees.
type KeyStoreStatus struct {
	// conditions are Ready, RootKeyAvailable and RootKeyProtected, all written by
	// the KeyStore controller.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that status tells of.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// rootKeyVersion is the version of the root key that seals new material.
	// +optional
	// +kubebuilder:validation:Minimum=1
	RootKeyVersion int32 `json:"rootKeyVersion,omitempty"`

	// keys is how many EncryptionKeys name this store. A store that has keys
	// cannot be deleted.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Keys *int32 `json:"keys,omitempty"`
}

// KeyStore says where key material lives. The store named default is made by
// Keywright and keeps material in sealed Secrets.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=ks,categories=keywright,path=keystores
// +kubebuilder:printcolumn:name="Keys",type=integer,JSONPath=`.status.keys`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Protected",type=string,JSONPath=`.status.conditions[?(@.type=="RootKeyProtected")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Root Key",type=integer,JSONPath=`.status.rootKeyVersion`,priority=1
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`,priority=1
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'default'",message="the software key store is the KeyStore named default; there is no other"
type KeyStore struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec says where material lives.
	// +required
	Spec KeyStoreSpec `json:"spec,omitempty,omitzero"`

	// status is what the controller sees.
	// +optional
	Status KeyStoreStatus `json:"status,omitempty,omitzero"`
}

// KeyStoreList is a list of KeyStores.
//
// +kubebuilder:object:root=true
type KeyStoreList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []KeyStore `json:"items"`
}
