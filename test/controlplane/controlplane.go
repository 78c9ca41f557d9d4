package controlplane

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// ControlPlane is a running control plane. Its methods are not safe for
// concurrent use; clients made from Config are.
type ControlPlane struct {
	// Config authenticates as a member of system:masters.
	Config *rest.Config
	// Kubeconfig is the path of a kubeconfig equal to Config.
	Kubeconfig string
	// Dir holds etcd's data, certificates, logs and Kubeconfig.
	Dir string

	plane     envtest.ControlPlane
	manager   *process // nil without controller manager
	kubectl   string
	logs      []*os.File
	removeDir bool
}

// Start starts the control plane and returns when its API server is ready and the
// default service account exists (the sign that the controller manager works).
// ctx bounds the start only; Stop ends the processes. On error nothing is left
// running.
func Start(ctx context.Context, o Options) (_ *ControlPlane, err error) {
	paths, err := o.binaries()
	if err != nil {
		return nil, err
	}
	c := &ControlPlane{kubectl: paths["kubectl"]}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Stop())
		}
	}()
	if err := c.prepareDir(o.Dir); err != nil {
		return nil, err
	}
	if err := c.configureEtcd(paths["etcd"], o.Fsync); err != nil {
		return nil, err
	}
	if err := c.configureAPIServer(paths["kube-apiserver"], o); err != nil {
		return nil, err
	}
	c.plane.KubectlPath = c.kubectl
	if err := c.plane.Start(); err != nil {
		return nil, fmt.Errorf("start etcd and kube-apiserver (logs in %s): %w", c.Dir, err)
	}
	if err := c.addAdmin(); err != nil {
		return nil, err
	}
	if err := c.waitReady(ctx); err != nil {
		return nil, err
	}
	if o.WithoutControllerManager {
		return c, nil
	}
	if err := c.startControllerManager(paths["kube-controller-manager"]); err != nil {
		return nil, err
	}
	if err := c.waitDefaultServiceAccount(ctx); err != nil {
		return nil, err
	}
	return c, nil
}

// Stop ends all processes, in the order that lets each say goodbye to the next,
// and removes Dir if Start made it. It may be called twice.
func (c *ControlPlane) Stop() error {
	var errs []error
	if c.manager != nil {
		errs = append(errs, c.manager.stop())
		c.manager = nil
	}
	errs = append(errs, c.plane.Stop())
	for _, log := range c.logs {
		errs = append(errs, log.Close())
	}
	c.logs = nil
	if c.removeDir {
		errs = append(errs, os.RemoveAll(c.Dir))
	}
	return errors.Join(errs...)
}

// StopAPIServer makes the outage of an API server: etcd and the controller manager
// go on, every client sees connections refused.
func (c *ControlPlane) StopAPIServer() error {
	if err := c.plane.APIServer.Stop(); err != nil {
		return fmt.Errorf("stop kube-apiserver: %w", err)
	}
	return nil
}

// StartAPIServer ends the outage: same port, same certificates, same data. It
// returns when the server is ready.
func (c *ControlPlane) StartAPIServer(ctx context.Context) error {
	if err := c.plane.APIServer.Start(); err != nil {
		return fmt.Errorf("start kube-apiserver (log in %s): %w", c.Dir, err)
	}
	return c.waitReady(ctx)
}

// RestartAPIServer stops and starts it.
func (c *ControlPlane) RestartAPIServer(ctx context.Context) error {
	if err := c.StopAPIServer(); err != nil {
		return err
	}
	return c.StartAPIServer(ctx)
}

// Kubectl runs kubectl as the administrator and returns its standard output. The
// error carries its standard error.
func (c *ControlPlane) Kubectl(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, c.kubectl, append([]string{"--kubeconfig=" + c.Kubeconfig}, args...)...)
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("kubectl %v: %w: %s", args, err, exit.Stderr)
	}
	return string(out), err
}

func (c *ControlPlane) prepareDir(dir string) error {
	if dir == "" {
		tmp, err := os.MkdirTemp("", "keywright-controlplane-")
		if err != nil {
			return fmt.Errorf("make directory of the control plane: %w", err)
		}
		c.Dir, c.removeDir = tmp, true
	} else {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return fmt.Errorf("resolve %s: %w", dir, err)
		}
		c.Dir = abs
	}
	// envtest skips making a CA when it finds a serving certificate, and then has
	// no CA to give to clients. So certificates never outlive a run.
	if err := os.RemoveAll(c.certs()); err != nil {
		return fmt.Errorf("remove old certificates: %w", err)
	}
	for _, sub := range []string{c.certs(), c.etcdData()} {
		if err := os.MkdirAll(sub, 0o700); err != nil { // etcd insists on 0700
			return fmt.Errorf("make %s: %w", sub, err)
		}
	}
	return nil
}

func (c *ControlPlane) certs() string    { return filepath.Join(c.Dir, "certs") }
func (c *ControlPlane) etcdData() string { return filepath.Join(c.Dir, "etcd") }

// log opens the log file of a process; Stop closes it.
func (c *ControlPlane) log(name string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(c.Dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log of %s: %w", name, err)
	}
	c.logs = append(c.logs, f)
	return f, nil
}
