package policy

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

// plain decides with the library alone: all policies as they were written, all entities,
// all attributes, nothing remembered.
type plain struct {
	set             *Set
	grants          []*compiled
	inForce, all    *cedar.PolicySet
	grantsOf        *schemas.Registration
	deny, onlyWatch bool
}

func newPlain(set *Set) *plain {
	return &plain{set: set, deny: set.opt.DefaultDeny, onlyWatch: set.opt.Observe}
}

func (p *plain) policies(reg *schemas.Registration) {
	if p.all != nil && p.grantsOf == reg {
		return
	}
	p.inForce, p.all, p.grantsOf, p.grants = cedar.NewPolicySet(), cedar.NewPolicySet(), reg, nil
	for _, c := range p.set.policies {
		p.all.Add(cedar.PolicyID(c.ID), c.text)
		if !c.Observe {
			p.inForce.Add(cedar.PolicyID(c.ID), c.text)
		}
	}
	if reg == nil {
		return
	}
	if key := grantKey(reg); key != "" {
		for _, c := range newGrants(reg, key).policies {
			p.all.Add(cedar.PolicyID(c.ID), c.text)
			p.inForce.Add(cedar.PolicyID(c.ID), c.text)
		}
	}
}

// verdict is a decision in a form that can be compared.
type verdict struct {
	Resource, Action string
	Denied, Observed bool
	Policies, Failed []string
}

func (p *plain) decide(ev *schemas.Activity, reg *schemas.Registration, risk string) (out []verdict) {
	p.policies(reg)
	action := "other"
	switch a := strings.ToLower(ev.Action); {
	case a == "message" || a == "delegate" || a == "model_call" || a == "auth":
		action = a
	case ev.Access != "":
		action = ev.Access
	}
	at := func(uid types.EntityUID, kind, id, site string, leaves bool) verdict {
		entities, req := entitiesOf(ev, reg, risk, action, uid, kind, id, site, leaves)
		v := verdict{Action: action}
		said := func(set *cedar.PolicySet) (denied, byPolicy bool, ids, failed []string) {
			decision, d := cedar.Authorize(set, entities, req)
			for _, r := range d.Reasons {
				ids = append(ids, string(r.PolicyID))
			}
			for _, e := range d.Errors {
				failed = append(failed, string(e.PolicyID))
			}
			slices.Sort(ids)
			slices.Sort(failed)
			denied = decision == cedar.Deny && (len(ids) > 0 || p.deny)
			return denied, denied && len(ids) > 0, ids, failed
		}
		denied, _, ids, _ := said(p.inForce)
		would, _, idsAll, failed := said(p.all)
		if v.Denied, v.Observed, v.Policies, v.Failed = denied, would && !denied, ids, failed; v.Observed {
			v.Policies = idsAll
		}
		if p.onlyWatch {
			v.Denied, v.Observed = false, denied || would
		}
		return v
	}
	for _, r := range ev.Resources {
		kind, id := baseline.SplitResource(r)
		var sites []string
		baseline.EachSite(kind, id, func(site string, read bool) {
			if !read {
				sites = append(append(sites, baseline.Hosts(site)...), "?")
				return
			}
			sites = append(sites, site)
		})
		if len(sites) == 0 {
			sites = []string{""}
		}
		var worst verdict
		for i, site := range sites {
			v := at(types.NewEntityUID(typeResource, types.String(kind+":"+id)), kind, id, site, ev.Access == "send" || baseline.Outside(kind))
			rank := func(v verdict) int { return map[bool]int{true: 2}[v.Denied] + map[bool]int{true: 1}[v.Observed] }
			if i == 0 || rank(v) > rank(worst) {
				worst = v
			}
		}
		worst.Resource = kind + ":" + id
		out = append(out, worst)
	}
	if ev.TargetAgentID != "" {
		v := at(types.NewEntityUID(typeAgent, types.String(ev.TenantID+"/"+ev.TargetAgentID)), "agent", ev.TargetAgentID, "", true)
		v.Resource = "agent:" + ev.TargetAgentID
		out = append(out, v)
	}
	if len(out) == 0 {
		v := at(types.NewEntityUID(typeResource, "none"), "", "", "", ev.Access == "send")
		v.Resource = "none"
		out = append(out, v)
	}
	return out
}

