package main

import (
	"bytes"
	"encoding/json"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestTheBaselineKeepsItsBudgetOnPoissonTraffic(t *testing.T) {
	const agents, days, perDay, seed = 200, 40, .1, 5
	t.Logf("seed %d", seed)
	src := rand.NewPCG(seed, 0)
	counts := distuv.Poisson{Lambda: 40, Src: src}
	e := newEWMA(perDay)
	for a := range agents {
		id := who{"default", string(rune('a' + a))}
		for h := range schemas.Millis(24 * days) {
			for n := range schemas.Millis(counts.Rand()) {
				e.see(id, h*hour+n, false)
			}
		}
	}
	alerts := e.found.count()
	ratio := float64(alerts) / agents / days / perDay
	t.Logf("%d alerts, %.2f of the budget", alerts, ratio)
	// Below 1 for the counts are whole, above for the mean is estimated.
	assert.False(t, ratio < .4 || ratio > 1.6)
}

func TestAlertsAreCountedOnAgentsWithoutALabelOnly(t *testing.T) {
	quiet, attacked := who{"default", "quiet"}, who{"default", "attacked"}
	days := make([]schemas.Millis, 20)
	for i := range days {
		days[i] = schemas.Millis(i)
	}
	p := &played{
		from: 1000 * day,
		agents: map[who]simulator.AgentInfo{
			quiet:    {TenantID: "default", AgentID: "quiet", Archetype: simulator.Rare},
			attacked: {TenantID: "default", AgentID: "attacked", Archetype: simulator.Steady},
		},
		agentDays: map[who][]schemas.Millis{quiet: days, attacked: days[:10]},
	}
	at := func(d schemas.Millis, open bool, signal string) alarm {
		return alarm{at: p.from + d*day + hour, open: open, signal: signal}
	}
	found := alarms{
		quiet:    {at(3, true, "call_rate"), at(3, false, "call_rate"), at(14, true, "drift"), at(19, true, "drift")},
		attacked: {at(2, true, "call_rate")},
	}
	b := rates(p, found, []simulator.Label{{TenantID: "default", AgentID: "attacked"}})
	assert.Equal(t, share{3, 20}, b.All)
	assert.Equal(t, share{1, 14}, b.Early)
	assert.Equal(t, share{2, 6}, b.Settled)
	assert.Equal(t, map[string]share{"rare": {2, 6}}, b.Archetypes)
	assert.Equal(t, map[string]int{"call_rate": 1, "drift": 2}, b.Signals)
	assert.InDelta(t, 15.0, b.All.ratio(.01), 1e-9)
	assert.Equal(t, share{4, 30}, rates(p, found, nil).All)
}

func TestAnAttackIsFoundByAnAlertInItsTime(t *testing.T) {
	id := who{"default", "bot"}
	l := simulator.Label{TenantID: "default", AgentID: "bot", Kind: simulator.KindSweep, Start: 10 * hour, End: 12 * hour}
	for _, c := range []struct {
		name        string
		found       alarms
		honest      alarms
		want, lucky int
	}{
		{name: "no alert at all"},
		{name: "an alert before it", found: alarms{id: {{at: 10*hour - 1}}}},
		{name: "an alert long after it", found: alarms{id: {{at: 13*hour + 1}}}},
		{name: "an alert on another agent", found: alarms{who{"other", "bot"}: {{at: 11 * hour}}}},
		{name: "an alert during it", found: alarms{id: {{at: 9 * hour}, {at: 11 * hour, attacks: 7, signal: "resource_breadth"}}}, want: 1},
		{
			name:  "an alert that comes without the attack too",
			found: alarms{id: {{at: 11 * hour, attacks: 7, signal: "resource_breadth"}}}, honest: alarms{id: {{at: 12 * hour}}}, want: 1, lucky: 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			into := tallies{}
			credit(into, l, c.found, c.honest)
			got := into[simulator.KindSweep]
			assert.Equal(t, 1, got.Attacks)
			assert.Equal(t, c.want, got.Found)
			assert.Equal(t, c.lucky, got.Luck)
			if c.want == 1 {
				assert.Equal(t, []float64{7}, got.Events)
				assert.Equal(t, []float64{1}, got.Hours)
				assert.Equal(t, map[string]int{"resource_breadth": 1}, got.Signals)
			}
		})
	}
}

