package detector

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// closeWindows closes what the tenant's clock has passed, the longest open first. more: there
// may be others.
func (d *Detector) closeWindows(t *tenant) (more bool) {
	putOff := 0
	for range closesPerEvent {
		a := t.windows.front()
		if a == nil || a.due > t.clock && !t.hourClosed(a.win.Hour) {
			return false
		}
		t.windows.pop()
		d.cutting.change(a)
		if a.due > t.clock {
			// A window in the past that still gets events holds nobody up: it goes behind.
			d.queueWindow(a)
			if putOff++; putOff == 2 {
				return false
			}
			continue
		}
		t.advance(a.group)
		d.closeWindow(a)
	}
	return true
}

// enter puts an event into the agent's window, a new one where its hour has none, and
// returns when it happened: where the agent's windows are past its hour it comes late,
// and is held for something that happened now.
func (d *Detector) enter(a *agent, ev *schemas.Activity, at schemas.Millis) (when schemas.Millis, behind bool) {
	w, t, hour := &a.win, a.tenant, int64(at)/hourMillis
	if w.Open && (a.due <= t.clock || hour > w.Hour) {
		d.closeWindow(a)
	}
	behind = hour < a.profile.At || w.Open && hour < w.Hour
	told := at
	if behind {
		if hour = w.Hour; !w.Open {
			hour = max(t.hour(), a.profile.At)
		}
		at = max(t.clock, schemas.Millis(hour*hourMillis))
		if end := schemas.Millis((hour + 1) * hourMillis); w.Open && t.clock < end+grace {
			at = min(t.clock, end-1)
		} else if w.Open {
			at = max(schemas.Millis(w.Last), schemas.Millis(hour*hourMillis))
		}
	}
	if !w.Open {
		d.openWindow(a, ev, hour)
	}
	// A call that ended a moment before another one is not late.
	if behind = behind && at-told > lateBy; behind {
		if w.Late++; w.Late == lateLeast && a.profile.Novelty.Vouches {
			a.group.late++
		}
	}
	// A window in the past, of who loads a history or brings what was held back, stays
	// open for a while behind its last event.
	a.due = max(a.due, schemas.Millis((hour+1)*hourMillis+grace))
	if t.hourClosed(hour) {
		a.due = max(a.due, t.clock+grace)
	}
	return at, behind
}

// Where many of a group send late in the same hour it is their source that brings what
// it held back: then being late says nothing. (That they all send so much at once does.) Only
// agents whose word counts are many, and only those that are late enough to be told of.
// lateTogether reports whether more of the group than the agent a are late.
func (g *group) lateTogether(a *agent) bool {
	others := g.late
	if a.isLate() {
		others--
	}
	return others >= lateOthers && othersPart*others >= g.active
}

// isLate reports whether the agent counts as late among its peers.
func (a *agent) isLate() bool {
	return a.win.Open && a.win.Late >= lateLeast && a.profile.Novelty.Vouches
}

func (d *Detector) openWindow(a *agent, ev *schemas.Activity, hour int64) {
	a.endSilence()
	d.regroup(a, ev.PeerGroup)
	a.noteActiveDay()
	a.catchUp(hour)
	p := &a.profile
	if day := hour / 24; p.Days == 0 || day != p.Day {
		d.turnDay(a, day)
	}
	a.win = newWindow(a, hour)
	a.due = schemas.Millis((hour+1)*hourMillis + grace)
	a.group.active++
	d.queueWindow(a)
}

// queueWindow puts an agent with an open window behind all others of its tenant.
func (d *Detector) queueWindow(a *agent) {
	d.touches++
	a.touched = d.touches
	unlink(a)
	push(a.listOf(), a)
	a.tenant.windows.push(a)
}

// turnDay ends an agent's last active day and begins another.
func (d *Detector) turnDay(a *agent, day int64) {
	p := &a.profile
	if p.Days > 0 {
		d.expose(a, p.Day*24, 24)
		if p.Novelty.Vouches {
			p.Contribute(a.group.peers)
		}
	}
	p.Begin(a.group.peers, day-p.Day)
	a.fadedEpisodes *= float32(score.Remaining(max(day-p.Day, 0)))
	p.Day, p.Counted = day, 0
	a.seen.Settle(&d.room)
	a.dayFused = noFused
	clear(a.dayMax[:])
}

// expose tells calibration that an agent's active day has been watched up to the
// given hour of it. Exposure grows as windows close, not before what they hold.
func (d *Detector) expose(a *agent, hour int64, hours uint8) {
	p := &a.profile
	if hours <= p.Counted {
		return
	}
	days := float64(hours-p.Counted) / 24
	p.Counted = hours
	class := classOf(p.Young(hour))
	a.group.calibration.Expose(class, days)
	a.tenant.calibration.Expose(class, days)
}

