package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/test/controlplane"
	"github.com/keywright/keywright/test/rig"
)

const (
	// benchNamespace has the keys, rawNamespace what the client writes that the
	// controller is compared with.
	benchNamespace = "bench"
	rawNamespace   = "bench-raw"
	benchKey       = "orders"
	account        = "load"

	startTimeout = 2 * time.Minute
)

// unlimited lifts the limits of one principal, because the load has only one.
var unlimited = []string{
	"--log-level=info", "--max-in-flight-per-principal=400", "--rate-per-principal=1000000000", "--burst-per-principal=1000000000",
}

// auditPolicy has the API server log the calls of Keywright's servers, to count
// them, and nobody else's. The controller counts its own.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: Metadata
    users: ["system:serviceaccount:` + rig.Namespace + `:keywright-server"]
  - level: None
`

// cluster is a rig and what the benchmarks add to it.
type cluster struct {
	*rig.Rig
	admin    client.WithWatch
	binary   string
	token    string
	apiAudit string
}

func startCluster(ctx context.Context, binary, dir string) (*cluster, error) {
	policy, log := filepath.Join(dir, "audit-policy.yaml"), filepath.Join(dir, "apiserver-audit.log")
	if err := os.WriteFile(policy, []byte(auditPolicy), 0o600); err != nil {
		return nil, err
	}
	// The rig takes the binary from there.
	if err := os.Setenv("KEYWRIGHT_BIN", binary); err != nil {
		return nil, err
	}
	r, err := rig.Start(ctx, rig.Options{
		Dir:            filepath.Join(dir, "rig"),
		LeaderElect:    true,
		ControllerArgs: []string{"--log-level=info"},
		ServerArgs:     unlimited,
		Plane:          controlplane.Options{APIServerFlags: map[string]string{"audit-policy-file": policy, "audit-log-path": log}},
	})
	if err != nil {
		return nil, err
	}
	admin, err := client.NewWithWatch(r.Plane.Config, client.Options{Scheme: r.Admin.Scheme()})
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return &cluster{Rig: r, admin: admin, binary: binary, apiAudit: log}, nil
}

func (c *cluster) controller() *rig.Process { return c.Controllers[0] }
func (c *cluster) server() *rig.Process     { return c.Servers[0] }

// newKey is an EncryptionKey as small as it gets.
func newKey(namespace, name string) *keywrightv1alpha1.EncryptionKey {
	return &keywrightv1alpha1.EncryptionKey{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       keywrightv1alpha1.EncryptionKeySpec{Type: keywrightv1alpha1.CustomerManagedKeyType},
	}
}

// prepareLoad makes the key and the caller of the endpoint benchmarks.
func (c *cluster) prepareLoad(ctx context.Context) (err error) {
	for _, namespace := range []string{benchNamespace, rawNamespace} {
		if err := c.Namespace(ctx, namespace); err != nil {
			return err
		}
	}
	if c.token, err = c.Workload(ctx, benchNamespace, account); err != nil {
		return err
	}
	key := newKey(benchNamespace, benchKey)
	if err := c.admin.Create(ctx, key); err != nil {
		return err
	}
	return c.eventually(ctx, "key "+benchKey+" is ready", func(ctx context.Context) bool {
		return c.admin.Get(ctx, client.ObjectKeyFromObject(key), key) == nil && isReady(key)
	})
}

func (c *cluster) eventually(ctx context.Context, what string, done func(context.Context) bool) error {
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, startTimeout, true,
		func(ctx context.Context) (bool, error) { return done(ctx), nil })
	if err != nil {
		return fmt.Errorf("wait until %s: %w; logs end with\n%s", what, err, c.Tails())
	}
	return nil
}

// target is the audited server of the rig.
func (c *cluster) target() *target {
	return &target{name: keywrightTarget, address: strings.TrimPrefix(c.server().URL, "https://"), roots: c.CA(), token: c.token, pid: c.server().PID()}
}

// startUnaudited starts one more server, without an audit log.
func (c *cluster) startUnaudited(ctx context.Context) (_ *target, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	address := listener.Addr().String()
	_ = listener.Close()
	log, err := os.Create(filepath.Join(c.Dir, "server-unaudited.log"))
	if err != nil {
		return nil, nil, err
	}
	defer log.Close()
	cmd := exec.Command(c.binary, append([]string{
		"server", "--kubeconfig=" + c.server().Kubeconfig, "--namespace=" + rig.Namespace, "--bind-address=" + address,
		"--audit-log=off", "--shutdown-delay=100ms", "--metrics-bind-address=0", "--health-probe-bind-address=0",
		"--tls-cert-file=" + filepath.Join(c.TLSDir, "tls.crt"), "--tls-private-key-file=" + filepath.Join(c.TLSDir, "tls.key"),
	}, unlimited...)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, nil, err
	}
	stop = func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	}
	t := &target{name: unauditedTarget, address: address, roots: c.CA(), token: c.token, pid: cmd.Process.Pid}
	if err := c.eventually(ctx, "the server without audit answers", func(ctx context.Context) bool {
		_, err := bodyFor(ctx, t, cell{operation: "decrypt", size: 32})
		return err == nil
	}); err != nil {
		stop()
		return nil, nil, err
	}
	return t, stop, nil
}

// Names of the targets that are not baselines.
const (
	keywrightTarget = "keywright"
	unauditedTarget = "audit off"
)

// controllerCalls is how many calls the controller has made to the API server.
func (c *cluster) controllerCalls(ctx context.Context) (float64, error) {
	text, err := c.controller().Scrape(ctx)
	if err != nil {
		return 0, err
	}
	return sumSeries(text, "rest_client_requests_total", ""), nil
}

// serverCalls is how many calls the servers have made to the API server.
func (c *cluster) serverCalls() (float64, error) {
	lines, err := os.ReadFile(c.apiAudit)
	return float64(bytes.Count(lines, []byte("\n"))), err
}

// sumSeries adds up the series of a metric in the Prometheus text format whose
// labels contain label.
func sumSeries(text, name, label string) (sum float64) {
	for line := range strings.Lines(text) {
		rest, found := strings.CutPrefix(strings.TrimSpace(line), name)
		if !found || rest == "" || (rest[0] != '{' && rest[0] != ' ') || !strings.Contains(rest, label) {
			continue
		}
		if value, err := strconv.ParseFloat(rest[strings.LastIndexByte(rest, ' ')+1:], 64); err == nil {
			sum += value
		}
	}
	return sum
}

// materials counts the material Secrets.
func (c *cluster) materials(ctx context.Context) (int, error) {
	var list metav1.PartialObjectMetadataList
	list.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("SecretList"))
	err := c.admin.List(ctx, &list, client.InNamespace(rig.Namespace), client.MatchingLabels{keywrightv1alpha1.MaterialLabel: "true"})
	return len(list.Items), err
}
