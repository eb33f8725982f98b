package detector

import (
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// query is ClickHouse SQL for the proving events.
func query(al *schemas.Alert, e *episode, at schemas.Millis, a *agent) string {
	start, end := at, at
	lead := al.Signals[0]
	if lead.WindowSeconds > 0 {
		start = min(start, lead.WindowStart)
	}
	start = min(start, e.first)
	end = max(end, e.last)
	var b strings.Builder
	if a.id == swarmID && a.tenant.name == floodTenant { // who they are, the newest first
		b.WriteString("SELECT tenant_id, count() AS events, min(time) AS first_seen FROM activity WHERE time BETWEEN ")
		sqlTime(&b, start)
		b.WriteString(" AND ")
		sqlTime(&b, end)
		b.WriteString(" GROUP BY tenant_id ORDER BY first_seen DESC LIMIT 1000")
		return b.String()
	}
	b.WriteString("SELECT * FROM activity WHERE tenant_id = ")
	sqlString(&b, al.TenantID)
	if a.id != swarmID {
		b.WriteString(" AND agent_id = ")
		sqlString(&b, al.Agent.ID)
	}
	b.WriteString(" AND time BETWEEN ")
	sqlTime(&b, start)
	b.WriteString(" AND ")
	sqlTime(&b, end)
	if len(e.evidence.EventIDs) > 0 && (a.id == swarmID || lead.WindowSeconds == 0) {
		b.WriteString(" AND event_id IN (")
		for i, id := range e.evidence.EventIDs {
			if i > 0 {
				b.WriteString(", ")
			}
			sqlString(&b, id)
		}
		b.WriteByte(')')
	}
	b.WriteString(" ORDER BY time")
	return b.String()
}

func sqlTime(b *strings.Builder, t schemas.Millis) {
	b.WriteString("toDateTime64('")
	b.WriteString(t.Time().Format("2006-01-02 15:04:05.000"))
	b.WriteString("', 3, 'UTC')")
}

// sqlString writes a ClickHouse string literal. Quotes, backslashes and what is
// not printable ASCII or a letter are escaped: no name breaks out of its literal.
func sqlString(b *strings.Builder, s string) {
	const hex = "0123456789abcdef"
	b.WriteByte('\'')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c == 0x7f:
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
}
