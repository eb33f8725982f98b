package baseline_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
)

func TestASecondAgentIsExpectedAsOftenAsToolsHadOne(t *testing.T) {
	const day = 86_400_000
	rarity := func(g *baseline.Peers, item uint64, now int64) float64 {
		var n baseline.Novelty
		return n.Rarity(g, baseline.ItemTool, item, nil, false, now).PerDay
	}
	history := func(followed bool) (second, site float64) {
		g := baseline.NewPeers(baseline.NewPeers(nil))
		g.Vouching = 10
		var quiet baseline.Novelty
		for range 200_000 { // nothing is ever new to one agent alone
			quiet.Learn(g, baseline.ItemTool, nil, false, baseline.NoveltyWeight{}, 0)
		}
		now := int64(0)
		for i := range uint64(20) {
			now += 20 * day
			g.Adopted(baseline.ItemTool, i, true, now)
			if followed {
				g.Adopted(baseline.ItemTool, i, true, now+day)
			}
		}
		now += 20 * day
		g.Adopted(baseline.ItemTool, 100, true, now)
		g.Adopted(baseline.ItemDestination, 101, false, now)
		return rarity(g, 100, now+day), rarity(g, 101, now+day)
	}
	often, site := history(true)
	seldom, _ := history(false)
	require.InDelta(t, 21.0/23/10, often, 0.005, "of ten agents in a day, as often as tools had a second one")
	require.Less(t, seldom, often/2)
	require.Less(t, site, often/2, "where a known tool sends data says nothing of the others")
}

func TestAToolRollsOutOnlyWhereItIsMuchYoungerThanItsPeers(t *testing.T) {
	const day = 86_400_000
	old, young, other := baseline.Hash(1, "old"), baseline.Hash(1, "young"), baseline.Hash(1, "other")
	g := baseline.NewPeers(baseline.NewPeers(nil))
	g.Vouching = 2
	rollsOut := func(item uint64, now int64) bool {
		var n baseline.Novelty
		return n.Rarity(g, baseline.ItemTool, item, nil, false, now).RollingOut
	}
	g.Adopted(baseline.ItemTool, old, true, day)
	require.False(t, rollsOut(old, day), "all tools are new to a new group")
	var a, b baseline.Profile
	a.Novelty.Vouches, b.Novelty.Vouches = true, true
	for range 20 {
		a.Begin(g, 1)
		b.Begin(g, 1)
	}
	for range 6 { // that many have long known it
		g.Learnt(old, day)
	}
	g.Advance(20 * day)
	g.Adopted(baseline.ItemTool, old, true, 20*day)
	g.Adopted(baseline.ItemTool, young, true, 20*day)
	require.True(t, rollsOut(young, 21*day))
	require.False(t, rollsOut(old, 21*day), "it was there from the first day")
	require.False(t, rollsOut(young, 40*day), "it has spread")
	require.False(t, rollsOut(other, 21*day), "nobody uses it")
}
