package clickhouse

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestEventsComeBackInTheOrderOfTheLogAsTheyWere(t *testing.T) {
	db := migrated(t)
	rows := typicalRows(300, 5, now())
	for i := range rows {
		rows[i].Log, rows[i].LogTime = pipeline.Place{Partition: int32(i % 2), Offset: int64(i / 2)}, rows[i].Event.RecordedAt+7
	}
	rows[4].Event.Flags = schemas.Flags{TimeClamped: true, Old: true, UTF8Replaced: true, ResourcesCut: 300, AttributesCut: 9, StringsCut: 2, FieldsInvalid: []string{"a", "b"}}
	rows[4].Event.CredentialExpires = now()
	rows[4].Event.Attributes = []schemas.Attribute{{Key: "z", Value: hostile[3]}, {Key: "a", Value: hostile[4]}, {Key: "z", Value: "again"}}
	require.NoError(t, db.InsertActivity(t.Context(), rows[150:]))
	require.NoError(t, db.InsertActivity(t.Context(), rows[:150]))
	old := typicalRows(301, 5, now())[300]
	old.Log = pipeline.NoPlace
	require.NoError(t, db.InsertActivity(t.Context(), []pipeline.ActivityRow{old}))

	span, err := db.LogSpan(t.Context(), 0)
	require.NoError(t, err)
	require.Equal(t, LogSpan{First: 0, Last: 149, Rows: 150}, span)
	span, err = db.LogSpan(t.Context(), 7)
	require.NoError(t, err)
	require.Zero(t, span.Rows)

	var got []*pipeline.ActivityRow
	read := func(from, before int64) {
		got = nil
		require.NoError(t, db.LoggedEvents(t.Context(), 0, from, before, func(r *pipeline.ActivityRow) error {
			row := *r
			got = append(got, &row)
			return nil
		}))
	}
	read(1, 100)
	require.Len(t, got, 99)
	for i, r := range got {
		want := rows[2*(i+1)]
		require.Equal(t, want.Origin, r.Origin)
		require.Equal(t, want.Log, r.Log)
		require.Equal(t, want.LogTime, r.LogTime)
		require.Equal(t, want.Event, r.Event)
		require.Equal(t, string(schemas.AppendActivity(nil, &want.Event)), string(schemas.AppendActivity(nil, &r.Event)))
	}

	// Of an event that route wrote twice the first copy stays, whichever was stored last.
	again := rows[4]
	again.Log.Offset += 500
	require.NoError(t, db.InsertActivity(t.Context(), []pipeline.ActivityRow{again}))
	exec(t, db, "OPTIMIZE TABLE activity_rows FINAL")
	read(2, 3)
	require.Len(t, got, 1)
	read(150, 1000)
	require.Empty(t, got)
}
