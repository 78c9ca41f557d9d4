// Package v1alpha1 holds the custom resources of the API group keywright.dev.
//
// An EncryptionKey is a named, versioned key; a KeyStore says where key
// material lives. The resources say what is wanted and what is; key material
// itself is never in them.
//
// +kubebuilder:object:generate=true
// +groupName=keywright.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion is the group and version of the resources in this package.
var GroupVersion = schema.GroupVersion{Group: "keywright.dev", Version: "v1alpha1"}

var (
	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the resources of this package to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&EncryptionKey{}, &EncryptionKeyList{},
		&KeyStore{}, &KeyStoreList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
