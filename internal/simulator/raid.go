package simulator

import (
	"math"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/schemas"
)

// raid is one attack under way. It acts through a shadow of its victim: the
// same identity and habits as the victim has when the attack begins, but random
// numbers and memories of its own, so the victim goes on undisturbed.
type raid struct {
	victim   *agent
	shadow   *agent
	label    *Label
	d        dice
	actor    uint64
	strength float64

	began   schemas.Millis // when it was planned to begin
	from    schemas.Millis // ramp: the next stretch
	at      schemas.Millis // of the next event
	until   schemas.Millis // of the stretch over which left events are spread
	left    int
	done    int
	session string // where all events are of one

	// pace moves at to the next event, after left was counted down.
	pace func() bool
	// strike writes what the event does.
	strike func(ev *schemas.Activity)

	loop  schemas.Activity // runaway: the call that repeats
	place string           // where data go
	fails bool
}

func (r *raid) order() uint64 { return r.actor }

func (r *raid) next() (schemas.Millis, bool) {
	if !r.pace() {
		return 0, false
	}
	return r.at, r.at < r.victim.fleet.end
}

func (r *raid) emit(ev *schemas.Activity) {
	if r.shadow == nil {
		r.cast()
	}
	r.shadow.identify(ev, r.at)
	r.strike(ev)
	r.done++
	r.label.count(ev)
}

// cast makes the shadow.
func (r *raid) cast() {
	s := *r.victim
	s.d, s.actor, s.seq, s.hooked = r.d, r.actor, 0, nil
	s.shelves = slices.Clone(s.shelves)
	for i := range s.shelves {
		s.shelves[i].born = slices.Clone(s.shelves[i].born)
	}
	s.pos, s.last = 0, -1
	s.tide.storm = false
	if r.session == "" {
		s.session = s.fleet.session(r.d)
	} else {
		s.session = r.session
	}
	r.shadow = &s
}

// spread lets n events follow at random within the time.
func (r *raid) spread(n int, over schemas.Millis) {
	r.left = max(1, n)
	r.until = min(r.at+over, r.victim.fleet.end)
	r.pace = func() bool {
		if r.left == 0 || r.until <= r.at {
			return false
		}
		r.at += schemas.Millis(float64(r.until-r.at) * r.d.firstOf(float64(r.left)))
		r.left--
		return true
	}
}

// follow lets n events follow each other at gaps around the median in seconds.
func (r *raid) follow(n int, gap float64) {
	r.left = max(1, n)
	r.pace = func() bool {
		if r.left == 0 {
			return false
		}
		r.at += 1 + schemas.Millis(r.d.logNormal(gap, .4)*float64(second))
		r.left--
		return true
	}
}

// minutes draws a length.
func (r *raid) minutes(lo, hi float64) schemas.Millis {
	return schemas.Millis(r.d.logBetween(lo, hi) * float64(minute))
}

// busy is the rate per hour that the victim knows: the mean, or what is usual
// at this time if that is more.
func (r *raid) busy() float64 {
	return math.Max(r.victim.rhythm.perHour(), r.victim.rhythm.hourly(r.at))
}

func (r *raid) scaled(n float64) int { return max(1, int(math.Round(n*r.strength))) }

// prepare decides how the attack runs.
func (r *raid) prepare(kind Kind) {
	d := r.d
	switch kind {
	case KindBurst:
		over := r.minutes(10, 45)
		r.spread(r.scaled(d.logBetween(6, 20)*math.Max(r.busy(), 6)), over)
		r.strike = r.work
	case KindRunaway:
		over := r.minutes(40, 240)
		gap := math.Min(d.logBetween(1, 4), 3600/(5*r.busy())) / r.strength
		r.fails = d.chance(.4)
		r.follow(int(float64(over)/float64(second)/gap), gap)
		r.strike = r.repeat
	case KindSweep:
		over := r.minutes(15, 90)
		r.spread(r.scaled(d.logBetween(60, 300)), over)
		r.strike = r.walk
	case KindExfilFast:
		over := r.minutes(2, 20)
		r.spread(r.scaled(d.logBetween(8, 40)), over)
		r.strike = r.carry
	case KindExfilSlow:
		over := schemas.Millis(d.between(2, 4) * float64(day))
		r.spread(r.scaled(float64(over)/float64(hour)*d.logBetween(.7, 2)), over)
		r.strike = r.trickle
	case KindNewDestination:
		r.follow(1+d.r.IntN(5), 60)
		r.strike = r.elsewhere
	case KindNewborn:
		over := r.minutes(20, 60)
		perHour := min(max(100*r.victim.rhythm.perHour(), 300), 30_000)
		r.spread(r.scaled(perHour*float64(over)/float64(hour)), over)
		r.strike = r.work
	case KindInjection:
		r.follow(1+d.r.IntN(3), 1.5)
		r.strike = r.obey
	case KindRamp:
		r.pace = r.grow
		r.strike = r.work
	}
	r.place = r.outside()
}

// rampPerDay is the daily growth of a ramp.
const rampPerDay = .039

// grow spreads what goes beyond the normal rate over stretches of ten minutes.
func (r *raid) grow() bool {
	f := r.victim.fleet
	for r.left == 0 {
		// from walks through the stretches, so that each is used whole.
		begin := r.from
		if begin >= f.end {
			return false
		}
		r.from += 10 * minute
		days := float64(begin-r.began) / float64(day)
		more := math.Expm1(days * math.Log1p(rampPerDay*r.strength))
		r.left = r.d.poisson(more * r.victim.rhythm.hourly(begin+5*minute) / 6)
		r.at, r.until = max(r.at, begin), r.from
	}
	r.at += schemas.Millis(float64(r.until-r.at) * r.d.firstOf(float64(r.left)))
	r.left--
	return true
}

