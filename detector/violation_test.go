package detector_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// decideBy has a config decide by policies.
func decideBy(cfg *detector.Config, text string, opt policy.Options) {
	set, err := policy.Parse([]policy.File{{Name: "test.cedar", Text: []byte(text)}}, opt)
	if err != nil {
		panic(err)
	}
	cfg.Policies, cfg.NewDecider = set.Packed(), set.NewDecider
}

// somePolicies deny some of what troubled agents do.
const somePolicies = `
@id("no-mail") @severity("high") @tags("ASI02")
forbid (principal, action == Plumbline::Action::"send", resource is Plumbline::Resource) when { resource.kind == "email" };
@id("registered-only") @severity("low")
forbid (principal, action, resource) when { !principal.registered && context.bytes_sent > 400 };
@id("in-an-incident") @severity("critical")
forbid (principal, action, resource) when { principal.risk != "none" };
@id("watched") @mode("observe")
forbid (principal, action == Plumbline::Action::"read", resource);
`

// policyAlerts are those of policies, by their first signal. Their episodes are whole.
func policyAlerts(t *testing.T, alerts []*schemas.Alert) map[string][]*schemas.Alert {
	t.Helper()
	by, open := map[string][]*schemas.Alert{}, map[string]int{}
	for _, a := range alerts {
		if a.Kind != schemas.KindPolicy {
			continue
		}
		n, known := open[a.EpisodeID]
		require.Equal(t, a.Status == schemas.StatusOpen, !known, "%s: %s", a.Signals[0].Name, a.Status)
		require.Equal(t, n+1, a.Episode.Alerts)
		open[a.EpisodeID] = n + 1
		require.NotEmpty(t, a.Title)
		require.NotEmpty(t, a.Counterfactual)
		require.Contains(t, a.Query, "FROM activity")
		require.Positive(t, a.Signals[0].Observed)
		require.GreaterOrEqual(t, a.Episode.RiskAdded, 0)
		require.NotNil(t, a.Evidence.Decision)
		require.NotEmpty(t, a.Detector.PolicyHash)
		by[a.Signals[0].Name] = append(by[a.Signals[0].Name], a)
	}
	return by
}

// deciding is a detector with policies, and what it says.
func deciding(t *testing.T, text string, opt policy.Options) (*detector.Detector, *fed) {
	t.Helper()
	cfg, out := detector.DefaultConfig(), &fed{}
	decideBy(&cfg, text, opt)
	return detector.Started(t, cfg, out), out
}

const noMail = `@id("no-mail") forbid (principal, action == Plumbline::Action::"send", resource);`

func sends(ev *schemas.Activity) { ev.Access, ev.Tool = schemas.AccessSend, "mail" }

func TestWhatIsNoViolationIsNotToldOf(t *testing.T) {
	d, out := deciding(t, noMail+`@id("reads") @mode("observe") forbid (principal, action == Plumbline::Action::"read", resource);`, policy.Options{})
	d.Process(acts("a", 1, sends, func(ev *schemas.Activity) { ev.Outcome = schemas.OutcomeDenied }))
	require.Zero(t, d.Stats().PolicyObserved)
	d.Process(acts("a", 2))
	require.EqualValues(t, 1, d.Stats().PolicyObserved, "it is counted once")
	require.Empty(t, policyAlerts(t, out.alerts))
	d.Process(acts("a", 3, sends))
	d.Process(acts("a", 3, sends))
	require.Len(t, policyAlerts(t, out.alerts)["policy:no-mail"], 1)
	require.EqualValues(t, 1, d.Stats().Duplicates)
	d.Process(acts("a", 4, sends))
	d.Process(acts("clock", 9*hourMS))
	all := policyAlerts(t, out.alerts)["policy:no-mail"]
	require.Len(t, all, 2)
	require.EqualValues(t, 2, all[1].Evidence.EventCount, "an event that comes again counts once")

	d, out = deciding(t, noMail, policy.Options{Observe: true})
	d.Process(acts("a", 1, sends))
	require.EqualValues(t, 1, d.Stats().PolicyObserved)
	require.Empty(t, policyAlerts(t, out.alerts))
}

