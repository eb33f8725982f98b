package main

import (
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"

	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

// severities are the names, the mildest first.
var severities = [...]string{schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical}

// moving are the attacks that move data out.
var moving = []simulator.Kind{simulator.KindExfilFast, simulator.KindExfilSlow, simulator.KindNewDestination, simulator.KindInjection}

// split is a number of alerts or episodes that belong to attacks, and of others.
type split struct {
	Attacks int `json:"of_attacks"`
	Others  int `json:"others"`
}

func (s *split) add(attack bool) {
	if attack {
		s.Attacks++
	} else {
		s.Others++
	}
}

// severityUse says what the severities of a fleet under attack are worth.
type severityUse struct {
	Alerts   [len(severities)]split `json:"alerts"`   // opening and updating
	Episodes [len(severities)]split `json:"episodes"` // by their worst alert
	// Worst is the highest severity of each attack that moves data out and was found.
	Worst [len(severities)]int `json:"attacks_that_move_data_out"`
}

func (u *severityUse) plus(o *severityUse) {
	for i := range severities {
		for _, p := range []struct{ to, from *split }{{&u.Alerts[i], &o.Alerts[i]}, {&u.Episodes[i], &o.Episodes[i]}} {
			p.to.Attacks += p.from.Attacks
			p.to.Others += p.from.Others
		}
		u.Worst[i] += o.Worst[i]
	}
}

// useOf sorts the alerts of a fleet. An alert is of an attack where it comes on the agent
// under attack, until an hour after the last event of it.
func useOf(p *played) (u severityUse) {
	worst := make([]int, len(p.labels))
	for i := range worst {
		worst[i] = -1
	}
	type episode struct {
		severity int
		attack   bool
	}
	episodes := map[string]*episode{}
	for id, list := range p.detector {
		for _, x := range list {
			s := slices.Index(severities[:], x.severity)
			attack := false
			for i, l := range p.labels {
				if l.TenantID == id.tenant && l.AgentID == id.agent && x.at >= l.Start && x.at <= l.End+after {
					attack = true
					worst[i] = max(worst[i], s)
				}
			}
			u.Alerts[s].add(attack)
			e := episodes[x.episode]
			if e == nil {
				e = &episode{}
				episodes[x.episode] = e
			}
			e.severity, e.attack = max(e.severity, s), e.attack || attack
		}
	}
	for _, e := range episodes {
		u.Episodes[e.severity].add(e.attack)
	}
	for i, l := range p.labels {
		if worst[i] >= 0 && slices.Contains(moving, l.Kind) {
			u.Worst[worst[i]]++
		}
	}
	return u
}

func (s split) share() string { return wilson(s.Attacks, s.Attacks+s.Others) }

func writeSeverity(b *bench.Page, r *report) {
	b.Line("\nWhat a severity is worth, in the same fleets under attack: how many of the alerts (opening and updating) and of the episodes (by their worst alert) belong to an attack, " +
		"and how severe at worst the attacks were told that move data out (" + strings.Join(kindNames(moving), ", ") + "), of those that were found.")
	b.Table("severity", "alerts of attacks", "episodes of attacks", "attacks that move data out")
	found := 0
	for _, n := range r.Severity.Worst {
		found += n
	}
	for i := range slices.Backward(severities[:]) {
		b.Row(severities[i], r.Severity.Alerts[i].share(), r.Severity.Episodes[i].share(), wilson(r.Severity.Worst[i], found))
	}
}

func kindNames(kinds []simulator.Kind) (out []string) {
	for _, k := range kinds {
		out = append(out, string(k))
	}
	return out
}
