package controlplane_test

import (
	"os"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/keywright/keywright/test/controlplane"
)

func TestControlPlane(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: 'make test' builds the control plane and sets it")
	}
	g := NewWithT(t)
	ctx := t.Context()

	plane, err := controlplane.Start(ctx, controlplane.Options{Dir: t.TempDir()})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(plane.Stop()).To(Succeed()) })

	client, err := kubernetes.NewForConfig(plane.Config)
	g.Expect(err).NotTo(HaveOccurred())
	get := func(path string) (string, error) {
		body, err := client.Discovery().RESTClient().Get().AbsPath(path).DoRaw(ctx)
		return string(body), err
	}

	t.Run("serves with the aggregation layer on", func(t *testing.T) {
		g := NewWithT(t)
		g.Expect(get("/readyz")).To(Equal("ok"))
		g.Expect(get("/apis/apiregistration.k8s.io")).To(ContainSubstring("apiregistration.k8s.io/v1"))

		// What an extension API server reads to know whose headers to believe.
		authn, err := client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Get(ctx, "extension-apiserver-authentication", metav1.GetOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(authn.Data).To(HaveKeyWithValue("requestheader-allowed-names", `["front-proxy-client"]`))
		g.Expect(authn.Data).To(HaveKeyWithValue("requestheader-client-ca-file", ContainSubstring("BEGIN CERTIFICATE")))
	})

	t.Run("issues tokens for service accounts", func(t *testing.T) {
		g := NewWithT(t)
		accounts := client.CoreV1().ServiceAccounts(corev1.NamespaceDefault)
		token, err := accounts.CreateToken(ctx, "default", &authenticationv1.TokenRequest{}, metav1.CreateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		review, err := client.AuthenticationV1().TokenReviews().Create(ctx, &authenticationv1.TokenReview{
			Spec: authenticationv1.TokenReviewSpec{Token: token.Status.Token},
		}, metav1.CreateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(review.Status.User.Username).To(Equal("system:serviceaccount:default:default"))
	})

	t.Run("kubectl speaks to it", func(t *testing.T) {
		g := NewWithT(t)
		out, err := plane.Kubectl(ctx, "get", "namespaces", "-o", "name")
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(strings.Fields(out)).To(ContainElement("namespace/default"))
		_, err = plane.Kubectl(ctx, "get", "nonsense")
		g.Expect(err).To(MatchError(ContainSubstring("doesn't have a resource type")))
	})

	t.Run("keeps its data over an outage of the API server", func(t *testing.T) {
		g := NewWithT(t)
		maps := client.CoreV1().ConfigMaps(corev1.NamespaceDefault)
		_, err := maps.Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "kept"}}, metav1.CreateOptions{})
		g.Expect(err).NotTo(HaveOccurred())

		g.Expect(plane.StopAPIServer()).To(Succeed())
		_, err = get("/readyz")
		g.Expect(err).To(MatchError(ContainSubstring("connection refused")))

		g.Expect(plane.StartAPIServer(ctx)).To(Succeed())
		_, err = maps.Get(ctx, "kept", metav1.GetOptions{})
		g.Expect(err).NotTo(HaveOccurred())
	})
}

func TestStartSaysWhatIsMissing(t *testing.T) {
	g := NewWithT(t)
	_, err := controlplane.Start(t.Context(), controlplane.Options{Assets: t.TempDir()})
	g.Expect(err).To(MatchError(ContainSubstring("hack/controlplane/build.sh")))
}
