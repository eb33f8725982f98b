package detector_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

// everyCheck has all identity checks raise alerts.
func everyCheck() map[string]string {
	all := map[string]string{}
	for _, name := range detector.IdentityChecks() {
		all[name] = detector.IdentityAlert
	}
	return all
}

// identityAlerts are those of identity checks, by check.
func identityAlerts(alerts []*schemas.Alert) map[string][]*schemas.Alert {
	by := map[string][]*schemas.Alert{}
	for _, a := range alerts {
		if a.Kind == schemas.KindIdentity {
			by[a.Signals[0].Name] = append(by[a.Signals[0].Name], a)
		}
	}
	return by
}

// requireEveryCheck fails where a check raised no alert, or its episodes are not whole.
func requireEveryCheck(t *testing.T, alerts []*schemas.Alert) {
	t.Helper()
	by := identityAlerts(alerts)
	for _, name := range detector.IdentityChecks() {
		require.NotEmpty(t, by[name], name)
		open := map[string]int{}
		for _, a := range by[name] {
			n, known := open[a.EpisodeID]
			require.Equal(t, a.Status == schemas.StatusOpen, !known, "%s: %s", name, a.Status)
			require.Equal(t, n+1, a.Episode.Alerts)
			open[a.EpisodeID] = n + 1
			require.NotEmpty(t, a.Title)
			require.NotEmpty(t, a.Counterfactual)
			require.NotEmpty(t, a.Tags.OwaspASI, name)
			require.Contains(t, a.Query, "FROM activity")
			require.Positive(t, a.Signals[0].Observed, name)
			require.NotEmpty(t, a.Signals[0].Unit)
			require.Equal(t, a.Severity, a.Episode.Severity)
			require.Positive(t, a.Evidence.EventCount)
		}
	}
}

const minuteMillis = 60_000

// checksAt is when the events of the tests of checks begin: a Saturday at 14:02.
const checksAt = fleetStart + 5*dayMS + 14*hourMS + 2*minuteMillis

// acts is an event of an agent.
func acts(agent string, after schemas.Millis, set ...func(*schemas.Activity)) *schemas.Activity {
	ev := &schemas.Activity{
		EventID: fmt.Sprintf("%s-%d", agent, after), Time: checksAt + after, TenantID: schemas.DefaultTenant, AgentID: agent, PeerGroup: "crm",
		SessionID: "s", Action: "tool_call", Tool: "crm.read", Access: schemas.AccessRead, Resources: []string{"crm:contact/7"},
		AgentVersion: "1.0", CredentialID: "key-1", CredentialType: "oauth_token",
	}
	for _, s := range set {
		s(ev)
	}
	return ev
}

// complete is a registration of which no check finds anything to say.
func complete(r *schemas.Registration) {
	r.Versions, r.Credentials = []string{"1.0"}, []schemas.Credential{{ID: "key-1"}}
}

