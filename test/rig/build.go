package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
)

// binaryVariable names a keywright to test instead of building one.
const binaryVariable = "KEYWRIGHT_BIN"

var built struct {
	sync.Mutex
	dir   string
	paths map[bool]string
}

// product returns the keywright that $KEYWRIGHT_BIN names, else builds one, once in
// the life of this process. RemoveBinary removes it.
func product(ctx context.Context, race bool) (string, error) {
	if path := os.Getenv(binaryVariable); path != "" && !race {
		return filepath.Abs(path)
	}
	built.Lock()
	defer built.Unlock()
	if path := built.paths[race]; path != "" {
		return path, nil
	}
	if built.dir == "" {
		dir, err := os.MkdirTemp("", "keywright-bin-")
		if err != nil {
			return "", fmt.Errorf("make directory: %w", err)
		}
		built.dir, built.paths = dir, map[bool]string{}
	}
	// As make build does, so that they share the build cache.
	path, args, cgo := filepath.Join(built.dir, "keywright"), []string{"build", "-trimpath"}, "CGO_ENABLED=0"
	if race {
		path, args, cgo = path+"-race", append(args, "-race"), "CGO_ENABLED=1"
	}
	if _, err := output(ctx, root(), "env", append([]string{cgo, "go"}, append(args, "-o", path, "./cmd/keywright")...)...); err != nil {
		return "", fmt.Errorf("build keywright: %w", err)
	}
	built.paths[race] = path
	return path, nil
}

// RemoveBinary removes what was built. Call it from TestMain after all tests.
func RemoveBinary() error {
	built.Lock()
	defer built.Unlock()
	dir := built.dir
	built.dir, built.paths = "", nil
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}

// root is the directory of the repository: a test runs in that of its package.
var root = sync.OnceValue(func() string {
	_, file, _, ok := runtime.Caller(0)
	if dir := filepath.Dir(filepath.Dir(filepath.Dir(file))); ok && filepath.IsAbs(dir) {
		return dir
	}
	dir, err := os.Getwd() // built with -trimpath
	for err == nil && dir != "/" {
		if _, statErr := os.Stat(filepath.Join(dir, "go.mod")); statErr == nil {
			return dir
		}
		dir = filepath.Dir(dir)
	}
	return "."
})

// output runs a command; its error holds what the command said.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	out, err := command.Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
	}
	return string(out), nil
}
