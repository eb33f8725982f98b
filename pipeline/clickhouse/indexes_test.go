package clickhouse

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
)

// conditions are what is asked through each index of activity_rows.
var conditions = map[string]string{
	"event_id":        "event_id = '%s'",
	"session_id":      "session_id = '%s'",
	"on_behalf_of":    "on_behalf_of = '%s'",
	"tool":            "tool = '%s'",
	"target_agent_id": "target_agent_id = '%s'",
	"credential_id":   "credential_id = '%s'",
	"source_ip":       "source_ip = '%s'",
	"resources":       "has(resources, '%s')",
	"log_offset":      "log_offset = 7%s",
	"time":            "time BETWEEN toDateTime64('2001-01-01 00:00:00', 3, 'UTC') AND toDateTime64('2001-01-01 0%.1s:00:00', 3, 'UTC')",
}

func TestEveryIndexLeavesOutWhatCannotMatchUnderTheView(t *testing.T) {
	db := migrated(t)
	s, err := loadSchema(sqlFiles)
	require.NoError(t, err)
	var names []string
	for _, i := range s.expected["activity_rows"].Indexes {
		names = append(names, i.Name)
	}
	require.Equal(t, slices.Sorted(maps.Keys(conditions)), names, "an index without a condition, or the other way round")
	for i := range 3 {
		require.NoError(t, db.InsertActivity(t.Context(), typicalRows(50, 3, now()-schemas.Millis(i)*day)))
	}
	for name, condition := range conditions {
		t.Run(name, func(t *testing.T) {
			plan := explain(t, db, "SELECT * FROM activity WHERE "+fmt.Sprintf(condition, "1"))
			require.Contains(t, plan, "Name: "+name)
			_, of, ok := strings.Cut(plan, "Name: "+name)
			require.True(t, ok)
			require.Contains(t, of, "Granules: 0/3", "a value that is nowhere")
			require.NotContains(t, plan, "PrimaryKeyExpand", "what the index left out is not read after all")
		})
	}
}

// explain returns how a query would be read.
func explain(tb testing.TB, db *DB, sql string) string {
	tb.Helper()
	rows, err := db.conn.Query(tb.Context(), "EXPLAIN indexes = 1 "+sql)
	require.NoError(tb, err, sql)
	defer rows.Close() //nolint:errcheck // rows.Err has it
	var b strings.Builder
	for rows.Next() {
		var line string
		require.NoError(tb, rows.Scan(&line))
		b.WriteString(line + "\n")
	}
	require.NoError(tb, rows.Err())
	return b.String()
}

func TestALookupShowsAnEventOnceHoweverOftenItIsStored(t *testing.T) {
	db := migrated(t)
	exec(t, db, "SYSTEM STOP MERGES activity_rows")
	rows := typicalRows(400, 5, now())
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	require.NoError(t, db.InsertActivity(t.Context(), rows[100:300]))
	require.NoError(t, db.InsertActivity(t.Context(), rows[250:]))
	ev := rows[275].Event // three times in the table
	require.Equal(t, 3, count(t, db, "activity_rows WHERE event_id = '"+ev.EventID+"'"))
	value := map[string]string{
		"event_id": ev.EventID, "session_id": ev.SessionID, "on_behalf_of": ev.OnBehalfOf, "tool": ev.Tool,
		"credential_id": ev.CredentialID, "source_ip": ev.SourceIP, "resources": ev.Resources[0],
	}
	for name, v := range value {
		t.Run(name, func(t *testing.T) {
			where := fmt.Sprintf(conditions[name], v)
			origins := count(t, db, "(SELECT DISTINCT origin_partition, origin_offset FROM activity_rows WHERE "+where+")")
			require.Positive(t, origins)
			require.Equal(t, origins, count(t, db, "activity WHERE "+where))
		})
	}
}

// Between two decodings of one record an index may decide before the newer one wins:
// what ADR 0005 says of them.
func TestALookupFindsOneOfTwoDecodingsAndTheNewerAfterTheMerge(t *testing.T) {
	db := migrated(t)
	exec(t, db, "SYSTEM STOP MERGES activity_rows")
	rows := typicalRows(1, 1, now())
	rows[0].Event.SessionID = "as-it-was-read"
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	rows[0].Event.SessionID, rows[0].Version = "as-it-is-read", 2
	require.NoError(t, db.InsertActivity(t.Context(), rows))

	require.Equal(t, 1, count(t, db, "activity"))
	require.Equal(t, 1, count(t, db, "activity WHERE session_id = 'as-it-is-read'"), "the newer is always found")
	require.Equal(t, 1, count(t, db, "activity WHERE session_id LIKE 'as-%' AND event_id = '"+rows[0].Event.EventID+"'"))
	require.Equal(t, 1, count(t, db, "activity WHERE session_id IN ('as-it-was-read', 'as-it-is-read')"), "never both")

	exec(t, db, "SYSTEM START MERGES activity_rows")
	exec(t, db, "OPTIMIZE TABLE activity_rows FINAL")
	require.Zero(t, count(t, db, "activity WHERE session_id = 'as-it-was-read'"))
	require.Equal(t, 1, count(t, db, "activity WHERE session_id = 'as-it-is-read'"))
}

// A day that is over is merged into one part: nothing is left for FINAL to do.
func TestADayThatIsQuietBecomesOnePart(t *testing.T) {
	db := migrated(t)
	exec(t, db, "ALTER TABLE activity_rows MODIFY SETTING min_age_to_force_merge_seconds = 1, merge_selecting_sleep_ms = 100, max_merge_selecting_sleep_ms = 200")
	rows := typicalRows(400, 5, now())
	for i := range 3 {
		require.NoError(t, db.InsertActivity(t.Context(), rows[i*100:i*100+200]))
	}
	require.Eventually(t, func() bool {
		return count(t, db, "system.parts WHERE active AND database = 'plumbline' AND table = 'activity_rows'") == 1
	}, time.Minute, 100*time.Millisecond)
	require.Equal(t, 400, count(t, db, "activity"))
	require.Equal(t, 400, count(t, db, "activity_rows"))
}
