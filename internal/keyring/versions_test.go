package keyring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
)

func requireVersion(t *testing.T, c *cluster, record Record, version uint32) {
	t.Helper()
	key, err := c.ring.Version(t.Context(), record, version)
	if err != nil {
		t.Fatal(err)
	}
	if want := (keystore.VersionID{Key: record.ID, Version: version}); key.Metadata().ID != want {
		t.Fatalf("Version %d = %v", version, key.Metadata().ID)
	}
}

func requireVersionError(t *testing.T, c *cluster, record Record, version uint32, want error) error {
	t.Helper()
	key, err := c.ring.Version(t.Context(), record, version)
	if !errors.Is(err, want) || key != nil {
		t.Fatalf("Version %d = %v, %v; want %v", version, key, err, want)
	}
	return err
}

func TestVersionsAreOpenedOnce(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 3)
	c.ring.Set(record)
	c.asked()
	for range 3 {
		for version := uint32(1); version <= 3; version++ {
			requireVersion(t, c, record, version)
		}
		key, err := c.ring.Current(t.Context(), record)
		if err != nil || key.Metadata().ID.Version != 3 {
			t.Fatalf("Current = %v, %v", key, err)
		}
	}
	c.requireAsked(t, 0, 3)
}

func TestVersionsThatWereNeverPromised(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 2)
	c.ring.Set(record)
	for name, row := range map[string]struct {
		version uint32
		lookups int
	}{
		"version 0":                          {0, 0},
		"the next one":                       {3, 1},
		"the last that is worth a look-up":   {2 + lookahead, 1},
		"the first that is not":              {3 + lookahead, 0},
		"the highest there can be":           {1<<32 - 1, 0},
		"one that a careless sum would wrap": {1<<32 - lookahead, 0},
	} {
		t.Run(name, func(t *testing.T) {
			c.asked()
			if err := requireVersionError(t, c, record, row.version, ErrNoVersion); errors.Is(err, ErrUnavailable) {
				t.Errorf("the error is %v", err)
			}
			c.requireAsked(t, row.lookups, 0)
		})
	}
}

func TestVersionThatTheWatchHasNotBrought(t *testing.T) {
	c := newCluster()
	old := c.create(t, orders, 1)
	c.ring.Set(old)
	c.rotate(t, old)
	c.asked()
	requireVersion(t, c, old, 2)
	c.requireAsked(t, 1, 1)
	// A negative answer is not kept: the next ciphertext may be of a version that
	// was made since.
	requireVersionError(t, c, old, 3, ErrNoVersion)
	c.rotate(t, c.live[orders])
	requireVersion(t, c, old, 3)
}

func TestVersionWhileTheKeyGoesAway(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 1)
	c.ring.Set(record)
	c.fail(fmt.Errorf("%w: the API server is away", ErrUnavailable))
	requireVersionError(t, c, record, 2, ErrUnavailable)
	requireVersion(t, c, record, 1)
	c.fail(nil)
	c.remove(orders)
	requireVersionError(t, c, record, 2, ErrNoVersion)
	other := c.create(t, orders, 5)
	if other.ID == record.ID {
		t.Fatal("the ids are the same")
	}
	requireVersionError(t, c, record, 2, ErrNoVersion)
}

// TestSharedLookupMayBeTooOld has a look-up that has read before a rotation, and a
// request for the new version that joins it.
func TestSharedLookupMayBeTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		old := c.create(t, orders, 1)
		c.ring.Set(old)
		block := make(chan struct{})
		c.during = func(Name) { <-block }
		early, late := make(chan error), make(chan error)
		go func() {
			_, err := c.ring.Version(t.Context(), old, 2)
			early <- err
		}()
		synctest.Wait()
		c.rotate(t, old)
		go func() {
			_, err := c.ring.Version(t.Context(), old, 2)
			late <- err
		}()
		synctest.Wait()
		close(block)
		if err := <-late; err != nil {
			t.Errorf("the request that came after the rotation: %v", err)
		}
		if err := <-early; err != nil && !errors.Is(err, ErrNoVersion) {
			t.Errorf("the request that came before the rotation: %v", err)
		}
	})
}

func TestMissingAndCorruptMaterial(t *testing.T) {
	for name, row := range map[string]struct {
		harm func(*keystoretest.Fake, keystore.VersionID)
		want error
	}{
		"missing":           {(*keystoretest.Fake).Lose, keystore.ErrNotFound},
		"corrupt":           {(*keystoretest.Fake).Corrupt, keystore.ErrCorrupt},
		"cannot be reached": {func(f *keystoretest.Fake, _ keystore.VersionID) { f.FailNext(keystore.ErrUnavailable) }, keystore.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster()
			record := c.create(t, orders, 2)
			c.ring.Set(record)
			c.asked()
			row.harm(c.store, keystore.VersionID{Key: record.ID, Version: 1})
			requireVersionError(t, c, record, 1, row.want)
			// The failure is kept for a moment, and the other version is not its business.
			err := requireVersionError(t, c, record, 1, ErrUnavailable)
			if errors.Is(err, ErrNoVersion) {
				t.Errorf("a version that was promised is not there, and the error is %v", err)
			}
			requireVersion(t, c, record, 2)
			c.requireAsked(t, 0, 2)

			m := keystoretest.NewMetadata()
			m.ID, m.Owner = keystore.VersionID{Key: record.ID, Version: 1}, keystore.Owner(orders)
			c.store.Lose(m.ID)
			if _, err := c.store.Create(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			requireVersionError(t, c, record, 1, ErrUnavailable)
			c.clock.SetTime(c.clock.Now().Add(LookupLifetime))
			requireVersion(t, c, record, 1)
		})
	}
}

