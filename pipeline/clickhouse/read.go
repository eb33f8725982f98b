package clickhouse

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// ActivityReader reads stored events as the detectors saw them: each partition of
// pipeline.TopicActivity in the order of its offsets, and of several partitions the one
// whose next event was appended first, as a consumer of the topic would merge them.
//
// Rows from before migration 0005 don't know their place. They come before all others, the
// earliest recorded first; of those of one millisecond the origin decides, which is the
// order of the log where they come from one source partition.
//
// What retention hides from the view is not read, although it may still be stored.
type ActivityReader struct {
	db       *DB
	chunk    uint64   // rows of a query, about
	unplaced []string // what stands behind FROM, a query each
	placed   []string
	counted  Counted

	Events   int64 // that were stored at the beginning; copies count until they are merged
	Unplaced int64 // those of them that don't know their place
}

// chunkRows is how many rows a query has, about, so that the engine sorts no more than that
// at once; more only where one millisecond has.
const chunkRows = 400_000

// ReadActivity prepares reading the events whose time is in [from, to).
func (db *DB) ReadActivity(ctx context.Context, from, to schemas.Millis) (*ActivityReader, error) {
	return db.readActivity(ctx, from, to, chunkRows)
}

func (db *DB) readActivity(ctx context.Context, from, to schemas.Millis, chunk uint64) (*ActivityReader, error) {
	r := &ActivityReader{db: db, chunk: chunk}
	// An event is recorded five minutes before its time at the earliest, which leaves whole
	// days out.
	kept := time.Now().AddDate(0, 0, -db.cfg.RetentionDays).UnixMilli()
	where := fmt.Sprintf("time >= %s AND time < %s AND recorded_at >= %s", instant(int64(from)), instant(int64(to)), instant(max(0, int64(from-schemas.MaxClockAhead), kept)))
	if err := r.planUnplaced(ctx, where+" AND log_offset < 0"); err != nil {
		return nil, db.explain("count the events", err)
	}
	if err := r.planPlaced(ctx, where+" AND log_offset >= 0"); err != nil {
		return nil, db.explain("count the events", err)
	}
	return r, nil
}

func instant(millis int64) string { return fmt.Sprintf("fromUnixTimestamp64Milli(%d, 'UTC')", millis) }

// cuts counts rows, and returns the instants of a column from each of which on about a
// chunk of them follows until the next one. The first one is 0, and before all.
func (r *ActivityReader) cuts(ctx context.Context, column, where string) (cuts []int64, rows int64, err error) {
	var n uint64
	if err := r.db.conn.QueryRow(ctx, "SELECT count() FROM "+r.table()+" WHERE "+where).Scan(&n); err != nil || n == 0 {
		return nil, 0, err
	}
	cuts = []int64{0}
	if n > r.chunk {
		pieces := n/r.chunk + 1
		levels := make([]string, 0, pieces)
		for i := uint64(1); i < pieces; i++ {
			levels = append(levels, fmt.Sprintf("%.9f", float64(i)/float64(pieces)))
		}
		var found []int64
		if err := r.db.conn.QueryRow(ctx, "SELECT arrayMap(x -> toInt64(x), quantiles("+strings.Join(levels, ", ")+")(toUnixTimestamp64Milli("+column+"))) FROM "+r.table()+" WHERE "+where).Scan(&found); err != nil {
			return nil, 0, err
		}
		cuts = append(cuts, found...)
		slices.Sort(cuts)
		cuts = slices.Compact(cuts)
	}
	return cuts, int64(n), nil
}

func (r *ActivityReader) table() string { return r.db.cfg.written(activityTable.name) }

// planUnplaced reads with FINAL: a copy of a row may know its place, and hides the one that
// does not.
func (r *ActivityReader) planUnplaced(ctx context.Context, where string) error {
	cuts, n, err := r.cuts(ctx, "recorded_at", where)
	if err != nil {
		return err
	}
	r.Events, r.Unplaced = n, n
	for i, cut := range cuts {
		from := r.table() + " FINAL WHERE " + where + " AND recorded_at >= " + instant(cut)
		if i+1 < len(cuts) {
			from += " AND recorded_at < " + instant(cuts[i+1])
		}
		r.unplaced = append(r.unplaced, from)
	}
	return nil
}