func classOf(young bool) score.Maturity {
	if young {
		return score.Young
	}
	return score.Mature
}

// closeWindow scores, emits and learns the agent's open hour.
func (d *Detector) closeWindow(a *agent) {
	w := &a.win
	c := &d.ctx
	*c = signal.Context{Win: w, Own: &a.profile, Peers: a.group.peers, Young: a.profile.Young(w.Hour)}
	c.Sent = a.profile.Sent.At(&a.group.peers.Sent)
	c.Received = a.profile.Received.At(&a.group.peers.Received)
	d.sink.Window(d.describe(a, c))
	d.record(a, c.Young)
	drifted := a.episode != nil && d.drift >= 0 && a.policy.fuse.On(d.drift) &&
		a.policy.budget.Crossed(a.policy.fuse.Evidence(d.drift, math.Pow(10, -float64(w.Max[d.drift]))))
	a.profile.Close(a.group.peers, w, a.alerted(), drifted)
	if a.isLate() {
		a.group.late--
	}
	w.Open = false
	a.group.active--
	d.fallSilent(a)
}

// record gives the window's evidence to calibration. Of an episode only the hour
// in which it opened counts: the budget counts opened episodes.
func (d *Detector) record(a *agent, young bool) {
	w, class := &a.win, classOf(young)
	d.expose(a, w.Hour, uint8(w.Hour%24+1))
	if w.InEpisode {
		return
	}
	weight := a.tenant.calibrationWeight(w.Surprise, a.policy.budget) / a.repetitions()
	g, t := a.group.calibration, a.tenant.calibration
	for i := range d.signals {
		from, to := 0.0, float64(w.Max[i])
		if d.infos[i].Daily {
			from = float64(a.dayMax[i])
			a.dayMax[i] = max(a.dayMax[i], w.Max[i])
		}
		g.Signals[class][i].Record(from, to, weight)
		t.Signals[class][i].Record(from, to, weight)
	}
	g.RecordFused(class, float64(a.dayFused), float64(w.Fused), weight)
	t.RecordFused(class, float64(a.dayFused), float64(w.Fused), weight)
	a.dayFused = max(a.dayFused, w.Fused)
}

// repetitions is by how much less the hour of an alert says of the agent's group: whoever is
// alerted on over and over would make it usual for all.
func (a *agent) repetitions() float64 {
	switch {
	case a.episode != nil:
		// What the budget grants an agent in that time, twice, is no repetition.
		granted := math.Floor(grantedTimes * a.policy.budget.Alerts * score.HalfLife / math.Ln2)
		return max(1, float64(a.fadedEpisodes)-granted)
	case a.folded():
		return max(1, float64(a.tenant.swarm.crowd))
	}
	return 1
}

// describe makes the public window.
func (d *Detector) describe(a *agent, c *signal.Context) *schemas.Window {
	w := &a.win
	tenantID, agentID := a.names()
	out := &schemas.Window{
		TenantID: tenantID, AgentID: agentID, PeerGroup: a.group.name,
		Start: schemas.Millis(w.Hour * hourMillis), Seconds: hourMillis / 1000,
		Events: w.Events, Late: w.Late, Failures: w.Failures, Denied: w.Denied,
		BytesSent: w.Sent, BytesReceived: w.Received, Tools: w.Tools, Resources: w.Resources,
		NewResources: w.NewResources, NewDestinations: w.NewDestinations, Sessions: w.Sessions,
		Signals: make(map[string]schemas.WindowSignal, 4), Score: round4(a.policy.budget.Score(w.Surprise)),
		BaselineSamples: round4(float64(a.profile.Rate.Hours)), ConfigHash: d.cfg.Hash,
	}
	pair, class := a.group.pair(a.tenant), classOf(c.Young)
	for i, s := range d.signals {
		if !a.policy.fuse.On(i) {
			continue
		}
		hourly, ok := s.(signal.Hourly)
		if !ok {
			continue
		}
		det, ok := hourly.Close(c)
		if !ok {
			continue
		}
		lambda := d.lambda(pair, i, class, float64(w.Max[i]))
		out.Signals[d.names[i]] = schemas.WindowSignal{
			Observed: round4(det.Observed), Expected: round4(det.Expected),
			Low: round4(det.Low), High: round4(det.High), P: round4(min(lambda, 1)),
		}
	}
	return out
}
