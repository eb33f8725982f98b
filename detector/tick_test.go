package detector_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

// ticks are those of some hours, as route writes them.
func ticks(from, to schemas.Millis) (log []sent) {
	for at := hourOf(from) + 3*minuteMS; at < to; at += hourMS {
		if at > from {
			log = append(log, sent{arrived: at + 40, tick: true, ev: schemas.Activity{Time: at}})
		}
	}
	return log
}

// begins says at which entry of the log an alert of an agent was raised first, -1 if none was.
func begins(t *testing.T, log []sent, want func(*schemas.Alert) bool) schemas.Millis {
	t.Helper()
	f := &fed{}
	d := detector.Started(t, detector.DefaultConfig(), f)
	for i := range log {
		seen := len(f.alerts)
		feed(d, log[i:i+1], f)
		if slices.ContainsFunc(f.alerts[seen:], want) {
			return log[i].arrived
		}
	}
	return -1
}

func isSilence(a *schemas.Alert) bool {
	return a.Status == schemas.StatusOpen && a.Signals[0].Name == schemas.SignalSilence
}

func TestAnAgentAloneThatFallsSilentIsMissed(t *testing.T) {
	stops := fleetStart + 28*dayMS + 12*hourMS + 30*minuteMS
	alone := pulse(schemas.DefaultTenant, "alone", fleetStart, stops)
	require.Negative(t, begins(t, alone, isSilence), "nobody says that time goes on")
	got := begins(t, merged(alone, ticks(fleetStart, stops+5*dayMS)), isSilence)
	// The hours from 13 on are empty; the third has been taken of all when the fourth is, and
	// clocks follow an hour behind.
	require.Equal(t, stops+5*hourMS+33*minuteMS+40, got)
	beside := merged(alone, pulse("other", "somebody", fleetStart, stops+dayMS))
	require.InDelta(t, int64(got), int64(begins(t, beside, isSilence)), 2*minuteMS, "as beside somebody who goes on")
}

func TestTheLastHourAndTheLastEpisodeOfADayEnd(t *testing.T) {
	at := fleetStart + 17*hourMS + 30*minuteMS
	log := pulse(schemas.DefaultTenant, "alone", fleetStart, at)
	for i := range 20 {
		e := pulse(schemas.DefaultTenant, "alone", at+schemas.Millis(i), at+schemas.Millis(i)+1)[0]
		e.ev.Tool, e.ev.Access, e.ev.Resources, e.ev.BytesSent = "http.post", schemas.AccessSend, []string{"url:https://paste.evil.example/u"}, 50<<20
		log = append(log, e)
	}
	closes := func(a *schemas.Alert) bool { return a.Status == schemas.StatusClose && a.Time > at }
	require.Negative(t, begins(t, log, closes))
	log = append(log, ticks(at+1000, at+2*dayMS)...)
	require.Equal(t, hourOf(at)+8*hourMS+3*minuteMS+40, begins(t, log, closes), "the quiet time and an hour, at the next tick")
	_, got := watch(t, log)
	got.requireHours(t, "alone", slices.DeleteFunc(slices.Clone(log), func(e sent) bool { return e.tick }))
}

func TestTicksChangeNothingWhileSomethingHappens(t *testing.T) {
	log, _ := clockTroubles(seeded.Rand(t).Uint64())
	log = merged(log, pulse(schemas.DefaultTenant, "pulse", fleetStart, fleetStart+6*dayMS), pulse("second", "pulse", fleetStart, fleetStart+6*dayMS))
	_, plain := watch(t, log)
	_, got := watch(t, merged(log, ticks(fleetStart, fleetStart+6*dayMS)))
	require.NotEmpty(t, plain.alerts)
	requireSame(t, plain, got)
}

