package detector_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// saidOf is a registration as it comes in the log.
func saidOf(agent string, at schemas.Millis, set ...func(*schemas.Registration)) *schemas.Activity {
	r := &schemas.Registration{TenantID: schemas.DefaultTenant, AgentID: agent, Time: at, Owner: "Ada Lovelace", Contact: "ada@corp.example"}
	for _, s := range set {
		s(r)
	}
	return &schemas.Activity{Time: at, TenantID: r.TenantID, AgentID: agent, Registration: r}
}

// sends is an event that stands out: much data to a place that nobody knows.
func (h *house) sends(d *detector.Detector) {
	e := h.event(0, h.agent.tools[0], schemas.AccessSend, "email:drop@evil.example", 20e6)
	d.Process(&e.ev)
}

func TestAlertsSayWhoIsAccountable(t *testing.T) {
	h := newHouse(t, 3)
	owned := func(owner string) func(*schemas.Registration) {
		return func(r *schemas.Registration) { r.Owner, r.Criticality = owner, schemas.CriticalityHigh }
	}
	for _, c := range []struct {
		name, owner string
		said        []*schemas.Activity
		outdated    uint64
	}{
		{"nobody", "", nil, 0},
		{"who was said", "Ada", []*schemas.Activity{saidOf(h.agent.id, 5, owned("Ada"))}, 0},
		{"who was said last", "Bob", []*schemas.Activity{saidOf(h.agent.id, 5, owned("Ada")), saidOf(h.agent.id, 6, owned("Bob"))}, 0},
		{"who came last of two of one time", "Bob", []*schemas.Activity{saidOf(h.agent.id, 5, owned("Ada")), saidOf(h.agent.id, 5, owned("Bob"))}, 0},
		{"not who was said before", "Ada", []*schemas.Activity{saidOf(h.agent.id, 5, owned("Ada")), saidOf(h.agent.id, 4, owned("Bob"))}, 1},
		{"not that of another agent", "", []*schemas.Activity{saidOf("another", 5, owned("Ada"))}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := &recorder{}
			d := detector.Loaded(t, h.cfg, r, h.saved)
			before := d.Stats()
			for _, ev := range c.said {
				d.Process(ev)
			}
			require.Equal(t, before.Watermark, d.Stats().Watermark, "what is said moves no clock")
			h.sends(d)
			require.NotEmpty(t, r.alerts)
			require.Equal(t, c.owner, r.alerts[0].Agent.Owner)
			require.Equal(t, c.owner != "", r.alerts[0].Agent.Contact == "ada@corp.example" && r.alerts[0].Agent.Criticality == schemas.CriticalityHigh)
			require.Equal(t, c.outdated, d.Stats().RegistrationsOutdated)
		})
	}
}

func TestARegistrationOutlivesTheBaselinesOfItsAgent(t *testing.T) {
	cfg := detector.DefaultConfig()
	cfg.MaxAgents = 3
	d := detector.Started(t, cfg, &recorder{})
	event := func(agent string, i int) {
		d.Process(&schemas.Activity{
			EventID: fmt.Sprint(i), Time: fleetStart + schemas.Millis(i)*1000, TenantID: schemas.DefaultTenant, AgentID: agent, Tool: "crm.read",
		})
	}
	d.Process(saidOf("kept", fleetStart))
	event("kept", 0)
	for i := 1; i < 20; i++ {
		event(fmt.Sprintf("name-%d", i), i)
	}
	require.Equal(t, 3, d.Stats().Agents)
	require.Equal(t, 1, d.Stats().Registrations)
	log := &detector.CutStore{}
	log.Add(d)
	require.Contains(t, log.Agents, "default/kept")
	text, err := detector.DumpAgent(log.Agents["default/kept"])
	require.NoError(t, err)
	require.Contains(t, text, `registered.owner "Ada Lovelace"`)
	require.NotContains(t, text, "profile")
	event("kept", 20)
	log.Add(d)
	text, err = detector.DumpAgent(log.Agents["default/kept"])
	require.NoError(t, err)
	require.Contains(t, text, `registered.owner "Ada Lovelace"`)
	require.Contains(t, text, "profile", "one record holds both")
}

// A producer names its peers on three days before it is believed; who is accountable for the
// agent is believed at once.
func TestAnAgentJoinsThePeersThatItsRegistrationNames(t *testing.T) {
	h := newHouse(t, 4)
	r := &recorder{}
	d := detector.Loaded(t, h.cfg, r, h.saved)
	d.Process(saidOf(h.agent.id, h.at, func(r *schemas.Registration) { r.PeerGroup = "finance" }))
	h.at += hourMS
	h.sends(d)
	require.NotEmpty(t, r.alerts)
	require.Equal(t, "finance", r.alerts[0].Agent.PeerGroup)
	d.Process(saidOf("new", h.at, func(r *schemas.Registration) { r.PeerGroup = "finance" }))
	h.agent.id = "new"
	h.sends(d)
	last := r.alerts[len(r.alerts)-1]
	require.Equal(t, "new", last.Agent.ID)
	require.Equal(t, "finance", last.Agent.PeerGroup)
}

func TestNothingOfARegistrationIsKeptByReference(t *testing.T) {
	d := detector.Started(t, detector.DefaultConfig(), &recorder{})
	ev := saidOf("a", 1, func(r *schemas.Registration) { r.Versions, r.Tools = []string{"1"}, []string{} })
	d.Process(ev)
	saved := d.Save()
	ev.Registration.Owner, ev.Registration.Versions[0] = "Mallory", "666"
	require.Equal(t, saved, d.Save())
}

func TestRegistrationsAreBounded(t *testing.T) {
	d := detector.Started(t, detector.DefaultConfig(), &recorder{})
	long := strings.Repeat("x", schemas.MaxRegistrationText)
	grants := make([]string, 50)
	for i := range grants {
		grants[i] = long
	}
	const most = 256 << 20
	n := 0
	for ; d.Stats().RegistrationsRefused == 0; n++ {
		d.Process(saidOf(fmt.Sprintf("agent-%d", n), 1, func(r *schemas.Registration) { r.Tools = grants }))
		require.Less(t, n, most/len(long)/len(grants)+1, "there is no room for as much")
	}
	require.Equal(t, n-1, d.Stats().Registrations)
	require.Less(t, d.Stats().StateBytes, int64(most+10<<20))
	d.Process(saidOf("agent-0", 2, func(r *schemas.Registration) { r.Status = schemas.StatusDecommissioned; r.Tools = grants }))
	require.EqualValues(t, 1, d.Stats().RegistrationsRefused, "one that replaces another is taken")
	d.Process(saidOf("wrong", 2, func(r *schemas.Registration) { r.Owner = long + "x" }))
	require.EqualValues(t, 2, d.Stats().RegistrationsRefused, "one that is over a limit is not")
}
