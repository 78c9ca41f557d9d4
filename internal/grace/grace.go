package grace

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"github.com/keywright/keywright/internal/lru"
)

// Kinds of answers that are no value. An error that wraps neither is passed on and
// changes nothing.
var (
	// ErrDenied says that the answer is no.
	ErrDenied = errors.New("denied")
	// ErrNoAnswer says that nobody answered.
	ErrNoAnswer = errors.New("no answer")
)

// probeInterval is how long one failure to answer stands for others.
const probeInterval = time.Second

// Key is a question: a digest of all that the answer depends on.
type Key [32]byte

// Source says where an answer came from. It is a metric label.
type Source string

// The sources.
const (
	// Hit is a fresh answer from memory.
	Hit Source = "hit"
	// Miss is an answer that was asked for.
	Miss Source = "miss"
	// Outage is an old answer, given because there is no new one.
	Outage Source = "outage"
)

// Options of a Memory.
type Options struct {
	// TTL is how long a value is fresh.
	TTL time.Duration
	// DenialTTL is how long a denial is fresh.
	DenialTTL time.Duration
	// Outage is how long after it was given a value stands in while nobody answers.
	Outage time.Duration
	// Size bounds the number of values, and of denials.
	Size int
	// Observe is told the source of every answer. May be nil.
	Observe func(Source)
}

// Memory remembers answers. It is safe for concurrent use.
type Memory[V any] struct {
	options Options
	clock   clock.PassiveClock

	values  *lru.Map[Key, remembered[V]]
	denials *lru.Map[Key, denial]
	flights singleflight.Group
	// askAgainAt is when the next question is asked after one got no answer, in
	// nanoseconds since the epoch; zero while questions are answered.
	askAgainAt atomic.Int64
}

type remembered[V any] struct {
	value V
	at    time.Time
}

type denial struct {
	err error
	at  time.Time
}

// New returns an empty Memory.
func New[V any](options Options, clock clock.PassiveClock) *Memory[V] {
	return &Memory[V]{
		options: options,
		clock:   clock,
		values:  lru.New[Key, remembered[V]](options.Size),
		denials: lru.New[Key, denial](options.Size),
	}
}

// Fresh returns the value of key if it is fresh. It is the first half of Answer,
// for callers who want no function on the heap while all is well.
func (m *Memory[V]) Fresh(key Key) (V, bool) {
	if r, ok := m.values.Get(key); ok {
		if age := m.clock.Since(r.at); age >= 0 && age < m.options.TTL {
			m.observe(Hit)
			return r.value, true
		}
	}
	var zero V
	return zero, false
}

// Answer returns the answer to key, from memory or from ask. ask runs with the
// values of ctx but without its cancellation, because others may wait for it too:
// it bounds itself. known says whether the key has had an answer recently that
// may still stand in.
//
// Errors: those of ask, and ErrNoAnswer when ctx is done.
func (m *Memory[V]) Answer(ctx context.Context, key Key, ask func(ctx context.Context, known bool) (V, error)) (V, error) {
	now := m.clock.Now()
	old, known := m.values.Get(key)
	age := now.Sub(old.at)
	// A clock that was set back must not make an answer live longer than it would
	// have: what comes from the future is as good as not known.
	known = known && age >= 0 && age < max(m.options.Outage, m.options.TTL)
	if known && age < m.options.TTL {
		m.observe(Hit)
		return old.value, nil
	}
	if known && !m.mayAsk(now) {
		m.observe(Outage)
		return old.value, nil
	}
	if d, ok := m.denials.Get(key); ok && !known {
		if age := now.Sub(d.at); age >= 0 && age < m.options.DenialTTL {
			m.observe(Hit)
			var zero V
			return zero, d.err
		}
	}
	value, err := m.ask(ctx, key, known, ask)
	if known && errors.Is(err, ErrNoAnswer) && m.stillThere(key) {
		m.observe(Outage)
		return old.value, nil
	}
	m.observe(Miss)
	return value, err
}

// Forget drops the value of key.
func (m *Memory[V]) Forget(key Key) { m.values.Delete(key) }

// stillThere is false if a denial came in while this request waited for its own
// answer.
func (m *Memory[V]) stillThere(key Key) bool {
	_, ok := m.values.Get(key)
	return ok
}

// mayAsk reports whether questions are being answered, or it is the turn of this
// one to find out.
func (m *Memory[V]) mayAsk(now time.Time) bool {
	at := m.askAgainAt.Load()
	if at == 0 {
		return true
	}
	// A time that is too far ahead is from before the clock was set back.
	if n := now.UnixNano(); n < at && at-n <= int64(probeInterval) {
		return false
	}
	return m.askAgainAt.CompareAndSwap(at, now.Add(probeInterval).UnixNano())
}

func (m *Memory[V]) ask(ctx context.Context, key Key, known bool, ask func(ctx context.Context, known bool) (V, error)) (value V, err error) {
	flight := m.flights.DoChan(string(key[:]), func() (any, error) {
		// The answer is as old as the question: it may tell of the moment right
		// after it was asked.
		asked := m.clock.Now()
		value, err := ask(context.WithoutCancel(ctx), known)
		switch {
		case err == nil:
			m.values.Set(key, remembered[V]{value: value, at: asked})
			m.denials.Delete(key)
			m.askAgainAt.Store(0)
		case errors.Is(err, ErrDenied):
			m.values.Delete(key)
			m.denials.Set(key, denial{err: err, at: asked})
			m.askAgainAt.Store(0)
		case known && errors.Is(err, ErrNoAnswer):
			// Only a question that was answered before tells of an outage. Who asks
			// what nobody can answer must not make old answers last longer.
			m.askAgainAt.Store(m.clock.Now().Add(probeInterval).UnixNano())
		}
		return value, err
	})
	select {
	case <-ctx.Done():
		return value, errors.Join(ErrNoAnswer, ctx.Err())
	case result := <-flight:
		return result.Val.(V), result.Err
	}
}

func (m *Memory[V]) observe(s Source) {
	if m.options.Observe != nil {
		m.options.Observe(s)
	}
}
