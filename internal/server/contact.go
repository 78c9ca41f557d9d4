package server

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
)

const (
	// contactInterval is how often kube-apiserver is asked whether it is there.
	contactInterval = 5 * time.Second
	// contactTimeout bounds one such question.
	contactTimeout = 2 * time.Second
)

// contact knows when kube-apiserver was last heard of.
type contact struct {
	ask   func(context.Context) error
	grace time.Duration
	clock clock.WithTicker
	// last is the question that it answered last; nil is none. It is kept as a
	// time.Time, whose age does not change when the clock is set.
	last atomic.Pointer[time.Time]
}

// newContact asks for /readyz: an API server that has lost its etcd answers other
// things, and tells of no change.
func newContact(client rest.Interface, grace time.Duration, clock clock.WithTicker) *contact {
	return &contact{
		ask:   func(ctx context.Context) error { return client.Get().AbsPath("/readyz").Do(ctx).Error() },
		grace: grace,
		clock: clock,
	}
}

// run asks until ctx is done.
func (c *contact) run(ctx context.Context) {
	ticker := c.clock.NewTicker(contactInterval)
	defer ticker.Stop()
	for {
		c.check(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}

func (c *contact) check(ctx context.Context) {
	// What is heard tells of the moment when it was asked.
	asked := c.clock.Now()
	ctx, cancel := context.WithTimeout(ctx, contactTimeout)
	defer cancel()
	if c.ask(ctx) == nil {
		c.last.Store(&asked)
	}
}

var errNoContact = errors.New("kube-apiserver has not answered yet")

// serving returns nil while crypto requests may be answered.
func (c *contact) serving() error {
	if c.last.Load() == nil {
		return errNoContact
	}
	if age := c.age(); age > max(c.grace, contactInterval+contactTimeout) {
		return fmt.Errorf("kube-apiserver has not answered for longer than --outage-grace, which is %v", c.grace)
	}
	return nil
}

// age is how long ago kube-apiserver was heard of.
func (c *contact) age() time.Duration {
	last := c.last.Load()
	if last == nil {
		return 0
	}
	return c.clock.Since(*last)
}
