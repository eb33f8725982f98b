package clickhouse

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
)

func TestABatchMayCatchUpOverManyDays(t *testing.T) {
	db := migrated(t)
	rows := typicalRows(120, 3, now())
	for i := range rows {
		rows[i].Event.RecordedAt -= schemas.Millis(i) * 24 * 3600 * 1000
	}
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	require.Equal(t, 120, count(t, db, "activity"))
	require.Equal(t, 120, count(t, db, "(SELECT DISTINCT _partition_id FROM activity_rows)"))
}

func TestTimestampsOfProducersCannotMakePartitionsWithoutEnd(t *testing.T) {
	db := migrated(t)
	const day, years = 24 * 3600 * 1000, 280
	rows := typicalRows(years, 1, now())
	for i := range rows {
		rows[i].Event.RecordedAt = schemas.Millis(float64(i) * 365.25 * day) // the same day of every year
		rows[i].Event.Time = rows[i].Event.RecordedAt
	}
	exec(t, db, "SYSTEM STOP TTL MERGES activity_rows")
	for range 2 {
		require.NoError(t, db.InsertActivity(t.Context(), rows))
	}
	parts := count(t, db, "(SELECT DISTINCT _partition_id FROM activity_rows)")
	require.LessOrEqual(t, parts, 16, "four years, and where 365.25 days miss the day")
	require.Equal(t, years, count(t, db, "activity"), "rows that share a partition are told apart")
	// Every day that can be stored, in the expression of the table itself.
	var expr string
	scan(t, db, "SELECT partition_key FROM system.tables WHERE database = 'plumbline' AND name = 'activity_rows'", &expr)
	require.Equal(t, 1461, count(t, db, "(SELECT DISTINCT "+strings.ReplaceAll(expr, "recorded_at", "toDateTime64(number * 86400, 3, 'UTC')")+" FROM numbers(106600))"))
}

func TestRowsExpireDayByDayWhateverSharesTheirPart(t *testing.T) {
	const day = 24 * 3600 * 1000
	db := migrated(t, func(c *Config) { c.RetentionDays = 30 })
	present := schemas.Millis(time.Now().UnixMilli())
	rows := typicalRows(4, 1, now())
	// Expired; of the same part of the cycle but far in the future; young; and past
	// the retention, but of a day that is not over yet.
	for i, at := range []schemas.Millis{present - 40*day, present - 40*day + 10*1461*day, present, present - 30*day - 1} {
		rows[i].Event.RecordedAt = at
	}
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	require.Equal(t, 3, count(t, db, "(SELECT DISTINCT _partition_id FROM activity_rows)"))
	exec(t, db, "OPTIMIZE TABLE activity_rows FINAL")
	var left []int64
	scan(t, db, "SELECT arraySort(groupArray(origin_offset)) FROM activity_rows", &left)
	require.Equal(t, []int64{1, 2, 3}, left)
	require.Equal(t, 2, count(t, db, "activity"), "the view is exact")
}
