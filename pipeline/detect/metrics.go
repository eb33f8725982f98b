package detect

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// Metrics are what the role counts.
type Metrics struct {
	Repeated     prometheus.Counter
	Suppressed   prometheus.Counter
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
	Registered   *prometheus.GaugeVec
	Unregistered *prometheus.CounterVec
	Outdated     *prometheus.CounterVec
	Observed     *prometheus.CounterVec // partition, check
	Duplicates   *prometheus.CounterVec
	StateLost    prometheus.Counter

	Checkpoints       *prometheus.CounterVec // result
	CheckpointSeconds prometheus.Histogram
	CheckpointPause   prometheus.Histogram
	CheckpointBytes   prometheus.Histogram
	CheckpointOffset  *prometheus.GaugeVec // partition
	RestoreSeconds    prometheus.Histogram
	SwitchSeconds     prometheus.Histogram

	AlertLatency prometheus.Histogram
	FlushSeconds prometheus.Histogram
}

// Values of the label result of checkpoints_total.
const (
	checkpointConfirmed = "confirmed"
	checkpointGivenUp   = "given up"
)

// NewMetrics registers the role's metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	r := pipeline.Registrar{Registerer: reg}
	pauses := []float64{0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.5, 1, 2, 5}
	one := func(v *prometheus.HistogramVec) prometheus.Histogram {
		return v.WithLabelValues().(prometheus.Histogram)
	}
	m := &Metrics{
		Repeated:          r.Counter("repeated_events_total", "Events that route wrote twice after a crash, recognised by detect.").WithLabelValues(),
		Alerts:            r.Counter("alerts_total", "Alerts published.", "status", "severity"),
		Windows:           r.Counter("windows_total", "Agent-hours closed.").WithLabelValues(),
		Agents:            r.Gauge("agents", "Agents with a baseline.", "partition"),
		Tenants:           r.Gauge("tenants", "Tenants with baselines of their own, at most detector.max_tenants.", "partition"),
		StateBytes:        r.Gauge("state_bytes", "Estimated memory of the baselines.", "partition"),
		OpenEpisodes:      r.Gauge("open_episodes", "Episodes that are open.", "partition"),
		Watermark:         r.Gauge("watermark_seconds", "Event time that detection has reached, Unix seconds.", "partition"),
		ModelRatio:        r.Gauge("model_alert_ratio", "How often a signal's model alone, uncalibrated, would have crossed its part of the budget, over that part: 1 is a model that is right.", "partition", "signal"),
		Evicted:           r.Counter("evicted_agents_total", "Baselines given up for lack of room.", "partition"),
		Late:              r.Counter("late_events_total", "Events whose hour was over when they came.", "partition"),
		Clamped:           r.Counter("clamped_events_total", "Events with a time later than the broker's when they were appended; held for that.", "partition"),
		Healed:            r.Counter("clock_healed_total", "Times that the clock of a partition was ahead of the broker's and was set back.", "partition"),
		Registered:        r.Gauge("registrations", "Agents that are registered, whether they have acted or not.", "partition"),
		Unregistered:      r.Counter("registrations_refused_total", "Registrations for which a partition had no room; it does not tell of unregistered agents any more.", "partition"),
		Outdated:          r.Counter("registrations_outdated_total", "Registrations older than what was known of their agent; they change nothing.", "partition"),
		Observed:          r.Counter("identity_observed_total", "Events that failed an identity check which the config only observes.", "partition", "check"),
		Duplicates:        r.Counter("duplicate_events_total", "Events that came before, with the same id and content; not counted again.", "partition"),
		StateLost:         r.Counter("baselines_restarted_total", "Partitions whose baselines started anew although events were read before.").WithLabelValues(),
		Checkpoints:       r.Counter("checkpoints_total", "Checkpoints of detector state: confirmed, or given up.", "result"),
		CheckpointSeconds: one(r.Histogram("checkpoint_seconds", "From the cut of a checkpoint to its confirmation; detection goes on meanwhile.", pipeline.Latencies)),
		CheckpointPause:   one(r.Histogram("checkpoint_pause_seconds", "How long a checkpoint held up detection at a time.", pauses)),
		CheckpointBytes:   one(r.Histogram("checkpoint_bytes", "Size of a checkpoint.", prometheus.ExponentialBuckets(1<<10, 4, 12))),
		CheckpointOffset:  r.Gauge("checkpoint_offset", "Offset of the activity topic up to which the state is safe.", "partition"),
		RestoreSeconds:    one(r.Histogram("restore_seconds", "Time to restore the state of a partition.", pipeline.Latencies)),
		SwitchSeconds:     one(r.Histogram("config_switch_seconds", "How long a partition waited to go over to another config.", pipeline.Latencies)),
		Suppressed:        r.Counter("suppressed_alerts_total", "Alerts that stood in their topic already after a restart, and were not sent again.").WithLabelValues(),
		AlertLatency:      one(r.Histogram("alert_latency_seconds", "From the append of an event in the activity topic to the acknowledged alert.", pipeline.Latencies)),
		FlushSeconds:      one(r.Histogram("flush_seconds", "Time to get alerts and windows acknowledged.", pipeline.Latencies)),
	}
	// rate() does not see the increment that makes a series.
	for _, result := range []string{checkpointConfirmed, checkpointGivenUp} {
		m.Checkpoints.WithLabelValues(result)
	}
	return m
}
