package main

import (
	"slices"
	"testing"
)

func TestSumSeries(t *testing.T) {
	const text = `# HELP calls_total Calls.
# TYPE calls_total counter
calls_total{code="200",method="GET"} 3
calls_total{code="200",method="PUT"} 4.5
calls_total_other{code="200",method="GET"} 100
calls_total_created 100
plain 7
broken{a="b"} x
`
	for name, test := range map[string]struct {
		name, label string
		want        float64
	}{
		"all series":        {"calls_total", "", 7.5},
		"those of a label":  {"calls_total", `method="PUT"`, 4.5},
		"without labels":    {"plain", "", 7},
		"no such metric":    {"calls", "", 0},
		"not a number is 0": {"broken", "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sumSeries(text, test.name, test.label); got != test.want {
				t.Errorf("got %g, want %g", got, test.want)
			}
		})
	}
}

func TestParseMicro(t *testing.T) {
	const out = `goos: linux
pkg: github.com/keywright/keywright/internal/audit
PASS
pkg: github.com/keywright/keywright/internal/kms
BenchmarkEncrypt/32_B-2         	  100000	      2345 ns/op	  13.65 MB/s	     480 B/op	       7 allocs/op
BenchmarkAEAD/GCM_seal_32_B-2   	 5000000	     234.5 ns/op	       0 B/op	       0 allocs/op
Benchmarking is fun
ok  	github.com/keywright/keywright/internal/kms	3.2s
`
	want := []microResult{
		{pkg: "internal/kms", name: "Encrypt/32_B", nsPerOp: "2345", bytes: "480", allocs: "7"},
		{pkg: "internal/kms", name: "AEAD/GCM_seal_32_B", nsPerOp: "234.5", bytes: "0", allocs: "0"},
	}
	if got := parseMicro(out); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
