// Command keywright is Keywright: `keywright controller` makes and rotates keys,
// `keywright server` lets workloads use them.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	// Rotation schedules name time zones, and the image holds no files.
	_ "time/tzdata"

	"github.com/spf13/cobra"

	"github.com/keywright/keywright/internal/version"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "keywright:", err)
		stop()
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	command := &cobra.Command{
		Use:           "keywright",
		Short:         "A key management service inside a Kubernetes cluster",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	command.AddCommand(newControllerCommand(), newServerCommand(), newVersionCommand())
	return command
}

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(command.OutOrStdout(), "keywright %s (%s)\n", version.Version, version.Commit)
			return err
		},
	}
}
