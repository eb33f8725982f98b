package main

import "fmt"

// target is one promise about speed or size, and what became of it.
type target struct {
	What    string  `json:"what"`
	Want    string  `json:"target"`
	Have    string  `json:"measured"`
	Value   float64 `json:"value"`
	Verdict string  `json:"met"` // yes, no, not measured
}

const notMeasured = "not measured"

// The targets.
const (
	wantDetect10k = 400_000.0
	wantDetect1M  = 250_000.0
	wantArchive   = 250_000.0
	wantRoute     = 250_000.0
	wantEndToEnd  = 120_000.0
	wantBytes     = 4096.0
	wantPolicy    = 300.0
	wantLatency   = 250.0
	wantRestore   = 30.0
	million       = 950_000 // agents from which a fleet counts as the one of a million
)

// judge compares what was measured with the targets.
func (p *page) judge() {
	p.Targets = []target{
		p.stageTarget("decode + detect at 10,000 agents, per core", "decode + detect, 10,000 agents", wantDetect10k),
		p.stageTarget("decode + detect at 1,000,000 agents, per core", "decode + detect, 1,000,000 agents", wantDetect1M),
		p.stageTarget("archive client side, per core", "archive", wantArchive),
		p.stageTarget("route, per core", "route", wantRoute),
		p.endToEndTarget(),
		p.memoryTarget(),
		p.historyTarget(),
		p.latencyTarget(),
		p.restoreTarget(),
		p.policyTarget(),
	}
}

func (t target) judged(value float64, met bool, format string, args ...any) target {
	t.Value, t.Have, t.Verdict = value, fmt.Sprintf(format, args...), "no"
	if met {
		t.Verdict = "yes"
	}
	return t
}

func (p *page) stageTarget(what, name string, want float64) target {
	t := target{What: what, Want: ">= " + rate(want) + " events/s", Verdict: notMeasured}
	for i := range p.Stages {
		if s := &p.Stages[i]; s.Name == name {
			return t.judged(s.rate(), s.rate() >= want, "%s/s (%s-%s)", rate(s.rate()), rate(s.PerSecond.Min), rate(s.PerSecond.Max))
		}
	}
	return t
}

func (p *page) endToEndTarget() target {
	t := target{What: "source record to ClickHouse and alerts, all roles, per core (broker and engine not counted)", Want: ">= " + rate(wantEndToEnd) + " events/s", Verdict: notMeasured}
	for i := range p.EndToEnd {
		if e := &p.EndToEnd[i]; e.BrokerNanos > 0 {
			return t.judged(e.PerSecond, e.PerSecond >= wantEndToEnd, "%s/s", rate(e.PerSecond))
		}
	}
	return t
}

func (p *page) memoryTarget() target {
	t := target{What: "memory of an agent at 1,000,000 agents", Want: fmt.Sprintf("<= %.0f bytes", wantBytes), Verdict: notMeasured}
	for _, f := range p.Memory { // the last one counts: it has the longest history
		if f.Agents >= million {
			t = t.judged(f.HeapBytes, f.HeapBytes <= wantBytes, "%.0f bytes after %.1f events an agent", f.HeapBytes, f.EventsPerAgent)
		}
	}
	return t
}

// historyTarget looks at the agents that have learned the most, since an agent
// grows with its history: those of the fleet of a million have little.
func (p *page) historyTarget() target {
	t := target{What: "memory of the agents with the most history", Want: fmt.Sprintf("<= %.0f bytes", wantBytes), Verdict: notMeasured}
	most := footprint{EventsPerAgent: -1}
	for _, f := range p.Memory {
		if f.EventsPerAgent > most.EventsPerAgent {
			most = f
		}
	}
	if most.EventsPerAgent < 0 {
		return t
	}
	return t.judged(most.HeapBytes, most.HeapBytes <= wantBytes, "%.0f bytes after %.0f events an agent, %s agents", most.HeapBytes, most.EventsPerAgent, thousands(most.Agents))
}

func (p *page) latencyTarget() target {
	t := target{What: "event in Kafka to alert in Kafka at 50,000 events/s, p99", Want: fmt.Sprintf("< %.0f ms", wantLatency), Verdict: notMeasured}
	for i := range p.Latency {
		l := &p.Latency[i]
		if l.Offered < 50_000 || l.Roles != allRoles || l.Alerts == 0 {
			continue
		}
		v := l.FromSource.P99
		sent := ""
		if l.Achieved < .98*l.Offered {
			sent = fmt.Sprintf(" (only %s/s could be sent)", thousands(int(l.Achieved)))
		}
		return t.judged(v, v < wantLatency && sent == "", "%.0f ms over %s alerts%s", v, thousands(l.Alerts), sent)
	}
	return t
}

func (p *page) policyTarget() target {
	t := target{What: fmt.Sprintf("decision on an event, %d policies", policyCount), Want: fmt.Sprintf("<= %.0f ns", wantPolicy), Verdict: notMeasured}
	for i := range p.Stages {
		if s := &p.Stages[i]; s.Name == "policy" {
			return t.judged(s.nanos(), s.nanos() <= wantPolicy, "%.0f ns (%.0f-%.0f)", s.nanos(), s.CPUNanos.Min, s.CPUNanos.Max)
		}
	}
	return t
}

func (p *page) restoreTarget() target {
	t := target{What: "restore of 1,000,000 agents, from memory", Want: fmt.Sprintf("< %.0f s", wantRestore), Verdict: notMeasured}
	for _, r := range p.Restores {
		if r.Agents >= million {
			return t.judged(r.ReadSeconds, r.ReadSeconds < wantRestore, "%.1f s of CPU for %s agents", r.ReadSeconds, thousands(r.Agents))
		}
	}
	return t
}
