package clickhouse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// The documentation that these tests hold against the engine.
const (
	queriesPage = "../../docs/clickhouse.md"
	schemaPage  = "../../docs/clickhouse-schema.md"
)

// documented is a block of SQL under its heading; number tells blocks under one
// heading apart.
type documented struct {
	heading string
	number  int
	sql     string
}

// readPage returns the queries and, by the heading that names the view, the rows
// of its table of columns: name and type.
func readPage(tb testing.TB, page string) (queries []documented, columns map[string][][2]string) {
	tb.Helper()
	text, err := os.ReadFile(page)
	require.NoError(tb, err)
	columns = make(map[string][][2]string)
	var (
		heading string
		number  int
		block   *strings.Builder
	)
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case block != nil && line == "```":
			queries = append(queries, documented{heading, number, block.String()})
			number++
			block = nil
		case block != nil:
			block.WriteString(line + "\n")
		case line == "```sql":
			block = &strings.Builder{}
		case strings.HasPrefix(line, "#"):
			heading, number = strings.Trim(strings.TrimLeft(line, "#"), " `"), 0
		case strings.HasPrefix(line, "| `"):
			cells := strings.Split(line, "|")
			columns[heading] = append(columns[heading], [2]string{strings.Trim(cells[1], " `"), strings.Trim(cells[2], " `")})
		}
	}
	require.Nil(tb, block, "a block of SQL is not closed")
	return queries, columns
}

// times are what the answers differ in from run to run.
var times = regexp.MustCompile(`\d{4}-\d\d-\d\d([T ][\d:.]+Z?)?`)

func TestTheQueriesOfTheDocumentationAnswerOnTheRealEngine(t *testing.T) {
	db := migrated(t)
	tellStory(t, db)
	queries, _ := readPage(t, queriesPage)
	require.GreaterOrEqual(t, len(queries), 10)
	var answers strings.Builder
	for _, q := range queries {
		var rows strings.Builder
		require.NoError(t, db.Query(t.Context(), q.sql, FormatJSON, &rows, nil), q.heading)
		require.NotEmpty(t, rows.String(), "%s: an answer without rows proves nothing", q.heading)
		fmt.Fprintf(&answers, "# %s %d\n%s", q.heading, q.number, times.ReplaceAllString(rows.String(), "TIME"))
	}
	golden(t, "queries.golden.txt", []byte(answers.String()))
}

func TestTheQueryThatAnAlertBringsFindsItsEvents(t *testing.T) {
	db := migrated(t)
	tellStory(t, db)
	queries, _ := readPage(t, queriesPage)
	i := slices.IndexFunc(queries, func(q documented) bool { return q.heading == "Which events prove an alert?" })
	require.GreaterOrEqual(t, i, 0)
	alerts := ask(t, db, queries[i].sql)
	require.Len(t, alerts, 1)
	query, ok := alerts[0]["query"].(string)
	require.True(t, ok)
	events := ask(t, db, query)
	require.Len(t, events, 1)
	require.Equal(t, "exfil", events[0]["event_id"])
}

func TestTheColumnsOfTheDocumentationAreThoseOfTheViews(t *testing.T) {
	db := migrated(t)
	_, columns := readPage(t, schemaPage)
	for _, view := range []string{"activity", "alerts", "windows", "registrations", "agents"} {
		t.Run(view, func(t *testing.T) {
			var real [][2]string
			for _, r := range ask(t, db, "SELECT name, type FROM system.columns WHERE database = 'plumbline' AND table = '"+view+"' ORDER BY position") {
				real = append(real, [2]string{fmt.Sprint(r["name"]), fmt.Sprint(r["type"])})
			}
			require.NotEmpty(t, real)
			require.Equal(t, real, columns[view])
		})
	}
}

