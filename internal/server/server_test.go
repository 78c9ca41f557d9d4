package server_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/uuid"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/httpapi"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
	"github.com/keywright/keywright/internal/server"
	"github.com/keywright/keywright/test/controlplane"
)

// world is a server on a real control plane.
type world struct {
	*WithT
	t      *testing.T
	plane  *controlplane.ControlPlane
	client client.Client
	kube   kubernetes.Interface
	store  *keystoretest.Fake

	dir       string
	ca        *authority
	addresses server.Addresses
	stop      context.CancelFunc
	done      chan error
	auditLog  string
	log       string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: 'make test' builds the control plane and sets it")
	}
	w := &world{WithT: NewWithT(t), t: t, dir: t.TempDir(), store: keystoretest.NewFake(), ca: newAuthority(t)}
	w.SetDefaultEventuallyTimeout(30 * time.Second)
	w.SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	plane, err := controlplane.Start(t.Context(), controlplane.Options{Dir: t.TempDir()})
	w.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { w.Expect(plane.Stop()).To(Succeed()) })
	w.plane = plane
	_, err = envtest.InstallCRDs(plane.Config, envtest.CRDInstallOptions{Paths: []string{filepath.Join("..", "..", "config", "crd", "bases")}})
	w.Expect(err).NotTo(HaveOccurred())
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, keywrightv1alpha1.AddToScheme, apiregistrationv1.AddToScheme} {
		w.Expect(add(scheme)).To(Succeed())
	}
	w.client, err = client.New(plane.Config, client.Options{Scheme: scheme})
	w.Expect(err).NotTo(HaveOccurred())
	w.kube = kubernetes.NewForConfigOrDie(plane.Config)
	return w
}

func (w *world) create(objects ...client.Object) {
	w.t.Helper()
	for _, object := range objects {
		w.Expect(w.client.Create(w.t.Context(), object)).To(Succeed())
	}
}

// grant makes the permissions of a server, as the chart has them, or of a workload.
func (w *world) grantServer(namespace, account string) {
	w.t.Helper()
	subject := []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: namespace, Name: account}}
	w.create(
		&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "keywright-server"}, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{"keywright.dev"}, Resources: []string{"encryptionkeys", "keystores"}, Verbs: []string{"get", "list", "watch"}}}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "keywright-server"}, Subjects: subject,
			RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "keywright-server"}},
		&rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "keywright-server-delegator"}, Subjects: subject,
			RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "system:auth-delegator"}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "keywright-server"}, Subjects: subject,
			RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "extension-apiserver-authentication-reader"}},
	)
}

func (w *world) token(namespace, account string, audiences ...string) string {
	w.t.Helper()
	request, err := w.kube.CoreV1().ServiceAccounts(namespace).CreateToken(w.t.Context(), account,
		&authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: audiences}}, metav1.CreateOptions{})
	w.Expect(err).NotTo(HaveOccurred())
	return request.Status.Token
}

// key makes an EncryptionKey and its first version, as the controller does.
func (w *world) key(namespace, name string) {
	w.t.Helper()
	id := uuid.New()
	_, err := w.store.Create(w.t.Context(), keystore.Metadata{
		ID: keystore.VersionID{Key: id, Version: 1}, Owner: keystore.Owner{Namespace: namespace, Name: name},
		KeySpec: keywrightv1alpha1.SymmetricDefaultKeySpec, Origin: keywrightv1alpha1.CreatedVersionOrigin, CreatedAt: time.Now(),
	})
	w.Expect(err).NotTo(HaveOccurred())
	w.create(&keywrightv1alpha1.EncryptionKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Annotations: map[string]string{
			keywrightv1alpha1.KeyIDAnnotation: id.String(), keywrightv1alpha1.LatestVersionAnnotation: "1"}},
		Spec: keywrightv1alpha1.EncryptionKeySpec{Type: keywrightv1alpha1.CustomerManagedKeyType},
	})
}

