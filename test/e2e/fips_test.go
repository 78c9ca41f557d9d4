package e2e_test

import (
	"testing"

	. "github.com/onsi/gomega"

	"github.com/keywright/keywright/test/rig"
)

// TestFIPSOnly runs both commands with everything forbidden that FIPS 140-3 does
// not approve.
func TestFIPSOnly(t *testing.T) {
	shortStory(t, rig.Options{Env: []string{"GODEBUG=fips140=only"}})
}

// TestRaceDetector runs both commands with the race detector.
func TestRaceDetector(t *testing.T) {
	s := shortStory(t, rig.Options{Race: true, Servers: 2})
	for _, p := range append(s.Controllers, s.Servers...) {
		s.Expect(p.Stop()).To(Succeed())
		logs, err := p.Logs()
		s.Expect(err).NotTo(HaveOccurred())
		s.Expect(logs).NotTo(ContainSubstring("DATA RACE"), p.Name)
	}
}

func shortStory(t *testing.T, options rig.Options) *story {
	s := start(t, options)
	token, key := s.workload("checkout"), s.key("orders")
	dataKey, err := s.Client(0, token).DataKey(s.ctx, key, map[string]string{"order": "17"})
	s.Expect(err).NotTo(HaveOccurred())
	s.Remember("data key", dataKey.Plaintext)
	old := s.encrypt(0, token, key, rig.Plaintext("old"))
	s.requestRotation(key)
	s.await(key, rig.AtVersion(2))
	s.Expect(s.Controllers[0].Restart(s.ctx)).To(Succeed())
	s.Expect(s.Servers[0].Restart(s.ctx)).To(Succeed())
	s.opens(0, token, key, old, rig.Plaintext("old"))
	opened, err := s.Client(0, token).Decrypt(s.ctx, key, dataKey.Ciphertext, map[string]string{"order": "17"})
	s.Expect(err).NotTo(HaveOccurred())
	s.Expect(string(opened.Plaintext) == string(dataKey.Plaintext)).To(BeTrue())
	return s
}
