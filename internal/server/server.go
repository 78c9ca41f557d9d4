package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/authn"
	"github.com/keywright/keywright/internal/authz"
	"github.com/keywright/keywright/internal/httpapi"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keysource"
	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/kms"
)

// auditDrain bounds the writing of the audit log at the end.
const auditDrain = 10 * time.Second

// server is what Run puts together.
type server struct {
	options  Options
	clock    clock.WithTicker
	registry *prometheus.Registry

	informers     cache.Cache
	source        *keysource.Source
	authenticator *authn.Authenticator
	contact       *contact
	handler       http.Handler
	sink          audit.Sink
	closeAudit    func(context.Context) error

	listening atomic.Bool
	draining  atomic.Bool
	readiness atomic.Pointer[string] // as it was logged last
}

// Run serves until ctx is done and everything has ended in order, which is no
// error.
func Run(ctx context.Context, options Options) error {
	if err := options.validate(); err != nil {
		return err
	}
	s := &server{options: options, clock: clock.RealClock{}, registry: newRegistry()}
	if err := s.openAudit(); err != nil {
		return err
	}
	// Whatever ends the server, what was audited is written.
	err := s.run(ctx)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), auditDrain)
	defer cancel()
	return errors.Join(err, s.closeAudit(closing))
}

func (s *server) openAudit() error {
	o := &s.options
	if o.AuditLog == "off" {
		o.Log.Warn("Running without an audit log; that is for benchmarks only")
		s.sink, s.closeAudit = audit.Discard{}, func(context.Context) error { return nil }
		return nil
	}
	file := audit.Open(o.AuditLog, o.AuditFile)
	// A file that cannot be opened is found out now and not by the first request.
	if _, err := file.Write(nil); err != nil {
		return fmt.Errorf("open the audit log: %w", err)
	}
	writer := audit.NewWriter(file, audit.Options{Overflow: o.AuditOverflow}, o.Log, s.clock)
	observeAudit(s.registry, writer)
	s.sink = writer
	s.closeAudit = func(ctx context.Context) error { return errors.Join(writer.Close(ctx), file.Close()) }
	return nil
}

// run builds the parts and lives until ctx is done.
func (s *server) run(ctx context.Context) error {
	// What runs in the background outlives ctx, because requests do.
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	if err := s.build(background); err != nil {
		stop()
		return err
	}
	var group sync.WaitGroup
	defer group.Wait()
	defer stop()
	failed := make(chan error, 8)
	group.Go(func() {
		if err := s.informers.Start(background); err != nil {
			failed <- fmt.Errorf("watch: %w", err)
		}
	})
	group.Go(func() { s.authenticator.Run(background) })
	group.Go(func() { s.contact.run(background) })
	if s.options.Background != nil {
		group.Go(func() { s.options.Background(background) })
	}
	return s.listenAndServe(ctx, background, &group, failed)
}

// build makes the parts; none of them has asked anybody anything yet.
func (s *server) build(ctx context.Context) error {
	o := &s.options
	config := rest.CopyConfig(o.Config)
	// kube-apiserver protects itself by priority and fairness; a limit here would
	// make a burst of callers wait for each other.
	config.QPS = -1
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make a client: %w", err)
	}
	reader, err := newReader(config)
	if err != nil {
		return fmt.Errorf("make a client for live reads: %w", err)
	}
	s.informers, err = cache.New(config, cache.Options{
		Scheme:   scheme,
		Mapper:   mapper,
		ByObject: map[client.Object]cache.ByObject{&keywrightv1alpha1.EncryptionKey{}: {Transform: keysource.Strip}},
	})
	if err != nil {
		return fmt.Errorf("make a cache: %w", err)
	}
	// The server has one store so far; its name in metrics is that of the KeyStore.
	store := keystore.Instrument(o.Store, s.clock, observeStore(s.registry, keywrightv1alpha1.DefaultKeyStoreName))
	ring := keyring.New(store, keysource.NewLookup(reader), s.clock)
	observeRing(s.registry, ring)
	if s.source, err = keysource.Follow(ctx, s.informers, ring); err != nil {
		return err
	}
	s.authenticator, err = authn.New(kube, authn.Options{
		Audiences:   o.Audiences,
		CacheTTL:    o.AuthenticationCacheTTL,
		OutageGrace: o.OutageGrace,
		Observe:     observeSources(s.registry, "keywright_authentication_cache_total", "Bearer tokens by where the word on them came from."),
	}, s.clock)
	if err != nil {
		return err
	}
	authorizer := authz.NewDelegate(kube.AuthorizationV1().SubjectAccessReviews(), authz.Options{
		CacheTTL:    o.AuthorizationCacheTTL,
		OutageGrace: o.OutageGrace,
		Observe:     observeSources(s.registry, "keywright_authorization_cache_total", "Permissions by where the word on them came from."),
	}, s.clock)
	s.contact = newContact(kube.Discovery().RESTClient(), o.OutageGrace, s.clock)
	gauge(s.registry, "keywright_apiserver_contact_age_seconds", "Time since kube-apiserver last answered.",
		func() float64 { return s.contact.age().Seconds() })
	s.handler = httpapi.New(kms.New(ring, authorizer, s.sink, s.clock), s.authenticator, s.sink, httpapi.Options{
		Limits:   o.Limits,
		Ready:    s.ready,
		Serving:  s.contact.serving,
		Registry: s.registry,
		Log:      o.Log,
	}, s.clock)
	return nil
}

