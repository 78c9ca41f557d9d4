package chart_test

import (
	"context"
	"fmt"
	"testing"

	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	"k8s.io/client-go/rest"
)

// TestPermissions asks the API server what the roles add up to, the built-in ones
// that they aggregate to included.
func TestPermissions(t *testing.T) {
	c := startCluster(t)

	type access struct {
		user                                           rest.ImpersonationConfig
		verb, group, resource, subresource, ns, object string
	}
	allowed := func(ctx context.Context, a access) (bool, error) {
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: a.user.UserName, Groups: a.user.Groups,
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Verb: a.verb, Group: a.group, Resource: a.resource, Subresource: a.subresource, Namespace: a.ns, Name: a.object,
			},
		}}
		err := c.admin.Create(ctx, review)
		return review.Status.Allowed, err
	}
	const crypto, keys = "crypto.keywright.dev", "keywright.dev"
	rows := []struct {
		access
		want bool
	}{
		{access{keywrightController, "create", "", "secrets", "", namespace, ""}, true},
		{access{keywrightController, "list", "", "secrets", "", namespace, ""}, true},
		{access{keywrightController, "update", "", "secrets", "", namespace, "keywright-server-tls"}, true},
		{access{keywrightController, "update", "", "secrets", "", namespace, "keywright-root"}, false},
		{access{keywrightController, "patch", "", "secrets", "", namespace, "kw-x-v1"}, false},
		{access{keywrightController, "delete", "", "secrets", "", namespace, "kw-x-v1"}, false},
		{access{keywrightController, "deletecollection", "", "secrets", "", namespace, ""}, false},
		{access{keywrightController, "get", "", "secrets", "", tenantNamespace, ""}, false},
		{access{keywrightController, "create", "", "events", "", tenantNamespace, ""}, true},
		{access{keywrightController, "create", "events.k8s.io", "events", "", tenantNamespace, ""}, true},
		{access{keywrightController, "create", keys, "keystores", "", "", ""}, true},
		{access{keywrightController, "patch", keys, "encryptionkeys", "status", tenantNamespace, "orders"}, true},
		{access{keywrightController, "delete", keys, "encryptionkeys", "", tenantNamespace, "orders"}, false},
		{access{keywrightController, "update", "coordination.k8s.io", "leases", "", namespace, "keywright-controller"}, true},
		{access{keywrightController, "patch", "apiregistration.k8s.io", "apiservices", "", "", "v1alpha1.crypto.keywright.dev"}, false},
		{access{keywrightController, "create", crypto, "encryptionkeys", "decrypt", tenantNamespace, "orders"}, false},

		{access{keywrightServer, "get", "", "secrets", "", namespace, "keywright-root"}, true},
		{access{keywrightServer, "list", "", "secrets", "", namespace, ""}, false},
		{access{keywrightServer, "watch", "", "secrets", "", namespace, ""}, false},
		{access{keywrightServer, "create", "", "secrets", "", namespace, ""}, false},
		{access{keywrightServer, "get", "", "secrets", "", tenantNamespace, ""}, false},
		{access{keywrightServer, "create", "authentication.k8s.io", "tokenreviews", "", "", ""}, true},
		{access{keywrightServer, "create", "authorization.k8s.io", "subjectaccessreviews", "", "", ""}, true},
		{access{keywrightServer, "get", "", "configmaps", "", "kube-system", "extension-apiserver-authentication"}, true},
		{access{keywrightServer, "watch", keys, "encryptionkeys", "", "", ""}, true},
		{access{keywrightServer, "patch", keys, "encryptionkeys", "", tenantNamespace, "orders"}, false},

		{access{tenantAdmin, "create", keys, "encryptionkeys", "", tenantNamespace, ""}, true},
		{access{tenantAdmin, "create", crypto, "encryptionkeys", "decrypt", tenantNamespace, "orders"}, true},
		{access{tenantAdmin, "create", crypto, "encryptionkeys", "reencryptto", tenantNamespace, "orders"}, true},
		{access{tenantAdmin, "create", crypto, "encryptionkeys", "decrypt", "default", "orders"}, false},
		{access{tenantEditor, "get", keys, "encryptionkeys", "", tenantNamespace, "orders"}, true},
		{access{tenantEditor, "delete", keys, "encryptionkeys", "", tenantNamespace, "orders"}, false},
		{access{tenantEditor, "create", crypto, "encryptionkeys", "decrypt", tenantNamespace, "orders"}, false},
		{access{tenantEditor, "get", "", "configmaps", "", namespace, "keywright-ca"}, true},
		{access{tenantEditor, "get", "", "configmaps", "", namespace, "other"}, false},
	}
	for _, row := range rows {
		a := row.access
		name := fmt.Sprintf("%s %s %s.%s/%s %s/%s", a.user.UserName, a.verb, a.resource, a.group, a.subresource, a.ns, a.object)
		t.Run(name, func(t *testing.T) {
			// Eventually: the authorizer reads roles from a cache, and a controller
			// aggregates them.
			NewWithT(t).Eventually(allowed).WithContext(t.Context()).WithArguments(a).
				WithTimeout(activation).WithPolling(poll).Should(Equal(row.want))
		})
	}
}