// entitiesOf writes the whole model down once more, as docs/policy.md describes it.
func entitiesOf(ev *schemas.Activity, reg *schemas.Registration, risk, action string, resource types.EntityUID, kind, id, site string, leaves bool) (types.EntityMap, cedar.Request) {
	if reg == nil {
		reg = &schemas.Registration{}
	}
	registered := reg.AgentID != ""
	zone, err := time.LoadLocation(reg.TimeZone)
	if err != nil {
		zone = time.UTC
	}
	when := ev.Time.Time().In(zone)
	tenant := types.NewEntityUID(typeTenant, types.String(ev.TenantID))
	group := types.NewEntityUID(typeGroup, types.String(ev.TenantID+"/"+cmp.Or(reg.PeerGroup, ev.PeerGroup, "default")))
	agent := types.NewEntityUID(typeAgent, types.String(ev.TenantID+"/"+ev.AgentID))
	labels := types.NewEntityUID(typeLabels, agent.ID)
	status := reg.Status
	if registered && status == "" {
		status = "active"
	}
	tags := types.RecordMap{}
	for _, l := range reg.Labels {
		tags[types.String(l.Key)] = types.String(l.Value)
	}
	context := types.RecordMap{
		"tool": types.String(ev.Tool), "bytes_sent": types.Long(min(ev.BytesSent, 1<<53)), "bytes_received": types.Long(min(ev.BytesReceived, 1<<53)),
		"model": types.String(ev.Model), "on_behalf_of": types.String(ev.OnBehalfOf), "credential_type": types.String(ev.CredentialType),
		"hour": types.Long(when.Hour()), "weekday": types.String(strings.ToLower(when.Weekday().String())),
		"version": types.String(ev.AgentVersion), "outcome": types.String(cmp.Or(ev.Outcome, "success")),
	}
	if ip, err := types.ParseIPAddr(ev.SourceIP); err == nil {
		context["source_ip"] = ip
	}
	entities := types.EntityMap{
		group:  {UID: group, Parents: types.NewEntityUIDSet(tenant)},
		tenant: {UID: tenant},
		labels: {UID: labels, Tags: types.NewRecord(tags)},
	}
	parents := types.NewEntityUIDSet()
	if resource.Type == typeAgent {
		parents = types.NewEntityUIDSet(tenant)
	}
	entities[resource] = types.Entity{UID: resource, Parents: parents, Attributes: types.NewRecord(types.RecordMap{
		"kind": types.String(kind), "id": types.String(id), "site": types.String(site), "leaves": types.Boolean(leaves),
	})}
	entities[agent] = types.Entity{UID: agent, Parents: types.NewEntityUIDSet(group, tenant), Attributes: types.NewRecord(types.RecordMap{
		"owner": types.String(reg.Owner), "criticality": types.String(reg.Criticality), "environment": types.String(reg.Environment),
		"status": types.String(status), "vendor": types.String(reg.Vendor), "registered": types.Boolean(registered), "labels": labels,
		"risk": types.String(cmp.Or(risk, "none")), "kind": types.String("agent"), "id": types.String(ev.AgentID), "site": types.String(""), "leaves": types.True,
	})}
	return entities, cedar.Request{Principal: agent, Action: types.NewEntityUID(typeAction, types.String(action)), Resource: resource, Context: types.NewRecord(context)}
}

func verdicts(list []schemas.PolicyDecision) (out []verdict) {
	for _, d := range list {
		v := verdict{Resource: d.Resource, Action: d.Action, Denied: d.Denied, Observed: d.Observed, Failed: slices.Sorted(slices.Values(d.Failed))}
		for _, p := range d.Policies {
			v.Policies = append(v.Policies, p.ID)
		}
		slices.Sort(v.Policies)
		out = append(out, v)
	}
	return out
}

// The random policies.

type dice struct{ *rand.Rand }

func (d dice) one(of ...string) string { return of[d.IntN(len(of))] }

