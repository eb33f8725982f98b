package backtest

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestAllSidesSeeTheSameEventsAndAWrongClockMakesNoDays(t *testing.T) {
	sides := []Side{{detector.DefaultConfig(), 1}, {detector.DefaultConfig(), 3}}
	r, err := New(sides)
	require.NoError(t, err)
	const first, hour = 1_772_409_600_000, 3600 * 1000 // 2026-03-02
	for i := range schemas.Millis(12 * 24) {
		for agent := range 20 {
			ev := schemas.Activity{TenantID: "default", AgentID: strconv.Itoa(agent), Time: first + i*hour, Tool: "t", Resources: []string{"db:x"}}
			r.Add(&ev, ev.Time, 100)
		}
	}
	r.Finish()
	got := r.Compare(sides, -1, []Incident{{Agent: "1", Tenant: "default", From: first, To: first + 1}})
	require.EqualValues(t, 12*24*20, got.Events)
	require.Equal(t, []string{"2026-03-02", "2026-03-13", "2026-03-05"}, []string{got.From, got.To, got.CountedFrom})
	require.Equal(t, 9*20, got.AgentDays)
	require.Equal(t, 1, got.Incidents.Outside)
	require.Zero(t, got.Lost+got.Gained)

	// One event of a clock that is wrong moves neither end.
	require.Equal(t, int64(first/dayMillis), r.span(-1).first)
	for day := range int64(100) {
		r.days[day+30000] = 20
		for agent := range uint64(20) {
			r.perDay[agentDay{agent, day + 30000}] = struct{}{}
		}
	}
	r.days[1], r.perDay[agentDay{1, 1}] = 1, struct{}{}
	require.Equal(t, int64(first/dayMillis), r.span(-1).first)
}

// An agent alone is missed where the topic has ticks, by a side with as many partitions.
func TestTicksMoveTheClocksOfTheirPartition(t *testing.T) {
	sides := []Side{{detector.DefaultConfig(), 2}, {detector.DefaultConfig(), 3}}
	r, err := New(sides)
	require.NoError(t, err)
	const first, hour = 1_772_409_600_000, 3600 * 1000
	of := schemas.Partition(schemas.AppendKey(nil, "default", "alone"), 2)
	for i := range schemas.Millis(28*24*6 + 100) {
		at := first + i*hour/6
		if i < 28*24*6 {
			ev := schemas.Activity{TenantID: "default", AgentID: "alone", Time: at, Tool: "t", Outcome: schemas.OutcomeSuccess}
			r.Add(&ev, ev.Time, 100)
		}
		if i%6 == 0 {
			r.Tick(at, at+20, of, 2)
			r.Tick(at, at+20, 1-of, 2)
		}
	}
	r.Finish()
	require.Len(t, r.sides[0].episodes, 1)
	require.Equal(t, schemas.SignalSilence, r.sides[0].episodes[0].Signal())
	require.Empty(t, r.sides[1].episodes)
}
