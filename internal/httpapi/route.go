package httpapi

import (
	"strings"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/keyring"
)

// Lengths of names (RFC 1123 labels and subdomains).
const (
	maxNamespaceLength = 63
	maxNameLength      = 253
)

var (
	groupPath   = "/apis/" + cryptov1alpha1.GroupVersion.Group
	versionPath = groupPath + "/" + cryptov1alpha1.GroupVersion.Version
	keysPrefix  = versionPath + "/namespaces/"
)

// findOperation splits the path of an operation with a key:
// …/namespaces/{namespace}/encryptionkeys/{name}/{operation}.
//
// A name that no key can have is refused here, so that what is audited and asked of
// kube-apiserver is short and plain. That says nothing about any key.
func findOperation(path string) (*operation, keyring.Name, bool) {
	rest, ok := strings.CutPrefix(path, keysPrefix)
	if !ok {
		return nil, keyring.Name{}, false
	}
	namespace, rest, _ := strings.Cut(rest, "/")
	resource, rest, _ := strings.Cut(rest, "/")
	name, last, _ := strings.Cut(rest, "/")
	o := operations[last]
	if o == nil || resource != "encryptionkeys" || !isName(namespace, maxNamespaceLength, false) || !isName(name, maxNameLength, true) {
		return nil, keyring.Name{}, false
	}
	return o, keyring.Name{Namespace: namespace, Name: name}, true
}

// isName reports whether s consists of what names in Kubernetes consist of.
func isName(s string, longest int, dots bool) bool {
	if s == "" || len(s) > longest {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '.' && dots) {
			return false
		}
	}
	return true
}
