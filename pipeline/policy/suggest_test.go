package policy

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

// What was seen is permitted, whatever it was named, and what was not seen is denied.
func TestWhatIsSuggestedPermitsWhatWasSeenAndNoMore(t *testing.T) {
	d := dice{seeded.Rand(t)}
	o := NewObserver()
	var seen []*schemas.Activity
	for i := range 2000 {
		ev := d.event()
		ev.PeerGroup = d.one("crm", "fin\nance\n permit", `a"b\`, "ü*", "")
		if d.IntN(5) == 0 {
			ev.Tool = d.one("x\ny", `"quoted"`, "*", "ünïcode", "// no comment", "\u202e")
		}
		seen = append(seen, ev)
		if i%2 == 0 {
			o.Observe(ev)
		}
	}
	text := o.Suggest()
	set, err := Parse([]File{{"suggested", []byte(text)}}, Options{DefaultDeny: true})
	require.NoError(t, err, text)
	e, permitted, denied := NewEngine(set), 0, 0
	places := newSites()
	for i, ev := range seen {
		for _, decided := range e.Decide(nil, ev, nil, "") {
			kind, id := baseline.SplitResource(decided.Resource)
			unreadable := slices.Contains(places.of(kind, id), Unreadable) && (ev.Access == "send" || baseline.Outside(kind))
			switch {
			case !decided.Denied:
				permitted++
				require.False(t, unreadable, decided.Resource)
			case i%2 == 0 && ev.Outcome != schemas.OutcomeDenied:
				require.True(t, unreadable, "%s of %+v", decided.Resource, ev)
			default:
				denied++
			}
		}
	}
	require.Positive(t, denied)
	require.Positive(t, permitted)
	for _, ev := range []schemas.Activity{
		{TenantID: "acme", AgentID: "a", PeerGroup: "crm", Access: "read", Tool: "never seen", Resources: []string{"file:notes"}},
		{TenantID: "other", AgentID: "a", PeerGroup: "crm", Access: "read", Tool: "mail", Resources: []string{"file:notes"}},
		{TenantID: "acme", AgentID: "a", PeerGroup: "crm", Access: "send", Tool: "mail", Resources: []string{"url:https://elsewhere.example"}},
		{TenantID: "acme", AgentID: "a", PeerGroup: "crm", Access: "send", Tool: "mail", TargetAgentID: "stranger"},
	} {
		require.True(t, e.Decide(nil, &ev, nil, "")[0].Denied, "%+v", ev)
	}
}

func TestSuggestionsAreBounded(t *testing.T) {
	o := NewObserver()
	for i := range 3 * maxSeen {
		n := strconv.Itoa(i)
		o.Observe(&schemas.Activity{TenantID: "t", AgentID: "a", PeerGroup: "g", Tool: strings.Repeat("x", i%300) + n, Access: "send", Resources: []string{"url:https://h" + n + ".example/"}})
		o.Observe(&schemas.Activity{TenantID: "t", AgentID: "a", PeerGroup: "g" + n, Access: "read"})
	}
	require.Positive(t, o.Left)
	require.LessOrEqual(t, len(o.entries), maxSuggested)
	for _, e := range o.entries {
		require.LessOrEqual(t, len(e.outside.tools.counts), maxSeen)
		require.LessOrEqual(t, len(e.outside.things.counts), maxSeen)
	}
	text := o.Suggest()
	require.Contains(t, text, "// resource.site: over 2000 were seen, or some that are too long; what is not listed is not permitted.")
	_, err := Parse([]File{{"suggested", []byte(text)}}, Options{})
	require.NoError(t, err)
}

func TestUsesAreCountedAlsoWhereOthersDecided(t *testing.T) {
	set, err := parse(`@id("a") permit (principal, action, resource) when { context.tool == "x" };
@id("b") forbid (principal, action, resource) when { context.tool == "x" && context.bytes_sent > 10 };
@id("c") permit (principal, action, resource) when { context.tool == "y" };`)
	require.NoError(t, err)
	e := NewEngine(set)
	e.CountUses()
	for i := range 20 {
		e.Decide(nil, &schemas.Activity{TenantID: "t", AgentID: "a", Tool: "x", BytesSent: uint64(i)}, nil, "")
	}
	var uses []int64
	for _, p := range set.Policies() {
		uses = append(uses, e.Uses(p))
	}
	require.Equal(t, []int64{20, 9, 0}, uses)
}
