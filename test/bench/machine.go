package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
)

// machine is what the figures are of.
type machine struct {
	cores      int
	processor  string
	memory     string
	kernel     string
	goVersion  string
	commit     string
	loadBefore string
}

func thisMachine(ctx context.Context) machine {
	m := machine{
		cores:      runtime.NumCPU(),
		processor:  fieldOf("/proc/cpuinfo", "model name"),
		memory:     fieldOf("/proc/meminfo", "MemTotal"),
		kernel:     firstLine("/proc/sys/kernel/osrelease"),
		goVersion:  runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH,
		commit:     "none yet",
		loadBefore: loadAverage(),
	}
	if out, err := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty").Output(); err == nil {
		m.commit = strings.TrimSpace(string(out))
	}
	// Only the version: a suffix names the builder of the kernel, at times the host.
	m.kernel, _, _ = strings.Cut(m.kernel, "-")
	var kb uint64
	if _, err := fmt.Sscanf(m.memory, "%d kB", &kb); err == nil {
		m.memory = fmt.Sprintf("%.1f GiB", float64(kb)/(1<<20))
	}
	return m
}

// fieldOf returns the value of the first line "name : value" of a file.
func fieldOf(path, name string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return unknown
	}
	for line := range strings.Lines(string(content)) {
		if key, value, found := strings.Cut(line, ":"); found && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return unknown
}

func firstLine(path string) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return unknown
	}
	line, _, _ := strings.Cut(string(content), "\n")
	return line
}

// loadAverage is that of the last minute.
func loadAverage() string {
	average, _, _ := strings.Cut(firstLine("/proc/loadavg"), " ")
	return average
}

const unknown = "unknown"
