package detector_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

const minuteMS = 60_000

// honestLog is the work of a fleet, in the order of its arrival.
func honestLog(f *fleet, days int) (log []sent) {
	for day := range days {
		for _, ev := range f.day(day) {
			log = append(log, sent{ev: ev, arrived: ev.Time})
		}
	}
	return log
}

// calm is a fleet that does so little that a test can watch it for weeks.
func calm(seed uint64, agents int) *fleet {
	f := newFleet(seed, agents)
	for _, a := range f.agents {
		if a.novel /= 4; a.kind != rare {
			a.level /= 4
		}
	}
	return f
}

// merged puts logs together by arrival.
func merged(logs ...[]sent) []sent {
	all := slices.Concat(logs...)
	slices.SortStableFunc(all, func(a, b sent) int { return int(a.arrived - b.arrived) })
	return all
}

// pulse is one event a minute of an agent, while it has something to do.
func pulse(tenant, agent string, from, to schemas.Millis) (log []sent) {
	for at := from; at < to; at += minuteMS {
		log = append(log, sent{arrived: at, ev: schemas.Activity{
			EventID: fmt.Sprintf("%s-%d", agent, at), Time: at, TenantID: tenant, AgentID: agent, PeerGroup: "pulses", SessionID: agent,
			Tool: "tick", Outcome: schemas.OutcomeSuccess,
		}})
	}
	return log
}

// fed is what a detector said of a log.
type fed struct {
	recorder
	verdicts []detector.Verdict
}

func feed(d *detector.Detector, log []sent, to *fed) {
	for i := range log {
		ev := log[i].ev
		d.Arrived(log[i].arrived)
		if log[i].tick {
			d.Tick(ev.Time)
			continue
		}
		v := d.Process(&ev)
		v.Signals = slices.Clone(v.Signals)
		to.verdicts = append(to.verdicts, v)
	}
}

func watch(t *testing.T, log []sent) (*detector.Detector, *fed) {
	t.Helper()
	f := &fed{}
	d := detector.Started(t, detector.DefaultConfig(), f)
	feed(d, log, f)
	return d, f
}

