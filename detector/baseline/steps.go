package baseline

import (
	"math/bits"
	"slices"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// A step is a tool that is called after another in one session, or at its beginning.
// What an injected instruction adds to a run is often nothing but known tools, in an
// order that the job has no use for.

// Runs are the last 16 sessions of an agent, each with the tool that it called last.
type Runs struct {
	sessions [16]uint32
	tools    [16]uint32 // by ToolTag
	next     uint8
}

// Session notes a session, and returns its place and whether it was not there.
func (r *Runs) Session(h uint64) (place int, first bool) {
	tag := uint32(h>>32) | 1
	for i, s := range r.sessions {
		if s == tag {
			return i, false
		}
	}
	place = int(r.next & 15)
	r.sessions[place], r.tools[place] = tag, 0
	r.next++
	return place, true
}

// ToolTag is by what a session remembers a tool.
func ToolTag(tool uint64) uint32 { return uint32(tool>>32) | 1 }

// Step notes that the session at place calls a tool. It returns the step as an item,
// and ToolTag of the tool before (0: the session begins).
func (r *Runs) Step(place int, tool uint64) (step uint64, before uint32) {
	before, r.tools[place] = r.tools[place], ToolTag(tool)
	return Mix(tool ^ (uint64(before)<<3 | uint64(ItemStep))), before
}

func (r *Runs) code(c *wire.Coder) {
	c.In("place")
	for i := range r.sessions {
		c.At(i)
		c.U32("sessions", &r.sessions[i])
		c.U32("tools", &r.tools[i])
	}
	c.Out()
	c.U8("next", &r.next)
}

// Steps is the set of the steps that an agent has taken: buckets of eight tags of 16
// bits, in each the last used first. It doubles while a bucket is full, up to 256
// tags; then what was not used for longest makes room. Two of a full set's steps in a
// hundred thousand pairs share a tag: a step that is new is missed once in 250 times.
type Steps struct{ tags []uint16 }

const (
	stepWays = 8
	maxSteps = 256
)

func stepTag(h uint64) uint16 { return max(uint16(h>>48), 1) }

func (s *Steps) bucket(tag uint16) []uint16 {
	b := int(tag) & (len(s.tags)/stepWays - 1)
	return s.tags[b*stepWays : b*stepWays+stepWays]
}

// Use reports whether a step is known.
func (s *Steps) Use(h uint64) bool {
	if len(s.tags) == 0 {
		return false
	}
	tag := stepTag(h)
	b := s.bucket(tag)
	for i, v := range b {
		if v == tag {
			copy(b[1:i+1], b[:i])
			b[0] = tag
			return true
		}
	}
	return false
}

// Add makes a step known.
func (s *Steps) Add(h uint64) {
	if s.Use(h) {
		return
	}
	tag := stepTag(h)
	for len(s.tags) == 0 || len(s.tags) < maxSteps && s.bucket(tag)[stepWays-1] != 0 {
		old := s.tags
		s.tags = make([]uint16, max(stepWays, 2*len(old)))
		for _, v := range slices.Backward(old) { // the last used is put last, so that it is first again
			if v != 0 {
				s.put(v)
			}
		}
	}
	s.put(tag)
}

func (s *Steps) put(tag uint16) {
	b := s.bucket(tag)
	copy(b[1:], b)
	b[0] = tag
}

// Bytes returns the memory of the set.
func (s *Steps) Bytes() int { return 2 * cap(s.tags) }

func (s *Steps) code(c *wire.Coder) {
	n := c.Len("steps", len(s.tags), maxSteps, 1)
	if c.Reading() {
		if n > 0 && (n < stepWays || bits.OnesCount(uint(n)) != 1) {
			c.Fail("set of %d steps", n)
			return
		}
		*s = Steps{}
		if n > 0 {
			s.tags = make([]uint16, n)
		}
	}
	c.U16s("steps", s.tags)
}

// Joint returns the chance that a new destination comes with a new step, where it
// is 'chance' for any call.
func (g *Peers) Joint(chance float64) float64 {
	lift := float64(stepLiftPrior)
	for _, l := range []*newness{&g.Fleet.stepLift, &g.stepLift} {
		lift = (float64(l.seen) + float64(stepLiftPseudo*lift)) / (float64(l.of) + stepLiftPseudo)
	}
	return min(lift*chance, 1)
}

// Reached counts a new destination, and whether a new step led to it.
func (g *Peers) Reached(chance float64, step bool) {
	for _, l := range []*newness{&g.Fleet.stepLift, &g.stepLift} {
		l.of += float32(chance)
		if step {
			l.seen++
		}
	}
}
