package simulator

import (
	"math"

	"github.com/plumbline-sec/plumbline/schemas"
)

const recent = 64 // dated things that are still in use

// shelf is what an agent knows of the things of one tool.
type shelf struct {
	known int    // things known; new ones are appended
	base  uint64 // dated things: the number of the first
	born  []uint16
}

// agent is one honest agent: its identity, its rhythm, its habits, and where it
// stands in its work.
type agent struct {
	fleet   *Fleet
	index   uint64 // what its habits derive from
	actor   uint64 // what its random stream and its event ids derive from
	seq     uint64 // events so far
	d       dice
	role    *role
	rhythm  rhythm
	tide    tide
	born    schemas.Millis
	tenant  string
	id      string
	attrs   []schemas.Attribute
	ips     [2]string
	cred    string
	credTyp string

	tools   []*tool
	shelves []shelf
	cumul   []float64 // of the tools' weights, the rolled-out ones included
	rollout schemas.Millis

	sentScale, receivedScale float64
	failure, denied          float64
	neighbours               []int32

	cursor  schemas.Millis // the next block begins here
	block   block          // n counts what is still to come
	at      schemas.Millis // of the next event
	lumpEnd schemas.Millis // of the session's events in this block
	left    int            // events of the session still to come
	pos     int            // events of the session so far
	session string
	last    int // the tool called last

	hooked *raid // waits for the end of a session
}

func (a *agent) order() uint64 { return a.actor }

// next finds the time of the agent's next event.
func (a *agent) next() (schemas.Millis, bool) {
	for a.block.n == 0 {
		if a.cursor >= a.fleet.end {
			return 0, false
		}
		a.block = a.rhythm.next(a.d, &a.tide, a.cursor, a.fleet.opt.Tails)
		a.cursor = a.block.to
		if a.rhythm.kind == Batch {
			a.cursor = ((a.block.to-1)/day + 1) * day
		}
		a.left = 0
		a.at = a.block.from
	}
	a.place()
	a.block.n--
	return a.at, a.at < a.fleet.end
}

// place moves a.at to the next event of the block.
func (a *agent) place() {
	b := &a.block
	if a.rhythm.kind == Steady {
		a.placeSteady()
		return
	}
	if a.left == 0 {
		a.lump(b)
	}
	a.at += schemas.Millis(float64(a.lumpEnd-a.at) * a.d.firstOf(float64(a.left)))
	a.left--
}

// lump begins a session at random in what is left of the block; a batch job is
// one session that fills its run.
func (a *agent) lump(b *block) {
	a.open()
	if a.rhythm.kind == Batch {
		a.left, a.lumpEnd = b.n, b.to
		return
	}
	mean := a.role.length
	if a.rhythm.kind == Bursty {
		mean *= 2
	}
	a.left = min(b.n, a.d.geometric(mean))
	lumps := math.Max(1, math.Ceil(float64(b.n)/mean))
	a.at += schemas.Millis(float64(b.to-a.at) * a.d.firstOf(lumps))
	span := float64(a.left) * a.d.logNormal(a.role.gap, .5) * float64(second)
	// The sessions that are still to come get their part of the time.
	room := float64(b.to-a.at) * float64(a.left) / float64(b.n)
	a.lumpEnd = a.at + schemas.Millis(math.Min(span, room))
}

// placeSteady spaces the calls evenly with a little jitter.
func (a *agent) placeSteady() {
	b := &a.block
	if a.left == 0 {
		a.left = b.n
		a.open()
	}
	// What is left shares the time that is left, so the pace neither drifts nor
	// leaves the block.
	gap := float64(b.to-a.at) / (float64(b.n) + .5)
	a.at += schemas.Millis(gap * a.d.between(.9, 1.1))
	a.left--
}

// open begins a session.
func (a *agent) open() {
	a.pos = 0
	a.last = -1
	a.session = a.fleet.session(a.d)
}

// emit writes the event at a.at.
func (a *agent) emit(ev *schemas.Activity) {
	a.identify(ev, a.at)
	a.act(ev)
	a.pos++
	if a.left == 0 && a.hooked != nil && a.at >= a.hooked.began {
		a.fleet.release(a)
	}
}

// identify fills in who acts and where.
func (a *agent) identify(ev *schemas.Activity, at schemas.Millis) {
	ev.Reset()
	ev.EventID = a.fleet.eventID(a.actor, a.seq)
	a.seq++
	ev.Time = at
	ev.RecordedAt = at
	ev.TenantID = a.tenant
	ev.AgentID = a.id
	ev.AgentName = a.role.label
	ev.AgentVersion = a.fleet.version(a.role, at)
	ev.PeerGroup = a.role.group
	ev.SessionID = a.session
	ev.OnBehalfOf = a.role.team
	ev.Outcome = schemas.OutcomeSuccess
	ev.SourceIP = a.ips[a.seq%7/6]
	ev.CredentialID = a.cred
	ev.CredentialType = a.credTyp
	switch a.credTyp {
	case "oauth_token":
		ev.CredentialExpires = (at/hour + 2) * hour
	case "certificate":
		ev.CredentialExpires = a.fleet.start + 365*day
	}
	ev.Attributes = append(ev.Attributes, a.attrs...)
}

// act draws what the agent does.
func (a *agent) act(ev *schemas.Activity) {
	u := a.d.r.Float64()
	if a.pos == 0 {
		u *= .5 // a session begins with a login or a plan more often than not
	}
	switch model := .02 + a.role.model1; {
	case u < .02:
		a.auth(ev)
	case u < model:
		a.think(ev)
	case u < model+.025 && len(a.neighbours) > 0:
		a.talk(ev)
	default:
		a.call(ev, a.pick(ev.Time))
	}
	a.outcome(ev)
}

