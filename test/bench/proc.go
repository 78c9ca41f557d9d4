package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// clockTick is the unit of processor time in /proc: USER_HZ is 100 on every
// architecture that Go runs on.
const clockTick = time.Second / 100

// cpuTime returns the processor time that a process has used, user and system.
func cpuTime(pid int) (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read processor time: %w", err)
	}
	return parseStat(stat)
}

// parseStat reads utime and stime, fields 14 and 15 of proc_pid_stat(5). The name
// of the process comes second, in parentheses, and may hold spaces and parentheses.
func parseStat(stat []byte) (time.Duration, error) {
	end := bytes.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, errors.New("stat has no process name")
	}
	fields := strings.Fields(string(stat[end+1:])) // from field 3 on
	if len(fields) < 13 {
		return 0, fmt.Errorf("stat has %d fields after the name, want at least 13", len(fields))
	}
	var ticks uint64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseUint(field, 10, 63)
		if err != nil {
			return 0, fmt.Errorf("stat: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * clockTick, nil
}

// memory is what a process has in RAM, in bytes.
type memory struct{ resident, peak uint64 }

func memoryOf(pid int) (memory, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, fmt.Errorf("read memory: %w", err)
	}
	return parseStatus(string(status))
}

// parseStatus reads VmRSS and VmHWM of proc_pid_status(5).
func parseStatus(status string) (memory, error) {
	var m memory
	for name, value := range map[string]*uint64{"VmRSS:": &m.resident, "VmHWM:": &m.peak} {
		_, rest, found := strings.Cut("\n"+status, "\n"+name)
		if !found {
			return memory{}, fmt.Errorf("status has no %s", name)
		}
		line, _, _ := strings.Cut(rest, "\n")
		fields := strings.Fields(line)
		if len(fields) != 2 || fields[1] != "kB" {
			return memory{}, fmt.Errorf("status: %s %q, want a number of kB", name, line)
		}
		n, err := strconv.ParseUint(fields[0], 10, 53)
		if err != nil {
			return memory{}, fmt.Errorf("status: %w", err)
		}
		*value = n << 10
	}
	return m, nil
}

// resetPeak makes the peak start again from what is resident now (proc(5),
// clear_refs).
func resetPeak(pid int) error {
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0)
}
