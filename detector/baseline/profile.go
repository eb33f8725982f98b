package baseline

import "github.com/plumbline-sec/plumbline/detector/internal/wire"

// Profile is everything learnt of one agent.
type Profile struct {
	Rate     Rate
	Sent     Volume
	Received Volume
	Novelty  Novelty
	Breadth  Breadth
	// Of its calls: those that failed or were denied, were malformed, came late.
	Failed, Malformed, Late Ratio
	Metrics                 []Metric // in the order of the config

	Born    int64  // hour of the first event
	At      int64  // the hour up to which the statistics have been brought
	Day     int64  // the last active day, days since 1970
	Days    uint32 // active days
	Counted uint8  // hours of that day that calibration has counted
}

// Young reports whether the agent is in its first days at the given hour.
func (p *Profile) Young(hour int64) bool { return hour-p.Born < YoungHours }

// Advance brings the statistics to the beginning of hour: the empty hours in
// between are observations of nothing.
func (p *Profile) Advance(g *Peers, hour int64) {
	if hour <= p.At {
		return
	}
	gap := hour - p.At
	p.Rate.Idle(&g.Rate, p.At, hour)
	p.fade(gap)
	p.At = hour
}

// Skip passes over the hours before 'hour': of them nothing is known.
func (p *Profile) Skip(hour int64) {
	if gap := hour - p.At; gap > 0 {
		p.Rate.fade(gap)
		p.fade(gap)
		p.At = hour
	}
}

func (p *Profile) fade(hours int64) {
	p.Sent.Fade(hours)
	p.Received.Fade(hours)
	p.Breadth.Fade(hours)
	p.Failed.Fade(hours)
	p.Malformed.Fade(hours)
	p.Late.Fade(hours)
	for i := range p.Metrics {
		p.Metrics[i].fade(hours)
	}
}

// Close takes the closed window w. In an episode it counts a tenth; a drift that was
// alerted on is settled.
func (p *Profile) Close(g *Peers, w *Window, episode, drifted bool) {
	weight := 1.0
	if episode {
		weight = EpisodeWeight
	}
	if drifted {
		p.Rate.Drift.settle(&p.Rate, w.Rate)
	} else {
		p.Rate.Drift.learn(&p.Rate, &g.Rate, w.Rate, float64(w.Events))
	}
	p.Rate.Learn(&g.Rate, w.Rate, w.Hour, float64(w.Events), episode)
	p.Breadth.Learn(&g.Breadth, p.Young(w.Hour), w.Hour, float64(w.NewResources+w.NewDestinations), weight)
	for i := range p.Metrics {
		p.Metrics[i].close(w.Hour, weight)
	}
	p.Failed.Learn(&g.Failed, float64(w.Events), float64(w.Failures+w.Denied), weight)
	p.Malformed.Learn(&g.Malformed, float64(w.Events), float64(w.Malformed), weight)
	p.Late.Learn(&g.Late, float64(max(w.Events, w.Late)), float64(w.Late), 1) // in an episode too: a clock may be wrong for good
	p.Rate.Fade()
	p.fade(1)
	p.At = w.Hour + 1
}

// Contribute hands the agent's estimates to its peers; once a day.
func (p *Profile) Contribute(g *Peers) {
	g.Rate.Contribute(&p.Rate)
	for _, to := range [...]*Peers{g, g.Fleet} {
		to.Sent.Contribute(&p.Sent)
		to.Received.Contribute(&p.Received)
	}
	for i := range p.Metrics {
		g.Metrics[i].contribute(&p.Metrics[i])
	}
}

// Begin notes one more active day of the agent, days after the one before.
func (p *Profile) Begin(g *Peers, days int64) {
	p.Novelty.Day(days)
	if p.Novelty.Vouches {
		g.Novelty.Day()
		g.agentDays++
		g.Fleet.Novelty.Day()
	}
	p.Days++
}

// SetBack takes back what lies after hour: a clock was wrong.
func (p *Profile) SetBack(hour int64) {
	p.Born, p.At, p.Day = min(p.Born, hour), min(p.At, hour+1), min(p.Day, hour/24)
	for i := range p.Novelty.pending {
		p.Novelty.pending[i].at = min(p.Novelty.pending[i].at, hour*3_600_000)
	}
	p.Novelty.setOriginsBack(hour * 3_600_000)
	p.Breadth.day = min(p.Breadth.day, int32(hour/24))
}

// Code encodes or decodes p.
func (p *Profile) Code(c *wire.Coder) {
	c.Scope("rate", p.Rate.Code)
	c.Scope("sent", p.Sent.Code)
	c.Scope("received", p.Received.Code)
	c.Scope("novelty", p.Novelty.Code)
	c.Scope("breadth", p.Breadth.Code)
	c.Scope("failed", p.Failed.Code)
	c.Scope("malformed", p.Malformed.Code)
	if c.Version >= 2 {
		c.Scope("late", p.Late.Code)
	}
	wire.List(c, "metrics", &p.Metrics, MaxMetrics, 100, (*Metric).code)
	c.I64("born", &p.Born)
	c.I64("at", &p.At)
	c.I64("day", &p.Day)
	c.U32("days", &p.Days)
	c.U8("counted", &p.Counted)
}

