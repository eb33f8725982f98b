package detector

import (
	"fmt"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// A cut is the state at one instant, taken while scoring goes on. BeginCut marks
// the instant, ContinueCut writes agents bit by bit, and an agent that is about to
// change before its turn is written first: copy on write. What a cut writes are
// the agents that changed since the last confirmed one, those that the caller asks
// for on top, and who is gone. ConfirmCut says that all of it is safe, AbortCut
// that it is not; what it would have held is then part of the next one.
//
// A record is complete in itself. Of several records of an agent the last one
// counts; a partition record replaces the one before.

// CutSink takes the records of a cut. It keeps no slice that it is handed.
type CutSink interface {
	// Partition is called once, from BeginCut.
	Partition(record []byte)
	// Gone names an agent that was evicted since the last confirmed cut; BeginCut
	// calls it, so that it comes before an agent of the same name that lives.
	Gone(tenantID, agentID string)
	Agent(record []byte)
}

// cutting is what the detector knows of cuts.
type cutting struct {
	all       []*agent // every agent, each at its index
	number    uint32   // of the cut at hand, or of the last one
	confirmed uint32   // the last cut that is safe
	gone      []gone
	// registered are all registrations: those that stand in no agent's record are cut behind
	// the agents (registry.go).
	registered []*registered
	whole      bool // names of the gone are missing: the next cut is of all agents

	sink CutSink // nil: no cut at hand
	full bool    // the cut at hand is of all agents
	also func(tenantID, agentID string) bool
	next int // index in all of the next agent to visit
	// nextRegistered is the same of registered.
	nextRegistered int
	record         []byte
}

// cutMark is what an agent knows of cuts.
type cutMark struct {
	index   int32
	changed uint32 // the cut after which it last changed
	visited uint32 // the cut that last passed it
}

// maxGone bounds the names of evicted agents that wait for a cut.
const maxGone = 1 << 20

type gone struct {
	tenant, id string
	after      uint32 // the cut after which it was evicted
}

// BeginCut starts a cut of the state as it is now. also asks for agents that have
// not changed; nil: none.
func (d *Detector) BeginCut(sink CutSink, also func(tenantID, agentID string) bool) {
	c := &d.cutting
	c.number++
	c.sink, c.also, c.next, c.nextRegistered = sink, also, 0, 0
	c.full, c.whole = c.whole, false
	c.record = d.appendPartition(c.record[:0])
	sink.Partition(c.record)
	for _, g := range c.gone {
		sink.Gone(g.tenant, g.id)
	}
}

// CutWhole reports that the next cut must be of all agents and replace all before
// it: so many were evicted that their names are not known any more.
func (d *Detector) CutWhole() bool { return d.cutting.whole }

// ContinueCut visits up to n agents, and reports whether the cut is complete.
func (d *Detector) ContinueCut(n int) bool {
	c := &d.cutting
	for ; n > 0 && c.next < len(c.all); n-- {
		c.next++
		c.visit(c.all[c.next-1])
	}
	for ; n > 0 && c.nextRegistered < len(c.registered); n-- {
		c.nextRegistered++
		c.visitRegistered(c.registered[c.nextRegistered-1])
	}
	return c.next >= len(c.all) && c.nextRegistered >= len(c.registered)
}

// ConfirmCut says that everything the cut held is safe.
func (d *Detector) ConfirmCut() {
	c := &d.cutting
	c.confirmed = c.number
	keep := c.gone[:0]
	for _, g := range c.gone {
		if g.after >= c.confirmed {
			keep = append(keep, g)
		}
	}
	clear(c.gone[len(keep):])
	c.gone = keep
	c.end()
}

// AbortCut gives the cut up.
func (d *Detector) AbortCut() {
	c := &d.cutting
	c.whole = c.whole || c.full
	c.end()
}

func (c *cutting) end() { c.sink, c.also, c.full = nil, nil, false }

// change notes that an agent is about to change.
func (c *cutting) change(a *agent) {
	if c.sink != nil {
		c.visit(a)
	}
	a.cut.changed = c.number
}

// visit writes the agent, once, if it belongs into the cut.
func (c *cutting) visit(a *agent) {
	if a.cut.visited == c.number {
		return
	}
	a.cut.visited = c.number
	if c.full || a.cut.changed >= c.confirmed || c.also != nil && c.also(a.tenant.name, a.id) {
		c.record = appendAgent(c.record[:0], a)
		c.sink.Agent(c.record)
	}
}

// add takes a new agent; a cut at hand does not hold it.
func (c *cutting) add(a *agent) {
	a.cut = cutMark{index: int32(len(c.all)), changed: c.number, visited: c.number}
	c.all = append(c.all, a)
}

// restore takes an agent that a cut held.
func (c *cutting) restore(a *agent) {
	a.cut.index = int32(len(c.all))
	c.all = append(c.all, a)
}

// remove takes an evicted agent out, behind the visit that change paid it.
func (c *cutting) remove(a *agent) {
	last := c.all[len(c.all)-1]
	if c.sink != nil {
		c.visit(last) // it may move to where the cut has been already
	}
	c.all[a.cut.index], last.cut.index = last, a.cut.index
	c.all[len(c.all)-1] = nil
	c.all = c.all[:len(c.all)-1]
	switch {
	case c.number == 0 || c.whole: // no cut holds it, or the next one needs no names
	case len(c.gone) >= maxGone:
		c.gone, c.whole = nil, true
	default:
		c.gone = append(c.gone, gone{a.tenant.name, a.id, c.number})
	}
}

// AgentOf returns whose record it is: that of an agent, or of its registration alone.
func AgentOf(record []byte) (tenantID, agentID string, err error) {
	c := wire.Decoder(record)
	codeVersion(c)
	c.String("tenant", &tenantID, maxString)
	c.String("id", &agentID, maxString)
	if err := c.Err(); err != nil {
		return "", "", fmt.Errorf("record of an agent: %w", err)
	}
	return tenantID, agentID, nil
}
