// Command controlplane runs a Kubernetes control plane on loopback until it is
// interrupted. make run stands on it.
//
//	go run ./hack/controlplane --dir .run
//
// It writes DIR/kubeconfig, prints "ready" and stays.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/keywright/keywright/test/controlplane"
)

func main() {
	var o controlplane.Options
	flag.StringVar(&o.Dir, "dir", "", "directory for etcd data, certificates, logs and kubeconfig (required)")
	flag.StringVar(&o.Assets, "assets", "", "directory of the binaries (default $KUBEBUILDER_ASSETS)")
	flag.BoolVar(&o.Fsync, "fsync", false, "let etcd sync every write to disk")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "controlplane:", err)
		os.Exit(1)
	}
}

func run(o controlplane.Options) error {
	if o.Dir == "" {
		return errors.New("--dir is required")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	plane, err := controlplane.Start(ctx, o)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	<-ctx.Done()
	return plane.Stop()
}
