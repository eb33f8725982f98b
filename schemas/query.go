package schemas

import "strings"

// EvidenceQuery says which events prove an alert, for those who look them up in ClickHouse.
type EvidenceQuery struct {
	TenantID string // empty: of every tenant, and asked is who they are
	AgentID  string // empty: of every agent
	From, To Millis
	EventIDs []string // empty: all in that time
}

// SQL is the statement that finds them.
func (q EvidenceQuery) SQL() string {
	during := "time BETWEEN " + sqlTime(q.From) + " AND " + sqlTime(q.To)
	if q.TenantID == "" { // the newest first
		return "SELECT tenant_id, count() AS events, min(time) AS first_seen FROM activity WHERE " + during +
			" GROUP BY tenant_id ORDER BY first_seen DESC LIMIT 1000"
	}
	where := "tenant_id = " + sqlString(q.TenantID)
	if q.AgentID != "" {
		where += " AND agent_id = " + sqlString(q.AgentID)
	}
	where += " AND " + during
	if len(q.EventIDs) > 0 {
		ids := make([]string, len(q.EventIDs))
		for i, id := range q.EventIDs {
			ids[i] = sqlString(id)
		}
		where += " AND event_id IN (" + strings.Join(ids, ", ") + ")"
	}
	return "SELECT * FROM activity WHERE " + where + " ORDER BY time"
}

func sqlTime(t Millis) string {
	return "toDateTime64('" + t.Time().Format("2006-01-02 15:04:05.000") + "', 3, 'UTC')"
}

// sqlString writes a ClickHouse string literal. Quotes, backslashes and control characters
// are escaped: no name breaks out of its literal.
func sqlString(s string) string {
	const hex = "0123456789abcdef"
	b := []byte{'\''}
	for i := range len(s) {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20 || c == 0x7f:
			b = append(b, '\\', 'x', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '\''))
}
