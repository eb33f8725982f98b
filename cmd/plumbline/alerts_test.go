package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/analyst"
	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// rogue is a name as an agent might choose it against who reads it or pastes it.
const rogue = `o'brien\t"$(id)`

// step is one step of an episode of the story below, minutes after it began.
func step(episode, status, agent, severity string, score float64, minutes int64) pipeline.AlertRow {
	at := storyTime + schemas.Millis(minutes*60_000)
	a := schemas.Alert{
		AlertID: fmt.Sprintf("%s%024x", "a"+episode[1:], minutes), EpisodeID: episode + strings.Repeat("0", 24), Status: status, Kind: schemas.KindBehavior,
		TenantID: "default", Agent: schemas.AlertAgent{ID: agent, Name: hostile, PeerGroup: "legal"}, SessionID: "run-1", OnBehalfOf: "team@example.com",
		Time: at, FirstSeen: storyTime, LastSeen: at, Severity: severity, Score: score, ExpectedPerAgentDay: 1 / score, Confidence: 0.9,
		Title: "Title " + hostile, Summary: fmt.Sprintf("Agent %s sent 15.3 MiB (%s).", agent, status),
		Signals: []schemas.AlertSignal{{Name: "bytes_sent", Observed: 16080000, Expected: 9941, High: 77920, Unit: "bytes", FirstSeen: []string{"url " + hostile}}},
		Evidence: schemas.Evidence{
			EventIDs: []string{"e-1"}, Tools: []string{"mail.send"}, EventCount: 2 + minutes,
			Places: []schemas.Place{{Resource: "url:https://paste.example.net/u", Events: 1, BytesSent: 16078223}},
		},
		Counterfactual: "under 132.5 KiB in this call", Query: "SELECT count() AS proving FROM activity WHERE agent_id = 'o\\'brien\\\\t\"$(id)'",
	}
	published, err := json.Marshal(a)
	if err != nil {
		panic(err)
	}
	return pipeline.AlertRow{Alert: a, JSON: published, RecordedAt: schemas.Millis(time.Now().UnixMilli())}
}

const storyTime = schemas.Millis(1_790_000_000_000) // 2026-09-21 14:13:20

// storehouse fills a data directory, while its engine runs, with four episodes of three
// agents, and what one of them did.
func storehouse(t *testing.T, dir string) (addr string, stop func()) {
	t.Helper()
	server, stop := serveEngine(t, dir)
	db, err := clickhouse.Open(clickhouse.Config{Addrs: []string{server.Addr()}, Compression: clickhouse.CompressionNone})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	require.NoError(t, db.Migrate(t.Context(), nil))
	require.NoError(t, db.InsertAlerts(t.Context(), []pipeline.AlertRow{
		step("5b340001", "open", rogue, "low", 55, 0), step("5b340001", "update", rogue, "critical", 90, 1), step("5b340001", "update", rogue, "high", 95, 2),
		step("5b340002", "open", "quiet", "medium", 60, 10), step("5b340002", "close", "quiet", "medium", 60, 400),
		step("77770003", "open", "quiet", "low", 51, 5),
		step("88880004", "open", "other", "high", 70, 60*24),
	}))
	var rows []pipeline.ActivityRow
	for i := range 48 {
		at := storyTime + schemas.Millis(int64(i)*3_600_000)
		rows = append(rows, pipeline.ActivityRow{
			Event: schemas.Activity{
				EventID: fmt.Sprint("e-", i), Time: at, RecordedAt: schemas.Millis(time.Now().UnixMilli()), TenantID: "default", AgentID: rogue, AgentName: hostile, PeerGroup: "legal",
				SessionID: "run-1", OnBehalfOf: "team@example.com", Action: "tool_call", Tool: "mail.send", Access: "send", Outcome: "success",
				Resources: []string{"url:https://paste.example.net/" + hostile}, BytesSent: 1 << 20, BytesReceived: 100,
				CredentialID: "key-7", CredentialType: "static_key", SourceIP: "10.0.0.7",
				Attributes: []schemas.Attribute{{Key: "owner", Value: "dana"}},
			},
			Origin: schemas.Origin{Source: "s", Topic: "t", Offset: int64(i)}, Version: 1,
		})
	}
	rows[47].Event.AgentID, rows[47].Event.TenantID = "shared", "a"
	twin := rows[47]
	twin.Event.TenantID, twin.Origin.Offset = "b", 48
	require.NoError(t, db.InsertActivity(t.Context(), append(rows, twin)))
	require.NoError(t, db.InsertRegistrations(t.Context(), []pipeline.RegistrationRow{{Registration: &schemas.Registration{
		TenantID: "default", AgentID: rogue, Time: storyTime, Owner: "Ada " + hostile, Contact: "ada@acme.example", Criticality: schemas.CriticalityHigh, Purpose: "pays\x1b[2J",
	}}}))
	return server.Addr(), stop
}

