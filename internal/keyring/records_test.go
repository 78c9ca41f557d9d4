package keyring

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/uuid"
)

func TestWatchAnswersWithoutLookup(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 1)
	c.ring.Set(record)
	for range 3 {
		requireKey(t, c, record)
	}
	c.requireAsked(t, 0, 0)
	// What the watch says goes before what a look-up would say.
	disabled := record
	disabled.Enabled = false
	c.ring.Set(disabled)
	requireKey(t, c, disabled)
	c.requireAsked(t, 0, 0)
}

func TestLookupBridgesTheLagOfTheWatch(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 1)
	requireKey(t, c, record)
	requireKey(t, c, record)
	c.requireAsked(t, 1, 0)

	c.clock.SetTime(c.clock.Now().Add(LookupLifetime - 1))
	requireKey(t, c, record)
	c.requireAsked(t, 0, 0)
	c.clock.SetTime(c.clock.Now().Add(1))
	c.remove(orders)
	requireKeyError(t, c, orders, ErrKeyNotFound)
	c.requireAsked(t, 1, 0)
}

func TestNegativeAnswersExpire(t *testing.T) {
	c := newCluster()
	requireKeyError(t, c, orders, ErrKeyNotFound)
	record := c.create(t, orders, 1)
	requireKeyError(t, c, orders, ErrKeyNotFound)
	c.requireAsked(t, 1, 0)
	c.clock.SetTime(c.clock.Now().Add(LookupLifetime))
	requireKey(t, c, record)
	c.requireAsked(t, 1, 0)
}

func TestWatchEndsNegativeAnswers(t *testing.T) {
	c := newCluster()
	requireKeyError(t, c, orders, ErrKeyNotFound)
	record := c.create(t, orders, 1)
	c.ring.Set(record)
	requireKey(t, c, record)
}

func TestFailedLookupsAreNotKept(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 1)
	c.fail(fmt.Errorf("%w: the API server is away", ErrUnavailable))
	requireKeyError(t, c, orders, ErrUnavailable)
	c.fail(nil)
	requireKey(t, c, record)
	c.requireAsked(t, 2, 0)
}

func TestKeyBeforeItsFirstVersion(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 1)
	creating := Record{Name: orders, UID: record.UID, Enabled: true}
	c.put(creating)
	c.ring.Set(creating)
	requireKeyError(t, c, orders, ErrUnavailable)
	c.put(record)
	requireKeyError(t, c, orders, ErrUnavailable) // for a moment
	c.requireAsked(t, 1, 0)
	c.clock.SetTime(c.clock.Now().Add(LookupLifetime))
	requireKey(t, c, record)
	c.requireAsked(t, 1, 0)
}

func TestRemovedKeyIsLookedUp(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 1)
	c.ring.Set(record)
	c.remove(orders)
	c.ring.Remove(orders)
	requireKeyError(t, c, orders, ErrKeyNotFound)
	// It came back before the watch says so.
	c.put(record)
	c.clock.SetTime(c.clock.Now().Add(LookupLifetime))
	requireKey(t, c, record)
	c.ring.Remove(Name{Namespace: "team-a", Name: "never seen"})
}

// TestWatchWinsOverLateAnswers has a look-up that has read before the watch brings
// a change, and answers after it.
func TestWatchWinsOverLateAnswers(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 1)
	recreated := Record{Name: orders, UID: "another", Enabled: true}
	for name, row := range map[string]struct {
		change func()
		want   error
	}{
		"the key was removed": {func() { c.remove(orders); c.ring.Remove(orders) }, ErrKeyNotFound},
		"the key was removed and made again": {func() {
			c.put(recreated)
			c.ring.Remove(orders)
			c.ring.Set(recreated)
		}, ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c.put(record)
			c.ring.Remove(orders)
			c.asked()
			changed := false
			c.during = func(Name) {
				if !changed {
					changed = true
					row.change()
				}
			}
			requireKeyError(t, c, orders, row.want)
			c.requireAsked(t, 2, 0)
			// Nor is the late answer kept for the next one.
			requireKeyError(t, c, orders, row.want)
			c.requireAsked(t, 0, 0)
			c.during = nil
		})
	}
	t.Run("a key that never stands still is unavailable", func(t *testing.T) {
		c.put(record)
		c.ring.Remove(orders)
		c.asked()
		c.during = c.ring.Remove
		requireKeyError(t, c, orders, ErrUnavailable)
		c.requireAsked(t, maxLookups, 0)
	})
}

func TestLookupsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		record := c.create(t, orders, 1)
		block := make(chan struct{})
		c.during = func(Name) { <-block }
		const requests = 100
		errs := make(chan error, requests)
		for range requests {
			go func() {
				got, err := c.ring.Key(t.Context(), orders)
				if err == nil && got != record {
					err = fmt.Errorf("Key = %+v", got)
				}
				errs <- err
			}()
		}
		synctest.Wait()
		close(block)
		for range requests {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		c.requireAsked(t, 1, 0)
	})
}

// TestCancelledRequestsLeaveTheOthers cancels the request that began the look-up.
func TestCancelledRequestsLeaveTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		record := c.create(t, orders, 1)
		block := make(chan struct{})
		c.during = func(Name) { <-block }
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error), make(chan error)
		go func() {
			_, err := c.ring.Key(ctx, orders)
			first <- err
		}()
		synctest.Wait()
		go func() {
			_, err := c.ring.Key(t.Context(), orders)
			second <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-first; !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) {
			t.Errorf("the cancelled request = %v, want ErrUnavailable for the cancelled context", err)
		}
		close(block)
		if err := <-second; err != nil {
			t.Errorf("the other request = %v", err)
		}
		c.requireAsked(t, 1, 0)
		requireKey(t, c, record)
	})
}

// TestHangingLookupEnds has an API server that accepts the look-up and never
// answers: who asks later must not wait for it for ever.
func TestHangingLookupEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		hang := true
		var ended error
		ring := New(c.store, func(ctx context.Context, name Name) (Record, error) {
			if hang {
				<-ctx.Done()
				ended = ctx.Err()
				return Record{}, fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
			}
			return c.lookup(ctx, name)
		}, c.clock)
		if _, err := ring.Key(t.Context(), orders); !errors.Is(err, ErrUnavailable) {
			t.Fatalf("Key = %v, want ErrUnavailable", err)
		}
		if !errors.Is(ended, context.DeadlineExceeded) {
			t.Errorf("the look-up ended with %v", ended)
		}
		hang = false
		if _, err := ring.Key(t.Context(), orders); !errors.Is(err, ErrKeyNotFound) {
			t.Errorf("Key afterwards = %v, want ErrKeyNotFound", err)
		}
	})
}

func TestLenAndEach(t *testing.T) {
	c := newCluster()
	a, b := c.create(t, orders, 2), c.create(t, Name{Namespace: "team-b", Name: "orders"}, 1)
	c.ring.Set(a)
	c.ring.Set(b)
	for _, version := range []uint32{1, 2} {
		if _, err := c.ring.Version(t.Context(), a, version); err != nil {
			t.Fatal(err)
		}
	}
	if records, versions := c.ring.Len(); records != 2 || versions != 2 {
		t.Errorf("Len = %d, %d, want 2, 2", records, versions)
	}
	seen := map[Record]bool{}
	c.ring.Each(func(r Record) { seen[r] = true })
	if len(seen) != 2 || !seen[a] || !seen[b] {
		t.Errorf("Each saw %v", seen)
	}
	c.ring.Remove(a.Name)
	if records, versions := c.ring.Len(); records != 1 || versions != 0 {
		t.Errorf("Len after Remove = %d, %d, want 1, 0", records, versions)
	}
}

// TestInventedNamesLeaveNothingBehind asks for a thousand names that do not exist.
func TestInventedNamesLeaveNothingBehind(t *testing.T) {
	c := newCluster()
	for i := range 1000 {
		requireKeyError(t, c, Name{Namespace: "team-a", Name: fmt.Sprint(i)}, ErrKeyNotFound)
	}
	c.clock.SetTime(c.clock.Now().Add(LookupLifetime))
	requireKeyError(t, c, orders, ErrKeyNotFound)
	kept := 0
	c.ring.answers.Range(func(any, any) bool { kept++; return true })
	if kept != 1 || len(c.ring.lookups) != 0 {
		t.Errorf("%d answers and %d look-ups are kept, want 1 and 0", kept, len(c.ring.lookups))
	}
}

func TestSetWithAnotherIDForgetsTheOldOne(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 1)
	c.ring.Set(record)
	if _, err := c.ring.Current(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	other := record
	other.ID = uuid.New()
	c.ring.Set(other)
	if _, versions := c.ring.Len(); versions != 0 {
		t.Errorf("%d versions are open", versions)
	}
	c.asked()
	c.ring.Set(record)
	if _, err := c.ring.Current(t.Context(), record); err != nil {
		t.Fatal(err)
	}
	c.requireAsked(t, 0, 1)
}
