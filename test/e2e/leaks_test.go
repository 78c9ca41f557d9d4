package e2e_test

import (
	"encoding/base64"
	"net/http"
	"os"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keywright/keywright/test/rig"
)

// TestEdge27_NothingSecretIsToldAnywhere puts secrets where they do not belong, in
// the hope that somebody repeats them. Every other test ends with the same search.
func TestEdge27_NothingSecretIsToldAnywhere(t *testing.T) {
	s := start(t, rig.Options{})
	token, key := s.workload("checkout"), s.key("orders")
	dataKey, err := s.Client(0, token).DataKey(s.ctx, key, map[string]string{"order": "told-in-the-audit-log"})
	s.Expect(err).NotTo(HaveOccurred())
	s.Remember("data key", dataKey.Plaintext)

	plaintext := string(rig.Plaintext("misplaced"))
	encoded := base64.StdEncoding.EncodeToString([]byte(plaintext))
	head := `{"apiVersion":"crypto.keywright.dev/v1alpha1","kind":"EncryptRequest","spec":`
	for name, body := range map[string]string{
		"raw":               plaintext,
		"not base64":        head + `{"plaintext":"` + plaintext + `*"}}`,
		"as a field name":   head + `{"` + encoded + `":1}}`,
		"as a kind":         `{"kind":"` + encoded + `"}`,
		"cut off":           head + `{"plaintext":"` + encoded,
		"as a number":       head + `{"plaintext":` + encoded + `}}`,
		"twice":             head + `{"plaintext":"` + encoded + `","plaintext":"` + encoded + `"}}`,
		"and then too much": head + `{"plaintext":"` + encoded + `"}}` + plaintext,
		"well":              head + `{"plaintext":"` + encoded + `"}}`,
	} {
		// The answer may quote a field name to who sent it; nobody else is told.
		code, _, err := s.Client(0, token).Post(s.ctx, key, "encrypt", []byte(body))
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(code == http.StatusOK).To(Equal(name == "well"), "%s: %d", name, code)
	}
	// A token with a letter too many is somebody's, almost.
	_, err = s.Client(0, token+"x").Encrypt(s.ctx, key, []byte(plaintext), nil)
	s.Expect(err).To(HaveOccurred())

	s.Expect(s.CheckLeaks(s.ctx)).To(Succeed())
	s.Expect(s.Servers[0].Stop()).To(Succeed()) // so that the audit log is written
	lines, err := os.ReadFile(s.Servers[0].Audit)
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(string(lines)).To(ContainSubstring("told-in-the-audit-log"), "the encryption context is no secret")
}
