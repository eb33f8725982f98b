package analyst

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
)

// Who is an agent of one tenant, by its latest events.
type Who struct {
	TenantID      string    `json:"tenant_id"`
	AgentName     string    `json:"agent_name"`
	AgentVersion  string    `json:"agent_version"`
	PeerGroup     string    `json:"peer_group"`
	Owner         string    `json:"owner"`        // by its registration, else by its events
	Contact       string    `json:"contact"`      // by its registration
	Registration  string    `json:"registration"` // canonical JSON; empty: there is none
	FirstSeen     time.Time `json:"first_seen"`
	LastSeen      time.Time `json:"last_seen"`
	Days          int64     `json:"days"` // on which it was active
	Events        int64     `json:"events"`
	Failures      int64     `json:"failures"`
	Denied        int64     `json:"denied"`
	Sessions      int64     `json:"sessions"`
	BytesSent     uint64    `json:"bytes_sent"`
	BytesReceived uint64    `json:"bytes_received"`
}

// Find returns the agent in each tenant that has one of this name, or in the one that
// is named.
func Find(ctx context.Context, db Store, tenant, agent string) ([]Who, error) {
	return read[Who](ctx, db, "who", map[string]string{"tenant": tenant, "agent": agent})
}

// Names returns the names of the agents that there are.
func Names(ctx context.Context, db Store) ([]string, error) {
	rows, err := read[struct {
		Name string `json:"name"`
	}](ctx, db, "names", nil)
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.Name
	}
	return names, err
}

// Section is one question about an agent.
type Section struct {
	Name  string // its key in JSON
	Title string
	sql   string // names the file of sql/
	text  string // what people read of its rows
}

// Sections returns the questions, in the order in which they are asked. Their answers
// fit a terminal of 80 columns.
func Sections() []Section {
	date := func(column, name string) string {
		return "formatDateTime(" + column + ", '%Y-%m-%d') AS `" + name + "`"
	}
	period := func(first, last string) string { return date(first, "first") + ", " + date(last, "last") }
	return []Section{
		{"authorities", "On whose authority", "authorities", "events, sessions, " + period("first_use", "last_use") + ", authority"},
		{"credentials", "Credentials", "credentials", "type, events, " + period("first_use", "last_use") + ", if(isNull(expires), '', formatDateTime(assumeNotNull(expires), '%Y-%m-%d')) AS expires, credential"},
		{"addresses", "Addresses it came from", "addresses", "events, " + period("first_use", "last_use") + ", address"},
		{"days", "Its last days of activity (UTC)", "days", "day, events, failures, denied, formatReadableSize(bytes_sent) AS sent, formatReadableSize(bytes_received) AS received"},
		{"hours", "Its hours of the day (UTC)", "hours", "hour, events, days, bar(events, 0, max(events) OVER (), 30) AS ` `"},
		{"tools", "Tools", "tools", "calls, failures, denied, " + period("first_call", "last_call") + ", tool"},
		{"places", "Where its bytes go", "places", "calls, formatReadableSize(bytes_sent) AS sent, formatDateTime(first_call, '%Y-%m-%d %H:%i') AS `first`, access, place"},
	}
}

func (s Section) parameters(tenant, agent string, since time.Time) map[string]string {
	return map[string]string{"tenant": tenant, "agent": agent, "since": millis(since)}
}

// Show prints the answer for people.
func (s Section) Show(ctx context.Context, db Store, tenant, agent string, since time.Time, d clickhouse.Display) error {
	d.Parameters = s.parameters(tenant, agent, since)
	return db.Show(ctx, "SELECT "+s.text+" FROM (\n"+statement(s.sql)+")", d)
}

// Rows returns the answer as JSON.
func (s Section) Rows(ctx context.Context, db Store, tenant, agent string, since time.Time) ([]json.RawMessage, error) {
	rows, err := read[json.RawMessage](ctx, db, s.sql, s.parameters(tenant, agent, since))
	for i, r := range rows {
		rows[i] = bytes.Clone(r)
	}
	return rows, err
}
