package controlplane

import (
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// addAdmin lifts client-side throttling: a test that makes a thousand keys wants
// to wait for Keywright, not for its own client.
func (c *ControlPlane) addAdmin() error {
	path := filepath.Join(c.Dir, "kubeconfig")
	config, err := c.addUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, path)
	if err != nil {
		return err
	}
	config.QPS = -1
	c.Config, c.Kubeconfig = config, path
	return nil
}

// addUser makes a client certificate and writes a kubeconfig to path.
func (c *ControlPlane) addUser(user envtest.User, path string) (*rest.Config, error) {
	added, err := c.plane.AddUser(user, nil)
	if err != nil {
		return nil, fmt.Errorf("add user %s: %w", user.Name, err)
	}
	kubeconfig, err := added.KubeConfig()
	if err != nil {
		return nil, fmt.Errorf("make kubeconfig of %s: %w", user.Name, err)
	}
	if err := os.WriteFile(path, kubeconfig, 0o600); err != nil {
		return nil, fmt.Errorf("write kubeconfig of %s: %w", user.Name, err)
	}
	return added.Config(), nil
}
