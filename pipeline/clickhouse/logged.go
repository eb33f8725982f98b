package clickhouse

import (
	"context"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// LogSpan is what is stored of one partition of pipeline.TopicActivity.
type LogSpan struct {
	First, Last int64 // offsets
	Rows        uint64
}

// LogSpan returns what is stored of a partition; no Rows: nothing that knows its place.
func (db *DB) LogSpan(ctx context.Context, partition int32) (LogSpan, error) {
	var s LogSpan
	err := db.conn.QueryRow(ctx, "SELECT min(log_offset), max(log_offset), count() FROM "+db.cfg.written(activityTable.name)+" WHERE log_partition = ? AND log_offset >= 0", partition).
		Scan(&s.First, &s.Last, &s.Rows)
	return s, db.explain("read the bounds of the log", err)
}

// LoggedEvents calls each with the stored events of a partition of pipeline.TopicActivity,
// from an offset on up to one before another, in the order of the log. It reads the table
// without FINAL, which would read the whole of it for each call: an event may come twice, as
// one that route wrote twice does, the newer decoding first. The row is each's to keep.
func (db *DB) LoggedEvents(ctx context.Context, partition int32, from, before int64, each func(*pipeline.ActivityRow) error) error {
	const op = "read events in the order of the log"
	rows, err := db.conn.Query(ctx, `SELECT tenant_id, agent_id, time, event_id, agent_name, agent_version, peer_group, session_id, on_behalf_of,
	action, tool, access, resources, target_agent_id, bytes_sent, bytes_received, tokens_in, tokens_out, outcome, duration_ms, model,
	credential_id, credential_type, credential_expires, source_ip, mapKeys(attributes), mapValues(attributes), recorded_at, flags,
	origin_source, origin_incarnation, origin_topic, origin_partition, origin_offset, origin_index, log_partition, log_offset, log_time
FROM `+db.cfg.written(activityTable.name)+` WHERE log_partition = ? AND log_offset >= ? AND log_offset < ? ORDER BY log_offset, version DESC`, partition, from, before)
	if err != nil {
		return db.explain(op, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	for rows.Next() {
		var (
			r                     pipeline.ActivityRow
			at, recorded, logged  time.Time
			expires               *time.Time
			keys, values, flagged []string
		)
		e, o := &r.Event, &r.Origin
		if err := rows.Scan(&e.TenantID, &e.AgentID, &at, &e.EventID, &e.AgentName, &e.AgentVersion, &e.PeerGroup, &e.SessionID, &e.OnBehalfOf,
			&e.Action, &e.Tool, &e.Access, &e.Resources, &e.TargetAgentID, &e.BytesSent, &e.BytesReceived, &e.TokensIn, &e.TokensOut, &e.Outcome, &e.DurationMS, &e.Model,
			&e.CredentialID, &e.CredentialType, &expires, &e.SourceIP, &keys, &values, &recorded, &flagged,
			&o.Source, &o.Incarnation, &o.Topic, &o.Partition, &o.Offset, &o.Index, &r.Log.Partition, &r.Log.Offset, &logged); err != nil {
			return db.explain(op, err)
		}
		e.Time, e.RecordedAt, r.LogTime = schemas.Millis(at.UnixMilli()), schemas.Millis(recorded.UnixMilli()), schemas.Millis(logged.UnixMilli())
		if expires != nil {
			e.CredentialExpires = schemas.Millis(expires.UnixMilli())
		}
		for i, k := range keys {
			e.Attributes = append(e.Attributes, schemas.Attribute{Key: k, Value: values[i]})
		}
		for _, word := range flagged {
			name, says, _ := strings.Cut(word, ":")
			e.Flags.Set(name, says)
		}
		if err := each(&r); err != nil {
			return err
		}
	}
	return db.explain(op, rows.Err())
}

// ConfigHashes returns under which configs windows were closed until a time, the first
// one first.
func (db *DB) ConfigHashes(ctx context.Context, until schemas.Millis) ([]string, error) {
	var (
		hash string
		out  []string
	)
	const op = "read the configs"
	rows, err := db.conn.Query(ctx, `SELECT config_hash FROM windows WHERE recorded_at <= fromUnixTimestamp64Milli(toInt64(?), 'UTC') GROUP BY config_hash ORDER BY min(recorded_at) LIMIT 20`, int64(until))
	if err != nil {
		return nil, db.explain(op, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	for rows.Next() {
		if err := rows.Scan(&hash); err != nil {
			return nil, db.explain(op, err)
		}
		out = append(out, hash)
	}
	return out, db.explain(op, rows.Err())
}
