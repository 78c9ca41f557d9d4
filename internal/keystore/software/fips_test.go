package software_test

import (
	"bytes"
	"crypto/fips140"
	"os"
	"os/exec"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/keywright/keywright/internal/keystore/keystoretest"
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

func TestInStrictFIPS(t *testing.T) {
	if os.Getenv(inStrictFIPS) == "" {
		t.Skip("run by TestStrictFIPS")
	}
	if !fips140.Enabled() || !fips140.Enforced() {
		t.Fatalf("strict FIPS mode is not on: GODEBUG=%q", os.Getenv("GODEBUG"))
	}
	c := newClient(t, interceptor.Funcs{})
	// Root key and sealer: made, wrapped, read back, opened.
	store := software.New(c, c, namespace, newRoot(t, c))
	if err := store.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Material: sealed, read back, opened.
	m := keystoretest.NewMetadata()
	if _, err := store.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	ring, err := rootkey.Load(t.Context(), c, namespace)
	if err != nil {
		t.Fatal(err)
	}
	root := &rootkey.Source{}
	root.Set(ring)
	// Messages: sealed by one replica, opened by another.
	for _, plaintext := range []string{"", "plaintext", strings.Repeat("p", 64<<10)} {
		sealed, err := open(t, store, m.ID).Seal(t.Context(), nil, []byte(plaintext), []byte("aad"))
		if err != nil {
			t.Fatal(err)
		}
		opened, err := open(t, software.New(c, nil, namespace, root), m.ID).Open(t.Context(), nil, sealed, []byte("aad"))
		if err != nil || string(opened) != plaintext {
			t.Fatalf("opened %d bytes of %d: %v", len(opened), len(plaintext), err)
		}
	}
}
