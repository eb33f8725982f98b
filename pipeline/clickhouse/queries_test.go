package clickhouse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
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

// expectation is what a documented query must return on the rows of story.
type expectation struct {
	heading string
	number  int
	columns []string
	// rows are the values of some columns; there are as many rows as these.
	rows []map[string]string
}

func expectations() []expectation {
	return []expectation{
		{
			heading: "What happened last?",
			columns: []string{"time", "agent_id", "on_behalf_of", "action", "tool", "access", "resources", "outcome"},
			rows:    []map[string]string{{"agent_id": "invoice-bot-07", "tool": "mail.send"}, {"agent_id": "notes-helper", "tool": "files.read"}},
		},
		{
			heading: "Where was a credential used?",
			columns: []string{"agent_id", "source_ip", "credential_type", "events", "first_used", "last_used"},
			rows:    []map[string]string{{"agent_id": "invoice-bot-07", "source_ip": "10.0.0.7", "events": "61"}, {"source_ip": "203.0.113.9", "credential_type": "static_key", "events": "1"}},
		},
		{
			heading: "What came from an address?",
			columns: []string{"time", "agent_id", "on_behalf_of", "credential_id", "tool", "access", "resources", "bytes_sent", "outcome"},
			rows:    []map[string]string{{"agent_id": "invoice-bot-07", "credential_id": "key-7", "resources": "[email:drop@example.net]"}},
		},
		{
			heading: "Who touched a resource?",
			columns: []string{"tenant_id", "agent_id", "access", "events", "first_touched", "last_touched", "bytes"},
			rows:    []map[string]string{{"tenant_id": "default", "agent_id": "invoice-bot-07", "access": "send", "events": "1", "bytes": "3145728"}},
		},
		{
			heading: "On whose authority does an agent act?",
			columns: []string{"on_behalf_of", "events", "sessions", "first_event", "last_event"},
			rows:    []map[string]string{{"on_behalf_of": "team-finance@example.com", "events": "61", "sessions": "3"}, {"on_behalf_of": "mallory@example.net", "events": "1", "sessions": "1"}},
		},
		{
			heading: "Who sends most to destinations that are new?",
			columns: []string{"agent_id", "destination", "first_contact", "calls", "bytes", "sent"},
			rows: []map[string]string{
				{"agent_id": "invoice-bot-07", "destination": "email:drop@example.net", "calls": "1", "bytes": "3145728", "sent": "3.00 MiB"},
			},
		},
		{
			heading: "Which events prove an alert?",
			columns: []string{"time", "agent_id", "title", "query"},
			rows:    []map[string]string{{"agent_id": "invoice-bot-07", "title": "First contact with a destination"}},
		},
		{
			heading: "Which events prove an alert?", number: 1,
			columns: []string{"alerted", "severity", "happened", "agent", "tool", "resources", "bytes_sent", "outcome"},
			rows:    []map[string]string{{"severity": "high", "agent": "invoice-bot-07", "tool": "mail.send", "resources": "[email:drop@example.net]", "bytes_sent": "3145728"}},
		},
		{
			heading: "Which agents live on static keys, or on credentials about to expire?",
			columns: []string{"agent_id", "credential_type", "credential_id", "expires", "last_used", "addresses"},
			rows: []map[string]string{
				{"agent_id": "support-triage-04", "credential_type": "certificate", "credential_id": "cert-4"},
				{"agent_id": "invoice-bot-07", "credential_type": "static_key", "credential_id": "key-7", "expires": "<nil>", "addresses": "2"},
			},
		},
		{
			heading: "Which agents appeared since yesterday?",
			columns: []string{"tenant_id", "agent_id", "peers", "first_recorded", "events", "authorities", "tools"},
			rows:    []map[string]string{{"tenant_id": "default", "agent_id": "notes-helper", "peers": "default", "events": "1", "authorities": "[dana@example.com]", "tools": "[files.read]"}},
		},
		{
			heading: "Which tools fail, and which are denied?",
			columns: []string{"tool", "calls", "agents", "failure_ratio", "denied_ratio"},
			rows: []map[string]string{
				{"tool": "erp.lookup", "calls": "60", "agents": "1", "failure_ratio": "0.1", "denied_ratio": "0.05"},
				{"tool": "a2a.message", "calls": "24", "agents": "1", "failure_ratio": "0", "denied_ratio": "0"},
			},
		},
		{
			heading: "What happened in this session?",
			columns: []string{"time", "agent_id", "on_behalf_of", "action", "tool", "access", "resources", "target_agent_id", "bytes_sent", "outcome", "origin"},
			rows: []map[string]string{
				{"agent_id": "notes-helper", "tool": "files.read", "outcome": "success", "origin": "agent-activity/0/1000"},
				{"agent_id": "invoice-bot-07", "tool": "mail.send", "outcome": "success", "origin": "agent-activity/0/1001"},
			},
		},
		{
			heading: "Alerts a day and peer group, against the budget",
			columns: []string{"day", "peer_group", "agents", "opened", "budget"},
			rows: []map[string]string{
				{"peer_group": "finance", "agents": "1", "opened": "1", "budget": "0.01"},
				{"peer_group": "support", "agents": "1", "opened": "0", "budget": "0.01"},
				{"peer_group": "finance", "agents": "1", "opened": "1", "budget": "0.01"},
			},
		},
		{
			heading: "An agent hour by hour, with what was expected of it",
			columns: []string{"start", "events", "expected", "low", "high", "score"},
			rows:    []map[string]string{{"events": "61", "expected": "20", "low": "2", "high": "48", "score": "71.5"}, {"events": "20", "expected": "20", "low": "2", "high": "48", "score": "12"}},
		},
		{
			heading: "Who talks to whom?",
			columns: []string{"source", "target", "delegations", "messages", "bytes", "last_message", "target_known"},
			rows: []map[string]string{
				{"source": "support-triage-04", "target": "invoice-bot-07", "delegations": "0", "messages": "23", "bytes": "23000", "target_known": "1"},
				{"source": "support-triage-04", "target": "nobody-knows", "delegations": "1", "messages": "1", "bytes": "1000", "target_known": "0"},
			},
		},
		{
			heading: "Which episodes are open?",
			columns: []string{"agent_id", "since", "latest", "latest_severity", "worst_score", "latest_summary", "steps"},
			rows:    []map[string]string{{"agent_id": "invoice-bot-07", "latest_severity": "critical", "worst_score": "71.5", "latest_summary": "worse", "steps": "2"}},
		},
		{
			heading: "Whose events had to be cut or mended?",
			columns: []string{"origin_source", "agent_id", "flag", "events", "last_event"},
			rows:    []map[string]string{{"origin_source": "default", "agent_id": "notes-helper", "flag": "resources_cut", "events": "1"}},
		},
	}
}

