package clickhouse

import (
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// activityTable is sql/0001_activity_rows.sql and 0005_log.sql, column by column.
var activityTable = &table[pipeline.ActivityRow]{
	name: "activity_rows",
	columns: []spec[pipeline.ActivityRow]{
		lowCardinality("tenant_id", func(r *pipeline.ActivityRow) string { return r.Event.TenantID }),
		lowCardinality("agent_id", func(r *pipeline.ActivityRow) string { return r.Event.AgentID }),
		millisColumn("time", func(r *pipeline.ActivityRow) schemas.Millis { return r.Event.Time }),
		stringColumn("event_id", func(r *pipeline.ActivityRow) string { return r.Event.EventID }),
		lowCardinality("agent_name", func(r *pipeline.ActivityRow) string { return r.Event.AgentName }),
		lowCardinality("agent_version", func(r *pipeline.ActivityRow) string { return r.Event.AgentVersion }),
		lowCardinality("peer_group", func(r *pipeline.ActivityRow) string { return r.Event.PeerGroup }),
		stringColumn("session_id", func(r *pipeline.ActivityRow) string { return r.Event.SessionID }),
		stringColumn("on_behalf_of", func(r *pipeline.ActivityRow) string { return r.Event.OnBehalfOf }),
		lowCardinality("action", func(r *pipeline.ActivityRow) string { return r.Event.Action }),
		lowCardinality("tool", func(r *pipeline.ActivityRow) string { return r.Event.Tool }),
		lowCardinality("access", func(r *pipeline.ActivityRow) string { return r.Event.Access }),
		stringArray("resources", func(r *pipeline.ActivityRow) []string { return r.Event.Resources }),
		numberColumn("resource_count", "UInt32", func(r *pipeline.ActivityRow) uint32 { return uint32(r.Event.ResourceCount()) }),
		lowCardinality("target_agent_id", func(r *pipeline.ActivityRow) string { return r.Event.TargetAgentID }),
		numberColumn("bytes_sent", "UInt64", func(r *pipeline.ActivityRow) uint64 { return r.Event.BytesSent }),
		numberColumn("bytes_received", "UInt64", func(r *pipeline.ActivityRow) uint64 { return r.Event.BytesReceived }),
		numberColumn("tokens_in", "UInt64", func(r *pipeline.ActivityRow) uint64 { return r.Event.TokensIn }),
		numberColumn("tokens_out", "UInt64", func(r *pipeline.ActivityRow) uint64 { return r.Event.TokensOut }),
		lowCardinality("outcome", func(r *pipeline.ActivityRow) string { return r.Event.Outcome }),
		numberColumn("duration_ms", "UInt64", func(r *pipeline.ActivityRow) uint64 { return r.Event.DurationMS }),
		lowCardinality("model", func(r *pipeline.ActivityRow) string { return r.Event.Model }),
		stringColumn("credential_id", func(r *pipeline.ActivityRow) string { return r.Event.CredentialID }),
		lowCardinality("credential_type", func(r *pipeline.ActivityRow) string { return r.Event.CredentialType }),
		optionalMillis("credential_expires", func(r *pipeline.ActivityRow) schemas.Millis { return r.Event.CredentialExpires }),
		stringColumn("source_ip", func(r *pipeline.ActivityRow) string { return r.Event.SourceIP }),
		attributeMap("attributes", func(r *pipeline.ActivityRow) []schemas.Attribute { return r.Event.Attributes }),
		millisColumn("recorded_at", func(r *pipeline.ActivityRow) schemas.Millis { return r.Event.RecordedAt }),
		flagWords("flags", func(r *pipeline.ActivityRow) *schemas.Flags { return &r.Event.Flags }),
		lowCardinality("origin_source", func(r *pipeline.ActivityRow) string { return r.Origin.Source }),
		numberColumn("origin_incarnation", "UInt32", func(r *pipeline.ActivityRow) uint32 { return r.Origin.Incarnation }),
		lowCardinality("origin_topic", func(r *pipeline.ActivityRow) string { return r.Origin.Topic }),
		numberColumn("origin_partition", "Int32", func(r *pipeline.ActivityRow) int32 { return r.Origin.Partition }),
		numberColumn("origin_offset", "Int64", func(r *pipeline.ActivityRow) int64 { return r.Origin.Offset }),
		numberColumn("origin_index", "Int32", func(r *pipeline.ActivityRow) int32 { return r.Origin.Index }),
		numberColumn("log_partition", "Int32", func(r *pipeline.ActivityRow) int32 { return r.Log.Partition }),
		numberColumn("log_offset", "Int64", func(r *pipeline.ActivityRow) int64 { return r.Log.Offset }),
		millisColumn("log_time", func(r *pipeline.ActivityRow) schemas.Millis { return r.LogTime }),
		numberColumn("version", "UInt64", activityVersion),
	},
}

// activityVersion orders the decodings of one record: by decoder, then by how this
// package made columns of it, then by its place in the log, where the first copy counts.
// Copies stand near each other, so that the end of the offset tells them apart.
func activityVersion(r *pipeline.ActivityRow) uint64 {
	const offsetBits = 28
	return uint64(r.Version)<<32 | rowFormat<<offsetBits | ^uint64(r.Log.Offset)&(1<<offsetBits-1)
}

// attributeMap is a Map(LowCardinality(String), String): an array of pairs, keys
// and values each as one column.
func attributeMap[R any](name string, get func(*R) []schemas.Attribute) spec[R] {
	return array(name, "Map(LowCardinality(String), String)", func(r *R) int { return len(get(r)) }, func() (func(*R, *wire), func(*wire)) {
		var (
			keys   dictionary
			values wire
		)
		return func(r *R, _ *wire) {
				for _, a := range get(r) {
					keys.add(a.Key)
					values.string(a.Value)
				}
			}, func(w *wire) {
				keys.flush(w)
				w.b = append(w.b, values.b...)
				values.b = values.b[:0]
			}
	})
}

// flagWords is an Array(LowCardinality(String)) in the notation of the activity
// event: time_clamped, resources_cut:300, fields_invalid:a,b.
func flagWords[R any](name string, get func(*R) *schemas.Flags) spec[R] {
	count := func(r *R) (n int) {
		for range get(r).Each {
			n++
		}
		return n
	}
	return array(name, "Array(LowCardinality(String))", count, func() (func(*R, *wire), func(*wire)) {
		var d dictionary
		return func(r *R, _ *wire) {
			for word, says := range get(r).Each {
				if says != "" {
					word += ":" + says
				}
				d.add(word)
			}
		}, d.flush
	})
}