func TestAnAlertOfAPolicySaysWhatWasDecidedAndOnWhat(t *testing.T) {
	d, out := deciding(t, `
		@id("outside") @severity("critical") forbid (principal, action, resource) when { resource has site && resource.leaves && resource.site != "corp.example" && context.tool != "x" };
		@id("by-night") forbid (principal, action == Plumbline::Action::"send", resource) when { context.hour < 6 || context.hour > 12 };
	`, policy.Options{})
	d.Process(&schemas.Activity{Registration: &schemas.Registration{TenantID: schemas.DefaultTenant, AgentID: "a", Time: checksAt - dayMS, Owner: "Ada", Contact: "ada@corp.example"}})
	d.Process(acts("a", 1, sends, func(ev *schemas.Activity) {
		ev.Resources = []string{"email:x@corp.example", "email:y@evil.example"}
	}))
	by := policyAlerts(t, out.alerts)
	require.Len(t, by, 2, "one for each policy")
	a := by["policy:outside"][0]
	require.Equal(t, &schemas.Decision{
		Action: "send", Resource: "email:y@evil.example", Policies: []string{"outside", "by-night"}, Seen: a.Evidence.Decision.Seen,
	}, a.Evidence.Decision)
	require.Contains(t, a.Evidence.Decision.Seen, schemas.SeenValue{Name: "resource.site", Value: "evil.example"})
	require.Contains(t, a.Evidence.Decision.Seen, schemas.SeenValue{Name: "context.hour", Value: "14"})
	require.Equal(t, schemas.SeverityCritical, a.Severity)
	require.InDelta(t, 95, a.Score, 0)
	require.Equal(t, "Ada", a.Agent.Owner)
	require.Equal(t, "Agent a (owner Ada) called mail on email:y@evil.example, which policy outside forbids: 1 call since 2024-06-08 14:02 UTC. Ask its owner whether it has to: permit it, or stop it.", a.Summary)
	require.Equal(t, "email:x@corp.example", by["policy:by-night"][0].Evidence.CompletedBy.Target)
}

func TestWhatNobodyPermitsIsDenied(t *testing.T) {
	d, out := deciding(t, `permit (principal, action == Plumbline::Action::"read", resource);`, policy.Options{DefaultDeny: true})
	d.Process(acts("a", 1))
	require.Empty(t, out.alerts)
	d.Process(acts("a", 2, sends))
	a := policyAlerts(t, out.alerts)["policy:(default)"][0]
	require.Contains(t, a.Summary, "which no policy permits")
	require.Empty(t, a.Evidence.Decision.Policies)
	require.Equal(t, "Silent had a policy permitted it.", a.Counterfactual)
}

// Grants need no policy files.
func TestWhatARegistrationDoesNotGrantIsAViolation(t *testing.T) {
	cfg, out := detector.DefaultConfig(), &fed{}
	cfg.NewDecider = policy.None().NewDecider
	d := detector.Started(t, cfg, out)
	d.Process(&schemas.Activity{Registration: &schemas.Registration{
		TenantID: schemas.DefaultTenant, AgentID: "a", Time: checksAt, Owner: "Ada", Tools: []string{"crm.*"}, Destinations: []string{"corp.example"}, Agents: []string{"b-*"},
	}})
	d.Process(acts("a", -1, sends)) // nobody knows what was granted then
	d.Process(acts("a", 1))
	d.Process(acts("other", 1, sends))
	require.Empty(t, out.alerts)
	d.Process(acts("a", 2, func(ev *schemas.Activity) { ev.Tool = "shell" }))
	d.Process(acts("a", 3, func(ev *schemas.Activity) {
		ev.Access, ev.Resources = schemas.AccessSend, []string{"email:y@evil.example"}
	}))
	d.Process(acts("a", 4, func(ev *schemas.Activity) { ev.TargetAgentID = "c-1" }))
	for list, says := range map[string]string{
		"tools":        "called shell on crm:contact/7, which is not among the tools that its registration grants",
		"destinations": "called crm.read on email:y@evil.example, which is not among the destinations that its registration grants",
		"agents":       "called crm.read on agent:c-1, which is not among the agents that its registration grants",
	} {
		all := out.alerts
		found := 0
		for _, a := range all {
			if a.Kind == schemas.KindPolicy && a.Signals[0].Name == "policy:grant:"+list+":others" {
				found++
				require.Contains(t, a.Summary, says)
				require.Empty(t, a.Detector.PolicyHash, "there are no policies")
			}
		}
		require.Equal(t, 1, found, list)
	}
}

func TestManyAgentsThatViolateAPolicyShareAnEpisodeInTheEnd(t *testing.T) {
	d, out := deciding(t, noMail, policy.Options{})
	for i := range 500 {
		d.Process(acts(fmt.Sprint("a-", i), schemas.Millis(i), sends))
	}
	all := policyAlerts(t, out.alerts)["policy:no-mail"]
	require.Less(t, len(all), 16+12)
	last := all[len(all)-1]
	require.Equal(t, "(several agents)", last.Agent.ID)
	require.Contains(t, last.Summary, "other ones before it did what is denied: it called mail")
	require.Equal(t, "agents", last.Signals[0].Unit)
	require.Equal(t, 17, d.Stats().OpenEpisodes)
}

