package chart_test

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"github.com/onsi/gomega/types"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

const (
	keyID      = "6f0c2d5e-8f0b-4c8e-9d39-0a7c1c0f5e11"
	otherKeyID = "11111111-2222-4333-8444-555555555555"

	materialGuard = "keywright-material-guard"
	override      = "kubectl delete validatingadmissionpolicybinding "
)

// refused matches an error of a policy whose message has every part.
func refused(policy string, parts ...string) types.GomegaMatcher {
	matchers := []types.GomegaMatcher{
		WithTransform(apierrors.ReasonForError, Or(Equal(metav1.StatusReasonForbidden), Equal(metav1.StatusReasonInvalid))),
		MatchError(ContainSubstring("ValidatingAdmissionPolicy '" + policy + "'")),
	}
	for _, part := range parts {
		matchers = append(matchers, MatchError(ContainSubstring(part)))
	}
	return And(matchers...)
}

func material(name string) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{keywrightv1alpha1.MaterialLabel: "true"}},
		Type:       "keywright.dev/material",
		Immutable:  new(true),
		Data:       map[string][]byte{"header": []byte("{}"), "sealed": []byte("sealed")},
	}
}

func secretOf(name string, secretType corev1.SecretType) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       secretType,
		Data:       map[string][]byte{"root": []byte("sealed")},
	}
}

func encryptionKey(ns, name string, annotations map[string]string) *keywrightv1alpha1.EncryptionKey {
	return &keywrightv1alpha1.EncryptionKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, Annotations: annotations},
		Spec:       keywrightv1alpha1.EncryptionKeySpec{Type: keywrightv1alpha1.CustomerManagedKeyType},
	}
}