func TestIdentityChecks(t *testing.T) {
	type set = func(*schemas.Registration)
	type does = func(*schemas.Activity)
	expires := func(at schemas.Millis) does { return func(ev *schemas.Activity) { ev.CredentialExpires = at } }
	for _, c := range []struct {
		name  string
		said  []set // nil: nobody has registered it
		does  []does
		check string // that fails; empty: none
		says  string
	}{
		{"nobody has registered it", nil, nil, schemas.CheckUnregisteredAgent, "Agent invoice-bot acts, and nobody has registered it: 1 call since 2024-06-08 14:02 UTC, first crm.read. Find out who runs it"},
		{"all is well", []set{complete}, nil, "", ""},
		{
			"it is decommissioned",
			[]set{complete, func(r *schemas.Registration) { r.Status = schemas.StatusDecommissioned }},
			nil, schemas.CheckDecommissionedAgent,
			"Agent invoice-bot acts although it was decommissioned on 2024-06-03 (owner Ada Lovelace): 1 call since 2024-06-08 14:02 UTC, first crm.read. Revoke",
		},
		{"it is decommissioned and more", []set{func(r *schemas.Registration) {
			r.Status, r.Owner, r.Credentials, r.Versions = schemas.StatusDecommissioned, "", []schemas.Credential{}, []string{}
		}}, nil, schemas.CheckDecommissionedAgent, "decommissioned on 2024-06-03: 1 call"},
		{
			"it was registered until yesterday",
			[]set{complete, func(r *schemas.Registration) { r.ValidUntil = checksAt - dayMS }},
			nil, schemas.CheckDecommissionedAgent,
			"although its registration ended on 2024-06-07 (owner Ada Lovelace)",
		},
		{"it is registered until tomorrow", []set{complete, func(r *schemas.Registration) { r.ValidUntil = checksAt + dayMS }}, nil, "", ""},
		{"it is suspended", []set{complete, func(r *schemas.Registration) { r.Status = schemas.StatusSuspended }}, nil, schemas.CheckSuspendedAgent, "although it was suspended on 2024-06-03 (owner Ada Lovelace)"},
		{"nobody owns it", []set{complete, func(r *schemas.Registration) { r.Owner = "" }}, nil, schemas.CheckNoOwner, "its registration names no owner: 1 call"},
		{
			"it runs another version",
			[]set{complete},
			[]does{func(ev *schemas.Activity) { ev.AgentVersion = "2.0" }},
			schemas.CheckUnapprovedVersion,
			"runs version 2.0, which its registration does not allow (owner Ada Lovelace)",
		},
		{"no version may run", []set{complete, func(r *schemas.Registration) { r.Versions = []string{} }}, nil, schemas.CheckUnapprovedVersion, "version 1.0"},
		{"any version may run", []set{complete, func(r *schemas.Registration) { r.Versions = nil }}, nil, "", ""},
		{"it does not say its version", []set{complete}, []does{func(ev *schemas.Activity) { ev.AgentVersion = "" }}, "", ""},
		{
			"it uses another credential",
			[]set{complete},
			[]does{func(ev *schemas.Activity) { ev.CredentialID = "key-2" }},
			schemas.CheckUnknownCredential,
			"uses credential key-2, which is not the one that it is registered with (owner Ada Lovelace)",
		},
		{"it has no credential", []set{complete, func(r *schemas.Registration) { r.Credentials = []schemas.Credential{} }}, nil, schemas.CheckUnknownCredential, "uses credential key-1, and is registered with none"},
		{"nobody lists credentials", []set{complete, func(r *schemas.Registration) { r.Credentials = nil }}, nil, "", ""},
		{"it uses a static key", []set{complete}, []does{func(ev *schemas.Activity) { ev.CredentialType = "static_key" }}, schemas.CheckStaticKey, "uses static key key-1, where"},
		{"its credential is a static key", []set{complete, func(r *schemas.Registration) { r.Credentials[0].Type = "static_key" }}, nil, schemas.CheckStaticKey, "static key key-1"},
		{"its token has expired", []set{complete}, []does{expires(checksAt - 3*hourMS)}, schemas.CheckExpiredCredential, "used credential key-1 3 hours after it had expired on 2024-06-08"},
		{"its token has just expired", []set{complete}, []does{expires(checksAt - 1000)}, "", ""},
		{"its token was refused", []set{complete}, []does{expires(checksAt - 3*hourMS), func(ev *schemas.Activity) { ev.Outcome = schemas.OutcomeDenied }}, "", ""},
		{
			"its credential has expired by the registry",
			[]set{complete, func(r *schemas.Registration) { r.Credentials[0].Expires = checksAt - 2*dayMS }},
			[]does{expires(checksAt + hourMS)},
			schemas.CheckExpiredCredential, "48 hours after it had expired on 2024-06-06",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := detector.DefaultConfig()
			cfg.Identity, cfg.Runbook = everyCheck(), "https://wiki.example/"
			r := &recorder{}
			d := detector.Started(t, cfg, r)
			if c.said != nil {
				d.Process(saidOf("invoice-bot", fleetStart, c.said...))
			}
			d.Process(acts("invoice-bot", 0, c.does...))
			got := identityAlerts(r.alerts)
			if c.check == "" {
				require.Empty(t, got)
				return
			}
			require.Len(t, got, 1)
			require.Len(t, got[c.check], 1)
			a := got[c.check][0]
			require.Contains(t, a.Summary, c.says)
			require.Equal(t, "invoice-bot", a.Agent.ID)
			require.Equal(t, "https://wiki.example/"+c.check, a.Runbook)
			require.Equal(t, []string{"invoice-bot-0"}, a.Evidence.EventIDs)
			require.Equal(t, []string{"crm.read"}, a.Evidence.Tools)
			require.Equal(t, []string{"crm:contact/7"}, a.Evidence.Resources)
			require.Equal(t, "crm:contact/7", a.Evidence.CompletedBy.Target)

			d.Process(acts("invoice-bot", minuteMillis, c.does...))
			d.Process(acts("invoice-bot", minuteMillis, c.does...)) // comes again
			require.Len(t, identityAlerts(r.alerts)[c.check], 1, "more of the same is counted")
			d.Process(saidOf("clock", fleetStart, complete))
			d.Process(acts("clock", 8*dayMS))
			got = identityAlerts(r.alerts)
			require.Len(t, got, 1)
			require.Len(t, got[c.check], 2)
			closing := got[c.check][1]
			require.Equal(t, schemas.StatusClose, closing.Status)
			require.Contains(t, closing.Summary, "Ended after a quiet time: 2 calls")
			require.EqualValues(t, 2, closing.Evidence.EventCount)
			require.EqualValues(t, 1, a.Evidence.EventCount, "what was handed out is not changed")
		})
	}
}

