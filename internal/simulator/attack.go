package simulator

import (
	"fmt"
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// attack plans all attacks of the options.
func (f *Fleet) attack(places *crew) error {
	d := newDice(f.opt.Seed, streamPlaces)
	list := slices.Clone(f.opt.Attacks)
	for i := range f.opt.Count {
		list = append(list, Attack{Kind: f.opt.Kinds[i%len(f.opt.Kinds)]})
	}
	honest := slices.Clip(f.agents)
	order := d.r.Perm(len(honest))
	taken := map[*agent]bool{}
	for i := range list {
		for j := range list[:i] {
			if list[i].Agent != "" && list[i].Agent == list[j].Agent {
				return fmt.Errorf("simulate: two attacks on %s", list[i].Agent)
			}
		}
		for _, a := range honest {
			if a.id == list[i].Agent {
				taken[a] = true
			}
		}
	}
	for _, at := range list {
		when := f.start + schemas.Millis(at.At/time.Millisecond)
		if at.At == 0 {
			when = f.place(d, at.Kind)
		}
		if at.Kind == KindNewborn {
			f.raid(f.newborn(d, places, honest, when), at.Kind, when)
			continue
		}
		target := f.target(honest, order, taken, at, when)
		if target == nil {
			if at.Agent != "" {
				return fmt.Errorf("simulate: no agent is called %q at the time of the attack", at.Agent)
			}
			return errCrowded
		}
		taken[target] = true
		f.raid(target, at.Kind, when)
	}
	if 2*len(taken) > len(honest) {
		return errCrowded
	}
	return nil
}

// place draws when an attack begins.
func (f *Fleet) place(d dice, kind Kind) schemas.Millis {
	life := f.end - f.start
	from := f.end - schemas.Millis(f.opt.Window/time.Millisecond)
	room := 4 * hour // to run and to be seen
	if kind == KindRamp {
		from = f.start + max(life/7, life-24*day)
		return from + schemas.Millis(d.between(0, float64(min(day, life/7))))
	}
	if kind == KindExfilSlow {
		room = 3 * day
	}
	if kind == KindInjection {
		room = day // until the agent ends a session
	}
	to := max(f.end-room, from+(f.end-from)/4)
	return from + schemas.Millis(d.r.Float64()*float64(to-from))
}

// target finds the agent to attack. An agent that has just joined has no
// behaviour to deviate from, a ramp needs something to grow, and an injection the
// end of a session.
func (f *Fleet) target(honest []*agent, order []int, taken map[*agent]bool, at Attack, when schemas.Millis) *agent {
	if at.Agent != "" {
		for _, a := range honest {
			if a.id == at.Agent && a.born <= when {
				return a
			}
		}
		return nil
	}
	for _, i := range order {
		a := honest[i]
		switch {
		case taken[a] || a.born > f.start || f.opt.Settled && !a.settled(at.Kind):
		case at.Kind == KindRamp && a.rhythm.perHour() < 1:
		case at.Kind == KindInjection && a.rhythm.expect(when, f.end) < 3*a.role.length:
		default:
			return a
		}
	}
	return nil
}

// settled reports whether the attack breaks with what a does every day.
func (a *agent) settled(kind Kind) bool {
	switch {
	case a.rhythm.perHour() < .5:
		return false
	case kind == KindSweep:
		return a.rhythm.kind != Batch
	case kind == KindNewDestination || kind == KindInjection:
		return a.role.tools[a.toolWith(schemas.AccessSend)].fresh < .02
	}
	return true
}

// newborn builds an agent that exists for its attack only. Its rhythm is the
// median of its peers.
func (f *Fleet) newborn(d dice, places *crew, honest []*agent, when schemas.Millis) *agent {
	peer := honest[d.r.IntN(len(honest))]
	var rates []float64
	for _, a := range honest {
		if a.role == peer.role && a.tenant == peer.tenant {
			rates = append(rates, a.rhythm.perHour())
		}
	}
	slices.Sort(rates)
	a := f.newAgent(f.actors, places.seat(peer.role, peer.rhythm.kind, peer.tenant), nil)
	f.actors++
	a.rhythm.level *= rates[len(rates)/2] / a.rhythm.perHour()
	a.born = when
	a.tide.wild = false
	f.agents = append(f.agents, a)
	return a
}

// raid puts one attack in motion.
func (f *Fleet) raid(a *agent, kind Kind, when schemas.Millis) {
	r := &raid{
		victim: a, began: when, from: when, at: when, d: newDice(f.opt.Seed, f.actors), actor: f.actors, strength: f.opt.Strength,
		label: &Label{AgentID: a.id, TenantID: a.tenant, PeerGroup: a.role.group, Archetype: a.rhythm.kind.String(), Kind: kind},
	}
	f.actors++
	f.labels = append(f.labels, r.label)
	r.prepare(kind)
	if kind == KindInjection {
		a.hooked = r
		return
	}
	f.schedule(r)
}

// release lets an injection follow the event that ended a's session.
func (f *Fleet) release(a *agent) {
	r := a.hooked
	a.hooked = nil
	r.at = a.at
	r.session = a.session
	f.schedule(r)
}
