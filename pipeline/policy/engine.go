package policy

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sort"
	"strings"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// What an Engine remembers is bounded by these: two generations of each.
const (
	maxDecisions  = 1 << 15
	maxKey        = 1 << 10 // bytes of a decision's key; a longer one is decided anew
	maxPlans      = 1 << 13
	maxCandidates = 1 << 19 // of all plans together
	maxPrincipals = 1 << 16
	maxGrantSets  = 1 << 12
	maxTests      = 16 // of a plan that are made; with more the value counts
)

var _ detector.Decider = (*Engine)(nil)

// Engine decides with a Set and remembers what it decided. It is not safe for concurrent
// use: each detector has its own.
type Engine struct {
	set        *Set
	principals generations[*schemas.Registration, *principal]
	grants     generations[string, *grants]
	plans      generations[planKey, *plan]
	decisions  generations[string, *outcome]
	small      generations[smallKey, *outcome]
	candidates int
	lastPlan   uint32

	facts facts
	sites *sites
	key   []byte
	who   [3]uint32
	uses  map[*schemas.Policy]int64 // nil: nobody counts

	evaluations int64 // what was decided anew
}

// NewEngine returns an engine that decides with set.
func NewEngine(set *Set) *Engine {
	return &Engine{
		set: set, sites: newSites(),
		principals: newGenerations[*schemas.Registration, *principal](maxPrincipals),
		grants:     newGenerations[string, *grants](maxGrantSets),
		plans:      newGenerations[planKey, *plan](maxPlans),
		decisions:  newGenerations[string, *outcome](maxDecisions),
		small:      newGenerations[smallKey, *outcome](maxDecisions),
	}
}

// outcome is what was decided.
type outcome struct {
	schemas.PolicyVerdict
	matched []*schemas.Policy // all that apply, also where others decided
	reads   fields            // of those that decided, or where none did of all that were asked
}

// plan is the policies that have to be asked.
type plan struct {
	number          uint32
	forbids         []*compiled
	permits         []*compiled
	grants          *grants
	whole, compared fields
	tests           []test
	timed           bool     // the hour or the weekday is read
	only            *outcome // where nothing is read
	packed          bool     // all that is read fits into smallKey
}

// smallKey is the key of a decision that depends on few bits: numbers of literals, and
// what is true or false.
type smallKey struct {
	plan uint32
	bits uint64
}

// planKey is all on which the index depends. Literals are numbered; 0 is any other text.
type planKey struct {
	tenant, group, agent uint32
	resource             uint32
	kind, site, tool     uint32
	action               action
	toAgent              bool
	grants               *grants
}

// Decide appends what the policies say of an event: a decision for each resource, one for
// another agent that it names, and one with schemas.NoResource where it has neither. A
// resource with several addresses is decided on at each: who is denied one is denied it.
//
// reg is what is registered of the agent, nil where nothing is, and risk the severity of
// its open episode, "" where there is none.
func (e *Engine) Decide(dst []schemas.PolicyDecision, ev *schemas.Activity, reg *schemas.Registration, risk string) []schemas.PolicyDecision {
	p := e.principal(reg)
	e.facts.event(ev, p, risk)
	e.whoActs(p)
	before := len(dst)
	for _, r := range ev.Resources {
		kind, id := baseline.SplitResource(r)
		e.facts.resource(ev, kind, id)
		dst = append(dst, e.decision(e.everySite(p, kind, id), resourceName(kind, id, r)))
	}
	if ev.TargetAgentID != "" {
		e.facts.other()
		dst = append(dst, e.decision(e.outcome(p), ""))
	}
	if len(dst) == before {
		e.facts.none(ev)
		dst = append(dst, e.decision(e.outcome(p), schemas.NoResource))
	}
	return dst
}

// resourceName is "kind:id", which mostly is how the event has it.
func resourceName(kind, id, r string) string {
	if len(r) == len(kind)+1+len(id) && r[:len(kind)] == kind {
		return r
	}
	return kind + ":" + id
}

func (e *Engine) decision(o *outcome, resource string) schemas.PolicyDecision {
	if resource == "" {
		resource = "agent:" + e.facts.target
	}
	return schemas.PolicyDecision{Resource: resource, PolicyVerdict: &o.PolicyVerdict}
}