func TestAnAgentThatViolatesManyPoliciesHasFewEpisodes(t *testing.T) {
	var text strings.Builder
	for i := range 200 {
		fmt.Fprintf(&text, "@id(\"p-%d\") @severity(%q) forbid (principal, action, resource) when { context.tool == \"t-%d\" || context.tool == \"all\" };\n", i, []string{"low", "high", "medium"}[i%3], i)
	}
	d, out := deciding(t, text.String(), policy.Options{})
	for i := range 200 {
		d.Process(acts("a", schemas.Millis(i), func(ev *schemas.Activity) { ev.Tool = fmt.Sprint("t-", i) }))
	}
	require.Equal(t, 17, d.Stats().OpenEpisodes)
	for i := range 100 { // and many agents that do
		d.Process(acts(fmt.Sprint("a-", i), 1000+schemas.Millis(i), func(ev *schemas.Activity) { ev.Tool = "all" }))
	}
	require.LessOrEqual(t, d.Stats().OpenEpisodes, (64+1)*(16+1), "those of other policies included")
	d.Process(acts("clock", 9*hourMS))
	require.Zero(t, d.Stats().OpenEpisodes)
	policyAlerts(t, out.alerts)
	restored := detector.Loaded(t, detector.DefaultConfig(), &fed{}, d.Save())
	require.Equal(t, d.Stats().Agents, restored.Stats().Agents)
}

// Whatever stands in a field: an alert is bounded, valid, and the state takes it.
func TestHostileFieldsReachNoAlertAsTheyAre(t *testing.T) {
	evil := ("\x1b[2J\u202e\"'\\<script>\x00\xff\n" + strings.Repeat("é\xf0\x9f", 3000))[:schemas.MaxStringBytes-16]
	cfg, out := detector.DefaultConfig(), &fed{}
	decideBy(&cfg, `@id("all") forbid (principal, action, resource) when {
		principal.owner != "a" && principal.vendor != "b" && resource.id != "c" && resource.site != "d" && context.tool != "e" && context.model != "f" && context.on_behalf_of != "g" &&
		context.credential_type != "h" && context.version != "i" && !principal.labels.hasTag("no") && (if context has source_ip then true else true) };`, policy.Options{})
	d := detector.Started(t, cfg, out)
	reg := &schemas.Registration{TenantID: schemas.DefaultTenant, AgentID: "a", Time: checksAt, Owner: evil[:900], Vendor: evil[:900], TimeZone: evil[:90]}
	for i := range schemas.MaxRegistrationList {
		reg.Labels = append(reg.Labels, schemas.Attribute{Key: fmt.Sprint(i, evil[:800]), Value: evil[:900]})
	}
	d.Process(&schemas.Activity{Registration: reg})
	hostile := func(ev *schemas.Activity) {
		ev.EventID, ev.Tool, ev.Model, ev.OnBehalfOf, ev.CredentialType, ev.AgentVersion, ev.SourceIP, ev.SessionID = evil+ev.EventID, evil, evil, evil, evil, evil, evil, evil
		ev.Resources = nil
		for i := range 64 {
			ev.Resources = append(ev.Resources, fmt.Sprint("email:", i, "@", evil), fmt.Sprint(evil, i))
		}
	}
	d.Process(acts("a", 1, hostile))
	d.Process(acts("b", 2, hostile, func(ev *schemas.Activity) { ev.AgentID, ev.TargetAgentID, ev.Access = evil, evil, evil }))
	require.Len(t, policyAlerts(t, out.alerts)["policy:all"], 2)
	for _, a := range out.alerts {
		require.LessOrEqual(t, len(a.Summary), 4000)
		if d := a.Evidence.Decision; d != nil {
			require.LessOrEqual(t, len(d.Seen), schemas.MaxSeen)
			require.LessOrEqual(t, len(d.Resource), 3*512)
			for _, s := range d.Seen {
				require.LessOrEqual(t, len(s.Name)+len(s.Value), 6*512)
			}
		}
		for _, e := range siem.Encoders() {
			b, err := e.Append(nil, a)
			require.NoError(t, err)
			require.NotContains(t, string(b), "\x1b")
			require.Equal(t, strings.ToValidUTF8(string(b), ""), string(b), e.Name())
		}
	}
	detector.Loaded(t, cfg, &fed{}, d.Save())
}

// A registration of before an update of the policies, and episodes of policies that are no more.
func TestEpisodesOfPoliciesOutliveThem(t *testing.T) {
	d, out := deciding(t, noMail, policy.Options{})
	d.Process(acts("a", 1, sends))
	cfg := detector.DefaultConfig()
	decideBy(&cfg, `@id("other") forbid (principal, action == Plumbline::Action::"send", resource);`, policy.Options{})
	require.NoError(t, d.Reconfigure(cfg))
	d.Process(acts("a", 2, sends))
	d.Process(acts("clock", 9*hourMS))
	by := policyAlerts(t, out.alerts)
	require.Len(t, by["policy:no-mail"], 2)
	require.Len(t, by["policy:other"], 2)
	require.NotEqual(t, by["policy:no-mail"][0].Detector.PolicyHash, by["policy:other"][0].Detector.PolicyHash)
	require.Equal(t, by["policy:no-mail"][0].Detector.PolicyHash, by["policy:no-mail"][1].Detector.PolicyHash)

	cfg.NewDecider = nil
	_, err := detector.New(cfg, out)
	require.ErrorContains(t, err, "nobody to decide")
}
