package keyring

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/keywright/keywright/internal/keystore"
	"github.com/keywright/keywright/internal/keystore/keystoretest"
)

// cluster is what a Ring sees: the resources, live, and the key store.
type cluster struct {
	store *keystoretest.Fake
	clock *clocktesting.FakePassiveClock
	ring  *Ring

	mu      sync.Mutex
	live    map[Name]Record
	err     error
	lookups int
	// during, if set, runs in a look-up after it has read and before it answers.
	during func(Name)
}

func newCluster() *cluster {
	c := &cluster{
		store: keystoretest.NewFake(),
		clock: clocktesting.NewFakePassiveClock(time.Unix(1e9, 0)),
		live:  map[Name]Record{},
	}
	c.ring = New(c.store, c.lookup, c.clock)
	return c
}

func (c *cluster) lookup(_ context.Context, name Name) (Record, error) {
	c.mu.Lock()
	c.lookups++
	record, ok := c.live[name]
	err, during := c.err, c.during
	c.mu.Unlock()
	if during != nil {
		during(name)
	}
	switch {
	case err != nil:
		return Record{}, err
	case !ok:
		return Record{}, ErrKeyNotFound
	}
	return record, nil
}

// create makes a key with its versions that only a live look-up sees.
func (c *cluster) create(t testing.TB, name Name, versions uint32) Record {
	t.Helper()
	record := Record{Name: name, UID: uuid.NewString(), ID: uuid.New(), Enabled: true}
	for range versions {
		record = c.rotate(t, record)
	}
	c.put(record)
	return record
}

// rotate makes one version more.
func (c *cluster) rotate(t testing.TB, record Record) Record {
	t.Helper()
	record.Latest++
	m := keystoretest.NewMetadata()
	m.ID = keystore.VersionID{Key: record.ID, Version: record.Latest}
	m.Owner = keystore.Owner(record.Name)
	if _, err := c.store.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	c.put(record)
	return record
}

func (c *cluster) put(record Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.live[record.Name] = record
}

func (c *cluster) remove(name Name) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.live, name)
}

func (c *cluster) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = err
}

// asked returns the number of look-ups and of opened versions since the last time.
func (c *cluster) asked() (lookups, opens int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lookups, opens = c.lookups, c.store.Count(keystoretest.MethodOpen)
	c.lookups = 0
	c.store.Reset()
	return lookups, opens
}

// requireAsked fails unless that many calls were made since the last time.
func (c *cluster) requireAsked(t *testing.T, wantLookups, wantOpens int) {
	t.Helper()
	if lookups, opens := c.asked(); lookups != wantLookups || opens != wantOpens {
		t.Fatalf("%d look-ups and %d opens, want %d and %d", lookups, opens, wantLookups, wantOpens)
	}
}

func requireKey(t *testing.T, c *cluster, want Record) {
	t.Helper()
	got, err := c.ring.Key(t.Context(), want.Name)
	if err != nil || got != want {
		t.Fatalf("Key = %+v, %v; want %+v", got, err, want)
	}
}

func requireKeyError(t *testing.T, c *cluster, name Name, want error) {
	t.Helper()
	if got, err := c.ring.Key(t.Context(), name); !errors.Is(err, want) || got != (Record{}) {
		t.Fatalf("Key = %+v, %v; want %v", got, err, want)
	}
}

var orders = Name{Namespace: "team-a", Name: "orders"}
