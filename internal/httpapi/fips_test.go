package httpapi_test

import (
	"bytes"
	"crypto/fips140"
	"net/http"
	"os"
	"os/exec"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore/software"
	"github.com/keywright/keywright/internal/rootkey"
)

// inStrictFIPS is set in the process that TestStrictFIPS starts.
const inStrictFIPS = "KEYWRIGHT_TEST_STRICT_FIPS"

// TestStrictFIPS runs TestInStrictFIPS in a process of its own, because the mode
// is settled when a process starts.
func TestStrictFIPS(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), self, "-test.run=^TestInStrictFIPS$", "-test.v")
	command.Env = append(os.Environ(), "GODEBUG=fips140=only", inStrictFIPS+"=1")
	output, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v:\n%s", err, output)
	}
	if !bytes.Contains(output, []byte("--- PASS: TestInStrictFIPS")) {
		t.Fatalf("the test did not run there:\n%s", output)
	}
}

// TestInStrictFIPS goes from TLS to the software key store and back.
func TestInStrictFIPS(t *testing.T) {
	if os.Getenv(inStrictFIPS) == "" {
		t.Skip("run by TestStrictFIPS")
	}
	if !fips140.Enforced() {
		t.Fatalf("strict FIPS mode is not on: GODEBUG=%q", os.Getenv("GODEBUG"))
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, keywrightv1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c := fake.NewClientBuilder().WithScheme(scheme).Build()
	ring, _, err := rootkey.Ensure(t.Context(), c, c, "keywright-system", clock.RealClock{})
	if err != nil {
		t.Fatal(err)
	}
	root := &rootkey.Source{}
	root.Set(ring)
	r := newRig(t, setup{store: software.New(c, c, "keywright-system", root)})
	ciphertext := r.ciphertextOf(t, "orders", "hello")
	if p := r.decrypt(t, "orders", ciphertext); p.code != http.StatusOK {
		t.Errorf("decrypt: %d %s", p.code, p.body)
	}
	ciphertext[len(ciphertext)-1] ^= 1
	if p := r.decrypt(t, "orders", ciphertext); p.code != http.StatusBadRequest {
		t.Errorf("decrypt a changed ciphertext: %d %s", p.code, p.body)
	}
}
