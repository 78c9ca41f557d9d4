package chart_test

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	rbacv1 "k8s.io/api/rbac/v1"
)

// reaches says that a rule gives something on a resource of a group.
func reaches(rule rbacv1.PolicyRule, group, resource string) bool {
	return (slices.Contains(rule.APIGroups, group) || slices.Contains(rule.APIGroups, rbacv1.APIGroupAll)) &&
		(slices.Contains(rule.Resources, resource) || slices.Contains(rule.Resources, rbacv1.ResourceAll))
}

func TestNoClusterRoleReachesSecrets(t *testing.T) {
	forEachValueFile(t, func(t *testing.T, m manifests) {
		g := NewWithT(t)
		roles := m.byKind("ClusterRole")
		g.Expect(roles.names()).To(ConsistOf("keywright-controller", "keywright-server", "keywright-key-user", "keywright-key-admin", "keywright-viewer"))
		for _, object := range roles {
			for _, rule := range typed[rbacv1.ClusterRole](t, object).Rules {
				g.Expect(reaches(rule, "", "secrets")).To(BeFalse(), "ClusterRole %s: %v", object.GetName(), rule)
				g.Expect(rule.Verbs).NotTo(ContainElement(rbacv1.VerbAll), object.GetName())
				g.Expect(rule.Resources).NotTo(ContainElement(rbacv1.ResourceAll), object.GetName())
			}
		}
	})
}

// TestMaterialIsCreateOnly: no mistake of the controller may lose key material.
func TestMaterialIsCreateOnly(t *testing.T) {
	forEachValueFile(t, func(t *testing.T, m manifests) {
		g := NewWithT(t)
		for _, rule := range get[rbacv1.Role](t, m, "Role", "keywright-controller").Rules {
			if !reaches(rule, "", "secrets") {
				continue
			}
			if len(rule.ResourceNames) == 0 {
				g.Expect(rule.Verbs).To(ConsistOf("get", "list", "watch", "create"))
			} else {
				g.Expect(rule.ResourceNames).To(ConsistOf("keywright-server-ca", "keywright-server-tls"))
				g.Expect(rule.Verbs).To(ConsistOf("update", "patch"))
			}
		}
	})
	t.Run("with cert-manager it writes no certificate, either", func(t *testing.T) {
		g := NewWithT(t)
		m := render(t, "--set", "certificates.source=certManager")
		for _, rule := range get[rbacv1.Role](t, m, "Role", "keywright-controller").Rules {
			if reaches(rule, "", "secrets") {
				g.Expect(rule.Verbs).To(ConsistOf("get", "list", "watch", "create"))
			}
		}
	})
}

func TestServerOnlyGets(t *testing.T) {
	g := NewWithT(t)
	m := render(t)
	g.Expect(get[rbacv1.Role](t, m, "Role", "keywright-server").Rules).To(Equal([]rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"secrets"}, Verbs: []string{"get"}},
	}))
	g.Expect(get[rbacv1.ClusterRole](t, m, "ClusterRole", "keywright-server").Rules).To(Equal([]rbacv1.PolicyRule{
		{APIGroups: []string{"keywright.dev"}, Resources: []string{"encryptionkeys", "keystores"}, Verbs: []string{"get", "list", "watch"}},
	}))
}

// TestUsingKeysIsNotPartOfEdit: who writes Deployments does not thereby decrypt.
func TestUsingKeysIsNotPartOfEdit(t *testing.T) {
	g := NewWithT(t)
	m := render(t)
	const prefix = "rbac.authorization.k8s.io/aggregate-to-"
	labels := func(name string) map[string]string {
		return get[rbacv1.ClusterRole](t, m, "ClusterRole", name).Labels
	}
	for _, object := range m.byKind("ClusterRole") {
		g.Expect(labels(object.GetName())).NotTo(HaveKey(prefix + "edit"))
	}
	g.Expect(labels("keywright-viewer")).To(HaveKeyWithValue(prefix+"view", "true"))
	g.Expect(labels("keywright-key-admin")).To(HaveKeyWithValue(prefix+"admin", "true"))
	g.Expect(labels("keywright-key-user")).To(HaveKeyWithValue(prefix+"admin", "true"))

	for _, object := range render(t, "--set", "rbac.aggregate=false").byKind("ClusterRole") {
		g.Expect(object.GetLabels()).NotTo(HaveKey(HavePrefix(prefix)))
	}
}
