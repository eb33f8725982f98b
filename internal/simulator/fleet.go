package simulator

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Streams of random numbers: agents have their index, attacks come after.
const (
	streamFleet  = 1 << 60
	streamPlaces = 2 << 60 // where attacks go
)

// Fleet is a simulated fleet. It is not safe for concurrent use.
type Fleet struct {
	opt        Options
	start, end schemas.Millis
	agents     []*agent
	honest     int // so many of them, the first, are no attack's
	queue      queue
	text       text
	labels     []*Label
	changes    []Change
	upgrades   map[*role]schemas.Millis
	dates      []date
	actors     uint64
	events     uint64
	injected   bool // the last event was an attack's
}

// Change is something legitimate that a detector may stumble over.
type Change struct {
	TenantID  string         `json:"tenant_id"`
	PeerGroup string         `json:"peer_group"`
	AgentID   string         `json:"agent_id,omitempty"`
	What      string         `json:"what"` // join, rollout, upgrade
	Tool      string         `json:"tool,omitempty"`
	At        schemas.Millis `json:"at"`
}

// AgentInfo describes one agent of a fleet.
type AgentInfo struct {
	TenantID, AgentID, PeerGroup string
	Archetype                    Archetype
	Born                         schemas.Millis
}

// date is a day as it stands in names.
type date struct {
	year       uint64
	month, day int
}

// New builds a fleet. Its first event comes with the first Next.
func New(o Options) (*Fleet, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	f := &Fleet{opt: o, start: o.start(), end: o.end(), upgrades: map[*role]schemas.Millis{}}
	first := f.start / day
	for i := range schemas.Millis(o.Days) + 1 {
		t := ((first + i) * day).Time()
		f.dates = append(f.dates, date{uint64(t.Year()), int(t.Month()), t.Day()})
	}
	d := newDice(o.Seed, streamFleet)
	rollouts := f.plan(d)
	places := newCrew(o)
	for i, seat := range places.seats(d) {
		f.agents = append(f.agents, f.newAgent(uint64(i), seat, rollouts))
	}
	f.actors, f.honest = uint64(len(f.agents)), len(f.agents)
	for _, a := range f.agents {
		f.introduce(a)
		if a.born > f.start {
			f.changes = append(f.changes, Change{a.tenant, a.role.group, a.id, "join", "", a.born})
		}
	}
	f.queue.grow(len(f.agents))
	for _, a := range f.agents {
		f.schedule(a)
	}
	if err := f.attack(places); err != nil {
		return nil, err
	}
	return f, nil
}

// plan draws what changes for whole groups: which get a new tool and which a new
// version, and when.
func (f *Fleet) plan(d dice) map[*role]schemas.Millis {
	rollouts := map[*role]schemas.Millis{}
	if f.opt.Still || f.opt.Days < 7 {
		return rollouts
	}
	life := float64(f.end - f.start)
	for i := range f.opt.groups() {
		r := &roles[i]
		rolls, at := d.chance(.35), f.start+schemas.Millis(life*d.between(.4, .9))
		if rolls {
			rollouts[r] = at
		}
		upgrades, at := d.chance(.5), f.start+schemas.Millis(life*d.between(.2, .9))
		if upgrades {
			f.upgrades[r] = at
		}
		for t := range f.opt.Tenants {
			tenant := tenantName(t, f.opt.Tenants)
			if rolls {
				f.changes = append(f.changes, Change{tenant, r.group, "", "rollout", r.later[0].name, rollouts[r]})
			}
			if upgrades {
				f.changes = append(f.changes, Change{tenant, r.group, "", "upgrade", "", f.upgrades[r]})
			}
		}
	}
	return rollouts
}

// Next writes the next event into ev, which it reuses; strings in it may be
// kept, slices may not. It reports whether there was one.
func (f *Fleet) Next(ev *schemas.Activity) bool {
	if len(f.queue) == 0 {
		return false
	}
	who := f.queue[0].actor
	// An emit may schedule others: they come no earlier than this event.
	who.emit(ev)
	f.events++
	_, f.injected = who.(*raid)
	if at, more := who.next(); more {
		f.queue.moveTop(at)
	} else {
		f.queue.dropTop()
	}
	return true
}

