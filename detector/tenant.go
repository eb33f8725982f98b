package detector

import (
	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// maxGroups bounds the peer groups of a tenant; agents of further ones are held
// against the group of that name.
const (
	maxGroups  = 512
	otherGroup = "(other)"
)

// tenant is a world of its own: agents, peers, calibration, eviction.
type tenant struct {
	name                   string
	agents                 map[string]*agent // by id; never walked
	groups                 []*group
	byName                 map[string]*group // never walked
	fleet                  *baseline.Peers
	calibration            *score.Calibration // of the fleet
	newcomers, established agentList
	day                    int64
}

// group is the agents that should behave alike.
type group struct {
	name        string
	peers       *baseline.Peers
	calibration *score.Calibration
	day         int64
}

func newTenant(name string, signals int) *tenant {
	return &tenant{
		name: name, agents: make(map[string]*agent), byName: make(map[string]*group),
		fleet: baseline.NewPeers(nil), calibration: score.NewCalibration(signals),
	}
}

func (t *tenant) size() int { return t.newcomers.n + t.established.n }

// group returns the peer group of that name.
func (t *tenant) group(name string, signals int) *group {
	if name == "" {
		name = schemas.DefaultPeerGroup
	}
	if g, ok := t.byName[name]; ok {
		return g
	}
	if len(t.groups) >= maxGroups {
		name = otherGroup
		if g, ok := t.byName[name]; ok {
			return g
		}
	}
	g := t.addGroup(text(name), signals)
	return g
}

func (t *tenant) addGroup(name string, signals int) *group {
	g := &group{name: name, peers: baseline.NewPeers(t.fleet), calibration: score.NewCalibration(signals)}
	t.groups = append(t.groups, g)
	t.byName[name] = g
	return g
}

// advance brings what agents share to the watermark.
func (t *tenant) advance(g *group, watermark schemas.Millis) {
	day := int64(watermark) / dayMillis
	if day != t.day {
		endDays(&t.day, day, t.calibration)
	}
	if day != g.day {
		endDays(&g.day, day, g.calibration)
	}
	t.fleet.Advance(int64(watermark))
	g.peers.Advance(int64(watermark))
}

// endDays lets a calibration age; after a leap by at most 60 days.
func endDays(from *int64, to int64, c *score.Calibration) {
	if *from != 0 {
		for range min(to-*from, 60) {
			c.EndDay()
		}
	}
	*from = to
}

func (g *group) pair(t *tenant) score.Pair {
	return score.Pair{Group: g.calibration, Fleet: t.calibration}
}