// everySite decides on a resource at each of its sites; the worst counts.
func (e *Engine) everySite(p *principal, kind, id string) *outcome {
	if !e.set.index.reads.has(ofSite) && p.grants == nil {
		e.facts.text[ofSite] = ""
		return e.outcome(p)
	}
	var worst *outcome
	for _, site := range e.sites.of(kind, id) {
		e.facts.text[ofSite] = site
		if o := e.outcome(p); worst == nil || o.severity() > worst.severity() {
			worst = o
		}
	}
	return worst
}

func (o *outcome) severity() int {
	switch {
	case o.Denied:
		return 2
	case o.Observed:
		return 1
	}
	return 0
}

// principal returns what reg says.
func (e *Engine) principal(reg *schemas.Registration) *principal {
	if reg == nil {
		return unregistered
	}
	if p, ok := e.principals.get(reg); ok {
		return p
	}
	p := newPrincipal(reg)
	if key := grantKey(reg); key != "" {
		g, ok := e.grants.get(key)
		if !ok {
			g = newGrants(reg, key)
			e.grants.put(key, g)
		}
		p.grants = g
	}
	e.principals.put(reg, p)
	return p
}

// whoActs numbers the principal as the policies name it.
func (e *Engine) whoActs(p *principal) {
	x, f := &e.set.index, &e.facts
	if p.known && p.tenant == f.tenant && p.agent == f.agent && p.inGroup == f.group {
		e.who = p.who
		return
	}
	e.who = [3]uint32{}
	if len(x.principal[0].of) > 0 {
		e.who[0] = x.principal[0].of[f.tenant]
	}
	if len(x.principal[1].of) > 0 {
		e.key = append(append(append(e.key[:0], f.tenant...), '/'), f.group...)
		e.who[1] = x.principal[1].of[string(e.key)]
	}
	if len(x.principal[2].of) > 0 {
		e.key = append(append(append(e.key[:0], f.tenant...), '/'), f.agent...)
		e.who[2] = x.principal[2].of[string(e.key)]
	}
	if p.registered && !p.known { // once: who goes from group to group is looked up
		p.tenant, p.agent, p.inGroup = strings.Clone(f.tenant), strings.Clone(f.agent), strings.Clone(f.group)
		p.known, p.who = true, e.who
	}
}

// outcome decides on the facts at hand.
func (e *Engine) outcome(p *principal) *outcome {
	pl := e.plan(p)
	if pl.only != nil {
		e.count(pl.only)
		return pl.only
	}
	if pl.timed {
		e.facts.clock(p.zone)
	}
	o, ok := (*outcome)(nil), false
	if pl.packed {
		k := smallKey{pl.number, e.pack(pl)}
		if o, ok = e.small.get(k); !ok {
			o = e.evaluate(pl)
			e.small.put(k, o)
		}
		e.count(o)
		return o
	}
	e.key = e.appendKey(e.key[:0], pl)
	if o, ok = e.decisions.young[string(e.key)]; !ok {
		if o, ok = e.decisions.old[string(e.key)]; !ok {
			o = e.evaluate(pl)
		}
		if len(e.key) <= maxKey {
			e.decisions.put(string(e.key), o)
		}
	}
	e.count(o)
	return o
}

// Hash is the fingerprint of the policies.
func (e *Engine) Hash() string { return e.set.hash }

// Seen returns what the policies that decided on a resource asked for, and what they were
// told, by the names that policies use.
func (e *Engine) Seen(ev *schemas.Activity, reg *schemas.Registration, risk, resource string) []schemas.Attribute {
	p := e.principal(reg)
	e.facts.event(ev, p, risk)
	e.whoActs(p)
	for _, r := range ev.Resources {
		kind, id := baseline.SplitResource(r)
		if kind+":"+id != resource {
			continue
		}
		e.facts.resource(ev, kind, id)
		worst := (*outcome)(nil)
		at := ""
		for _, site := range e.sites.of(kind, id) {
			e.facts.text[ofSite] = site
			if o := e.outcome(p); worst == nil || o.severity() > worst.severity() {
				worst, at = o, site
			}
		}
		e.facts.text[ofSite] = at
		return e.facts.seen(worst.reads, p)
	}
	switch {
	case ev.TargetAgentID != "" && resource == "agent:"+ev.TargetAgentID:
		e.facts.other()
	case resource == schemas.NoResource:
		e.facts.none(ev)
	default:
		return nil
	}
	return e.facts.seen(e.outcome(p).reads, p)
}

