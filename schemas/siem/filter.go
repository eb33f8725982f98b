package siem

import (
	"slices"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Filter says which alerts an output wants. An empty list wants all.
type Filter struct {
	MinSeverity string // empty: low
	Statuses    []string
	Kinds       []string
	Tenants     []string
	PeerGroups  []string
}

var severities = []string{schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical}

// Match reports whether the alert is wanted. Of an episode that gets worse only
// what is severe enough passes: its first record may then be an update. The close
// has the severity that the episode reached.
func (f *Filter) Match(a *schemas.Alert) bool {
	in := func(list []string, v string) bool { return len(list) == 0 || slices.Contains(list, v) }
	return slices.Index(severities, a.Severity) >= slices.Index(severities, f.MinSeverity) &&
		in(f.Statuses, a.Status) && in(f.Kinds, a.Kind) && in(f.Tenants, a.TenantID) && in(f.PeerGroups, a.Agent.PeerGroup)
}