// start runs a server with the permissions of an account.
func (w *world) start(namespace, account string) {
	w.t.Helper()
	config := rest.AnonymousClientConfig(w.plane.Config)
	config.BearerToken = w.token(namespace, account)
	certFile, keyFile := filepath.Join(w.dir, "tls.crt"), filepath.Join(w.dir, "tls.key")
	w.ca.issue(w.t, certFile, keyFile, "first")
	w.auditLog, w.log = filepath.Join(w.dir, "audit.log"), filepath.Join(w.dir, "server.log")
	log, err := os.Create(w.log)
	w.Expect(err).NotTo(HaveOccurred())
	w.t.Cleanup(func() { _ = log.Close() })
	logger := slog.New(slog.NewTextHandler(log, nil))
	ctrllog.SetLogger(logr.FromSlogHandler(logger.Handler()))
	klog.SetSlogLogger(logger)
	listening := make(chan server.Addresses, 1)
	ctx, cancel := context.WithCancel(w.t.Context())
	w.stop, w.done = cancel, make(chan error, 1)
	go func() {
		w.done <- server.Run(ctx, server.Options{
			Config: config, Store: w.store, RootKeyReady: func(context.Context) error { return nil },
			BindAddress: "127.0.0.1:0", TLSCertFile: certFile, TLSPrivateKeyFile: keyFile,
			MetricsBindAddress: "127.0.0.1:0", HealthProbeBindAddress: "127.0.0.1:0",
			AuditLog: w.auditLog, AuditFile: audit.FileOptions{MaxSizeMB: 10, MaxBackups: 1}, AuditOverflow: audit.Block,
			Audiences: []string{"keywright"}, AuthenticationCacheTTL: time.Second, AuthorizationCacheTTL: time.Second, OutageGrace: time.Minute,
			Limits:        httpapi.Limits{InFlight: 100, InFlightPerPrincipal: 50, RatePerPrincipal: 1000, BurstPerPrincipal: 1000},
			ShutdownDelay: time.Second, Log: logger,
			Listening: func(a server.Addresses) { listening <- a },
		})
	}()
	w.t.Cleanup(func() {
		cancel()
		if text, _ := os.ReadFile(w.log); w.t.Failed() {
			w.t.Logf("the server logged:\n%s", text)
		}
	})
	select {
	case w.addresses = <-listening:
	case err := <-w.done:
		w.t.Fatalf("the server ended: %v", err)
	case <-time.After(30 * time.Second):
		w.t.Fatal("the server does not listen")
	}
	w.Eventually(func() int { return w.get(w.addresses.Probes, "/readyz") }).Should(Equal(http.StatusOK))
}

// get asks one of the plain addresses.
func (w *world) get(address net.Addr, path string) int {
	code, _ := w.read(address, path)
	return code
}

func (w *world) read(address net.Addr, path string) (int, string) {
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+address.String()+path, nil)
	w.Expect(err).NotTo(HaveOccurred())
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err.Error()
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	w.Expect(err).NotTo(HaveOccurred())
	return response.StatusCode, string(body)
}

func (w *world) https() *http.Client {
	roots := x509.NewCertPool()
	roots.AddCert(w.ca.cert)
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}, ForceAttemptHTTP2: true}}
}

const encryptBody = `{"apiVersion":"crypto.keywright.dev/v1alpha1","kind":"EncryptRequest","spec":{"plaintext":"aGVsbG8="}}`

// encrypt asks the endpoint and returns the code.
func (w *world) encrypt(client *http.Client, token, namespace, name string) int {
	w.t.Helper()
	url := fmt.Sprintf("https://%s/apis/crypto.keywright.dev/v1alpha1/namespaces/%s/encryptionkeys/%s/encrypt", w.addresses.Endpoint, namespace, name)
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, url, strings.NewReader(encryptBody))
	w.Expect(err).NotTo(HaveOccurred())
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		return 0
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, response.Body)
	return response.StatusCode
}

