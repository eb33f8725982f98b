package backtest

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Incident is something that an agent did and that an alert should tell of.
type Incident struct {
	Name   string         `json:"name"`
	Tenant string         `json:"tenant"`
	Agent  string         `json:"agent"`
	From   schemas.Millis `json:"from"`
	To     schemas.Millis `json:"to"`
}

// Incidents are what both sides said of them.
type Incidents struct {
	Counted int `json:"counted"`
	// Outside: they were over before what is counted, or began behind the last event.
	Outside int        `json:"outside"`
	Both    int        `json:"both"`
	Lost    []Incident `json:"lost"` // the old side alerted, the new one did not
	Gained  []Incident `json:"gained"`
	Neither []Incident `json:"neither"`
}

// The bounds of a file of incidents.
const (
	maxIncidents    = 100_000
	maxIncidentLine = 1 << 20
)

// ReadIncidents reads JSON lines: labels as `plumbline simulate --labels` writes them, or
// objects of tenant, agent, from, to and name.
func ReadIncidents(name string, in io.Reader) ([]Incident, error) {
	out := []Incident{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, maxIncidentLine)
	for n := 1; lines.Scan(); n++ {
		if len(lines.Bytes()) == 0 {
			continue
		}
		i, err := readIncident(lines.Bytes())
		if err == nil && len(out) == maxIncidents {
			err = fmt.Errorf("over %d incidents", maxIncidents)
		}
		if err != nil {
			return nil, fmt.Errorf("%s, line %d: %w", name, n, err)
		}
		out = append(out, i)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return out, nil
}

var errIncident = errors.New(`write {"tenant": "default", "agent": "ID", "from": "2026-03-02T08:00:00Z", "to": "2026-03-02T09:00:00Z", "name": "what it was"}`)

func readIncident(line []byte) (Incident, error) {
	var v struct {
		Incident
		TenantID string         `json:"tenant_id"`
		AgentID  string         `json:"agent_id"`
		Kind     string         `json:"kind"`
		Start    schemas.Millis `json:"start"`
		End      schemas.Millis `json:"end"`
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return v.Incident, fmt.Errorf("%w; %w", err, errIncident)
	}
	i := Incident{
		Name: cmp.Or(v.Name, v.Kind, "incident"), Tenant: cmp.Or(v.Tenant, v.TenantID, schemas.DefaultTenant),
		Agent: cmp.Or(v.Agent, v.AgentID), From: cmp.Or(v.From, v.Start), To: cmp.Or(v.To, v.End),
	}
	switch {
	case i.Agent == "":
		return i, fmt.Errorf("no agent; %w", errIncident)
	case i.From <= 0 || i.To < i.From:
		return i, fmt.Errorf("no time from which to which; %w", errIncident)
	}
	return i, nil
}

// judge says which of the incidents each side alerted in: an episode was open, and the
// budget crossed, within it. Of one that began before what is counted the rest is.
func judge(incidents []Incident, s span, from, to []*Episode) *Incidents {
	out := &Incidents{Lost: []Incident{}, Gained: []Incident{}, Neither: []Incident{}}
	inOld, inNew := alerted(from), alerted(to)
	for _, i := range incidents {
		if !s.counts(i.To) || int64(i.From)/dayMillis > s.last {
			out.Outside++
			continue
		}
		out.Counted++
		i.From = max(i.From, schemas.Millis(s.counted*dayMillis))
		switch before, after := inOld(i), inNew(i); {
		case before && after:
			out.Both++
		case before:
			out.Lost = append(out.Lost, i)
		case after:
			out.Gained = append(out.Gained, i)
		default:
			out.Neither = append(out.Neither, i)
		}
	}
	return out
}

func alerted(episodes []*Episode) func(Incident) bool {
	of := make(map[who][]*Episode)
	for _, e := range episodes {
		of[who{e.Tenant, e.Agent}] = append(of[who{e.Tenant, e.Agent}], e)
	}
	return func(i Incident) bool {
		return slices.ContainsFunc(of[who{i.Tenant, i.Agent}], func(e *Episode) bool {
			return e.Opened <= i.To && e.Last >= i.From
		})
	}
}
