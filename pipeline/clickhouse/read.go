package clickhouse

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// ActivityReader reads stored events as the detectors saw them: each partition of
// pipeline.TopicActivity in the order of its offsets, and of several partitions what was
// appended first. Rows from before migration 0005 do not know their place. They come before
// all others, the earliest recorded first; of those of one millisecond the origin decides,
// which is the order of the log where they come from one source partition.
type ActivityReader struct {
	db        *DB
	from, to  schemas.Millis // event time
	minutes   []minutes      // of the rows that don't know their place
	stretches []stretch
	counted   Counted

	Events   int64 // that were stored at the beginning, about
	Unplaced int64 // those of them that don't know their place
}

// What one query reads, so that the engine sorts no more than that at once: minutes of
// recorded_at, or offsets of partitions. The ends are not included.
type (
	minutes struct{ from, to int64 }
	stretch []offsets
	offsets struct {
		partition    int32
		from, before int64
	}
)

// chunkRows is how many rows a query has, about; more only where one minute, or one
// millisecond of the log, has.
const chunkRows = 400_000

// ReadActivity prepares reading the events whose time is in [from, to).
func (db *DB) ReadActivity(ctx context.Context, from, to schemas.Millis) (*ActivityReader, error) {
	r := &ActivityReader{db: db, from: from, to: to}
	if err := r.planMinutes(ctx); err != nil {
		return nil, db.explain("count the events", err)
	}
	if err := r.planLog(ctx); err != nil {
		return nil, db.explain("count the events", err)
	}
	return r, nil
}

func (r *ActivityReader) planMinutes(ctx context.Context) error {
	size := int64(0)
	var minute int64
	var n uint64
	return r.each(ctx, "SELECT intDiv(toUnixTimestamp64Milli(recorded_at), 60000) AS minute, count() FROM activity_rows WHERE "+
		r.where()+" AND log_offset < 0 GROUP BY minute ORDER BY minute", func() {
		if size += int64(n); len(r.minutes) == 0 || size > chunkRows {
			r.minutes, size = append(r.minutes, minutes{from: minute}), int64(n)
		}
		r.minutes[len(r.minutes)-1].to = minute + 1
		r.Events += int64(n)
		r.Unplaced += int64(n)
	}, &minute, &n)
}

// planLog cuts the log at instants that have about as many rows between them. A partition is
// cut at the first offset that was appended at such an instant or later: a broker's clock
// that goes back moves no event across a cut that others behind it don't cross, so that the
// order of the offsets holds.
func (r *ActivityReader) planLog(ctx context.Context) error {
	var n uint64
	if err := r.each(ctx, "SELECT count() FROM activity_rows WHERE "+r.where()+" AND log_offset >= 0", func() {}, &n); err != nil || n == 0 {
		return err
	}
	r.Events += int64(n)
	levels := []string{}
	pieces := int(n/chunkRows) + 1
	for i := 1; i < pieces; i++ {
		levels = append(levels, fmt.Sprintf("%.9f", float64(i)/float64(pieces)))
	}
	cuts := []int64{0}
	if len(levels) > 0 {
		var found []int64
		if err := r.each(ctx, "SELECT arrayMap(x -> toInt64(x), quantiles("+strings.Join(levels, ", ")+")(toUnixTimestamp64Milli(log_time))) FROM activity_rows WHERE "+
			r.where()+" AND log_offset >= 0", func() {}, &found); err != nil {
			return err
		}
		cuts = slices.Compact(append(cuts, found...))
	}
	texts := make([]string, len(cuts))
	for i, c := range cuts {
		texts[i] = fmt.Sprintf("toInt64(%d)", c)
	}
	text := strings.Join(texts, ", ")
	var (
		partition   int32
		cut         int64
		first, last int64
	)
	// Of a partition, the first offset behind each cut; the last cut is its end.
	firsts := make(map[int32][]int64)
	err := r.each(ctx, "SELECT log_partition, roundDown(toUnixTimestamp64Milli(log_time), ["+text+"]) AS cut, min(log_offset), max(log_offset) + 1 FROM activity_rows WHERE "+
		r.where()+" AND log_offset >= 0 GROUP BY log_partition, cut ORDER BY log_partition, cut", func() {
		f := firsts[partition]
		for len(f) <= len(cuts) {
			f = append(f, -1)
		}
		at, _ := slices.BinarySearch(cuts, cut)
		f[at], f[len(cuts)] = first, max(f[len(cuts)], last)
		firsts[partition] = f
	}, &partition, &cut, &first, &last)
	if err != nil {
		return err
	}
	r.stretches = make([]stretch, len(cuts))
	for p, f := range firsts {
		for i := len(cuts) - 1; i >= 0; i-- {
			if f[i] < 0 || f[i] > f[i+1] {
				f[i] = f[i+1]
			}
			if f[i] < f[i+1] {
				r.stretches[i] = append(r.stretches[i], offsets{p, f[i], f[i+1]})
			}
		}
	}
	for _, s := range r.stretches {
		slices.SortFunc(s, func(a, b offsets) int { return cmp.Compare(a.partition, b.partition) })
	}
	return nil
}