// Events returns how many events there were so far.
func (f *Fleet) Events() uint64 { return f.events }

// Injected reports whether the last event belongs to an attack.
func (f *Fleet) Injected() bool { return f.injected }

// Span returns the first instant of the fleet's time and the first after it.
func (f *Fleet) Span() (from, to schemas.Millis) { return f.start, f.end }

// Agents returns the honest agents and the newborn ones of attacks.
func (f *Fleet) Agents() []AgentInfo {
	out := make([]AgentInfo, 0, len(f.agents))
	for _, a := range f.agents {
		out = append(out, AgentInfo{a.tenant, a.id, a.role.group, a.rhythm.kind, a.born})
	}
	return out
}

// Changes returns what changes legitimately, in no order.
func (f *Fleet) Changes() []Change { return f.changes }

// schedule puts an agent into the queue, if it ever acts.
func (f *Fleet) schedule(who actor) {
	if at, ok := who.next(); ok {
		f.queue.push(at, who)
	}
}

// eventID is unique in a fleet: the mixer is a bijection.
func (f *Fleet) eventID(actor, seq uint64) string {
	f.text.begin(16)
	f.text.hex(mix64(actor<<36^seq^mix64(f.opt.Seed)), 16)
	return f.text.end()
}

// session names a session. It is a string of its own: an agent keeps it for long,
// and would keep a chunk of text with it.
func (f *Fleet) session(d dice) string {
	f.text.begin(20)
	f.text.str("run-")
	f.text.hex(d.r.Uint64(), 12)
	return strings.Clone(f.text.end())
}

// version changes once for a role that is upgraded.
// The versions of every role.
const (
	versionBefore = "1.4.2"
	versionAfter  = "1.5.0"
)

func (f *Fleet) version(r *role, at schemas.Millis) string {
	if when, ok := f.upgrades[r]; ok && at >= when {
		return versionAfter
	}
	return versionBefore
}

func (f *Fleet) dayOf(t schemas.Millis) uint16 { return uint16(t/day - f.start/day) }

// form writes the name of the thing n, that came up on the day born.
func (f *Fleet) form(t *tool, n uint64, born uint16) string {
	d := f.dates[min(int(born), len(f.dates)-1)]
	f.text.begin(len(t.form) + 32)
	for _, s := range t.segments {
		f.text.str(s.text)
		switch s.fill {
		case 'n':
			f.text.num(n)
		case 'h':
			f.text.hex(mix64(n), 8)
		case 'y':
			f.text.num(d.year)
		case 'm':
			f.text.two(d.month)
		case 'd':
			f.text.two(d.day)
		}
	}
	return f.text.end()
}

// newAgent builds the agent for a seat.
func (f *Fleet) newAgent(index uint64, s seat, rollouts map[*role]schemas.Millis) *agent {
	d := newDice(f.opt.Seed, index)
	a := &agent{
		fleet: f, index: index, actor: index, d: d, role: s.role, tenant: s.tenant, id: s.id, born: f.start,
		rhythm:        newRhythm(d, s.kind, f.opt.Rate*s.role.rate),
		sentScale:     d.logNormal(1, .3),
		receivedScale: d.logNormal(1, .3),
		failure:       d.logBetween(.002, .03),
		denied:        d.logBetween(.0003, .005),
		rollout:       math.MaxInt64,
	}
	a.tide.wild = d.chance(.3)
	if d.chance(f.opt.Joins) {
		a.born += schemas.Millis(d.between(.25, .75) * float64(f.end-f.start))
	}
	stagger := schemas.Millis(d.between(0, 24) * float64(hour))
	if at, ok := rollouts[s.role]; ok {
		a.rollout = at + stagger
	}
	a.cursor = a.born
	a.equip()
	return a
}

