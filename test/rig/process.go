package rig

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

const (
	loopback = "127.0.0.1"
	// logsDir is where CheckLeaks looks, under Rig.Dir.
	logsDir = "logs"
	// tail is how much of a log is shown when something fails.
	tail = 4 << 10
	// endpointPort is which of the three ports of a server is the endpoint's.
	endpointPort = 2
)

// Process is a keywright that can be killed and started again. Its methods are
// safe for concurrent use.
type Process struct {
	// Name is controller-0, server-1 and so on.
	Name string
	// Log is its standard error; it grows over restarts.
	Log string
	// Audit is its audit log; servers only.
	Audit string
	// Kubeconfig is of its ServiceAccount.
	Kubeconfig string
	// URL is of the endpoint; servers only. Metrics and Probes are plain HTTP.
	URL, Metrics, Probes string

	binary string
	args   []string
	env    []string

	mu     sync.Mutex
	cmd    *exec.Cmd // nil before the first start
	exited chan struct{}
}

// serverPorts returns the part of ports that servers have, three for each.
func serverPorts(o Options, ports []int) []int { return ports[2*count(o.Controllers):] }

func (r *Rig) newController(ctx context.Context, i int, ports []int) (*Process, error) {
	p, err := r.newProcess(ctx, "controller", i, ports)
	if err != nil {
		return nil, err
	}
	p.args = append(p.args, "--serving-names=localhost,"+loopback, fmt.Sprintf("--leader-elect=%t", r.options.LeaderElect))
	if r.options.APIService {
		p.args = append(p.args, "--manage-api-service")
	}
	p.args = append(p.args, r.options.ControllerArgs...)
	return p, nil
}

func (r *Rig) newServer(ctx context.Context, i int, ports []int) (*Process, error) {
	p, err := r.newProcess(ctx, "server", i, ports)
	if err != nil {
		return nil, err
	}
	address := net.JoinHostPort(loopback, strconv.Itoa(ports[endpointPort]))
	p.URL = "https://" + address
	p.Audit = filepath.Join(r.Dir, logsDir, p.Name+"-audit.log")
	p.args = append(p.args, "--bind-address="+address, "--audit-log="+p.Audit, "--shutdown-delay=100ms",
		"--tls-cert-file="+filepath.Join(r.TLSDir, "tls.crt"), "--tls-private-key-file="+filepath.Join(r.TLSDir, "tls.key"))
	p.args = append(p.args, r.options.ServerArgs...)
	return p, nil
}

// newProcess fills in what controllers and servers have in common.
func (r *Rig) newProcess(ctx context.Context, command string, i int, ports []int) (*Process, error) {
	name := command + "-" + strconv.Itoa(i)
	api, ca := r.Plane.Config.Host, r.Plane.Config.CAData
	if command == "controller" && r.options.ControllerAPI != nil {
		var err error
		if api, ca, err = r.options.ControllerAPI(r); err != nil {
			return nil, fmt.Errorf("make a way to the API server: %w", err)
		}
	}
	kubeconfig, err := r.writeKubeconfig(ctx, name, "keywright-"+command, api, ca)
	if err != nil {
		return nil, err
	}
	metrics, probes := net.JoinHostPort(loopback, strconv.Itoa(ports[0])), net.JoinHostPort(loopback, strconv.Itoa(ports[1]))
	return &Process{
		Name:       name,
		Log:        filepath.Join(r.Dir, logsDir, name+".log"),
		Kubeconfig: kubeconfig,
		Metrics:    "http://" + metrics + "/metrics",
		Probes:     "http://" + probes,
		binary:     r.binary,
		args: []string{command, "--kubeconfig=" + kubeconfig, "--namespace=" + Namespace, "--log-level=debug",
			"--metrics-bind-address=" + metrics, "--health-probe-bind-address=" + probes},
		env: append(os.Environ(), r.options.Env...),
	}, nil
}

// Start starts the process; it need not be ready.
func (p *Process) Start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	log, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open log of %s: %w", p.Name, err)
	}
	defer log.Close() // the child has its own descriptor
	// Not CommandContext: it lives until Kill or Stop.
	cmd := exec.Command(p.binary, p.args...)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, p.env
	// A process group of its own, so that Ctrl-C at the terminal reaches only us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.Name, err)
	}
	exited := make(chan struct{})
	go func() {
		defer close(exited)
		_ = cmd.Wait() // how it ended is in its log
	}()
	p.cmd, p.exited = cmd, exited
	return nil
}

