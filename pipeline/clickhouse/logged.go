package clickhouse

import (
	"context"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

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
// one that route wrote twice does, the newer decoding first. Registrations stand among
// them. The row is valid until each returns; its strings and
// lists are each's to keep.
func (db *DB) LoggedEvents(ctx context.Context, partition int32, from, before int64, each func(*pipeline.ActivityRow) error) error {
	said, err := db.registrations(ctx, partition, from, before)
	if err != nil {
		return err
	}
	if err := db.scanActivity(ctx, db.cfg.written(activityTable.name)+" WHERE log_partition = ? AND log_offset >= ? AND log_offset < ?", "log_offset, version DESC", func(row *pipeline.ActivityRow) error {
		if err := said.until(row, each); err != nil {
			return err
		}
		return each(row)
	}, partition, from, before); err != nil {
		return err
	}
	return said.rest(partition, each)
}

// LoggedRegistrations calls each with the registrations of a partition that stand before an
// offset, in the order of the log.
func (db *DB) LoggedRegistrations(ctx context.Context, partition int32, before int64, each func(*pipeline.ActivityRow) error) error {
	said, err := db.registrations(ctx, partition, 0, before)
	if err != nil {
		return err
	}
	return said.rest(partition, each)
}

// scanActivity is the one reader of stored events: each is called with the rows of from, a
// table and what is asked of it, in that order, which may name what places a row. The engine
// makes one value of every row before it sorts: it would take three times as long to move 38
// columns about.
func (db *DB) scanActivity(ctx context.Context, from, order string, each func(*pipeline.ActivityRow) error, args ...any) error {
	const op = "read the stored events"
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	ctx = driver.Context(ctx, driver.WithSettings(driver.Settings{
		"query_plan_execute_functions_after_sorting":  0,
		"do_not_merge_across_partitions_select_final": 1, // copies share their partition
		"use_skip_indexes_if_final":                   0, // they may differ in log_offset
		"max_block_size":                              8192,
		"max_bytes_before_external_sort":              512 << 20,
		"max_execution_time":                          int(time.Hour.Seconds()),
	}))
	rows, err := db.conn.Query(ctx, "SELECT record FROM (SELECT recorded_at, "+activityOrigin+", log_partition, log_offset, log_time, version, formatRow('RowBinary', "+activityRecord+") AS record FROM "+
		from+") ORDER BY "+order, args...)
	if err != nil {
		return db.explain(op, err)
	}
	defer func() {
		stop() // or Close would read what is left
		_ = rows.Close()
	}()
	var (
		r      pipeline.ActivityRow
		record string
	)
	for rows.Next() {
		if err := rows.Scan(&record); err != nil {
			return db.explain(op, err)
		}
		if err := readActivityRecord(&r, record); err != nil {
			return db.explain(op, err)
		}
		if err := each(&r); err != nil {
			return err
		}
	}
	return db.explain(op, rows.Err())
}

// Counted tells the events that the detector counted from those that route wrote again.
type Counted struct {
	last map[sourcePartition]schemas.Origin
}

type sourcePartition struct {
	log    int32
	source schemas.Origin // without its offset
}

// First reports whether an event that stands next in its partition of the log is there for
// the first time: detect remembers how far it has come of each source partition.
func (c *Counted) First(row *pipeline.ActivityRow) bool {
	if c.last == nil {
		c.last = make(map[sourcePartition]schemas.Origin)
	}
	at := row.Origin
	key := sourcePartition{row.Log.Partition, at}
	key.source.Offset, key.source.Index = 0, 0
	if last, ok := c.last[key]; ok && (at.Offset < last.Offset || at.Offset == last.Offset && at.Index <= last.Index) {
		return false
	}
	c.last[key] = at
	return true
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