// goneOn is what a detector that was saved says of a log.
func goneOn(t *testing.T, saved []byte, log []sent) *fed {
	t.Helper()
	f := &fed{}
	feed(detector.Loaded(t, detector.DefaultConfig(), f, saved), log, f)
	return f
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// contact is an agent's call of a tool that sends a little to a place.
func contact(agent, group, tool, place string, at schemas.Millis) sent {
	return sent{arrived: at, ev: schemas.Activity{
		EventID: fmt.Sprintf("%s-%s-%d", agent, tool, at), Time: at, TenantID: schemas.DefaultTenant, AgentID: agent, PeerGroup: group,
		SessionID: fmt.Sprintf("%s-%d", agent, at/hourMS), Tool: tool, Access: schemas.AccessSend, Resources: []string{place},
		BytesSent: 400, Outcome: schemas.OutcomeSuccess,
	}}
}

func TestInventedPeersVouchForNoPlace(t *testing.T) {
	const drop = "url:https://paste.evil.example/u"
	f := calm(seeded.Rand(t).Uint64(), 40)
	log := honestLog(f, 29)
	day := func(n int) schemas.Millis { return fleetStart + schemas.Millis(n)*dayMS }
	begin := slices.IndexFunc(log, func(e sent) bool { return e.arrived >= day(22) })
	d, _ := watch(t, log[:begin])
	saved := d.Save()
	for _, victim := range []*simAgent{f.agents[10], f.agents[6]} {
		for _, tool := range []string{"http.post", victim.tools[0]} {
			first := contact(victim.id, victim.group, tool, drop, day(28)+10*hourMS)
			score := func(vouching []sent) float64 {
				before := slices.IndexFunc(log, func(e sent) bool { return e.arrived > first.arrived })
				got := goneOn(t, saved, append(merged(log[begin:before], vouching), first))
				return got.verdicts[len(got.verdicts)-1].Score
			}
			control := score(nil)
			require.Greater(t, control, 50.0)
			for _, peers := range []int{2, 20, 100} {
				for days := 1; days <= 6; days++ {
					t.Run(fmt.Sprintf("%s by %s, %d peers for %d days", victim.kind, tool, peers, days), func(t *testing.T) {
						var vouching []sent
						for k := range peers {
							for n := 28 - days; n < 28; n++ {
								vouching = append(vouching, contact(fmt.Sprintf("agent-x%03d", k), victim.group, tool, drop, day(n)+8*hourMS+schemas.Millis(k)*40_000))
							}
						}
						got := score(vouching)
						t.Logf("%.1f of %.1f", got, control)
						require.GreaterOrEqual(t, got, control-disguiseLoses)
						require.Greater(t, got, 50.0)
					})
				}
			}
		}
	}
}

// Who calls itself one of others would be held against what they do.
func TestAnAgentThatNamesAnotherGroupIsHeldAgainstItsOwnForThreeDays(t *testing.T) {
	const partner = "email:desk@partner.example"
	f := calm(seeded.Rand(t).Uint64(), 40)
	log := honestLog(f, 28)
	for i, a := range f.agents { // all of one group write to a partner
		for n := 8; n < 28 && a.kind == diurnal; n++ {
			log = append(log, contact(a.id, a.group, a.tools[0], partner, fleetStart+schemas.Millis(n)*dayMS+12*hourMS+schemas.Millis(i)*1000))
		}
	}
	d, _ := watch(t, merged(log))
	saved := d.Save()
	agent := f.agents[10]
	require.Equal(t, steady, agent.kind)
	run := func(log ...sent) *fed { return goneOn(t, saved, log) }
	// Each day it makes a call at work, and one hour later another one.
	var claims []sent
	for n := range 6 {
		at := fleetStart + schemas.Millis(28+n)*dayMS + 9*hourMS
		for k := range 2 {
			e := contact(agent.id, string(diurnal), agent.tools[0], agent.dests[0], at+schemas.Millis(k)*hourMS)
			claims = append(claims, e)
		}
	}
	got := run(append(claims, contact("clock", "pulses", "tick", "file:x", claims[len(claims)-1].arrived+2*hourMS))...)
	var groups []string
	for _, w := range got.windows {
		if w.AgentID == agent.id && w.Start >= claims[0].arrived {
			groups = append(groups, w.PeerGroup)
		}
	}
	own, other := string(steady), string(diurnal)
	require.Equal(t, []string{own, own, own, own, own, own, other, other, other, other, other, other}, groups)

	for days := range 3 {
		at := fleetStart + schemas.Millis(28+days)*dayMS + 11*hourMS
		plain := clones(claims[:2*days+2])
		for i := range plain {
			plain[i].ev.PeerGroup = own
		}
		control := run(append(plain, contact(agent.id, own, agent.tools[0], partner, at))...)
		disguised := run(append(clones(claims[:2*days+2]), contact(agent.id, other, agent.tools[0], partner, at))...)
		was, is := control.verdicts[len(control.verdicts)-1].Score, disguised.verdicts[len(disguised.verdicts)-1].Score
		t.Logf("%d days: %.1f of %.1f", days, is, was)
		require.Greater(t, is, 50.0)
		require.InDelta(t, was, is, 1, "after %d days", days)
	}
	// Those whose partner it is know it.
	known := run(contact(f.agents[11].id, other, f.agents[11].tools[0], partner, fleetStart+28*dayMS+11*hourMS))
	require.Less(t, known.verdicts[0].Score, 50.0)
}

// A fleet that is new has nobody who has been there for long; its agents know each other
// from the first days on all the same.
func TestTheAgentsOfANewFleetVouchForEachOtherAtOnce(t *testing.T) {
	const partner, strangers = "email:desk@partner.example", "email:desk@stranger.example"
	const crew = 12
	name := func(i int) string { return fmt.Sprintf("crew-%d", i) }
	for _, days := range []int{1, 2, 3, 5, 8} {
		t.Run(fmt.Sprintf("%d days", days), func(t *testing.T) {
			begin := fleetStart + schemas.Millis(days)*dayMS
			var log []sent
			for i := range crew {
				for n, at := 0, fleetStart+schemas.Millis(i)*1000; at < begin; n, at = n+1, at+10*minuteMS {
					e := contact(name(i), "crew", "mail", "email:team@corp.example", at)
					if n%8 != 7 {
						e.ev.Tool, e.ev.Access, e.ev.Resources = "drive.read", schemas.AccessRead, []string{fmt.Sprintf("file:%d-%d", i, n%5)}
					}
					log = append(log, e)
				}
				if i > 0 { // all others write to the partner on the last day
					log = append(log, contact(name(i), "crew", "mail", partner, begin-schemas.Millis(i)*30*minuteMS))
				}
			}
			d, _ := watch(t, merged(log))
			saved := d.Save()
			writes := func(place string, bytes uint64) *fed {
				e := contact(name(0), "crew", "mail", place, begin+hourMS/2)
				e.ev.BytesSent = bytes
				return goneOn(t, saved, []sent{e})
			}
			known, unknown := writes(partner, 400).verdicts[0].Surprise, writes(strangers, 400).verdicts[0].Surprise
			require.Less(t, known, unknown, "what peers know is less of a surprise")
			alerts := writes(strangers, 50<<20).alerts
			require.NotEmpty(t, alerts)
			last := alerts[len(alerts)-1]
			require.Equal(t, name(0), last.Agent.ID)
			require.Contains(t, last.Summary, "any of its 11 peers")
		})
	}
}
