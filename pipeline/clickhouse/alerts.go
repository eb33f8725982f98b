package clickhouse

import (
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// alertTable is sql/0002_alert_rows.sql and 0005_log.sql, column by column.
var alertTable = &table[pipeline.AlertRow]{
	name: "alert_rows",
	columns: []spec[pipeline.AlertRow]{
		stringColumn("alert_id", func(r *pipeline.AlertRow) string { return r.Alert.AlertID }),
		stringColumn("episode_id", func(r *pipeline.AlertRow) string { return r.Alert.EpisodeID }),
		lowCardinality("status", func(r *pipeline.AlertRow) string { return r.Alert.Status }),
		lowCardinality("kind", func(r *pipeline.AlertRow) string { return r.Alert.Kind }),
		lowCardinality("tenant_id", func(r *pipeline.AlertRow) string { return r.Alert.TenantID }),
		lowCardinality("agent_id", func(r *pipeline.AlertRow) string { return r.Alert.Agent.ID }),
		lowCardinality("agent_name", func(r *pipeline.AlertRow) string { return r.Alert.Agent.Name }),
		lowCardinality("agent_version", func(r *pipeline.AlertRow) string { return r.Alert.Agent.Version }),
		lowCardinality("peer_group", func(r *pipeline.AlertRow) string { return r.Alert.Agent.PeerGroup }),
		lowCardinality("agent_owner", func(r *pipeline.AlertRow) string { return r.Alert.Agent.Owner }),
		stringColumn("agent_contact", func(r *pipeline.AlertRow) string { return r.Alert.Agent.Contact }),
		lowCardinality("agent_criticality", func(r *pipeline.AlertRow) string { return r.Alert.Agent.Criticality }),
		stringColumn("session_id", func(r *pipeline.AlertRow) string { return r.Alert.SessionID }),
		stringColumn("on_behalf_of", func(r *pipeline.AlertRow) string { return r.Alert.OnBehalfOf }),
		millisColumn("time", func(r *pipeline.AlertRow) schemas.Millis { return r.Alert.Time }),
		millisColumn("first_seen", func(r *pipeline.AlertRow) schemas.Millis { return r.Alert.FirstSeen }),
		millisColumn("last_seen", func(r *pipeline.AlertRow) schemas.Millis { return r.Alert.LastSeen }),
		lowCardinality("severity", func(r *pipeline.AlertRow) string { return r.Alert.Severity }),
		numberColumn("score", "Float64", func(r *pipeline.AlertRow) float64 { return r.Alert.Score }),
		numberColumn("expected_per_agent_day", "Float64", func(r *pipeline.AlertRow) float64 { return r.Alert.ExpectedPerAgentDay }),
		numberColumn("confidence", "Float64", func(r *pipeline.AlertRow) float64 { return r.Alert.Confidence }),
		lowCardinality("title", func(r *pipeline.AlertRow) string { return r.Alert.Title }),
		stringColumn("summary", func(r *pipeline.AlertRow) string { return r.Alert.Summary }),

		signalWords("signals.name", func(s *schemas.AlertSignal) string { return s.Name }),
		signalNumbers("signals.observed", func(s *schemas.AlertSignal) float64 { return s.Observed }),
		signalNumbers("signals.expected", func(s *schemas.AlertSignal) float64 { return s.Expected }),
		signalNumbers("signals.low", func(s *schemas.AlertSignal) float64 { return s.Low }),
		signalNumbers("signals.high", func(s *schemas.AlertSignal) float64 { return s.High }),
		signalWords("signals.unit", func(s *schemas.AlertSignal) string { return s.Unit }),
		signalNumbers("signals.p", func(s *schemas.AlertSignal) float64 { return s.P }),
		signalArray("signals.window_start", "Array(DateTime64(3, 'UTC'))", func(s *schemas.AlertSignal, w *wire) { w.millis(s.WindowStart) }),
		signalArray("signals.window_seconds", "Array(Int64)", func(s *schemas.AlertSignal, w *wire) { w.int64(s.WindowSeconds) }),
		signalNumbers("signals.baseline_samples", func(s *schemas.AlertSignal) float64 { return s.BaselineSamples }),
		signalLists("signals.first_seen", func(s *schemas.AlertSignal) []string { return s.FirstSeen }),

		stringArray("evidence_event_ids", func(r *pipeline.AlertRow) []string { return r.Alert.Evidence.EventIDs }),
		stringArray("evidence_resources", func(r *pipeline.AlertRow) []string { return r.Alert.Evidence.Resources }),
		wordArray("evidence_tools", func(r *pipeline.AlertRow) []string { return r.Alert.Evidence.Tools }),
		numberColumn("event_count", "Int64", func(r *pipeline.AlertRow) int64 { return r.Alert.Evidence.EventCount }),
		wordArray("tags_owasp_asi", func(r *pipeline.AlertRow) []string { return r.Alert.Tags.OwaspASI }),
		wordArray("tags_atlas", func(r *pipeline.AlertRow) []string { return r.Alert.Tags.ATLAS }),
		wordArray("tags_attack", func(r *pipeline.AlertRow) []string { return r.Alert.Tags.Attack }),
		stringColumn("counterfactual", func(r *pipeline.AlertRow) string { return r.Alert.Counterfactual }),
		stringColumn("query", func(r *pipeline.AlertRow) string { return r.Alert.Query }),
		lowCardinality("runbook", func(r *pipeline.AlertRow) string { return r.Alert.Runbook }),
		numberColumn("suppressed", "Int64", func(r *pipeline.AlertRow) int64 { return int64(r.Alert.Suppressed) }),
		lowCardinality("detector_version", func(r *pipeline.AlertRow) string { return r.Alert.Detector.Version }),
		lowCardinality("config_hash", func(r *pipeline.AlertRow) string { return r.Alert.Detector.ConfigHash }),
		millisColumn("recorded_at", func(r *pipeline.AlertRow) schemas.Millis { return r.RecordedAt }),
		numberColumn("log_partition", "Int32", func(r *pipeline.AlertRow) int32 { return r.Log.Partition }),
		numberColumn("log_offset", "Int64", func(r *pipeline.AlertRow) int64 { return r.Log.Offset }),
		stringColumn("alert", func(r *pipeline.AlertRow) string { return string(r.JSON) }),
		numberColumn("version", "UInt64", func(r *pipeline.AlertRow) uint64 { return firstRecorded(r.RecordedAt) }),
	},
}

// timeBits leaves room above a time in a version.
const timeBits = 48

// lastRecorded is a version by which the record that came last wins.
func lastRecorded(m schemas.Millis) uint64 {
	return rowFormat<<timeBits | uint64(max(clamped(m), 0))
}

// firstRecorded is a version by which the record that came first wins.
func firstRecorded(m schemas.Millis) uint64 {
	return rowFormat<<timeBits | (1<<timeBits - 1 - uint64(max(clamped(m), 0)))
}

func signalCount(r *pipeline.AlertRow) int { return len(r.Alert.Signals) }

// signalArray is an array with one element per signal.
func signalArray(name, typ string, put func(*schemas.AlertSignal, *wire)) spec[pipeline.AlertRow] {
	return array(name, typ, signalCount, func() (func(*pipeline.AlertRow, *wire), func(*wire)) {
		return func(r *pipeline.AlertRow, w *wire) {
			for i := range r.Alert.Signals {
				put(&r.Alert.Signals[i], w)
			}
		}, nil
	})
}

func signalNumbers(name string, get func(*schemas.AlertSignal) float64) spec[pipeline.AlertRow] {
	return signalArray(name, "Array(Float64)", func(s *schemas.AlertSignal, w *wire) { w.float64(get(s)) })
}

func signalWords(name string, get func(*schemas.AlertSignal) string) spec[pipeline.AlertRow] {
	return array(name, "Array(LowCardinality(String))", signalCount, func() (func(*pipeline.AlertRow, *wire), func(*wire)) {
		var d dictionary
		return func(r *pipeline.AlertRow, _ *wire) {
			for i := range r.Alert.Signals {
				d.add(get(&r.Alert.Signals[i]))
			}
		}, d.flush
	})
}

// signalLists is an Array(Array(String)): the running total of signals, the
// running total of strings, the strings.
func signalLists(name string, get func(*schemas.AlertSignal) []string) spec[pipeline.AlertRow] {
	return array(name, "Array(Array(String))", signalCount, func() (func(*pipeline.AlertRow, *wire), func(*wire)) {
		var (
			total  uint64
			values wire
		)
		return func(r *pipeline.AlertRow, w *wire) {
				for i := range r.Alert.Signals {
					list := get(&r.Alert.Signals[i])
					total += uint64(len(list))
					w.uint64(total)
					for _, s := range list {
						values.string(s)
					}
				}
			}, func(w *wire) {
				w.b = append(w.b, values.b...)
				total, values.b = 0, values.b[:0]
			}
	})
}