// TestOpenVersionsOutliveTheirStore is promise 7: what is loaded works on.
func TestOpenVersionsOutliveTheirStore(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 1)
	c.ring.Set(record)
	requireVersion(t, c, record, 1)
	c.store.Lose(keystore.VersionID{Key: record.ID, Version: 1})
	c.clock.SetTime(c.clock.Now().Add(100 * LookupLifetime))
	requireVersion(t, c, record, 1)
}

// TestForgedAnnotation has a resource with the id of somebody else's key in its
// annotation. It must look like a key whose material is gone.
func TestForgedAnnotation(t *testing.T) {
	c := newCluster()
	victim := c.create(t, orders, 3)
	c.ring.Set(victim)
	requireVersion(t, c, victim, 3)
	gone := c.create(t, Name{Namespace: "team-b", Name: "gone"}, 3)
	for version := uint32(1); version <= 3; version++ {
		c.store.Lose(keystore.VersionID{Key: gone.ID, Version: version})
	}
	for name, forger := range map[string]Name{
		"in another namespace":         {Namespace: "team-b", Name: "orders"},
		"under another name":           {Namespace: "team-a", Name: "order"},
		"with the border moved":        {Namespace: "team-a-orders", Name: ""},
		"with the border moved by one": {Namespace: "team-", Name: "aorders"},
	} {
		t.Run(name, func(t *testing.T) {
			forged := Record{Name: forger, UID: "forged", ID: victim.ID, Latest: 3, Enabled: true}
			c.ring.Set(forged)
			for version := uint32(1); version <= 3; version++ {
				err := requireVersionError(t, c, forged, version, ErrUnavailable)
				if !errors.Is(err, keystore.ErrNotFound) {
					t.Errorf("the error is %v, want ErrUnavailable for ErrNotFound", err)
				}
				missing := requireVersionError(t, c, gone, version, ErrUnavailable)
				for _, sentinel := range []error{ErrUnavailable, ErrNoVersion, ErrKeyNotFound, keystore.ErrNotFound, keystore.ErrCorrupt, keystore.ErrUnavailable} {
					if errors.Is(err, sentinel) != errors.Is(missing, sentinel) {
						t.Errorf("the forger sees %v, and %v when material is missing", err, missing)
					}
				}
			}
			// As with missing material, the store is not asked again for a moment.
			c.asked()
			requireVersionError(t, c, forged, 3, keystore.ErrNotFound)
			c.requireAsked(t, 0, 0)

			// Nor does the forger take from the victim what is open.
			c.ring.Remove(forger)
			c.store.FailNext(keystore.ErrUnavailable)
			requireVersion(t, c, victim, 3)
			c.asked()
		})
	}
}

// TestForgedFailureDoesNotSpread has a forger that asks for the next version of
// somebody else's key until the moment in which it is made.
func TestForgedFailureDoesNotSpread(t *testing.T) {
	c := newCluster()
	victim := c.create(t, orders, 1)
	c.ring.Set(victim)
	forged := Record{Name: Name{Namespace: "team-b", Name: "orders"}, ID: victim.ID, Latest: 2, Enabled: true}
	requireVersionError(t, c, forged, 2, keystore.ErrNotFound)
	victim = c.rotate(t, victim)
	c.ring.Set(victim)
	requireVersion(t, c, victim, 2)
}

func TestOpensAreShared(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 4)
	c.ring.Set(record)
	c.asked()
	var group sync.WaitGroup
	start := make(chan struct{})
	for i := range 100 {
		group.Go(func() {
			<-start
			version := uint32(i%4) + 1
			if key, err := c.ring.Version(t.Context(), record, version); err != nil || key.Metadata().ID.Version != version {
				t.Errorf("Version %d = %v, %v", version, key, err)
			}
		})
	}
	close(start)
	group.Wait()
	c.requireAsked(t, 0, 4)
}

func TestCancelledOpen(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 1)
	c.ring.Set(record)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	// Whether the open or the cancelled context is seen first is chance.
	if key, err := c.ring.Current(ctx, record); err != nil {
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, context.Canceled) || key != nil {
			t.Errorf("Current = %v, %v; want ErrUnavailable for the cancelled context", key, err)
		}
	}
	requireVersion(t, c, record, 1)
}

// TestEverythingAtOnce is for the race detector.
func TestEverythingAtOnce(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 3)
	stop := make(chan struct{})
	var writers, readers sync.WaitGroup
	writers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				c.ring.Set(record)
				c.clock.SetTime(c.clock.Now().Add(LookupLifetime / 3))
				c.ring.Remove(orders)
				c.ring.Len()
				c.ring.Each(func(Record) {})
			}
		}
	})
	for range 4 {
		readers.Go(func() {
			for i := range 500 {
				got, err := c.ring.Key(t.Context(), orders)
				if errors.Is(err, ErrUnavailable) {
					continue // the watch would not stand still
				}
				if err != nil || got != record {
					t.Errorf("Key = %+v, %v", got, err)
					return
				}
				version := uint32(i%4) + 1
				key, err := c.ring.Version(t.Context(), got, version)
				switch {
				case version == 4 && (errors.Is(err, ErrNoVersion) || errors.Is(err, ErrUnavailable)):
				case err != nil || key.Metadata().ID.Version != version:
					t.Errorf("Version %d = %v, %v", version, key, err)
					return
				}
			}
		})
	}
	readers.Wait()
	close(stop)
	writers.Wait()
}
