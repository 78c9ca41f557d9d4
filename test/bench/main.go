package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the flags.
type options struct {
	out       string
	keywright string
	duration  time.Duration
	rounds    int
	protocols []string
	keys      int
	settle    time.Duration
	idle      time.Duration
	micro     string
	parts     map[string]bool
	note      string
}

// Parts that can be measured alone.
const (
	endpointPart    = "endpoint"
	batchPart       = "batch"
	auditPart       = "audit"
	controllersPart = "controllers"
	microPart       = "micro"
)

var allParts = []string{endpointPart, batchPart, auditPart, controllersPart, microPart}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 2 && args[0] == baselineFlag {
		return runBaseline(ctx, args[1]) // not for people, so not in -help
	}
	o := &options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.StringVar(&o.out, "out", "-", "Markdown file to write; - is standard output")
	flags.StringVar(&o.keywright, "keywright", "bin/keywright", "the binary to measure")
	flags.DurationVar(&o.duration, "duration", 3*time.Second, "load on each target in each cell of the endpoint tables")
	flags.IntVar(&o.rounds, "rounds", 3, "slices that a duration is cut into; targets take turns")
	protocols := flags.String("protocols", http1+","+http2, "http1, http2 or both; batches and audit use the first")
	flags.IntVar(&o.keys, "keys", 1000, "keys for the controller tables, up to 10000")
	parts := flags.String("parts", strings.Join(allParts, ","), "what to measure")
	flags.DurationVar(&o.settle, "settle", 10*time.Second, "wait before memory and idle calls are looked at")
	flags.DurationVar(&o.idle, "idle", time.Minute, "how long idle calls are counted")
	flags.StringVar(&o.micro, "micro", "200ms", "-benchtime of go test -bench ./internal/...")
	flags.StringVar(&o.note, "note", "", "what a reader must know of the machine during this run")
	if err := flags.Parse(args); err != nil {
		return err
	}
	o.protocols, o.parts = strings.Split(*protocols, ","), map[string]bool{}
	for part := range strings.SplitSeq(*parts, ",") {
		if !slices.Contains(allParts, part) {
			return fmt.Errorf("-parts: %q is not one of %v", part, allParts)
		}
		o.parts[part] = true
	}
	if err := o.validate(); err != nil {
		return err
	}
	report, err := measureAll(ctx, o)
	if err != nil {
		return err
	}
	return writeOut(o.out, report)
}

func (o *options) validate() error {
	for _, p := range o.protocols {
		if p != http1 && p != http2 {
			return fmt.Errorf("-protocols: %q is neither %s nor %s", p, http1, http2)
		}
	}
	switch {
	case o.keys < 1 || o.keys > 10000:
		return errors.New("-keys: want 1 to 10000")
	case o.rounds < 1 || o.duration < time.Duration(o.rounds)*50*time.Millisecond:
		return errors.New("-duration: want at least 50ms for each of -rounds")
	}
	return nil
}

// measureAll measures, takes everything down and returns the report.
func measureAll(ctx context.Context, o *options) (_ *report, err error) {
	binary, err := filepath.Abs(o.keywright)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(binary); err != nil {
		return nil, fmt.Errorf("find the binary to measure (make build makes it): %w", err)
	}
	dir, err := os.MkdirTemp("", "keywright-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	r := &report{options: o, machine: thisMachine(ctx), begin: time.Now()}
	if o.parts[microPart] {
		progress("go test -bench")
		if r.micro, err = runMicro(ctx, o.micro); err != nil {
			return nil, err
		}
	}
	progress("starting the control plane and Keywright")
	c, err := startCluster(ctx, binary, dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	var empty footprint
	if o.parts[controllersPart] {
		progress("watching Keywright do nothing, without keys")
		if empty, err = c.footprint(ctx, o); err != nil {
			return nil, err
		}
	}
	if err := c.prepareLoad(ctx); err != nil {
		return nil, err
	}
	if o.parts[endpointPart] || o.parts[batchPart] || o.parts[auditPart] {
		if r.endpoint, err = withTargets(ctx, c, o); err != nil {
			return nil, err
		}
	}
	if o.parts[controllersPart] {
		if r.controllers, err = measureControllers(ctx, c, o, empty); err != nil {
			return nil, err
		}
	}
	r.end, r.loadAfter = time.Now(), loadAverage()
	return r, nil
}

// withTargets measures the endpoint beside the baselines.
func withTargets(ctx context.Context, c *cluster, o *options) (*endpointResults, error) {
	var baselines []*target
	for _, name := range []string{echoBaseline, gcmBaseline} {
		t, stop, err := startBaseline(name)
		if err != nil {
			return nil, err
		}
		defer stop()
		baselines = append(baselines, t)
	}
	unaudited, stop, err := c.startUnaudited(ctx)
	if err != nil {
		return nil, err
	}
	defer stop()
	return measureEndpoint(ctx, o, baselines, c.target(), unaudited)
}

func writeOut(path string, r *report) error {
	var text strings.Builder
	r.write(&text)
	if path == "-" {
		_, err := io.WriteString(os.Stdout, text.String())
		return err
	}
	return os.WriteFile(path, []byte(text.String()), 0o644)
}

// progress says on standard error what is going on.
func progress(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "bench: "+format+"\n", args...)
}
