package replay

import (
	"hash/maphash"
	"slices"

	"github.com/plumbline-sec/plumbline/schemas"
)

// lookahead holds a replay's next events. A file has no broker that says when a record
// arrived, and a time in it is what its producer says: one line of the year 2286 would
// let all that follows come centuries late. But the lines stand in the order in which
// they arrived. So a time is believed when those of other agents behind it have got as
// far, and is else held for what most of them say.
type lookahead struct {
	seed  maphash.Seed
	ring  []heldEvent
	first int
	n     int
	bytes int
	clock schemas.Millis // the arrival of the last event

	since  map[uint64]schemas.Millis // when an agent was first seen
	voters []uint64                  // scratch
	times  []schemas.Millis
}

type heldEvent struct {
	ev         schemas.Activity
	resources  []string // what its lists are copied to
	attributes []schemas.Attribute
	invalid    []string
	agent      uint64
	bytes      int
}

// Bounds of the lookahead, and how far a time may lie ahead of others.
const (
	aheadEvents = 512
	aheadBytes  = 64 << 20
	// aheadBy is the lead that does nobody any harm: windows stay open for that long.
	aheadBy = 2 * 60 * 1000
	// aheadLeap is the leap, milliseconds, that takes the word of many.
	aheadLeap = 60 * 60 * 1000
	fewVoters = 5 // agents
	allVoters = 33
)

// push takes an event; it keeps the memory of its strings, that of the record of size
// bytes among it.
func (l *lookahead) push(ev *schemas.Activity, size int) {
	if l.ring == nil {
		l.ring, l.seed, l.since = make([]heldEvent, aheadEvents), maphash.MakeSeed(), make(map[uint64]schemas.Millis)
	}
	h := &l.ring[(l.first+l.n)%aheadEvents]
	h.agent = maphash.String(l.seed, ev.TenantID)*31 + maphash.String(l.seed, ev.AgentID)
	h.resources = append(h.resources[:0], ev.Resources...)
	h.attributes = append(h.attributes[:0], ev.Attributes...)
	h.invalid = append(h.invalid[:0], ev.Flags.FieldsInvalid...)
	h.ev = *ev
	h.ev.Resources, h.ev.Attributes, h.ev.Flags.FieldsInvalid = h.resources, h.attributes, h.invalid
	h.bytes = 512 + size
	for i := range h.attributes {
		h.bytes += len(h.attributes[i].Key) // a path has memory of its own
	}
	l.bytes += h.bytes
	l.n++
}

func (l *lookahead) empty() bool { return l.n == 0 }
func (l *lookahead) full() bool  { return l.n == aheadEvents || l.bytes > aheadBytes }

// pop takes the oldest event out, and hands it to f.
func (l *lookahead) pop(f func(ev *schemas.Activity)) {
	h := &l.ring[l.first]
	if _, known := l.since[h.agent]; !known && h.ev.Registration == nil {
		l.since[h.agent] = l.clock
	}
	f(&h.ev)
	h.ev = schemas.Activity{}
	clear(h.resources)
	clear(h.attributes)
	clear(h.invalid)
	l.first = (l.first + 1) % aheadEvents
	l.n--
	l.bytes -= h.bytes
}

// arrival returns when the oldest event arrived, as far as the others tell.
func (l *lookahead) arrival() schemas.Millis {
	at := l.ring[l.first].ev.Time
	switch {
	case l.ring[l.first].ev.Registration != nil: // what is said may have been said long ago
	case at > l.clock+aheadLeap || l.clock == 0:
		l.clock = max(l.clock, l.believe(at, allVoters))
	case at > l.clock+aheadBy:
		l.clock = max(l.clock, l.believe(at, fewVoters))
	case at > l.clock:
		l.clock = at
	case at < l.clock-aheadLeap && l.alone():
		l.clock = at // it was wrong, or another file goes back
	}
	return l.clock
}

// believe returns the time where half of so many agents that follow have got as far,
// else the time that three quarters of them have reached.
func (l *lookahead) believe(at schemas.Millis, voters int) schemas.Millis {
	l.ask(voters)
	if len(l.times) == 0 {
		return at // nobody is left whom it could harm
	}
	slices.Sort(l.times)
	if l.times[(len(l.times)-1)/2] >= at-aheadBy {
		return at
	}
	return l.times[(len(l.times)-1)/4] // what nearly all of them have reached
}

// alone reports whether hardly anybody who follows has got near the clock.
func (l *lookahead) alone() bool {
	l.ask(allVoters)
	near := 0
	for _, t := range l.times {
		if t >= l.clock-aheadLeap {
			near++
		}
	}
	return len(l.times) > 0 && 5*near < len(l.times)
}

// ask collects the next time of up to so many agents that follow the oldest event: of those
// that have been there for an hour, since names cost nothing; where there are hardly any, of
// all, and its own agent's only where there is no other.
func (l *lookahead) ask(voters int) {
	if l.collect(voters, true); len(l.times) < 3 {
		l.collect(voters, false)
	}
}

func (l *lookahead) collect(voters int, known bool) {
	l.voters, l.times = l.voters[:0], l.times[:0]
	own := l.ring[l.first].agent
	for i := 1; i < l.n && len(l.times) < voters; i++ {
		h := &l.ring[(l.first+i)%aheadEvents]
		if h.ev.Registration != nil {
			continue
		}
		if known {
			if since, seen := l.since[h.agent]; !seen || l.clock-since < aheadLeap {
				continue
			}
		}
		if h.agent != own && !slices.Contains(l.voters, h.agent) {
			l.voters = append(l.voters, h.agent)
			l.times = append(l.times, h.ev.Time)
		}
	}
	for i := 1; i < l.n && !known && len(l.voters) == 0 && len(l.times) < fewVoters; i++ {
		if ev := &l.ring[(l.first+i)%aheadEvents].ev; ev.Registration == nil {
			l.times = append(l.times, ev.Time)
		}
	}
}