// TestPolicies walks through the guards in the order that lets one cluster serve:
// what is denied first, then what the messages promise about the way around.
func TestPolicies(t *testing.T) {
	c := startCluster(t)
	first, second := "kw-"+keyID+"-v1", "kw-"+keyID+"-v2"
	c.mustCreate(t, material(first), secretOf("keywright-root", "keywright.dev/root-key"), secretOf("keywright-root-sealer", "keywright.dev/root-sealer"),
		&keywrightv1alpha1.KeyStore{ObjectMeta: metav1.ObjectMeta{Name: "default"}, Spec: keywrightv1alpha1.KeyStoreSpec{Software: &keywrightv1alpha1.SoftwareKeyStore{}}},
		encryptionKey(tenantNamespace, "orders", map[string]string{keywrightv1alpha1.KeyIDAnnotation: keyID}),
	)
	c.waitForPolicies(t)

	t.Run("their expressions type-check", func(t *testing.T) {
		for _, name := range render(t).byKind("ValidatingAdmissionPolicy").names() {
			NewWithT(t).Eventually(func(g Gomega) {
				var policy admissionregistrationv1.ValidatingAdmissionPolicy
				g.Expect(c.admin.Get(t.Context(), client.ObjectKey{Name: name}, &policy)).To(Succeed())
				g.Expect(policy.Status.ObservedGeneration).To(Equal(policy.Generation), name)
				g.Expect(policy.Status.TypeChecking).NotTo(BeNil(), name)
				g.Expect(policy.Status.TypeChecking.ExpressionWarnings).To(BeEmpty(), name)
			}).WithTimeout(activation).WithPolling(poll).Should(Succeed())
		}
	})

	users := map[string]rest.ImpersonationConfig{
		"the administrator":        {},
		"the namespace controller": namespaceController,
		"the garbage collector":    garbageCollector,
		// With every permission, as in a cluster whose owner was generous.
		"Keywright's controller": {UserName: keywrightController.UserName, Groups: []string{"system:masters"}},
	}
	for name, user := range users {
		t.Run(name+" deletes no key material", func(t *testing.T) {
			g := NewWithT(t)
			as := c.as(t, user)
			for _, secret := range []string{first, "keywright-root", "keywright-root-sealer"} {
				g.Expect(as.Delete(t.Context(), secretOf(secret, ""))).
					To(refused(materialGuard, "Secret "+secret+" holds", "lost for good", "spec.enabled", override+materialGuard))
			}
		})
		if name == "the garbage collector" {
			continue // it may not delete collections in any case
		}
		t.Run(name+" deletes no collection with key material in it", func(t *testing.T) {
			NewWithT(t).Expect(c.as(t, user).DeleteAllOf(t.Context(), &corev1.Secret{}, client.InNamespace(namespace), client.MatchingLabels{keywrightv1alpha1.MaterialLabel: "true"})).
				To(refused(materialGuard, override+materialGuard))
		})
	}
	t.Run("Keywright's controller has no permission to, either", func(t *testing.T) {
		g := NewWithT(t)
		as := c.as(t, keywrightController)
		g.Expect(as.Delete(t.Context(), secretOf(first, ""))).To(MatchError(ContainSubstring("cannot delete resource")))
		g.Expect(as.Patch(t.Context(), secretOf(first, ""), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`)))).
			To(MatchError(ContainSubstring("cannot patch resource")))
	})

	t.Run("nobody changes key material", func(t *testing.T) {
		for name, change := range map[string]func(*corev1.Secret){
			"data":       func(s *corev1.Secret) { s.Data["root"] = []byte("other") },
			"more data":  func(s *corev1.Secret) { s.StringData = map[string]string{"more": "x"} },
			"no data":    func(s *corev1.Secret) { s.Data = nil },
			"labels":     func(s *corev1.Secret) { s.Labels = map[string]string{"a": "b"} },
			"annotation": func(s *corev1.Secret) { s.Annotations = map[string]string{"a": "b"} },
			"owner": func(s *corev1.Secret) {
				s.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "x", UID: "x"}}
			},
			"finalizer": func(s *corev1.Secret) { s.Finalizers = []string{"example.com/x"} },
			"immutable": func(s *corev1.Secret) { s.Immutable = new(true) },
		} {
			t.Run(name, func(t *testing.T) {
				g := NewWithT(t)
				var secret corev1.Secret
				g.Expect(c.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "keywright-root"}, &secret)).To(Succeed())
				change(&secret)
				g.Expect(c.admin.Update(t.Context(), &secret)).To(refused(materialGuard, "lost for good", "spec.rotation.requestedAt", override+materialGuard))
			})
		}
		t.Run("the label that indexes it", func(t *testing.T) {
			NewWithT(t).Expect(c.admin.Patch(t.Context(), secretOf(first, ""), client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":null}}`)))).
				To(refused(materialGuard))
		})
	})
	t.Run("a write that changes nothing passes, as storage migration does it", func(t *testing.T) {
		g := NewWithT(t)
		for _, name := range []string{first, "keywright-root"} {
			var secret corev1.Secret
			g.Expect(c.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &secret)).To(Succeed())
			g.Expect(c.admin.Update(t.Context(), &secret)).To(Succeed())
		}
	})

	t.Run("creating", func(t *testing.T) {
		for name, row := range map[string]struct {
			secret *corev1.Secret
			ok     bool
		}{
			"material of a backup":               {material(second), true},
			"a Secret of nobody's":               {secretOf("other", corev1.SecretTypeOpaque), true},
			"material under a free name":         {material("material"), false},
			"material under half a name":         {material("kw-" + keyID), false},
			"material of version 0":              {material("kw-" + keyID + "-v0"), false},
			"material of a padded version":       {material("kw-" + keyID + "-v01"), false},
			"another type under a name of ours":  {secretOf("kw-"+keyID+"-v3", corev1.SecretTypeOpaque), false},
			"no type under a name of ours":       {secretOf("kw-x", ""), false},
			"another type as the root key":       {secretOf("keywright-root", corev1.SecretTypeOpaque), false},
			"a root key under another name":      {secretOf("keywright-root-2", "keywright.dev/root-key"), false},
			"a root sealer as the root key":      {secretOf("keywright-root", "keywright.dev/root-sealer"), false},
			"a type of ours that does not exist": {secretOf("other-2", "keywright.dev/other"), false},
			"a generated name": {&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "kw-"},
				Type: corev1.SecretTypeOpaque}, false},
		} {
			t.Run(name, func(t *testing.T) {
				err := c.admin.Create(t.Context(), row.secret, client.DryRunAll)
				if row.ok {
					NewWithT(t).Expect(err).NotTo(HaveOccurred())
				} else {
					NewWithT(t).Expect(err).To(refused(materialGuard, "does not fit", "To restore a backup"))
				}
			})
		}
	})
	t.Run("Keywright's controller works", func(t *testing.T) {
		g := NewWithT(t)
		as := c.as(t, keywrightController)
		g.Expect(as.Create(t.Context(), material(second))).To(Succeed())
		certificate := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "keywright-server-tls"},
			Type:       corev1.SecretTypeTLS, Data: map[string][]byte{"tls.crt": nil, "tls.key": nil},
		}
		g.Expect(as.Create(t.Context(), certificate)).To(Succeed())
		certificate.Data["ca.crt"] = []byte("ca")
		g.Expect(as.Update(t.Context(), certificate)).To(Succeed())
		g.Expect(as.List(t.Context(), &corev1.SecretList{}, client.InNamespace(namespace))).To(Succeed())
	})
	t.Run("other Secrets and other namespaces are left alone", func(t *testing.T) {
		g := NewWithT(t)
		other := secretOf("other", corev1.SecretTypeOpaque)
		g.Expect(c.admin.Create(t.Context(), other)).To(Succeed())
		g.Expect(c.admin.Delete(t.Context(), other)).To(Succeed())
		elsewhere := material("kw-x")
		elsewhere.Namespace = tenantNamespace
		as := c.as(t, tenantAdmin)
		g.Expect(as.Create(t.Context(), elsewhere)).To(Succeed())
		elsewhere.Labels = nil
		g.Expect(as.Update(t.Context(), elsewhere)).To(Succeed())
		g.Expect(as.Delete(t.Context(), elsewhere)).To(Succeed())
	})

	t.Run("nobody deletes Keywright's namespace", func(t *testing.T) {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		NewWithT(t).Expect(c.admin.Delete(t.Context(), ns)).
			To(refused("keywright-namespace-guard", "lost for good", "uninstall the release", override+"keywright-namespace-guard "+materialGuard))
	})
	t.Run("a tenant's namespace goes, keys and all", func(t *testing.T) {
		g := NewWithT(t)
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "leaving"}}
		c.mustCreate(t, ns, encryptionKey("leaving", "orders", map[string]string{keywrightv1alpha1.KeyIDAnnotation: otherKeyID}))
		g.Expect(c.admin.Delete(t.Context(), ns)).To(Succeed())
		c.gone(t, ns, 30*time.Second)
	})

	t.Run("identity", func(t *testing.T) { testIdentity(t, c) })
	t.Run("key stores", func(t *testing.T) { testKeyStores(t, c) })

	t.Run("deleting a definition does not wedge", func(t *testing.T) {
		g := NewWithT(t)
		crd := &unstructured.Unstructured{}
		crd.SetAPIVersion("apiextensions.k8s.io/v1")
		crd.SetKind("CustomResourceDefinition")
		crd.SetName("keystores.keywright.dev")
		g.Expect(c.admin.Delete(t.Context(), crd)).To(Succeed())
		c.gone(t, crd, 30*time.Second)
	})
	t.Run("who really means it can", func(t *testing.T) {
		g := NewWithT(t)
		_, err := c.Kubectl(t.Context(), "delete", "validatingadmissionpolicybinding", "keywright-namespace-guard", materialGuard)
		g.Expect(err).NotTo(HaveOccurred())
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		g.Eventually(func() error { return c.admin.Delete(t.Context(), ns) }).WithTimeout(activation).WithPolling(poll).Should(Succeed())
		c.gone(t, ns, 60*time.Second)
	})
}

