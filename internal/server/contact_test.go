package server

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/utils/clock"
)

func TestContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		c := &contact{ask: func(context.Context) error {
			if away.Load() {
				return errors.New("connection refused")
			}
			return nil
		}, grace: time.Minute, clock: clock.RealClock{}}
		if err := c.serving(); !errors.Is(err, errNoContact) {
			t.Errorf("before the first contact: %v", err)
		}
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go c.run(ctx)
		synctest.Wait()
		if err := c.serving(); err != nil {
			t.Errorf("after the first contact: %v", err)
		}
		<-time.After(time.Hour)
		synctest.Wait()
		if err := c.serving(); err != nil || c.age() > contactInterval {
			t.Errorf("while it answers: %v, age %v", err, c.age())
		}

		away.Store(true)
		lost := time.Now()
		<-time.After(50 * time.Second)
		synctest.Wait()
		if err := c.serving(); err != nil {
			t.Errorf("inside the grace: %v", err)
		}
		for c.serving() == nil {
			<-time.After(time.Second)
		}
		if took := time.Since(lost); took > time.Minute+time.Second {
			t.Errorf("served for %v without contact", took)
		}

		away.Store(false)
		<-time.After(contactInterval)
		synctest.Wait()
		if err := c.serving(); err != nil {
			t.Errorf("back again: %v", err)
		}
	})
}

func TestContactAgeIsThatOfTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &contact{grace: time.Minute, clock: clock.RealClock{}, ask: func(context.Context) error {
			<-time.After(time.Second)
			return nil
		}}
		c.check(t.Context())
		if age := c.age(); age != time.Second {
			t.Errorf("age %v", age)
		}
	})
}

func TestContactGivesUpOnSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &contact{grace: time.Minute, clock: clock.RealClock{}, ask: func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}}
		begin := time.Now()
		c.check(t.Context())
		if took := time.Since(begin); took != contactTimeout || c.serving() == nil {
			t.Errorf("took %v", took)
		}
	})
}
