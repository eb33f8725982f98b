package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/backtest"
	"github.com/plumbline-sec/plumbline/internal/config"
)

// attackedFleet writes events and labels of a fleet, and returns their files.
func attackedFleet(t *testing.T) (events, labels string) {
	t.Helper()
	dir := t.TempDir()
	labels = filepath.Join(dir, "labels.jsonl")
	events = filepath.Join(dir, "events.jsonl")
	r := good(t, "simulate", "--agents", "20", "--days", "15", "--seed", "5", "--scenario", "attacks", "--attacks", "6", "--labels", labels)
	require.NoError(t, os.WriteFile(events, []byte(r.stdout), 0o600))
	return events, labels
}

func decodeBacktest(t *testing.T, r result) (out backtestResult) {
	t.Helper()
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &out), "%s\n%s", r.stdout, r.stderr)
	return out
}

// deaf is a config in which most of what leads alerts is off.
const deaf = "detector: {alerts_per_agent_day: 0.001, signals: {call_rate: {off: true}, call_rate_long: {off: true}, new_destination: {off: true}, bytes_sent: {off: true}}}\n"

func TestABacktestNamesTheIncidentsThatABadThresholdLoses(t *testing.T) {
	events, labels := attackedFleet(t)
	candidate := writeFile(t, "deaf.yaml", deaf)
	args := []string{"backtest", "--candidate", candidate, "--input", events, "--incidents", labels}
	r := plumbline(t, args...)
	require.Equal(t, exitFailed, r.code, r.stderr)
	require.Regexp(t, `LOST +[a-z_]+ of `, r.stdout)
	require.Contains(t, r.stdout, "detector.signals.call_rate.off: false -> true [verdicts]")
	require.Contains(t, r.stdout, "days before warmed the baselines up, which began empty")

	got := plumbline(t, append(args, "--output", "json")...)
	require.Equal(t, exitFailed, got.code)
	out := decodeBacktest(t, got)
	require.NotEmpty(t, out.Incidents.Lost)
	require.Equal(t, 3, out.WarmupDays, "a quarter of 15 days")
	require.Equal(t, out.Old.Episodes, out.Kept+out.Lost)
	require.Positive(t, out.Lost)

	// What was lost in one direction is gained in the other.
	back := decodeBacktest(t, good(t, "backtest", "--config", candidate, "--candidate", writeFile(t, "default.yaml", ""), "--input", events, "--incidents", labels, "--output", "json"))
	require.Equal(t, out.Lost, back.Gained)
	require.Equal(t, out.Incidents.Lost, back.Incidents.Gained)
	require.Empty(t, back.Incidents.Lost)

	same := decodeBacktest(t, good(t, "backtest", "--config", candidate, "--candidate", candidate, "--input", events, "--incidents", labels, "--output", "json"))
	require.Zero(t, same.Lost+same.Gained)
	require.Empty(t, same.Changes)
	require.Empty(t, same.TopLost)
	require.Equal(t, same.Old, same.New)
}

// The first side of a backtest says what replay says.
func TestABacktestHasTheAlertsOfAReplay(t *testing.T) {
	events, _ := attackedFleet(t)
	empty := writeFile(t, "empty.yaml", "")
	out := decodeBacktest(t, good(t, "backtest", "--candidate", empty, "--input", events, "--warmup", "0d", "--output", "json"))
	var sum struct {
		Alerts, Events int64
		AgentDays      int `json:"agent_days"`
	}
	require.NoError(t, json.Unmarshal([]byte(good(t, "replay", "--input", events, "--output", "json").stdout), &sum))
	require.Equal(t, int(sum.Alerts), out.Old.Episodes)
	require.Equal(t, sum.Events, out.Events)
	require.Equal(t, sum.AgentDays, out.AgentDays)
}