func TestAFloodOfUnknownAgentsIsOneEpisode(t *testing.T) {
	cfg := detector.DefaultConfig()
	cfg.Identity = everyCheck()
	cfg.MaxAgents = 2000
	r := &recorder{}
	d := detector.Started(t, cfg, r)
	const names = 10_000 // a minute
	for minute := range 3 {
		for i := range names {
			d.Process(acts(fmt.Sprintf("bot-%d-%d", minute, i), schemas.Millis(minute*minuteMillis+i*6)))
		}
	}
	alerts := identityAlerts(r.alerts)[schemas.CheckUnregisteredAgent]
	opened := map[string]string{}
	for _, a := range alerts {
		if a.Status == schemas.StatusOpen {
			opened[a.EpisodeID] = a.Agent.ID
		}
	}
	require.Len(t, opened, 3, "the first two, and all others")
	last := alerts[len(alerts)-1]
	require.Equal(t, "(several agents)", last.Agent.ID)
	require.Equal(t, schemas.ReasonMoreAgents, last.Episode.Reason)
	require.Equal(t, "agents", last.Signals[0].Unit)
	require.Greater(t, last.Signals[0].Observed, 16_000.0)
	require.Less(t, len(alerts), 3+16)
	require.LessOrEqual(t, len(last.Evidence.EventIDs), schemas.MaxEvidence)
	require.Less(t, d.Stats().StateBytes, int64(20<<20))
	require.Contains(t, last.Summary, "other ones before it fail the same check: it acts, and nobody has registered it")
}

// Of what is an incident each agent is told by itself, up to a number that a shift can look at.
func TestManyAgentsThatFailACheckShareAnEpisodeInTheEnd(t *testing.T) {
	r := &recorder{}
	d := detector.Started(t, detector.DefaultConfig(), r)
	const agents = 40
	for i := range agents {
		d.Process(saidOf(fmt.Sprintf("old-%d", i), fleetStart, func(r *schemas.Registration) { r.Status = schemas.StatusDecommissioned }))
	}
	for i := range agents {
		for k := range 3 {
			d.Process(acts(fmt.Sprintf("old-%d", i), schemas.Millis(i*1000+k)))
		}
	}
	by := map[string]int{}
	for _, a := range identityAlerts(r.alerts)[schemas.CheckDecommissionedAgent] {
		by[a.Agent.ID]++
	}
	require.Len(t, by, 17)
	require.Equal(t, 1, by["old-0"])
	require.Equal(t, 5, by["(several agents)"], "of 1, 2, 4, 8 and 16 of 24")
	require.Equal(t, 17, d.Stats().OpenEpisodes)
	d.Process(saidOf("clock", fleetStart))
	d.Process(acts("clock", dayMS))
	require.Zero(t, d.Stats().OpenEpisodes)
	last := r.alerts[len(r.alerts)-1]
	for _, a := range r.alerts {
		if a.Agent.ID == "(several agents)" {
			last = a
		}
	}
	require.Equal(t, schemas.StatusClose, last.Status)
	require.Contains(t, last.Summary, "72 calls by 24 agents")
}

