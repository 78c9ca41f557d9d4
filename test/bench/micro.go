package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// microResult is one benchmark of go test.
type microResult struct {
	pkg, name              string
	nsPerOp, bytes, allocs string
}

func runMicro(ctx context.Context, benchtime string) ([]microResult, error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-p", "1", "-run", "^$", "-bench", ".", "-benchmem", "-benchtime", benchtime, "./internal/...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go test -bench: %w\n%s", err, out)
	}
	return parseMicro(string(out)), nil
}

// parseMicro reads the lines of benchmarks:
//
//	pkg: github.com/keywright/keywright/internal/kms
//	BenchmarkEncrypt/32_B-2   100000   2345 ns/op   13.6 MB/s   480 B/op   7 allocs/op
func parseMicro(out string) []microResult {
	var results []microResult
	pkg := ""
	for line := range strings.Lines(out) {
		if path, found := strings.CutPrefix(line, "pkg: "); found {
			_, pkg, _ = strings.Cut(strings.TrimSpace(path), "/internal/")
			pkg = "internal/" + pkg
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			name = name[:i] // GOMAXPROCS
		}
		r := microResult{pkg: pkg, name: name}
		for i := 2; i+1 < len(fields); i += 2 {
			switch fields[i+1] {
			case "ns/op":
				r.nsPerOp = fields[i]
			case "B/op":
				r.bytes = fields[i]
			case "allocs/op":
				r.allocs = fields[i]
			}
		}
		results = append(results, r)
	}
	return results
}