func TestABacktestOfFilesTheTopicAndClickHouseIsTheSame(t *testing.T) {
	events, labels := attackedFleet(t)
	s := newSite(t, 2)
	s.start()
	r := good(t, "send", "--config", s.config, events)
	require.Contains(t, r.stdout, "refused 0")
	n := bytes.Count(mustRead(t, events), []byte("\n"))
	require.Eventually(t, func() bool {
		return strings.Contains(plumbline(t, "query", "--config", s.config, "SELECT count() AS n FROM activity FORMAT CSV").stdout, fmt.Sprint(n))
	}, 2*time.Minute, time.Second)
	text := mustRead(t, s.config)
	var off []string // all but what these events have nothing of
	for signal := range strings.FieldsSeq("call_rate call_rate_long drift bytes_sent bytes_received new_tool new_resource new_destination tool_sequence resource_breadth failure_ratio silence") {
		off = append(off, signal+": {off: true}")
	}
	candidate := writeFile(t, "mute.yaml", string(text)+"detector: {signals: {"+strings.Join(off, ", ")+"}}\n")

	var first backtestResult
	for i, from := range [][]string{{"--input", events}, {"--topic", "plumbline.activity"}, {"--from", "2026-03-01"}} {
		got := plumbline(t, append([]string{"backtest", "--config", s.config, "--candidate", candidate, "--incidents", labels, "--output", "json"}, from...)...)
		require.Equal(t, exitFailed, got.code, got.stderr)
		out := decodeBacktest(t, got)
		out.Seconds, out.EventsPerSecond = 0, 0
		if i == 0 {
			first = out
			require.NotEmpty(t, out.Incidents.Lost)
			require.Len(t, out.TopLost, out.Old.Episodes, "every alert is compared")
		}
		require.Equal(t, first, out, from)
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return b
}

// hostileName tries to be markup, script, a link, a style, to turn text around and to move the cursor.
const hostileName = `</td><script src=//evil.example/x></script><img src=x onerror=alert(1)>"'><style>@import'//evil.example'</style>` + "\u202e\x1b[2J{{.}}"

func resultNaming(name string) *backtestResult {
	e := &backtest.Episode{Tenant: name, Agent: name, Severity: "high", Signals: []string{name}, Summary: name, Title: name}
	i := []backtest.Incident{{Name: name, Tenant: name, Agent: name, From: 1, To: 2}}
	count := []backtest.Count{{Name: name, Tenant: name, Old: 1, Lost: 1}}
	return &backtestResult{
		Config: name, Candidate: name, Changes: []config.Change{{Key: name, Old: name, New: name}},
		Result: &backtest.Result{
			Signals: count, Agents: count, Days: count, TopLost: []*backtest.Episode{e}, TopGained: []*backtest.Episode{e},
			Incidents: &backtest.Incidents{Lost: i, Gained: i, Neither: i},
		},
	}
}

func TestAHostileNameStaysTextOnThePageAndInTheTerminal(t *testing.T) {
	var harmless, page, text bytes.Buffer
	require.NoError(t, writePage(&harmless, resultNaming("name")))
	require.NoError(t, writePage(&page, resultNaming(hostileName)))
	require.NoError(t, resultNaming(hostileName).text(&text))
	for _, out := range []string{page.String(), text.String()} {
		require.Contains(t, out, "evil.example", "the name is shown")
		require.NotContains(t, out, "\u202e")
		require.NotContains(t, out, "\x1b")
	}
	tags := regexp.MustCompile(`<[^>]*>`)
	require.Equal(t, tags.FindAllString(harmless.String(), -1), tags.FindAllString(page.String(), -1), "no name makes a tag")
	for _, never := range []string{"<script", "<img", "<link", "<a ", "http:", "https:", "url(", "@import", "ZgotmplZ"} {
		require.NotContains(t, harmless.String(), never, "the page asks nobody for anything")
	}
}

func TestABacktestSaysWhatIsWrongWithItsFlagsAndFiles(t *testing.T) {
	events := writeFile(t, "events.jsonl", `{"agent_id":"a","time":"2026-03-02T00:00:00Z"}`+"\n")
	ok, wrong := writeFile(t, "ok.yaml", ""), writeFile(t, "wrong.yaml", "kafka:\n  partitons: 4\n")
	incidents := writeFile(t, "incidents.jsonl", `{"agent":"a","from":"2026-03-02T00:00:00Z","to":"2026-03-02T01:00:00Z","name":"x"}`+"\n{}\n")
	for _, c := range []struct {
		args   []string
		code   int
		stderr string
	}{
		{[]string{}, 2, "plumbline: missing flags: --candidate=FILE"},
		{[]string{"--candidate", wrong, "--input", events}, 2, "plumbline: " + wrong + ":2:3: kafka.partitons: unknown key; write partitions"},
		{[]string{"--candidate", ok, "--input", events, "--topic", "x"}, 2, "plumbline: --input and --topic can't both be read\n"},
		{[]string{"--candidate", ok, "--input", events, "--since", "30d", "--from", "2026-03-02"}, 2, "plumbline: --since and --from can't both be the beginning\n"},
		{[]string{"--candidate", ok, "--input", events, "--to", "soon"}, 2, `plumbline: --to: "soon" is no age (24h, 7d) and no time`},
		{[]string{"--candidate", ok, "--input", events, "--from", "2026-03-02", "--to", "2026-03-01"}, 2, "plumbline: --to 2026-03-01T00:00:00.000Z is not after the beginning"},
		{[]string{"--candidate", ok, "--input", events, "--warmup", "2026-03-01"}, 2, `plumbline: --warmup: "2026-03-01" is no number of days; write 14d`},
		{[]string{"--candidate", ok, "--input", events, "--incidents", incidents}, 2, "plumbline: --incidents: " + incidents + `, line 2: no agent; write {"tenant": `},
		{[]string{"--candidate", ok, "--input", events, "--incidents", "none"}, 2, "plumbline: --incidents: open none: no such file or directory\n"},
		{[]string{"--candidate", ok, "--input", "none"}, 2, "plumbline: input: open none: no such file or directory\n"},
		{[]string{"--candidate", ok, "--input", events, "--from", "2026-03-03"}, 1, "plumbline: there is no event in that range: widen it with --since"},
		{[]string{"--candidate", ok, "--input", events}, 0, ""},
	} {
		t.Run(cmp.Or(c.stderr, "nothing"), func(t *testing.T) {
			r := plumbline(t, append([]string{"backtest"}, c.args...)...)
			require.Equal(t, c.code, r.code, r.stderr)
			require.True(t, strings.HasPrefix(r.stderr, c.stderr), "stderr: %s", r.stderr)
		})
	}
}
