package clickhouse

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// readAll reads the events of the present, and checks that no query has much more than a chunk.
func readAll(t *testing.T, db *DB, chunk int) (got []pipeline.ActivityRow, r *ActivityReader) {
	t.Helper()
	r, err := db.readActivity(t.Context(), 0, now()+dayMillis, uint64(chunk))
	require.NoError(t, err)
	for _, from := range append(r.unplaced, r.placed...) {
		require.LessOrEqual(t, count(t, db, from), 2*chunk, from)
	}
	require.NoError(t, r.Each(t.Context(), func(row *pipeline.ActivityRow, arrived schemas.Millis) error {
		if row.Log == pipeline.NoPlace {
			require.Equal(t, row.Event.RecordedAt, arrived)
		} else {
			require.Equal(t, row.LogTime, arrived)
		}
		got = append(got, *row)
		return nil
	}))
	return got, r
}

const dayMillis = 24 * 3600 * 1000

// randomLog is a log of three partitions whose broker's clock goes back now and then, in
// which route wrote some events again. It returns what is stored of it and, as the topic
// gives it, what the detector counted.
func randomLog(rng *rand.Rand, n int) (stored, counted []pipeline.ActivityRow) {
	var logs [3][]pipeline.ActivityRow
	repeated := make(map[pipeline.Place]bool)
	var clocks [3]schemas.Millis
	add := func(p int, row pipeline.ActivityRow, again bool) {
		if clocks[p] += schemas.Millis(rng.IntN(4)); rng.IntN(20) == 0 {
			clocks[p] -= 15
		}
		row.Log, row.LogTime = pipeline.Place{Partition: int32(p), Offset: int64(len(logs[p]))}, now()+clocks[p]
		logs[p] = append(logs[p], row)
		repeated[row.Log] = again
	}
	for _, row := range typicalRows(n, 40, now()) {
		p := int(row.Origin.Partition) % 3
		add(p, row, false)
		if rng.IntN(30) == 0 { // a flush that was not acknowledged
			for _, again := range logs[p][max(0, len(logs[p])-5):] {
				add(p, again, true)
			}
		}
	}
	for p := range logs {
		stored = append(stored, logs[p]...)
	}
	for {
		next := -1
		for p := range logs {
			if len(logs[p]) > 0 && (next < 0 || logs[p][0].LogTime < logs[next][0].LogTime) {
				next = p
			}
		}
		if next < 0 {
			return stored, counted
		}
		if row := logs[next][0]; !repeated[row.Log] {
			counted = append(counted, row)
		}
		logs[next] = logs[next][1:]
	}
}

func TestStoredEventsAreReadAsTheTopicGivesThem(t *testing.T) {
	rng := seeded.Rand(t)
	db := migrated(t)
	stored, want := randomLog(rng, 900)
	// What archive stored twice is one event, and of two decodings the newer one counts.
	for _, i := range rng.Perm(len(stored))[:60] {
		stored = append(stored, stored[i])
	}
	for _, i := range rng.Perm(len(want))[:60] {
		newer := want[i]
		newer.Version++
		newer.Event.AgentName = "decoded again"
		want[i].Event = newer.Event
		stored = append(stored, newer)
	}
	rng.Shuffle(len(stored), func(i, j int) { stored[i], stored[j] = stored[j], stored[i] })
	for len(stored) > 0 {
		n := min(len(stored), 300)
		require.NoError(t, db.InsertActivity(t.Context(), stored[:n]))
		stored = stored[n:]
	}
	for i := range want {
		want[i].Version = 0 // it is not read
	}
	for _, chunk := range []int{100, 333, 100_000} {
		got, r := readAll(t, db, chunk)
		require.Equal(t, want, got, "chunks of %d", chunk)
		require.GreaterOrEqual(t, len(r.placed), min(len(want)/chunk, 9))
		require.Zero(t, r.Unplaced)
		require.GreaterOrEqual(t, r.Events, int64(len(want)))
	}
	exec(t, db, "OPTIMIZE TABLE activity_rows FINAL")
	// The copies that are gone took part in the clocks of their partitions.
	got, r := readAll(t, db, 100)
	of := func(rows []pipeline.ActivityRow, p int32) []pipeline.ActivityRow {
		return slices.DeleteFunc(slices.Clone(rows), func(r pipeline.ActivityRow) bool { return r.Log.Partition != p })
	}
	for p := range int32(3) {
		require.Equal(t, of(want, p), of(got, p), "merged")
	}
	require.Equal(t, int64(len(want)), r.Events)
}

