package rig

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/test/controlplane"
)

const (
	// Namespace is Keywright's own.
	Namespace = "keywright-system"

	startTimeout = 3 * time.Minute
	stopTimeout  = time.Minute
	pollInterval = 50 * time.Millisecond
)

// Options says what to start. The zero value is one controller without leader
// election and one server.
type Options struct {
	// Dir holds everything that is written. Empty: a temporary directory that Close
	// removes.
	Dir string
	// Controllers and Servers are how many of each. Zero means one, a negative
	// number none.
	Controllers, Servers int
	// LeaderElect turns leader election on. Without it, controllers start faster and
	// all of them work.
	LeaderElect bool
	// APIService registers the endpoint of server 0 with kube-apiserver.
	APIService bool
	// ControllerAPI makes a proxy in front of the API server for controllers, and
	// returns its URL and CA. client-go sends a token over HTTPS only. Optional.
	ControllerAPI func(r *Rig) (url string, ca []byte, err error)
	// ControllerArgs and ServerArgs come after the others, so they win.
	ControllerArgs, ServerArgs []string
	// Env is added to the environment of the processes: "GODEBUG=fips140=only".
	Env []string
	// Race builds the product with the race detector.
	Race bool
	// Plane is passed on. Its Dir is set.
	Plane controlplane.Options
}

// Rig is a running Keywright. Its methods are safe for concurrent use, except
// Close.
type Rig struct {
	// Plane is the control plane; its Config is an administrator's.
	Plane *controlplane.ControlPlane
	// Admin is an uncached client of the administrator.
	Admin client.Client
	// Controllers and Servers are the processes.
	Controllers, Servers []*Process
	// Dir holds logs, audit lines, metrics and what else is collected.
	Dir string
	// TLSDir holds tls.crt, tls.key and ca.crt as the servers see them.
	TLSDir string

	options   Options
	binary    string
	pool      *x509.CertPool
	memory    memory
	removeDir bool
}

// StartT starts a rig for a test, skips the test without a control plane, and at
// the end checks for leaks and takes everything down.
func StartT(t testing.TB, options Options) *Rig {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("KUBEBUILDER_ASSETS is not set: 'make test' builds the control plane and sets it")
	}
	r, err := Start(t.Context(), options)
	if err != nil {
		t.Fatalf("start rig: %v", err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), stopTimeout)
		defer cancel()
		if err := r.CheckLeaks(ctx); err != nil {
			t.Errorf("check for leaks: %v", err)
		}
		if t.Failed() {
			t.Logf("last log lines:\n%s", r.Tails())
		}
		if err := r.Close(); err != nil {
			t.Errorf("close rig: %v", err)
		}
	})
	return r
}

// Start starts a rig and returns when everything is ready. ctx bounds the start
// only; Close ends the rig. On error nothing is left running.
func Start(ctx context.Context, options Options) (_ *Rig, err error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	ctrl.SetLogger(logr.Discard()) // a client that has no logger prints a stack
	r := &Rig{options: options, pool: x509.NewCertPool()}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.binary, err = product(ctx, options.Race); err != nil {
		return nil, err
	}
	if err := r.prepareDir(); err != nil {
		return nil, err
	}
	plane := options.Plane
	plane.Dir = filepath.Join(r.Dir, "plane")
	if r.Plane, err = controlplane.Start(ctx, plane); err != nil {
		return nil, fmt.Errorf("start control plane: %w", err)
	}
	if r.Admin, err = newAdmin(r.Plane); err != nil {
		return nil, err
	}
	ports, err := freePorts(3*count(options.Servers) + 2*count(options.Controllers))
	if err != nil {
		return nil, err
	}
	if err := r.install(ctx, ports); err != nil {
		return nil, fmt.Errorf("install the chart: %w", err)
	}
	return r, r.startProcesses(ctx, ports)
}

func (r *Rig) prepareDir() error {
	dir := r.options.Dir
	if dir == "" {
		tmp, err := os.MkdirTemp("", "keywright-rig-")
		if err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
		dir, r.removeDir = tmp, true
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("resolve %s: %w", dir, err)
	}
	r.Dir, r.TLSDir = abs, filepath.Join(abs, "tls")
	for _, path := range []string{filepath.Join(abs, "plane"), filepath.Join(abs, logsDir), r.TLSDir} {
		if err := os.MkdirAll(path, 0o700); err != nil {
			return fmt.Errorf("make %s: %w", path, err)
		}
	}
	return nil
}

// startProcesses starts controllers, which make the certificate, and then servers.
func (r *Rig) startProcesses(ctx context.Context, ports []int) error {
	for i := range count(r.options.Controllers) {
		p, err := r.newController(ctx, i, ports[2*i:])
		if err != nil {
			return err
		}
		r.Controllers = append(r.Controllers, p)
	}
	ports = serverPorts(r.options, ports)
	for i := range count(r.options.Servers) {
		p, err := r.newServer(ctx, i, ports[3*i:])
		if err != nil {
			return err
		}
		r.Servers = append(r.Servers, p)
	}
	for _, p := range r.Controllers {
		if err := p.Start(); err != nil {
			return err
		}
	}
	if len(r.Controllers) > 0 {
		if err := r.FetchTLS(ctx); err != nil {
			return err
		}
	}
	for _, p := range r.Servers {
		if err := p.Start(); err != nil {
			return err
		}
	}
	return r.WaitReady(ctx)
}

// WaitReady waits until every process is ready.
func (r *Rig) WaitReady(ctx context.Context) error {
	for _, p := range r.processes() {
		if err := p.WaitReady(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Kubectl runs kubectl as the administrator.
func (r *Rig) Kubectl(ctx context.Context, args ...string) (string, error) {
	return r.Plane.Kubectl(ctx, args...)
}

// Close ends everything and removes a temporary Dir. It may be called twice.
func (r *Rig) Close() error {
	var errs []error
	for _, p := range r.processes() {
		errs = append(errs, p.Stop())
	}
	if r.Plane != nil {
		errs = append(errs, r.Plane.Stop())
		r.Plane = nil
	}
	if r.removeDir {
		errs = append(errs, os.RemoveAll(r.Dir))
	}
	return errors.Join(errs...)
}

func (r *Rig) processes() []*Process {
	return append(append([]*Process{}, r.Controllers...), r.Servers...)
}

// count reads Options.Controllers and Options.Servers.
func count(n int) int {
	if n == 0 {
		return 1
	}
	return max(n, 0)
}

func newAdmin(plane *controlplane.ControlPlane) (client.Client, error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), keywrightv1alpha1.AddToScheme(scheme)); err != nil {
		return nil, fmt.Errorf("build scheme: %w", err)
	}
	admin, err := client.New(plane.Config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("make client: %w", err)
	}
	return admin, nil
}
