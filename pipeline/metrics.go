package pipeline

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics are what every role counts; what one of them counts is in its package.
// Every label has few values: reasons, topics, partitions; never an agent or a
// tenant, which an attacker could multiply.
type Metrics struct {
	Lag           *prometheus.GaugeVec // role, topic, partition
	Records       *prometheus.CounterVec
	FetchErrors   *prometheus.CounterVec
	ProduceErrors *prometheus.CounterVec
	CommitErrors  *prometheus.CounterVec
	LostRecords   *prometheus.CounterVec
	Fenced        *prometheus.CounterVec
	Generations   *prometheus.CounterVec
	BatchRecords  *prometheus.HistogramVec // role, topic
	Refused       *prometheus.CounterVec   // source, reason
	Passed        *prometheus.CounterVec   // role
}

// NewMetrics registers what every role counts.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	r := Registrar{reg}
	return &Metrics{
		Lag:           r.Gauge("lag_records", "Records of a partition that the role has not read yet.", "role", "topic", "partition"),
		Records:       r.Counter("records_total", "Records read.", "role", "topic"),
		FetchErrors:   r.Counter("fetch_errors_total", "Failed reads; each is retried.", "role", "topic"),
		ProduceErrors: r.Counter("produce_errors_total", "Failed writes; each is retried until acknowledged.", "topic"),
		CommitErrors:  r.Counter("commit_errors_total", "Offset commits that were refused.", "role"),
		LostRecords:   r.Counter("lost_records_total", "Records that retention removed before they were read, or that stood in a batch that can't be read: data loss.", "role", "topic"),
		Fenced:        r.Counter("fenced_total", "Partitions given up because another owner had them.", "role"),
		Generations:   r.Counter("generations_total", "Consumer group generations joined: a fast rise is a rebalance storm.", "role"),
		BatchRecords:  r.Histogram("batch_records", "Records per read that returned any.", Sizes, "role", "topic"),
		Refused:       r.Counter("refused_events_total", "Events sent to the dead-letter topic.", "source", "reason"),
		Passed:        r.Counter("passed_records_total", "Records of the activity topic that are no events and that the role has no use for.", "role"),
	}
}

// Buckets of histograms: how many of something, and how many seconds.
var (
	Sizes     = prometheus.ExponentialBuckets(1, 4, 10)
	Latencies = prometheus.ExponentialBuckets(0.001, 2, 16)
)

// Registrar makes metrics and registers them.
type Registrar struct{ prometheus.Registerer }

const namespace = "plumbline"

// Counter makes counters.
func (r Registrar) Counter(name, help string, labels ...string) *prometheus.CounterVec {
	return promauto.With(r).NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// zero makes a counter of labels that are known before anything is counted: rate() does not
// see the increment that makes a series.
func zero(c *prometheus.CounterVec, labels ...string) { c.WithLabelValues(labels...) }

// Gauge makes gauges.
func (r Registrar) Gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return promauto.With(r).NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
}

// Histogram makes histograms.
func (r Registrar) Histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return promauto.With(r).NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
}
