package keyring

import "testing"

// BenchmarkLoaded is the path of every request whose key is loaded: it takes no
// lock, makes no call and should allocate nothing.
func BenchmarkLoaded(b *testing.B) {
	c := newCluster()
	record := c.create(b, orders, 300)
	c.ring.Set(record)
	ctx := b.Context()
	loaded := func(version uint32) error {
		record, err := c.ring.Key(ctx, orders)
		if err == nil {
			_, err = c.ring.Version(ctx, record, version)
		}
		return err
	}
	for name, version := range map[string]uint32{"version 1": 1, "version 300": 300} {
		if err := loaded(version); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := loaded(version); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+" in parallel", func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if err := loaded(version); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func TestLoadedPathAllocatesNothing(t *testing.T) {
	c := newCluster()
	record := c.create(t, orders, 300)
	c.ring.Set(record)
	ctx := t.Context()
	allocs := testing.AllocsPerRun(100, func() {
		record, err := c.ring.Key(ctx, orders)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.ring.Current(ctx, record); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%.0f allocations, want none", allocs)
	}
}
