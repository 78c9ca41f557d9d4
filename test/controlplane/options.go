package controlplane

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// assetsVariable is the variable that envtest and kubebuilder use, too.
const assetsVariable = "KUBEBUILDER_ASSETS"

// Options says what to start. The zero value is a complete control plane in a
// temporary directory.
type Options struct {
	// Dir holds etcd's data, certificates, logs and kubeconfig. Empty means a
	// temporary directory that Stop removes. A directory of an earlier run keeps
	// its etcd data; certificates and service-account keys are made afresh, so
	// old tokens and kubeconfigs stop working.
	Dir string

	// Assets is the directory of the binaries. Empty means $KUBEBUILDER_ASSETS.
	Assets string

	// Fsync makes etcd sync every write to disk, as a production cluster does.
	// Off by default, because it is most of the time of a write on a small disk.
	Fsync bool

	// WithoutControllerManager leaves kube-controller-manager out.
	WithoutControllerManager bool

	// APIServerFlags are appended to those of the API server, without dashes:
	// {"v": "4"}. They win over the flags set here.
	APIServerFlags map[string]string
}

// binaries returns the paths by name, or says which is missing and what to do.
func (o Options) binaries() (map[string]string, error) {
	assets := o.Assets
	if assets == "" {
		assets = os.Getenv(assetsVariable)
	}
	if assets == "" {
		return nil, errors.New(assetsVariable + ` is not set: run 'export ` + assetsVariable + `="$(hack/controlplane/build.sh)"' or use make test`)
	}
	names := []string{"etcd", "kube-apiserver", "kubectl"}
	if !o.WithoutControllerManager {
		names = append(names, "kube-controller-manager")
	}
	paths := map[string]string{}
	for _, name := range names {
		path := filepath.Join(assets, name)
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("find %s in %s (hack/controlplane/build.sh builds it): %w", name, assets, err)
		}
		paths[name] = path
	}
	return paths, nil
}