func TestAnotherCredentialOfOneEpisodeIsTold(t *testing.T) {
	r := &recorder{}
	d := detector.Started(t, detector.DefaultConfig(), r)
	d.Process(saidOf("a", fleetStart, complete))
	for i := range 100 {
		d.Process(acts("a", schemas.Millis(i), func(ev *schemas.Activity) { ev.CredentialID = fmt.Sprintf("stolen-%d", i/10) }))
	}
	got := identityAlerts(r.alerts)[schemas.CheckUnknownCredential]
	require.Len(t, got, 4, "1, 2, 4, 8 credentials")
	require.Equal(t, schemas.ReasonNewCredential, got[3].Episode.Reason)
	require.Equal(t, []string{"stolen-7"}, got[3].Signals[0].FirstSeen)
	require.InDelta(t, 8, got[3].Signals[0].Observed, 0)
	require.Equal(t, 0, got[3].Episode.RiskAdded)
}

func TestAnOldCredentialIsTold(t *testing.T) {
	r := &recorder{}
	d := detector.Started(t, detector.DefaultConfig(), r)
	d.Process(saidOf("a", fleetStart, complete, func(r *schemas.Registration) { r.Credentials[0].MaxAgeDays = 90 }))
	for day := range 90 {
		d.Process(acts("a", schemas.Millis(day)*dayMS))
		if day == 40 { // what it says is said again, with more
			d.Process(saidOf("a", fleetStart+41*dayMS, func(r *schemas.Registration) {
				r.Versions, r.Credentials = []string{"1.0"}, []schemas.Credential{{ID: "key-0"}, {ID: "key-1", MaxAgeDays: 90}}
			}))
		}
	}
	require.Empty(t, identityAlerts(r.alerts))
	d.Process(acts("a", 91*dayMS))
	got := identityAlerts(r.alerts)[schemas.CheckCredentialOverdue]
	require.Len(t, got, 1)
	require.Contains(t, got[0].Summary, "uses credential key-1 since 2024-06-08, for 91 days of at most 90 (owner Ada Lovelace)")
	require.InDelta(t, 91, got[0].Signals[0].Observed, 0)
	require.InDelta(t, 90, got[0].Signals[0].Expected, 0)
}

// A check may be off, or only observed, for some tenants, groups and agents.
func TestIdentityChecksFollowTheConfig(t *testing.T) {
	no := func(mode string) map[string]string {
		return map[string]string{schemas.CheckUnregisteredAgent: mode}
	}
	for _, c := range []struct {
		name     string
		all      map[string]string
		override []detector.Override
		alerts   int
		observed uint64
	}{
		{"nobody requires it", nil, nil, 0, 0},
		{"all are required", no(detector.IdentityAlert), nil, 1, 0},
		{"all are observed", no(detector.IdentityObserve), nil, 0, 2},
		{"required of the tenant", nil, []detector.Override{{Tenant: "def*", Identity: no(detector.IdentityAlert)}}, 1, 0},
		{"required of another tenant", nil, []detector.Override{{Tenant: "acme", Identity: no(detector.IdentityAlert)}}, 0, 0},
		{"not of the group", no(detector.IdentityAlert), []detector.Override{{PeerGroup: "crm", Identity: no(detector.IdentityOff)}}, 0, 0},
		{"observed of the agent", no(detector.IdentityAlert), []detector.Override{{Agent: "shadow*", Identity: no(detector.IdentityObserve)}}, 0, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := detector.DefaultConfig()
			cfg.Identity, cfg.Overrides = c.all, c.override
			r := &recorder{}
			d := detector.Started(t, cfg, r)
			d.Process(acts("shadow-1", 0))
			d.Process(acts("shadow-1", 1))
			require.Len(t, identityAlerts(r.alerts)[schemas.CheckUnregisteredAgent], c.alerts)
			require.Equal(t, c.observed, d.Stats().Observed[0])
		})
	}
	for _, bad := range []map[string]string{{"no_such_check": "alert"}, {schemas.CheckNoOwner: "yes"}} {
		cfg := detector.DefaultConfig()
		cfg.Identity = bad
		_, err := detector.New(cfg, &recorder{})
		require.Error(t, err)
		cfg.Identity, cfg.Overrides = nil, []detector.Override{{Identity: bad}}
		_, err = detector.New(cfg, &recorder{})
		require.Error(t, err)
	}
}

