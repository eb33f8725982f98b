package baseline

import (
	"slices"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// A tool that some agents of a group have begun to use within days is being rolled
// out, with what it goes to: the others are about to use it too. spreading is such an
// item; with k agents in T days each of the group's n is expected to begin with
//
//	(k-1) / (T * n)
//
// a day. The first two are as new as they are: whoever makes up a rollout is alerted
// on twice. The same goes for another destination at a place that the agent knows:
// since one that was alerted on vouches for nobody (Learnt), all its peers would be
// alerted on one after the other.
type spreading struct {
	item        uint64
	first, last int64 // milliseconds
	agents      uint32
}

const (
	maxSpreading = 64
	spreadLeast  = 0.25 // days: a rate is not taken from minutes
	spreadDays   = 10   // without another agent: it has spread
	dayMillis    = 86_400_000
)

// Spread notes that one more agent of the group has begun to use a new tool, or what came
// with one.
func (g *Peers) Spread(item uint64, now int64) {
	g.spreading = slices.DeleteFunc(g.spreading, func(s spreading) bool { return now-s.last > spreadDays*dayMillis })
	for i := range g.spreading {
		if s := &g.spreading[i]; s.item == item {
			s.agents++
			s.last = max(s.last, now)
			return
		}
	}
	if len(g.spreading) >= maxSpreading { // the one that spreads least makes room
		least := 0
		for i := range g.spreading {
			if g.spreading[i].agents < g.spreading[least].agents {
				least = i
			}
		}
		g.spreading = slices.Delete(g.spreading, least, least+1)
	}
	g.spreading = append(g.spreading, spreading{item: item, first: now, last: now, agents: 1})
}

// spreads is how often a day an agent is expected to begin with an item because
// others did.
func (g *Peers) spreads(item uint64, now int64) float64 {
	for i := range g.spreading {
		s := &g.spreading[i]
		if s.item != item || now-s.last > spreadDays*dayMillis {
			continue
		}
		days := max(float64(now-s.first)/dayMillis, spreadLeast)
		return float64(s.agents-1) / (days * float64(max(g.Agents, 1)))
	}
	return 0
}

// adopts is how often a day an agent of the group has begun to use an item that so many
// know, the first of them left out.
func (g *Peers) adopts(known int) float64 {
	return float64(max(known-1, 0)) / (g.agentDays + 1)
}

func (g *Peers) codeSpreading(c *wire.Coder) {
	n := c.Len(len(g.spreading), maxSpreading, 11)
	if c.Reading() {
		g.spreading = make([]spreading, n)
	}
	for i := range g.spreading {
		s := &g.spreading[i]
		c.Fixed64(&s.item)
		c.I64(&s.first)
		c.I64(&s.last)
		c.U32(&s.agents)
	}
}
