package httpapi

import (
	"encoding/json"
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
)

// discovery is what kube-apiserver asks of an aggregated API, by path. It asks
// for a newer form first and takes this one. The OpenAPI documents are valid and
// empty: without them kube-apiserver complains in its log again and again.
//
// The resource encryptionkeys itself is left out, and only its subresources are
// there: they can be created and nothing else, so that namespace deletion and
// garbage collection have nothing to do here, and `kubectl get encryptionkeys`
// finds the one resource that there is to get.
func discovery() map[string][]byte {
	version := metav1.GroupVersionForDiscovery{
		GroupVersion: cryptov1alpha1.GroupVersion.String(),
		Version:      cryptov1alpha1.GroupVersion.Version,
	}
	group := metav1.APIGroup{
		TypeMeta:         metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroup"},
		Name:             cryptov1alpha1.GroupVersion.Group,
		Versions:         []metav1.GroupVersionForDiscovery{version},
		PreferredVersion: version,
	}
	groups := metav1.APIGroupList{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "APIGroupList"},
		Groups:   []metav1.APIGroup{group},
	}
	groups.Groups[0].TypeMeta = metav1.TypeMeta{}
	resources := metav1.APIResourceList{
		TypeMeta:     metav1.TypeMeta{APIVersion: "v1", Kind: "APIResourceList"},
		GroupVersion: version.GroupVersion,
	}
	for _, name := range slices.Sorted(maps.Keys(operations)) {
		resources.APIResources = append(resources.APIResources, metav1.APIResource{
			Name:       "encryptionkeys/" + name,
			Namespaced: true,
			Kind:       operations[name].kind,
			Verbs:      metav1.Verbs{"create"},
		})
	}
	return map[string][]byte{
		"/apis":     document(groups),
		groupPath:   document(group),
		versionPath: document(resources),
		"/openapi/v2": document(map[string]any{
			"swagger": "2.0",
			"info":    map[string]string{"title": "Keywright", "version": version.Version},
			"paths":   map[string]any{},
		}),
		"/openapi/v3": document(map[string]any{"paths": map[string]any{}}),
	}
}

func document(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // these types always encode
	}
	return append(b, '\n')
}
