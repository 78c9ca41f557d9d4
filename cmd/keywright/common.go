package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/keywright/keywright/internal/version"
)

// defaultNamespace is Keywright's namespace where nothing says otherwise.
const defaultNamespace = "keywright-system"

// namespaceFile is where a pod finds its namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// commonOptions are the flags of every command that talks to an API server.
type commonOptions struct {
	kubeconfig  string
	namespace   string
	logLevel    string
	logFormat   string
	metricsAddr string
	healthAddr  string
}

func (o *commonOptions) addFlags(command *cobra.Command) {
	flags := command.Flags()
	flags.StringVar(&o.kubeconfig, "kubeconfig", "", "kubeconfig to use; default: the pod's service account, else KUBECONFIG")
	flags.StringVar(&o.namespace, "namespace", "", "Keywright's own namespace, where material rests; default: POD_NAMESPACE, else the pod's, else "+defaultNamespace)
	flags.StringVar(&o.logLevel, "log-level", "info", "info or debug")
	flags.StringVar(&o.logFormat, "log-format", "json", "json or text")
	flags.StringVar(&o.metricsAddr, "metrics-bind-address", ":8080", `host:port that serves /metrics; "0" is off`)
	flags.StringVar(&o.healthAddr, "health-probe-bind-address", ":8081", `host:port that serves /livez and /readyz; "0" is off`)
}

// complete fills in what was not given and sets up logging, which goes to
// standard error: standard output may be the audit log.
func (o *commonOptions) complete(ctx context.Context) (context.Context, *slog.Logger, *rest.Config, error) {
	if o.namespace == "" {
		o.namespace = ownNamespace()
	}
	logger, err := newLogger(o.logLevel, o.logFormat)
	if err != nil {
		return nil, nil, nil, err
	}
	config, err := clientConfig(o.kubeconfig)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("find the API server: %w; give --kubeconfig", err)
	}
	config.UserAgent = "keywright/" + version.Version
	// The API server protects itself by priority and fairness; a limit here would
	// only make a burst of keys wait.
	config.QPS = -1
	sink := logr.FromSlogHandler(logger.Handler())
	ctrl.SetLogger(sink)
	klog.SetLogger(sink)
	return ctrl.LoggerInto(ctx, sink), logger, config, nil
}

func ownNamespace() string {
	if namespace := os.Getenv("POD_NAMESPACE"); namespace != "" {
		return namespace
	}
	if content, err := os.ReadFile(namespaceFile); err == nil {
		if namespace := strings.TrimSpace(string(content)); namespace != "" {
			return namespace
		}
	}
	return defaultNamespace
}

func newLogger(level, format string) (*slog.Logger, error) {
	var parsed slog.Level
	if err := parsed.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want info or debug", level)
	}
	options := &slog.HandlerOptions{Level: parsed}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, options)), nil
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, options)), nil
	default:
		return nil, fmt.Errorf("--log-format %q: want json or text", format)
	}
}

func clientConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig == "" {
		if config, err := rest.InClusterConfig(); err == nil {
			return config, nil
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
}
