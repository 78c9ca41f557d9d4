package authn

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keywright/keywright/test/controlplane"
)

// TestAgainstKubeAPIServer is everything that a fake cannot tell: what a real
// kube-apiserver says of tokens, and what its front proxy shows.
func TestAgainstKubeAPIServer(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: 'make test' builds the control plane and sets it")
	}
	g := NewWithT(t)
	ctx := t.Context()
	plane, err := controlplane.Start(ctx, controlplane.Options{Dir: t.TempDir()})
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(plane.Stop()).To(Succeed()) })
	config := rest.CopyConfig(plane.Config)
	config.QPS = -1
	client := kubernetes.NewForConfigOrDie(config)

	clock := clocktesting.NewFakePassiveClock(time.Now())
	authenticator, err := New(client, Options{Audiences: []string{"keywright"}, CacheTTL: 10 * time.Second, OutageGrace: 10 * time.Minute}, clock)
	g.Expect(err).NotTo(HaveOccurred())
	running, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); authenticator.Run(running) }()
	t.Cleanup(func() { stop(); <-done })

	later := func(d time.Duration) { clock.SetTime(clock.Now().Add(d)) }
	account := func(name string) {
		t.Helper()
		_, err := client.CoreV1().ServiceAccounts("default").Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
	}
	token := func(name string, audiences ...string) string {
		t.Helper()
		request, err := client.CoreV1().ServiceAccounts("default").CreateToken(ctx, name, &authenticationv1.TokenRequest{
			Spec: authenticationv1.TokenRequestSpec{Audiences: audiences},
		}, metav1.CreateOptions{})
		g.Expect(err).NotTo(HaveOccurred())
		return request.Status.Token
	}
	who := func(token string) (string, error) {
		r := bearer(token).WithContext(ctx)
		identity, err := authenticator.Authenticate(r)
		if err != nil {
			return "", err
		}
		return identity.Principal.GetName(), nil
	}

	account("web")
	ours, theirs := token("web", "keywright"), token("web")
	t.Run("a token for our audience", func(t *testing.T) {
		NewWithT(t).Expect(who(ours)).To(Equal("system:serviceaccount:default:web"))
	})
	t.Run("a token for the API server", func(t *testing.T) {
		NewWithT(t).Expect(who(theirs)).To(Equal("system:serviceaccount:default:web"))
	})
	t.Run("a token for somebody else", func(t *testing.T) {
		_, err := who(token("web", "vault"))
		NewWithT(t).Expect(err).To(MatchError(ErrUnauthenticated))
	})
	t.Run("a token for us with another signature", func(t *testing.T) {
		cut := strings.LastIndex(ours, ".")
		_, err := who(ours[:cut+1] + strings.Repeat("A", len(ours)-cut-1))
		NewWithT(t).Expect(err).To(MatchError(ErrUnauthenticated))
	})
	t.Run("words that are no token", func(t *testing.T) {
		_, err := who("hello")
		NewWithT(t).Expect(err).To(MatchError(ErrUnauthenticated))
	})
	t.Run("Edge17: a token that has expired", func(t *testing.T) {
		g := NewWithT(t)
		now := clock.Now()
		defer clock.SetTime(now)
		later(61 * time.Minute) // tokens are for an hour
		_, err := who(ours)
		g.Expect(err).To(MatchError(ErrUnauthenticated))
	})
	t.Run("a token of an account that is deleted", func(t *testing.T) {
		g := NewWithT(t)
		account("gone")
		gone := token("gone", "keywright")
		g.Expect(who(gone)).NotTo(BeEmpty())
		g.Expect(client.CoreV1().ServiceAccounts("default").Delete(ctx, "gone", metav1.DeleteOptions{})).To(Succeed())
		// kube-apiserver remembers a token for ten seconds, too.
		g.Eventually(func() error { later(11 * time.Second); _, err := who(gone); return err }).
			WithTimeout(20 * time.Second).WithPolling(500 * time.Millisecond).Should(MatchError(ErrUnauthenticated))
	})

	// An endpoint that says whom it sees, for what TLS has a part in.
	endpoint := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		identity, err := authenticator.Authenticate(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		_, _ = io.WriteString(w, identity.Principal.GetName()+" "+strings.Join(identity.Principal.GetGroups(), ",")+" "+map[bool]string{true: "front proxy"}[identity.FrontProxy])
	}))
	endpoint.TLS = &tls.Config{MinVersion: tls.VersionTLS13, ClientAuth: tls.RequestClientCert}
	endpoint.StartTLS()
	t.Cleanup(endpoint.Close)
	see := func(certificate *tls.Certificate, header http.Header) string {
		t.Helper()
		transport := endpoint.Client().Transport.(*http.Transport).Clone()
		defer transport.CloseIdleConnections()
		if certificate != nil {
			transport.TLSClientConfig.Certificates = []tls.Certificate{*certificate}
		}
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, endpoint.URL, nil)
		g.Expect(err).NotTo(HaveOccurred())
		request.Header = header.Clone()
		response, err := (&http.Client{Transport: transport}).Do(request)
		g.Expect(err).NotTo(HaveOccurred())
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		g.Expect(err).NotTo(HaveOccurred())
		return strings.TrimSpace(string(body))
	}
	frontProxy, err := tls.LoadX509KeyPair(filepath.Join(plane.Dir, "certs", "front-proxy-client.crt"), filepath.Join(plane.Dir, "certs", "front-proxy-client.key"))
	g.Expect(err).NotTo(HaveOccurred())
	admin, err := tls.X509KeyPair(config.CertData, config.KeyData)
	g.Expect(err).NotTo(HaveOccurred())
	stranger := selfSigned(t, "front-proxy-client")
	headers := http.Header{"X-Remote-User": {"jane"}, "X-Remote-Group": {"shop"}, "X-Remote-Extra-Scopes": {"x"}}
	const refused = "unauthenticated"

	t.Run("the front proxy is believed", func(t *testing.T) {
		NewWithT(t).Eventually(func() string { return see(&frontProxy, headers) }).Should(Equal("jane shop,system:authenticated front proxy"))
	})
	t.Run("a client certificate", func(t *testing.T) {
		NewWithT(t).Eventually(func() string { return see(&admin, nil) }).Should(Equal("admin system:masters,system:authenticated"))
	})
	t.Run("Edge27: forged headers change nothing", func(t *testing.T) {
		g := NewWithT(t)
		g.Expect(see(nil, headers)).To(Equal(refused))
		g.Expect(see(&stranger, headers)).To(Equal(refused))
		g.Expect(see(&admin, headers)).To(HavePrefix("admin "))
		withToken := headers.Clone()
		withToken.Set("Authorization", "Bearer "+ours)
		g.Expect(see(nil, withToken)).To(HavePrefix("system:serviceaccount:default:web "))
		g.Expect(see(&stranger, withToken)).To(HavePrefix("system:serviceaccount:default:web "))
	})
	t.Run("the front proxy without a user is nobody", func(t *testing.T) {
		NewWithT(t).Expect(see(&frontProxy, nil)).To(Equal(refused))
	})

	t.Run("Edge23: known callers outlive an outage for the grace only", func(t *testing.T) {
		g := NewWithT(t)
		// Time has passed in the tests above.
		ours, fresh := token("web", "keywright"), token("web", "keywright")
		clock.SetTime(time.Now())
		g.Expect(who(ours)).NotTo(BeEmpty())
		g.Expect(plane.StopAPIServer()).To(Succeed())
		later(11 * time.Second)
		begin := time.Now()
		g.Expect(who(ours)).To(Equal("system:serviceaccount:default:web"))
		_, err := who(fresh)
		g.Expect(err).To(MatchError(ErrUnavailable))
		g.Expect(time.Since(begin)).To(BeNumerically("<", 2*time.Second))
		g.Expect(see(&frontProxy, headers)).To(HavePrefix("jane "))
		later(9*time.Minute + 48*time.Second)
		g.Expect(who(ours)).NotTo(BeEmpty())
		later(2 * time.Second)
		_, err = who(ours)
		g.Expect(err).To(MatchError(ErrUnavailable))

		g.Expect(plane.StartAPIServer(ctx)).To(Succeed())
		g.Eventually(func() error { later(2 * time.Second); _, err := who(ours); return err }).Should(Succeed())
		g.Expect(who(fresh)).NotTo(BeEmpty())
	})
}

// selfSigned makes a client certificate that nobody has signed.
func selfSigned(t *testing.T, name string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
