package server

import (
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
)

const (
	// maxConnections bounds the connections of the endpoint. Past it, new ones wait.
	maxConnections = 8192
	// maxStreams bounds the requests at once on one HTTP/2 connection.
	maxStreams = 250
	// maxHeaderBytes has room for a large token and the headers of the front proxy.
	maxHeaderBytes = 64 << 10
	// certificateRetry is how often a certificate that is not there is looked for.
	certificateRetry = time.Second
)

// waitForCertificate returns the certificate once it is there, or nil when ctx is
// done: the controller may be making it right now.
func waitForCertificate(ctx context.Context, options *Options) *certwatcher.CertWatcher {
	said := false
	for {
		watcher, err := certwatcher.New(options.TLSCertFile, options.TLSPrivateKeyFile)
		if err == nil {
			return watcher
		}
		if !said {
			said = true
			options.Log.InfoContext(ctx, "Waiting for the serving certificate", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(certificateRetry):
		}
	}
}

// tlsConfig asks for a client certificate and leaves its verification to package
// authn, which knows the CAs of the moment.
func tlsConfig(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: certificate,
		ClientAuth:     tls.RequestClientCert,
	}
}

// newEndpoint returns the HTTPS server of the crypto endpoint.
func newEndpoint(handler http.Handler, config *tls.Config, t timeouts, log *slog.Logger) *http.Server {
	protocols := &http.Protocols{}
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler:           handler,
		TLSConfig:         config,
		ReadHeaderTimeout: t.header,
		ReadTimeout:       t.body,
		WriteTimeout:      t.write,
		IdleTimeout:       t.idle,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         protocols,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ErrorLog:          debugLog(log),
	}
}

// newPlain returns a server for metrics or probes.
func newPlain(handler http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       120 * time.Second,
		ErrorLog:          debugLog(log),
	}
}

// debugLog takes what net/http says of single connections, which anybody can make
// it say.
func debugLog(logger *slog.Logger) *log.Logger {
	return slog.NewLogLogger(logger.Handler(), slog.LevelDebug)
}

func newMetricsHandler(registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4}))
	return mux
}

// listen binds an address; "0" is none.
func listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "0" {
		return nil, nil //nolint:nilnil // off is no error
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	return listener, nil
}

func limitConnections(l net.Listener) net.Listener { return netutil.LimitListener(l, maxConnections) }
