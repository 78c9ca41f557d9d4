// Package api tries the rules of the custom resources on a real API server.
package api

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/test/controlplane"
)

var (
	plane *controlplane.ControlPlane
	c     client.Client
)

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	scheme := runtime.NewScheme()
	if err := keywrightv1alpha1.AddToScheme(scheme); err != nil {
		return 1, err
	}
	plane, err = controlplane.Start(context.Background(), controlplane.Options{WithoutControllerManager: true})
	if err != nil {
		return 1, err
	}
	defer func() { _ = plane.Stop() }()
	if _, err := envtest.InstallCRDs(plane.Config, envtest.CRDInstallOptions{Paths: []string{"../../config/crd/bases"}, ErrorIfPathMissing: true}); err != nil {
		return 1, err
	}
	if c, err = client.New(plane.Config, client.Options{Scheme: scheme}); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

// applyStrictly applies a manifest as a dry run, refusing unknown fields.
func applyStrictly(t *testing.T, manifest string) error {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.json")
	if err := os.WriteFile(file, []byte(manifest), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := plane.Kubectl(t.Context(), "apply", "--server-side", "--force-conflicts", "--validate=strict", "--dry-run=server", "--filename="+file)
	return err
}