var (
	tenants   = []string{"acme", "globex"}
	groups    = []string{"crm", "finance", "default", "a/b"}
	agents    = []string{"a-1", "a-2", "a/b", "bot"}
	tools     = []string{"", "mail", "http", "shell", "crm.read"}
	kinds     = []string{"url", "email", "file", "s3", "db"}
	hosts     = []string{"example.com", "evil.example", "a.corp.example"}
	addresses = []string{"10.0.0.1", "192.168.1.9", "2001:db8::1", "nonsense", ""}
	resources = []string{
		"url:https://example.com/a", "url:https://evil.example/x?y=1", "email:a@example.com", "email:a@example.com,b@evil.example", "email:not an address@evil.example>",
		"file:/etc/passwd", "file:notes", "s3:bucket/key", "s3:other/key", "db:customers", "nothing", "https://a.corp.example/z", "URL:http://A.corp.example", "none", "agent:a-1", ":x", "",
	}
)

func (d dice) text(of []string) string { return strconv.Quote(of[d.IntN(len(of))]) }

func (d dice) scope() string {
	principal := d.one("principal", "principal", "principal is Plumbline::Agent",
		fmt.Sprintf("principal == Plumbline::Agent::%q", tenants[d.IntN(2)]+"/"+agents[d.IntN(len(agents))]),
		fmt.Sprintf("principal in Plumbline::PeerGroup::%q", tenants[d.IntN(2)]+"/"+groups[d.IntN(len(groups))]),
		"principal in Plumbline::Tenant::"+d.text(tenants),
		"principal is Plumbline::Agent in Plumbline::Tenant::"+d.text(tenants))
	act := func() string { return `Plumbline::Action::"` + actionNames[d.IntN(int(actionCount))] + `"` }
	action := d.one("action", "action", "action == "+act(), "action in ["+act()+", "+act()+"]")
	uid := kinds[0] + ":" + "https://example.com/a"
	if d.IntN(2) == 0 {
		uid = resources[d.IntN(len(resources))]
	}
	resource := d.one("resource", "resource", "resource", "resource is Plumbline::Resource", "resource is Plumbline::Agent",
		fmt.Sprintf("resource == Plumbline::Resource::%q", uid),
		fmt.Sprintf("resource in Plumbline::Resource::%q", uid),
		fmt.Sprintf("resource == Plumbline::Agent::%q", tenants[d.IntN(2)]+"/"+agents[d.IntN(len(agents))]),
		"resource in Plumbline::Tenant::"+d.text(tenants),
		"resource is Plumbline::Agent in Plumbline::Tenant::"+d.text(tenants),
		`resource == Plumbline::Resource::"none"`)
	return principal + ", " + action + ", " + resource
}

func (d dice) number() string {
	if d.IntN(5) == 0 {
		return fmt.Sprintf("(%s %s %s)", d.number(), d.one("+", "-", "*"), d.number())
	}
	return d.one("context.bytes_sent", "context.bytes_sent", "context.bytes_received", "context.hour", strconv.Itoa(d.IntN(24)), "1000", "9007199254740992", "-5")
}

func (d dice) texts() string {
	return d.one("context.tool", "context.tool", "resource.kind", "resource.site", "resource.id", "principal.owner", "principal.environment", "principal.vendor", "context.model",
		"context.on_behalf_of", "context.credential_type", "context.version", "principal.id", "principal.kind", d.text(tools))
}

func (d dice) literal() string {
	return d.one(d.text(tools), d.text(kinds), d.text(hosts), d.text(agents), `"it"`, `"prod"`, `"2.0"`)
}

