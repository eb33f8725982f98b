package detector

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/internal/wire"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// What moved in an episode is added up by place, the events that crossed nothing by
// themselves included. An attacker can reach eighty harmless places first: where there are
// more than maxPlaces, the one that moved the least makes room, and of those that moved as
// little the one that is least rare.
const maxPlaces = 32

// place is what an episode moved to and from one place, or with one resource of the house.
type place struct {
	hash           uint64
	name           string
	events         uint64
	sent, received uint64
	rarity         float32 // the highest evidence of its novelty
	eventID        string  // of the call that moved the most
	largest        uint64
}

// add adds an event to the totals and to those of its places, and reports whether more
// went to another place than to any that was told of.
func (e *episode) add(d *Detector, ev *schemas.Activity) (news bool) {
	t, newItems := &e.totals, d.newItems
	if t.Events++; t.Events == 1 && e.crossings > 0 && e.proofs == 0 {
		e.back = d.ctx.At
	}
	t.BytesSent = sum(t.BytesSent, ev.BytesSent)
	t.BytesReceived = sum(t.BytesReceived, ev.BytesReceived)
	for i := range newItems {
		switch tool, resource, destination := newItems[i].Item.Kind.Counted(); {
		case tool:
			t.NewTools++
		case resource:
			t.NewResources++
		case destination:
			t.NewDestinations++
		}
	}
	e.meet(ev.SessionID)
	main := d.mainThing(ev)
	for i, r := range ev.Resources {
		if r != main && !slices.Contains(ev.Resources[:i], r) {
			e.placeOf(r).touch(ev, r, newItems)
		}
	}
	if main == "" {
		return false
	}
	p := e.placeOf(main)
	p.touch(ev, main, newItems)
	p.sent = sum(p.sent, ev.BytesSent)
	p.received = sum(p.received, ev.BytesReceived)
	return p.hash != e.toldPlace && p.sent >= toldFrom && p.sent > p.received && p.sent/2 >= e.toldSent
}

// meet notes a session.
func (e *episode) meet(session string) {
	if session != "" && len(e.sessions) < schemas.MaxTotalSessions {
		if h := baseline.Hash(2, session); !slices.Contains(e.sessions, h) {
			e.sessions = append(e.sessions, h)
		}
	}
}

// sum saturates: what agents send is theirs to say.
func sum(a, b uint64) uint64 {
	if c := a + b; c >= a {
		return c
	}
	return math.MaxUint64
}

func (p *place) touch(ev *schemas.Activity, name string, newItems []signal.NewItem) {
	p.events++
	for i := range newItems {
		if newItems[i].Item.Name == name {
			p.rarity = max(p.rarity, float32(newItems[i].X))
		}
	}
	if n := sum(ev.BytesSent, ev.BytesReceived); (p.eventID == "" || n > p.largest) && len(ev.EventID) <= trailField {
		p.eventID, p.largest = text(ev.EventID), n
	}
}

// placeOf returns the totals of a resource, in place of the least of them where there
// are too many.
func (e *episode) placeOf(of string) *place {
	h := baseline.Hash(4, of)
	for i := range e.places {
		if e.places[i].hash == h {
			return &e.places[i]
		}
	}
	p := place{hash: h, name: resource(of)}
	if len(e.places) < maxPlaces {
		e.places = append(e.places, p)
		return &e.places[len(e.places)-1]
	}
	least := slices.MinFunc(e.places, func(a, b place) int {
		return cmp.Or(cmp.Compare(sum(a.sent, a.received), sum(b.sent, b.received)), cmp.Compare(a.rarity, b.rarity))
	})
	i := slices.IndexFunc(e.places, func(o place) bool { return o.hash == least.hash })
	e.places[i] = p
	return &e.places[i]
}

// topPlaces returns the places by what was sent there, then by how rare they are.
func (e *episode) topPlaces() []place {
	out := slices.Clone(e.places)
	slices.SortStableFunc(out, func(a, b place) int {
		return cmp.Or(cmp.Compare(b.sent, a.sent), cmp.Compare(b.rarity, a.rarity), cmp.Compare(b.received, a.received), cmp.Compare(a.name, b.name))
	})
	return out
}

// byPlace are the places of an alert.
func (e *episode) byPlace() []schemas.Place {
	top := e.topPlaces()
	out := make([]schemas.Place, 0, min(len(top), schemas.MaxEvidence))
	for _, p := range top[:cap(out)] {
		out = append(out, schemas.Place{Resource: p.name, EventID: p.eventID, Events: p.events, BytesSent: p.sent, BytesReceived: p.received})
	}
	return out
}

// most says where most of what an episode sent went, where it was more than one call.
func (e *episode) most() string {
	if len(e.places) == 0 {
		return ""
	}
	p := e.topPlaces()[0]
	if p.sent < toldFrom || p.sent < e.totals.BytesSent/2 || p.sent <= p.received || len(e.places) == 1 && p.events < 2 {
		return ""
	}
	return " Most of what it sent went to " + signal.Quote(p.name) + ": " + signal.Bytes(float64(p.sent)) + " in " +
		signal.Plural(float64(p.events), "call", "calls") + "."
}

// proof returns the events and resources of an alert: those of the last crossing and of
// where the most went before those that came first.
func (e *episode) proof() (ids, resources []string) {
	add := func(list *[]string, s string) {
		if s != "" && len(*list) < schemas.MaxEvidence && !slices.Contains(*list, s) {
			*list = append(*list, s)
		}
	}
	for _, r := range e.lastResources[:min(len(e.lastResources), proofEach)] {
		add(&resources, r)
	}
	for i, p := range e.topPlaces() {
		if i == proofEach {
			break
		}
		if !strings.HasPrefix(p.name, agentKind) { // an agent is no resource
			add(&resources, p.name)
		}
	}
	for _, r := range e.evidence.Resources {
		add(&resources, r)
	}
	return clone(e.evidence.EventIDs), resources
}

func (e *episode) codePlaces(c *wire.Coder) {
	if c.Version < 2 {
		return
	}
	wire.List(c, "places", &e.places, maxPlaces, 16, (*place).code)
	c.Fixed64("toldPlace", &e.toldPlace)
	c.U64("toldSent", &e.toldSent)
	c.Strings("lastResources", &e.lastResources, schemas.MaxEvidence, 3*schemas.MaxStringBytes)
}

func (p *place) code(c *wire.Coder) {
	c.Fixed64("hash", &p.hash)
	c.String("name", &p.name, maxString)
	c.U64("events", &p.events)
	c.U64("sent", &p.sent)
	c.U64("received", &p.received)
	c.U64("largest", &p.largest)
	c.F32("rarity", &p.rarity)
	c.String("eventID", &p.eventID, maxString)
}
