// Package keyring is what a server knows of keys, in memory: from namespace and
// name to the key's record, and from a key version to the open key.
//
// # Usage
//
// Feed Set and Remove from a watch. Requests call Key, then Current or Version of
// what it returned. Reads of what is loaded take no lock and make no call.
//
// # Implementation details
//
// What the watch has not brought yet is looked up live, once however many
// requests wait for it, and the answer (also "there is none") is kept for a
// moment only: it bridges the lag of the watch and never outlives a record that
// the watch has brought or taken away.
//
// A record is a claim, made by annotations that people can edit. The proof is
// the metadata that is sealed with the material: a version whose sealed owner or
// id is another one does not exist for this key.
//
// # Trade-offs
//
// Opened versions stay in memory until their key is removed. Their number is
// bounded by the versions that exist and that somebody used; a software version
// takes about a kilobyte.
package keyring

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"
	"k8s.io/utils/clock"

	"github.com/keywright/keywright/internal/keystore"
)

// Errors of a Ring. They are wrapped; compare with errors.Is.
var (
	// ErrKeyNotFound is returned when there is no such key.
	ErrKeyNotFound = errors.New("key not found")
	// ErrNoVersion is returned when the key has no such version and never
	// promised it.
	ErrNoVersion = errors.New("key has no such version")
	// ErrUnavailable is returned when the key or version cannot be had at the
	// moment: it is being created, its material is missing or corrupt, or the key
	// store or the API server does not answer.
	ErrUnavailable = errors.New("key unavailable")
)

// lookahead is how many versions past the latest known one are worth a live
// look-up. It bounds what somebody who may decrypt can make the API server do by
// inventing version numbers, and is more rotations than a watch can lag behind.
const lookahead = 64

// Name is the namespace and name of a key.
type Name struct {
	Namespace string
	Name      string
}

// Record is what the EncryptionKey says. It is immutable.
type Record struct {
	Name Name
	// UID is the UID of the resource.
	UID string
	// ID is the id of the key; the zero value while it is being created.
	ID keystore.KeyID
	// Latest is the newest version that was stored; it encrypts. Zero while the key
	// is being created.
	Latest uint32
	// Enabled says whether the owner allows crypto operations.
	Enabled bool
}

// Lookup reads a record from where it rests. Errors: ErrKeyNotFound,
// ErrUnavailable.
type Lookup func(ctx context.Context, name Name) (Record, error)

// Ring holds records and open key versions. It is safe for concurrent use.
type Ring struct {
	store  keystore.Store
	lookup Lookup
	clock  clock.PassiveClock

	records  sync.Map // Name -> Record, from the watch
	answers  sync.Map // Name -> answer, from live look-ups, for LookupLifetime
	versions sync.Map // claim -> *sync.Map of uint32 -> keystore.Key
	failures sync.Map // claimedVersion -> failure, for LookupLifetime
	flights  singleflight.Group

	// mu puts the end of a look-up in order with Set and Remove. Reads of what is
	// loaded do not take it.
	mu sync.Mutex
	// lookups are the look-ups that are going on; true once the watch has brought
	// something that they may not have seen.
	lookups map[Name]bool
}

// claim is a key as one resource names it. What was opened is kept by claim and
// not by key, so that nobody can, with the id of somebody else's key in an
// annotation, evict what the other has open.
type claim struct {
	name Name
	id   keystore.KeyID
}

// claimedVersion is a version as one resource names it.
type claimedVersion struct {
	claim
	version uint32
}

type answer struct {
	record Record
	err    error
	at     time.Time
}

type failure struct {
	err error
	at  time.Time
}

// New returns an empty Ring that opens versions in store and looks unknown keys
// up with lookup.
func New(store keystore.Store, lookup Lookup, clock clock.PassiveClock) *Ring {
	return &Ring{store: store, lookup: lookup, clock: clock, lookups: map[Name]bool{}}
}

// Set stores what the watch says of a key.
func (r *Ring) Set(record Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, loaded := r.records.Swap(record.Name, record)
	r.outdate(record.Name)
	if loaded && old.(Record).ID != record.ID {
		r.versions.Delete(claim{record.Name, old.(Record).ID})
	}
}

// Remove forgets a key that the watch says is gone.
func (r *Ring) Remove(name Name) {
	r.mu.Lock()
	defer r.mu.Unlock()
	old, loaded := r.records.LoadAndDelete(name)
	r.outdate(name)
	if loaded {
		r.versions.Delete(claim{name, old.(Record).ID})
	}
}