func TestServerOnAControlPlane(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"keywright-system", "shop"} {
		w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}})
	}
	for _, name := range []string{"web", "nobody"} {
		w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}})
	}
	w.create(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "keywright-system", Name: "keywright-server"}})
	w.grantServer("keywright-system", "keywright-server")
	w.create(
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "user"}, Rules: []rbacv1.PolicyRule{{
			APIGroups: []string{"crypto.keywright.dev"}, Resources: []string{"encryptionkeys/encrypt"}, Verbs: []string{"create"}, ResourceNames: []string{"orders", "late", "off"}}}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "user"}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "user"},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "shop", Name: "web"}}},
	)
	w.key("shop", "orders")
	w.start("keywright-system", "keywright-server")
	direct, web := w.https(), w.token("shop", "web", "keywright")

	t.Run("a workload encrypts with its own token", func(t *testing.T) {
		g := NewWithT(t)
		g.Expect(w.encrypt(direct, web, "shop", "orders")).To(Equal(http.StatusOK))
		g.Expect(w.encrypt(direct, w.token("shop", "web"), "shop", "orders")).To(Equal(http.StatusOK))
		g.Expect(w.encrypt(direct, w.token("shop", "nobody", "keywright"), "shop", "orders")).To(Equal(http.StatusForbidden))
		g.Expect(w.encrypt(direct, web, "shop", "nothing")).To(Equal(http.StatusForbidden))
		g.Expect(w.encrypt(direct, "forged", "shop", "orders")).To(Equal(http.StatusUnauthorized))
	})
	t.Run("Edge24: a key is usable the moment it is there", func(t *testing.T) {
		w.key("shop", "late")
		NewWithT(t).Expect(w.encrypt(direct, web, "shop", "late")).To(Equal(http.StatusOK))
	})
	t.Run("Edge23: a disable arrives by the watch", func(t *testing.T) {
		g := NewWithT(t)
		w.key("shop", "off")
		g.Expect(w.encrypt(direct, web, "shop", "off")).To(Equal(http.StatusOK))
		g.Expect(w.plane.Kubectl(t.Context(), "-n", "shop", "patch", "encryptionkey", "off", "--type=merge", "-p", `{"spec":{"enabled":false}}`)).NotTo(BeEmpty())
		begin := time.Now()
		w.Eventually(func() int { return w.encrypt(direct, web, "shop", "off") }).Should(Equal(http.StatusConflict))
		t.Logf("refused %v after the disable", time.Since(begin))
	})
	t.Run("the certificate is read again", func(t *testing.T) {
		g := NewWithT(t)
		w.ca.issue(t, filepath.Join(w.dir, "tls.crt"), filepath.Join(w.dir, "tls.key"), "second")
		roots := x509.NewCertPool()
		roots.AddCert(w.ca.cert)
		w.Eventually(func() string {
			conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS13}}).DialContext(t.Context(), "tcp", w.addresses.Endpoint.String())
			g.Expect(err).NotTo(HaveOccurred())
			defer conn.Close()
			return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
		}).Should(Equal("second"))
	})
	t.Run("nothing before TLS 1.3", func(t *testing.T) {
		conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}}).DialContext(t.Context(), "tcp", w.addresses.Endpoint.String())
		if err == nil {
			_ = conn.Close()
			t.Error("TLS 1.2 was accepted")
		}
	})
	t.Run("metrics", func(t *testing.T) {
		g := NewWithT(t)
		code, text := w.read(w.addresses.Metrics, "/metrics")
		g.Expect(code).To(Equal(http.StatusOK))
		for _, line := range []string{
			`keywright_keys{state="Disabled",type="CustomerManaged"} 1`, `keywright_keys{state="Enabled",type="CustomerManaged"} 2`, "keywright_loaded_versions 3",
			`keywright_requests_total{operation="encrypt",outcome="forbidden"} 2`, "keywright_audit_queue_length 0", "keywright_audit_dropped_total 0",
			`keywright_key_store_operation_seconds_count{operation="open",outcome="success",store="default"} 3`, "keywright_apiserver_contact_age_seconds ",
			`keywright_authentication_cache_total{result="miss"}`, `keywright_authorization_cache_total{result="miss"}`,
		} {
			g.Expect(text).To(ContainSubstring(line))
		}
		g.Expect(text).NotTo(ContainSubstring("orders"))
	})
	t.Run("the same through kube-apiserver", func(t *testing.T) { testAggregation(t, w) })
	t.Run("Edge23: known callers are served during an outage", func(t *testing.T) {
		g := NewWithT(t)
		fresh := w.token("shop", "web", "keywright")
		g.Expect(w.encrypt(direct, web, "shop", "orders")).To(Equal(http.StatusOK))
		g.Expect(w.plane.StopAPIServer()).To(Succeed())
		for _, pause := range []time.Duration{0, 1100 * time.Millisecond, 1100 * time.Millisecond} {
			<-time.After(pause) // past the TTL of the caches
			begin := time.Now()
			g.Expect(w.encrypt(direct, web, "shop", "orders")).To(Equal(http.StatusOK))
			g.Expect(w.encrypt(direct, fresh, "shop", "orders")).To(Equal(http.StatusServiceUnavailable))
			g.Expect(w.encrypt(direct, web, "shop", "unknown")).To(Equal(http.StatusServiceUnavailable))
			g.Expect(time.Since(begin)).To(BeNumerically("<", 2*time.Second))
		}
		g.Expect(w.plane.StartAPIServer(t.Context())).To(Succeed())
		w.Eventually(func() int { return w.encrypt(direct, fresh, "shop", "orders") }).Should(Equal(http.StatusOK))
	})
	t.Run("it ends in order", func(t *testing.T) { testShutdown(t, w, direct, web) })
	t.Run("Edge27: no token and no plaintext was written", func(t *testing.T) {
		g := NewWithT(t)
		lines, err := os.ReadFile(w.auditLog)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(bytes.Count(lines, []byte("\n"))).To(BeNumerically(">", 10))
		for line := range bytes.Lines(lines) {
			g.Expect(json.Valid(line)).To(BeTrue())
		}
		log, err := os.ReadFile(w.log)
		g.Expect(err).NotTo(HaveOccurred())
		for _, secret := range []string{web, strings.Split(web, ".")[2], "aGVsbG8", "forged"} {
			g.Expect(string(lines)).NotTo(ContainSubstring(secret))
			g.Expect(string(log)).NotTo(ContainSubstring(secret))
		}
	})
}

