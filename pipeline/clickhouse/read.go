package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/plumbline-sec/plumbline/schemas"
)

// ActivityReader reads stored events, the earliest recorded first. The log's own offsets are not
// stored: of events that were recorded in the same millisecond the origin decides, which is
// the order of the log where they come from one source partition.
type ActivityReader struct {
	db       *DB
	from, to schemas.Millis // event time
	chunks   []activityChunk
	Events   int64 // that there were at the beginning
}

// activityChunk is what one query reads: the engine sorts no more than that at once.
type activityChunk struct{ from, to int64 } // minutes of recorded_at, to not included

// chunkRows is how many rows a chunk has, more only where one minute has.
const chunkRows = 400_000

// ReadActivity prepares reading the events whose time is in [from, to).
func (db *DB) ReadActivity(ctx context.Context, from, to schemas.Millis) (*ActivityReader, error) {
	r := &ActivityReader{db: db, from: from, to: to}
	rows, err := db.conn.Query(ctx, "SELECT intDiv(toUnixTimestamp64Milli(recorded_at), 60000) AS minute, count() FROM activity WHERE "+
		r.where()+" GROUP BY minute ORDER BY minute")
	if err != nil {
		return nil, db.explain("count the events", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	size := uint64(0)
	for rows.Next() {
		var (
			minute int64
			n      uint64
		)
		if err := rows.Scan(&minute, &n); err != nil {
			return nil, db.explain("count the events", err)
		}
		if size += n; len(r.chunks) == 0 || size > chunkRows {
			r.chunks, size = append(r.chunks, activityChunk{from: minute}), n
		}
		r.chunks[len(r.chunks)-1].to = minute + 1
		r.Events += int64(n)
	}
	return r, db.explain("count the events", rows.Err())
}

// where bounds the events' time; what was recorded five minutes before it or earlier can't
// have it, which leaves whole days out.
func (r *ActivityReader) where() string {
	return fmt.Sprintf("time >= fromUnixTimestamp64Milli(%d, 'UTC') AND time < fromUnixTimestamp64Milli(%d, 'UTC') AND recorded_at >= fromUnixTimestamp64Milli(%d, 'UTC')",
		r.from, r.to, max(0, r.from-schemas.MaxClockAhead))
}

// activityFields are the columns that have the names of the contract's fields.
var activityFields = strings.Join([]string{
	"event_id", "time", "tenant_id", "agent_id", "agent_name", "agent_version", "peer_group", "session_id", "on_behalf_of",
	"action", "tool", "access", "resources", "target_agent_id", "bytes_sent", "bytes_received", "tokens_in", "tokens_out",
	"outcome", "duration_ms", "model", "credential_id", "credential_type", "credential_expires", "source_ip", "attributes",
	"recorded_at", "flags",
}, ", ")

// Each calls visit with the canonical JSON of every event; it may keep the bytes.
func (r *ActivityReader) Each(ctx context.Context, visit func(json []byte) error) error {
	ctx = driver.Context(ctx, driver.WithSettings(driver.Settings{
		"date_time_output_format":                 "iso",
		"output_format_json_quote_64bit_integers": 0,
		"max_bytes_before_external_sort":          512 << 20,
		"max_execution_time":                      int(time.Hour.Seconds()),
	}))
	for _, c := range r.chunks {
		if err := r.chunk(ctx, c, visit); err != nil {
			return err
		}
	}
	return nil
}

func (r *ActivityReader) chunk(ctx context.Context, c activityChunk, visit func(json []byte) error) error {
	const order = "recorded_at, origin_source, origin_incarnation, origin_topic, origin_partition, origin_offset, origin_index"
	rows, err := r.db.conn.Query(ctx, fmt.Sprintf(
		"SELECT formatRow('JSONEachRow', %s) FROM activity WHERE %s AND recorded_at >= fromUnixTimestamp64Milli(%d, 'UTC') AND recorded_at < fromUnixTimestamp64Milli(%d, 'UTC') ORDER BY %s",
		activityFields, r.where(), c.from*60000, c.to*60000, order))
	if err != nil {
		return r.db.explain("read the events", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	for rows.Next() {
		var line []byte
		if err := rows.Scan(&line); err != nil {
			return r.db.explain("read the events", err)
		}
		if err := visit(line); err != nil {
			return err
		}
	}
	return r.db.explain("read the events", rows.Err())
}
