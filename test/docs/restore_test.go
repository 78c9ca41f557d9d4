package docs_test

import (
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/keywright/keywright/test/rig"
)

// wreck takes away what a lost cluster takes away. The bindings go first, because
// policies guard the rest; they take a moment to be gone for the API server.
const wreck = `
kubectl delete validatingadmissionpolicybindings --selector app.kubernetes.io/part-of=keywright
kubectl get encryptionkeys -A --no-headers | while read -r namespace name _; do kubectl -n "$namespace" delete encryptionkey "$name"; done
for type in material root-key root-sealer; do
  until kubectl -n keywright-system delete secrets --field-selector "type=keywright.dev/$type"; do sleep 0.2; done
done
until kubectl delete keystore default; do sleep 0.2; done
`

// testRestore makes a backup with the commands of the page, loses everything, and
// restores it with the commands of the page.
func testRestore(t *testing.T, r *rig.Rig) {
	const page = "docs/operations.md"
	g := NewWithT(t)
	ctx := t.Context()
	plaintext := []byte("from before the disaster")

	token, err := r.Workload(ctx, "restore", "bookkeeper")
	g.Expect(err).NotTo(HaveOccurred())
	key, err := r.Key(ctx, "restore", "ledger")
	g.Expect(err).NotTo(HaveOccurred())
	client := r.Client(0, token)
	before, err := client.Encrypt(ctx, key, plaintext, nil)
	g.Expect(err).NotTo(HaveOccurred())

	dir := t.TempDir()
	run := func(script string) {
		t.Helper()
		out, err := bash(t, r, dir, script).CombinedOutput()
		g.Expect(err).NotTo(HaveOccurred(), "%s\n%s", script, out)
	}
	run(blockWith(t, page, "> secrets.json"))
	for _, p := range append(r.Controllers, r.Servers...) {
		g.Expect(p.Stop()).To(Succeed())
	}
	run(wreck)

	for line := range strings.Lines(blockWith(t, page, "kubectl create -f secrets.json")) {
		switch {
		case strings.HasPrefix(line, "kubectl create namespace"): // it is still there
		case strings.HasPrefix(line, "helm install"):
			for _, p := range append(r.Controllers, r.Servers...) {
				g.Expect(p.Start()).To(Succeed())
			}
		default:
			run(line)
		}
	}
	g.Expect(r.WaitReady(ctx)).To(Succeed())
	g.Eventually(func(g Gomega) {
		after, err := client.Decrypt(ctx, key, before.Ciphertext, nil)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(after.Plaintext).To(Equal(plaintext))
		g.Expect(after.KeyID).To(Equal(before.KeyID))
	}, 30*time.Second, 100*time.Millisecond).Should(Succeed())
}

// blockWith returns the bash block of a page that has the text in it.
func blockWith(t *testing.T, page, text string) string {
	t.Helper()
	for _, b := range blocks(t, page) {
		if strings.HasPrefix(b.info, "bash") && strings.Contains(b.text, text) {
			return b.text
		}
	}
	t.Fatalf("%s has no bash block with %q", page, text)
	return ""
}