// waitForPolicies waits until the API server acts on each of them. Nothing is
// touched: the requests are dry runs.
func (c *cluster) waitForPolicies(t *testing.T) {
	t.Helper()
	other := encryptionKey(tenantNamespace, "orders", nil)
	for policy, try := range map[string]func() error{
		materialGuard: func() error { return c.admin.Delete(t.Context(), secretOf("keywright-root", ""), client.DryRunAll) },
		"keywright-namespace-guard": func() error {
			return c.admin.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, client.DryRunAll)
		},
		"keywright-keystore-guard": func() error {
			return c.admin.Delete(t.Context(), &keywrightv1alpha1.KeyStore{ObjectMeta: metav1.ObjectMeta{Name: "default"}}, client.DryRunAll)
		},
		"keywright-identity-guard": func() error { return c.admin.Patch(t.Context(), other, keyIDPatch(otherKeyID), client.DryRunAll) },
	} {
		NewWithT(t).Eventually(try).WithTimeout(activation).WithPolling(poll).Should(refused(policy))
	}
}

func keyIDPatch(id string) client.Patch {
	value := "null"
	if id != "" {
		value = `"` + id + `"`
	}
	return client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"keywright.dev/key-id":`+value+`}}}`))
}

func testIdentity(t *testing.T, c *cluster) {
	const guard = "keywright-identity-guard"
	key := func(name string) *keywrightv1alpha1.EncryptionKey { return encryptionKey(tenantNamespace, name, nil) }
	patch := func(t *testing.T, user rest.ImpersonationConfig, name, id string) error {
		t.Helper()
		return c.as(t, user).Patch(t.Context(), key(name), keyIDPatch(id))
	}

	t.Run("a tenant restores a key with its id", func(t *testing.T) {
		NewWithT(t).Expect(c.as(t, tenantAdmin).Create(t.Context(),
			encryptionKey(tenantNamespace, "restored", map[string]string{keywrightv1alpha1.KeyIDAnnotation: otherKeyID}))).To(Succeed())
	})
	for name, user := range map[string]rest.ImpersonationConfig{"the administrator": {}, "a tenant": tenantAdmin} {
		t.Run(name+" does not change it", func(t *testing.T) {
			NewWithT(t).Expect(patch(t, user, "orders", otherKeyID)).
				To(refused(guard, "is "+keyID+" and cannot become "+otherKeyID, "Keep it, or leave it out"))
		})
	}
	t.Run("everything else about the key changes freely", func(t *testing.T) {
		NewWithT(t).Expect(c.as(t, tenantAdmin).Patch(t.Context(), key("orders"),
			client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}},"spec":{"enabled":false}}`)))).To(Succeed())
	})
	t.Run("Keywright's controller may change it", func(t *testing.T) {
		g := NewWithT(t)
		g.Expect(patch(t, keywrightController, "restored", keyID)).To(Succeed())
		g.Expect(patch(t, keywrightController, "restored", otherKeyID)).To(Succeed())
	})
	t.Run("removing it passes, and status remembers", func(t *testing.T) {
		g := NewWithT(t)
		orders := key("orders")
		g.Expect(c.admin.Get(t.Context(), client.ObjectKeyFromObject(orders), orders)).To(Succeed())
		orders.Status.KeyID = keyID
		g.Expect(c.as(t, keywrightController).Status().Update(t.Context(), orders)).To(Succeed())

		g.Expect(patch(t, tenantAdmin, "orders", "")).To(Succeed())
		g.Expect(patch(t, tenantAdmin, "orders", otherKeyID)).To(refused(guard, "cannot become "+otherKeyID))
		g.Expect(patch(t, tenantAdmin, "orders", keyID)).To(Succeed())
	})
	t.Run("deleting a key passes", func(t *testing.T) {
		NewWithT(t).Expect(c.as(t, tenantAdmin).Delete(t.Context(), key("orders"))).To(Succeed())
	})
}