// ask runs a query as the command does and returns its rows; numbers keep their digits.
func ask(tb testing.TB, db *DB, sql string) (rows []map[string]any) {
	tb.Helper()
	var out bytes.Buffer
	require.NoError(tb, db.Query(tb.Context(), sql, FormatJSON, &out, nil), sql)
	dec := json.NewDecoder(&out)
	dec.UseNumber()
	for dec.More() {
		var row map[string]any
		require.NoError(tb, dec.Decode(&row))
		rows = append(rows, row)
	}
	return rows
}

const (
	minute = schemas.Millis(60 * 1000)
	hour   = 60 * minute
	day    = 24 * hour
)

// tellStory stores what the documentation's queries are about: an invoice bot with
// a static key that works for its team, and once, an hour ago, sent much to
// somewhere new on behalf of somebody else; a triage agent whose certificate ends
// soon, and which talks to others; an agent that nobody announced.
func tellStory(tb testing.TB, db *DB) {
	tb.Helper()
	require.NoError(tb, db.InsertActivity(tb.Context(), storyEvents()))
	require.NoError(tb, db.InsertActivity(tb.Context(), storyEvents()[:10]), "what is stored twice must not count twice")
	require.NoError(tb, db.InsertAlerts(tb.Context(), storyAlerts()))
	require.NoError(tb, db.InsertWindows(tb.Context(), storyWindows()))
}

func storyEvents() []pipeline.ActivityRow {
	var rows []pipeline.ActivityRow
	add := func(offset int64, ev schemas.Activity) {
		ev.TenantID, ev.RecordedAt = schemas.DefaultTenant, ev.Time+20
		if ev.Outcome == "" {
			ev.Outcome = schemas.OutcomeSuccess
		}
		rows = append(rows, pipeline.ActivityRow{
			Event: ev, Version: 1,
			Origin: schemas.Origin{Source: "default", Incarnation: 1, Topic: "agent-activity", Offset: offset},
		})
	}
	start := now() - 3*day
	bot := schemas.Activity{
		AgentID: "invoice-bot-07", PeerGroup: "finance", OnBehalfOf: "team-finance@example.com", SourceIP: "10.0.0.7",
		CredentialID: "key-7", CredentialType: "static_key",
	}
	for i := range 60 {
		ev := bot
		ev.EventID, ev.Time, ev.SessionID = fmt.Sprint("lookup-", i), start+schemas.Millis(i)*minute, fmt.Sprint("run-", i/20)
		ev.Action, ev.Tool, ev.Access, ev.Resources = "tool_call", "erp.lookup", schemas.AccessRead, []string{fmt.Sprint("invoice:", i)}
		switch {
		case i%10 == 0:
			ev.Outcome = schemas.OutcomeFailure
		case i%20 == 5:
			ev.Outcome = schemas.OutcomeDenied
		}
		add(int64(i), ev)
	}
	paid := bot
	paid.EventID, paid.Time, paid.SessionID = "paid", start, "run-0"
	paid.Action, paid.Tool, paid.Access, paid.Resources = "tool_call", "mail.send", schemas.AccessSend, []string{"email:customer@example.com"}
	paid.BytesSent = 4096
	add(999, paid)
	exfil := paid
	exfil.EventID, exfil.Time, exfil.SessionID, exfil.OnBehalfOf = "exfil", now()-hour, "run-0f70ecf930b1", "mallory@example.net"
	exfil.SourceIP, exfil.Resources, exfil.BytesSent = "203.0.113.9", []string{"email:drop@example.net"}, 3<<20
	add(1001, exfil)

	for i := range 24 {
		ev := schemas.Activity{
			EventID: fmt.Sprint("talk-", i), Time: start + schemas.Millis(i)*minute, AgentID: "support-triage-04", PeerGroup: "support", SessionID: "chat",
			OnBehalfOf: "team-support@example.com", Action: "message", Tool: "a2a.message", Access: schemas.AccessSend, TargetAgentID: "invoice-bot-07",
			BytesSent: 1000, CredentialID: "cert-4", CredentialType: "certificate", CredentialExpires: now() + 5*day,
		}
		if i == 0 {
			ev.Action, ev.TargetAgentID = "delegate", "nobody-knows"
		}
		add(2000+int64(i), ev)
	}
	add(1000, schemas.Activity{
		EventID: "shadow", Time: now() - 2*hour, AgentID: "notes-helper", PeerGroup: schemas.DefaultPeerGroup, SessionID: "run-0f70ecf930b1", OnBehalfOf: "dana@example.com",
		Action: "tool_call", Tool: "files.read", Access: schemas.AccessRead, Resources: []string{"file:notes.md"}, Flags: schemas.Flags{ResourcesCut: 900, Old: true},
		CredentialID: "token-1", CredentialType: "oauth_token", CredentialExpires: now() + hour,
	})
	return rows
}

