package policy

import (
	"iter"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// evaluate asks the library. Each policy is evaluated once: those that permit apart from
// those that forbid, so that all that apply are known, also those that only observe.
func (e *Engine) evaluate(pl *plan) *outcome {
	e.evaluations++
	v := view{facts: &e.facts, reads: pl.whole | pl.compared | pl.reads()}
	o := &outcome{}
	o.Action = actionNames[e.facts.action]
	forbids := e.ask(&v, pl, pl.forbids, o)
	permits := e.ask(&v, pl, pl.permits, o)
	o.matched = make([]*schemas.Policy, 0, len(forbids)+len(permits))
	for _, list := range [][]*compiled{forbids, permits} {
		for _, c := range list {
			o.matched = append(o.matched, &c.Policy)
		}
	}
	inForce := func(list []*compiled) (out []*compiled) {
		for _, c := range list {
			if !c.Observe {
				out = append(out, c)
			}
		}
		return out
	}
	deny := e.set.opt.DefaultDeny
	denied := func(forbids, permits []*compiled) bool { return len(forbids) > 0 || len(permits) == 0 && deny }
	of, op := inForce(forbids), inForce(permits)
	o.Denied = denied(of, op)
	would := denied(forbids, permits)
	decided := op
	switch {
	case o.Denied:
		decided = of
	case would:
		decided = forbids
	}
	o.Observed = would && !o.Denied
	if e.set.opt.Observe {
		o.Observed, o.Denied = would || o.Denied, false
	}
	for _, c := range decided {
		o.Policies = append(o.Policies, &c.Policy)
		o.reads |= c.reads.all()
	}
	if len(decided) == 0 {
		o.reads = v.reads
	}
	return o
}

// reads are the fields that patterns are held against and that the plan is of.
func (pl *plan) reads() (all fields) {
	for _, list := range [][]*compiled{pl.forbids, pl.permits} {
		for _, c := range list {
			all |= c.reads.all()
		}
	}
	return all
}

// list is policies as the library takes them.
type list []*compiled

// All yields them in their order.
func (l list) All() iter.Seq2[cedar.PolicyID, *cedar.Policy] {
	return func(yield func(cedar.PolicyID, *cedar.Policy) bool) {
		for _, c := range l {
			if !yield(cedar.PolicyID(c.ID), c.rest) {
				return
			}
		}
	}
}

// ask returns those that apply, and adds those that failed to o.
func (e *Engine) ask(v *view, pl *plan, policies []*compiled, o *outcome) []*compiled {
	if len(policies) == 0 {
		return nil
	}
	_, said := cedar.Authorize(list(policies), v, v.request())
	for _, err := range said.Errors {
		o.Failed = append(o.Failed, string(err.PolicyID))
	}
	out := make([]*compiled, 0, len(said.Reasons))
	for _, r := range said.Reasons {
		c := e.set.byID[r.PolicyID]
		if c == nil {
			c = pl.grants.byID[r.PolicyID]
		}
		out = append(out, c)
	}
	return out
}

// view is the facts as entities, of which only what is read is there.
type view struct {
	facts                 *facts
	reads                 fields
	principal, resource   types.Entity
	group, tenant, labels types.EntityUID
	made                  *cedar.Request
}

// request makes the entities and the request, once.
func (v *view) request() cedar.Request {
	if v.made != nil {
		return *v.made
	}
	f := v.facts
	who := types.String(f.tenant + "/" + f.agent)
	v.tenant = types.NewEntityUID(typeTenant, types.String(f.tenant))
	v.group = types.NewEntityUID(typeGroup, types.String(f.tenant+"/"+f.group))
	v.labels = types.NewEntityUID(typeLabels, who)
	v.principal = types.Entity{UID: types.NewEntityUID(typeAgent, who), Parents: types.NewEntityUIDSet(v.group, v.tenant)}
	kind := typeResource
	if f.isAgent {
		kind = typeAgent
		v.resource.Parents = types.NewEntityUIDSet(v.tenant)
	}
	v.resource.UID = types.NewEntityUID(kind, types.String(f.uid()))
	toItself := v.resource.UID == v.principal.UID
	if v.reads&principalFields != 0 || toItself {
		m := v.attributes(ofOwner, ofRisk+1)
		if v.reads.has(ofWho) || toItself {
			m["kind"], m["id"], m["site"], m["leaves"] = types.String("agent"), types.String(f.agent), types.String(""), types.True
		}
		v.principal.Attributes = types.NewRecord(m)
	}
	if v.reads&resourceFields != 0 {
		v.resource.Attributes = types.NewRecord(v.attributes(ofKind, ofLeaves+1))
	}
	v.made = &cedar.Request{Principal: v.principal.UID, Action: actionUIDs[f.action], Resource: v.resource.UID}
	if v.reads&contextFields != 0 {
		v.made.Context = types.NewRecord(v.attributes(ofTool, fieldCount))
	}
	return *v.made
}

// attributes are the fields from to before that are read.
func (v *view) attributes(from, before field) types.RecordMap {
	m := types.RecordMap{}
	for f := from; f < before; f++ {
		if !v.reads.has(f) {
			continue
		}
		switch name := types.String(fieldNames[f]); {
		case f == ofRegistered:
			m[name] = types.Boolean(v.facts.registered)
		case f == ofLeaves:
			m[name] = types.Boolean(v.facts.leaves)
		case f == ofLabels:
			m[name] = v.labels
		case f.number():
			m[name] = types.Long(v.facts.number[f])
		case f == ofSourceIP:
			if ip, ok := v.facts.address(); ok {
				m[name] = ip
			}
		default:
			m[name] = types.String(v.facts.text[f])
		}
	}
	return m
}

// Get returns an entity.
func (v *view) Get(uid types.EntityUID) (types.Entity, bool) {
	switch uid {
	case v.principal.UID:
		return v.principal, true
	case v.resource.UID:
		return v.resource, true
	case v.group:
		return types.Entity{UID: uid, Parents: types.NewEntityUIDSet(v.tenant)}, true
	case v.labels:
		tags := types.RecordMap{}
		for _, l := range v.facts.labels {
			tags[types.String(l.Key)] = types.String(l.Value)
		}
		return types.Entity{UID: uid, Tags: types.NewRecord(tags)}, true
	}
	return types.Entity{}, false
}

// Library returns what decides on the first resource of an event with the library alone,
// each policy as it was written: what the engine is measured against.
func Library(set *Set) func(*schemas.Activity, *schemas.Registration) bool {
	all := cedar.NewPolicySet()
	for _, c := range set.policies {
		all.Add(cedar.PolicyID(c.ID), c.text)
	}
	e := NewEngine(set)
	return func(ev *schemas.Activity, reg *schemas.Registration) bool {
		p := e.principal(reg)
		e.facts.event(ev, p, "")
		e.facts.clock(p.zone)
		if e.facts.none(ev); len(ev.Resources) > 0 {
			kind, id := baseline.SplitResource(ev.Resources[0])
			e.facts.resource(ev, kind, id)
			e.facts.text[ofSite] = e.sites.of(kind, id)[0]
		}
		v := view{facts: &e.facts, reads: 1<<fieldCount - 1}
		decision, _ := cedar.Authorize(all, &v, v.request())
		return decision == cedar.Allow
	}
}
