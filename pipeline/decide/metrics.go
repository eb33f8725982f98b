package decide

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// Metrics are what the role counts.
type Metrics struct {
	decisions *prometheus.CounterVec   // result
	requests  *prometheus.CounterVec   // status
	seconds   *prometheus.HistogramVec // api
	known     *prometheus.GaugeVec     // what
	failing   *prometheus.GaugeVec
	refused   *prometheus.CounterVec // what
	dropped   *prometheus.CounterVec
}

// The values of the label result.
const (
	resultPermit      = "permit"
	resultDeny        = "deny"
	resultErrorPermit = "error_permit"
	resultErrorDeny   = "error_deny"
)

// NewMetrics registers the metrics of the role.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	r := pipeline.Registrar{Registerer: reg}
	m := &Metrics{
		decisions: r.Counter("decide_decisions_total", "Decisions that were answered; error_*: nothing could be decided, and decide.on_error was answered.", "result"),
		requests:  r.Counter("decide_requests_total", "Requests by the status of HTTP that they were answered with.", "status"),
		seconds:   r.Histogram("decide_seconds", "Time from the request's headers to its answer.", prometheus.ExponentialBuckets(0.00005, 2, 16), "api"),
		known:     r.Gauge("decide_known", "Agents that are registered, and those with an open episode.", "what"),
		failing:   r.Gauge("decide_failing", "1 while nothing can be decided and decide.on_error is answered."),
		refused:   r.Counter("decide_refused_total", "Registrations and alerts that can't be read, or for which there is no room.", "what"),
		dropped:   r.Counter("decide_log_dropped_total", "Decisions that were answered and are missing in decide.log_topic."),
	}
	for _, result := range []string{resultPermit, resultDeny, resultErrorPermit, resultErrorDeny} {
		m.decisions.WithLabelValues(result)
	}
	for _, what := range []string{"registration", "registration_no_room", "alert", "alert_no_room"} {
		m.refused.WithLabelValues(what)
	}
	m.dropped.WithLabelValues()
	m.failing.WithLabelValues()
	return m
}