// each scans every row of a query into to, and calls do.
func (r *ActivityReader) each(ctx context.Context, sql string, do func(), to ...any) error {
	rows, err := r.db.conn.Query(ctx, sql)
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return err
		}
		do()
	}
	return rows.Err()
}

// where bounds the events' time; what was recorded five minutes before it or earlier can't
// have it, which leaves whole days out.
func (r *ActivityReader) where() string {
	return fmt.Sprintf("time >= %s AND time < %s AND recorded_at >= %s", instant(int64(r.from)), instant(int64(r.to)), instant(int64(max(0, r.from-schemas.MaxClockAhead))))
}

func instant(millis int64) string { return fmt.Sprintf("fromUnixTimestamp64Milli(%d, 'UTC')", millis) }

// Each calls visit with every event once, and with when it arrived. The row is valid until
// visit returns; its strings and lists are visit's to keep. Of an event without a place the
// arrival is when it was recorded, soon before it was appended.
func (r *ActivityReader) Each(ctx context.Context, visit func(row *pipeline.ActivityRow, arrived schemas.Millis) error) error {
	ctx = driver.Context(ctx, driver.WithSettings(driver.Settings{
		"use_skip_indexes_if_final":      0, // one copy of a row may know its place, and another not
		"max_bytes_before_external_sort": 512 << 20,
		"max_execution_time":             int(time.Hour.Seconds()),
	}))
	for _, m := range r.minutes {
		from := fmt.Sprintf("activity_rows FINAL WHERE %s AND recorded_at >= %s AND recorded_at < %s AND log_offset < 0", r.where(), instant(m.from*60000), instant(m.to*60000))
		const order = " ORDER BY recorded_at, origin_source, origin_incarnation, origin_topic, origin_partition, origin_offset, origin_index"
		if err := r.db.scanActivity(ctx, from+order, func(row *pipeline.ActivityRow) error { return visit(row, row.Event.RecordedAt) }); err != nil {
			return err
		}
	}
	for _, s := range r.stretches {
		if len(s) == 0 {
			continue
		}
		var parts []string
		for _, o := range s {
			parts = append(parts, fmt.Sprintf("log_partition = %d AND log_offset >= %d AND log_offset < %d", o.partition, o.from, o.before))
		}
		from := "activity_rows WHERE " + r.where() + " AND (" + strings.Join(parts, " OR ") + ")"
		order := " ORDER BY max(log_time) OVER (PARTITION BY log_partition ORDER BY log_offset), log_partition, log_offset, version DESC"
		if os.Getenv("PLAIN") != "" {
			order = " ORDER BY log_time, log_partition, log_offset, version DESC"
		}
		if err := r.db.scanActivity(ctx, from+order, func(row *pipeline.ActivityRow) error {
			if !r.counted.First(row) {
				return nil
			}
			return visit(row, row.LogTime)
		}); err != nil {
			return err
		}
	}
	return nil
}
