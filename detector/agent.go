package detector

import (
	"strings"
	"unicode/utf8"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// agent is one agent: everything that is known of it is this one value.
type agent struct {
	tenant *tenant
	group  *group
	policy *policy // follows from the config and the names; not part of the state

	registered *registered // nil: nobody has said who it is (registry.go)

	id, name, version string

	born schemas.Millis
	// firstDay is the day of its tenant's clock on which it was first seen, calmDays on how many
	// days it was active and not alerted on, lastCalmDay the last of them, opened how many
	// episodes it has had (vouch.go).
	firstDay      int64
	calmDays      uint32
	lastCalmDay   int64
	opened        uint32
	fadedEpisodes float32 // the same, decayed
	// foldedIn is the number of the episode of its tenant's swarm that it is part of; of a
	// swarm, crowd is how many are part of its last one, flooded how many names were given
	// up in floodHour.
	foldedIn, crowd uint32
	flooded         uint32
	floodHour       int64
	own             bool // its episode counts among those of newcomers

	// claim is the peer group that it has named instead of its own on so many days.
	claim    string
	claimed  uint8
	claimDay int64

	touched uint64 // when its last window was opened, as a number of the partition
	profile baseline.Profile
	win     baseline.Window
	due     schemas.Millis  // the tenant's clock at which the open window closes
	seen    baseline.Recent // events
	trail   trail
	episode *episode
	silent  silent
	checked *checked // nil: it never failed an identity check
	cut     cutMark

	// The highest evidence of the day so far, as calibration has recorded it.
	dayMax   [baseline.MaxSignals]float32
	dayFused float32

	// The agent's place among those of its tenant, the least recently active first.
	node[agent]
}

func (a *agent) listOf() *list[agent] {
	if a.profile.Days >= establishedDays {
		return &a.tenant.established
	}
	return &a.tenant.newcomers
}

// list is a list through nodes of its members, in the order of last activity.
type list[T any] struct {
	first, last *T
	n           int
}

// node is what a member of a list embeds.
type node[T any] struct {
	list       *list[T]
	prev, next *T
}

func (n *node[T]) self() *node[T] { return n }

type member[T any] interface {
	*T
	self() *node[T]
}

// push puts x last.
func push[T any, M member[T]](l *list[T], x M) {
	*x.self() = node[T]{list: l, prev: l.last}
	if l.last != nil {
		M(l.last).self().next = x
	} else {
		l.first = x
	}
	l.last = x
	l.n++
}

// unlink takes x out of its list, if it is in one.
func unlink[T any, M member[T]](x M) {
	n := *x.self()
	if n.list == nil {
		return
	}
	if n.prev != nil {
		M(n.prev).self().next = n.next
	} else {
		n.list.first = n.next
	}
	if n.next != nil {
		M(n.next).self().prev = n.prev
	} else {
		n.list.last = n.prev
	}
	n.list.n--
	*x.self() = node[T]{}
}

// trail is the last few events of an agent, so that an alert can name what led to
// it: event id, tool and first resource, packed, the newest last.
type trail struct{ buf []byte }

const (
	trailBytes = 384
	trailField = 96 // longer ids are left out: half an id proves nothing
)

func (t *trail) add(id, tool, resource string) {
	if len(id) > trailField {
		return
	}
	if len(tool) > trailField {
		tool = ""
	}
	if len(resource) > trailField {
		resource = ""
	}
	need := 3 + len(id) + len(tool) + len(resource)
	if t.buf == nil {
		t.buf = make([]byte, 0, trailBytes)
	}
	// Half is dropped at once, so that the bytes are not moved on every event.
	if len(t.buf)+need > trailBytes {
		cut := 0
		for cut < len(t.buf) && (cut < trailBytes/2 || len(t.buf)-cut+need > trailBytes) {
			cut += 3 + int(t.buf[cut]) + int(t.buf[cut+1]) + int(t.buf[cut+2])
		}
		t.buf = t.buf[:copy(t.buf, t.buf[min(cut, len(t.buf)):])]
	}
	t.buf = append(t.buf, byte(len(id)), byte(len(tool)), byte(len(resource)))
	t.buf = append(t.buf, id...)
	t.buf = append(t.buf, tool...)
	t.buf = append(t.buf, resource...)
}

// each calls f on every event, the oldest first. The strings are the callee's.
func (t *trail) each(f func(id, tool, resource string)) {
	b := t.buf
	for len(b) >= 3 {
		i, j, k := int(b[0]), int(b[1]), int(b[2])
		if b = b[3:]; i+j+k > len(b) {
			return // a record of this kind is refused; nothing to read past it
		}
		f(text(string(b[:i])), text(string(b[i:i+j])), text(string(b[i+j:i+j+k])))
		b = b[i+j+k:]
	}
}

// last calls f on the newest n events, the oldest first.
func (t *trail) last(n int64, f func(id, tool, resource string)) {
	skip := -n
	t.each(func(string, string, string) { skip++ })
	t.each(func(id, tool, resource string) {
		if skip--; skip < 0 {
			f(id, tool, resource)
		}
	})
}

// tool returns the name of the newest tool in the trail that has this tag, empty
// where there is none.
func (t *trail) tool(tag uint32) (name string) {
	if tag != 0 {
		t.each(func(_, tool, _ string) {
			if baseline.ToolTag(baseline.ToolHash(tool)) == tag {
				name = tool
			}
		})
	}
	return name
}

// valid reports whether the packed events end where the bytes end.
func (t *trail) valid() bool {
	b := t.buf
	for len(b) >= 3 {
		n := 3 + int(b[0]) + int(b[1]) + int(b[2])
		if n > len(b) {
			return false
		}
		b = b[n:]
	}
	return len(b) == 0
}

// text clones a string that outlives its event; what is not UTF-8 is replaced, as
// in every output.
func text(s string) string { return strings.ToValidUTF8(strings.Clone(s), "\ufffd") }

// identify takes the event's name and version of the agent.
func (a *agent) identify(ev *schemas.Activity) {
	if ev.AgentName != a.name && ev.AgentName != "" {
		a.name = short(ev.AgentName)
	}
	if ev.AgentVersion != a.version && ev.AgentVersion != "" {
		a.version = short(ev.AgentVersion)
	}
}

const maxName = 128

// maxResource bounds the resources that alerts name, bytes: what is longer ends with an
// ellipsis.
const maxResource = 512

func resource(s string) string {
	if len(s) <= maxResource {
		return text(s)
	}
	n := maxResource - len("…")
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return text(s[:n]) + "…"
}

func short(s string) string {
	if len(s) > maxName {
		s = s[:maxName]
	}
	return text(s)
}