func TestAlertsAndAgentsAreShownWhereverTheDataIs(t *testing.T) {
	dir := t.TempDir()
	addr, stop := storehouse(t, dir)
	t.Run("of a running service", func(t *testing.T) { asAnAnalyst(t, "--data-dir", dir) })
	t.Run("of a server", func(t *testing.T) {
		asAnAnalyst(t, "--config", writeFile(t, "server.yaml", "clickhouse: {addr: \""+addr+"\"}\n"))
	})
	stop()
	t.Run("at rest", func(t *testing.T) {
		r := good(t, "alerts", "--data-dir", dir, "--limit", "1")
		require.Contains(t, r.stdout, "88880004  2026-09-22 14:13  open    high       70.0        0  other")
		r = good(t, "agent", "--data-dir", dir, rogue)
	})
}

// asAnAnalyst asks what is asked at night.
func asAnAnalyst(t *testing.T, where ...string) {
	t.Helper()
	ask := func(code int, args ...string) result {
		t.Helper()
		r := plumbline(t, append(args, where...)...)
		require.Equal(t, code, r.code, "%v: %s", args, r.stderr)
		requireHarmless(t, r.stdout)
		requireHarmless(t, r.stderr)
		return r
	}
	ids := func(args ...string) (ids []string) {
		t.Helper()
		r := ask(0, append([]string{"alerts", "--output", "json"}, args...)...)
		for l := range strings.Lines(r.stdout) {
			var e struct {
				EpisodeID string `json:"episode_id"`
			}
			require.NoError(t, json.Unmarshal([]byte(l), &e), l)
			ids = append(ids, e.EpisodeID[:8])
		}
		return ids
	}
	// Those that are open first, of each the latest first.
	require.Equal(t, []string{"88880004", "77770003", "5b340001", "5b340002"}, ids())
	require.Equal(t, []string{"88880004", "77770003"}, ids("--limit", "2"))
	require.Equal(t, []string{"88880004", "5b340001"}, ids("--severity", "high"), "at its worst")
	require.Equal(t, []string{"5b340001"}, ids("--agent", rogue))
	require.Equal(t, []string{"5b340002"}, ids("--status", "closed"))
	require.Equal(t, []string{"88880004"}, ids("--since", "2026-09-22"))
	require.Empty(t, ids("--tenant", "nobody' OR 1"))

	r := ask(0, "alerts")
	require.Equal(t, 5, strings.Count(r.stdout, "\n"))
	require.Contains(t, r.stdout, "5b340001  2026-09-21 14:15  open    critical   95.0        2  "+rogue+"  Title a\\u001b[2J")
	require.Contains(t, r.stderr, "4 in all; `")
	r = ask(0, "alerts", "--output", "vertical", "--limit", "1")
	require.Contains(t, r.stdout, "Row 1:\n──────\nepisode_id: 8888")
	require.Contains(t, ask(0, "alerts", "--tenant", "x").stderr, "no alerts")

	r = ask(0, "alerts", "5b340001")
	for _, part := range []string{
		"critical  Title a", "open since 2026-09-21 14:13:20 UTC, seen last 2026-09-21 14:15:20, 2 updates", "sent 15.3 MiB (update).", "silent if   under 132.5 KiB",
		"bytes_sent            15.3 MiB    9.7 KiB     0 B to 76.1 KiB, one event", "15.3 MiB    0 B         url:https://paste.example.net/u", "* 2026-09-21 14:14:20  update  critical",
		"Evidence (4 events so far)",
	} {
		require.Contains(t, r.stdout, part)
	}
	// What it says to run works as it is pasted, and runs nothing else.
	var pasted string
	for l := range strings.Lines(r.stdout) {
		if strings.Contains(l, " query ") {
			pasted = strings.TrimSpace(l)
		}
	}
	cmd := command(t)
	cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", pasted}
	shell := finish(t, cmd)
	require.Equal(t, 0, shell.code, "%s\n%s", pasted, shell.stderr)
	require.Equal(t, "Row 1:\n──────\nproving: 47\n", shell.stdout)

	require.Contains(t, ask(0, "alerts", "AB3400010").stdout, "* 2026-09-21 14:13:20  open    low", "a step by its own id")
	require.Equal(t, 3, strings.Count(ask(0, "alerts", "--output", "json", "5b340001").stdout, `"alert_id":"ab340001`))
	require.Contains(t, ask(0, "alerts", "--output", "vertical", "5b340001").stdout, "signals.name:")
	require.Contains(t, ask(2, "alerts", "5b34").stderr, "2 episodes have an id that begins with 5b34: write more of it: 5b340001")
	require.Contains(t, ask(1, "alerts", "abcdef").stderr, "there is no alert abcdef")
	require.Contains(t, ask(2, "alerts", "x' OR 1").stderr, "is no alert's id")
	require.Contains(t, ask(2, "alerts", "--since", "tuesday").stderr, `--since: "tuesday" is no age`)

	r = ask(0, "agent", rogue)
	for _, part := range []string{
		"peer group legal, tenant default", "owner       Ada a", ", ada@acme.example\n", "registered  active, said on 2026-09-21, criticality high, pays\\u001b[2J", "47 in 1 session; 0 failed, 0 denied", "47.0 MiB sent", "5b340001", "team@example.com", "static_key", "10.0.0.7",
		"2026-09-22      24", "mail.send", "47.00 MiB", "url:https://paste.example.net/a",
	} {
		require.Contains(t, r.stdout, part)
	}
	var object struct {
		AgentID  string                       `json:"agent_id"`
		Owner    string                       `json:"owner"`
		Activity map[string][]json.RawMessage `json:"activity"`
		Alerts   []struct{ State string }     `json:"alerts"`
	}
	require.NoError(t, json.Unmarshal([]byte(ask(0, "agent", "--output", "json", rogue).stdout), &object))
	require.Equal(t, []string{rogue, "Ada " + hostile, "open"}, []string{object.AgentID, object.Owner, object.Alerts[0].State})
	require.Len(t, object.Activity, 7)
	require.Len(t, object.Activity["hours"], 24)
	require.Contains(t, ask(1, "agent", "shraed").stderr, "there are no events of agent shraed; the nearest name is shared")
	require.Contains(t, ask(2, "agent", "shared").stderr, "2 tenants have an agent shared: name one with --tenant: a, b")
	require.Contains(t, ask(0, "agent", "shared", "--tenant", "b").stdout, "tenant b")
}