// What happened before an agent was decommissioned is no offence, however late it comes; but
// nobody gets around it by dating events back.
func TestTheEndOfAnAgentHoldsAgainstEventsThatAreDatedBack(t *testing.T) {
	const ended = checksAt + dayMS
	decommissioned := func(r *schemas.Registration) { r.Status, r.Time = schemas.StatusDecommissioned, ended }
	for _, c := range []struct {
		name   string
		comes  schemas.Millis // behind the end, when the event is there
		dated  schemas.Millis // likewise, by its time
		alerts int
	}{
		{"before", -hourMS, -hourMS, 0},
		{"a moment late", 10 * minuteMillis, -minuteMillis, 0},
		{"after", minuteMillis, minuteMillis, 1},
		{"dated back by hours", 3 * hourMS, -minuteMillis, 1},
		{"dated back by days", 3 * dayMS, -dayMS, 1},
		{"dated 1970", hourMS, -ended, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{}
			d := detector.Started(t, detector.DefaultConfig(), r)
			d.Process(saidOf("a", fleetStart, complete))
			d.Process(acts("a", 0))
			d.Process(saidOf("a", fleetStart, decommissioned))
			other := acts("other", ended-checksAt+c.comes)
			d.Process(other)
			ev := acts("a", 1, func(ev *schemas.Activity) { ev.Time = ended + c.dated })
			d.Process(ev)
			require.Len(t, identityAlerts(r.alerts)[schemas.CheckDecommissionedAgent], c.alerts)
		})
	}
	t.Run("a copy of what it did", func(t *testing.T) {
		r := &recorder{}
		d := detector.Started(t, detector.DefaultConfig(), r)
		d.Process(saidOf("a", fleetStart, complete))
		d.Process(acts("a", 0))
		d.Process(saidOf("a", fleetStart, decommissioned))
		d.Process(acts("other", 3*dayMS))
		v := d.Process(acts("a", 0))
		require.True(t, v.Duplicate)
		require.Len(t, identityAlerts(r.alerts)[schemas.CheckDecommissionedAgent], 1)
	})
	t.Run("a history behind the registrations", func(t *testing.T) {
		r := &recorder{}
		d := detector.Started(t, detector.DefaultConfig(), r)
		d.Process(saidOf("a", ended, decommissioned))
		for i := range 20 {
			d.Process(acts("a", schemas.Millis(i)*hourMS))
		}
		require.Empty(t, identityAlerts(r.alerts))
	})
}

// An agent whose registration had no room is not told to be none.
func TestAFullRegistryAccusesNobody(t *testing.T) {
	cfg := detector.DefaultConfig()
	cfg.Identity = everyCheck()
	r := &recorder{}
	d := detector.Started(t, cfg, r)
	d.Process(saidOf("a", 1, func(r *schemas.Registration) { r.Labels = make([]schemas.Attribute, schemas.MaxRegistrationList+1) }))
	require.EqualValues(t, 1, d.Stats().RegistrationsRefused)
	d = detector.Loaded(t, cfg, r, d.Save())
	d.Process(acts("a", 0))
	require.Empty(t, identityAlerts(r.alerts))
}

func TestEpisodesOfChecksEndWithWhatTheyAreOf(t *testing.T) {
	cfg := detector.DefaultConfig()
	cfg.Identity = everyCheck()
	cfg.MaxAgents, cfg.MaxTenants = 4, 2
	r := &recorder{}
	d := detector.Started(t, cfg, r)
	for i := range 6 {
		d.Process(acts(fmt.Sprintf("shadow-%d", i), schemas.Millis(i)))
	}
	require.Equal(t, 3, d.Stats().OpenEpisodes, "agents with an open episode are evicted last")
	for i := range 2 { // a tenant has to go for the second
		d.Process(acts("b", 3*dayMS+schemas.Millis(i), func(ev *schemas.Activity) { ev.TenantID = fmt.Sprintf("t%d", i) }))
	}
	open := map[string]bool{}
	for _, a := range identityAlerts(r.alerts)[schemas.CheckUnregisteredAgent] {
		if open[a.EpisodeID] = a.Status != schemas.StatusClose; a.TenantID == schemas.DefaultTenant {
			continue
		}
		require.Equal(t, "b", a.Agent.ID)
	}
	still := 0
	for _, is := range open {
		if is {
			still++
		}
	}
	require.Equal(t, d.Stats().OpenEpisodes, still)
	require.Equal(t, 2, still)
}

