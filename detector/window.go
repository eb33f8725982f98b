package detector

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// over reports whether the watermark has closed an hour.
func (d *Detector) over(hour int64) bool { return (hour+1)*hourMillis+grace <= int64(d.watermark) }

// closeWindows closes what the watermark has passed, the longest open first.
func (d *Detector) closeWindows() {
	for range closesPerEvent {
		a := d.windows.front()
		if a == nil || !d.over(a.win.Hour) {
			return
		}
		d.windows.pop()
		d.cutting.change(a)
		a.tenant.advance(a.group, d.watermark)
		d.closeWindow(a)
	}
}

// enter puts an event of that hour into the agent's window. It returns false for
// a late event: its window is closed.
func (d *Detector) enter(a *agent, ev *schemas.Activity, hour int64) bool {
	w := &a.win
	if w.Open && (d.over(w.Hour) || hour > w.Hour) {
		d.closeWindow(a)
	}
	switch {
	case w.Open && w.Hour == hour:
		return true
	case w.Open:
		w.Late++
		return false
	case d.over(hour) || hour < a.profile.At:
		return false
	}
	d.openWindow(a, ev, hour)
	return true
}

func (d *Detector) openWindow(a *agent, ev *schemas.Activity, hour int64) {
	a.endSilence()
	// An agent changes its group at most once an hour: the peers are not a thing to
	// be picked for each call.
	if g := a.tenant.group(ev.PeerGroup, len(d.signals)); g != a.group {
		a.group.peers.Agents--
		g.peers.Agents++
		a.group = g
		a.policy = d.policyOf(a)
		a.tenant.advance(g, d.watermark)
	}
	a.catchUp(hour)
	p := &a.profile
	if day := hour / 24; p.Days == 0 || day != p.Day {
		d.turnDay(a, day)
	}
	a.win = newWindow(a, hour)
	a.group.active++
	d.touches++
	a.touched = d.touches
	a.unlink()
	a.listOf().push(a)
	d.windows.push(a)
}

// turnDay ends an agent's last active day and begins another.
func (d *Detector) turnDay(a *agent, day int64) {
	p := &a.profile
	if p.Days > 0 {
		d.expose(a, p.Day*24, 24)
		p.Contribute(a.group.peers)
	}
	p.Begin(a.group.peers, day-p.Day)
	p.Day, p.Counted = day, 0
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

func classOf(young bool) int {
	if young {
		return 0
	}
	return 1
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
	a.profile.Close(a.group.peers, w, a.episode != nil, drifted)
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
	weight := a.tenant.trust(w.Surprise, a.policy.budget)
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

// describe makes the public window.
func (d *Detector) describe(a *agent, c *signal.Context) *schemas.Window {
	w := &a.win
	out := &schemas.Window{
		TenantID: a.tenant.name, AgentID: a.id, PeerGroup: a.group.name,
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
		det, ok := s.Close(c)
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