func TestAListOfAlertsFitsTheTerminal(t *testing.T) {
	dir := t.TempDir()
	storehouse(t, dir)
	for _, width := range []uint16{80, 160} {
		for _, args := range [][]string{{"alerts"}, {"alerts", "--severity", "low", "--limit", "3"}, {"agent", "shared", "--tenant", "b"}} {
			r := onTerminal(t, width, append(args, "--data-dir", dir)...)
			require.Equal(t, 0, r.code, r.stderr)
			require.NotContains(t, r.stdout, "\u202e")
			require.NotContains(t, r.stdout, "Row 1:", "its tables fit")
			lines := strings.Split(strings.TrimSpace(strings.NewReplacer("\x1b[0m", "", "\x1b[1m", "", "\x1b[31m", "", "\x1b[33m", "", "\x1b[1;37;41m", "").Replace(r.stdout)), "\n")
			require.NotContains(t, strings.Join(lines, "\n"), "\x1b", "no colours but ours")
			for _, line := range lines {
				if strings.Contains(strings.TrimSpace(line), " ") && !strings.Contains(line, `\u001b`) { // a word stays whole
					require.LessOrEqual(t, utf8.RuneCountInString(line), int(width))
				}
			}
		}
	}
}

func TestASinceIsAnAgeOrATime(t *testing.T) {
	now := time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "24h": now.Add(-24 * time.Hour), "7d": now.AddDate(0, 0, -7), "0.5d": now.Add(-12 * time.Hour), "90m": now.Add(-90 * time.Minute),
		"2026-03-01": time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), "2026-03-01T10:00:00+01:00": time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC),
	} {
		got, err := parseSince(text, now)
		require.NoError(t, err, text)
		require.True(t, want.Equal(got), text)
	}
	for _, text := range []string{"d", "-1h", "1e9d", "NaNd", "tomorrow"} {
		_, err := parseSince(text, now)
		require.Error(t, err, text)
	}
}

