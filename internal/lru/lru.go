// Package lru is a bounded map for concurrent use that forgets, about, what was
// used least recently.
//
// Reads take the read lock of one shard of many and write nothing that others
// read, so that the hot path of all requests does not queue at one lock. The
// price is exactness: recency is counted in insertions, and what is evicted is
// the least recent of a few entries, not of all.
package lru

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
)

const (
	shards = 64
	// sample is how many entries eviction looks at.
	sample = 8
)

// Map is a bounded map. Make it with New.
type Map[K comparable, V any] struct {
	seed   maphash.Seed
	bound  int
	shards [shards]shard[K, V]
}

type shard[K comparable, V any] struct {
	mu      sync.RWMutex
	entries map[K]*entry[V]
	// insertions is the time that recency is measured in.
	insertions atomic.Int64
}

type entry[V any] struct {
	value V
	used  atomic.Int64
}

// New returns a Map that holds about size entries at most, and at least one per
// shard.
func New[K comparable, V any](size int) *Map[K, V] {
	m := &Map[K, V]{seed: maphash.MakeSeed(), bound: max(1, size/shards)}
	for i := range m.shards {
		m.shards[i].entries = map[K]*entry[V]{}
	}
	return m
}

func (m *Map[K, V]) shard(key K) *shard[K, V] {
	return &m.shards[maphash.Comparable(m.seed, key)%shards]
}

// Get returns the value of key.
func (m *Map[K, V]) Get(key K) (value V, ok bool) {
	s := m.shard(key)
	s.mu.RLock()
	e, ok := s.entries[key]
	s.mu.RUnlock()
	if !ok {
		return value, false
	}
	s.touch(e)
	return e.value, true
}

// GetOrSet returns the value of key, after setting it to what create returns if
// there is none.
func (m *Map[K, V]) GetOrSet(key K, create func() V) V {
	if v, ok := m.Get(key); ok {
		return v
	}
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.entries[key]; ok {
		s.touch(e)
		return e.value
	}
	v := create()
	s.insert(key, v, m.bound)
	return v
}

// Set sets the value of key.
func (m *Map[K, V]) Set(key K, value V) {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.insert(key, value, m.bound)
}

// Delete forgets key.
func (m *Map[K, V]) Delete(key K) {
	s := m.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.entries, key)
}

// Len returns the number of entries.
func (m *Map[K, V]) Len() (n int) {
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.RLock()
		n += len(s.entries)
		s.mu.RUnlock()
	}
	return n
}

// touch notes a use. It writes only if something was inserted since the last
// one: an entry that everybody reads must not become a word that everybody
// writes.
func (s *shard[K, V]) touch(e *entry[V]) {
	if now := s.insertions.Load(); e.used.Load() != now {
		e.used.Store(now)
	}
}

// insert needs the lock.
func (s *shard[K, V]) insert(key K, value V, bound int) {
	if _, ok := s.entries[key]; !ok && len(s.entries) >= bound {
		s.evict()
	}
	// A new entry, not a new value in the old one: readers hold entries without
	// the lock.
	e := &entry[V]{value: value}
	e.used.Store(s.insertions.Add(1))
	s.entries[key] = e
}

// evict needs the lock. The order of iteration over a map is random.
func (s *shard[K, V]) evict() {
	var victim K
	oldest, seen := int64(0), 0
	for key, e := range s.entries {
		if used := e.used.Load(); seen == 0 || used < oldest {
			victim, oldest = key, used
		}
		if seen++; seen == sample {
			break
		}
	}
	delete(s.entries, victim)
}