func (d dice) condition(depth int) string {
	if depth > 0 && d.IntN(2) == 0 {
		a, b := d.condition(depth-1), d.condition(depth-1)
		return d.one("("+a+" && "+b+")", "("+a+" || "+b+")", "!("+a+")", "(if "+a+" then "+b+" else "+d.condition(depth-1)+")", a+" && "+b)
	}
	return d.one(
		d.texts()+" == "+d.literal(), d.literal()+" != "+d.texts(), d.texts()+" == "+d.texts(),
		"["+d.literal()+", "+d.literal()+"].contains("+d.texts()+")",
		"[context.tool, "+d.literal()+"].contains("+d.texts()+")",
		d.texts()+` like "`+d.one("*", "a*", "*.example", "http*", "*corp*", "crm.*")+`"`,
		d.number()+" "+d.one("<", "<=", ">", ">=", "==", "!=")+" "+d.number(),
		"resource.leaves", "principal.registered", "resource is Plumbline::Agent", "resource has kind", "principal has owner",
		`context has source_ip && context.source_ip.isInRange(ip("`+d.one("10.0.0.0/8", "192.168.0.0/16", "2001:db8::/32")+`"))`,
		"context has source_ip",
		`principal.risk == "`+d.one("none", "low", "critical")+`"`, `principal.status == "suspended"`, `principal.criticality == "high"`,
		`context.weekday == "`+Weekdays[d.IntN(7)]+`"`, `context.outcome == "denied"`,
		`principal.labels.hasTag("team")`, `principal.labels.hasTag("team") && principal.labels.getTag("team") == "red"`,
		"principal in Plumbline::PeerGroup::"+strconv.Quote(tenants[0]+"/"+groups[d.IntN(len(groups))]),
		`principal in [Plumbline::PeerGroup::"acme/crm", Plumbline::PeerGroup::"globex/finance"]`,
		"resource in Plumbline::Tenant::"+d.text(tenants), "principal == resource",
		`resource == Plumbline::Resource::`+d.text(resources),
		`Plumbline::Agent::"acme/a-1" in Plumbline::PeerGroup::"acme/crm"`, `Plumbline::Agent::"acme/a-1".kind == "agent"`,
		`action == Plumbline::Action::"send"`, `action in [Plumbline::Action::"read", Plumbline::Action::"message"]`,
		`context.version == "2.0"`, `context.model == "mail"`, d.one("context.bytes_sent", "context.bytes_received")+d.one(" < ", " >= ", " == ")+d.one("1000", "15"),
		"(if resource.leaves then context else context).tool == "+d.literal(), "{a: context.tool} == {a: "+d.literal()+"}", "[1, 2].containsAny([context.hour])",
	)
}

func (d dice) policy(i int) string {
	b := fmt.Sprintf("@id(\"p%d\")\n", i)
	if d.IntN(4) == 0 {
		b += "@mode(\"observe\")\n"
	}
	b += d.one("permit", "forbid") + " (" + d.scope() + ")"
	for range d.IntN(3) {
		b += "\n" + d.one("when", "when", "unless") + " { " + d.condition(2) + " }"
	}
	return b + ";\n"
}

// set returns random policies: those of many that the check lets pass.
func (d dice) set(tb testing.TB, n int, opt Options) *Set {
	tb.Helper()
	var good strings.Builder
	for i := 0; i < n; {
		p := d.policy(i)
		if _, err := Parse([]File{{"p", []byte(p)}}, opt); err != nil {
			continue // not all that is put together at random has a type
		}
		good.WriteString(p)
		i++
	}
	set, err := Parse([]File{{"p", []byte(good.String())}}, opt)
	require.NoError(tb, err)
	return set
}

func (d dice) pick(of []string) string { return of[d.IntN(len(of))] }

func (d dice) event() *schemas.Activity {
	ev := &schemas.Activity{
		TenantID: d.pick(tenants), AgentID: d.pick(agents), PeerGroup: d.one("", "crm", "finance", "a/b", "x"), Tool: d.pick(tools),
		Time: schemas.Millis(1_772_000_000_000 + d.Int64N(20*24*3600_000)), Action: d.one("tool_call", "tool_call", "message", "Delegate", "model_call", "auth", "x"),
		Access: d.one("", "read", "write", "delete", "send", "execute"), BytesSent: d.Uint64N(2000), BytesReceived: d.Uint64N(30),
		Model: d.one("", "mail"), OnBehalfOf: d.one("", "it"), CredentialType: d.one("", "static_key"), SourceIP: d.pick(addresses), AgentVersion: d.one("1.0", "2.0"),
		Outcome: d.one("", "success", "failure", "denied"),
	}
	if d.IntN(10) == 0 {
		ev.BytesSent, ev.Tool = d.Uint64(), "tool "+strconv.Itoa(d.IntN(1e6))
	}
	for range d.IntN(3) {
		r := d.pick(resources)
		if d.IntN(10) == 0 {
			r = d.pick(kinds) + ":" + strconv.Itoa(d.IntN(1e6)) + "/x"
		}
		ev.Resources = append(ev.Resources, r)
	}
	if d.IntN(4) == 0 {
		ev.TargetAgentID = d.pick(agents)
	}
	return ev
}