func TestTheBannerHasCommandsThatWorkAsTheyArePasted(t *testing.T) {
	t.Chdir(t.TempDir())
	at := app.Addresses{Kafka: []string{"127.0.0.1:9092"}, ClickHouse: []string{"127.0.0.1:8123"}, Admin: "127.0.0.1:9600"}
	banner := func(file, dir string, at app.Addresses) string {
		g := &Globals{ConfigFile: file, Stderr: &bytes.Buffer{}}
		cfg, err := g.LoadWithDataDir(dir)
		require.NoError(t, err)
		return (&runCmd{DataDir: dir}).banner(g, cfg, at)
	}
	text := banner("", "", at)
	require.Contains(t, text, " send events.jsonl\n")
	require.Contains(t, text, " alerts\n")
	cfg := writeFile(t, "it's mine.yaml", "embedded: {kafka_listen: \"127.0.0.1:0\"}\n")
	text = banner(cfg, "", at)
	here, err := filepath.Abs("plumbline-data")
	require.NoError(t, err)
	flags := " --config " + terminal.ShellWord(cfg) + " --data-dir " + here
	for _, line := range []string{" send" + flags + " events.jsonl\n", " alerts" + flags + "\n", " agent" + flags + " AGENT_ID\n"} {
		require.Contains(t, text, line)
	}
	server := writeFile(t, "server.yaml", "kafka: {brokers: [\"k:9092\"]}\nclickhouse: {addr: \"ch:8123\"}\n")
	require.NotContains(t, banner(server, "", at), "--data-dir")
	text = banner(server, "", app.Addresses{Kafka: at.Kafka})
	require.NotContains(t, text, "curl")
	require.NotContains(t, text, "alerts")
}

func TestWhatIsToBePastedTakesNoNameForAFlag(t *testing.T) {
	a := schemas.Alert{AlertID: "a", EpisodeID: "e", TenantID: "--config=x", Agent: schemas.AlertAgent{ID: "--data-dir=/tmp/evil"}}
	var out bytes.Buffer
	printAlert(&out, []analyst.Step{{Alert: a}}, &a, &a, look{}, func(c string) string { return "plumbline " + c })
	require.Contains(t, out.String(), "  plumbline agent --tenant=--config=x -- --data-dir=/tmp/evil\n")
}
