package detector_test

import (
	"encoding/binary"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Most of an event is what its producer says, and a hijacked agent says what it likes.
// What it does not choose is what it does: an attack in disguise has to score as the plain
// one does, less a few points, whatever its fields say.
const (
	// disguiseLoses is by how many points one disguise may lower a score. It is not zero: a
	// name that was never seen is held for something new of its own, chaff is activity too,
	// and a fresh session asks again what an item says.
	disguiseLoses = 6
	// severalLose is that of a combination of up to four.
	severalLose = 10
)

// sent is one event as it stands in the log.
type sent struct {
	ev      schemas.Activity
	arrived schemas.Millis
	act     bool // part of the attack; else chaff, or another agent's
	tick    bool // no event: a tick of ev.Time
}

// house is a small fleet that has been watched for four weeks.
type house struct {
	cfg    detector.Config
	saved  []byte
	beside []sent // what the others do during the attack
	at     schemas.Millis
	agent  *simAgent
	known  string // a place that the agent sends to
	before schemas.Activity
}

const houseDays = 28

// newHouse watches a fleet; the attacks begin at 10:20 on a Monday.
func newHouse(tb testing.TB, seed uint64) *house {
	tb.Helper()
	f := newFleet(seed, 40)
	for _, a := range f.agents { // calm ones: what is new means something
		a.novel /= 4
		if a.kind != rare {
			a.level /= 3
		}
	}
	h := &house{cfg: detector.DefaultConfig(), at: fleetStart + houseDays*dayMS + 10*hourMS + 20*60_000, agent: f.agents[10]}
	h.known = h.agent.dests[0]
	d := detector.Started(tb, h.cfg, &recorder{})
	for day := range houseDays + 1 {
		for _, ev := range f.day(day) {
			if ev.Time >= h.at {
				if ev.Time < h.at+hourMS && ev.AgentID != h.agent.id {
					ev.Resources = slices.Clone(ev.Resources)
					h.beside = append(h.beside, sent{ev: ev, arrived: ev.Time})
				}
				continue
			}
			if ev.AgentID == h.agent.id {
				h.before = ev
			}
			d.Arrived(ev.Time)
			d.Process(&ev)
		}
	}
	h.saved = d.Save()
	return h
}

// event is what the agent does i seconds after the attack began.
func (h *house) event(i int, tool, access, resource string, bytes uint64) sent {
	ev := schemas.Activity{
		EventID: "x-" + strconv.Itoa(i), Time: h.at + schemas.Millis(i)*1000, TenantID: schemas.DefaultTenant,
		AgentID: h.agent.id, PeerGroup: h.agent.group, SessionID: h.before.SessionID, Action: "tool_call",
		Tool: tool, Access: access, Resources: []string{resource}, BytesSent: bytes, BytesReceived: 300, Outcome: schemas.OutcomeSuccess,
	}
	return sent{ev: ev, arrived: ev.Time, act: true}
}

// attacks are what a hijacked agent does, undisguised: n is how much of it.
var attacks = []struct {
	name string
	n    int // 0: as much as is just an attack, so that a disguise that hides some of it tells
	made func(h *house, n int) []sent
}{
	{"a mail of 4 KB to a new domain", 4 << 10, (*house).mail},
	{"a mail to a new domain", 400, (*house).mail},
	{"20 MB to a known place", 20e6, (*house).exfiltrate},
	{"just too much to a known place", 0, (*house).exfiltrate},
	{"a burst of 300 calls", 300, (*house).burst},
	{"just too many calls", 0, (*house).burst},
	{"an upload of 40 KB by a new tool", 40 << 10, (*house).upload},
	{"an upload by a new tool", 400, (*house).upload},
}

func (h *house) mail(n int) []sent {
	return []sent{h.event(0, h.agent.tools[0], schemas.AccessSend, "email:drop@evil.example", uint64(n))}
}

func (h *house) exfiltrate(n int) []sent {
	return []sent{h.event(0, h.agent.tools[0], schemas.AccessSend, h.known, uint64(n))}
}

func (h *house) burst(n int) (log []sent) {
	for i := range n {
		log = append(log, h.event(i, h.agent.tools[0], schemas.AccessRead, h.agent.sources[i%len(h.agent.sources)], 60))
	}
	return log
}

func (h *house) upload(n int) []sent {
	return []sent{h.event(0, "http.post", schemas.AccessSend, "url:https://paste.evil.example/u", uint64(n))}
}

// attack makes an attack, and scores it as it is.
func (h *house) attack(tb testing.TB, number int) (log []sent, control float64) {
	tb.Helper()
	a := attacks[number]
	n := a.n
	for k := 20.0; a.n == 0 && control < 62; k *= 1.3 {
		n = int(k)
		control = h.run(tb, a.made(h, n))
	}
	log = a.made(h, n)
	control = h.run(tb, log)
	require.Greater(tb, control, 50.0, "the plain attack is one")
	return log, control
}

// run scores a log behind the history, and returns the highest score of the attack.
func (h *house) run(tb testing.TB, log []sent) float64 {
	tb.Helper()
	d := detector.Loaded(tb, h.cfg, &recorder{}, h.saved)
	top, acts, next := 0.0, 0, 0
	for i := range log {
		for ; next < len(h.beside) && h.beside[next].arrived <= log[i].arrived; next++ {
			ev := h.beside[next].ev
			d.Arrived(h.beside[next].arrived)
			d.Process(&ev)
		}
		ev := log[i].ev
		d.Arrived(log[i].arrived)
		if v := d.Process(&ev); log[i].act {
			acts++
			top = max(top, v.Score)
		}
	}
	require.Positive(tb, acts)
	return top
}

// disguise is a choice of a producer that leaves the act what it is. p is a number
// that it may use.
type disguise struct {
	name string
	as   func(h *house, p uint64, log []sent) []sent
}

// field changes every event of an attack.
func field(name string, set func(h *house, p uint64, i int, ev *schemas.Activity)) disguise {
	return disguise{name: name, as: func(h *house, p uint64, log []sent) []sent {
		for i := range log {
			if log[i].act {
				set(h, p, i, &log[i].ev)
			}
		}
		return log
	}}
}

// spelled writes the place that an attack reaches in another way; reads are of the
// house's own files, whose names are what they are.
func spelled(name string, as func(h *house, kind, id string) string) disguise {
	return field(name, func(h *house, _ uint64, _ int, ev *schemas.Activity) {
		if kind, id, _ := strings.Cut(ev.Resources[0], ":"); kind == "email" || kind == "url" {
			ev.Resources[0] = as(h, kind, id)
		}
	})
}

// place is a place of the kind that the agent knows, or that anybody might.
func place(h *house, kind string) string {
	if kind == "email" {
		return strings.TrimPrefix(h.known, "email:")
	}
	return "https://example.org/"
}

// harmless is an event of the agent as its day is full of.
func (h *house) harmless(i int, arrived schemas.Millis) sent {
	e := h.event(i, h.agent.tools[i%len(h.agent.tools)], schemas.AccessRead, h.agent.sources[i%len(h.agent.sources)], 60)
	e.ev.EventID, e.ev.Time, e.arrived, e.act = "c-"+strconv.Itoa(i), arrived, arrived, false
	return e
}

// back is a minute to 31 years, ahead a second to 68 years.
func back(p uint64) schemas.Millis  { return 60_000 << (p % 25) }
func ahead(p uint64) schemas.Millis { return 1000 << (p % 32) }

var disguises = []disguise{
	field("no event id", func(_ *house, _ uint64, _ int, ev *schemas.Activity) { ev.EventID = "" }),
	field("one event id for all", func(_ *house, _ uint64, _ int, ev *schemas.Activity) { ev.EventID = "same" }),
	field("the id of an earlier event", func(h *house, _ uint64, _ int, ev *schemas.Activity) { ev.EventID = h.before.EventID }),
	{name: "announced by a harmless event of the same id", as: func(h *house, p uint64, log []sent) []sent {
		first := h.harmless(int(p%7), log[0].arrived)
		first.ev.EventID = "announced"
		for i := range log {
			log[i].ev.EventID = "announced"
		}
		return append([]sent{first}, log...)
	}},

	field("dated back", func(_ *house, p uint64, _ int, ev *schemas.Activity) { ev.Time -= back(p) }),
	field("dated back by seconds", func(_ *house, p uint64, _ int, ev *schemas.Activity) { ev.Time -= schemas.Millis(p % 60_000) }),
	field("dated back, each by more", func(_ *house, p uint64, i int, ev *schemas.Activity) { ev.Time -= schemas.Millis(i+1) * back(p%12) }),
	field("dated back, each by less", func(_ *house, p uint64, i int, ev *schemas.Activity) {
		ev.Time -= schemas.Millis(400-i%400) * back(p%12)
	}),
	field("dated 1970", func(_ *house, _ uint64, _ int, ev *schemas.Activity) { ev.Time = 0 }),
	field("dated before 1970", func(_ *house, p uint64, _ int, ev *schemas.Activity) { ev.Time = -ahead(p) }),
	field("dated ahead", func(_ *house, p uint64, _ int, ev *schemas.Activity) { ev.Time += ahead(p) }),
	field("dated ahead, each by more", func(_ *house, p uint64, i int, ev *schemas.Activity) { ev.Time += schemas.Millis(i) * ahead(p%22) }),
	field("dated 9999", func(_ *house, _ uint64, _ int, ev *schemas.Activity) { ev.Time = 253_402_300_799_999 }),
	field("dated ahead and back in turn", func(_ *house, p uint64, i int, ev *schemas.Activity) {
		if ev.Time += ahead(p); i%2 == 1 {
			ev.Time -= ahead(p) + back(p)
		}
	}),

	field("a session for each call", func(_ *house, _ uint64, i int, ev *schemas.Activity) { ev.SessionID = "s-" + strconv.Itoa(i) }),
	field("a new session", func(_ *house, p uint64, _ int, ev *schemas.Activity) { ev.SessionID = "n-" + strconv.FormatUint(p, 10) }),
	field("no session", func(_ *house, _ uint64, _ int, ev *schemas.Activity) { ev.SessionID = "" }),
	field("an old session", func(h *house, p uint64, _ int, ev *schemas.Activity) {
		ev.SessionID = fmt.Sprintf("%s-%d", h.agent.id, p%uint64(h.agent.session))
	}),

	field("failed", func(_ *house, _ uint64, _ int, ev *schemas.Activity) { ev.Outcome = schemas.OutcomeFailure }),
	field("denied", func(_ *house, _ uint64, _ int, ev *schemas.Activity) { ev.Outcome = schemas.OutcomeDenied }),
	field("an outcome that nobody knows", func(_ *house, _ uint64, _ int, ev *schemas.Activity) { ev.Outcome = "partly" }),
	field("no outcome", func(_ *house, _ uint64, _ int, ev *schemas.Activity) { ev.Outcome = "" }),

	field("another peer group", func(_ *house, p uint64, _ int, ev *schemas.Activity) {
		ev.PeerGroup = string(archetypes[p%uint64(len(archetypes))])
	}),
	field("a new peer group", func(_ *house, p uint64, _ int, ev *schemas.Activity) {
		ev.PeerGroup = "g-" + strconv.FormatUint(p, 10)
	}),
	field("no peer group", func(_ *house, _ uint64, _ int, ev *schemas.Activity) { ev.PeerGroup = "" }),
	field("a peer group for each call", func(_ *house, _ uint64, i int, ev *schemas.Activity) { ev.PeerGroup = "g-" + strconv.Itoa(i) }),

	field("another name and version", func(_ *house, p uint64, _ int, ev *schemas.Activity) {
		ev.AgentName, ev.AgentVersion = "Somebody", strconv.FormatUint(p, 10)
	}),
	field("on behalf of somebody", func(_ *house, p uint64, _ int, ev *schemas.Activity) {
		ev.OnBehalfOf = fmt.Sprintf("user-%d@example.org", p)
	}),
	field("another model", func(_ *house, p uint64, _ int, ev *schemas.Activity) { ev.Model = "m-" + strconv.FormatUint(p, 10) }),
	field("another credential", func(_ *house, p uint64, _ int, ev *schemas.Activity) {
		ev.CredentialID, ev.CredentialType, ev.CredentialExpires = "k-"+strconv.FormatUint(p, 10), "static_key", ev.Time+1
	}),
	field("another address", func(_ *house, p uint64, _ int, ev *schemas.Activity) {
		ev.SourceIP = fmt.Sprintf("10.0.%d.%d", p>>8%256, p%256)
	}),
	field("an action of its own", func(_ *house, p uint64, _ int, ev *schemas.Activity) { ev.Action = "act-" + strconv.FormatUint(p, 10) }),
	field("a duration", func(_ *house, p uint64, i int, ev *schemas.Activity) { ev.DurationMS = p * uint64(i+1) }),
	field("tokens", func(_ *house, p uint64, i int, ev *schemas.Activity) { ev.TokensIn, ev.TokensOut = p, p*uint64(i+1) }),
	field("invalid fields", func(_ *house, p uint64, _ int, ev *schemas.Activity) {
		ev.Flags.FieldsInvalid = []string{"duration_ms", "f-" + strconv.FormatUint(p, 10)}
	}),
	field("every flag", func(_ *house, p uint64, _ int, ev *schemas.Activity) {
		ev.Flags = schemas.Flags{TimeClamped: true, Old: true, UTF8Replaced: true, AttributesCut: 300, StringsCut: int(p % 9)}
	}),

	field("an attribute", func(_ *house, p uint64, i int, ev *schemas.Activity) {
		ev.Attributes = append(ev.Attributes, schemas.Attribute{Key: "note", Value: strconv.FormatUint(p+uint64(i), 36)})
	}),
	field("256 attributes", func(h *house, p uint64, _ int, ev *schemas.Activity) {
		for i := range schemas.MaxAttributes {
			ev.Attributes = append(ev.Attributes, schemas.Attribute{Key: fmt.Sprintf("k%d", i), Value: h.known[6:] + strconv.FormatUint(p, 10)})
		}
	}),
	field("a known place as an attribute", func(h *house, _ uint64, _ int, ev *schemas.Activity) {
		ev.Attributes = append(ev.Attributes, schemas.Attribute{Key: "to", Value: h.known[6:]})
	}),

	field("harmless resources before", func(h *house, p uint64, _ int, ev *schemas.Activity) {
		ev.Resources = append(slices.Clone(h.agent.sources[:1+p%5]), ev.Resources...)
	}),
	field("harmless resources behind", func(h *house, p uint64, _ int, ev *schemas.Activity) {
		ev.Resources = append(ev.Resources, h.agent.sources[:1+p%5]...)
	}),
	field("known places before", func(h *house, _ uint64, _ int, ev *schemas.Activity) {
		ev.Resources = append(slices.Clone(h.agent.dests), ev.Resources...)
	}),
	field("the same resource 200 times", func(_ *house, _ uint64, _ int, ev *schemas.Activity) {
		for range 199 {
			ev.Resources = append(ev.Resources, ev.Resources[0])
		}
	}),

	spelled("capitals", func(_ *house, kind, id string) string { return kind + ":" + strings.ToUpper(id) }),
	spelled("a dot at the end", func(_ *house, kind, id string) string {
		if kind == "url" {
			return kind + ":" + strings.Replace(id, ".example", ".example.", 1)
		}
		return kind + ":" + id + "."
	}),
	spelled("with a name", func(h *house, kind, id string) string { return kind + ":\"" + place(h, kind) + "\" <" + id + ">" }),
	spelled("behind a known address", func(h *house, kind, id string) string { return kind + ":" + place(h, kind) + ", " + id }),
	spelled("before a known address", func(h *house, kind, id string) string { return kind + ":" + id + "," + place(h, kind) }),
	spelled("with a known address and a semicolon", func(h *house, kind, id string) string { return kind + ":" + place(h, kind) + ";" + id }),
	spelled("with a known address and a blank", func(h *house, kind, id string) string { return kind + ":" + place(h, kind) + " " + id }),
	spelled("with a known address and a line's end", func(h *house, kind, id string) string { return kind + ":" + place(h, kind) + "\n" + id }),
	spelled("as mailto", func(_ *house, kind, id string) string { return kind + ":mailto:" + id }),
	spelled("with userinfo", func(_ *house, kind, id string) string {
		return kind + ":" + strings.Replace(id, "://", "://example.org@", 1)
	}),
	spelled("with a port", func(_ *house, kind, id string) string {
		return kind + ":" + strings.Replace(id, ".example/", ".example:8443/", 1)
	}),
	spelled("with a backslash", func(_ *house, kind, id string) string {
		return kind + ":" + strings.Replace(id, ".example/", `.example\@example.org/`, 1)
	}),
	spelled("escaped", func(_ *house, kind, id string) string { return kind + ":" + strings.Replace(id, "evil", "%65vil", 1) }),

	{name: "chaff before", as: func(h *house, p uint64, log []sent) []sent {
		var all []sent
		for i := range 1 + int(p%20) {
			all = append(all, h.harmless(i, log[0].arrived))
		}
		return append(all, log...)
	}},
	{name: "chaff between", as: func(h *house, p uint64, log []sent) []sent {
		var all []sent
		for i := range log {
			for k := range 1 + int(p%3) {
				all = append(all, h.harmless(5*i+k, log[i].arrived))
			}
			all = append(all, log[i])
		}
		return all
	}},
	{name: "chaff that names new files before", as: func(h *house, p uint64, log []sent) []sent {
		var all []sent
		for i := range 1 + int(p%20) {
			e := h.harmless(i, log[0].arrived)
			e.ev.Resources = []string{fmt.Sprintf("file:chaff-%d-%d", p, i)}
			all = append(all, e)
		}
		return append(all, log...)
	}},
}

// params are what the numbers of single disguises are in the table.
var params = []uint64{0, 5, 9, 24, 77, 40_000}

func clones(log []sent) []sent {
	out := slices.Clone(log)
	for i := range out {
		out[i].ev.Resources = slices.Clone(out[i].ev.Resources)
	}
	return out
}

func TestNoFieldThatAProducerChoosesHidesAnAttack(t *testing.T) {
	h := newHouse(t, seeded.Rand(t).Uint64())
	for number, attack := range attacks {
		t.Run(attack.name, func(t *testing.T) {
			log, control := h.attack(t, number)
			for _, m := range disguises {
				worst, with := control, uint64(0)
				var last []sent
				for _, p := range params {
					disguised := m.as(h, p, clones(log))
					if reflect.DeepEqual(disguised, last) {
						continue // it makes nothing of the number
					}
					last = clones(disguised)
					if got := h.run(t, disguised); got < worst {
						worst, with = got, p
					}
				}
				if worst < control {
					t.Logf("%s (%d): %.1f instead of %.1f", m.name, with, worst, control)
				}
				require.GreaterOrEqual(t, worst, control-disguiseLoses, "%s (%d)", m.name, with)
				require.Greater(t, worst, 50.0, "%s (%d)", m.name, with)
			}
		})
	}
}

// FuzzHostileFields disguises an attack in up to four ways at once: a byte says which
// attack, three more each disguise and its number.
func FuzzHostileFields(f *testing.F) {
	h := newHouse(f, seeded.Rand(f).Uint64())
	var plain [][]sent
	var controls []float64
	for number := range attacks {
		log, control := h.attack(f, number)
		plain, controls = append(plain, log), append(controls, control)
	}
	named := func(name string) byte {
		return byte(slices.IndexFunc(disguises, func(m disguise) bool { return m.name == name }))
	}
	for number := range attacks {
		n := byte(number)
		f.Add([]byte{n})
		f.Add([]byte{n, named("dated back"), 7, 0, named("one event id for all"), 0, 0, named("failed"), 0, 0})
		f.Add([]byte{n, named("a session for each call"), 0, 0, named("a new peer group"), 3, 0, named("chaff before"), 19, 0, named("dated 9999"), 0, 0})
		f.Add([]byte{n, named("behind a known address"), 0, 0, named("capitals"), 0, 0, named("denied"), 0, 0, named("dated 1970"), 0, 0})
		f.Add([]byte{n, named("chaff between"), 2, 0, named("announced by a harmless event of the same id"), 1, 0, named("dated ahead and back in turn"), 11, 0})
		f.Add([]byte{n, named("with a backslash"), 0, 0, named("harmless resources before"), 4, 0, named("no session"), 0, 0, named("every flag"), 5, 0})
	}
	f.Fuzz(func(t *testing.T, choice []byte) {
		if len(choice) == 0 {
			return
		}
		number := int(choice[0]) % len(attacks)
		log := clones(plain[number])
		var names []string
		for c := choice[1:]; len(c) >= 3 && len(names) < 4; c = c[3:] {
			m := disguises[int(c[0])%len(disguises)]
			p := uint64(binary.LittleEndian.Uint16(c[1:]))
			log = m.as(h, p, log)
			names = append(names, fmt.Sprintf("%s (%d)", m.name, p))
		}
		got := h.run(t, log)
		require.GreaterOrEqual(t, got, controls[number]-severalLose, "%s: %s", attacks[number].name, strings.Join(names, ", "))
		require.Greater(t, got, 50.0, "%s: %s", attacks[number].name, strings.Join(names, ", "))
	})
}

// Whoever can write events can invent agents, groups and tenants: a name that nobody knows
// has to earn its trust, also where it says that it has been there for long.
func TestAnInventedAgentIsNoWayAroundTheDetector(t *testing.T) {
	h := newHouse(t, seeded.Rand(t).Uint64())
	for _, who := range []struct{ name, tenant, group string }{
		{"in a known group", schemas.DefaultTenant, h.agent.group},
		{"in a group of its own", schemas.DefaultTenant, "g-own"},
		{"in no group", schemas.DefaultTenant, ""},
		{"in a tenant of its own", "t-own", "g-own"},
	} {
		for _, dated := range []struct {
			name  string
			first schemas.Millis // how far back its first event is dated
		}{
			{"honestly dated", 0},
			{"first dated an hour back", hourMS},
			{"first dated a day back", dayMS},
			{"first dated a month back", 30 * dayMS},
			{"first dated ninety days back", 90 * dayMS},
			{"first dated a year back", 365 * dayMS},
			{"first dated 1970", h.at},
			{"first dated 2040", -16 * 365 * dayMS},
		} {
			t.Run(who.name+", "+dated.name, func(t *testing.T) {
				var log []sent
				for i := range 20 {
					e := h.event(30*i, "http.post", schemas.AccessSend, "url:https://paste.evil.example/u", 50<<20)
					e.ev.TenantID, e.ev.PeerGroup, e.ev.AgentID = who.tenant, who.group, "helper"
					log = append(log, e)
				}
				log[0].ev.Time -= dated.first
				require.Greater(t, h.run(t, log), 50.0)
			})
		}
	}
}