// Kill is SIGKILL; it returns when the process is gone.
func (p *Process) Kill() {
	cmd, exited := p.running()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Kill() // fails only if it has ended
	<-exited
}

// Stop is SIGTERM, and SIGKILL after a minute, which is an error.
func (p *Process) Stop() error {
	cmd, exited := p.running()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-exited:
		return nil
	case <-timeout.C:
		_ = cmd.Process.Kill()
		<-exited
		return fmt.Errorf("%s ignored SIGTERM for %s and was killed", p.Name, stopTimeout)
	}
}

// Restart kills it, starts it and waits until it is ready.
func (p *Process) Restart(ctx context.Context) error {
	p.Kill()
	if err := p.Start(); err != nil {
		return err
	}
	return p.WaitReady(ctx)
}

// WaitReady waits for /readyz; a process that has ended is an error.
func (p *Process) WaitReady(ctx context.Context) error {
	_, exited := p.running()
	if exited == nil {
		return fmt.Errorf("%s was not started", p.Name)
	}
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		select {
		case <-exited:
			return false, fmt.Errorf("%s has ended", p.Name)
		default:
		}
		_, err := get(ctx, p.Probes+"/readyz")
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("wait for %s to be ready: %w; its log ends with\n%s", p.Name, err, p.tail())
	}
	return nil
}

// PID is of the running process, or of the last one.
func (p *Process) PID() int {
	cmd, _ := p.running()
	if cmd == nil {
		return 0
	}
	return cmd.Process.Pid
}

// RSS is the resident memory in bytes. Linux only.
func (p *Process) RSS() (int64, error) {
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("read memory of %s: %w", p.Name, err)
	}
	for line := range strings.Lines(string(content)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return kb << 10, err
		}
	}
	return 0, fmt.Errorf("%s has no memory: it has ended", p.Name)
}

// Logs is its standard error so far.
func (p *Process) Logs() (string, error) {
	content, err := os.ReadFile(p.Log)
	return string(content), err
}

// Scrape returns its metrics.
func (p *Process) Scrape(ctx context.Context) (string, error) {
	return get(ctx, p.Metrics)
}

func (p *Process) running() (*exec.Cmd, chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd, p.exited
}

func (p *Process) tail() string {
	content, err := os.ReadFile(p.Log)
	if err != nil {
		return err.Error()
	}
	// From the start of a line: the middle of one reads like another.
	content = content[max(0, len(content)-tail):]
	if _, rest, ok := bytes.Cut(content, []byte("\n")); ok && len(content) == tail {
		content = rest
	}
	return string(content)
}

// Tails is the end of every log.
func (r *Rig) Tails() string {
	var out bytes.Buffer
	for _, p := range r.processes() {
		fmt.Fprintf(&out, "== %s\n%s\n", p.Name, p.tail())
	}
	return out.String()
}

func poll(ctx context.Context, done func(context.Context) (bool, error)) error {
	return wait.PollUntilContextCancel(ctx, pollInterval, true, done)
}

var plain = &http.Client{Timeout: 10 * time.Second}

func get(ctx context.Context, url string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	response, err := plain.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() // it is read to the end
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, response.Status)
	}
	return string(body), err
}

// freePorts returns ports that nobody listens on, from below those that the kernel
// gives to clients: a process that is killed must get its port back.
func freePorts(n int) ([]int, error) {
	const first, last = 12000, 32000
	var out []int
	var lastErr error
	for range 10 * (n + 10) {
		if len(out) == n {
			return out, nil
		}
		port := first + rand.IntN(last-first) // a port is no secret
		listener, err := net.Listen("tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
		if err != nil {
			lastErr = err
			continue
		}
		// Kept until all are chosen, so that none is chosen twice.
		defer listener.Close() // nothing was written
		out = append(out, port)
	}
	if len(out) == n {
		return out, nil
	}
	return nil, fmt.Errorf("find %d free ports: %w", n, lastErr)
}
