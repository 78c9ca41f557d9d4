package servingcert

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

const systemNamespace = "keywright-system"

type rig struct {
	*WithT
	ctx    context.Context
	client client.Client
	clock  *testclock.FakeClock
	k      *Keeper
}

func newRig(t *testing.T, objects ...client.Object) *rig {
	t.Helper()
	g := NewWithT(t)
	scheme := runtime.NewScheme()
	g.Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	g.Expect(apiregistrationv1.AddToScheme(scheme)).To(Succeed())
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	clock := testclock.NewFakeClock(time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC))
	return &rig{WithT: g, ctx: t.Context(), client: c, clock: clock, k: &Keeper{
		Reader: c, Writer: c, Namespace: systemNamespace, Service: "keywright", Names: []string{"127.0.0.1"}, Clock: clock,
	}}
}

func (r *rig) ensure() { r.Expect(r.k.Ensure(r.ctx)).To(Succeed()) }

func (r *rig) secret(name string) *corev1.Secret {
	var s corev1.Secret
	r.Expect(r.client.Get(r.ctx, client.ObjectKey{Namespace: systemNamespace, Name: name}, &s)).To(Succeed())
	return &s
}

func (r *rig) publishedCA() string {
	var c corev1.ConfigMap
	r.Expect(r.client.Get(r.ctx, client.ObjectKey{Namespace: systemNamespace, Name: ConfigMapName}, &c)).To(Succeed())
	return c.Data["ca.crt"]
}

// verify checks what is served against a bundle that a client has, at the time of
// the clock.
func (r *rig) verify(bundle, name string) error {
	serving := r.secret(ServingSecretName)
	pair, err := tls.X509KeyPair(serving.Data["tls.crt"], serving.Data["tls.key"])
	r.Expect(err).NotTo(HaveOccurred())
	roots := x509.NewCertPool()
	r.Expect(roots.AppendCertsFromPEM([]byte(bundle))).To(BeTrue())
	_, err = pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: r.clock.Now()})
	return err
}

func TestCertificateIsMadeOnceAndIsGoodForEveryName(t *testing.T) {
	r := newRig(t)
	r.ensure()
	for _, name := range []string{"keywright.keywright-system.svc", "keywright.keywright-system.svc.cluster.local", "keywright", "127.0.0.1"} {
		r.Expect(r.verify(r.publishedCA(), name)).To(Succeed(), name)
	}
	r.Expect(r.verify(r.publishedCA(), "elsewhere.example")).NotTo(Succeed())
	r.Expect(r.secret(ServingSecretName).Data).NotTo(HaveKey("ca.key"))

	before := r.secret(ServingSecretName)
	r.ensure()
	r.Expect(r.secret(ServingSecretName).ResourceVersion).To(Equal(before.ResourceVersion))
}

func TestEdge22_CertificateAndCAAreRenewedBeforeTheyRunOutAndOldBundlesStayGood(t *testing.T) {
	r := newRig(t)
	r.ensure()
	first := r.publishedCA()
	served := r.secret(ServingSecretName).Data["tls.crt"]
	end := r.clock.Now().Add(12 * 365 * 24 * time.Hour)
	renewed := 0
	for r.clock.Now().Before(end) {
		bundleBefore := r.publishedCA()
		r.clock.Step(20 * 24 * time.Hour)
		r.Expect(r.verify(bundleBefore, "keywright")).To(Succeed(), "still good at %v, before it is renewed", r.clock.Now())
		r.ensure()
		r.Expect(r.verify(r.publishedCA(), "keywright")).To(Succeed())
		if now := r.secret(ServingSecretName).Data["tls.crt"]; !bytes.Equal(now, served) {
			served = now
			renewed++
		}
	}
	r.Expect(renewed).To(BeNumerically(">", 50))
	r.Expect(r.publishedCA()).NotTo(Equal(first))
}

func TestDamagedSecretsAreMadeAnew(t *testing.T) {
	for _, name := range []string{CASecretName, ServingSecretName} {
		r := newRig(t)
		r.ensure()
		s := r.secret(name)
		s.Data["tls.key"] = []byte("rubbish")
		r.Expect(r.client.Update(r.ctx, s)).To(Succeed())
		r.ensure()
		r.Expect(r.verify(r.publishedCA(), "keywright")).To(Succeed(), name)
	}
}

func TestExternalCertificateIsOnlyPublished(t *testing.T) {
	r := newRig(t)
	r.k.External = true
	r.ensure()
	var secrets corev1.SecretList
	r.Expect(r.client.List(r.ctx, &secrets)).To(Succeed())
	r.Expect(secrets.Items).To(BeEmpty())

	r.Expect(r.client.Create(r.ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: ServingSecretName},
		Data:       map[string][]byte{"ca.crt": []byte("their CA")},
	})).To(Succeed())
	r.ensure()
	r.Expect(r.publishedCA()).To(Equal("their CA"))
}

func TestAPIServiceTrustsTheCA(t *testing.T) {
	r := newRig(t)
	r.k.APIService = true
	r.Expect(r.k.Ensure(r.ctx)).To(MatchError(ContainSubstring("apiService.enabled=true")))
	r.Expect(r.client.Create(r.ctx, &apiregistrationv1.APIService{ObjectMeta: metav1.ObjectMeta{Name: APIServiceName}})).To(Succeed())
	r.ensure()
	var service apiregistrationv1.APIService
	r.Expect(r.client.Get(r.ctx, client.ObjectKey{Name: APIServiceName}, &service)).To(Succeed())
	r.Expect(string(service.Spec.CABundle)).To(Equal(r.publishedCA()))
}
