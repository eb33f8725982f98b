package main

import (
	"time"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

const (
	hour = schemas.Millis(3_600_000)
	day  = 24 * hour
)

// who is an agent.
type who struct{ tenant, agent string }

// alarm is one alert, open or update.
type alarm struct {
	at       schemas.Millis
	open     bool
	signal   string
	attacks  int // events of the attack on this agent that had passed
	severity string
	episode  string
}

// alarms are those of one fleet, by agent, in order of time.
type alarms map[who][]alarm

// recorder is the detector's sink.
type recorder struct {
	alarms  alarms
	passed  map[who]int              // events of attacks
	windows map[who][]schemas.Window // nil: they are not kept
}

func (r *recorder) Alert(a *schemas.Alert) {
	if a.Status == schemas.StatusClose {
		return
	}
	id := who{a.TenantID, a.Agent.ID}
	name := "none"
	if len(a.Signals) > 0 {
		name = a.Signals[0].Name
	}
	r.alarms[id] = append(r.alarms[id], alarm{a.Time, a.Status == schemas.StatusOpen, name, r.passed[id], a.Severity, a.EpisodeID})
}

func (r *recorder) Window(w *schemas.Window) {
	if r.windows != nil {
		id := who{w.TenantID, w.AgentID}
		r.windows[id] = append(r.windows[id], *w)
	}
}

// played is what a fleet and the detectors made of each other.
type played struct {
	from      schemas.Millis
	agents    map[who]simulator.AgentInfo
	agentDays map[who][]schemas.Millis // days since from on which it was active
	labels    []simulator.Label
	changes   []simulator.Change

	detector, ewma, zscore alarms
	windows                map[who][]schemas.Window

	events         uint64
	seconds        float64 // in the detector alone
	statedPerAgent float64
}

// play runs a fleet through a new detector and the baselines to compare with.
func play(o simulator.Options, cfg detector.Config, windows bool) (*played, error) {
	fleet, err := simulator.New(o)
	if err != nil {
		return nil, err
	}
	p := &played{agents: map[who]simulator.AgentInfo{}, agentDays: map[who][]schemas.Millis{}}
	p.from, _ = fleet.Span()
	for _, a := range fleet.Agents() {
		p.agents[who{a.TenantID, a.AgentID}] = a
	}
	sink := &recorder{alarms: alarms{}, passed: map[who]int{}}
	if windows {
		sink.windows = map[who][]schemas.Window{}
	}
	det, err := detector.New(cfg, sink)
	if err != nil {
		return nil, err
	}
	ewma, zscore := newEWMA(cfg.AlertsPerAgentDay), newZScore(cfg.AlertsPerAgentDay)

	// In batches, so that the clock is read seldom.
	const batch = 512
	events := make([]schemas.Activity, batch)
	injected := make([]bool, batch)
	for {
		n := 0
		for n < batch && fleet.Next(&events[n]) {
			injected[n] = fleet.Injected()
			n++
		}
		if n == 0 {
			break
		}
		begin := time.Now()
		for i := range events[:n] {
			if injected[i] {
				sink.passed[who{events[i].TenantID, events[i].AgentID}]++
			}
			det.Process(&events[i])
		}
		p.seconds += time.Since(begin).Seconds()
		for i := range events[:n] {
			ev := &events[i]
			id := who{ev.TenantID, ev.AgentID}
			p.active(id, ev.Time)
			ewma.see(id, ev.Time, injected[i])
			zscore.see(id, ev.Time, injected[i])
		}
	}
	p.events = fleet.Events()
	p.labels, p.changes, p.detector = fleet.Labels(), fleet.Changes(), sink.alarms
	stats := det.Stats()
	p.statedPerAgent = float64(stats.StateBytes) / float64(max(1, stats.Agents))
	p.windows, p.ewma, p.zscore = sink.windows, ewma.found, zscore.found
	return p, nil
}

func (p *played) active(id who, at schemas.Millis) {
	d := (at - p.from) / day
	if seen := p.agentDays[id]; len(seen) == 0 || seen[len(seen)-1] != d {
		p.agentDays[id] = append(seen, d)
	}
}