// planPlaced cuts the log at instants. A partition is cut at its first offset that was
// appended at such an instant or later: where the broker's clock went back, the offsets
// behind it still follow.
func (r *ActivityReader) planPlaced(ctx context.Context, where string) error {
	cuts, n, err := r.cuts(ctx, "log_time", where)
	if err != nil || n == 0 {
		return err
	}
	r.Events += n
	texts := make([]string, len(cuts))
	for i, c := range cuts {
		texts[i] = fmt.Sprintf("toInt64(%d)", c)
	}
	rows, err := r.db.conn.Query(ctx, "SELECT log_partition, roundDown(toUnixTimestamp64Milli(log_time), ["+strings.Join(texts, ", ")+"]) AS cut, min(log_offset), max(log_offset) + 1 FROM "+r.table()+" WHERE "+
		where+" GROUP BY log_partition, cut")
	if err != nil {
		return err
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	// Of a partition, the first offset of each cut, and behind these where it ends.
	begins := make(map[int32][]int64)
	for rows.Next() {
		var (
			partition       int32
			cut, first, end int64
		)
		if err := rows.Scan(&partition, &cut, &first, &end); err != nil {
			return err
		}
		b := begins[partition]
		if b == nil {
			b = slices.Repeat([]int64{-1}, len(cuts)+1)
			begins[partition] = b
		}
		at, _ := slices.BinarySearch(cuts, cut)
		b[at], b[len(cuts)] = first, max(b[len(cuts)], end)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	parts := make([][]string, len(cuts))
	for _, p := range slices.Sorted(maps.Keys(begins)) {
		b := begins[p]
		for i := len(cuts) - 1; i >= 0; i-- {
			if b[i] < 0 || b[i] > b[i+1] {
				b[i] = b[i+1]
			}
			if b[i] < b[i+1] {
				parts[i] = append(parts[i], fmt.Sprintf("log_partition = %d AND log_offset >= %d AND log_offset < %d", p, b[i], b[i+1]))
			}
		}
	}
	for _, of := range parts {
		if len(of) > 0 {
			r.placed = append(r.placed, r.table()+" WHERE "+where+" AND ("+strings.Join(of, " OR ")+")")
		}
	}
	return nil
}

// logOrder merges the partitions. No event comes before one of its partition, even where
// the broker's clock went back.
const logOrder = "max(log_time) OVER (PARTITION BY log_partition ORDER BY log_offset), log_partition, log_offset, version DESC"

// Each calls visit with every event once, and with when it arrived. The row is valid until
// visit returns; its strings and lists are visit's to keep. Of an event without a place the
// arrival is when it was recorded, soon before it was appended.
//
// Registrations come before the event that they stand before, also those that were said
// before the first event that is read.
func (r *ActivityReader) Each(ctx context.Context, visit func(row *pipeline.ActivityRow, arrived schemas.Millis) error) error {
	said, err := r.db.registrations(ctx, -1, 0, math.MaxInt64)
	if err != nil {
		return err
	}
	registration := func(row *pipeline.ActivityRow) error { return visit(row, row.LogTime) }
	for _, from := range r.unplaced {
		if err := r.db.scanActivity(ctx, from, "recorded_at, "+activityOrigin, func(row *pipeline.ActivityRow) error { return visit(row, row.Event.RecordedAt) }); err != nil {
			return err
		}
	}
	for _, from := range r.placed {
		if err := r.db.scanActivity(ctx, from, logOrder, func(row *pipeline.ActivityRow) error {
			if !r.counted.First(row) {
				return nil
			}
			if err := said.until(row, registration); err != nil {
				return err
			}
			return visit(row, row.LogTime)
		}); err != nil {
			return err
		}
	}
	return nil
}
