package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/keywright/keywright/controllers"
	"github.com/keywright/keywright/internal/policy"
)

func newControllerCommand() *cobra.Command {
	var common commonOptions
	options := controllers.Options{}
	var certificate string
	command := &cobra.Command{
		Use:   "controller",
		Short: "Make and rotate the keys that EncryptionKeys ask for",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			switch certificate {
			case "self":
			case "external":
				options.ExternalCertificate = true
			default:
				return fmt.Errorf("--serving-certificate %q: want self or external", certificate)
			}
			ctx, _, config, err := common.complete(command.Context())
			if err != nil {
				return err
			}
			options.Namespace = common.namespace
			options.MetricsBindAddress = common.metricsAddr
			options.HealthProbeBindAddress = common.healthAddr
			return controllers.Run(ctx, config, options)
		},
	}
	common.addFlags(command)
	flags := command.Flags()
	flags.BoolVar(&options.LeaderElect, "leader-elect", true, "let one controller of several work")
	flags.IntVar(&options.Workers, "workers", 8, "how many EncryptionKeys are reconciled at once")
	flags.DurationVar(&options.MinRotationInterval, "min-rotation-interval", policy.DefaultMinInterval, "shortest time between two automatic rotations of a key; every rotation leaves a version that is kept")
	flags.StringVar(&certificate, "serving-certificate", "self", "self: make and renew the server's certificate; external: somebody else does, such as cert-manager")
	flags.BoolVar(&options.ManageAPIService, "manage-api-service", false, "keep the caBundle of the APIService of the crypto endpoint")
	flags.StringVar(&options.Service, "service-name", "keywright", "name of the Service in front of the servers")
	flags.StringSliceVar(&options.ServingNames, "serving-names", nil, "further DNS names and IP addresses for the server's certificate")
	return command
}