func (a *agent) auth(ev *schemas.Activity) {
	ev.Action = "auth"
	ev.Tool = "auth.token"
	ev.BytesSent = a.bytes(tiny, 1)
	ev.BytesReceived = a.bytes(tiny, 1)
	ev.DurationMS = a.bytes(quick, 1)
}

// think is a call of the model.
func (a *agent) think(ev *schemas.Activity) {
	ev.Action = "model_call"
	ev.Tool = "chat"
	ev.Model = a.role.model
	ev.TokensIn = 40 + a.bytes(size{1800, .7}, 1)
	ev.TokensOut = 8 + a.bytes(size{260, .7}, 1)
	ev.BytesSent = ev.TokensIn * 4
	ev.BytesReceived = ev.TokensOut * 4
	ev.DurationMS = 300 + ev.TokensOut*11
}

// talk is a message to another agent, now and then a delegation.
func (a *agent) talk(ev *schemas.Activity) {
	ev.Action = "message"
	ev.Tool = "a2a.message"
	ev.Access = schemas.AccessSend
	if a.d.chance(.15) {
		ev.Action = "delegate"
		ev.Tool = "a2a.delegate"
	}
	ev.TargetAgentID = a.fleet.agents[a.neighbours[a.d.zipf(len(a.neighbours))]].id
	ev.BytesSent = a.bytes(small, a.sentScale)
	ev.BytesReceived = a.bytes(tiny, 1)
	ev.DurationMS = a.bytes(quick, 1)
}

// pick chooses a tool: often the next one of the job, else by weight.
func (a *agent) pick(now schemas.Millis) int {
	n := len(a.role.tools)
	if a.last >= 0 && a.last+1 < n && a.d.chance(.55) {
		a.last++
		return a.last
	}
	if now >= a.rollout {
		n = len(a.tools)
	}
	u := a.d.r.Float64() * a.cumul[n-1]
	i := 0
	for i < n-1 && u >= a.cumul[i] {
		i++
	}
	a.last = i
	return i
}

// call calls the tool number i on things that the agent chooses.
func (a *agent) call(ev *schemas.Activity, i int) {
	t := a.tools[i]
	ev.Action = "tool_call"
	ev.Tool = t.name
	ev.Access = t.access
	n := 1
	if t.many > 1 {
		n = min(a.d.geometric(t.many), 32)
	}
	for range n {
		ev.Resources = append(ev.Resources, a.thing(t, &a.shelves[i], ev.Time))
	}
	ev.BytesSent = a.bytes(t.sent, a.sentScale)
	ev.BytesReceived = a.bytes(t.received, a.receivedScale) * uint64(n)
	ev.DurationMS = a.bytes(t.took, 1)
}

// outcome lets a call fail or be denied.
func (a *agent) outcome(ev *schemas.Activity) {
	failure := a.failure
	if a.tide.storm {
		failure = math.Max(failure, .4)
	}
	switch u := a.d.r.Float64(); {
	case u < failure:
		ev.Outcome = schemas.OutcomeFailure
		ev.BytesReceived = min(ev.BytesReceived, 400)
		ev.TokensOut = 0
	case u < failure+a.denied && ev.Action == "tool_call":
		ev.Outcome = schemas.OutcomeDenied
		ev.BytesReceived = min(ev.BytesReceived, 200)
	}
}

// bytes draws a size; heavy tails make one in a hundred a Pareto multiple.
func (a *agent) bytes(s size, scale float64) uint64 {
	x := a.d.logNormal(s.median*scale, s.sigma)
	if a.fleet.opt.Tails == TailsHeavy && a.d.chance(.01) {
		x *= a.d.pareto(1.5, 300)
	}
	return uint64(x) + 1
}

// thing chooses what a tool touches: something known, the popular more often,
// or something new.
func (a *agent) thing(t *tool, s *shelf, now schemas.Millis) string {
	fresh := a.d.chance(t.fresh)
	switch {
	case len(t.items) > 0:
		if fresh {
			s.known = min(s.known+1, len(t.items))
			return t.items[a.item(t, s.known-1)]
		}
		return t.items[a.item(t, a.d.zipf(s.known))]
	case t.dated:
		if fresh {
			s.known++
			s.born[s.known%recent] = a.fleet.dayOf(now)
		}
		k := s.known - a.d.zipf(recent)
		if fresh {
			k = s.known
		}
		return a.fleet.form(t, s.base+uint64(k), s.born[k%recent])
	default:
		rank := a.d.zipf(s.known)
		if fresh {
			rank = s.known
			s.known++
		}
		return a.fleet.form(t, a.number(t, rank), 0)
	}
}

// item is where the thing of this rank stands in the tool's list: the first is
// everybody's, the others come in an order of the agent's own.
func (a *agent) item(t *tool, rank int) int {
	if rank == 0 {
		return 0
	}
	rest := len(t.items) - 1
	return 1 + (rank-1+int(a.index%uint64(rest)))%rest
}

// number is the thing of this rank: the first twelve are everybody's, the others
// are the agent's pick of the pool.
func (a *agent) number(t *tool, rank int) uint64 {
	if rank < 12 {
		return 1000 + uint64(rank)
	}
	h := mix64(a.index<<32 ^ uint64(rank)<<8 ^ uint64(len(t.name)))
	return 1012 + h%uint64(t.pool)
}
