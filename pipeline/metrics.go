package pipeline

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are what the roles count. Every label has few values: reasons, topics,
// partitions; never an agent or a tenant, which an attacker could multiply.
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

	Events   *prometheus.CounterVec // source
	Refused  *prometheus.CounterVec // source, reason
	Skipped  *prometheus.CounterVec // source
	Flagged  *prometheus.CounterVec // flag
	Repeated prometheus.Counter

	Alerts       *prometheus.CounterVec // status, severity
	Windows      prometheus.Counter
	Agents       *prometheus.GaugeVec // partition
	Tenants      *prometheus.GaugeVec
	StateBytes   *prometheus.GaugeVec
	OpenEpisodes *prometheus.GaugeVec
	Watermark    *prometheus.GaugeVec
	ModelRatio   *prometheus.GaugeVec // partition, signal
	Evicted      *prometheus.CounterVec
	Late         *prometheus.CounterVec
	Clamped      *prometheus.CounterVec
	Healed       *prometheus.CounterVec
	Duplicates   *prometheus.CounterVec
	StateLost    prometheus.Counter

	Checkpoints       *prometheus.CounterVec // result
	CheckpointSeconds prometheus.Histogram
	CheckpointPause   prometheus.Histogram
	CheckpointBytes   prometheus.Histogram
	CheckpointOffset  *prometheus.GaugeVec // partition
	RestoreSeconds    prometheus.Histogram
	Suppressed        prometheus.Counter

	AlertLatency prometheus.Histogram
	FlushSeconds prometheus.Histogram

	InsertedRows  *prometheus.CounterVec   // table
	InsertErrors  *prometheus.CounterVec   // table
	InsertRows    *prometheus.HistogramVec // table
	InsertSeconds *prometheus.HistogramVec // table
}

// NewMetrics registers the metrics of the roles.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	r := registrar{reg}
	sizes := prometheus.ExponentialBuckets(1, 4, 10)
	latency := prometheus.ExponentialBuckets(0.001, 2, 16)
	pauses := []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2, 5}
	return &Metrics{
		Lag:           r.gauge("lag_records", "Records of a partition that the role has not read yet.", "role", "topic", "partition"),
		Records:       r.counter("records_total", "Records read.", "role", "topic"),
		FetchErrors:   r.counter("fetch_errors_total", "Failed reads; each is retried.", "role", "topic"),
		ProduceErrors: r.counter("produce_errors_total", "Failed writes; each is retried until acknowledged.", "topic"),
		CommitErrors:  r.counter("commit_errors_total", "Offset commits that were refused.", "role"),
		LostRecords:   r.counter("lost_records_total", "Records that retention removed before they were read, or that stood in a batch that can't be read: data loss.", "role", "topic"),
		Fenced:        r.counter("fenced_total", "Partitions given up because another owner had them.", "role"),
		Generations:   r.counter("generations_total", "Consumer group generations joined: a fast rise is a rebalance storm.", "role"),
		BatchRecords:  r.histogram("batch_records", "Records per read that returned any.", sizes, "role", "topic"),

		Events:   r.counter("events_total", "Events routed.", "source"),
		Refused:  r.counter("refused_events_total", "Events sent to the dead-letter topic.", "source", "reason"),
		Skipped:  r.counter("skipped_entries_total", "Entries of a source's records that are no agent activity, such as the spans of a web server.", "source"),
		Flagged:  r.counter("flagged_events_total", "Events kept with something cut, replaced or clamped.", "flag"),
		Repeated: r.counter("repeated_events_total", "Events that route wrote twice after a crash, recognised by detect.").WithLabelValues(),

		Alerts:       r.counter("alerts_total", "Alerts published.", "status", "severity"),
		Windows:      r.counter("windows_total", "Agent-hours closed.").WithLabelValues(),
		Agents:       r.gauge("agents", "Agents with a baseline.", "partition"),
		Tenants:      r.gauge("tenants", "Tenants with baselines of their own, at most detector.max_tenants.", "partition"),
		StateBytes:   r.gauge("state_bytes", "Estimated memory of the baselines.", "partition"),
		OpenEpisodes: r.gauge("open_episodes", "Episodes that are open.", "partition"),
		Watermark:    r.gauge("watermark_seconds", "Event time that detection has reached, Unix seconds.", "partition"),
		ModelRatio:   r.gauge("model_alert_ratio", "How often a signal's model alone, uncalibrated, would have crossed its part of the budget, over that part: 1 is a model that is right.", "partition", "signal"),
		Evicted:      r.counter("evicted_agents_total", "Baselines given up for lack of room.", "partition"),
		Late:         r.counter("late_events_total", "Events whose hour was over when they came.", "partition"),
		Clamped:      r.counter("clamped_events_total", "Events with a time later than the broker's when they were appended; held for that.", "partition"),
		Healed:       r.counter("clock_healed_total", "Times that the clock of a partition was ahead of the broker's and was set back.", "partition"),
		Duplicates:   r.counter("duplicate_events_total", "Events that came before, with the same id and content; not counted again.", "partition"),
		StateLost:    r.counter("baselines_restarted_total", "Partitions whose baselines started anew although events were read before.").WithLabelValues(),

		Checkpoints:       r.counter("checkpoints_total", "Checkpoints of detector state: confirmed, or given up.", "result"),
		CheckpointSeconds: r.histogram("checkpoint_seconds", "From the cut of a checkpoint to its confirmation; detection goes on meanwhile.", latency).WithLabelValues().(prometheus.Histogram),
		CheckpointPause:   r.histogram("checkpoint_pause_seconds", "How long a checkpoint held up detection at a time.", pauses).WithLabelValues().(prometheus.Histogram),
		CheckpointBytes:   r.histogram("checkpoint_bytes", "Size of a checkpoint.", prometheus.ExponentialBuckets(1<<10, 4, 12)).WithLabelValues().(prometheus.Histogram),
		CheckpointOffset:  r.gauge("checkpoint_offset", "Offset of the activity topic up to which the state is safe.", "partition"),
		RestoreSeconds:    r.histogram("restore_seconds", "Time to restore the state of a partition.", latency).WithLabelValues().(prometheus.Histogram),
		Suppressed:        r.counter("suppressed_alerts_total", "Alerts that stood in their topic already after a restart, and were not sent again.").WithLabelValues(),

		AlertLatency: r.histogram("alert_latency_seconds", "From the append of an event in the activity topic to the acknowledged alert.", latency).WithLabelValues().(prometheus.Histogram),
		FlushSeconds: r.histogram("flush_seconds", "Time to get alerts and windows acknowledged.", latency).WithLabelValues().(prometheus.Histogram),

		InsertedRows:  r.counter("inserted_rows_total", "Rows acknowledged by ClickHouse.", "table"),
		InsertErrors:  r.counter("insert_errors_total", "Failed inserts; each is retried.", "table"),
		InsertRows:    r.histogram("insert_rows", "Rows per insert.", sizes, "table"),
		InsertSeconds: r.histogram("insert_seconds", "Time until ClickHouse acknowledged an insert.", latency, "table"),
	}
}

type registrar struct{ reg prometheus.Registerer }

const namespace = "plumbline"

func (r registrar) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	r.reg.MustRegister(v)
	return v
}

func (r registrar) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: namespace, Name: name, Help: help}, labels)
	r.reg.MustRegister(v)
	return v
}

func (r registrar) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	r.reg.MustRegister(v)
	return v
}

func label(n int32) string { return strconv.Itoa(int(n)) }

// newUnregistered returns metrics that nobody looks at, for a command.
func newUnregistered() *Metrics { return NewMetrics(prometheus.NewRegistry()) }
