package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/rebuild"
	"github.com/plumbline-sec/plumbline/schemas"
)

// A fleet with as many attacks as the demo's goes through the service, which is stopped in
// between; a budget that is too large makes alerts enough.
func TestAlertsAreMadeAgainFromTheStoredEventsBitForBit(t *testing.T) {
	s := newSite(t, 2, "detector: {alerts_per_agent_day: 0.4}")
	events := good(t, "simulate", "--agents", "32", "--days", "4", "--scenario", "attacks", "--attacks", "8", "--seed", "3").stdout
	half := len(events)/2 + strings.Index(events[len(events)/2:], "\n") + 1
	want := strings.Count(s.must(events, "replay", "--input", "-", "--alerts", "-"), "\n")
	require.GreaterOrEqual(t, want, 100)
	s.start()
	s.must(events[:half], "send", "-")
	require.Equal(t, 0, s.stop(), s.log.String())
	s.start()
	s.must(events[half:], "send", "-")
	s.eventually(strings.Count(events, "\n"), "SELECT count() AS n FROM activity")
	s.eventually(want, "SELECT count() AS n FROM alerts")

	explained := func(code int, args ...string) []rebuild.Result {
		t.Helper()
		out, errs, got := s.run("", append([]string{"explain", "--output", "json"}, args...)...)
		require.Equal(t, code, got, "%s%s", out, errs)
		var results []rebuild.Result
		for line := range strings.Lines(out) {
			var r rebuild.Result
			require.NoError(t, json.Unmarshal([]byte(line), &r), line)
			results = append(results, r)
		}
		return results
	}
	var ids []string
	for _, row := range s.rows("SELECT alert_id FROM alerts ORDER BY rand() LIMIT 100") {
		ids = append(ids, fmt.Sprint(row["alert_id"]))
	}
	proven := explained(exitGood, ids...)
	require.Len(t, proven, 100)
	told := false
	for _, r := range proven {
		require.True(t, r.Proven, "%+v", r)
		require.Empty(t, r.Reasons)
		require.True(t, r.Status == schemas.StatusClose || r.Counterfactual != "", "%+v", r)
		told = told || r.Ladder != nil && r.Ladder.Alert != nil && r.Ladder.Alert.AlertID == r.AlertID
	}
	require.True(t, told)

	// One of the last ones, so that there is much before it to take away.
	row := s.rows(`SELECT alert_id, episode_id, toInt32(log_partition) AS p, toString(log_offset) AS o, JSONExtractString(alert, 'evidence', 'completed_by', 'event_id') AS event
FROM alerts WHERE status = 'open' AND event != '' ORDER BY time DESC LIMIT 1`)[0]
	id, place := fmt.Sprint(row["alert_id"]), fmt.Sprintf("log_partition = %v AND log_offset ", row["p"])
	out := s.must("", "explain", id[:16])
	require.Contains(t, out, "Proven equal, bit for bit: alert "+id)
	require.Contains(t, out, "\nsilent if   ")
	require.Contains(t, strings.Join(strings.Fields(out), " "), "alert opened (reason: opened), "+id)
	require.NotEmpty(t, explained(exitGood, fmt.Sprint(row["episode_id"])))
	change := func(sql string) {
		t.Helper()
		s.must("", "query", sql+" SETTINGS mutations_sync = 2")
	}
	because := func(words string) rebuild.Result {
		t.Helper()
		r := explained(exitFailed, id)[0]
		require.False(t, r.Proven)
		require.Contains(t, strings.Join(r.Reasons, "\n"), words)
		return r
	}

	// Another config.
	text, err := os.ReadFile(s.config)
	require.NoError(t, err)
	mine := s.config
	s.config = writeFile(t, "other.yaml", strings.Replace(string(text), "0.4", "0.3", 1))
	because("the config differs: the alert was raised with config_hash ")
	s.config = mine
	// A changed event, and changed back.
	bytes := "ALTER TABLE activity_rows UPDATE bytes_sent = bytes_sent %s 400000000, tool = %s WHERE event_id = '" + fmt.Sprint(row["event"]) + "'"
	change(fmt.Sprintf(bytes, "+", "concat(tool, '-x')"))
	r := because("one of them was changed after it was stored")
	require.NotEmpty(t, r.Differences)
	require.Len(t, r.Reasons, 1)
	change(fmt.Sprintf(bytes, "-", "substring(tool, 1, length(tool) - 2)"))
	require.True(t, explained(exitGood, id)[0].Proven)
	// A day that is gone, the beginning that is, and the end that has not come.
	change("ALTER TABLE activity_rows DELETE WHERE toDate(time) = (SELECT min(toDate(time)) + 2 FROM activity_rows)")
	because("offsets of the log have no stored event, the first of them ")
	change("ALTER TABLE activity_rows DELETE WHERE log_offset < 2000")
	because("the beginning is not there: events are stored from offset 2")
	change("ALTER TABLE activity_rows DELETE WHERE " + place + ">= " + fmt.Sprint(row["o"]))
	because("archive may not have come that far yet")
	// What was stored before the order was.
	change("ALTER TABLE alert_rows UPDATE log_partition = -1, log_offset = -1 WHERE alert_id = '" + id + "'")
	because("before the warehouse kept the order of the log")

	_, errs, code := s.run("", "explain", "0000dead")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "there is no alert 0000dead")
	_, errs, code = s.run("", "explain", "not-an-id")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, "is no alert's id")
	require.Equal(t, 0, s.stop(), s.log.String())
}
