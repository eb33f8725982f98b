package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

func TestMain(m *testing.M) { os.Exit(chdbtest.Main(m)) }

// Wall time says little on a busy machine; how many rows were read does not depend on
// it.
func TestQueriesReadWhatTheyNeed(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED, it fills an engine")
	}
	ctx := t.Context()
	e, err := openEngine(ctx, chdbtest.Start(t))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.db.Close()) })
	f, err := fill(ctx, e.db, filling{rows: 200_000, days: 20, end: time.Now(), seed: 1}, nil)
	require.NoError(t, err)
	require.Greater(t, f.Events, 150_000)
	require.Positive(t, f.Alerts)
	// Some of them twice, whatever was merged in the meantime.
	_, err = e.ask(ctx, "INSERT INTO activity_rows SELECT * FROM activity_rows WHERE origin_offset % 20 = 0")
	require.NoError(t, err)
	distinct, err := e.number(ctx, "SELECT count() FROM (SELECT DISTINCT origin_partition, origin_offset FROM activity_rows)")
	require.NoError(t, err)

	questions, err := e.questions(ctx, "../..")
	require.NoError(t, err)
	for _, title := range []string{"What happened last?", "What happened in this session?", "of an agent", "who sends the most, and where to"} {
		require.True(t, slices.ContainsFunc(questions, func(q question) bool { return q.title == title }), title)
	}
	for _, merged := range []bool{false, true} {
		if merged {
			require.NoError(t, e.mergeDays(ctx))
		}
		shown, err := e.number(ctx, "SELECT count() FROM activity")
		require.NoError(t, err)
		require.InDelta(t, distinct, shown, 0, "each event once, merged %t", merged)
		for _, q := range questions {
			c, err := e.measure(ctx, q, 1)
			require.NoError(t, err)
			if narrow(q) {
				require.Less(t, float64(c.read), distinct/2, "merged %t, %s %s\n%s", merged, q.place, q.title, q.sql)
			}
		}
	}
}

// narrow reports whether a query is about little of what is there, so that most of
// it must not be read.
func narrow(q question) bool {
	if q.place == "alert" || strings.Contains(q.sql, "WHERE event_id = '") || strings.Contains(q.sql, "session_id = '") {
		return true
	}
	return q.title == "What happened last?"
}

func TestTheQueriesOfEveryPageAreFound(t *testing.T) {
	for text, want := range map[string]string{
		"## A\n\n```sql\nSELECT 1\n```\n":                                                     "SELECT 1\n",
		"    plumbline query \"SELECT a FROM b WHERE c = 'd'\"\n":                             "SELECT a FROM b WHERE c = 'd'",
		"plumbline query \"$(plumbline query --output json \"SELECT query FROM alerts\" | jq": "SELECT query FROM alerts",
		"  bin/plumbline query --data-dir ./x \"SELECT 1,\n   2\"\n":                          "SELECT 1,\n   2",
		"curl 'http://x/?database=y' --data-binary 'SELECT 'a' FORMAT Vertical'\n":            "SELECT 'a' FORMAT Vertical",
	} {
		got := queriesOf("page.md", text)
		require.Len(t, got, 1, text)
		require.Equal(t, want, got[0].sql)
	}
	require.Empty(t, queriesOf("page.md", "  \"query\": \"SELECT * FROM activity WHERE ...\"\n"))
}
