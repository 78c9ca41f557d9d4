package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"k8s.io/client-go/rest"

	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/httpapi"
	"github.com/keywright/keywright/internal/keystore"
)

// Options of Run. There are no defaults but where it says so.
type Options struct {
	// Config reaches kube-apiserver. Its rate limit is not used.
	Config *rest.Config
	// Store opens key versions.
	Store keystore.Store
	// RootKeyReady returns nil when Store can open what it holds.
	RootKeyReady func(context.Context) error
	// Background runs beside the server until it ends. May be nil.
	Background func(context.Context)

	// BindAddress is where the endpoint listens.
	BindAddress string
	// TLSCertFile and TLSPrivateKeyFile are read again when they change. While they
	// are not there, Run waits.
	TLSCertFile       string
	TLSPrivateKeyFile string
	// MetricsBindAddress and HealthProbeBindAddress speak plain HTTP; "0" is off.
	MetricsBindAddress     string
	HealthProbeBindAddress string

	// AuditLog is a file, "-" for standard output, or "off".
	AuditLog      string
	AuditFile     audit.FileOptions
	AuditOverflow audit.Overflow

	// Audiences of tokens, besides the API server's own.
	Audiences              []string
	AuthenticationCacheTTL time.Duration
	AuthorizationCacheTTL  time.Duration
	OutageGrace            time.Duration

	Limits httpapi.Limits
	// ShutdownDelay is the time from /readyz failing to the end of listening.
	ShutdownDelay time.Duration

	Log *slog.Logger
	// Listening is called when all addresses are bound. May be nil.
	Listening func(Addresses)

	// timeouts are shorter in tests. Zero values mean the defaults.
	timeouts timeouts
}

// Addresses are where a server listens; nil for what is off.
type Addresses struct {
	Endpoint net.Addr
	Metrics  net.Addr
	Probes   net.Addr
}

func (o *Options) validate() error {
	switch {
	case o.Config == nil, o.Store == nil, o.RootKeyReady == nil, o.Log == nil:
		return errors.New("server: Config, Store, RootKeyReady and Log are required")
	case o.AuditOverflow != audit.Block && o.AuditOverflow != audit.Drop:
		return errors.New(`audit overflow is "block" or "drop"`)
	case o.Limits.InFlight < 1 || o.Limits.InFlightPerPrincipal < 1 || o.Limits.RatePerPrincipal <= 0 || o.Limits.BurstPerPrincipal < 1:
		return errors.New("limits on requests are positive numbers")
	case o.AuthenticationCacheTTL < 0 || o.AuthorizationCacheTTL < 0 || o.OutageGrace < 0 || o.ShutdownDelay < 0:
		return errors.New("cache TTLs, outage grace and shutdown delay are not negative")
	}
	return nil
}

// timeouts bound what a connection may take.
type timeouts struct {
	header, body, write, idle time.Duration
	// drain bounds what is in flight when listening ends.
	drain time.Duration
}

func (t timeouts) orDefaults() timeouts {
	if t == (timeouts{}) {
		return timeouts{header: 5 * time.Second, body: 10 * time.Second, write: 30 * time.Second, idle: 120 * time.Second, drain: 30 * time.Second}
	}
	return t
}
