package detector

import "github.com/plumbline-sec/plumbline/schemas"

// Names cost nothing: whoever can write events can invent agents. So what agents know,
// and how they behave, counts among their peers only when they have been there for a
// while: for a week, or for half the age of their group where that is young, and on some
// of those days at work without an alert. An agent that was never alerted on then brings
// what it has come to know.

// noteActiveDay notes that an agent is active on the day of its tenant's clock.
func (a *agent) noteActiveDay() {
	day := int64(a.tenant.clock) / dayMillis
	if day != a.lastCalmDay && !a.alerted() {
		a.lastCalmDay = day
		a.calmDays++
	}
	n := &a.profile.Novelty
	if n.Vouches || !a.isPeer(day) {
		return
	}
	a.vouch()
	if a.calmDays > 1 && a.opened == 0 {
		n.Known.Each(func(item uint64) { a.group.peers.Learnt(item, int64(a.tenant.clock)) })
	}
}

// isPeer reports whether an agent has been in its group for long enough.
func (a *agent) isPeer(day int64) bool { return a.settledIn(day, a.group.firstDay) }

// settledIn reports whether the agent has been there for long enough, among those that
// began to come on some day.
func (a *agent) settledIn(day, began int64) bool {
	all := day - began
	return 2*(day-a.firstDay) >= min(2*vouchDays, all) && int64(a.calmDays) >= min(vouchLived, 1+all/3)
}

func (a *agent) vouch() {
	a.profile.Novelty.Vouches = true
	a.group.peers.Vouching++
}

// stopVouching ends an agent's part in its group.
func (a *agent) stopVouching() {
	if a.profile.Novelty.Vouches {
		a.profile.Novelty.Vouches = false
		a.group.peers.Vouching--
	}
}

// join moves an agent to another peer group.
func (d *Detector) join(a *agent, g *group) {
	a.stopVouching()
	g.agents++
	d.leaveGroup(a)
	a.group = g
	g.firstDay = min(g.firstDay, a.firstDay)
	a.policy = d.policyOf(a)
	a.tenant.advance(g)
}

// regroup takes the peer group that an agent's event names, or at once the one that its
// registration does.
func (d *Detector) regroup(a *agent, name string) {
	name, declared := a.peerGroup(name)
	if name == "" {
		name = schemas.DefaultPeerGroup
	}
	if name == a.group.name || a.tenant.name == floodTenant {
		a.claim, a.claimed = "", 0
		return
	}
	if a.calmDays > moveDays && !declared {
		if day := int64(a.tenant.clock) / dayMillis; a.claim != short(name) || day != a.claimDay {
			if a.claim != short(name) {
				a.claim, a.claimed = short(name), 0
			}
			a.claimed++
			a.claimDay = day
		}
		if a.claimed <= moveDays {
			return
		}
	}
	a.claim, a.claimed = "", 0
	if g := d.group(a.tenant, name); g != a.group {
		d.join(a, g)
	}
}