// storyAlerts are an episode that is over, and one that got worse and is open.
func storyAlerts() []pipeline.AlertRow {
	at := now() - hour
	base := schemas.Alert{
		Kind: schemas.KindBehavior, TenantID: schemas.DefaultTenant, Agent: schemas.AlertAgent{ID: "invoice-bot-07", PeerGroup: "finance"},
		Detector: schemas.DetectorInfo{Version: "1.0.0", ConfigHash: "abc"},
	}
	row := func(id, episode, status, severity string, score float64, when schemas.Millis, title, summary string) pipeline.AlertRow {
		a := base
		a.AlertID, a.EpisodeID, a.Status, a.Severity, a.Score, a.Title, a.Summary = id, episode, status, severity, score, title, summary
		a.Time, a.FirstSeen, a.LastSeen = when, when, when
		return pipeline.AlertRow{Alert: a, JSON: []byte("{}"), RecordedAt: when + 100}
	}
	past, present := at-2*day, row("a3", "e2", schemas.StatusOpen, schemas.SeverityHigh, 66, at, "First contact with a destination", "first")
	present.Alert.Evidence = schemas.Evidence{EventIDs: []string{"exfil"}, Resources: []string{"email:drop@example.net"}, Tools: []string{"mail.send"}, EventCount: 1}
	stamp := at.Time().Format("2006-01-02 15:04:05.000")
	present.Alert.Query = "SELECT * FROM activity WHERE tenant_id = 'default' AND agent_id = 'invoice-bot-07' AND time BETWEEN toDateTime64('" + stamp +
		"', 3, 'UTC') AND toDateTime64('" + stamp + "', 3, 'UTC') AND event_id IN ('exfil') ORDER BY time"
	return []pipeline.AlertRow{
		row("a1", "e1", schemas.StatusOpen, schemas.SeverityLow, 51, past, "More calls than usual", "begins"),
		row("a2", "e1", schemas.StatusClose, schemas.SeverityLow, 51, past+6*hour, "More calls than usual", "ends"),
		present,
		row("a4", "e2", schemas.StatusUpdate, schemas.SeverityCritical, 71.5, at+minute, "First contact with a destination", "worse"),
	}
}

func storyWindows() []pipeline.WindowRow {
	window := func(agent, group string, start schemas.Millis, events uint64, score float64) pipeline.WindowRow {
		w := schemas.Window{TenantID: schemas.DefaultTenant, AgentID: agent, PeerGroup: group, Start: start, Seconds: 3600, Events: events, Score: score}
		if events > 0 {
			w.Signals = map[string]schemas.WindowSignal{schemas.SignalCallRate: {Observed: float64(events), Expected: 20, Low: 2, High: 48, P: 1}}
		}
		return pipeline.WindowRow{Window: w, RecordedAt: start + hour}
	}
	at := now() - hour
	return []pipeline.WindowRow{
		window("invoice-bot-07", "finance", at, 61, 71.5),
		window("invoice-bot-07", "finance", at-2*day, 20, 12),
		window("support-triage-04", "support", at, 9, 3),
		window("support-triage-04", "support", at-2*day, 0, 0),
	}
}