func TestTheQueriesOfTheDocumentationAnswerOnTheRealEngine(t *testing.T) {
	db := migrated(t)
	tellStory(t, db)
	queries, _ := readPage(t, queriesPage)
	require.GreaterOrEqual(t, len(queries), 10)
	expected := expectations()
	require.Len(t, queries, len(expected), "every query of the page has an expectation, and none is left over")
	for i, q := range queries {
		t.Run(fmt.Sprintf("%s %d", q.heading, q.number), func(t *testing.T) {
			want := expected[i]
			require.Equal(t, want.heading, q.heading)
			require.Equal(t, want.number, q.number)
			columns, rows := ask(t, db, q.sql)
			require.Equal(t, want.columns, columns)
			require.NotEmpty(t, want.rows, "an answer without rows proves nothing")
			require.Len(t, rows, len(want.rows), "%v", rows)
			for n, values := range want.rows {
				for name, value := range values {
					require.Contains(t, rows[n], name)
					require.Equal(t, value, fmt.Sprint(rows[n][name]), "row %d, column %s", n, name)
				}
			}
		})
	}
}

func TestTheQueryThatAnAlertBringsFindsItsEvents(t *testing.T) {
	db := migrated(t)
	tellStory(t, db)
	queries, _ := readPage(t, queriesPage)
	i := slices.IndexFunc(queries, func(q documented) bool { return q.heading == "Which events prove an alert?" })
	require.GreaterOrEqual(t, i, 0)
	_, alerts := ask(t, db, queries[i].sql)
	require.Len(t, alerts, 1)
	query, ok := alerts[0]["query"].(string)
	require.True(t, ok)
	_, events := ask(t, db, query)
	require.Len(t, events, 1)
	require.Equal(t, "exfil", events[0]["event_id"])
}

func TestTheColumnsOfTheDocumentationAreThoseOfTheViews(t *testing.T) {
	db := migrated(t)
	_, columns := readPage(t, schemaPage)
	for _, view := range []string{"activity", "alerts", "windows"} {
		t.Run(view, func(t *testing.T) {
			var real [][2]string
			_, rows := ask(t, db, "SELECT name, type FROM system.columns WHERE database = 'plumbline' AND table = '"+view+"' ORDER BY position")
			for _, r := range rows {
				real = append(real, [2]string{fmt.Sprint(r["name"]), fmt.Sprint(r["type"])})
			}
			require.NotEmpty(t, real)
			require.Equal(t, real, columns[view])
		})
	}
}

// ask runs a query as the command does and returns the names of its columns in
// their order, and its rows; numbers keep their digits.
func ask(tb testing.TB, db *DB, sql string) (columns []string, rows []map[string]any) {
	tb.Helper()
	described, err := db.conn.Query(tb.Context(), sql)
	require.NoError(tb, err, sql)
	columns = described.Columns()
	require.NoError(tb, described.Close())

	var out bytes.Buffer
	require.NoError(tb, db.Query(tb.Context(), sql, FormatJSON, &out, nil), sql)
	dec := json.NewDecoder(&out)
	dec.UseNumber()
	for dec.More() {
		var row map[string]any
		require.NoError(tb, dec.Decode(&row))
		rows = append(rows, row)
	}
	return columns, rows
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