// Peers is what the agents of one group have in common.
type Peers struct {
	Fleet             *Peers // all agents of the tenant; itself has none
	Vouching          int    // agents whose word counts here, see Novelty.Vouches
	Rate              RatePrior
	Sent              VolumePrior
	Received          VolumePrior
	Novelty           NoveltyPrior
	Breadth           BreadthPrior
	Failed, Malformed RatioPrior
	Late              RatioPrior
	DocFreq           DocFreq
	Tools             Tools
	Metrics           []MetricPrior

	// How much likelier than any call a call to a new destination is to be a new step,
	// where nothing happens: new work brings both. Seen are the new destinations that a
	// new step led to, of the chances of a new step of all of them.
	stepLift newness
	// Of a fleet: the tools new to a whole group that went on to a second agent of it.
	rollouts newness

	adoptions []adoption    // tools that are being rolled out
	pending   []pendingItem // on probation before they count as known to a peer
	day       int64
	agentDays float64 // active days of all its agents
}

const maxPeersPending = 4096

// NewPeers returns a group of which nothing is known.
func NewPeers(fleet *Peers) *Peers {
	p := &Peers{Fleet: fleet, Rate: NewRatePrior()}
	if fleet != nil {
		p.Metrics = make([]MetricPrior, len(fleet.Metrics))
		p.Sent.fleet, p.Received.fleet = &fleet.Sent, &fleet.Received
		p.Tools.fleet = &fleet.Tools
	}
	return p
}

// Learnt notes that one more agent has begun to use an item.
func (g *Peers) Learnt(item uint64, now int64) {
	if len(g.pending) >= maxPeersPending {
		g.DocFreq.Add(g.pending[0].hash)
		g.pending = g.pending[1:]
	}
	g.pending = append(g.pending, pendingItem{item, now})
}

// Advance brings the group to now (milliseconds).
func (g *Peers) Advance(now int64) {
	i := 0
	for i < len(g.pending) && g.pending[i].at+Probation <= now {
		g.DocFreq.Add(g.pending[i].hash)
		i++
	}
	g.pending = g.pending[i:]
	day := now / 86_400_000
	if g.day == 0 {
		g.day = day
	}
	if day == g.day {
		return
	}
	for range min(day-g.day, leapDays) {
		g.Rate.EndDay()
		g.Sent.EndDay()
		g.Received.EndDay()
		g.Novelty.EndDay()
		g.stepLift.fade()
		g.rollouts.fade()
		g.Breadth.EndDay()
		g.Failed.EndDay()
		g.Malformed.EndDay()
		g.Late.EndDay()
		for i := range g.Metrics {
			g.Metrics[i].endDay()
		}
		g.Tools.endDay()
	}
	g.day = day
}

// SetBack takes back what lies after now (milliseconds): a clock was wrong.
func (g *Peers) SetBack(now int64) {
	for i := range g.pending {
		g.pending[i].at = min(g.pending[i].at, now)
	}
	for i := range g.adoptions {
		s := &g.adoptions[i]
		s.first, s.last = min(s.first, now), min(s.last, now)
	}
	g.day = min(g.day, now/86_400_000)
}

// Bytes estimates the memory of the group.
func (g *Peers) Bytes() int { return 8192 + g.DocFreq.Bytes() + g.Tools.Bytes() + 16*cap(g.pending) }

// Code encodes or decodes g.
func (g *Peers) Code(c *wire.Coder) {
	c.Scope("rate", g.Rate.Code)
	c.Scope("sent", g.Sent.Code)
	c.Scope("received", g.Received.Code)
	c.Scope("novelty", g.Novelty.Code)
	c.Scope("stepLift", g.stepLift.code)
	c.Scope("rollouts", g.rollouts.code)
	c.Scope("breadth", g.Breadth.Code)
	c.Scope("failed", g.Failed.Code)
	c.Scope("malformed", g.Malformed.Code)
	if c.Version >= 2 {
		c.Scope("late", g.Late.Code)
	}
	wire.List(c, "metrics", &g.Metrics, MaxMetrics, 7, (*MetricPrior).code)
	c.Scope("docFreq", g.DocFreq.Code)
	c.Scope("tools", g.Tools.Code)
	wire.List(c, "adoptions", &g.adoptions, maxAdoptions, 12, (*adoption).code)
	wire.List(c, "pending", &g.pending, maxPeersPending, 9, (*pendingItem).code)
	c.I64("day", &g.day)
	c.F64("agentDays", &g.agentDays)
}