func testKeyStores(t *testing.T, c *cluster) {
	const guard = "keywright-keystore-guard"

	t.Run("the default store stays", func(t *testing.T) {
		NewWithT(t).Expect(c.admin.Delete(t.Context(), &keywrightv1alpha1.KeyStore{ObjectMeta: metav1.ObjectMeta{Name: "default"}})).
			To(refused(guard, "belongs to the installation", override+guard))
	})
	t.Run("a store that has keys stays until it has none", func(t *testing.T) {
		g := NewWithT(t)
		// There is only the default store yet; the guard is ready for others.
		_, err := c.Kubectl(t.Context(), "patch", "crd", "keystores.keywright.dev", "--type=json",
			`--patch=[{"op":"remove","path":"/spec/versions/0/schema/openAPIV3Schema/x-kubernetes-validations"}]`)
		g.Expect(err).NotTo(HaveOccurred())
		store := &keywrightv1alpha1.KeyStore{
			ObjectMeta: metav1.ObjectMeta{Name: "other"},
			Spec:       keywrightv1alpha1.KeyStoreSpec{Software: &keywrightv1alpha1.SoftwareKeyStore{}},
		}
		c.mustCreate(t, store)
		count := func(keys int32) {
			store.Status.Keys = new(keys)
			g.Expect(c.as(t, keywrightController).Status().Update(t.Context(), store)).To(Succeed())
		}
		count(2)
		g.Expect(c.admin.Delete(t.Context(), store)).To(refused(guard, "KeyStore other has 2 keys", "kubectl get encryptionkeys -A -o wide"))
		count(1)
		g.Expect(c.admin.Delete(t.Context(), store)).To(refused(guard, "KeyStore other has 1 key,"))
		count(0)
		g.Expect(c.admin.Delete(t.Context(), store)).To(Succeed())
	})
}
