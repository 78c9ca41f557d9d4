package lru_test

import (
	"strconv"
	"sync"
	"testing"

	"github.com/keywright/keywright/internal/lru"
)

func TestMap(t *testing.T) {
	m := lru.New[string, int](1000)
	if _, ok := m.Get("a"); ok {
		t.Fatal("an empty map has an entry")
	}
	m.Set("a", 1)
	m.Set("a", 2)
	if v, ok := m.Get("a"); !ok || v != 2 {
		t.Fatalf("got %d, %t", v, ok)
	}
	if v := m.GetOrSet("a", func() int { return 3 }); v != 2 {
		t.Fatalf("GetOrSet replaced the value: %d", v)
	}
	m.Delete("a")
	if v := m.GetOrSet("a", func() int { return 3 }); v != 3 || m.Len() != 1 {
		t.Fatalf("got %d, len %d", v, m.Len())
	}
}

func TestMapIsBoundedAndKeepsWhatIsUsed(t *testing.T) {
	const size = 64 * 16
	m := lru.New[string, int](size)
	m.Set("hot", 1)
	for i := range 20 * size {
		m.Set(strconv.Itoa(i), i)
		if _, ok := m.Get("hot"); !ok {
			t.Fatalf("forgot an entry that is always in use, after %d insertions", i)
		}
	}
	if n := m.Len(); n > size {
		t.Fatalf("%d entries, want at most %d", n, size)
	}
}

func TestMapReadsDoNotAllocate(t *testing.T) {
	m := lru.New[[32]byte, *int](1000)
	key, one := [32]byte{1}, 1
	m.Set(key, &one)
	if n := testing.AllocsPerRun(100, func() { m.Get(key) }); n != 0 {
		t.Fatalf("%v allocations per read", n)
	}
}

func TestMapConcurrently(t *testing.T) {
	m := lru.New[int, int](100)
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range 2000 {
				m.Set(i%300, g)
				m.Get((i * 7) % 300)
				m.GetOrSet(i%50, func() int { return g })
				m.Delete(i % 20)
			}
		})
	}
	group.Wait()
}