func TestAClockThatIsSetBackSetsEpisodesOfChecksBack(t *testing.T) {
	cfg := detector.DefaultConfig()
	cfg.Identity = everyCheck()
	r := &recorder{}
	d := detector.Started(t, cfg, r)
	d.Process(saidOf("a", fleetStart, complete, func(r *schemas.Registration) { r.Credentials[0].MaxAgeDays = 2 }))
	for i := range 4 { // dated 2040, which is believed
		d.Process(acts(fmt.Sprintf("shadow-%d", i), 0, func(ev *schemas.Activity) { ev.Time = 2_208_988_800_000 }))
	}
	d.Process(acts("a", 0, func(ev *schemas.Activity) { ev.Time = 2_208_988_800_000 }))
	require.Equal(t, 3, d.Stats().OpenEpisodes)
	step := func(after schemas.Millis) {
		d.Arrived(checksAt + after)
		d.Process(acts("a", after))
	}
	step(0)
	require.EqualValues(t, 1, d.Stats().Healed)
	d = detector.Loaded(t, cfg, r, d.Save())
	step(6 * dayMS)
	require.Len(t, identityAlerts(r.alerts)[schemas.CheckCredentialOverdue], 1, "it is used since the clock was right")
	step(8 * dayMS)
	require.Equal(t, 1, d.Stats().OpenEpisodes)
}

// TestARegistryThatIsRightRaisesNoAlert registers the agents of simulated fleets as they are.
func TestARegistryThatIsRightRaisesNoAlert(t *testing.T) {
	for seed := range uint64(20) {
		options := simulator.Options{Agents: 40, Days: 3, Seed: seed}
		fleet, err := simulator.New(options)
		require.NoError(t, err)
		used := map[string]schemas.Credential{}
		of := map[string]*schemas.Registration{}
		for ev := (schemas.Activity{}); fleet.Next(&ev); {
			if of[ev.AgentID] == nil {
				used[ev.AgentID] = schemas.Credential{ID: ev.CredentialID, Type: ev.CredentialType, MaxAgeDays: 90}
				of[ev.AgentID] = &schemas.Registration{TenantID: ev.TenantID, AgentID: ev.AgentID, Time: 1, Owner: "Ada", PeerGroup: ev.PeerGroup}
			}
			if v := &of[ev.AgentID].Versions; !slices.Contains(*v, ev.AgentVersion) {
				*v = append(*v, ev.AgentVersion)
			}
			require.Equal(t, used[ev.AgentID].ID, ev.CredentialID)
		}
		cfg := detector.DefaultConfig()
		cfg.Identity = everyCheck()
		cfg.Identity[schemas.CheckStaticKey] = detector.IdentityObserve // some have one
		r, plain := &recorder{}, &recorder{}
		d, unregistered := detector.Started(t, cfg, r), detector.Started(t, detector.DefaultConfig(), plain)
		for _, id := range slices.Sorted(maps.Keys(of)) {
			of[id].Credentials = []schemas.Credential{used[id]}
			d.Process(&schemas.Activity{Registration: of[id]})
		}
		fleet, err = simulator.New(options)
		require.NoError(t, err)
		for ev := (schemas.Activity{}); fleet.Next(&ev); {
			require.Equal(t, unregistered.Process(&ev), d.Process(&ev), "who is registered is judged as before")
		}
		require.Empty(t, identityAlerts(r.alerts), "seed %d", seed)
		require.Len(t, r.alerts, len(plain.alerts))
		require.Positive(t, d.Stats().Observed[slices.Index(detector.IdentityChecks(), schemas.CheckStaticKey)])
		require.Empty(t, identityAlerts(plain.alerts), "seed %d: without registrations", seed)
	}
}
