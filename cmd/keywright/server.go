package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/server"
)

func newServerCommand() *cobra.Command {
	var common commonOptions
	var options server.Options
	command := &cobra.Command{
		Use:   "server",
		Short: "Let workloads use the keys over HTTPS",
		Args:  cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, log, config, err := common.complete(command.Context())
			if err != nil {
				return err
			}
			options.Config, options.Log = config, log
			options.MetricsBindAddress, options.HealthProbeBindAddress = common.metricsAddr, common.healthAddr
			if err := server.UseSoftwareStore(&options, common.namespace); err != nil {
				return err
			}
			return server.Run(ctx, options)
		},
	}
	common.addFlags(command)
	flags := command.Flags()
	flags.StringVar(&options.BindAddress, "bind-address", ":8443", "host:port that serves the crypto endpoint")
	flags.StringVar(&options.TLSCertFile, "tls-cert-file", "/var/run/keywright/tls/tls.crt", "serving certificate; read again when it changes")
	flags.StringVar(&options.TLSPrivateKeyFile, "tls-private-key-file", "/var/run/keywright/tls/tls.key", "private key of the serving certificate; read again when it changes")
	flags.StringVar(&options.AuditLog, "audit-log", "-", `audit log: a file, "-" for standard output, or "off", which is for benchmarks only`)
	flags.IntVar(&options.AuditFile.MaxSizeMB, "audit-log-max-size-mb", 100, "size at which an audit file is rotated, in megabytes")
	flags.IntVar(&options.AuditFile.MaxBackups, "audit-log-max-backups", 10, "how many rotated audit files are kept")
	flags.StringVar((*string)(&options.AuditOverflow), "audit-overflow", string(audit.Block), "when the audit log cannot keep up, or cannot be written: block makes requests wait and then fail, drop loses lines")
	flags.StringSliceVar(&options.Audiences, "audiences", []string{"keywright"}, "audiences of tokens that are accepted besides the API server's own")
	flags.DurationVar(&options.AuthenticationCacheTTL, "authentication-cache-ttl", 10*time.Second, "how long the review of a token is remembered")
	flags.DurationVar(&options.AuthorizationCacheTTL, "authorization-cache-ttl", 10*time.Second, "how long a permission is remembered")
	flags.DurationVar(&options.OutageGrace, "outage-grace", 10*time.Minute, "how long known callers with known permissions and loaded keys are served while kube-apiserver does not answer")
	flags.Int64Var(&options.Limits.InFlight, "max-in-flight", 400, "how many requests are worked on at once")
	flags.Int64Var(&options.Limits.InFlightPerPrincipal, "max-in-flight-per-principal", 100, "how many requests of one principal are worked on at once")
	flags.Float64Var(&options.Limits.RatePerPrincipal, "rate-per-principal", 2000, "requests per second of one principal in the long run")
	flags.IntVar(&options.Limits.BurstPerPrincipal, "burst-per-principal", 4000, "requests of one principal at once")
	flags.DurationVar(&options.ShutdownDelay, "shutdown-delay", 5*time.Second, "time between /readyz failing and the end of listening")
	return command
}
