package server

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

// readTimeout bounds a live read, so that a request is answered within a second
// when kube-apiserver swallows packets.
const readTimeout = 900 * time.Millisecond

// scheme and mapper know the two kinds that a server reads. The mapper is fixed, so
// that no read depends on discovery, which may fail for the sake of an API that has
// nothing to do with us.
var (
	scheme = runtime.NewScheme()
	mapper = meta.NewDefaultRESTMapper([]schema.GroupVersion{keywrightv1alpha1.GroupVersion, corev1.SchemeGroupVersion})
)

func init() {
	utilruntime.Must(keywrightv1alpha1.AddToScheme(scheme))
	utilruntime.Must(corev1.AddToScheme(scheme))
	// With all names given: what Add guesses is encryptionkeies.
	mapper.AddSpecific(keywrightv1alpha1.GroupVersion.WithKind("EncryptionKey"),
		keywrightv1alpha1.GroupVersion.WithResource("encryptionkeys"), keywrightv1alpha1.GroupVersion.WithResource("encryptionkey"), meta.RESTScopeNamespace)
	mapper.AddSpecific(corev1.SchemeGroupVersion.WithKind("Secret"),
		corev1.SchemeGroupVersion.WithResource("secrets"), corev1.SchemeGroupVersion.WithResource("secret"), meta.RESTScopeNamespace)
}