// testAggregation registers the APIService and uses the paths through
// kube-apiserver.
func testAggregation(t *testing.T, w *world) {
	g, ctx := NewWithT(t), t.Context()
	port := int32(w.addresses.Endpoint.(*net.TCPAddr).Port)
	service := &apiregistrationv1.APIService{
		ObjectMeta: metav1.ObjectMeta{Name: "v1alpha1.crypto.keywright.dev"},
		Spec: apiregistrationv1.APIServiceSpec{
			Group: "crypto.keywright.dev", Version: "v1alpha1", GroupPriorityMinimum: 1000, VersionPriority: 10, CABundle: w.ca.pem,
			Service: &apiregistrationv1.ServiceReference{Namespace: "keywright-system", Name: "keywright", Port: &port},
		},
	}
	w.create(
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "keywright-system", Name: "keywright"},
			Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "localhost", Ports: []corev1.ServicePort{{Port: port}}}},
		service,
	)
	w.Eventually(func() string {
		out, _ := w.plane.Kubectl(ctx, "get", "apiservice", service.Name, "-o", `jsonpath={.status.conditions[?(@.type=="Available")].status}`)
		return out
	}).Should(Equal("True"))

	file := filepath.Join(w.dir, "request.json")
	g.Expect(os.WriteFile(file, []byte(encryptBody), 0o600)).To(Succeed())
	path := "/apis/crypto.keywright.dev/v1alpha1/namespaces/shop/encryptionkeys/orders/encrypt"
	as := func(user string) (string, error) {
		return w.plane.Kubectl(ctx, "create", "--raw", path, "-f", file, "--as", user)
	}
	out, err := as("system:serviceaccount:shop:web")
	g.Expect(err).NotTo(HaveOccurred())
	var answer cryptov1alpha1.EncryptRequest
	g.Expect(json.Unmarshal([]byte(out), &answer)).To(Succeed())
	g.Expect(answer.Status.Ciphertext).NotTo(BeEmpty())
	w.Eventually(func() string { b, _ := os.ReadFile(w.auditLog); return string(b) }).Should(ContainSubstring(`"sourceAddress":"127.0.0.1","namespace":"shop","name":"orders"`))
	_, err = as("system:serviceaccount:shop:nobody")
	g.Expect(err).To(MatchError(ContainSubstring("forbidden")))

	resources, err := w.plane.Kubectl(ctx, "api-resources", "--api-group=crypto.keywright.dev", "-o", "name")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(resources).To(BeEmpty()) // subresources only: nothing to list or to get
	g.Expect(w.plane.Kubectl(ctx, "get", "encryptionkeys", "-A", "-o", "name")).To(ContainSubstring("encryptionkey.keywright.dev/orders"))

	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "brief"}})
	g.Expect(w.plane.Kubectl(ctx, "delete", "namespace", "brief", "--timeout=30s")).To(ContainSubstring("deleted"))

	log, err := os.ReadFile(filepath.Join(w.plane.Dir, "kube-apiserver.log"))
	g.Expect(err).NotTo(HaveOccurred())
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, "crypto.keywright.dev") && !strings.HasPrefix(line, "I") {
			t.Error("kube-apiserver complains: " + strings.TrimSpace(line))
		}
	}
	g.Expect(w.client.Delete(ctx, service)).To(Succeed())
}

