package policy

import (
	"math/bits"
	"slices"

	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// field is one thing that a policy can ask for. What no policy asks for has no part in
// the key of a decision.
type field uint8

const (
	ofWho field = iota // tenant, agent and group: who the principal is and what it is in
	ofOwner
	ofCriticality
	ofEnvironment
	ofStatus
	ofVendor
	ofRegistered
	ofLabels
	ofRisk

	ofUID // of the resource
	ofKind
	ofID
	ofSite
	ofLeaves

	ofTool
	ofBytesSent
	ofBytesReceived
	ofModel
	ofOnBehalfOf
	ofCredentialType
	ofHour
	ofWeekday
	ofSourceIP
	ofVersion
	ofOutcome

	fieldCount
)

// fieldNames are the fields as they are written, without the variable.
var fieldNames = [fieldCount]string{
	"", "owner", "criticality", "environment", "status", "vendor", "registered", "labels", "risk",
	"", "kind", "id", "site", "leaves",
	"tool", "bytes_sent", "bytes_received", "model", "on_behalf_of", "credential_type", "hour", "weekday", "source_ip", "version", "outcome",
}

// number reports whether a field is a Long; its literals are the ends of ranges.
func (f field) number() bool { return f == ofBytesSent || f == ofBytesReceived || f == ofHour }

// text reports whether a field is a String that every event has.
func (f field) text() bool {
	return !f.number() && f != ofWho && f != ofUID && f != ofRegistered && f != ofLeaves && f != ofLabels && f != ofSourceIP
}

// fields is a set of them.
type fields uint32

func (s fields) has(f field) bool { return s&(1<<f) != 0 }

func (s *fields) add(f field) { *s |= 1 << f }

// next takes the first field out.
func (s *fields) next() field {
	f := field(bits.TrailingZeros32(uint32(*s)))
	*s &= *s - 1
	return f
}

const (
	principalFields fields = 1<<(ofRisk+1) - 1
	resourceFields  fields = 1<<(ofLeaves+1) - 1 - principalFields
	contextFields   fields = 1<<fieldCount - 1 - principalFields - resourceFields
)

// reads is what the conditions of a policy depend on.
type reads struct {
	// whole are fields whose very value matters; compared those of which only matters
	// which of the literals they are, or between which.
	whole, compared fields
	tests           []test
	texts           map[field][]string
	numbers         map[field][]int64
}

// test is something of which only matters whether it is so: that a field matches a
// pattern, or that the address is there, or within a range.
type test struct {
	field   field
	pattern types.Pattern
	ranged  bool // of ofSourceIP: within a range; otherwise whether it is there
	within  types.IPAddr
}

func (t *test) equal(o *test) bool {
	return t.field == o.field && t.pattern.Equal(o.pattern) && t.ranged == o.ranged && t.within == o.within
}

// holds reports whether it is so.
func (t *test) holds(f *facts) bool {
	if t.field != ofSourceIP {
		return t.pattern.Match(types.String(f.text[t.field]))
	}
	if f.text[ofSourceIP] == "" {
		return false
	}
	ip, ok := f.address()
	return ok && (!t.ranged || t.within.Contains(ip))
}

// within says for which values of three fields alone the conditions can hold; nil: for any.
type within struct{ kinds, sites, tools []string }

// readsOf looks through a policy. A condition that is not understood depends on everything.
func readsOf(p *ast.Policy) (reads, within) {
	r := reads{texts: map[field][]string{}, numbers: map[field][]int64{}}
	switch s := p.Resource.(type) {
	case ast.ScopeTypeIn:
		r.in(s.Entity)
	case ast.ScopeTypeIsIn:
		r.in(s.Entity)
	}
	var w within
	sure := true
	for _, c := range p.Conditions {
		r.walk(c.Body)
		if sure = sure && c.Condition == ast.ConditionWhen; sure {
			sure = w.narrow(c.Body)
		}
	}
	r.compared &^= r.whole
	return r, w
}

func (r *reads) in(e types.EntityUID) {
	r.whole.add(ofUID)
	if e.Type != typeResource {
		r.whole.add(ofWho)
	}
}

// fieldOf returns the field that an attribute of a variable is.
func fieldOf(of ast.IsNode, name string) (field, bool) {
	v, ok := of.(ast.NodeTypeVariable)
	if !ok {
		return 0, false
	}
	from, to := field(0), field(0)
	switch v.Name {
	case "principal":
		if slices.Contains(fieldNames[ofKind:ofTool], name) {
			return ofWho, true // it is an agent and could be the resource
		}
		from, to = ofOwner, ofRisk+1
	case "resource":
		from, to = ofKind, ofLeaves+1
	case "context":
		from, to = ofTool, fieldCount
	}
	for f := from; f < to; f++ {
		if fieldNames[f] == name {
			return f, true
		}
	}
	return 0, false
}

// accessed returns the field that a node reads, and how it is written.
func accessed(n ast.IsNode) (written string, f field, ok bool) {
	a, ok := n.(ast.NodeTypeAccess)
	if !ok {
		return "", 0, false
	}
	f, ok = fieldOf(a.Arg, string(a.Value))
	if !ok {
		return "", 0, false
	}
	return string(a.Arg.(ast.NodeTypeVariable).Name) + "." + string(a.Value), f, true
}

// compare takes a comparison of a field with a literal.
func (r *reads) compare(a, b ast.IsNode) bool {
	_, f, ok := accessed(a)
	lit, isLit := b.(ast.NodeValue)
	if !ok || !isLit {
		return false
	}
	switch v := lit.Value.(type) {
	case types.String:
		if f.text() {
			r.compared.add(f)
			r.texts[f] = append(r.texts[f], string(v))
			return true
		}
	case types.Long:
		if f.number() {
			r.compared.add(f)
			r.numbers[f] = append(r.numbers[f], int64(v))
			return true
		}
	}
	return false
}

func (r *reads) either(n ast.BinaryNode) {
	if !r.compare(n.Left, n.Right) && !r.compare(n.Right, n.Left) {
		r.walk(n.Left)
		r.walk(n.Right)
	}
}

func (r *reads) both(n ast.BinaryNode) {
	r.walk(n.Left)
	r.walk(n.Right)
}

// walk adds what a node depends on.
func (r *reads) walk(n ast.IsNode) {
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		r.both(n.BinaryNode)
	case ast.NodeTypeOr:
		r.both(n.BinaryNode)
	case ast.NodeTypeNot:
		r.walk(n.Arg)
	case ast.NodeTypeNegate:
		r.walk(n.Arg)
	case ast.NodeTypeIfThenElse:
		r.walk(n.If)
		r.walk(n.Then)
		r.walk(n.Else)
	case ast.NodeTypeEquals:
		r.either(n.BinaryNode)
	case ast.NodeTypeNotEquals:
		r.either(n.BinaryNode)
	case ast.NodeTypeLessThan:
		r.either(n.BinaryNode)
	case ast.NodeTypeLessThanOrEqual:
		r.either(n.BinaryNode)
	case ast.NodeTypeGreaterThan:
		r.either(n.BinaryNode)
	case ast.NodeTypeGreaterThanOrEqual:
		r.either(n.BinaryNode)
	case ast.NodeTypeContains:
		r.contains(n)
	case ast.NodeTypeLike:
		if _, f, ok := accessed(n.Arg); ok && f.text() {
			r.tests = append(r.tests, test{field: f, pattern: n.Value})
			return
		}
		r.walk(n.Arg)
	case ast.NodeTypeIs:
		r.is(n)
	case ast.NodeTypeAccess:
		r.attribute(n.Arg, string(n.Value))
	case ast.NodeTypeHas:
		if f, ok := fieldOf(n.Arg, string(n.Value)); ok && f == ofSourceIP {
			r.tests = append(r.tests, test{field: f})
			return
		}
		r.attribute(n.Arg, string(n.Value))
	case ast.NodeTypeVariable:
		r.variable(n)
	case ast.NodeTypeIn:
		if v, ok := n.Left.(ast.NodeTypeVariable); ok && v.Name == "principal" && onlyEntities(n.Right) {
			r.whole.add(ofWho)
			return
		}
		r.both(n.BinaryNode)
	case ast.NodeValue:
		r.value(n.Value)
	default:
		r.rest(n)
	}
}

