package keystore

import (
	"context"
	"errors"
	"time"

	"k8s.io/utils/clock"
)

// Outcomes of a store operation, for metrics.
const (
	outcomeSuccess      = "success"
	outcomeNotFound     = "not_found"
	outcomeCorrupt      = "corrupt"
	outcomeUnavailable  = "unavailable"
	outcomeNotSupported = "not_supported"
	outcomeError        = "error"
)

// Observer is told how long an operation of a store took and what became of it.
type Observer func(operation, outcome string, took time.Duration)

// Instrument returns a Store that does what store does and tells observe. What its
// Keys do is not observed: with software it is shorter than looking at the clock.
func Instrument(store Store, clock clock.PassiveClock, observe Observer) Store {
	return &instrumented{store: store, clock: clock, observe: observe}
}

type instrumented struct {
	store   Store
	clock   clock.PassiveClock
	observe Observer
}

func (i *instrumented) Create(ctx context.Context, m Metadata) (Metadata, error) {
	begin := i.clock.Now()
	created, err := i.store.Create(ctx, m)
	i.observe("create", outcome(err), i.clock.Since(begin))
	return created, err
}

func (i *instrumented) Open(ctx context.Context, id VersionID) (Key, error) {
	begin := i.clock.Now()
	key, err := i.store.Open(ctx, id)
	i.observe("open", outcome(err), i.clock.Since(begin))
	return key, err
}

func (i *instrumented) Check(ctx context.Context) error {
	begin := i.clock.Now()
	err := i.store.Check(ctx)
	i.observe("check", outcome(err), i.clock.Since(begin))
	return err
}

func outcome(err error) string {
	switch {
	case err == nil:
		return outcomeSuccess
	case errors.Is(err, ErrNotFound):
		return outcomeNotFound
	case errors.Is(err, ErrCorrupt):
		return outcomeCorrupt
	case errors.Is(err, ErrUnavailable):
		return outcomeUnavailable
	case errors.Is(err, ErrNotSupported):
		return outcomeNotSupported
	default:
		return outcomeError
	}
}