// Files are sent that are days or hours old, with pauses, and ticks fall between them.
func TestATickMovesNoClockOfWhoseEventsDoNotComePromptly(t *testing.T) {
	f := calm(seeded.Rand(t).Uint64(), 8)
	honest := honestLog(f, 14)
	for _, c := range []struct {
		name   string
		arrive func(at schemas.Millis) schemas.Millis
	}{
		{"a history of last year, in an hour", func(at schemas.Millis) schemas.Millis { return fleetStart + 365*dayMS + (at-fleetStart)/400 }},
		{"a history of last year, in a week", func(at schemas.Millis) schemas.Millis { return fleetStart + 365*dayMS + (at-fleetStart)/2 }},
		{"a history up to now", func(at schemas.Millis) schemas.Millis { return fleetStart + 14*dayMS + (at-fleetStart)/60 }},
		{"a day's file each night", func(at schemas.Millis) schemas.Millis { return at/dayMS*dayMS + dayMS + at%dayMS/1000 }},
		{"two hours late", func(at schemas.Millis) schemas.Millis { return at + 2*hourMS }},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := slices.Clone(honest)
			for i := range log {
				log[i].arrived = c.arrive(log[i].ev.Time)
			}
			log = merged(log)
			_, plain := watch(t, log)
			d, got := watch(t, merged(log, ticks(log[0].arrived, log[len(log)-1].arrived+5*dayMS)))
			requireSame(t, plain, got)
			require.Equal(t, log[len(log)-1].ev.Time, d.Stats().Watermark)
		})
	}
}

// What was on its way for less than an hour is not late, and falls into its own hours.
func TestATickMakesNothingLateThatIsOnItsWay(t *testing.T) {
	rng := seeded.Rand(t)
	for _, most := range []int{1, 5, 20, 59} {
		log := honestLog(calm(rng.Uint64(), 6), 10)
		for i := range log {
			log[i].arrived += schemas.Millis(rng.IntN(most * int(minuteMS)))
		}
		log = merged(log)
		_, plain := watch(t, log)
		_, got := watch(t, merged(log, ticks(fleetStart, fleetStart+12*dayMS)))
		for _, w := range plain.windows {
			events, late, times := got.window(w.AgentID, w.Start)
			require.Equal(t, []uint64{w.Events, w.Late, 1}, []uint64{events, late, uint64(times)}, "up to %d minutes: %s of %s", most, w.Start, w.AgentID)
		}
		require.Greater(t, len(got.windows), len(plain.windows), "the last hour ends")
	}
}

// The other agents are stopped, and one keeps sending what happened long ago.
func TestOldEventsStopNoTicks(t *testing.T) {
	stops := fleetStart + 28*dayMS + 12*hourMS + 30*minuteMS
	honest := pulse(schemas.DefaultTenant, "honest", fleetStart, stops)
	for name, as := range map[string]func(at schemas.Millis) schemas.Millis{
		"an hour and a half":    func(at schemas.Millis) schemas.Millis { return at - 90*minuteMS },
		"two days":              func(at schemas.Millis) schemas.Millis { return at - 2*dayMS },
		"a year":                func(at schemas.Millis) schemas.Millis { return at - 365*dayMS },
		"since the others stop": func(at schemas.Millis) schemas.Millis { return stops + (at-stops)/2 },
	} {
		t.Run(name, func(t *testing.T) {
			old := pulse(schemas.DefaultTenant, "old", stops-dayMS, stops+2*dayMS)
			for i := range old {
				old[i].ev.Time = as(old[i].ev.Time)
			}
			missed := func(a *schemas.Alert) bool { return isSilence(a) && a.Agent.ID == "honest" }
			got := begins(t, merged(honest, old, ticks(fleetStart, stops+2*dayMS)), missed)
			require.Positive(t, got)
			require.LessOrEqual(t, got, stops+5*hourMS+34*minuteMS)
		})
	}
}

func TestATickGoesNoFurtherThanItsArrival(t *testing.T) {
	at := fleetStart + 10*dayMS
	d, f := watch(t, pulse(schemas.DefaultTenant, "a", fleetStart, at))
	saved := d.Save()
	for name, tick := range map[string]sent{
		"a clock ahead":                {arrived: at, tick: true, ev: schemas.Activity{Time: at + 400*dayMS}},
		"an arrival that is not known": {tick: true, ev: schemas.Activity{Time: at + dayMS}},
		"one of long ago":              {arrived: at + 2*dayMS, tick: true, ev: schemas.Activity{Time: at - dayMS}},
	} {
		t.Run(name, func(t *testing.T) {
			d := detector.Loaded(t, detector.DefaultConfig(), f, saved)
			before := d.Stats()
			feed(d, []sent{tick}, f)
			require.LessOrEqual(t, d.Stats().Watermark, max(before.Watermark, tick.arrived))
			require.LessOrEqual(t, d.Stats().Watermark, max(before.Watermark, tick.ev.Time))
		})
	}
}