// rest walks what says nothing about its parts.
func (r *reads) rest(n ast.IsNode) {
	switch n := n.(type) {
	case ast.NodeTypeIsIn:
		r.walk(n.Left)
		r.walk(n.Entity)
		r.in(types.EntityUID{}) // a resource may be in what the principal is in
	case ast.NodeTypeSub:
		r.both(n.BinaryNode)
	case ast.NodeTypeAdd:
		r.both(n.BinaryNode)
	case ast.NodeTypeMult:
		r.both(n.BinaryNode)
	case ast.NodeTypeContainsAll:
		r.both(n.BinaryNode)
	case ast.NodeTypeContainsAny:
		r.both(n.BinaryNode)
	case ast.NodeTypeHasTag:
		r.both(n.BinaryNode)
	case ast.NodeTypeGetTag:
		r.both(n.BinaryNode)
	case ast.NodeTypeIsEmpty:
		r.walk(n.Arg)
	case ast.NodeTypeExtensionCall:
		if r.inRange(n) {
			return
		}
		for _, a := range n.Args {
			r.walk(a)
		}
	case ast.NodeTypeSet:
		for _, e := range n.Elements {
			r.walk(e)
		}
	case ast.NodeTypeRecord:
		for _, e := range n.Elements {
			r.walk(e.Value)
		}
	default:
		r.whole = 1<<fieldCount - 1
	}
}

