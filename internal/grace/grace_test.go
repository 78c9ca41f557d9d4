package grace_test

import (
	"context"
	"errors"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keywright/keywright/internal/grace"
)

var (
	yes     = func(context.Context, bool) (string, error) { return "yes", nil }
	no      = func(context.Context, bool) (string, error) { return "", grace.ErrDenied }
	silence = func(context.Context, bool) (string, error) { return "", grace.ErrNoAnswer }
	broken  = func(context.Context, bool) (string, error) { return "", errors.New("too many questions") }
)

// step asks the question after some time has passed.
type step struct {
	after time.Duration
	key   byte
	ask   func(context.Context, bool) (string, error)
	// want is the error, nil for the value yes.
	want error
	// from is where the answer must come from; empty is not checked.
	from grace.Source
}

func TestMemory(t *testing.T) {
	tests := map[string][]step{
		"a fresh value is not asked for again": {
			{ask: yes, from: grace.Miss},
			{after: 9 * time.Second, ask: no, from: grace.Hit},
		},
		"a value that is not fresh is asked for again": {
			{ask: yes},
			{after: 10 * time.Second, ask: no, want: grace.ErrDenied, from: grace.Miss},
		},
		"a fresh denial is not asked for again": {
			{ask: no, want: grace.ErrDenied},
			{after: time.Second, ask: yes, want: grace.ErrDenied, from: grace.Hit},
			{after: time.Second, ask: yes, from: grace.Miss},
		},
		"a value stands in while nobody answers": {
			{ask: yes},
			{after: 10 * time.Second, ask: silence, from: grace.Outage},
			{after: 49 * time.Second, ask: silence, from: grace.Outage},
			{after: time.Second, ask: silence, want: grace.ErrNoAnswer},
		},
		"standing in does not make a value younger": {
			{ask: yes},
			{after: 30 * time.Second, ask: silence, from: grace.Outage},
			{after: 31 * time.Second, ask: silence, want: grace.ErrNoAnswer},
		},
		"after a failure old values are given at once, and one request in a second asks": {
			{ask: yes},
			{after: 10 * time.Second, ask: silence, from: grace.Outage},
			{after: time.Second / 2, ask: no, from: grace.Outage},
			{after: time.Second / 2, ask: no, want: grace.ErrDenied},
		},
		"who was never answered gets no answer": {
			{ask: silence, want: grace.ErrNoAnswer},
		},
		"a question of a stranger that nobody answers tells of no outage": {
			{key: 1, ask: yes},
			{after: 10 * time.Second, key: 2, ask: silence, want: grace.ErrNoAnswer},
			{key: 1, ask: no, want: grace.ErrDenied},
		},
		"a denial forgets the value": {
			{ask: yes},
			{after: 10 * time.Second, ask: no, want: grace.ErrDenied},
			{after: 10 * time.Second, ask: silence, want: grace.ErrNoAnswer},
		},
		"an error that is no answer to the question is passed on": {
			{ask: yes},
			{after: 10 * time.Second, ask: broken, want: errors.New("too many questions")},
			{ask: yes, from: grace.Miss},
		},
		"a clock that is set back keeps nothing alive": {
			{ask: yes},
			{after: -time.Hour, ask: no, want: grace.ErrDenied},
		},
	}
	for name, steps := range tests {
		t.Run(name, func(t *testing.T) {
			clock := clocktesting.NewFakePassiveClock(time.Unix(1e9, 0))
			var from grace.Source
			memory := grace.New[string](grace.Options{
				TTL: 10 * time.Second, DenialTTL: 2 * time.Second, Outage: time.Minute, Size: 100,
				Observe: func(s grace.Source) { from = s },
			}, clock)
			for i, s := range steps {
				clock.SetTime(clock.Now().Add(s.after))
				got, err := memory.Answer(t.Context(), grace.Key{s.key}, s.ask)
				switch {
				case s.want == nil && (err != nil || got != "yes"):
					t.Fatalf("step %d: got %q, %v", i, got, err)
				case s.want != nil && (err == nil || !errors.Is(err, s.want) && err.Error() != s.want.Error()):
					t.Fatalf("step %d: got %q, %v, want error %v", i, got, err, s.want)
				case s.from != "" && s.from != from:
					t.Fatalf("step %d: answer from %s, want %s", i, from, s.from)
				}
			}
		})
	}
}

func TestMemoryAsksOnceForManyWhoWait(t *testing.T) {
	memory := grace.New[string](grace.Options{TTL: time.Minute, Size: 100}, clocktesting.NewFakePassiveClock(time.Unix(1e9, 0)))
	asked, release := make(chan struct{}, 100), make(chan struct{})
	slow := func(context.Context, bool) (string, error) {
		asked <- struct{}{}
		<-release
		return "yes", nil
	}
	answers := make(chan error, 50)
	for range 50 {
		go func() {
			_, err := memory.Answer(t.Context(), grace.Key{}, slow)
			answers <- err
		}()
	}
	<-asked
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := memory.Answer(gone, grace.Key{}, slow); !errors.Is(err, grace.ErrNoAnswer) {
		t.Errorf("a request that is gone waits: %v", err)
	}
	close(release)
	for range 50 {
		if err := <-answers; err != nil {
			t.Error(err)
		}
	}
	if len(asked) != 0 {
		t.Errorf("asked %d more times", len(asked))
	}
}

func TestMemoryHitDoesNotAllocate(t *testing.T) {
	memory := grace.New[*int](grace.Options{TTL: time.Minute, Size: 100}, clocktesting.NewFakePassiveClock(time.Unix(1e9, 0)))
	one := 1
	ask := func(context.Context, bool) (*int, error) { return &one, nil }
	if n := testing.AllocsPerRun(100, func() { _, _ = memory.Answer(t.Context(), grace.Key{}, ask) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
