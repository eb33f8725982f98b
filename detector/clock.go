package detector

import (
	"container/heap"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Whose clock counts. Every event brings the time that its producer gives it, and any
// producer may lie. So there are three clocks:
//
//   - the arrival, from who has read the log (Arrived): no event happened after it;
//   - of a tenant, the highest time that its events have reached. It closes the
//     windows of those who have gone quiet, and no other tenant moves it, but that it
//     follows the partition an hour behind while the tenant is up to date;
//   - of an agent, its own windows: they follow each other in the order of its own
//     times, so that a history, or what a source held back for hours, falls into the
//     hours in which it happened.
//
// A tick, too, moves a tenant's clock (Tick): where its events come promptly and then there
// are none, as somebody else's events would.
//
// An event that lies behind the agent's own windows comes late: it is judged and
// counted in the hour in which it arrived, by the tenant's clock, whatever its time says.

// Arrived tells when the next events were appended to the log, by the broker's clock
// and not by a producer's: whatever their time, it is no later than that. Zero, which
// is what holds before the first call: it is not known, and times are believed. A
// detector whose clock is ahead of the arrival, poisoned by a time that was believed
// once, is set back.
func (d *Detector) Arrived(at schemas.Millis) {
	d.arrival = at
	if at > 0 && d.watermark > at+poisoned {
		d.heal(at)
	}
}

// time is the time of an event, as far as it can be believed.
func (d *Detector) time(ev *schemas.Activity) schemas.Millis {
	at := min(max(ev.Time, 0), maxTime)
	if d.arrival > 0 && at > d.arrival {
		d.clamped++
		at = d.arrival
	}
	return at
}

// advance takes the time of an event of t.
func (d *Detector) advance(t *tenant, at schemas.Millis) {
	d.watermark = max(d.watermark, at)
	if at > t.clock {
		if d.arrival > 0 && int64(at)/hourMillis > t.hour() {
			t.reach(d.arrival - at)
		}
		t.clock = at
	}
	t.last = d.watermark
	lag := d.watermark - at
	t.loads = lag > loading || t.loads && lag > follows // to the end of the history
	d.settle(t)
	// The others follow, one with each event, so that who has gone quiet is closed too.
	if n := len(d.tenants); n > 1 {
		d.sweep = (d.sweep + 1) % n
		if o := d.tenants[d.sweep]; o != t {
			d.settle(o)
		}
	}
}

// settle does what is due by the tenant's clock.
func (d *Detector) settle(t *tenant) {
	if t.loads && t.last < d.watermark-follows {
		t.loads = false // it has stopped
	}
	if !t.loads {
		t.clock = max(t.clock, d.watermark-follows)
	}
	d.closeDue(t)
}

// closeDue closes what the tenant's clock has passed, and reports whether there may be more.
func (d *Detector) closeDue(t *tenant) (more bool) {
	more = d.closeWindows(t)
	more = d.advanceSilences(t) || more
	d.closeEpisodes(t)
	return more
}

// reach notes that an event moves the tenant's clock into another hour, and how long it took
// to arrive. Who sends old times behind the others reaches none.
func (t *tenant) reach(took schemas.Millis) {
	switch {
	case took <= follows:
		t.prompt = min(t.prompt+1, 2*promptLeast)
	case t.prompt > 0:
		t.prompt--
	}
}

// isLive reports whether the tenant's events come promptly: that there are none says something.
// Of one whose events come at the end of the day, or that loads a history, it does not.
func (t *tenant) isLive() bool { return t.prompt >= promptLeast }

// Tick tells that whatever was sent up to an instant has come, though nothing may have. The
// clocks of tenants whose events come promptly follow that instant as they follow the events
// of others, an hour behind it; no other clock moves. Arrived says when the tick itself was
// appended: no clock goes further, whatever the tick says.
func (d *Detector) Tick(at schemas.Millis) {
	at = min(at, d.arrival)
	for _, t := range d.tenants {
		if !t.isLive() {
			continue
		}
		d.watermark = max(d.watermark, at)
		t.clock = max(t.clock, at-follows)
		for n := 0; n < closesPerTick && d.closeDue(t); n++ {
		}
	}
}

// hourClosed reports whether the tenant's clock has closed an hour.
func (t *tenant) hourClosed(hour int64) bool { return (hour+1)*hourMillis+grace <= int64(t.clock) }

// hour is the hour of the tenant's clock.
func (t *tenant) hour() int64 { return int64(t.clock) / hourMillis }

// heal sets all clocks back that are ahead of now, and what has been put off until
// then.
func (d *Detector) heal(now schemas.Millis) {
	d.healed++
	d.watermark = now
	hour := int64(now) / hourMillis
	for _, a := range d.inOrder() {
		t := a.tenant
		p := &a.profile
		d.cutting.change(a)
		if a.win.Open && a.win.Hour > hour {
			d.closeWindow(a)
		}
		a.due = min(a.due, max(schemas.Millis((a.win.Hour+1)*hourMillis), now)+grace)
		a.lastCalmDay, a.claimDay = min(a.lastCalmDay, hour/24), min(a.claimDay, hour/24)
		a.born, a.firstDay = min(a.born, now), min(a.firstDay, int64(now)/dayMillis)
		p.SetBack(hour)
		if a.silent.seq != 0 && a.silent.next > hour {
			a.endSilence()
		}
		if e := a.episode; e != nil {
			e.due, e.queued = min(e.due, now+a.policy.quiet), min(e.queued, now+a.policy.quiet)
			e.first, e.last = min(e.first, now), min(e.last, now)
			heap.Init(&t.open)
		}
	}
	for _, r := range d.cutting.registered {
		d.cutting.changeRegistered(r)
		for i := range r.used {
			r.used[i] = min(r.used[i], now)
		}
	}
	for _, t := range d.tenants {
		d.setBreachesBack(t, now)
		t.clock, t.last = min(t.clock, now), min(t.last, now)
		t.day, t.firstDay = min(t.day, int64(now)/dayMillis), min(t.firstDay, int64(now)/dayMillis)
		t.fleet.SetBack(int64(now))
		for _, g := range t.groups {
			g.day, g.firstDay = min(g.day, int64(now)/dayMillis), min(g.firstDay, int64(now)/dayMillis)
			g.peers.SetBack(int64(now))
			clear(g.pauses[:])
		}
	}
}