func TestEventsThatDoNotKnowTheirPlaceComeFirstInTheOrderOfTheirRecords(t *testing.T) {
	db := migrated(t)
	rows := typicalRows(300, 5, now())
	for i := range rows {
		rows[i].Log = pipeline.NoPlace
		rows[i].Event.RecordedAt = now() + schemas.Millis(i/3)
		rows[i].Origin = schemas.Origin{Source: "default", Topic: "t", Offset: int64(i)}
	}
	// One is stored again by a program that knows its place, and others are new.
	placed := typicalRows(320, 5, now())[300:]
	placed = append(placed, rows[120])
	for i := range placed {
		placed[i].Log, placed[i].LogTime = pipeline.Place{Offset: int64(i)}, now()+schemas.Millis(i)
	}
	for _, part := range [][]pipeline.ActivityRow{placed, rows[150:], rows[:200]} {
		require.NoError(t, db.InsertActivity(t.Context(), part))
	}
	want := append(append(append([]pipeline.ActivityRow{}, rows[:120]...), rows[121:]...), placed...)
	for i := range want {
		want[i].Version = 0
		if want[i].Log == pipeline.NoPlace {
			want[i].LogTime = 0
		}
	}
	for _, chunk := range []int{50, 1000} {
		got, r := readAll(t, db, chunk)
		require.Equal(t, want, got)
		require.Equal(t, int64(350), r.Unplaced, "two parts hold copies of fifty")
	}
}

func TestReadingEndsWhereTheReaderSaysSo(t *testing.T) {
	db := migrated(t)
	stored, _ := randomLog(rand.New(rand.NewPCG(1, 2)), 30_000)
	require.NoError(t, db.InsertActivity(t.Context(), stored))
	r, err := db.ReadActivity(t.Context(), 0, now()+dayMillis)
	require.NoError(t, err)
	for range 3 {
		n := 0
		require.Equal(t, errRecord, r.Each(t.Context(), func(*pipeline.ActivityRow, schemas.Millis) error {
			r.counted = Counted{}
			n++
			return errRecord
		}))
		require.Equal(t, 1, n)
	}
}

func TestWhatRetentionHidesIsNotRead(t *testing.T) {
	db := migrated(t, func(c *Config) { c.RetentionDays = 2 })
	rows := typicalRows(4, 1, now())
	for i := range rows {
		rows[i].Log, rows[i].LogTime = pipeline.Place{Offset: int64(i)}, rows[i].Event.RecordedAt
	}
	rows[1].Event.RecordedAt -= 2*dayMillis + 2*3600*1000 // its day is not over
	rows[2].Log, rows[2].Event.RecordedAt = pipeline.NoPlace, rows[1].Event.RecordedAt
	exec(t, db, "SYSTEM STOP TTL MERGES activity_rows")
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	require.Equal(t, 4, count(t, db, "activity_rows"), "all are stored yet")
	got, _ := readAll(t, db, 100)
	require.Len(t, got, 2)
	require.Len(t, got, count(t, db, "activity"))
}

func TestARowThatIsCutShortIsRefused(t *testing.T) {
	db := migrated(t)
	rows := typicalRows(1, 1, now())
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	var record string
	scan(t, db, "SELECT formatRow('RowBinary', "+activityRecord+") FROM activity_rows", &record)
	var row pipeline.ActivityRow
	require.NoError(t, readActivityRecord(&row, record))
	require.Equal(t, rows[0].Event, row.Event)
	for n := range len(record) {
		require.ErrorIs(t, readActivityRecord(&row, record[:n]), errRecord, "%d bytes", n)
	}
	require.ErrorIs(t, readActivityRecord(&row, record+"x"), errRecord)
}
