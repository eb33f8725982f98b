package detector

import (
	"math"
	"slices"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// maxGroups bounds the peer groups of a tenant, mostGroups those of a partition, but that a
// tenant may always have a few; agents of further ones are held against the group of that
// name.
const (
	maxGroups  = 512
	mostGroups = 8192
	fewGroups  = 8
	otherGroup = "(other)"
)

// tenant is a world of its own: agents, peers, calibration, eviction.
type tenant struct {
	name                   string
	hash                   uint64 // of the name, in the index
	groups                 []*group
	byName                 map[string]*group // never walked
	fleet                  *baseline.Peers
	calibration            *score.Calibration // of the fleet
	outliers               float64            // hours that calibration counted a tenth, decayed
	opened                 float64            // episodes, decayed
	newcomers, established list[agent]
	day                    int64

	// Its place among the tenants (tenants.go).
	node[tenant]
	at, heapAt int
	used       uint64
	settled    bool  // it stands among the established
	firstDay   int64 // the day of its first event

	swarm       *agent // stands for its newcomers; nil: there was no need (swarm.go)
	ownEpisodes int    // open episodes of newcomers

	clock   schemas.Millis // see clock.go
	last    schemas.Millis // the partition's clock at its last event
	loads   bool           // its last event lay far behind the partition: a history
	prompt  uint8          // hours that its clock reached by an event that came promptly, less those by one that did not
	windows agentQueue
	silents agentQueue
	open    episodeHeap

	// Open episodes of identity checks and policies: all, those that are the tenant's own, and of
	// how many agents there are others (identity.go, violation.go).
	breaches breachHeap
	crowds   []*breach
	breached map[offence]int // never walked
}

// group is the agents that should behave alike.
type group struct {
	name        string
	peers       *baseline.Peers
	calibration *score.Calibration
	day         int64
	// How many of its agents have an open hour, and how many make no call where they
	// should: they follow from the agents.
	agents         int
	active, silent int
	late           int   // those that vouch and are late in their open hour: likewise
	firstDay       int64 // the day on which its first agent was seen
	pauses         pauses
}

func newTenant(name string, signals, metrics int) *tenant {
	t := &tenant{
		name: name, byName: make(map[string]*group), breached: make(map[offence]int),
		fleet: baseline.NewPeers(nil), calibration: score.NewCalibration(signals),
		windows: agentQueue{ticket: openWindows}, silents: agentQueue{ticket: silences},
	}
	t.fleet.Metrics = make([]baseline.MetricPrior, metrics)
	return t
}

func (t *tenant) size() int { return t.newcomers.n + t.established.n }

// group returns the peer group of that name.
func (d *Detector) group(t *tenant, name string) *group {
	if name == "" {
		name = schemas.DefaultPeerGroup
	}
	if g, ok := t.byName[name]; ok {
		return g
	}
	if len(t.groups) >= maxGroups || d.groups >= mostGroups && len(t.groups) >= fewGroups {
		name = otherGroup
		if g, ok := t.byName[name]; ok {
			return g
		}
	}
	d.groups++
	return t.addGroup(text(name), len(d.signals))
}

// leaveGroup takes an agent out of its group, which goes with its last one while it is young.
func (d *Detector) leaveGroup(a *agent) {
	g, t := a.group, a.tenant
	if g.agents--; g.agents > 0 || int64(t.clock)/dayMillis-g.firstDay >= vouchDays {
		return
	}
	t.groups = slices.DeleteFunc(t.groups, func(o *group) bool { return o == g })
	delete(t.byName, g.name)
	d.groups--
}

func (t *tenant) addGroup(name string, signals int) *group {
	if len(t.groups) == 0 {
		t.firstDay = int64(t.clock) / dayMillis
	}
	g := &group{name: name, firstDay: int64(t.clock) / dayMillis, peers: baseline.NewPeers(t.fleet), calibration: score.NewCalibration(signals)}
	t.groups = append(t.groups, g)
	t.byName[name] = g
	return g
}

// advance brings what agents share to the tenant's clock.
func (t *tenant) advance(g *group) {
	day := int64(t.clock) / dayMillis
	if day != t.day {
		if t.day != 0 {
			fade := score.Remaining(day - t.day)
			t.outliers *= fade
			t.opened *= fade
		}
		endDays(&t.day, day, t.calibration)
	}
	if day != g.day {
		endDays(&g.day, day, g.calibration)
	}
	t.fleet.Advance(int64(t.clock))
	g.peers.Advance(int64(t.clock))
}

// calibrationWeight is what an hour of this surprise counts in calibration: what sticks out by a
// decade more than an alert has to is an attack more often than the tail of what is
// normal, and attacks would raise the threshold against the next ones. It counts a
// tenth, for the tail; for as many hours as the budget allows alerts, no more: a model
// that is wrong is still corrected.
func (t *tenant) calibrationWeight(surprise float64, b score.Budget) float64 {
	if surprise < b.Threshold()+1 {
		return 1
	}
	days := t.calibration.AgentDays()
	if t.outliers+1 > b.Alerts*(days+outlierPriorDays) {
		return 1
	}
	t.outliers++
	return outlierWeight
}

// steer returns a surprise less what the tenant has spent over its budget of alerts, three
// points of score at most: what one agent is alerted on again counts less and less in
// calibration (repetitions), and what lies at the threshold pays for it. A decade beyond it
// nothing is taken.
func (t *tenant) steer(surprise float64, b score.Budget) float64 {
	days := t.calibration.AgentDays()
	overspend := (t.opened + steerAlerts) / (b.Alerts*days + steerAlerts)
	beyond := surprise - b.Threshold()
	if overspend <= 1 || beyond >= 1 {
		return surprise
	}
	return surprise - float64(min(steerGain*math.Log10(overspend), steerMost)*min(1, 1-beyond))
}

// endDays lets a calibration age; after a leap by at most 60 days.
func endDays(from *int64, to int64, c *score.Calibration) {
	if *from != 0 {
		for range min(to-*from, leapDays) {
			c.EndDay()
		}
	}
	*from = to
}

func (g *group) pair(t *tenant) score.Pair {
	return score.Pair{Group: g.calibration, Fleet: t.calibration}
}