// Len returns the number of records and of open versions.
func (r *Ring) Len() (records, versions int) {
	count := func(m *sync.Map) (n int) {
		m.Range(func(any, any) bool { n++; return true })
		return n
	}
	r.versions.Range(func(_, v any) bool { versions += count(v.(*sync.Map)); return true })
	return count(&r.records), versions
}

// Each calls f for every record that the watch has brought.
func (r *Ring) Each(f func(Record)) {
	r.records.Range(func(_, v any) bool { f(v.(Record)); return true })
}

// Key returns the record of a key. Errors: ErrKeyNotFound, ErrUnavailable.
func (r *Ring) Key(ctx context.Context, name Name) (Record, error) {
	if v, ok := r.records.Load(name); ok {
		record := v.(Record)
		if record.Latest != 0 {
			return record, nil
		}
		// The watch has brought the key before its first version: it may be there
		// by now.
	}
	record, err := r.recent(ctx, name)
	if err != nil {
		return Record{}, err
	}
	if record.Latest == 0 {
		return Record{}, fmt.Errorf("%w: its first version is not stored yet", ErrUnavailable)
	}
	return record, nil
}

// Current opens the version of a key that encrypts. Errors: ErrUnavailable.
func (r *Ring) Current(ctx context.Context, record Record) (keystore.Key, error) {
	return r.promised(ctx, record, record.Latest)
}

// Version opens the version of a key that a ciphertext names. Errors:
// ErrNoVersion, ErrUnavailable.
func (r *Ring) Version(ctx context.Context, record Record, version uint32) (keystore.Key, error) {
	if version > record.Latest {
		// Another replica may have seen a rotation that the watch has not brought
		// here. The resource told of it before anybody encrypted with it, so a
		// look-up that begins now sees it.
		if version-record.Latest > lookahead {
			return nil, ErrNoVersion
		}
		fresh, shared, err := r.live(ctx, record.Name)
		if err == nil && shared && version > fresh.Latest {
			fresh, _, err = r.live(ctx, record.Name)
		}
		switch {
		case errors.Is(err, ErrKeyNotFound):
			return nil, ErrNoVersion
		case err != nil:
			return nil, err
		case fresh.ID != record.ID || version > fresh.Latest:
			return nil, ErrNoVersion
		}
	}
	if version == 0 {
		return nil, ErrNoVersion
	}
	return r.promised(ctx, record, version)
}

// promised opens a version that must exist.
func (r *Ring) promised(ctx context.Context, record Record, version uint32) (keystore.Key, error) {
	key, err := r.open(ctx, claim{record.Name, record.ID}, version)
	if err != nil {
		return nil, fmt.Errorf("%w: version %d: %w", ErrUnavailable, version, err)
	}
	return key, nil
}

// open returns an open version, its ownership checked.
func (r *Ring) open(ctx context.Context, claim claim, version uint32) (keystore.Key, error) {
	loaded, ok := r.versions.Load(claim)
	if !ok {
		loaded, _ = r.versions.LoadOrStore(claim, &sync.Map{})
	}
	versions := loaded.(*sync.Map)
	if v, ok := versions.Load(version); ok {
		return v.(keystore.Key), nil
	}
	failed := claimedVersion{claim, version}
	if v, ok := r.failures.Load(failed); ok {
		if f := v.(failure); r.clock.Since(f.at) < LookupLifetime {
			return nil, f.err
		}
	}
	flight := r.flights.DoChan(fmt.Sprintf("version\x00%s\x00%s\x00%s\x00%d", claim.name.Namespace, claim.name.Name, claim.id, version), func() (any, error) {
		if v, ok := versions.Load(version); ok {
			// Another flight has landed since.
			return v, nil
		}
		ctx, cancel := flightContext(ctx)
		defer cancel()
		key, err := r.openOwn(ctx, claim, version)
		if err != nil {
			r.failures.Store(failed, failure{err: err, at: r.clock.Now()})
			r.sweep()
			return nil, err
		}
		versions.Store(version, key)
		return key, nil
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-flight:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(keystore.Key), nil
	}
}

// openOwn opens a version in the store if the resource of the claim owns it.
func (r *Ring) openOwn(ctx context.Context, claim claim, version uint32) (keystore.Key, error) {
	id := keystore.VersionID{Key: claim.id, Version: version}
	key, err := r.store.Open(ctx, id)
	if err != nil {
		return nil, err
	}
	m := key.Metadata()
	if m.ID != id || m.Owner.Namespace != claim.name.Namespace || m.Owner.Name != claim.name.Name {
		// Somebody wrote the id of a key that is not theirs into the annotation. To
		// them it must look like a key whose material is gone.
		return nil, keystore.ErrNotFound
	}
	return key, nil
}
