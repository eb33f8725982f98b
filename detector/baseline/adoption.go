package baseline

import (
	"slices"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// A tool that some agents of a group have begun to use within days is being rolled
// out, with what it goes to: the others are about to use it too. adoption is such an
// item; with k agents in T days each of the group's n is expected to begin with
//
//	(k-1) / (T * n)
//
// a day. The first is as new as it is. For the second, k-1 is the part of the tools new
// to a whole group that a second agent has begun to use in this fleet (rollouts). The
// same goes for another destination at a place that the agent knows, since one that was
// alerted on vouches for nobody (Learnt) and all its peers would be alerted on one after
// the other; but there the second is as new as the first: whoever controls two agents
// chooses where they send to.
type adoption struct {
	item        uint64
	first, last int64 // milliseconds
	agents      uint32
	tool        bool // a tool, or what came with one
}

const (
	maxAdoptions = 64
	dayMillis    = 86_400_000
)

// Adopted notes that one more agent of the group has begun to use an item: with a new
// tool, or another destination. ItemTool is the tool itself.
func (g *Peers) Adopted(kind ItemKind, item uint64, withTool bool, now int64) {
	g.adoptions = slices.DeleteFunc(g.adoptions, func(s adoption) bool { return now-s.last > adoptionGapDays*dayMillis })
	for i := range g.adoptions {
		if s := &g.adoptions[i]; s.item == item {
			if s.agents++; s.agents == 2 && kind == ItemTool {
				g.Fleet.rollouts.seen++
			}
			s.last = max(s.last, now)
			return
		}
	}
	if kind == ItemTool {
		g.Fleet.rollouts.of++
	}
	if len(g.adoptions) >= maxAdoptions { // the one that fewest have adopted makes room
		least := 0
		for i := range g.adoptions {
			if g.adoptions[i].agents < g.adoptions[least].agents {
				least = i
			}
		}
		g.adoptions = slices.Delete(g.adoptions, least, least+1)
	}
	g.adoptions = append(g.adoptions, adoption{item: item, first: now, last: now, agents: 1, tool: withTool})
}

// adoptionRate is how often a day an agent is expected to begin with an item because
// others did.
func (g *Peers) adoptionRate(item uint64, now int64) float64 {
	for i := range g.adoptions {
		s := &g.adoptions[i]
		if s.item != item || now-s.last > adoptionGapDays*dayMillis {
			continue
		}
		days := max(float64(now-s.first)/dayMillis, adoptionLeastDays)
		more := float64(s.agents - 1)
		if more == 0 && s.tool {
			more = g.Fleet.rollouts.shrunk(rolloutPrior, rolloutPseudo)
		}
		return more / (days * float64(max(g.Vouching, 1)))
	}
	return 0
}

// rollingOut reports whether at least half of the peers that know an item have begun with
// it of late, and much later than the group began itself.
func (g *Peers) rollingOut(item uint64, known int, now int64) bool {
	for i := range g.adoptions {
		if s := &g.adoptions[i]; s.item == item && now-s.last <= adoptionGapDays*dayMillis {
			return 2*int(s.agents) >= known && 2*float64(now-s.first)/dayMillis < g.agentDays/float64(max(g.Vouching, 1))-1
		}
	}
	return false
}

// baseAdoptionRate is how often a day an agent of the group has begun to use an item that so many
// know, the first of them left out.
func (g *Peers) baseAdoptionRate(known int) float64 {
	return float64(max(known-1, 0)) / (g.agentDays + 1)
}

func (s *adoption) code(c *wire.Coder) {
	c.Fixed64("item", &s.item)
	c.I64("first", &s.first)
	c.I64("last", &s.last)
	c.U32("agents", &s.agents)
	c.Bool("tool", &s.tool)
}
