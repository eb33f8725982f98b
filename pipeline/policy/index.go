package policy

import (
	"slices"

	"github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// The index finds the policies whose scope an event is in, and of which the first
// conditions, where they name kinds, sites or tools, can hold. Principal and action are
// then decided, and what is left to evaluate is without them.

const (
	typeAgent    types.EntityType = "Plumbline::Agent"
	typeGroup    types.EntityType = "Plumbline::PeerGroup"
	typeTenant   types.EntityType = "Plumbline::Tenant"
	typeLabels   types.EntityType = "Plumbline::Labels"
	typeResource types.EntityType = "Plumbline::Resource"
	typeAction   types.EntityType = "Plumbline::Action"
)

// action numbers the actions.
type action uint8

const (
	actRead action = iota
	actWrite
	actDelete
	actSend
	actExecute
	actMessage
	actDelegate
	actModelCall
	actAuth
	actOther

	actionCount
)

var actionNames = [actionCount]string{"read", "write", "delete", "send", "execute", "message", "delegate", "model_call", "auth", "other"}

var actionUIDs = func() (out [actionCount]types.EntityUID) {
	for i, name := range actionNames {
		out[i] = types.NewEntityUID(typeAction, types.String(name))
	}
	return out
}()

// actionSet is a set of actions.
type actionSet uint16

func actionsOf(scope ast.IsActionScopeNode) (set actionSet) {
	add := func(uid types.EntityUID) {
		if i := slices.Index(actionUIDs[:], uid); i >= 0 {
			set |= 1 << i
		}
	}
	switch s := scope.(type) {
	case ast.ScopeTypeAll:
		return 1<<actionCount - 1
	case ast.ScopeTypeEq:
		add(s.Entity)
	case ast.ScopeTypeIn:
		add(s.Entity)
	case ast.ScopeTypeInSet:
		for _, e := range s.Entities {
			add(e)
		}
	}
	return set
}

// names numbers texts from 1; 0 is any other.
type names struct {
	of      map[string]uint32
	lengths uint64 // which there are, modulo 64: most texts that no policy names end there
}

// has reports whether a text of that length could be one.
func (n *names) has(length int) bool { return n.lengths>>(length&63)&1 != 0 }

func (n *names) find(s string) uint32 {
	if !n.has(len(s)) {
		return 0
	}
	return n.of[s]
}

func (n *names) number(s string) uint32 {
	if n.of == nil {
		n.of = map[string]uint32{}
	}
	i, ok := n.of[s]
	if !ok {
		i = uint32(len(n.of)) + 1
		n.of[s] = i
		n.lengths |= 1 << (len(s) & 63)
	}
	return i
}

// posting is a policy in the index.
type posting struct {
	policy              *compiled
	order               int
	actions             actionSet
	resource            uint32 // a number of index.resources; 0: any
	toAgent, toResource bool
	kinds, sites, tools []uint32 // sorted; nil: any
}

// index is the policies by principal, and the texts and numbers that they name.
type index struct {
	any       []posting
	tenants   map[string][]posting
	groups    map[string][]posting // by "tenant/group"
	agents    map[string][]posting // by "tenant/agent"
	principal [3]names             // tenants, groups and agents that policies name
	resources names                // by uid, as resourceKey writes it
	texts     [fieldCount]names
	numbers   [fieldCount][]int64
	reads     fields // of any policy
}

func newIndex(policies []*compiled) index {
	x := index{tenants: map[string][]posting{}, groups: map[string][]posting{}, agents: map[string][]posting{}}
	for i, c := range policies {
		x.add(i, c)
	}
	for f := range x.numbers {
		slices.Sort(x.numbers[f])
		x.numbers[f] = slices.Compact(x.numbers[f])
	}
	return x
}

func (x *index) add(order int, c *compiled) {
	for f, list := range c.reads.texts {
		for _, s := range list {
			x.texts[f].number(s)
		}
	}
	for f, list := range c.reads.numbers {
		x.numbers[f] = append(x.numbers[f], list...)
	}
	x.reads |= c.reads.all()
	tree := (*ast.Policy)(c.text.AST())
	p := posting{
		policy: c, order: order, actions: actionsOf(tree.Action),
		kinds: x.list(ofKind, c.within.kinds), sites: x.list(ofSite, c.within.sites), tools: x.list(ofTool, c.within.tools),
	}
	p.resource, p.toResource, p.toAgent = x.scope(tree.Resource)
	of, isAll := types.EntityUID{}, false
	switch s := tree.Principal.(type) {
	case ast.ScopeTypeAll, ast.ScopeTypeIs: // an Agent, says the schema
		isAll = true
	case ast.ScopeTypeEq:
		of = s.Entity
	case ast.ScopeTypeIn:
		of = s.Entity
	case ast.ScopeTypeIsIn:
		of = s.Entity
	}
	id := string(of.ID)
	switch {
	case isAll:
		x.any = append(x.any, p)
	case of.Type == typeTenant:
		x.principal[0].number(id)
		x.tenants[id] = append(x.tenants[id], p)
	case of.Type == typeGroup:
		x.principal[1].number(id)
		x.groups[id] = append(x.groups[id], p)
	case of.Type == typeAgent:
		x.principal[2].number(id)
		x.agents[id] = append(x.agents[id], p)
	}
}

func (x *index) list(f field, values []string) []uint32 {
	if values == nil {
		return nil
	}
	out := make([]uint32, 0, len(values))
	for _, s := range values {
		out = append(out, x.texts[f].number(s))
	}
	slices.Sort(out)
	return out
}

// scope says to which resources a policy applies.
func (x *index) scope(scope ast.IsResourceScopeNode) (number uint32, toResource, toAgent bool) {
	of := types.EntityUID{}
	switch s := scope.(type) {
	case ast.ScopeTypeAll:
		return 0, true, true
	case ast.ScopeTypeIs:
		return 0, s.Type == typeResource, s.Type == typeAgent
	case ast.ScopeTypeEq:
		of = s.Entity
	case ast.ScopeTypeIn:
		of = s.Entity
	case ast.ScopeTypeIsIn:
		of = s.Entity
	}
	switch of.Type {
	case typeResource:
		return x.resources.number(string(of.ID)), true, false
	case typeAgent:
		return x.resources.number(agentKey(string(of.ID))), false, true
	}
	return 0, false, true // a tenant or a group, which agents are in
}

// agentKey tells an agent from a resource in index.resources.
func agentKey(id string) string { return "\x00" + id }

// rest is what of a policy is left to be decided for a candidate: the index has decided
// about principal and action, and about a resource where it is any or one.
func rest(p *cedar.Policy) *publicast.Policy {
	tree := *(*ast.Policy)(p.AST())
	tree.Annotations = nil
	tree.Principal, tree.Action = ast.ScopeTypeAll{}, ast.ScopeTypeAll{}
	switch s := tree.Resource.(type) {
	case ast.ScopeTypeIs, ast.ScopeTypeEq:
		tree.Resource = ast.ScopeTypeAll{}
	case ast.ScopeTypeIn:
		if s.Entity.Type == typeResource {
			tree.Resource = ast.ScopeTypeAll{}
		}
	}
	return (*publicast.Policy)(&tree)
}

func (r *reads) all() fields {
	all := r.whole | r.compared
	for _, l := range r.tests {
		all.add(l.field)
	}
	return all
}
