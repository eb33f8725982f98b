package policy

import (
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

// What agents choose can't be made to look like the key of something else.
func TestKeysThatLookAlikeAreApart(t *testing.T) {
	set, err := parse(`@id("p") forbid (principal, action, resource) when { principal.owner == context.tool || context.tool == principal.vendor };`)
	require.NoError(t, err)
	e, reference := NewEngine(set), newPlain(set)
	regs := map[string]*schemas.Registration{}
	for _, owner := range []string{"", "a", "ab", "abc", "b", "\x01a", "a\x01", "\x00", "\x02ab"} {
		for _, vendor := range []string{"", "b", "c", "bc", "\x00a", "\x01b"} {
			key := owner + "|" + vendor
			regs[key] = &schemas.Registration{AgentID: "x", Owner: owner, Vendor: vendor}
		}
	}
	for range 2 { // the second time remembered
		for _, reg := range regs {
			for _, tool := range []string{"", "a", "ab", "abc", "b", "c", "bc", "\x01a", "\x01", "a\x01b"} {
				ev := &schemas.Activity{TenantID: "t", AgentID: "x", Tool: tool}
				require.Equal(t, reference.decide(ev, reg, ""), verdicts(e.Decide(nil, ev, reg, "")), "%+v %q", reg, tool)
			}
		}
	}
}

// A tenant whose name is part of another's, an agent that is named like a group, a resource
// that is named like none: each is only itself.
func TestNobodyIsTakenForSomebodyElse(t *testing.T) {
	set, err := parse(`@id("agent") forbid (principal == Plumbline::Agent::"acme/a", action, resource);
@id("group") forbid (principal in Plumbline::PeerGroup::"acme/a", action, resource);
@id("none") forbid (principal, action, resource == Plumbline::Resource::"none");
@id("other") forbid (principal, action, resource == Plumbline::Agent::"acme/b");
@id("file") forbid (principal, action, resource == Plumbline::Resource::"agent:b");`)
	require.NoError(t, err)
	e := NewEngine(set)
	for _, c := range []struct {
		ev   schemas.Activity
		want []string
	}{
		{schemas.Activity{TenantID: "acme", AgentID: "a", Resources: []string{"x:y"}}, []string{"agent"}},
		{schemas.Activity{TenantID: "acme", AgentID: "b", PeerGroup: "a", Resources: []string{"x:y"}}, []string{"group"}},
		{schemas.Activity{TenantID: "acm", AgentID: "e/a", PeerGroup: "e/a", Resources: []string{"none", "none:", "\x00acme/b"}}, []string{}},
		{schemas.Activity{TenantID: "acme", AgentID: "x"}, []string{"none"}},
		{schemas.Activity{TenantID: "acme", AgentID: "x", TargetAgentID: "b"}, []string{"other"}},
		{schemas.Activity{TenantID: "acme", AgentID: "x", Resources: []string{"agent:b"}}, []string{"file"}},
		{schemas.Activity{TenantID: "acme/b", AgentID: "x", TargetAgentID: ""}, []string{"none"}},
	} {
		got := []string{}
		for _, d := range e.Decide(nil, &c.ev, nil, "") {
			for _, p := range d.Policies {
				got = append(got, p.ID)
			}
		}
		require.Equal(t, c.want, got, "%+v", c.ev)
	}
}

// An agent that makes up texts fills nothing, and what others asked for is still known.
func TestWhatIsRememberedIsBounded(t *testing.T) {
	set, err := parse(`forbid (principal, action, resource) when { principal.owner == resource.id || context.tool == context.model };
forbid (principal, action, resource) when { context.on_behalf_of like "a*" && context.tool == "x" };`)
	require.NoError(t, err)
	e := NewEngine(set)
	huge := strings.Repeat("x", schemas.MaxStringBytes)
	ev := &schemas.Activity{TenantID: "t", AgentID: "a"}
	n := 5 * maxDecisions
	if testing.Short() {
		n = 3 * maxDecisions
	}
	var out []schemas.PolicyDecision
	for i := range n {
		ev.Tool, ev.Model = strconv.Itoa(i), "m"
		ev.Resources = []string{"file:" + strconv.Itoa(i), "file:" + huge + strconv.Itoa(i)}
		out = e.Decide(out[:0], ev, &schemas.Registration{AgentID: "a", Owner: "o"}, "")
	}
	require.LessOrEqual(t, len(e.decisions.young)+len(e.decisions.old), 2*maxDecisions)
	require.LessOrEqual(t, len(e.principals.young)+len(e.principals.old), 2*maxPrincipals)
	require.LessOrEqual(t, len(e.plans.young)+len(e.plans.old), 2*maxPlans)
	longest := 0
	for k := range e.decisions.young {
		longest = max(longest, len(k))
	}
	require.LessOrEqual(t, longest, maxKey)
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	require.Less(t, m.HeapAlloc, uint64(256<<20))
	runtime.KeepAlive(e)
}

// What was forgotten is decided in the same way again.
func TestForgettingChangesNothing(t *testing.T) {
	d := dice{seeded.Rand(t)}
	set := d.set(t, 30, Options{})
	e, reference := NewEngine(set), newPlain(set)
	e.decisions.n, e.small.n, e.plans.n, e.principals.n, e.grants.n = 3, 3, 2, 1, 1
	regs := []*schemas.Registration{nil, d.registration(), d.registration(), {AgentID: "a", Tools: []string{"mail"}}, {AgentID: "a", Destinations: []string{"example.com"}}}
	for range 1500 {
		ev, reg := d.event(), regs[d.IntN(len(regs))]
		require.Equal(t, len(reference.decide(ev, reg, "")), len(ev.Resources)+map[bool]int{true: 1}[ev.TargetAgentID != "" || len(ev.Resources) == 0])
		got, want := verdicts(e.Decide(nil, ev, reg, "")), reference.decide(ev, reg, "")
		for i := range want {
			require.ElementsMatch(t, want[i].Policies, got[i].Policies, "%+v", ev)
			require.Equal(t, want[i].Denied, got[i].Denied, "%+v", ev)
		}
	}
}

// A byte count that would overflow a sum is no way around a policy that adds.
func TestAClaimOfManyBytesDoesNotSwitchAPolicyOff(t *testing.T) {
	set, err := parse(`@id("p") forbid (principal, action, resource) when { context.bytes_sent + context.bytes_received > 1000 };`)
	require.NoError(t, err)
	ds := NewEngine(set).Decide(nil, &schemas.Activity{TenantID: "t", AgentID: "a", BytesSent: 1<<64 - 1, BytesReceived: 1<<64 - 1}, nil, "")
	require.True(t, ds[0].Denied)
	require.Empty(t, ds[0].Failed)
}

// Behind an address that is allowed stands another one, or none that can be read.
func TestOneGoodAddressHidesNoOther(t *testing.T) {
	set, err := parse(`@id("ours") forbid (principal, action, resource) when { resource.leaves } unless { resource.site == "example.com" };
@id("block") forbid (principal, action, resource) when { resource.site == "evil.example" };`)
	require.NoError(t, err)
	e := NewEngine(set)
	for resource, denied := range map[string]bool{
		"email:a@example.com":                                 false,
		"email:a@example.com,b@evil.example":                  true,
		"email:b@evil.example;a@example.com":                  true,
		"url:https://example.com/x":                           false,
		"url:https://example.com@evil.example/":               true,
		"url:https://example.com https://evil.example":        true,
		"url:https://EXAMPLE.com./":                           false,
		"email:mailto:a@example.com?bcc=b@evil.example":       true,
		"email:example.com":                                   true,
		"email:a@example.com\x00":                             true,
		"file:notes":                                          false,
		"s3:evil.example/x":                                   true,
		"https://example.com/?next=https://evil.example/":     false,
		"email:\"a\"@example.com, not one at evil.example <>": true,
	} {
		ds := e.Decide(nil, &schemas.Activity{TenantID: "t", AgentID: "a", Resources: []string{resource}}, nil, "")
		require.Equal(t, denied, ds[0].Denied, resource)
	}
}

func TestGrantsPermitWhatTheyNameAndForbidTheRest(t *testing.T) {
	reg := &schemas.Registration{AgentID: "a", Tools: []string{"crm.*", "mail"}, Destinations: []string{"example.com", "s3:ours", "*.corp.example", "email:*"}, Agents: []string{"helper-*"}}
	for _, deny := range []bool{false, true} {
		set, err := Parse(nil, Options{DefaultDeny: deny})
		require.NoError(t, err)
		e := NewEngine(set)
		for _, c := range []struct {
			ev     schemas.Activity
			denied bool
			by     string
		}{
			{schemas.Activity{Tool: "crm.read"}, false, "grant:tools"},
			{schemas.Activity{Tool: "shell"}, true, "grant:tools:others"},
			{schemas.Activity{Tool: "mail", Access: "send", Resources: []string{"email:x@anywhere.example"}}, false, "grant:tools"},
			{schemas.Activity{Tool: "mail", Access: "send", Resources: []string{"url:https://example.com/x"}}, false, "grant:tools"},
			{schemas.Activity{Tool: "mail", Access: "send", Resources: []string{"url:https://example.com.evil.example/x"}}, true, "grant:destinations:others"},
			{schemas.Activity{Tool: "mail", Access: "send", Resources: []string{"s3:ours/x"}}, false, "grant:tools"},
			{schemas.Activity{Tool: "mail", Access: "send", Resources: []string{"gs:ours/x"}}, true, "grant:destinations:others"},
			{schemas.Activity{Tool: "crm.x", TargetAgentID: "helper-1"}, false, "grant:tools"},
			{schemas.Activity{TargetAgentID: "helper-1"}, false, "grant:agents"},
			{schemas.Activity{TargetAgentID: "other"}, true, "grant:agents:others"},
			{schemas.Activity{Action: "model_call"}, deny, ""},
		} {
			c.ev.TenantID, c.ev.AgentID = "t", "a"
			ds := e.Decide(nil, &c.ev, reg, "")
			require.Equal(t, c.denied, ds[0].Denied, "%+v", c.ev)
			if c.by == "" {
				require.Empty(t, ds[0].Policies)
				continue
			}
			require.Equal(t, c.by, ds[0].Policies[0].ID, "%+v", c.ev)
		}
	}
}

// What decided is told with what it saw: of the address that was denied, not the first.
func TestSeenIsWhatThePoliciesThatDecidedAskedFor(t *testing.T) {
	set, err := parse(`@id("p") forbid (principal, action, resource) when { resource.site == "evil.example" && context.bytes_sent > 10 && principal.labels.hasTag("team") && context.hour == 13 };
@id("q") permit (principal in Plumbline::PeerGroup::"t/g", action, resource) when { context.tool == "x" };`)
	require.NoError(t, err)
	e := NewEngine(set)
	reg := &schemas.Registration{AgentID: "a", TimeZone: "Europe/Berlin", Labels: []schemas.Attribute{{Key: "team", Value: "red"}}}
	ev := &schemas.Activity{
		TenantID: "t", AgentID: "a", PeerGroup: "g", Tool: "x", BytesSent: 20, Time: 1_772_452_800_000,
		Resources: []string{"email:a@example.com,b@evil.example", "file:a"}, TargetAgentID: "b",
	}
	var denied []bool
	for _, d := range e.Decide(nil, ev, reg, "") {
		denied = append(denied, d.Denied)
	}
	require.Equal(t, []bool{true, false, false}, denied)
	require.Equal(t, []schemas.Attribute{
		{Key: "principal.labels.team", Value: "red"}, {Key: "resource.site", Value: "evil.example"}, {Key: "context.bytes_sent", Value: "20"}, {Key: "context.hour", Value: "13"},
	}, e.Seen(ev, reg, "", "email:a@example.com,b@evil.example"))
	require.Equal(t, []schemas.Attribute{{Key: "context.tool", Value: "x"}}, e.Seen(ev, reg, "", "agent:b"))
	require.Empty(t, e.Seen(ev, reg, "", "file:other"))
	require.Equal(t, set.Hash(), e.Hash())
}