// CountUses begins to count the decisions that policies apply to, also those that others
// decided.
func (e *Engine) CountUses() { e.uses = map[*schemas.Policy]int64{} }

// Uses returns how many decisions a policy of the set applied to.
func (e *Engine) Uses(p *schemas.Policy) int64 { return e.uses[p] }

func (e *Engine) count(o *outcome) {
	if e.uses == nil {
		return
	}
	for _, p := range o.matched {
		e.uses[p]++
	}
}

// plan returns the policies to ask.
func (e *Engine) plan(p *principal) *plan {
	x, f := &e.set.index, &e.facts
	k := planKey{tenant: e.who[0], group: e.who[1], agent: e.who[2], action: f.action, toAgent: f.isAgent, grants: p.grants}
	k.kind, k.site, k.tool = x.texts[ofKind].find(f.text[ofKind]), x.texts[ofSite].find(f.text[ofSite]), x.texts[ofTool].find(f.text[ofTool])
	if x.resources.has(f.uidLen()) {
		k.resource = x.resources.of[string(e.appendUID(e.key[:0]))]
	}
	if pl, ok := e.plans.get(k); ok {
		return pl
	}
	return e.newPlan(k)
}

// appendUID appends the resource's id as index.resources has it.
func (e *Engine) appendUID(b []byte) []byte {
	f := &e.facts
	switch {
	case f.isAgent:
		b = append(append(append(append(b, 0), f.tenant...), '/'), f.target...)
	case f.text[ofUID] != "":
		b = append(b, f.text[ofUID]...)
	default:
		b = append(append(append(b, f.text[ofKind]...), ':'), f.text[ofID]...)
	}
	e.key = b
	return b
}

func (e *Engine) newPlan(k planKey) *plan {
	x, f := &e.set.index, &e.facts
	var found []posting
	add := func(list []posting) {
		for i := range list {
			if list[i].takes(&k) {
				found = append(found, list[i])
			}
		}
	}
	add(x.any)
	if k.tenant > 0 {
		add(x.tenants[f.tenant])
	}
	if k.group > 0 {
		add(x.groups[f.tenant+"/"+f.group])
	}
	if k.agent > 0 {
		add(x.agents[f.tenant+"/"+f.agent])
	}
	sort.Slice(found, func(i, j int) bool { return found[i].order < found[j].order })
	e.lastPlan++
	pl := &plan{number: e.lastPlan, grants: k.grants}
	for i := range found {
		pl.add(found[i].policy)
	}
	if k.grants != nil {
		for _, c := range k.grants.policies {
			pl.add(c)
		}
		pl.whole |= k.grants.reads.whole
		pl.compared |= k.grants.reads.compared
	}
	if len(pl.tests) > maxTests {
		for _, l := range pl.tests {
			pl.whole.add(l.field)
		}
	}
	pl.tests = slices.DeleteFunc(pl.tests, func(l test) bool { return pl.whole.has(l.field) })
	pl.compared &^= pl.whole | 1<<ofKind | 1<<ofSite | 1<<ofTool // of these the plan is
	all := pl.whole | pl.compared
	for _, l := range pl.tests {
		all.add(l.field)
	}
	pl.timed = all.has(ofHour) || all.has(ofWeekday)
	pl.packed = x.width(pl) <= 64
	if all == 0 {
		pl.only = e.evaluate(pl)
	}
	if e.candidates += len(found); e.candidates > maxCandidates {
		e.plans, e.candidates = newGenerations[planKey, *plan](maxPlans), len(found)
	}
	e.plans.put(k, pl)
	return pl
}

func (pl *plan) add(c *compiled) {
	if c.Forbids {
		pl.forbids = append(pl.forbids, c)
	} else {
		pl.permits = append(pl.permits, c)
	}
	pl.whole |= c.reads.whole
	pl.compared |= c.reads.compared
	for _, l := range c.reads.tests {
		if !slices.ContainsFunc(pl.tests, func(o test) bool { return o.equal(&l) }) {
			pl.tests = append(pl.tests, l)
		}
	}
}

