package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/keywright/keywright/internal/keystore/software"
	"github.com/keywright/keywright/internal/rootkey"
)

const (
	// rootKeyRetry is how often the root key is looked for while there is none.
	rootKeyRetry = time.Second
	// rootKeyRefresh is how often it is read again, for new versions of it.
	rootKeyRefresh = time.Minute
)

// UseSoftwareStore fills in Store, RootKeyReady and Background of options for the
// software key store in the namespace. It reads Secrets live and one by one.
func UseSoftwareStore(options *Options, namespace string) error {
	reader, err := newReader(options.Config)
	if err != nil {
		return fmt.Errorf("make a client for Secrets: %w", err)
	}
	root := &rootkey.Source{}
	options.Store = software.New(reader, nil, namespace, root)
	options.RootKeyReady = func(context.Context) error { return root.Ready() }
	options.Background = func(ctx context.Context) { followRootKey(ctx, reader, namespace, root, options.Log, clock.RealClock{}) }
	return nil
}

// followRootKey keeps root open. A root key that was open stays so when its Secret
// cannot be read: it is what loaded keys are served with during an outage.
func followRootKey(ctx context.Context, reader client.Reader, namespace string, root *rootkey.Source, log *slog.Logger, clock clock.Clock) {
	said := ""
	for {
		wait := rootKeyRefresh
		ring, err := rootkey.Load(ctx, reader, namespace)
		switch {
		case err == nil:
			root.Set(ring)
			said = ""
		case ctx.Err() != nil:
			return
		default:
			if root.Ready() != nil {
				wait = rootKeyRetry
			}
			if err.Error() != said {
				said = err.Error()
				level := slog.LevelError
				if errors.Is(err, rootkey.ErrMissing) {
					level = slog.LevelInfo // the controller has not made it yet
				}
				log.Log(ctx, level, "Opening the root key failed", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-clock.After(wait):
		}
	}
}

// newReader returns a client that reads live and gives up soon.
func newReader(config *rest.Config) (client.Reader, error) {
	config = rest.CopyConfig(config)
	config.Timeout = readTimeout
	config.QPS = -1
	return client.New(config, client.Options{Scheme: scheme, Mapper: mapper})
}
