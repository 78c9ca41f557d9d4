package e2e_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/url"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keywright/keywright/test/rig"
)

// watchBound is the documented bound within which a watch is back after an outage:
// client-go waits 30 s at most, and that much again by jitter.
const watchBound = time.Minute

// TestEdge23_ServesThroughAnOutageOfTheAPIServer: who is known and what is loaded
// goes on, past the lifetimes of the caches.
func TestEdge23_ServesThroughAnOutageOfTheAPIServer(t *testing.T) {
	s := start(t, rig.Options{Servers: 2, ServerArgs: []string{"--authentication-cache-ttl=1s", "--authorization-cache-ttl=1s"}})
	known, unknown := s.workload("checkout"), s.workload("stranger")
	key, fresh := s.key("orders"), s.key("fresh")
	ciphertext := s.encrypt(0, known, key, rig.Plaintext("kept"))
	s.opens(1, known, key, ciphertext, rig.Plaintext("kept"))
	for server := range s.Servers { // permissions that the outage must find cached
		s.opens(server, known, key, s.encrypt(server, known, key, rig.Plaintext("warm")), rig.Plaintext("warm"))
	}
	pids := []int{s.Servers[0].PID(), s.Servers[1].PID()}

	s.Expect(s.Plane.StopAPIServer()).To(Succeed())
	began := time.Now()
	s.Consistently(func() error {
		for server := range s.Servers {
			if _, err := s.Client(server, known).Decrypt(s.ctx, key, ciphertext, nil); err != nil {
				return err
			}
			if _, err := s.Client(server, known).Encrypt(s.ctx, key, rig.Plaintext("outage"), nil); err != nil {
				return err
			}
		}
		return nil
	}).WithTimeout(5 * time.Second).WithPolling(poll).Should(Succeed())
	for server := range s.Servers {
		_, err := s.Client(server, unknown).Decrypt(s.ctx, key, ciphertext, nil)
		s.Expect(err).To(MatchError(apierrors.IsServiceUnavailable, "is 503"), "an unknown caller")
		seconds, ok := apierrors.SuggestsClientDelay(err)
		s.Expect(ok && seconds > 0).To(BeTrue(), "503 says when to come again")
		_, err = s.Client(server, known).Encrypt(s.ctx, fresh, rig.Plaintext("x"), nil)
		s.Expect(err).To(MatchError(apierrors.IsServiceUnavailable, "is 503"), "a key that is not loaded")
		s.Expect(s.Servers[server].WaitReady(s.ctx)).To(Succeed())
	}
	s.Expect(s.Plane.StartAPIServer(s.ctx)).To(Succeed())
	t.Logf("the outage took %s", time.Since(began).Round(time.Millisecond))
	for server := range s.Servers {
		s.Eventually(func() error {
			_, err := s.Client(server, unknown).Decrypt(s.ctx, key, ciphertext, nil)
			return err
		}).Should(Succeed())
		s.Eventually(func() error {
			_, err := s.Client(server, known).Encrypt(s.ctx, fresh, rig.Plaintext("x"), nil)
			return err
		}).Should(Succeed())
	}
	t.Logf("everything worked %s after it began", time.Since(began).Round(time.Millisecond))
	late := s.key("after-the-outage") // the controller is back, too
	s.encrypt(0, known, late, rig.Plaintext("x"))
	s.Expect([]int{s.Servers[0].PID(), s.Servers[1].PID()}).To(Equal(pids), "without restart")

	// The watch of a server comes back by itself, after a back-off of its own that
	// has grown during the outage: until then the first round is not seen.
	bound := watchBound
	for i := range 3 {
		s.edit(key, `{"spec":{"enabled":false}}`)
		began := time.Now()
		for server := range s.Servers {
			s.Eventually(func() error {
				_, err := s.Client(server, known).Decrypt(s.ctx, key, ciphertext, nil)
				return err
			}).WithTimeout(bound).WithPolling(time.Millisecond).Should(MatchError(apierrors.IsConflict, "is 409"))
		}
		bound = refusalBound
		t.Logf("round %d: all servers refused %s after the key was disabled", i, time.Since(began).Round(time.Millisecond))
		s.edit(key, `{"spec":{"enabled":true}}`)
		for server := range s.Servers {
			s.Eventually(func() error {
				_, err := s.Client(server, known).Decrypt(s.ctx, key, ciphertext, nil)
				return err
			}).WithTimeout(refusalBound).Should(Succeed())
		}
	}
}

// TestEdge22_NewCertificateWithoutRestart replaces the certificate under traffic.
func TestEdge22_NewCertificateWithoutRestart(t *testing.T) {
	s := start(t, rig.Options{})
	token, key := s.workload("checkout"), s.key("orders")
	pid, old := s.Servers[0].PID(), s.serving()

	s.Expect(s.Admin.Delete(s.ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: rig.Namespace, Name: "keywright-server-tls"}})).To(Succeed())
	s.Expect(s.Controllers[0].Restart(s.ctx)).To(Succeed()) // it looks at its start
	s.Eventually(func() error {
		return s.Admin.Get(s.ctx, client.ObjectKey{Namespace: rig.Namespace, Name: "keywright-server-tls"}, &corev1.Secret{})
	}).Should(Succeed())
	s.Expect(s.FetchTLS(s.ctx)).To(Succeed())
	began := time.Now()
	s.Eventually(func() error {
		s.encrypt(0, token, key, rig.Plaintext("x")) // never fails meanwhile
		if s.serving().Equal(old) {
			return errors.New("the old certificate is served")
		}
		return nil
	}).Should(Succeed())
	t.Logf("the new certificate was served %s after it was written", time.Since(began).Round(time.Millisecond))
	s.Expect(s.Servers[0].PID()).To(Equal(pid))

	// A broken pair, as seen between two writes, changes nothing.
	s.Expect(s.WriteTLS(map[string][]byte{"tls.crt": []byte("broken"), "tls.key": []byte("broken")})).To(Succeed())
	s.Consistently(func() error {
		_, err := s.Client(0, token).Encrypt(s.ctx, key, rig.Plaintext("x"), nil)
		return err
	}).WithTimeout(2 * time.Second).WithPolling(poll).Should(Succeed())
}

// serving is the certificate that a new connection gets.
func (s *story) serving() *x509.Certificate {
	s.t.Helper()
	target, err := url.Parse(s.Servers[0].URL)
	s.Expect(err).NotTo(HaveOccurred())
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: s.CA(), MinVersion: tls.VersionTLS13}}
	connection, err := dialer.DialContext(s.ctx, "tcp", target.Host)
	s.Expect(err).NotTo(HaveOccurred())
	defer connection.Close() // nothing was written
	return connection.(*tls.Conn).ConnectionState().PeerCertificates[0]
}