// takes reports whether a policy has to be asked.
func (p *posting) takes(k *planKey) bool {
	if p.actions&(1<<k.action) == 0 || k.toAgent && !p.toAgent || !k.toAgent && !p.toResource {
		return false
	}
	if p.resource != 0 && p.resource != k.resource {
		return false
	}
	return among(p.kinds, k.kind) && among(p.sites, k.site) && among(p.tools, k.tool)
}

func among(list []uint32, n uint32) bool {
	if list == nil {
		return true
	}
	_, ok := slices.BinarySearch(list, n)
	return ok
}

// appendKey appends what the candidates of a plan depend on.
func (e *Engine) appendKey(b []byte, pl *plan) []byte {
	f, x := &e.facts, &e.set.index
	b = binary.LittleEndian.AppendUint32(b, pl.number)
	for rest := pl.whole; rest != 0; {
		of := rest.next()
		switch {
		case of == ofWho:
			b = appendText(appendText(appendText(b, f.tenant), f.agent), f.group)
		case of == ofUID:
			b = appendText(appendText(b, f.text[ofUID]), f.text[ofKind])
			b = appendText(b, f.text[ofID])
		case of == ofRegistered:
			b = appendBool(b, f.registered)
		case of == ofLeaves:
			b = appendBool(b, f.leaves)
		case of.number():
			b = binary.LittleEndian.AppendUint64(b, uint64(f.number[of]))
		default:
			b = appendText(b, f.text[of])
		}
	}
	for rest := pl.compared; rest != 0; {
		of := rest.next()
		if of.number() {
			at, equal := slices.BinarySearch(x.numbers[of], f.number[of])
			b = appendBool(binary.LittleEndian.AppendUint32(b, uint32(at)), equal)
			continue
		}
		b = binary.LittleEndian.AppendUint32(b, x.texts[of].find(f.text[of]))
	}
	if len(pl.tests) > 0 {
		matches := uint16(0)
		for i := range pl.tests {
			if pl.tests[i].holds(f) {
				matches |= 1 << i
			}
		}
		b = binary.LittleEndian.AppendUint16(b, matches)
	}
	return b
}

// width is how many bits a plan depends on; over 64 where it depends on texts and numbers.
func (x *index) width(pl *plan) int {
	if pl.whole&^(1<<ofRegistered|1<<ofLeaves) != 0 {
		return 65
	}
	n := 2 + len(pl.tests)
	for rest := pl.compared; rest != 0; {
		n += x.widthOf(rest.next())
	}
	return n
}

func (x *index) widthOf(f field) int {
	if f.number() {
		return bits.Len(uint(len(x.numbers[f]))) + 1
	}
	return bits.Len(uint(len(x.texts[f].of)))
}

// pack is what appendKey appends, in bits.
func (e *Engine) pack(pl *plan) (k uint64) {
	f, x := &e.facts, &e.set.index
	if pl.whole.has(ofRegistered) && f.registered {
		k = 1
	}
	if k <<= 1; pl.whole.has(ofLeaves) && f.leaves {
		k |= 1
	}
	for rest := pl.compared; rest != 0; {
		of := rest.next()
		k <<= x.widthOf(of)
		if of.number() {
			at, equal := slices.BinarySearch(x.numbers[of], f.number[of])
			if k |= uint64(at) << 1; equal {
				k |= 1
			}
			continue
		}
		k |= uint64(x.texts[of].find(f.text[of]))
	}
	for i := range pl.tests {
		k <<= 1
		if pl.tests[i].holds(f) {
			k |= 1
		}
	}
	return k
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

// generations is a map of at most twice n entries: those that were not asked for since n
// others came are forgotten.
type generations[K comparable, V any] struct {
	young, old map[K]V
	n          int
}

func newGenerations[K comparable, V any](n int) generations[K, V] {
	return generations[K, V]{young: map[K]V{}, n: n}
}

func (g *generations[K, V]) get(k K) (V, bool) {
	v, ok := g.young[k]
	if !ok {
		if v, ok = g.old[k]; ok {
			g.put(k, v)
		}
	}
	return v, ok
}

func (g *generations[K, V]) put(k K, v V) {
	if len(g.young) >= g.n {
		g.old, g.young = g.young, make(map[K]V, g.n/4)
	}
	g.young[k] = v
}