// work is what the victim always does.
func (r *raid) work(ev *schemas.Activity) {
	s := r.shadow
	if s.pos > 0 && r.d.chance(1/s.role.length) {
		s.open()
		ev.SessionID = s.session
	}
	s.act(ev)
	s.pos++
}

// repeat makes the same call again.
func (r *raid) repeat(ev *schemas.Activity) {
	s := r.shadow
	if r.done == 0 {
		s.call(ev, s.pick(ev.Time))
		r.loop = *ev
		r.loop.Resources = nil
		for _, x := range ev.Resources {
			r.loop.Resources = append(r.loop.Resources, strings.Clone(x))
		}
	} else {
		ev.Action, ev.Tool, ev.Access = r.loop.Action, r.loop.Tool, r.loop.Access
		ev.Resources = append(ev.Resources, r.loop.Resources...)
		ev.BytesSent = r.loop.BytesSent
		ev.BytesReceived = uint64(r.d.logNormal(float64(r.loop.BytesReceived), .02)) + 1
		ev.DurationMS = uint64(r.d.logNormal(float64(r.loop.DurationMS), .2)) + 1
	}
	if r.fails && r.d.chance(.9) {
		ev.Outcome = schemas.OutcomeFailure
		ev.BytesReceived = min(ev.BytesReceived, 300)
	}
}

// walk reads the next things in a row that the victim never touched.
func (r *raid) walk(ev *schemas.Activity) {
	s := r.shadow
	i := s.toolWith(schemas.AccessRead)
	t := s.tools[i]
	s.call(ev, i)
	ev.Resources = ev.Resources[:0]
	for k := range 1 + r.d.r.IntN(3) {
		n := 400_000 + uint64(3*r.done+k)
		if len(t.items) == 0 {
			ev.Resources = append(ev.Resources, s.fleet.form(t, n, 0))
			continue
		}
		ev.Resources = append(ev.Resources, s.fleet.join(t.kindOf(), ":archive.table_", n))
	}
	s.outcome(ev)
}

// carry reads much and sends it away.
func (r *raid) carry(ev *schemas.Activity) {
	s := r.shadow
	if r.done%2 == 0 {
		i := s.toolWith(schemas.AccessRead)
		s.call(ev, i)
		ev.BytesReceived = uint64(float64(ev.BytesReceived) * r.d.logBetween(8, 40) * r.strength)
		return
	}
	i := s.toolWith(schemas.AccessSend)
	s.call(ev, i)
	big := math.Max(2e6, s.tools[i].sent.median*r.d.logBetween(200, 2000))
	ev.BytesSent = uint64(r.d.logNormal(big*r.strength, .3))
	r.redirect(ev)
}

// trickle sends several times what a call normally sends.
func (r *raid) trickle(ev *schemas.Activity) {
	s := r.shadow
	i := s.toolWith(schemas.AccessSend)
	s.call(ev, i)
	ev.BytesSent = uint64(s.tools[i].sent.median * s.sentScale * r.d.logBetween(6, 20) * r.strength)
	r.redirect(ev)
}

// redirect sends to the attacker's place in every other attack; the others use
// a place that the victim knows.
func (r *raid) redirect(ev *schemas.Activity) {
	if r.actor%2 == 0 {
		ev.Resources = append(ev.Resources[:0], r.place)
	}
}

// elsewhere is a send of normal size to a place of the attacker's.
func (r *raid) elsewhere(ev *schemas.Activity) {
	s := r.shadow
	s.call(ev, s.toolWith(schemas.AccessSend))
	ev.Resources = append(ev.Resources[:0], r.place)
}

// obey does what an instruction in the data asked for: look at something that is
// none of the agent's business, and pass it on.
func (r *raid) obey(ev *schemas.Activity) {
	s := r.shadow
	if r.left > 0 {
		i := s.toolWith(schemas.AccessRead)
		s.call(ev, i)
		secret := [...]string{"vault:prod/api-keys", "drive:board/minutes.docx", "db:hris.salaries", "file:.env", "s3:backups/credentials.tar"}
		ev.Resources = append(ev.Resources[:0], secret[r.actor%uint64(len(secret))])
		return
	}
	s.call(ev, s.toolWith(schemas.AccessSend))
	if r.actor%3 == 0 || r.strength > 1 && r.d.chance((r.strength-1)/2) {
		ev.Tool = "http.post"
	}
	ev.Resources = append(ev.Resources[:0], r.place)
}

// outside makes a place that nobody in the fleet uses.
func (r *raid) outside() string {
	f := r.victim.fleet
	n := r.d.r.Uint64()
	kinds := [...][2]string{
		{"url:https://paste-", ".example.net/u"},
		{"email:drop-", "@example.net"},
		{"s3:mirror-", "/upload"},
		{"domain:files-", ".example.net"},
	}
	k := kinds[n>>60%4]
	f.text.begin(64)
	f.text.str(k[0])
	f.text.hex(n, 6)
	f.text.str(k[1])
	return strings.Clone(f.text.end())
}

// toolWith returns the first tool with this access, or the first tool.
func (a *agent) toolWith(access string) int {
	for i := range a.role.tools {
		if a.role.tools[i].access == access {
			return i
		}
	}
	return 0
}

func (f *Fleet) join(kind, middle string, n uint64) string {
	f.text.begin(len(kind) + len(middle) + 20)
	f.text.str(kind)
	f.text.str(middle)
	f.text.num(n)
	return f.text.end()
}
