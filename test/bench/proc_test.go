package main

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	const tail = " S 1 1 1 0 -1 4194560 1234 0 5 0 250 75 3 4 20 0 9 0 100 1000 200"
	for name, test := range map[string]struct {
		stat string
		want time.Duration
		fail bool
	}{
		"plain":                    {stat: "42 (keywright)" + tail, want: 3250 * time.Millisecond},
		"a name like other fields": {stat: "42 (a) S 1 (b c)" + tail, want: 3250 * time.Millisecond},
		"no name":                  {stat: "42 keywright S 1", fail: true},
		"cut off":                  {stat: "42 (keywright) S 1 1 1", fail: true},
		"not a number":             {stat: "42 (keywright) S 1 1 1 0 -1 0 0 0 0 0 x 75 3", fail: true},
		"empty":                    {fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStat([]byte(test.stat))
			if (err != nil) != test.fail || got != test.want {
				t.Errorf("got %v, %v; want %v, error %v", got, err, test.want, test.fail)
			}
		})
	}
}

func TestParseStatus(t *testing.T) {
	for name, test := range map[string]struct {
		status string
		want   memory
		fail   bool
	}{
		"plain":            {status: "Name:\tkeywright\nVmPeak:\t  99 kB\nVmHWM:\t   20 kB\nVmRSS:\t   10 kB\nThreads:\t9\n", want: memory{10 << 10, 20 << 10}},
		"first line":       {status: "VmHWM:\t20 kB\nVmRSS:\t10 kB", want: memory{10 << 10, 20 << 10}},
		"a kernel thread":  {status: "Name:\tkthreadd\nThreads:\t1\n", fail: true},
		"an unknown unit":  {status: "VmHWM:\t20 MB\nVmRSS:\t10 kB\n", fail: true},
		"a value missing":  {status: "VmHWM:\t20 kB\nVmRSS:\n", fail: true},
		"not a number":     {status: "VmHWM:\t-1 kB\nVmRSS:\t10 kB\n", fail: true},
		"name inside text": {status: "Name:\tVmRSS:\nVmHWM:\t20 kB\n", fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parseStatus(test.status)
			if (err != nil) != test.fail || got != test.want {
				t.Errorf("got %v, %v; want %v, error %v", got, err, test.want, test.fail)
			}
		})
	}
}

func TestOwnProcess(t *testing.T) {
	if _, err := os.Stat("/proc/self/stat"); err != nil {
		t.Skip("no /proc here")
	}
	if _, err := cpuTime(os.Getpid()); err != nil {
		t.Error(err)
	}
	m, err := memoryOf(os.Getpid())
	if err != nil || m.resident == 0 || m.peak < m.resident/2 {
		t.Errorf("got %+v, %v", m, err)
	}
}