// vary takes a field from another event.
func (d dice) vary(ev, from *schemas.Activity) {
	switch d.IntN(15) {
	case 0:
		ev.AgentID = from.AgentID
	case 1:
		ev.PeerGroup = from.PeerGroup
	case 2:
		ev.Tool = from.Tool
	case 3:
		ev.Time = from.Time
	case 4:
		ev.Action, ev.Access = from.Action, from.Access
	case 5, 6:
		ev.BytesSent = 999 + d.Uint64N(3)
	case 7:
		ev.BytesReceived = from.BytesReceived
	case 8:
		ev.Model, ev.AgentVersion = from.Model, from.AgentVersion
	case 9:
		ev.OnBehalfOf = from.OnBehalfOf
	case 10:
		ev.CredentialType = from.CredentialType
	case 11:
		ev.SourceIP = from.SourceIP
	case 12:
		ev.Outcome = from.Outcome
	case 13:
		ev.Resources = from.Resources
	case 14:
		ev.TargetAgentID = from.TargetAgentID
	}
}

func (d dice) registration() *schemas.Registration {
	if d.IntN(4) == 0 {
		return nil
	}
	reg := &schemas.Registration{
		TenantID: "t", AgentID: "a", Owner: d.one("", "it"), Criticality: d.one("", "low", "high"), Environment: d.one("", "prod"), Vendor: d.one("", "it"),
		Status: d.one("", "active", "suspended"), PeerGroup: d.one("", "", "finance"), TimeZone: d.one("", "Europe/Berlin", "America/New_York", "No/Where", "../x"),
	}
	if d.IntN(2) == 0 {
		reg.Labels = []schemas.Attribute{{Key: "team", Value: d.one("red", "blue")}}
	}
	switch d.IntN(6) {
	case 0:
		reg.Tools = []string{d.one("mail", "crm.*", "*")}
	case 1:
		reg.Destinations = []string{d.one("example.com", "*.example", "url:example.com", "email:*", "s3:bucket"), "a.*"}
	case 2:
		reg.Agents, reg.Tools = []string{}, []string{"http", "mail"}
	}
	return reg
}

// The engine says what the library says, whatever the policies and the events are.
func TestTheEngineSaysWhatTheLibrarySays(t *testing.T) {
	sets, each := 80, 400
	if n, err := strconv.Atoi(os.Getenv("PLUMBLINE_POLICY_REQUESTS")); err == nil {
		sets, each = max(1, n/500), 500
	} else if testing.Short() {
		sets, each = 8, 200
	}
	d := dice{seeded.Rand(t)}
	denied, observed, permitted, failed, anew, all := 0, 0, 0, 0, int64(0), int64(0)
	for range sets {
		set := d.set(t, 1+d.IntN(1+d.IntN(60)), Options{DefaultDeny: d.IntN(2) == 0, Observe: d.IntN(5) == 0})
		engine, reference := NewEngine(set), newPlain(set)
		regs := make([]*schemas.Registration, 6)
		for i := range regs {
			regs[i] = d.registration()
		}
		base, reg, risk := d.event(), regs[0], ""
		for range each {
			// Mostly like one before it but for a field: what is remembered shows then.
			other := d.event()
			if d.IntN(20) == 0 {
				base, reg, risk = other, regs[d.IntN(len(regs))], d.one("", "none", "low", "critical")
			}
			next := *base
			ev := &next
			d.vary(ev, other)
			if d.IntN(4) == 0 {
				base = ev
			}
			got, want := verdicts(engine.Decide(nil, ev, reg, risk)), reference.decide(ev, reg, risk)
			if !slices.EqualFunc(got, want, func(a, b verdict) bool { return fmt.Sprint(a) == fmt.Sprint(b) }) {
				text := ""
				for _, c := range set.policies {
					text += string(c.text.MarshalCedar()) + "\n"
				}
				require.Equal(t, want, got, "%+v\nregistration %+v\n%s", ev, reg, text)
			}
			for _, v := range want {
				switch {
				case v.Denied:
					denied++
				case v.Observed:
					observed++
				default:
					permitted++
				}
				failed += len(v.Failed)
			}
			all += int64(len(want))
		}
		anew += engine.evaluations
	}
	t.Logf("%d decisions: %d denied, %d observed, %d permitted, %d failures of policies; %d evaluated", all, denied, observed, permitted, failed, anew)
	require.Positive(t, min(denied, observed, permitted, failed), "a kind of decision that never came up")
	require.Less(t, anew, all, "nothing was remembered")
}