// contains takes ["a", "b"].contains(field).
func (r *reads) contains(n ast.NodeTypeContains) {
	set, ok := n.Left.(ast.NodeTypeSet)
	if _, f, is := accessed(n.Right); ok && is && f.text() && !slices.ContainsFunc(set.Elements, func(e ast.IsNode) bool { _, ok := literal(e); return !ok }) {
		for _, e := range set.Elements {
			r.compare(n.Right, e)
		}
		return
	}
	r.both(n.BinaryNode)
}

// inRange takes context.source_ip.isInRange(ip("10.0.0.0/8")). Where there is no address it
// fails, which is another test.
func (r *reads) inRange(n ast.NodeTypeExtensionCall) bool {
	if n.Name != "isInRange" || len(n.Args) != 2 {
		return false
	}
	made, ok := n.Args[1].(ast.NodeTypeExtensionCall)
	if _, f, is := accessed(n.Args[0]); !ok || !is || f != ofSourceIP || made.Name != "ip" || len(made.Args) != 1 {
		return false
	}
	s, ok := literal(made.Args[0])
	within, err := types.ParseIPAddr(s)
	if !ok || err != nil {
		return false
	}
	r.tests = append(r.tests, test{field: ofSourceIP}, test{field: ofSourceIP, ranged: true, within: within})
	return true
}

// literal returns the text that a node is.
func literal(n ast.IsNode) (string, bool) {
	v, ok := n.(ast.NodeValue)
	if !ok {
		return "", false
	}
	s, ok := v.Value.(types.String)
	return string(s), ok
}

func (r *reads) is(n ast.NodeTypeIs) {
	if _, ok := n.Left.(ast.NodeTypeVariable); !ok { // the type of a variable is that of the candidate
		r.walk(n.Left)
	}
}

func (r *reads) attribute(of ast.IsNode, name string) {
	if f, ok := fieldOf(of, name); ok {
		r.whole.add(f)
		return
	}
	r.walk(of)
}

func (r *reads) variable(v ast.NodeTypeVariable) {
	switch v.Name {
	case "principal":
		r.whole.add(ofWho)
	case "resource":
		r.in(types.EntityUID{}) // another agent is in its tenant
	case "context":
		r.whole |= contextFields
	}
}

// value takes a literal: one entity may be the one that acts, and then it has attributes.
func (r *reads) value(v types.Value) {
	switch v := v.(type) {
	case types.EntityUID:
		if v.Type != typeAction {
			r.whole |= principalFields | resourceFields
		}
	case types.Set:
		for e := range v.All() {
			r.value(e)
		}
	case types.Record:
		for e := range v.Values() {
			r.value(e)
		}
	}
}

// onlyEntities reports whether a node is an entity or a set of them.
func onlyEntities(n ast.IsNode) bool {
	switch n := n.(type) {
	case ast.NodeValue:
		_, ok := n.Value.(types.EntityUID)
		return ok
	case ast.NodeTypeSet:
		return !slices.ContainsFunc(n.Elements, func(e ast.IsNode) bool { return !onlyEntities(e) })
	}
	return false
}

// narrow takes what must hold first. It goes on only behind what can't fail, since a
// policy that fails is told of: it reports whether nothing of a condition can.
func (w *within) narrow(n ast.IsNode) (sure bool) {
	switch n := n.(type) {
	case ast.NodeTypeAnd:
		return w.narrow(n.Left) && w.narrow(n.Right)
	case ast.NodeTypeEquals:
		for _, side := range [2][2]ast.IsNode{{n.Left, n.Right}, {n.Right, n.Left}} {
			if _, f, ok := accessed(side[0]); ok && f.text() {
				if s, ok := literal(side[1]); ok {
					w.to(f, []string{s})
					return true
				}
			}
		}
	case ast.NodeTypeContains:
		set, ok := n.Left.(ast.NodeTypeSet)
		_, f, is := accessed(n.Right)
		if !ok || !is || !f.text() {
			return false
		}
		var all []string
		for _, e := range set.Elements {
			s, ok := literal(e)
			if !ok {
				return false
			}
			all = append(all, s)
		}
		w.to(f, all)
		return true
	case ast.NodeTypeAccess:
		_, f, ok := accessed(n)
		return ok && f == ofLeaves
	case ast.NodeTypeIs:
		_, ok := n.Left.(ast.NodeTypeVariable)
		return ok
	}
	return false
}

// to narrows a field; of two conditions the first is enough.
func (w *within) to(f field, values []string) {
	of := map[field]*[]string{ofKind: &w.kinds, ofSite: &w.sites, ofTool: &w.tools}[f]
	if of != nil && *of == nil {
		*of = values
	}
}
