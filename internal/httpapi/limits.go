package httpapi

import (
	"fmt"
	"sync/atomic"

	"golang.org/x/time/rate"
	"k8s.io/utils/clock"

	cryptov1alpha1 "github.com/keywright/keywright/api/crypto/v1alpha1"
	"github.com/keywright/keywright/internal/kms"
	"github.com/keywright/keywright/internal/lru"
)

const (
	// maxPrincipals bounds the principals whose use is counted.
	maxPrincipals = 16 << 10
	// maxBodyBytes bounds the bodies of all requests that are being worked on. What
	// a request takes in all is about four times its body.
	maxBodyBytes = 64 << 20
	// maxPrincipalBodyBytes bounds those of one principal, who may send them slowly.
	maxPrincipalBodyBytes = maxBodyBytes / 4
)

// Limits bound what callers may take. Past a limit they are told to try again.
type Limits struct {
	// InFlight bounds the requests that are being worked on.
	InFlight int64
	// InFlightPerPrincipal bounds those of one principal.
	InFlightPerPrincipal int64
	// RatePerPrincipal is how many requests one principal may make in a second, in
	// the long run.
	RatePerPrincipal float64
	// BurstPerPrincipal is how many it may make at once.
	BurstPerPrincipal int
}

// limiter applies Limits. It takes no lock that all requests share.
type limiter struct {
	limits     Limits
	clock      clock.PassiveClock
	inFlight   atomic.Int64
	bodyBytes  atomic.Int64
	principals *lru.Map[string, *use]
}

// use is what one principal takes.
type use struct {
	inFlight  atomic.Int64
	bodyBytes atomic.Int64
	bucket    *rate.Limiter
}

func newLimiter(limits Limits, clock clock.PassiveClock) *limiter {
	return &limiter{limits: limits, clock: clock, principals: lru.New[string, *use](maxPrincipals)}
}

// admission is what a request holds until release.
type admission struct {
	limiter *limiter
	use     *use
	bytes   int64
}

// admit lets a request of the principal in, or returns errThrottled.
func (l *limiter) admit(principal string) (admission, error) {
	u := l.principals.GetOrSet(principal, func() *use {
		return &use{bucket: rate.NewLimiter(rate.Limit(l.limits.RatePerPrincipal), l.limits.BurstPerPrincipal)}
	})
	if u.inFlight.Add(1) > l.limits.InFlightPerPrincipal {
		u.inFlight.Add(-1)
		return admission{}, throttled("you have %d requests in flight, which is the most for one principal", l.limits.InFlightPerPrincipal)
	}
	if l.inFlight.Add(1) > l.limits.InFlight {
		l.inFlight.Add(-1)
		u.inFlight.Add(-1)
		return admission{}, throttled("%d requests are in flight, which is the most for this replica", l.limits.InFlight)
	}
	// The bucket comes last: a request that is turned away for another reason takes
	// nothing out of it.
	if !u.bucket.AllowN(l.clock.Now(), 1) {
		l.inFlight.Add(-1)
		u.inFlight.Add(-1)
		return admission{}, throttled("you make more than %g requests in a second; send batches", l.limits.RatePerPrincipal)
	}
	return admission{limiter: l, use: u}, nil
}

// reserve takes room for a body of the length, which is negative if unknown.
func (a *admission) reserve(length int64) error {
	if length < 0 {
		length = cryptov1alpha1.MaxRequestBytes
	}
	if a.use.bodyBytes.Add(length) > maxPrincipalBodyBytes {
		a.use.bodyBytes.Add(-length)
		return throttled("bodies of %d bytes of yours are being worked on, which is the most for one principal", maxPrincipalBodyBytes)
	}
	if a.limiter.bodyBytes.Add(length) > maxBodyBytes {
		a.limiter.bodyBytes.Add(-length)
		a.use.bodyBytes.Add(-length)
		return throttled("bodies of %d bytes are being worked on, which is the most for this replica", maxBodyBytes)
	}
	a.bytes = length
	return nil
}

func (a *admission) release() {
	a.limiter.bodyBytes.Add(-a.bytes)
	a.use.bodyBytes.Add(-a.bytes)
	a.limiter.inFlight.Add(-1)
	a.use.inFlight.Add(-1)
}

func throttled(format string, args ...any) error {
	return &kms.Error{Kind: errThrottled, Message: fmt.Sprintf(format, args...) + "; try again"}
}
