package httpapi

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/keywright/keywright/internal/audit"
)

// outcomes are all outcome classes.
var outcomes = []string{
	audit.OutcomeSuccess, audit.OutcomePartial, audit.OutcomeUnauthorized, audit.OutcomeForbidden, audit.OutcomeNotFound,
	audit.OutcomeDisabled, audit.OutcomeInvalidCiphertext, audit.OutcomeIncorrectKey, audit.OutcomeInvalidRequest,
	audit.OutcomeTooLarge, audit.OutcomeThrottled, audit.OutcomeUnavailable, audit.OutcomeError,
}

// metrics counts operations. All its series exist from the start, which spares
// every request the look-up of labels and shows a rate from the first failure on.
type metrics struct {
	operations map[string]operationMetrics
}

type operationMetrics struct {
	requests map[string]prometheus.Counter
	duration prometheus.Observer
}

func newMetrics(registry prometheus.Registerer, inFlight func() float64) *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "keywright_requests_total",
		Help: "Crypto requests by operation and outcome class.",
	}, []string{"operation", "outcome"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "keywright_request_duration_seconds",
		Help:    "Time from a crypto request's headers to its answer, by operation.",
		Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
	}, []string{"operation"})
	gauge := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "keywright_in_flight_requests",
		Help: "Crypto requests that are being worked on.",
	}, inFlight)
	registry.MustRegister(requests, duration, gauge)
	m := &metrics{operations: map[string]operationMetrics{}}
	for operation := range operations {
		om := operationMetrics{requests: map[string]prometheus.Counter{}, duration: duration.WithLabelValues(operation)}
		for _, outcome := range outcomes {
			om.requests[outcome] = requests.WithLabelValues(operation, outcome)
		}
		m.operations[operation] = om
	}
	return m
}

func (m *metrics) observe(operation, outcome string, took time.Duration) {
	om := m.operations[operation]
	om.requests[outcome].Inc()
	om.duration.Observe(took.Seconds())
}
