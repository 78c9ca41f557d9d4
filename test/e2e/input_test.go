package e2e_test

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/keywright/keywright/test/rig"
)

const (
	// answerBound is how long an answer to wrong input may take.
	answerBound = time.Second
	// memoryBound is how much a server may have grown after all of it.
	memoryBound = 96 << 20
	slowClients = 200
)

// TestWrongInput: each wrong request gets the answer of the error table, soon, and
// costs nothing.
func TestWrongInput(t *testing.T) {
	s := start(t, rig.Options{ServerArgs: []string{"--authentication-cache-ttl=1s", "--authorization-cache-ttl=1s"}})
	token, stranger := s.workload("checkout", "orders", "other", "unknown"), s.workload("stranger", "nothing-here")
	key, other := s.key("orders"), s.key("other")
	unknown := types.NamespacedName{Namespace: tenant, Name: "unknown"}
	ciphertext := s.encrypt(0, token, key, rig.Plaintext("x"))
	foreign := s.encrypt(0, token, other, rig.Plaintext("x"))
	before, err := s.Servers[0].RSS()
	s.Expect(err).NotTo(HaveOccurred())

	body := func(kind, spec string) []byte {
		return []byte(`{"apiVersion":"crypto.keywright.dev/v1alpha1","kind":"` + kind + `","spec":{` + spec + `}}`)
	}
	decrypt := func(ciphertext []byte) []byte {
		return body("DecryptRequest", `"ciphertext":"`+base64.StdEncoding.EncodeToString(ciphertext)+`"`)
	}
	post := func(s *story, token string, key types.NamespacedName, operation string, body []byte) (int, string) {
		s.t.Helper()
		client := s.Client(0, token)
		client.HTTP = shared
		began := time.Now()
		code, answer, err := client.Post(s.ctx, key, operation, body)
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(time.Since(began)).To(BeNumerically("<", answerBound))
		return code, string(answer)
	}
	shared = s.HTTP()
	good := `"plaintext":"` + base64.StdEncoding.EncodeToString(rig.Plaintext("x")) + `"`
	for name, row := range map[string]struct {
		token     string
		key       types.NamespacedName
		operation string
		body      []byte
		code      int
		answer    string
	}{
		"not JSON":               {token, key, "encrypt", []byte("plaintext"), 400, `"reason":"BadRequest"`},
		"wrong kind":             {token, key, "encrypt", body("DecryptRequest", good), 400, `kind`},
		"bad base64":             {token, key, "encrypt", body("EncryptRequest", `"plaintext":"*"`), 400, `spec.plaintext`},
		"a context key twice":    {token, key, "encrypt", body("EncryptRequest", good+`,"encryptionContext":{"a":"1","a":"2"}`), 400, `encryptionContext`},
		"65 KiB plaintext":       {token, key, "encrypt", body("EncryptRequest", `"plaintext":"`+strings.Repeat("AAAA", 65<<10/3+1)+`"`), 413, `"reason":"TooLarge"`},
		"10 MB body":             {token, key, "encrypt", bytes.Repeat([]byte(" "), 10<<20), 413, `"reason":"TooLarge"`},
		"truncated ciphertext":   {token, key, "decrypt", decrypt(ciphertext[:len(ciphertext)-1]), 400, `"reason":"InvalidCiphertext"`},
		"another key's":          {token, key, "decrypt", decrypt(foreign), 400, `"reason":"IncorrectKey"`},
		"no token":               {"", key, "decrypt", decrypt(ciphertext), 401, `"reason":"Unauthorized"`},
		"a token that is none":   {"nonsense-that-is-no-token", key, "decrypt", decrypt(ciphertext), 401, `"reason":"Unauthorized"`},
		"no permission":          {stranger, key, "decrypt", decrypt(ciphertext), 403, `"reason":"Forbidden"`},
		"unknown key, permitted": {token, unknown, "decrypt", decrypt(ciphertext), 404, `"reason":"NotFound"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := s.in(t)
			code, answer := post(s, row.token, row.key, row.operation, row.body)
			s.Expect(code).To(Equal(row.code), answer)
			s.Expect(answer).To(ContainSubstring(row.answer))
			s.Expect(answer).To(ContainSubstring(`"kind":"Status"`))
		})
	}
	t.Run("without permission a key that is and one that is not are the same", func(t *testing.T) {
		s := s.in(t)
		code, is := post(s, stranger, key, "decrypt", decrypt(ciphertext))
		s.Expect(code).To(Equal(http.StatusForbidden))
		code, not := post(s, stranger, unknown, "decrypt", decrypt(ciphertext))
		s.Expect(code).To(Equal(http.StatusForbidden))
		s.Expect(strings.ReplaceAll(not, "unknown", "orders")).To(Equal(is))
	})
	t.Run("every flipped bit", func(t *testing.T) {
		s := s.in(t)
		short := s.encrypt(0, token, key, nil)
		for bit := range 8 * len(short) {
			flipped := bytes.Clone(short)
			flipped[bit/8] ^= 1 << (bit % 8)
			code, answer := post(s, token, key, "decrypt", decrypt(flipped))
			s.Expect(code).To(Equal(http.StatusBadRequest), "bit %d: %s", bit, answer)
			s.Expect(answer).To(Or(ContainSubstring(`"reason":"InvalidCiphertext"`), ContainSubstring(`"reason":"IncorrectKey"`)), "bit %d", bit)
		}
	})
	t.Run("token of a deleted account", func(t *testing.T) {
		s := s.in(t)
		leaver := s.workload("leaver", "orders")
		code, _ := post(s, leaver, key, "decrypt", decrypt(ciphertext))
		s.Expect(code).To(Equal(http.StatusOK))
		s.Expect(s.Admin.Delete(s.ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: "leaver"}})).To(Succeed())
		began := time.Now()
		s.Eventually(func() int {
			code, _ := post(s, leaver, key, "decrypt", decrypt(ciphertext))
			return code
		}).WithTimeout(15 * time.Second).Should(Equal(http.StatusUnauthorized))
		t.Logf("refused %s after the account was deleted, with a cache of 1s", time.Since(began).Round(time.Millisecond))
	})
	t.Run("slow clients keep nobody waiting", func(t *testing.T) {
		s := s.in(t)
		target, err := url.Parse(s.Servers[0].URL)
		s.Expect(err).NotTo(HaveOccurred())
		dialer := &tls.Dialer{Config: &tls.Config{RootCAs: s.CA(), MinVersion: tls.VersionTLS13}}
		for i := range slowClients {
			connection, err := dialer.DialContext(s.ctx, "tcp", target.Host)
			s.Expect(err).NotTo(HaveOccurred())
			defer connection.Close() // it is left hanging on purpose
			head := "POST " + rig.Path(key, "encrypt") + " HTTP/1.1\r\nHost: x\r\n"
			if i%2 == 0 { // a body that never comes
				head += fmt.Sprintf("Authorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", token)
			}
			_, err = io.WriteString(connection, head)
			s.Expect(err).NotTo(HaveOccurred())
		}
		// Another principal is served at once; the slow one has used up its share.
		quick := s.workload("quick", "orders")
		for range 50 {
			code, answer := post(s, quick, key, "decrypt", decrypt(ciphertext))
			s.Expect(code).To(Equal(http.StatusOK), answer)
		}
	})
	after, err := s.Servers[0].RSS()
	s.Expect(err).NotTo(HaveOccurred())
	t.Logf("memory of the server: %d MiB before, %d MiB after", before>>20, after>>20)
	s.Expect(after - before).To(BeNumerically("<", memoryBound))
}

// shared keeps connections over the rows, so that what is timed is the answer.
var shared *http.Client
