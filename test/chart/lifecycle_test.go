package chart_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

// TestHelmLifecycle installs, upgrades, uninstalls and installs again. There are no
// nodes, so no pod runs: it is about what stays.
func TestHelmLifecycle(t *testing.T) {
	c := startPlane(t)
	path, err := helm()
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	run := func(t *testing.T, args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), path, append(args, "--namespace", namespace, "--kubeconfig", c.Kubeconfig)...)
		out, err := command.CombinedOutput()
		NewWithT(t).Expect(err).NotTo(HaveOccurred(), "helm %v: %s", args, out)
		return string(out)
	}
	secret := material("kw-" + keyID + "-v1")
	key := encryptionKey(corev1.NamespaceDefault, "orders", map[string]string{keywrightv1alpha1.KeyIDAnnotation: keyID})

	t.Run("install, and the notes say what to do", func(t *testing.T) {
		g := NewWithT(t)
		notes := run(t, "install", "keywright", chart, "--create-namespace")
		g.Expect(notes).To(ContainSubstring("SealedBySecret"))
		g.Expect(notes).To(ContainSubstring("--audience=keywright"))
		g.Expect(notes).To(ContainSubstring("https://keywright." + namespace + ".svc/apis/crypto.keywright.dev/v1alpha1/"))
		c.mustCreate(t, secret, key)
	})
	t.Run("an upgrade upgrades the definitions", func(t *testing.T) {
		g := NewWithT(t)
		newer := filepath.Join(t.TempDir(), "keywright")
		g.Expect(os.CopyFS(newer, os.DirFS(chart))).To(Succeed())
		file := filepath.Join(newer, "files/crds/keywright.dev_encryptionkeys.yaml")
		text, err := os.ReadFile(file)
		g.Expect(err).NotTo(HaveOccurred())
		changed := bytes.ReplaceAll(text, []byte("description is free text for people."), []byte("description is text of a later release."))
		g.Expect(changed).NotTo(Equal(text))
		g.Expect(os.WriteFile(file, changed, 0o600)).To(Succeed())

		run(t, "upgrade", "keywright", newer)
		out, err := c.Kubectl(t.Context(), "get", "crd", "encryptionkeys.keywright.dev", "-o", "yaml")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(out).To(ContainSubstring("text of a later release"))
		run(t, "upgrade", "keywright", chart)
	})
	t.Run("the autoscaler's number survives an upgrade", func(t *testing.T) {
		g := NewWithT(t)
		_, err := c.Kubectl(t.Context(), "--namespace", namespace, "scale", "deployment/keywright-server", "--replicas=5")
		g.Expect(err).NotTo(HaveOccurred())
		run(t, "upgrade", "keywright", chart, "--set", "log.level=debug")
		var server appsv1.Deployment
		g.Expect(c.admin.Get(t.Context(), client.ObjectKey{Namespace: namespace, Name: "keywright-server"}, &server)).To(Succeed())
		g.Expect(server.Spec.Replicas).To(HaveValue(BeEquivalentTo(5)))
	})
	t.Run("an uninstall keeps keys, material and guards", func(t *testing.T) {
		g := NewWithT(t)
		run(t, "uninstall", "keywright")
		c.gone(t, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "keywright-server"}}, activation)
		g.Expect(c.admin.Get(t.Context(), client.ObjectKeyFromObject(key), key)).To(Succeed())
		g.Expect(c.admin.Get(t.Context(), client.ObjectKeyFromObject(secret), secret)).To(Succeed())
		g.Eventually(func() error { return c.admin.Delete(t.Context(), secret, client.DryRunAll) }).
			WithTimeout(activation).WithPolling(poll).Should(refused(materialGuard))
		g.Expect(c.admin.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})).
			To(refused("keywright-namespace-guard"))
	})
	t.Run("installing again takes over", func(t *testing.T) {
		run(t, "install", "keywright", chart)
		NewWithT(t).Expect(c.admin.Get(t.Context(), client.ObjectKeyFromObject(key), key)).To(Succeed())
	})
	t.Run("removing everything works as the README says", func(t *testing.T) {
		g := NewWithT(t)
		run(t, "uninstall", "keywright")
		const selector = "--selector=app.kubernetes.io/part-of=keywright"
		for _, args := range [][]string{
			{"delete", "validatingadmissionpolicybindings,validatingadmissionpolicies", selector},
			{"delete", "crds", selector},
		} {
			_, err := c.Kubectl(t.Context(), args...)
			g.Expect(err).NotTo(HaveOccurred())
		}
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		g.Eventually(func() error { return c.admin.Delete(t.Context(), ns) }).WithTimeout(activation).WithPolling(poll).Should(Succeed())
		c.gone(t, ns, 2*activation)
	})
}
