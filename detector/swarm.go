package detector

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Whoever can write events can invent agents, and tenants, by the thousand. That is one
// thing to look at, not thousands: beyond the first few agents that are alerted on before
// they are peers of anybody (vouch.go), their crossings belong to one episode of their
// tenant. And where so many names come that others have to be forgotten, that is an alert
// by itself. Both are told of an agent that no event can name.

const (
	// swarmID is what the swarm of a tenant is called inside: no agent_id has a control
	// character. swarmName is what alerts call it, crowdName several that fail one identity check; floodTenant is the tenant that those
	// without room share, floodName its swarm.
	swarmID     = "\x00swarm"
	swarmName   = "(new agents)"
	crowdName   = "(several agents)"
	allTenants  = "(all)"
	floodName   = "(new tenants)"
	floodTenant = "\x00tenants"
)

// newcomer reports whether the agent is new to its tenant.
func (a *agent) newcomer() bool {
	day := int64(a.tenant.clock) / dayMillis
	return a.tenant.name == floodTenant || !a.settledIn(day, a.tenant.firstDay)
}

// swarm returns the agent that stands for a tenant's newcomers.
func (d *Detector) swarm(t *tenant, groupName string) *agent {
	if t.swarm == nil {
		t.swarm = d.newAgent(t, swarmID, groupName, t.clock)
	}
	d.cutting.change(t.swarm)
	return t.swarm
}

// folds returns the agent whose episode a crossing of a belongs to: a itself, or the
// swarm of its tenant.
func (d *Detector) folds(a *agent) *agent {
	t := a.tenant
	if a.episode != nil || !a.newcomer() {
		return a
	}
	if t.ownEpisodes < ownEpisodes && (t.swarm == nil || t.swarm.episode == nil) {
		return a
	}
	s := d.swarm(t, a.group.name)
	if a.folded() {
		return s
	}
	a.opened++
	a.foldedIn = s.opened
	if s.episode == nil { // this crossing opens it
		a.foldedIn++
		s.crowd = 0
	}
	s.crowd++
	return s
}

// folded reports whether the agent is part of its tenant's swarm, in an episode of it that
// goes on.
func (a *agent) folded() bool {
	s := a.tenant.swarm
	return a.foldedIn > 0 && s != nil && s.episode != nil && a.foldedIn == s.opened
}

// alerted reports whether what the agent does now is part of an episode.
func (a *agent) alerted() bool { return a.episode != nil || a.folded() }

// shown is what alerts call the agent.
func (a *agent) shown() string {
	switch {
	case a.id == swarmID && a.tenant.name == floodTenant:
		return floodName
	case a.id == swarmID:
		return swarmName
	}
	_, id := a.names()
	return text(id)
}

// flood notes that a name was given up because so many new ones came, and tells of it:
// once, and again whenever there are twice as many.
func (d *Detector) flood(s *agent, what string, now schemas.Millis) {
	hour := int64(now) / hourMillis
	if hour != s.floodHour {
		s.floodHour, s.flooded = hour, 0
	}
	s.flooded++
	if !s.policy.fuse.On(d.floods) || s.flooded < floodNames || s.flooded&(s.flooded-1) != 0 && s.flooded != floodNames {
		return
	}
	if s.episode == nil {
		s.crowd = 0
	}
	d.ctx = signal.Context{Own: &s.profile, Peers: s.group.peers, At: now, Flood: signal.Flood{What: what, Names: float64(s.flooded), From: hour}}
	d.ranked, d.newItems, d.moved, d.addedTo, d.repeats = d.ranked[:0], d.newItems[:0], false, nil, false
	x := math.Log10(float64(s.flooded) / floodNames)
	lambda := s.policy.budget.Alerts * math.Pow(10, -1-x)
	d.ranked = append(d.ranked, rankedSignal{d.floods, x, lambda, -math.Log10(lambda)})
	v := Verdict{Surprise: -math.Log10(lambda), Score: s.policy.budget.Score(-math.Log10(lambda))}
	d.cross(s, s, &schemas.Activity{TenantID: s.tenant.name, AgentID: s.id, Time: now}, now, v)
}

// shared returns the tenant in which the agents of tenants without room are held.
func (d *Detector) shared() *tenant {
	t, ok := d.byName[floodTenant]
	if !ok {
		t = d.addTenant(floodTenant)
	}
	d.use(t)
	return t
}

// newAgent makes an agent.
func (d *Detector) newAgent(t *tenant, id, groupName string, at schemas.Millis) *agent {
	hour := int64(at) / hourMillis
	a := &agent{tenant: t, id: id, born: at}
	d.recognise(a)
	if t.name != floodTenant {
		groupName, _ = a.peerGroup(groupName)
	}
	a.group = d.group(t, groupName)
	a.group.agents++
	a.firstDay = int64(t.clock) / dayMillis
	a.policy = d.policyOf(a)
	a.profile.Metrics = make([]baseline.Metric, len(d.metrics))
	a.profile.Born, a.profile.At = hour, hour
	d.touches++
	a.touched = d.touches
	d.add(a)
	return a
}
