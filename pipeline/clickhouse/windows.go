package clickhouse

import (
	"maps"
	"slices"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// windowTable is sql/0003_window_rows.sql, column by column.
var windowTable = &table[pipeline.WindowRow]{
	name: "window_rows",
	columns: []spec[pipeline.WindowRow]{
		lowCardinality("tenant_id", func(r *pipeline.WindowRow) string { return r.Window.TenantID }),
		lowCardinality("agent_id", func(r *pipeline.WindowRow) string { return r.Window.AgentID }),
		lowCardinality("peer_group", func(r *pipeline.WindowRow) string { return r.Window.PeerGroup }),
		millisColumn("start", func(r *pipeline.WindowRow) schemas.Millis { return r.Window.Start }),
		numberColumn("seconds", "Int64", func(r *pipeline.WindowRow) int64 { return r.Window.Seconds }),
		numberColumn("events", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.Events }),
		numberColumn("late", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.Late }),
		numberColumn("failures", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.Failures }),
		numberColumn("denied", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.Denied }),
		numberColumn("bytes_sent", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.BytesSent }),
		numberColumn("bytes_received", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.BytesReceived }),
		numberColumn("tools", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.Tools }),
		numberColumn("resources", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.Resources }),
		numberColumn("new_resources", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.NewResources }),
		numberColumn("new_destinations", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.NewDestinations }),
		numberColumn("sessions", "UInt64", func(r *pipeline.WindowRow) uint64 { return r.Window.Sessions }),
		windowSignals("signals"),
		numberColumn("score", "Float64", func(r *pipeline.WindowRow) float64 { return r.Window.Score }),
		numberColumn("baseline_samples", "Float64", func(r *pipeline.WindowRow) float64 { return r.Window.BaselineSamples }),
		lowCardinality("config_hash", func(r *pipeline.WindowRow) string { return r.Window.ConfigHash }),
		millisColumn("recorded_at", func(r *pipeline.WindowRow) schemas.Millis { return r.RecordedAt }),
		numberColumn("version", "UInt64", func(r *pipeline.WindowRow) uint64 { return lastRecorded(r.RecordedAt) }),
	},
}

// windowSignals is a Map from the signal's name to a Tuple: keys as one column,
// then each element of the tuple as one.
func windowSignals(name string) spec[pipeline.WindowRow] {
	const typ = "Map(LowCardinality(String), Tuple(observed Float64, expected Float64, low Float64, high Float64, p Float64))"
	return array(name, typ, func(r *pipeline.WindowRow) int { return len(r.Window.Signals) }, func() (func(*pipeline.WindowRow, *wire), func(*wire)) {
		var (
			keys  dictionary
			parts [5]wire
			names []string
		)
		return func(r *pipeline.WindowRow, _ *wire) {
				// Sorted, so that a row has one form whenever it is stored.
				names = slices.AppendSeq(names[:0], maps.Keys(r.Window.Signals))
				slices.Sort(names)
				for _, n := range names {
					s := r.Window.Signals[n]
					keys.add(n)
					for i, v := range [...]float64{s.Observed, s.Expected, s.Low, s.High, s.P} {
						parts[i].float64(v)
					}
				}
			}, func(w *wire) {
				keys.flush(w)
				for i := range parts {
					w.b = append(w.b, parts[i].b...)
					parts[i].b = parts[i].b[:0]
				}
				clear(names)
			}
	})
}
