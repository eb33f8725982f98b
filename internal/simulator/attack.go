package simulator

import (
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// attack plans all attacks of the options.
func (f *Fleet) attack(places *crew) error {
	d := newDice(f.opt.Seed, streamPlaces)
	honest := slices.Clip(f.agents)
	order := d.r.Perm(len(honest))
	taken := map[*agent]bool{}
	for i := range f.opt.Count {
		kind := f.opt.Kinds[i%len(f.opt.Kinds)]
		when := f.place(d, kind)
		if kind == KindNewborn {
			f.raid(f.newborn(d, places, honest, when), kind, when)
			continue
		}
		target := f.target(honest, order, taken, kind, when)
		if target == nil {
			return errCrowded
		}
		taken[target] = true
		f.raid(target, kind, when)
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
func (f *Fleet) target(honest []*agent, order []int, taken map[*agent]bool, kind Kind, when schemas.Millis) *agent {
	for _, i := range order {
		a := honest[i]
		switch {
		case taken[a] || a.born > f.start || f.opt.Settled && !a.settled(kind):
		case kind == KindRamp && a.rhythm.perHour() < 1:
		case kind == KindInjection && a.rhythm.expect(when, f.end) < 3*a.role.length:
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
