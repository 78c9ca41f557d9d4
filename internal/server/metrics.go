package server

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	keywrightv1alpha1 "github.com/keywright/keywright/api/v1alpha1"
	"github.com/keywright/keywright/internal/audit"
	"github.com/keywright/keywright/internal/grace"
	"github.com/keywright/keywright/internal/keyring"
	"github.com/keywright/keywright/internal/keystore"
)

func newRegistry() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return registry
}

// observeSources counts where the answers of package grace come from.
func observeSources(registry prometheus.Registerer, name, help string) func(grace.Source) {
	total := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{"result"})
	registry.MustRegister(total)
	counters := map[grace.Source]prometheus.Counter{}
	for _, source := range []grace.Source{grace.Hit, grace.Miss, grace.Outage} {
		counters[source] = total.WithLabelValues(string(source))
	}
	return func(source grace.Source) { counters[source].Inc() }
}

func observeStore(registry prometheus.Registerer, store string) keystore.Observer {
	seconds := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "keywright_key_store_operation_seconds",
		Help:    "Time that operations of the key store took, by store, operation and outcome.",
		Buckets: prometheus.ExponentialBuckets(.0005, 2, 14),
	}, []string{"store", "operation", "outcome"})
	registry.MustRegister(seconds)
	return func(operation, outcome string, took time.Duration) {
		seconds.WithLabelValues(store, operation, outcome).Observe(took.Seconds())
	}
}

func gauge(registry prometheus.Registerer, name, help string, value func() float64) {
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
}

func observeAudit(registry prometheus.Registerer, w *audit.Writer) {
	gauge(registry, "keywright_audit_queue_length", "Audit lines that wait to be written.", func() float64 { return float64(w.Queued()) })
	for name, c := range map[string]struct {
		help  string
		value func() uint64
	}{
		"keywright_audit_dropped_total":      {"Audit lines that were lost because of --audit-overflow=drop.", w.Dropped},
		"keywright_audit_write_errors_total": {"Failed attempts to write the audit log.", w.WriteErrors},
	} {
		registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: c.help}, func() float64 { return float64(c.value()) }))
	}
}

// ringCollector counts keys when it is asked to. No label names a key.
type ringCollector struct {
	ring *keyring.Ring
	keys *prometheus.Desc
}

func observeRing(registry prometheus.Registerer, ring *keyring.Ring) {
	registry.MustRegister(&ringCollector{
		ring: ring,
		keys: prometheus.NewDesc("keywright_keys", "EncryptionKeys that this server knows, by type and state.", []string{"type", "state"}, nil),
	})
	gauge(registry, "keywright_loaded_versions", "Key versions that are open in memory.", func() float64 {
		_, versions := ring.Len()
		return float64(versions)
	})
}

// Describe implements prometheus.Collector.
func (c *ringCollector) Describe(descs chan<- *prometheus.Desc) { descs <- c.keys }

// Collect implements prometheus.Collector.
func (c *ringCollector) Collect(metrics chan<- prometheus.Metric) {
	counts := map[keywrightv1alpha1.KeyState]int{
		keywrightv1alpha1.CreatingKeyState: 0, keywrightv1alpha1.EnabledKeyState: 0, keywrightv1alpha1.DisabledKeyState: 0,
	}
	c.ring.Each(func(r keyring.Record) { counts[state(r)]++ })
	for state, n := range counts {
		metrics <- prometheus.MustNewConstMetric(c.keys, prometheus.GaugeValue, float64(n),
			string(keywrightv1alpha1.CustomerManagedKeyType), string(state))
	}
}

// state is what a record shows of a key's state.
func state(r keyring.Record) keywrightv1alpha1.KeyState {
	switch {
	case r.Latest == 0:
		return keywrightv1alpha1.CreatingKeyState
	case !r.Enabled:
		return keywrightv1alpha1.DisabledKeyState
	default:
		return keywrightv1alpha1.EnabledKeyState
	}
}
