package material

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/secret"
)

// -update makes the golden Secrets that are missing. It never changes one: what a
// release has sealed must open in every later one.
var update = flag.Bool("update", false, "make the golden Secrets in testdata that are missing")

const goldenKey = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

// goldens are the Secrets in testdata/v1. They are sealed under root key version
// 1, 32 bytes of 01, and hold goldenKey.
func goldens() map[string]keystore.Metadata {
	created, onDemand := metadata(1), metadata(17)
	onDemand.Origin = keywrightv1alpha1.OnDemandRotationVersionOrigin
	onDemand.RequestedAt = time.Date(2026, time.June, 30, 22, 0, 0, 0, time.UTC)
	return map[string]keystore.Metadata{"created": created, "rotated-on-demand": onDemand}
}

func TestGoldenSecrets(t *testing.T) {
	root := newTestRoot(t, 1)
	key, err := hex.DecodeString(goldenKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range goldens() {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", "v1", name+".json")
			if _, err := os.Stat(file); *update && errors.Is(err, os.ErrNotExist) {
				writeGolden(t, file, seal(t, root, want, secret.New(key)))
			}
			encoded, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var s corev1.Secret
			if err := json.Unmarshal(encoded, &s); err != nil {
				t.Fatal(err)
			}
			got, opened, err := Open(root, &s)
			if err != nil || !opened.Equal(secret.New(key)) {
				t.Fatalf("the Secret does not open: %v", err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("metadata (-want +got):\n%s", diff)
			}
			// What is not random is still written the same way.
			again := seal(t, root, want, secret.New(key))
			again.Data[sealedKey] = s.Data[sealedKey]
			if diff := cmp.Diff(&s, again); diff != "" {
				t.Errorf("this release writes it differently (-golden +now):\n%s", diff)
			}
		})
	}
}

func writeGolden(t *testing.T, file string, s *corev1.Secret) {
	t.Helper()
	encoded, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(encoded, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}
