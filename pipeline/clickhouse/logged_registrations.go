package clickhouse

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/registration"
)

// registered are registrations that wait until their place in the log is reached.
type registered map[int32][]pipeline.ActivityRow // by partition, in the order of the log

// registrations reads those at offsets from one up to one before another, of one partition
// or, where that is negative, of all of them.
func (db *DB) registrations(ctx context.Context, partition int32, from, before int64) (registered, error) {
	const op = "read the registrations"
	rows, err := db.conn.Query(ctx, `SELECT registration, recorded_at, log_partition, log_offset, log_time, origin_source, origin_incarnation, origin_topic, origin_partition, origin_offset, origin_index
FROM `+db.cfg.written(registrationTable.name)+` FINAL WHERE (log_partition = ? OR ? < 0) AND log_offset >= ? AND log_offset < ? ORDER BY log_partition, log_offset`, partition, partition, from, before)
	if err != nil {
		return nil, db.explain(op, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	out := make(registered)
	canonical := registration.NewCanonical()
	for rows.Next() {
		var (
			row              pipeline.ActivityRow
			text             string
			recorded, logged time.Time
			o                = &row.Origin
		)
		if err := rows.Scan(&text, &recorded, &row.Log.Partition, &row.Log.Offset, &logged, &o.Source, &o.Incarnation, &o.Topic, &o.Partition, &o.Offset, &o.Index); err != nil {
			return nil, db.explain(op, err)
		}
		row.LogTime = schemas.Millis(logged.UnixMilli())
		in := decode.Record{Topic: pipeline.TopicActivity, Partition: row.Log.Partition, Offset: row.Log.Offset, Time: row.LogTime, Value: []byte(text)}
		canonical.Decode(&in, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
			if refusal != nil {
				err = fmt.Errorf("the registration at offset %d of partition %d: %w", row.Log.Offset, row.Log.Partition, refusal)
				return
			}
			row.Event = *ev
		})
		if err != nil {
			return nil, db.explain(op, err)
		}
		out[row.Log.Partition] = append(out[row.Log.Partition], row)
	}
	return out, db.explain(op, rows.Err())
}

// until hands on the registrations that stand before an event in its partition.
func (r registered) until(event *pipeline.ActivityRow, each func(*pipeline.ActivityRow) error) error {
	return r.before(event.Log.Partition, event.Log.Offset, each)
}

func (r registered) before(partition int32, offset int64, each func(*pipeline.ActivityRow) error) error {
	for len(r[partition]) > 0 && r[partition][0].Log.Offset < offset {
		row := &r[partition][0]
		r[partition] = r[partition][1:]
		if err := each(row); err != nil {
			return err
		}
	}
	return nil
}

// rest hands on all that are left of a partition.
func (r registered) rest(partition int32, each func(*pipeline.ActivityRow) error) error {
	return r.before(partition, math.MaxInt64, each)
}
