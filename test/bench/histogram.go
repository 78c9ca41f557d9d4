package main

import (
	"math"
	"math/bits"
	"time"
)

const (
	// subBits is how finely each power of two is divided: a value is off by at most
	// one part in 64.
	subBits    = 6
	subBuckets = 1 << subBits
	// buckets is enough for every positive int64.
	buckets = (64 - subBits) * subBuckets
)

// histogram counts durations in buckets of constant relative width. The zero value
// is empty. It is not safe for concurrent use: every worker has its own.
type histogram struct {
	counts [buckets]uint64
	total  uint64
}

// bucketOf returns the bucket of a number of nanoseconds. Below 2*subBuckets every
// value has its own.
func bucketOf(ns uint64) int {
	shift := max(bits.Len64(ns)-subBits-1, 0)
	return shift<<subBits + int(ns>>shift)
}

// upperBound returns the largest number of nanoseconds in a bucket.
func upperBound(bucket int) uint64 {
	shift := max(bucket>>subBits-1, 0)
	return uint64(bucket-shift<<subBits+1)<<shift - 1
}

func (h *histogram) record(d time.Duration) {
	h.counts[bucketOf(uint64(max(d, 0)))]++
	h.total++
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
}

// percentile returns the duration that p percent of the records do not exceed, by
// nearest rank, rounded up to the end of its bucket. Of an empty histogram it is 0.
func (h *histogram) percentile(p float64) time.Duration {
	if h.total == 0 {
		return 0
	}
	rank := min(max(uint64(math.Ceil(p/100*float64(h.total))), 1), h.total)
	var seen uint64
	for i, n := range h.counts {
		if seen += n; seen >= rank {
			return time.Duration(upperBound(i))
		}
	}
	return 0 // not reached: the counts sum up to total
}