func TestSeveritiesAreSortedByWhatTheyBelongTo(t *testing.T) {
	bot, other := who{"default", "bot"}, who{"default", "other"}
	p := &played{
		labels: []simulator.Label{{TenantID: "default", AgentID: "bot", Kind: simulator.KindExfilFast, Start: 10 * hour, End: 12 * hour}},
		detector: alarms{
			bot: {
				{at: 9 * hour, episode: "a", severity: schemas.SeverityLow},
				{at: 11 * hour, episode: "a", severity: schemas.SeverityHigh},
				{at: 20 * hour, episode: "b", severity: schemas.SeverityMedium},
			},
			other: {{at: 11 * hour, episode: "c", severity: schemas.SeverityHigh}},
		},
	}
	assert.Equal(t, severityUse{
		Alerts:   [4]split{{0, 1}, {0, 1}, {1, 1}, {}},
		Episodes: [4]split{{}, {0, 1}, {1, 1}, {}},
		Worst:    [4]int{0, 0, 1, 0},
	}, useOf(p))
}

// An analyst who looks at the critical alerts first must not find a rollout there.
func TestSeverityMeansSomething(t *testing.T) {
	var sum severityUse
	for seed := uint64(201); seed <= 204; seed++ {
		p, err := play(simulator.Options{Agents: 120, Days: 35, Seed: seed, Tails: simulator.TailsNB, Kinds: simulator.Kinds()}, detector.DefaultConfig(), false)
		require.NoError(t, err)
		u := useOf(p)
		sum.plus(&u)
	}
	t.Logf("%+v", sum)
	part := func(s split) float64 { return float64(s.Attacks) / float64(s.Attacks+s.Others) }
	for _, of := range [][4]split{sum.Alerts, sum.Episodes} {
		assert.Greater(t, part(of[3]), 0.9, "critical")
		assert.Greater(t, part(of[2]), 0.8, "high")
	}
	w := sum.Worst
	assert.Greater(t, float64(w[2]+w[3])/float64(w[0]+w[1]+w[2]+w[3]), 0.9, "attacks that move data out")
}

func TestTheReportHoldsEveryAttackAndEveryAgentDay(t *testing.T) {
	o, err := parse([]string{"--seeds", "2", "--agents", "36", "--days", "8", "--tails", "both", "--output", "json"}, io.Discard)
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, measure(t.Context(), o, &out))
	var got []report
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.Len(t, got, 6)
	for i := range 2 {
		one, two, all := got[3*i], got[3*i+1], got[3*i+2]
		assert.Equal(t, "all", all.Name)
		assert.Equal(t, one.Events+two.Events, all.Events)
		assert.Equal(t, one.Honest.All.AgentDays+two.Honest.All.AgentDays, all.Honest.All.AgentDays)
		attacks := 0
		for _, tally := range all.Attacks {
			attacks += tally.Attacks
			assert.Len(t, tally.Events, tally.Found)
		}
		assert.Equal(t, 18, attacks, "a quarter of 36 agents, twice")
	}
	page, err := newPage(t.Context(), o, got)
	require.NoError(t, err)
	for _, k := range simulator.Kinds() {
		assert.Contains(t, page.String(), "\n| "+string(k)+" |")
	}
}

func TestFlagsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, args := range [][]string{{"--output", "xml"}, {"--seeds", "0"}, {"stray"}, {"--agents", "many"}} {
		_, err := parse(args, io.Discard)
		require.Error(t, err, args)
	}
	o, err := parse([]string{"--tails", "thick"}, io.Discard)
	require.NoError(t, err)
	assert.ErrorContains(t, measure(t.Context(), o, io.Discard), "thick")
}
