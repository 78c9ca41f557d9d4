package e2e_test

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"

	"github.com/keywright/keywright/test/rig"
)

// guillotine is a proxy in front of the API server that kills the controller right
// after a write that it waits for, before the controller hears of it.
type guillotine struct {
	mu    sync.Mutex
	match func(*http.Request) bool // nil: nobody dies
	kill  func()
	fell  chan struct{}
}

// arm returns a channel that is closed when the controller is dead.
func (g *guillotine) arm(match func(*http.Request) bool, kill func()) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.match, g.kill, g.fell = match, kill, make(chan struct{})
	return g.fell
}

func (g *guillotine) after(response *http.Response) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.match == nil || response.StatusCode >= http.StatusMultipleChoices || !g.match(response.Request) {
		return nil
	}
	g.match = nil
	g.kill()
	close(g.fell)
	return errors.New("the client is dead")
}

func (g *guillotine) serve(t *testing.T, config *rest.Config) (string, []byte) {
	target, err := url.Parse(config.Host)
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	// Tokens pass through; the proxy has no identity of its own.
	transport, err := rest.TransportFor(&rest.Config{Host: config.Host, TLSClientConfig: rest.TLSClientConfig{CAData: config.CAData}})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	server := httptest.NewTLSServer(&httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:      transport,
		ModifyResponse: g.after,
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			t.Logf("%s %s: %v", r.Method, r.URL.Path, err)
			w.WriteHeader(http.StatusBadGateway)
		},
		FlushInterval: -1,
	})
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// writes are those of a creation and of a rotation, in order.
var writes = []struct {
	name  string
	match func(*http.Request) bool
}{
	{"material written", func(r *http.Request) bool {
		return r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/namespaces/"+rig.Namespace+"/secrets")
	}},
	{"annotation written", func(r *http.Request) bool {
		return r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/encryptionkeys/") && !strings.HasSuffix(r.URL.Path, "/status")
	}},
	{"status written", func(r *http.Request) bool {
		return r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "/encryptionkeys/") && strings.HasSuffix(r.URL.Path, "/status")
	}},
}

// TestEdge14_KilledAfterEachWrite: after a kill in the middle, a new controller
// ends with exactly one new version.
func TestEdge14_KilledAfterEachWrite(t *testing.T) {
	g := &guillotine{}
	s := start(t, rig.Options{ControllerAPI: func(r *rig.Rig) (string, []byte, error) {
		url, ca := g.serve(t, r.Plane.Config)
		return url, ca, nil
	}})
	token := s.workload("checkout")
	dead := func(s *story, write int, act func()) {
		s.t.Helper()
		fell := g.arm(writes[write].match, s.Controllers[0].Kill)
		act()
		s.Eventually(fell).Should(BeClosed(), "the write did not come")
		s.Expect(s.Controllers[0].Restart(s.ctx)).To(Succeed())
	}
	for i, write := range writes {
		name := "key-" + strings.Fields(write.name)[0]
		t.Run("creation: "+write.name, func(t *testing.T) {
			s := s.in(t)
			key := rig.NewKey(tenant, name)
			dead(s, i, func() { s.Expect(s.Admin.Create(s.ctx, key)).To(Succeed()) })
			got := s.await(nameOf(key), rig.AtVersion(1))
			s.Expect(got.Status.KeyID).To(Equal(string(got.UID)))
			s.Expect(got.Status.Versions).To(HaveLen(1))
			s.Expect(s.versions()).To(HaveKeyWithValue(string(got.UID), 1))
		})
		t.Run("rotation: "+write.name, func(t *testing.T) {
			s := s.in(t)
			key := nameOf(rig.NewKey(tenant, name))
			old := s.encrypt(0, token, key, rig.Plaintext("before"))
			dead(s, i, func() { s.requestRotation(key) })
			got := s.await(key, rig.AtVersion(2))
			s.Expect(got.Status.Versions).To(HaveLen(2))
			s.Expect(got.Status.LastRotationTime.Time).To(BeTemporally("~", time.Now(), time.Minute))
			s.Expect(got.Annotations).To(HaveKeyWithValue("keywright.dev/latest-version", "2"))
			s.Expect(s.versions()).To(HaveKeyWithValue(got.Status.KeyID, 2))
			s.opens(0, token, key, old, rig.Plaintext("before"))
			answer, err := s.Client(0, token).Encrypt(s.ctx, key, rig.Plaintext("after"), nil)
			s.Expect(err).NotTo(HaveOccurred())
			s.Expect(answer.KeyVersion).To(BeEquivalentTo(2))
		})
	}
	s.onePerRequest()
}

// TestEdge24_EveryServerSeesNewKeysAndTheNextLeaderGoesOn has two controllers that
// elect a leader, and kills it.
func TestEdge24_EveryServerSeesNewKeysAndTheNextLeaderGoesOn(t *testing.T) {
	s := start(t, rig.Options{Controllers: 2, Servers: 2, LeaderElect: true})
	token := s.workload("checkout")
	for i := range 20 {
		key := s.key(keyName(i))
		for server := range s.Servers {
			// The first try must succeed: the key is Ready.
			ciphertext := s.encrypt(server, token, key, rig.Plaintext("at once"))
			s.opens(1-server, token, key, ciphertext, rig.Plaintext("at once"))
		}
	}
	leader := s.kubectl("get", "lease", "keywright-controller", "-n", rig.Namespace, "-o", "jsonpath={.spec.holderIdentity}")
	s.Expect(leader).NotTo(BeEmpty())
	for _, controller := range s.Controllers {
		logs, err := controller.Logs()
		s.Expect(err).NotTo(HaveOccurred())
		if strings.Contains(logs, "Starting workers") || strings.Contains(logs, "Starting Controller") {
			controller.Kill()
		}
	}
	began := time.Now()
	s.requestRotation(nameOf(rig.NewKey(tenant, keyName(0))))
	s.await(nameOf(rig.NewKey(tenant, keyName(0))), rig.AtVersion(2))
	t.Logf("the next leader rotated %s after the kill", time.Since(began).Round(time.Millisecond))
	s.Expect(s.kubectl("get", "lease", "keywright-controller", "-n", rig.Namespace, "-o", "jsonpath={.spec.holderIdentity}")).NotTo(Equal(leader))
}