func TestATickThatStandsTwiceOrLateSaysNothingNew(t *testing.T) {
	log := merged(honestLog(calm(seeded.Rand(t).Uint64(), 5), 20), ticks(fleetStart, fleetStart+24*dayMS))
	once, again := &fed{}, &fed{}
	d, e := detector.Started(t, detector.DefaultConfig(), once), detector.Started(t, detector.DefaultConfig(), again)
	for i := range log {
		feed(d, log[i:i+1], once)
		feed(e, log[i:i+1], again)
		if log[i].tick {
			late := log[i]
			late.ev.Time -= 3 * hourMS
			feed(e, []sent{log[i], late, log[i]}, again)
		}
	}
	requireSame(t, once, again)
	require.Equal(t, d.Save(), e.Save())
}

func TestTicksSurviveARestart(t *testing.T) {
	rng := seeded.Rand(t)
	log, _ := clockTroubles(rng.Uint64())
	log = slices.DeleteFunc(log, func(e sent) bool { return e.arrived%dayMS > 19*hourMS }) // and nights
	end := log[len(log)-1].arrived
	log = merged(log, ticks(fleetStart, end+4*dayMS))
	var cuts []int
	for range 25 {
		cuts = append(cuts, rng.IntN(len(log)))
	}
	for i := range log { // in the ticks of the end
		if log[i].tick && i > len(log)-60 {
			cuts = append(cuts, i+1)
		}
	}
	d, whole := restarted(t, detector.DefaultConfig(), log, cuts)
	last := log[len(log)-1]
	require.True(t, last.tick)
	require.Equal(t, last.ev.Time, d.Stats().Watermark)
	require.NotEmpty(t, whole.alerts)
}

// One tick ends the hour of many agents.
func TestATickClosesWhatIsDue(t *testing.T) {
	f := &fed{}
	d := detector.Started(t, detector.DefaultConfig(), f)
	const agents = 3000
	at := fleetStart
	log := pulse(schemas.DefaultTenant, "pulse", at, at+10*hourMS)
	for i := range agents {
		log = append(log, pulse(schemas.DefaultTenant, fmt.Sprint("a", i), at+9*hourMS+30*minuteMS, at+9*hourMS+30*minuteMS+1)...)
	}
	feed(d, merged(log), f)
	closed := len(f.windows)
	feed(d, ticks(at+11*hourMS, at+12*hourMS), f)
	require.Len(t, f.windows, closed+agents+1)
}

// Few agents, who rest at night, at weekends and on two holidays.
func TestTicksRaiseNoMoreFalseAlerts(t *testing.T) {
	rng := seeded.Rand(t)
	opened := map[bool]int{}
	for range 4 {
		const agents, weeks = 3, 10
		var log []sent
		for hour := range schemas.Millis(24 * 7 * weeks) {
			day := hour / 24
			work := day%7 < 5 && hour%24 >= 8 && hour%24 < 18 && day != 7*6 && day != 7*8+3
			for a := range agents {
				n := 0
				switch {
				case work:
					n = rng.IntN(13)
				case rng.IntN(40) == 0:
					n = rng.IntN(3)
				}
				for range n {
					at := fleetStart + hour*hourMS + schemas.Millis(rng.IntN(int(hourMS)))
					log = append(log, pulse(schemas.DefaultTenant, fmt.Sprint("a", a), at, at+1)...)
				}
			}
		}
		for _, with := range []bool{false, true} {
			log := merged(log)
			if with {
				log = merged(log, ticks(fleetStart, fleetStart+7*weeks*dayMS))
			}
			_, f := watch(t, log)
			for _, a := range f.alerts {
				if a.Status == schemas.StatusOpen {
					opened[with]++
				}
			}
		}
	}
	require.LessOrEqual(t, opened[true], opened[false]+4, "in 840 agent-days")
}
