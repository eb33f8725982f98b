package policy

import (
	"strings"

	"github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"

	"github.com/plumbline-sec/plumbline/schemas"
)

// The grants of a registration are policies too. A list permits what its patterns match
// and forbids the rest of what it is about: tools the calls of a tool, destinations
// what leaves, agents other agents.

// grantPrefix begins the ids of policies that are grants.
const grantPrefix = "grant:"

// MaxGrants is how many patterns of a list count.
const MaxGrants = 1000

// grants are the policies of one registration's lists.
type grants struct {
	key      string // their content
	policies []*compiled
	byID     map[cedar.PolicyID]*compiled
	reads    reads
}

// grantKey is the content of a registration's grants, "" where it has none.
func grantKey(reg *schemas.Registration) string {
	var b []byte
	for i, list := range [][]string{reg.Tools, reg.Destinations, reg.Agents} {
		if list == nil {
			continue
		}
		b = append(b, byte(i))
		for _, p := range list[:min(len(list), MaxGrants)] {
			b = appendText(b, p)
		}
		b = append(b, 0xff)
	}
	return string(b)
}

// newGrants makes policies of a registration's grants.
func newGrants(reg *schemas.Registration, key string) *grants {
	g := &grants{key: key, byID: map[cedar.PolicyID]*compiled{}}
	tool := publicast.Context().Access("tool")
	resource := publicast.Resource()
	if reg.Tools != nil {
		g.add("tools", tool.NotEqual(publicast.String("")), matches(reg.Tools, tool))
	}
	if reg.Destinations != nil {
		g.add("destinations", resource.Is(typeResource).And(resource.Access("leaves")), destinations(reg.Destinations))
	}
	if reg.Agents != nil {
		g.add("agents", resource.Is(typeAgent), matches(reg.Agents, resource.Access("id")))
	}
	for _, c := range g.policies {
		g.reads.whole |= c.reads.whole
		g.reads.compared |= c.reads.compared
		g.reads.tests = append(g.reads.tests, c.reads.tests...)
		g.byID[cedar.PolicyID(c.ID)] = c
	}
	// The tables of literals are those of the set: here the value itself counts.
	g.reads.whole |= g.reads.compared
	g.reads.compared = 0
	return g
}

// add adds the two policies of a list.
func (g *grants) add(list string, about, granted publicast.Node) {
	for _, p := range []struct {
		id     string
		policy *publicast.Policy
	}{
		{grantPrefix + list, publicast.Permit().When(about.And(granted))},
		{grantPrefix + list + ":others", publicast.Forbid().When(about).Unless(granted)},
	} {
		tree := (*ast.Policy)(p.policy)
		c := &compiled{Policy: schemas.Policy{
			ID: p.id, Severity: schemas.SeverityMedium, Forbids: !bool(tree.Effect), Place: "registration",
			Title: map[bool]string{true: "Not among the " + list + " that are granted", false: "Granted " + list}[!bool(tree.Effect)],
		}}
		c.reads, _ = readsOf(tree)
		c.rest = cedar.NewPolicyFromAST(p.policy)
		c.text = c.rest
		g.policies = append(g.policies, c)
	}
}

// matches is whether one of the patterns matches.
func matches(patterns []string, of publicast.Node) publicast.Node {
	whole, node := []types.Value{}, publicast.False()
	for _, p := range patterns[:min(len(patterns), MaxGrants)] {
		if begin, open := strings.CutSuffix(p, "*"); open {
			node = node.Or(of.Like(types.NewPattern(begin, types.Wildcard{})))
		} else {
			whole = append(whole, types.String(p))
		}
	}
	if len(whole) > 0 {
		node = publicast.Value(types.NewSet(whole...)).Contains(of).Or(node)
	}
	return node
}

// destinations are patterns of sites, or "kind:" and one.
func destinations(patterns []string) publicast.Node {
	site, kind := publicast.Resource().Access("site"), publicast.Resource().Access("kind")
	var anywhere []string
	node := publicast.False()
	for _, p := range patterns[:min(len(patterns), MaxGrants)] {
		k, at, qualified := strings.Cut(p, ":")
		if !qualified {
			anywhere = append(anywhere, p)
			continue
		}
		node = node.Or(kind.Equal(publicast.String(types.String(k))).And(matches([]string{at}, site)))
	}
	if len(anywhere) > 0 {
		node = matches(anywhere, site).Or(node)
	}
	return node
}
