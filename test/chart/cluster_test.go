package chart_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/test/controlplane"
)

const (
	// activation bounds how long the API server takes to act on a policy.
	activation = 30 * time.Second
	poll       = 50 * time.Millisecond

	tenantNamespace = "shop"
)

// Users, told by impersonation. The administrator is who the control plane made.
var (
	keywrightController = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":keywright-controller",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	keywrightServer = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + namespace + ":keywright-server",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + namespace, "system:authenticated"},
	}
	namespaceController = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:kube-system:namespace-controller",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
	}
	garbageCollector = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:kube-system:generic-garbage-collector",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"},
	}
	// tenantAdmin and tenantEditor have the built-in roles in tenantNamespace.
	tenantAdmin  = rest.ImpersonationConfig{UserName: "tina", Groups: []string{"system:authenticated"}}
	tenantEditor = rest.ImpersonationConfig{UserName: "ed", Groups: []string{"system:authenticated"}}
)

// cluster is a control plane with Keywright's objects, and no Keywright running.
type cluster struct {
	*controlplane.ControlPlane
	admin  client.Client
	scheme *runtime.Scheme
}

// startPlane starts a control plane without Keywright.
func startPlane(t *testing.T) *cluster {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: 'make test' builds the control plane and sets it")
	}
	g := NewWithT(t)
	plane, err := controlplane.Start(t.Context(), controlplane.Options{Dir: t.TempDir()})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(plane.Stop()).To(Succeed()) })

	c := &cluster{ControlPlane: plane, scheme: runtime.NewScheme()}
	g.Expect(clientgoscheme.AddToScheme(c.scheme)).To(Succeed())
	g.Expect(keywrightv1alpha1.AddToScheme(c.scheme)).To(Succeed())
	c.admin = c.as(t, rest.ImpersonationConfig{})
	return c
}

// startCluster installs with the command that config/default advertises.
func startCluster(t *testing.T) *cluster {
	t.Helper()
	g := NewWithT(t)
	c := startPlane(t)
	c.apply(t, "-k", root+"/config/default")
	for _, crd := range render(t).byKind("CustomResourceDefinition").names() {
		_, err := c.Kubectl(t.Context(), "wait", "--for=condition=Established", "--timeout=60s", "crd/"+crd)
		g.Expect(err).NotTo(HaveOccurred())
	}
	g.Expect(c.admin.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: tenantNamespace}})).To(Succeed())
	for user, role := range map[string]string{tenantAdmin.UserName: "admin", tenantEditor.UserName: "edit"} {
		g.Expect(c.admin.Create(t.Context(), &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: tenantNamespace, Name: role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		})).To(Succeed())
	}
	return c
}

func (c *cluster) apply(t *testing.T, args ...string) {
	t.Helper()
	_, err := c.Kubectl(t.Context(), append([]string{"apply", "--server-side", "--validate=strict"}, args...)...)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
}

// as returns a client of user; the zero user is the administrator.
func (c *cluster) as(t *testing.T, user rest.ImpersonationConfig) client.Client {
	t.Helper()
	config := rest.CopyConfig(c.Config)
	config.Impersonate = user
	out, err := client.New(config, client.Options{Scheme: c.scheme})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return out
}

// mustCreate creates objects as the administrator. It waits, because what an object
// needs may be on its way: a definition to be served, a namespace's account.
func (c *cluster) mustCreate(t *testing.T, objects ...client.Object) {
	t.Helper()
	g := NewWithT(t)
	for _, object := range objects {
		g.Eventually(func() error { return c.admin.Create(t.Context(), object) }).
			WithTimeout(activation).WithPolling(poll).Should(Succeed(), "%T %s", object, object.GetName())
	}
}

// gone waits until an object is not there.
func (c *cluster) gone(t *testing.T, object client.Object, within time.Duration) {
	t.Helper()
	NewWithT(t).Eventually(func(ctx context.Context) error {
		return client.IgnoreNotFound(notGone(c.admin.Get(ctx, client.ObjectKeyFromObject(object), object)))
	}).WithContext(t.Context()).WithTimeout(within).WithPolling(poll).Should(Succeed(), "%T %s is still there", object, object.GetName())
}

// TestOnAPIServer lets a real API server judge what every value file renders:
// fields, defaults, RBAC escalation, CEL of policies and, for the pods, Pod
// Security at level restricted.
func TestOnAPIServer(t *testing.T) {
	c := startCluster(t)
	foreign := map[string]bool{"Certificate": true, "Issuer": true, "ServiceMonitor": true} // definitions that a bare cluster lacks
	forEachValueFile(t, func(t *testing.T, m manifests) {
		g := NewWithT(t)
		path := filepath.Join(t.TempDir(), "rendered.yaml")
		var text []byte
		for _, object := range m {
			if !foreign[object.GetKind()] {
				text = append(text, "---\n"+toYAML(t, object.Object)...)
			}
		}
		g.Expect(os.WriteFile(path, text, 0o600)).To(Succeed())
		c.apply(t, "--dry-run=server", "--force-conflicts", "-f", path)

		for _, deployment := range deployments(t, m) {
			pod := &corev1.Pod{ObjectMeta: deployment.Spec.Template.ObjectMeta, Spec: deployment.Spec.Template.Spec}
			pod.Namespace, pod.Name = namespace, deployment.Name
			pod.Spec.PriorityClassName = "" // a quota matter
			g.Expect(c.admin.Create(t.Context(), pod, client.DryRunAll)).To(Succeed(), "the namespace enforces restricted")
		}
	})

	t.Run("the namespace does enforce it", func(t *testing.T) {
		bare := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "bare"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "bare", Image: "bare"}}},
		}
		NewWithT(t).Expect(c.admin.Create(t.Context(), bare, client.DryRunAll)).
			To(MatchError(ContainSubstring("violates PodSecurity \"restricted")))
	})
	t.Run("the samples apply", func(t *testing.T) {
		c.apply(t, "-k", root+"/config/samples")
		c.apply(t, "--dry-run=server", "-f", root+"/config/samples/encryptionkey-minimal.yaml")
	})
}

// notGone turns the success of a Get into an error.
func notGone(err error) error {
	if err == nil {
		return errors.New("still there")
	}
	return err
}

func toYAML(t *testing.T, object any) string {
	t.Helper()
	out, err := yaml.Marshal(object)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	return string(out)
}
