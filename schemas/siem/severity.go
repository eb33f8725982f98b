package siem

import "github.com/plumbline-sec/plumbline/schemas"

// severity is what the forms call a severity.
type severity struct {
	ten, syslog, ecs int64 // ten: from 1 to 10
	asim, splunk     string
	ocsf, risk       caption
}

var severityByName = map[string]severity{
	schemas.SeverityLow:      {3, 5, 21, "Low", "low", caption{2, "Low"}, caption{1, "Low"}},
	schemas.SeverityMedium:   {6, 4, 47, "Medium", "medium", caption{3, "Medium"}, caption{2, "Medium"}},
	schemas.SeverityHigh:     {8, 3, 73, "High", "high", caption{4, "High"}, caption{3, "High"}},
	schemas.SeverityCritical: {10, 2, 99, "High", "critical", caption{5, "Critical"}, caption{4, "Critical"}},
}

// severityOf returns the mildest for one that is not known, where a form has no word for that.
func severityOf(name string) severity {
	if s, ok := severityByName[name]; ok {
		return s
	}
	return severity{3, 5, 21, "Low", "unknown", caption{0, "Unknown"}, caption{0, "Info"}}
}
