package controllers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
)

// keyCollector counts keys at every scrape, from the cache. No label names a key.
type keyCollector struct {
	reader client.Reader
	clock  clock.PassiveClock

	keys         *prometheus.Desc
	overdue      *prometheus.Desc
	nextRotation *prometheus.Desc
}

func newKeyCollector(reader client.Reader, clock clock.PassiveClock) *keyCollector {
	return &keyCollector{
		reader: reader,
		clock:  clock,
		keys: prometheus.NewDesc("keywright_encryption_keys",
			"EncryptionKeys by type, state and status of the Ready condition.", []string{"type", "state", "ready"}, nil),
		overdue: prometheus.NewDesc("keywright_overdue_rotations",
			"Enabled EncryptionKeys whose next rotation time has passed.", nil, nil),
		nextRotation: prometheus.NewDesc("keywright_next_rotation_seconds",
			"Seconds until the soonest next rotation of any EncryptionKey; negative when it is overdue.", nil, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *keyCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- c.keys
	descs <- c.overdue
	descs <- c.nextRotation
}

// Collect implements prometheus.Collector.
func (c *keyCollector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second) //nolint:forbidigo // a scrape has no context
	defer cancel()
	var keys keywrightv1alpha1.EncryptionKeyList
	if err := c.reader.List(ctx, &keys, client.UnsafeDisableDeepCopy); err != nil {
		metrics <- prometheus.NewInvalidMetric(c.keys, err)
		return
	}
	type series struct{ keyType, state, ready string }
	counts := map[series]int{}
	overdue := 0
	var soonest time.Time
	for i := range keys.Items {
		key := &keys.Items[i]
		s := series{keyType: string(key.Spec.Type), state: string(key.Status.State), ready: "Unknown"}
		if ready := meta.FindStatusCondition(key.Status.Conditions, keywrightv1alpha1.EncryptionKeyReadyCondition); ready != nil {
			s.ready = string(ready.Status)
		}
		counts[s]++
		if next := key.Status.NextRotationTime; next != nil {
			if next.Time.Before(c.clock.Now()) {
				overdue++
			}
			if soonest.IsZero() || next.Time.Before(soonest) {
				soonest = next.Time
			}
		}
	}
	for s, n := range counts {
		metrics <- prometheus.MustNewConstMetric(c.keys, prometheus.GaugeValue, float64(n), s.keyType, s.state, s.ready)
	}
	metrics <- prometheus.MustNewConstMetric(c.overdue, prometheus.GaugeValue, float64(overdue))
	if !soonest.IsZero() {
		metrics <- prometheus.MustNewConstMetric(c.nextRotation, prometheus.GaugeValue, soonest.Sub(c.clock.Now()).Seconds())
	}
}
