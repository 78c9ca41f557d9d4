package controlplane

import (
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a child that runs until stop. envtest has the same, but keeps it to
// itself.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
}

func startProcess(log io.Writer, path string, args ...string) (*process, error) {
	// Not CommandContext: the process lives until stop, not until the context of
	// whoever started it ends.
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	// A process group of its own, so that Ctrl-C at the terminal reaches us and we
	// stop the children in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", filepath.Base(path), err)
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		defer close(p.exited)
		_ = cmd.Wait() // how it ended is in its log
	}()
	return p, nil
}

// stop asks, waits, and kills after stopTimeout. A process that has already ended
// is stopped.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // fails only if it has ended
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-p.exited:
		return nil
	case <-timeout.C:
		_ = p.cmd.Process.Kill()
		<-p.exited
		return fmt.Errorf("%s ignored SIGTERM for %s and was killed", filepath.Base(p.cmd.Path), stopTimeout)
	}
}