var (
	errDraining     = errors.New("shutting down")
	errNotListening = errors.New("waiting for the serving certificate")
	errNotSynced    = errors.New("the watch of EncryptionKeys has not synced")
)

// ready is nil when requests should be sent here. Probes show no reason, so a
// change of it is logged.
func (s *server) ready(ctx context.Context) error {
	err := s.notReady(ctx)
	reason := "ready"
	if err != nil {
		reason = err.Error()
	}
	if old := s.readiness.Swap(&reason); old == nil || *old != reason {
		s.options.Log.InfoContext(ctx, "Readiness changed", "reason", reason)
	}
	return err
}

func (s *server) notReady(ctx context.Context) error {
	switch {
	case s.draining.Load():
		return errDraining
	case !s.listening.Load():
		return errNotListening
	case !s.source.Synced():
		return errNotSynced
	}
	if err := s.contact.serving(); err != nil {
		return err
	}
	return s.options.RootKeyReady(ctx)
}

// listenAndServe serves until ctx is done or something has failed, and ends in
// order.
func (s *server) listenAndServe(ctx, background context.Context, group *sync.WaitGroup, failed chan error) (err error) {
	o := &s.options
	var addresses Addresses
	// Probes first: whoever waits for the certificate must be seen to live.
	for _, plain := range []struct {
		bind    string
		handler http.Handler
		address *net.Addr
	}{
		{o.MetricsBindAddress, newMetricsHandler(s.registry), &addresses.Metrics},
		{o.HealthProbeBindAddress, httpapi.NewHealth(s.ready), &addresses.Probes},
	} {
		listener, err := listen(ctx, plain.bind)
		if err != nil {
			return err
		}
		if listener == nil {
			continue
		}
		*plain.address = listener.Addr()
		server := newPlain(plain.handler, o.Log)
		defer server.Close() //nolint:errcheck // there is nothing left to lose
		group.Go(func() { serve(func() error { return server.Serve(listener) }, failed) })
	}
	certificate := waitForCertificate(ctx, o)
	if certificate == nil {
		return nil // asked to end before there was anything to end
	}
	group.Go(func() {
		if err := certificate.Start(background); err != nil {
			failed <- fmt.Errorf("follow the serving certificate: %w", err)
		}
	})
	listener, err := listen(ctx, o.BindAddress)
	if err != nil {
		return err
	}
	addresses.Endpoint = listener.Addr()
	endpoint := newEndpoint(s.handler, tlsConfig(certificate.GetCertificate), o.timeouts.orDefaults(), o.Log)
	group.Go(func() {
		serve(func() error { return endpoint.ServeTLS(limitConnections(listener), "", "") }, failed)
	})
	s.listening.Store(true)
	o.Log.InfoContext(ctx, "Serving the crypto endpoint", "address", addresses.Endpoint.String())
	if o.Listening != nil {
		o.Listening(addresses)
	}
	select {
	case <-ctx.Done():
		s.draining.Store(true)
		o.Log.InfoContext(ctx, "Shutting down", "delay", o.ShutdownDelay)
		<-s.clock.After(o.ShutdownDelay)
	case err = <-failed:
		s.draining.Store(true)
	}
	return errors.Join(err, s.drain(background, endpoint))
}

// drain stops listening and finishes what is in flight.
func (s *server) drain(ctx context.Context, endpoint *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, s.options.timeouts.orDefaults().drain)
	defer cancel()
	if err := endpoint.Shutdown(ctx); err != nil {
		return errors.Join(fmt.Errorf("finish requests in flight: %w", err), endpoint.Close())
	}
	return nil
}

func serve(f func() error, failed chan<- error) {
	if err := f(); !errors.Is(err, http.ErrServerClosed) {
		failed <- fmt.Errorf("serve: %w", err)
	}
}