// testShutdown ends the server while a request is in flight.
func testShutdown(t *testing.T, w *world, direct *http.Client, token string) {
	g := NewWithT(t)
	url := fmt.Sprintf("https://%s/apis/crypto.keywright.dev/v1alpha1/namespaces/shop/encryptionkeys/orders/encrypt", w.addresses.Endpoint)
	body, send := io.Pipe()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, body)
	g.Expect(err).NotTo(HaveOccurred())
	request.Header.Set("Authorization", "Bearer "+token)
	inFlight := make(chan int, 1)
	go func() {
		response, err := w.https().Do(request)
		if err != nil {
			t.Error(err)
			inFlight <- 0
			return
		}
		defer response.Body.Close()
		inFlight <- response.StatusCode
	}()
	_, err = send.Write([]byte(encryptBody[:10]))
	g.Expect(err).NotTo(HaveOccurred())
	w.Eventually(func() string { _, text := w.read(w.addresses.Metrics, "/metrics"); return text }).Should(ContainSubstring("keywright_in_flight_requests 1"))

	w.stop()
	w.Eventually(func() int { return w.get(w.addresses.Probes, "/readyz") }).WithPolling(10 * time.Millisecond).Should(Equal(http.StatusServiceUnavailable))
	g.Expect(w.get(w.addresses.Probes, "/livez")).To(Equal(http.StatusOK))
	g.Expect(w.encrypt(direct, token, "shop", "orders")).To(Equal(http.StatusOK), "requests are served until nobody sends any")
	w.Eventually(func() error {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.addresses.Endpoint.String())
		if err == nil {
			_ = conn.Close()
		}
		return err
	}).Should(HaveOccurred())
	_, err = send.Write([]byte(encryptBody[10:]))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(send.Close()).To(Succeed())
	g.Expect(<-inFlight).To(Equal(http.StatusOK))
	w.Eventually(w.done).Should(Receive(BeNil()))
}

// authority is a CA.
type authority struct {
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{key: key, cert: cert, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue writes a serving certificate.
func (a *authority) issue(t *testing.T, certFile, keyFile, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost", "keywright.keywright-system.svc"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
