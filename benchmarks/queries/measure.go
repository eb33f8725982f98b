package main

import (
	"context"
	"fmt"
	"strings"
)

// Names in the documentation, in the place of which stand some of this fleet.
const (
	exampleAgent   = "invoice-bot-07"
	exampleSession = "run-0f70ecf930b1"
	exampleKey     = "key-7"
	exampleAddress = "203.0.113.9"
	exampleDrop    = "email:drop@example.net"
)

// cost is what a query took.
type cost struct {
	seconds float64 // the shortest of the rounds
	cpu     float64 // of the engine, likewise
	read    uint64  // rows
}

// measure asks so many times and keeps the least: what others do on the machine only
// ever adds to it.
func (e *engine) measure(ctx context.Context, q question, rounds int) (cost, error) {
	var out cost
	for i := range rounds {
		var a answer
		cpu, err := e.spent(ctx, func() (err error) { a, err = e.ask(ctx, q.sql); return err })
		if err != nil {
			return cost{}, fmt.Errorf("%s, %s: %w\n%s", q.place, q.title, err, q.sql)
		}
		took := a.took.Seconds()
		if i == 0 {
			out.seconds, out.cpu = took, cpu
		}
		out.seconds, out.cpu = min(out.seconds, took), min(out.cpu, cpu)
		out.read = a.Statistics.Rows
	}
	return out, nil
}

// event is one that is in the tables, whom lookups are about, column by column.
type event map[string]string

// choose takes an event of the busiest agent, a week or so old.
func (e *engine) choose(ctx context.Context) (event, error) {
	a, err := e.ask(ctx, `SELECT agent_id, session_id, event_id, credential_id, source_ip, resources[1] AS resource, on_behalf_of, tool
FROM activity
WHERE length(resources) > 0 AND credential_id != '' AND agent_id = (SELECT agent_id FROM windows GROUP BY agent_id ORDER BY sum(events) DESC LIMIT 1)
ORDER BY time LIMIT 1 OFFSET 100`)
	if err != nil {
		return nil, err
	}
	if len(a.Data) != 1 {
		return nil, fmt.Errorf("choose an event: there are %d", len(a.Data))
	}
	out := make(event)
	for name, v := range a.Data[0] {
		out[name] = fmt.Sprint(v)
	}
	return out, nil
}

// about puts names of this fleet into a query.
func (ev event) about(sql string) string {
	quoted := func(column string) string { return "'" + ev[column] + "'" }
	return strings.NewReplacer(
		"{agent:String}", quoted("agent_id"),
		"'"+exampleAgent+"'", quoted("agent_id"),
		"'"+exampleSession+"'", quoted("session_id"),
		"'"+exampleKey+"'", quoted("credential_id"),
		"'"+exampleAddress+"'", quoted("source_ip"),
		"'"+exampleDrop+"'", quoted("resource"),
	).Replace(sql)
}

// questions are all that is measured: what is documented, what alerts bring, and
// everything about one value of each column that an analyst filters on.
func (e *engine) questions(ctx context.Context, root string) ([]question, error) {
	ev, err := e.choose(ctx)
	if err != nil {
		return nil, err
	}
	out, err := documented(root)
	if err != nil {
		return nil, err
	}
	for i := range out {
		out[i].sql = ev.about(out[i].sql)
	}
	for _, column := range []string{"event_id", "session_id", "credential_id", "source_ip", "on_behalf_of", "tool"} {
		out = append(out, question{"lookup", "latest 100 by `" + column + "`", "SELECT * FROM activity WHERE " + column + " = '" + ev[column] + "' ORDER BY time DESC LIMIT 100"})
	}
	out = append(out,
		question{"lookup", "latest 100 by a resource", "SELECT * FROM activity WHERE has(resources, '" + ev["resource"] + "') ORDER BY time DESC LIMIT 100"},
		question{"lookup", "latest 100, no bound", "SELECT * FROM activity ORDER BY time DESC LIMIT 100"},
		question{"alert", "of a flood of tenants", "SELECT tenant_id, count() AS events, min(time) AS first_seen FROM activity WHERE time BETWEEN now64(3) - INTERVAL 50 HOUR AND now64(3) - INTERVAL 48 HOUR " +
			"GROUP BY tenant_id ORDER BY first_seen DESC LIMIT 1000"},
	)
	for title, which := range map[string]string{
		"of an agent":    "LIKE '%agent_id = %'",
		"of many agents": "NOT LIKE '%agent_id = %'",
	} {
		a, err := e.ask(ctx, "SELECT query FROM alerts WHERE status = 'open' AND query "+which+" ORDER BY cityHash64(alert_id) LIMIT 5")
		if err != nil {
			return nil, err
		}
		for _, row := range a.Data {
			out = append(out, question{"alert", title, fmt.Sprint(row["query"])})
		}
	}
	return out, nil
}