// equip draws the agent's tools, what it knows, and its credential.
func (a *agent) equip() {
	d := a.d
	var sum float64
	for _, list := range [][]tool{a.role.tools, a.role.later} {
		for i := range list {
			t := &list[i]
			sum += t.weight * d.logNormal(1, .3)
			a.tools = append(a.tools, t)
			a.cumul = append(a.cumul, sum)
			s := shelf{known: max(1, int(d.logNormal(float64(t.own), .3)))}
			switch {
			case len(t.items) > 0:
				s.known = min(s.known, len(t.items))
			case t.dated:
				s.known = recent
				s.base = 100_000 + (a.index%9000)*1_000_003%90_000_000
				s.born = make([]uint16, recent)
				for j := range s.born {
					s.born[j] = a.fleet.dayOf(a.born)
				}
			}
			a.shelves = append(a.shelves, s)
		}
	}
	typ := [...]string{"oauth_token", "workload", "static_key", "certificate"}
	a.credTyp = typ[d.zipf(len(typ))]
	a.cred = "cred-" + strconv.FormatUint(mix64(a.index^0xc0ffee)>>24, 16)
	net := "10." + strconv.Itoa(20+int(a.index>>8)%200) + "." + strconv.Itoa(int(a.index)%256) + "."
	a.ips = [2]string{net + "11", net + "12"}
	region := [...]string{"eu-west-1", "eu-central-1", "us-east-1"}
	a.attrs = []schemas.Attribute{{Key: "region", Value: region[int(a.index)%len(region)]}}
}

// introduce gives an agent the few others that it talks to.
func (f *Fleet) introduce(a *agent) {
	if len(f.agents) < 2 {
		return
	}
	for range 1 + a.d.r.IntN(4) {
		other := f.agents[a.d.r.IntN(len(f.agents))]
		if other != a && other.tenant == a.tenant && other.born <= a.born {
			a.neighbours = append(a.neighbours, int32(other.index))
		}
	}
}

// seat is a place in the fleet: which role in which rhythm.
type seat struct {
	role   *role
	kind   Archetype
	tenant string
	id     string
}

// crew hands out seats and names.
type crew struct {
	opt    Options
	number map[string]int
	width  int
}

func newCrew(o Options) *crew {
	return &crew{opt: o, number: map[string]int{}, width: max(2, len(strconv.Itoa(o.Agents/o.Tenants/o.groups()*3)))}
}

// seats draws archetypes in the exact proportions of the mix, and for each a
// role that it fits; one in twelve sits where it doesn't fit.
func (c *crew) seats(d dice) []seat {
	parts := c.opt.Mix.parts()
	var sum float64
	for _, p := range parts {
		sum += p
	}
	kinds := make([]Archetype, c.opt.Agents)
	k, acc := Archetype(0), parts[0]/sum
	for i := range kinds {
		for k < Rare && (float64(i)+.5)/float64(len(kinds)) >= acc {
			k++
			acc += parts[k] / sum
		}
		kinds[i] = k
	}
	d.r.Shuffle(len(kinds), func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
	out := make([]seat, len(kinds))
	for i, kind := range kinds {
		out[i] = c.seat(c.pickRole(d, kind), kind, tenantName(i%c.opt.Tenants, c.opt.Tenants))
	}
	return out
}

func (c *crew) pickRole(d dice, kind Archetype) *role {
	var fit []*role
	if !d.chance(1.0 / 12) {
		for i := range c.opt.groups() {
			for _, k := range roles[i].fits {
				if k == kind {
					fit = append(fit, &roles[i])
				}
			}
		}
	}
	if len(fit) == 0 {
		return &roles[d.r.IntN(c.opt.groups())]
	}
	return fit[d.r.IntN(len(fit))]
}

func (c *crew) seat(r *role, kind Archetype, tenant string) seat {
	key := tenant + "/" + r.name
	c.number[key]++
	n := strconv.Itoa(c.number[key])
	if pad := c.width - len(n); pad > 0 {
		n = strings.Repeat("0", pad) + n
	}
	return seat{role: r, kind: kind, tenant: tenant, id: r.name + "-" + n}
}

// tenantName names the tenant number i of n.
func tenantName(i, n int) string {
	names := [...]string{"harbor", "meadow", "summit", "prairie", "lagoon", "canyon", "forest", "island"}
	switch {
	case n == 1:
		return schemas.DefaultTenant
	case i < len(names):
		return names[i]
	default:
		return names[i%len(names)] + "-" + strconv.Itoa(1+i/len(names))
	}
}

// Duration returns the length of the fleet's time.
func (f *Fleet) Duration() time.Duration { return time.Duration(f.end-f.start) * time.Millisecond }
