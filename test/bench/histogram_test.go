package main

import (
	"math"
	"testing"
	"time"
)

func TestBucketsCoverEveryValueOnce(t *testing.T) {
	last := -1
	for _, ns := range []uint64{0, 1, 63, 64, 127, 128, 129, 130, 255, 256, 1000, 1e6, 1e9, 60e9, math.MaxInt64} {
		b := bucketOf(ns)
		if b < last || b >= buckets {
			t.Fatalf("bucketOf(%d) = %d after %d, of %d", ns, b, last, buckets)
		}
		last = b
		upper := upperBound(b)
		if upper < ns {
			t.Errorf("upperBound(bucketOf(%d)) = %d, less than the value", ns, upper)
		}
		if float64(upper-ns) > float64(ns)/subBuckets {
			t.Errorf("upperBound(bucketOf(%d)) = %d, off by more than one part in %d", ns, upper, subBuckets)
		}
	}
	for b := range bucketOf(1 << 40) {
		if got := bucketOf(upperBound(b)); got != b {
			t.Fatalf("bucketOf(upperBound(%d)) = %d", b, got)
		}
		if got := bucketOf(upperBound(b) + 1); got != b+1 {
			t.Fatalf("bucketOf(upperBound(%d)+1) = %d", b, got)
		}
	}
}

func TestPercentile(t *testing.T) {
	hundred := &histogram{}
	for i := 1; i <= 100; i++ {
		hundred.record(time.Duration(i)) // exact: below 128 every value has its bucket
	}
	one := &histogram{}
	one.record(7)
	negative := &histogram{}
	negative.record(-time.Second) // a clock that was set back
	for name, test := range map[string]struct {
		h    *histogram
		p    float64
		want time.Duration
	}{
		"empty":                {&histogram{}, 50, 0},
		"median of 1 to 100":   {hundred, 50, 50},
		"p99 of 1 to 100":      {hundred, 99, 99},
		"p99.5 rounds up":      {hundred, 99.5, 100},
		"p0 is the least":      {hundred, 0, 1},
		"p100 is the most":     {hundred, 100, 100},
		"one value is all":     {one, 99, 7},
		"negative counts as 0": {negative, 50, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := test.h.percentile(test.p); got != test.want {
				t.Errorf("percentile(%g) = %d, want %d", test.p, got, test.want)
			}
		})
	}
}

func TestMergeAddsUp(t *testing.T) {
	var a, b histogram
	a.record(10)
	b.record(20)
	b.record(30)
	a.merge(&b)
	if a.total != 3 || a.percentile(50) != 20 || a.percentile(100) != 30 {
		t.Errorf("total %d, p50 %d, p100 %d", a.total, a.percentile(50), a.percentile(100))
	}
}
