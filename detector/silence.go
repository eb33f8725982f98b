package detector

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// An agent whose hour has closed without another behind it is looked at again every
// hour, until it comes back or silentHours have passed: each hour that ended
// empty is an observation of nothing. The hours that have ended are told by the
// watermark, so that silence too is a function of the log.
//
// Where others of its group are silent as well it is not the agent: a source is down,
// or it is a holiday. An hour is therefore judged one hour later, when it has been
// taken of all of them.

// silent is what is known of an agent's silence.
type silent struct {
	seq            uint64 // its place among those that are silent; 0: it is not looked at
	from           int64  // the first empty hour
	next           int64  // the hour to take next
	mu             float32
	overdispersion float32 // summed over the hours, weighted by mu
	// today is mu of the day at hand, dayVariance the variance of whole days: what was expected
	// of an off day is not known, and says nothing of the next.
	today, dayVariance float32
	x                  float32 // highest evidence, as calibration has it
}

// fallSilent begins to look at an agent whose hour has closed.
func (d *Detector) fallSilent(a *agent) {
	r := &a.profile.Rate
	if d.silence < 0 || !a.policy.fuse.On(d.silence) || float64(r.Hours) < silentSeen*silentFaded ||
		r.Daily(&a.group.peers.Rate)*silentHours/24 < silentLeast {
		return
	}
	a.silent = silent{from: a.win.Hour + 1, next: a.win.Hour + 1}
	d.awaitSilence(a)
}

func (d *Detector) awaitSilence(a *agent) {
	d.silenceSeq++
	a.silent.seq = d.silenceSeq
	a.tenant.silents.push(a)
}

// advanceSilences takes the empty hours that have ended. more: there may be others.
func (d *Detector) advanceSilences(t *tenant) (more bool) {
	for range closesPerEvent {
		a := t.silents.front()
		if a == nil || !t.hourClosed(a.silent.next) {
			return false
		}
		t.silents.pop()
		d.cutting.change(a)
		t.advance(a.group)
		s := &a.silent
		if s.next > s.from && !a.group.quiet() {
			d.judgeSilence(a)
		}
		a.group.silent -= s.missed()
		for ; t.hourClosed(s.next) && s.next < s.from+silentHours; s.next++ {
			if s.next%24 == 0 {
				s.today = 0
			}
			mu, overdispersion, day := a.profile.Rate.Idles(&a.group.peers.Rate, s.next)
			s.mu += float32(mu)
			s.overdispersion += float32(overdispersion * mu)
			s.dayVariance += float32(day * mu * (mu + 2*float64(s.today)))
			s.today += float32(mu)
		}
		a.group.silent += s.missed()
		if a.group.quiet() {
			a.group.pause(s.from, s.next)
		}
		if s.next < s.from+silentHours {
			d.awaitSilence(a)
		} else {
			a.endSilence()
		}
	}
	return true
}

// missed is 1 where the agent counts as silent among its peers, else 0. It may become 0
// again: a night in which little is expected widens what is.
func (s *silent) missed() int {
	if s.mu == 0 {
		return 0
	}
	if now := s.now(); now.Evidence() < silentMissed {
		return 0
	}
	return 1
}

// now is the silence so far.
func (s *silent) now() signal.Silence {
	mu := max(float64(s.mu), minSilentMu)
	return signal.Silence{From: s.from, Hours: s.next - s.from, Mu: float64(s.mu), Overdispersion: (float64(s.overdispersion) + float64(s.dayVariance)/mu) / mu}
}

// endSilence ends the looking at an agent.
func (a *agent) endSilence() {
	a.group.silent -= a.silent.missed()
	a.silent = silent{}
}

// quiet reports whether more of the group are silent than one agent.
func (g *group) quiet() bool {
	others := g.silent - 1
	return others >= silentOthers && othersPart*others > others+g.active
}

// pauses are the hours that agents of a quiet group have missed, by hour of the week: the
// last such hour, twice, and one more where the week before had it too.
type pauses [weekHours]int64

func (p *pauses) at(hour int64) *int64 { return &p[(hour%weekHours+weekHours)%weekHours] }

// pause notes the hours that a silent agent of a quiet group has missed, up to one before
// 'to'.
func (g *group) pause(from, to int64) {
	for h := max(from, to-weekHours); h < to; h++ {
		at := g.pauses.at(h)
		switch *at / 2 {
		case h:
		case h - weekHours:
			*at = 2*h + 1
		default:
			*at = 2 * h
		}
	}
}

// informative reports whether an empty hour says something of the group's agents. An hour in
// which all of them pause does not, unless they do so every week.
func (g *group) informative(hour int64) bool { return *g.pauses.at(hour) != 2*hour }

// catchUp brings an agent that is back to the beginning of an hour.
func (a *agent) catchUp(hour int64) {
	p, peers := &a.profile, a.group.peers
	p.Skip(hour - baseline.MaxIdleHours)
	for p.At < hour {
		says, to := a.group.informative(p.At), p.At+1
		for to < hour && a.group.informative(to) == says {
			to++
		}
		if says {
			p.Advance(peers, to)
		} else {
			p.Skip(to)
		}
	}
}

// judgeSilence scores an agent's silence as an event is scored.
func (d *Detector) judgeSilence(a *agent) {
	s, i, p := &a.silent, d.silence, a.policy
	c := &d.ctx
	young := a.profile.Young(s.next)
	*c = signal.Context{Own: &a.profile, Peers: a.group.peers, Young: young, Silence: s.now(), Born: a.born}
	x := d.signals[i].Score(c)
	grew := x > float64(s.x)
	if !grew && c.Silence.Hours != silentAlert || p.minimum != nil && float64(s.mu) < p.minimum[i] {
		return
	}
	pair, class := a.group.pair(a.tenant), classOf(young)
	lambda := d.lambda(pair, i, class, x)
	d.ranked, d.newItems, d.moved, d.addedTo, d.repeats = d.ranked[:0], d.newItems[:0], false, nil, false
	before := s.x
	s.x = max(s.x, float32(x))
	if lambda >= score.NoEvidence {
		return
	}
	y := p.fuse.Evidence(i, lambda)
	d.ranked = append(d.ranked, rankedSignal{i, x, lambda, y})
	surprise := max(a.tenant.steer(-math.Log10(pair.Fused(class, y)), p.budget), score.Floor)
	v := Verdict{Surprise: surprise, Score: p.budget.Score(surprise)}
	may := c.Silence.Hours >= silentAlert && float64(a.profile.Rate.Hours) >= silentKnown*silentFaded
	if grew && a.episode == nil {
		weight := 1.0
		if may {
			weight = a.tenant.calibrationWeight(surprise, p.budget)
		}
		for _, k := range []*score.Calibration{a.group.calibration, a.tenant.calibration} {
			k.Signals[class][i].Record(float64(before), x, weight)
			if may { // what can't alert takes nothing of the budget
				k.RecordFused(class, float64(a.dayFused), y, weight)
			}
		}
		if may {
			a.dayFused = max(a.dayFused, float32(y))
		}
	}
	if may && p.budget.Crossed(surprise) {
		at := schemas.Millis(s.next * hourMillis)
		d.cross(a, a, &schemas.Activity{TenantID: a.tenant.name, AgentID: a.id, Time: at}, at, v)
	}
}
