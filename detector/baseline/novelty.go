package baseline

import (
	"math"
	"math/bits"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

const (
	maxPending  = 32
	sessionBins = 13
	dfBins      = 8
)

// Novelty is how prone an agent is to new things. Its unit is the incidence: one
// item touched in one session.
type Novelty struct {
	Known   ItemSet
	pending []pendingItem
	once    Once
	Runs    Runs
	Steps   Steps

	// Vouches: what the agent knows counts among its peers. It follows from how long it
	// has lived among them.
	Vouches bool

	Sessions   uint32           // sessions seen
	days       float32          // decayed active days
	taught     [touched]float32 // new ones of the last active day, as they counted
	incidences [touched]float32 // decayed
	seen       [touched]float32 // new ones among them
	expected   [touched]float32 // new ones expected of them

	origins *origins // nil: its events say nothing of any
}

type pendingItem struct {
	hash uint64
	at   int64
}

func (p *pendingItem) code(c *wire.Coder) {
	c.Fixed64("hash", &p.hash)
	c.I64("at", &p.at)
}

// Session notes a session, and returns its place among the last 16 and whether it
// was not there.
func (n *Novelty) Session(h uint64) (place int, first bool) {
	place, first = n.Runs.Session(h)
	if first {
		n.Sessions++
	}
	return place, first
}

// First reports whether this is the first time that the session touches the item.
func (n *Novelty) First(session, item uint64) bool { return n.once.First(Mix(session ^ item)) }

// Pending reports whether the item is new and on probation.
func (n *Novelty) Pending(item uint64) bool {
	for i := range n.pending {
		if n.pending[i].hash == item {
			return true
		}
	}
	return false
}

// Since returns when an item that is on probation was first touched (ms); 0: it is not.
func (n *Novelty) Since(item uint64) int64 {
	for i := range n.pending {
		if n.pending[i].hash == item {
			return n.pending[i].at
		}
	}
	return 0
}

// Admit puts a new item on probation. Where too many are, the oldest becomes
// known: the set itself is bounded.
func (n *Novelty) Admit(item uint64, now int64) {
	if len(n.pending) >= maxPending {
		n.Known.Add(n.pending[0].hash, hourOf(n.pending[0].at))
		n.pending = append(n.pending[:0], n.pending[1:]...)
	}
	n.pending = append(n.pending, pendingItem{item, now})
}

func hourOf(ms int64) int64 { return ms / 3_600_000 }

// Promote makes known what has been on probation long enough.
func (n *Novelty) Promote(now int64) {
	i := 0
	for i < len(n.pending) && n.pending[i].at+Probation <= now {
		n.Known.Add(n.pending[i].hash, hourOf(n.pending[i].at))
		i++
	}
	if i > 0 {
		n.pending = append(n.pending[:0], n.pending[i:]...)
	}
}

// Bytes returns the memory beyond the value itself.
func (n *Novelty) Bytes() int {
	return n.Known.Bytes() + n.Steps.Bytes() + 16*cap(n.pending) + n.origins.bytes()
}

// Day notes one more active day, days after the one before.
func (n *Novelty) Day(days int64) {
	d := float32(Decay(24*days, halfLifeNovelty))
	n.days = float32(n.days*d) + 1
	clear(n.taught[:])
	for i := range n.incidences {
		n.incidences[i] *= d
		n.seen[i] *= d
		n.expected[i] *= d
	}
	if n.origins != nil {
		for i := range n.origins.incidences {
			n.origins.incidences[i] *= d
		}
	}
}

// Days returns the decayed number of active days.
func (n *Novelty) Days() float64 { return float64(n.days) }

func sessionBin(sessions uint32) int { return min(bits.Len32(sessions), sessionBins-1) }

// Rarity explains how unusual a new item is.
type Rarity struct {
	PerDay       float64 // how often a day an incidence this new is expected
	Incidence    float64 // the chance that an incidence is new, all told
	PeersKnowing int     // agents of the group that know the item, of those that vouch
	PeerCount    int     // the others that vouch; 0: too few to say anything
	PeerShare    float64 // P(peers know it this little | new to the agent)
	PeerDiscount float64 // 1, and more the larger the part of the peers that know the item
	RollingOut   bool    // the peers have begun to use it of late
	ByRollout    bool    // and that is why it is expected
}

// Rarity returns how unusual it is that this agent touches a new item of this
// kind with this tool (nil where the tool is unknown):
//
//	P(new | kind, maturity, sessions) * tool ratio * agent ratio *
//	P(peers know it this little | new) * incidences a day
//
// and at least what the peers show: that it is being rolled out (adoptionRate), that they
// begin to use it now and then (baseAdoptionRate).
func (n *Novelty) Rarity(g *Peers, kind ItemKind, item uint64, tool *Tool, young bool, now int64) Rarity {
	base, toolShare, ownShare := n.incidence(g, kind, tool, young)
	r := Rarity{Incidence: min(1, base*max(toolShare*ownShare, minQuietShare))}
	r.PeerShare, r.PeerDiscount = 1, 1
	known := g.DocFreq.Count(item)
	others := g.Vouching
	if n.Vouches {
		others--
	}
	if others >= 2 {
		r.PeerCount = others
		r.PeersKnowing = min(known, others) // who forgot an item and learnt it again counts twice
		r.PeerShare = g.Novelty.peerShare(&g.Fleet.Novelty, kind, r.PeersKnowing)
		f := min(float64(r.PeersKnowing)/float64(others), 1)
		r.PeerDiscount = 1 + float64(peerDiscount*f)
	}
	daily := (float64(n.incidencesOf(kind)) + g.Novelty.daily(kind)) / (float64(n.days) + 1)
	r.PerDay = r.Incidence * r.PeerShare * max(daily, minIncidencesADay)
	r.RollingOut = g.rollingOut(item, known, now)
	if rate := max(g.adoptionRate(item, now), g.baseAdoptionRate(known)); rate > r.PerDay {
		r.PerDay, r.PeerShare = rate, 1 // that few peers know it says no more then
		r.ByRollout = r.RollingOut
	}
	return r
}

// incidence is the chance that an incidence is new by its kind, maturity and sessions, and the
// ratios by which its tool and the agent have had more or less of that.
func (n *Novelty) incidence(g *Peers, kind ItemKind, tool *Tool, young bool) (base, toolShare, ownShare float64) {
	toolShare = 1
	if kind.Origin() {
		return g.Novelty.base(&g.Fleet.Novelty, kind, true, n.kept(kind)), 1, 1
	}
	if tool != nil {
		toolShare = ratio(tool.seen[kind], tool.expected[kind])
	}
	return g.Novelty.base(&g.Fleet.Novelty, kind, young, n.Sessions), toolShare, ratio(n.seen[kind], n.expected[kind])
}

func ratio(seen, expected float32) float64 { return (float64(seen) + 1) / (float64(expected) + 1) }

// NoveltyWeight is what an incidence that is new counts: for the agent itself, and for its
// peers. Zero: it is not new.
type NoveltyWeight struct{ Own, Peers float32 }

// Weigh returns what the next new incidence of the day counts; weight is less than 1 in
// an episode.
func (n *Novelty) Weigh(kind ItemKind, weight float64) NoveltyWeight {
	taught := float64(n.taught[kind])
	w := NoveltyWeight{1, float32(math.Exp2(min(0, freeNewADay-taught)))}
	if weight < 1 {
		w.Peers = float32(weight * math.Exp2(-taught/weight))
		w.Own = w.Peers
	}
	n.taught[kind] += w.Peers
	return w
}

// Learn counts one incidence, and its weight where it is new; peers know it
// already then.
func (n *Novelty) Learn(g *Peers, kind ItemKind, tool *Tool, young bool, counted NoveltyWeight, peers int) {
	newWeight := counted.Peers
	base, toolShare, ownShare := n.incidence(g, kind, tool, young)
	n.incidences[kind]++
	n.expected[kind] += float32(min(base*toolShare, 1))
	weight := float32(1)
	if newWeight > 0 {
		n.seen[kind] += counted.Own
		weight = newWeight
	}
	if tool != nil && n.Vouches {
		tool.seen[kind] += newWeight
		tool.expected[kind] += float32(weight * float32(min(base*ownShare, 1)))
	}
	for _, p := range [...]*NoveltyPrior{&g.Novelty, &g.Fleet.Novelty} {
		p.learn(kind, young, n.Sessions, weight, newWeight)
		if n.Vouches { // the others say how the young are, and no more
			p.inc[kind]++
			if counted.Own == 1 { // nor does what is alerted on say how widely new things are known
				p.df[kind][dfBin(peers)] += newWeight
			}
		}
	}
}

// Code encodes or decodes n.
func (n *Novelty) Code(c *wire.Coder) {
	c.Scope("known", n.Known.Code)
	wire.List(c, "pending", &n.pending, maxPending, 9, (*pendingItem).code)
	c.Scope("once", n.once.Code)
	c.Scope("runs", n.Runs.code)
	n.Steps.code(c)
	c.U32("sessions", &n.Sessions)
	c.F32("days", &n.days)
	c.F32s("incidences", n.incidences[:])
	c.F32s("seen", n.seen[:])
	c.F32s("expected", n.expected[:])
	if c.Version >= 2 {
		c.F32s("taught", n.taught[:])
	}
	n.codeOrigins(c)
	wire.NotNegative(c, "novelty", n.days)
	for _, counts := range [...][]float32{n.incidences[:], n.seen[:], n.expected[:], n.taught[:]} {
		wire.NotNegative(c, "novelty", counts...)
	}
}

// NoveltyPrior is how often incidences are new in a group, by kind, maturity and
// sessions seen, and how widely peers know what is new to one of them.
type NoveltyPrior struct {
	bases [2][sessionBins][ItemKinds]newness
	df    [ItemKinds][dfBins]float32
	inc   [ItemKinds]float32
	days  float32
}

// newness is how much that is new was seen, of how much that could have been.
type newness struct{ seen, of float32 }

// fade lets the evidence age by a day.
func (n *newness) fade() {
	d := float32(Decay(24, halfLifeNovelty))
	n.seen *= d
	n.of *= d
}

func (n *newness) code(c *wire.Coder) {
	c.F32("seen", &n.seen)
	c.F32("of", &n.of)
	wire.NotNegative(c, "novelty of a group", n.seen, n.of)
}

func maturityClass(young bool) int {
	if young {
		return 0
	}
	return 1
}

// base is P(new | incidence): the group's rate with a pseudo-count of groupPseudo incidences
// of the fleet's, and that with fleetPseudo of the rate at half as many sessions. Where
// nothing is known the rate halves with every doubling of the sessions. (To expect
// the halving of agents that are watched would be to call their normal course
// unusual each time that they grow older.)
func (p *NoveltyPrior) base(fleet *NoveltyPrior, kind ItemKind, young bool, sessions uint32) float64 {
	b, c := sessionBin(sessions), maturityClass(young)
	rate := max(1/float64(uint(2)<<b), minNewRate)
	for i := max(0, b-2); i <= b; i++ {
		f := &fleet.bases[c][i][kind]
		if f.of == 0 {
			continue
		}
		rate = f.shrunk(rate, fleetPseudo)
	}
	return p.bases[c][b][kind].shrunk(rate, groupPseudo)
}

// shrunk is the rate of n, shrunk to a prior with a pseudo-count of so many incidences, or
// as many as it takes it to bring minPriorNew.
func (n *newness) shrunk(prior, pseudo float64) float64 {
	pseudoNew := pseudo * prior
	if pseudoNew < minPriorNew {
		pseudoNew, pseudo = minPriorNew, minPriorNew/prior
	}
	return (float64(n.seen) + pseudoNew) / (float64(n.of) + pseudo)
}

func dfBin(agents int) int { return min(bits.Len(uint(agents)), dfBins-1) }

func (p *NoveltyPrior) peerShare(fleet *NoveltyPrior, kind ItemKind, agents int) float64 {
	b := dfBin(agents)
	share := func(h *[dfBins]float32, prior, pseudo float64) float64 {
		below, total := float64(prior*pseudo), pseudo
		for i, v := range h {
			total += float64(v)
			if i <= b {
				below += float64(v)
			}
		}
		return below / total
	}
	f := share(&fleet.df[kind], float64(b+3)/(dfBins+2), dfFleetPseudo)
	return share(&p.df[kind], f, dfGroupPseudo)
}

func (p *NoveltyPrior) daily(kind ItemKind) float64 {
	return (float64(p.inc[kind]) + dailyPseudo) / (float64(p.days) + 1)
}

func (p *NoveltyPrior) learn(kind ItemKind, young bool, sessions uint32, weight, isNew float32) {
	e := &p.bases[maturityClass(young)][sessionBin(sessions)][kind]
	e.of += weight
	e.seen += isNew
}

// Day notes one more active day of an agent.
func (p *NoveltyPrior) Day() { p.days++ }

// EndDay lets the evidence age by a day.
func (p *NoveltyPrior) EndDay() {
	d := float32(Decay(24, halfLifeNovelty))
	for i := range p.bases {
		for j := range p.bases[i] {
			for k := range p.bases[i][j] {
				p.bases[i][j][k].fade()
			}
		}
	}
	for i := range p.df {
		for j := range p.df[i] {
			p.df[i][j] *= d
		}
		p.inc[i] *= d
	}
	p.days *= d
}

// Code encodes or decodes p.
func (p *NoveltyPrior) Code(c *wire.Coder) {
	wire.Each(c, "bases", p.bases[:], func(bins *[sessionBins][ItemKinds]newness, c *wire.Coder) {
		wire.Each(c, "sessions", bins[:], func(kinds *[ItemKinds]newness, c *wire.Coder) {
			wire.Each(c, "kind", kinds[:kindsIn(c)], (*newness).code)
		})
	})
	c.In("kind")
	for i := range p.df[:kindsIn(c)] {
		c.At(i)
		c.F32s("df", p.df[i][:])
		c.F32("inc", &p.inc[i])
		wire.NotNegative(c, "novelty of a group", p.df[i][:]...)
		wire.NotNegative(c, "novelty of a group", p.inc[i])
	}
	c.Out()
	c.F32("days", &p.days)
	wire.NotNegative(c, "novelty of a group", p.days)
}

// NewPerDay is how many incidences an active day brings that are new.
func (n *Novelty) NewPerDay(kind ItemKind) float64 {
	return float64(n.seen[kind]) / max(float64(n.days), 1)
}
