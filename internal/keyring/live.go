package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// LookupLifetime is how long the answer to a live look-up is kept.
const LookupLifetime = 500 * time.Millisecond

// flightTimeout bounds one call of the store or the look-up. It is apart from the
// deadlines of the requests that wait for the call, because others may wait for
// it too; without a bound a call that hangs would be waited for ever after.
const flightTimeout = 10 * time.Second

// maxLookups is how often a look-up is repeated because the watch brought
// something while it was going on.
const maxLookups = 3

// recent answers from the last look-up if it is recent, else looks up.
func (r *Ring) recent(ctx context.Context, name Name) (Record, error) {
	if v, ok := r.answers.Load(name); ok {
		if a := v.(answer); r.clock.Since(a.at) < LookupLifetime {
			return a.record, a.err
		}
	}
	record, _, err := r.live(ctx, name)
	return record, err
}

// live looks a key up, together with whoever else is asking; shared says that
// the look-up may have begun before this call.
func (r *Ring) live(ctx context.Context, name Name) (record Record, shared bool, err error) {
	flight := r.flights.DoChan("key\x00"+name.Namespace+"\x00"+name.Name, func() (any, error) {
		ctx, cancel := flightContext(ctx)
		defer cancel()
		for range maxLookups {
			if record, current, err := r.lookUp(ctx, name); current {
				return record, err
			}
		}
		return Record{}, fmt.Errorf("%w: it changes faster than it can be read", ErrUnavailable)
	})
	select {
	case <-ctx.Done():
		return Record{}, false, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	case result := <-flight:
		return result.Val.(Record), result.Shared, result.Err
	}
}

// lookUp looks a key up and keeps the answer, unless the watch has brought
// something meanwhile: then current is false and the answer must not be used.
func (r *Ring) lookUp(ctx context.Context, name Name) (record Record, current bool, err error) {
	r.mu.Lock()
	r.lookups[name] = false
	r.mu.Unlock()
	record, err = r.lookup(ctx, name)
	r.mu.Lock()
	defer r.mu.Unlock()
	outdated := r.lookups[name]
	delete(r.lookups, name)
	if outdated {
		return Record{}, false, nil
	}
	if err == nil || errors.Is(err, ErrKeyNotFound) {
		r.answers.Store(name, answer{record: record, err: err, at: r.clock.Now()})
		r.sweep()
	}
	return record, true, err
}

// flightContext returns the context of a call that several requests may wait
// for: it outlives the request that started it.
func flightContext(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), flightTimeout)
}

// sweep drops answers and failures that are too old to be used, so that requests
// for names that do not exist leave nothing behind.
func (r *Ring) sweep() {
	now := r.clock.Now()
	r.answers.Range(func(k, v any) bool {
		if now.Sub(v.(answer).at) >= LookupLifetime {
			r.answers.Delete(k)
		}
		return true
	})
	r.failures.Range(func(k, v any) bool {
		if now.Sub(v.(failure).at) >= LookupLifetime {
			r.failures.Delete(k)
		}
		return true
	})
}

// outdate makes the live answer that is there, and one that is under way, void.
// r.mu is held.
func (r *Ring) outdate(name Name) {
	r.answers.Delete(name)
	if _, ok := r.lookups[name]; ok {
		r.lookups[name] = true
	}
}
