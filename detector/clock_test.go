package detector_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

// window returns what was said of an agent's hour, all windows of it together.
func (f *fed) window(agent string, hour schemas.Millis) (events, late uint64, times int) {
	for _, w := range f.windows {
		if w.AgentID == agent && w.Start == hour {
			events, late, times = events+w.Events, late+w.Late, times+1
		}
	}
	return events, late, times
}

func hourOf(at schemas.Millis) schemas.Millis { return at / hourMS * hourMS }

// requireHours holds the windows of an agent to the events that it sent: each hour has
// one window, and that has them all.
func (f *fed) requireHours(t *testing.T, agent string, log []sent) {
	t.Helper()
	want := map[schemas.Millis]uint64{}
	for i := range log {
		if log[i].ev.AgentID == agent {
			want[hourOf(log[i].ev.Time)]++
		}
	}
	require.NotEmpty(t, want)
	for hour, n := range want {
		events, late, times := f.window(agent, hour)
		require.Equal(t, []uint64{n, 0, 1}, []uint64{events, late, uint64(times)}, "%s %s: events, late ones, windows", agent, hour)
	}
}

// dated gives the events of one agent a time other than that of their arrival.
func dated(log []sent, agent string, as func(i int, at schemas.Millis) schemas.Millis) []sent {
	out, n := slices.Clone(log), 0
	for i := range out {
		if out[i].ev.AgentID == agent {
			out[i].ev.Time = as(n, out[i].ev.Time)
			n++
		}
	}
	return out
}

func TestAClockThatRunsAheadIsNobodyElsesBusiness(t *testing.T) {
	f := calm(seeded.Rand(t).Uint64(), 15)
	honest := honestLog(f, 4)
	for _, c := range []struct {
		name string
		as   func(i int, at schemas.Millis) schemas.Millis
	}{
		{"all by 299 seconds", func(_ int, at schemas.Millis) schemas.Millis { return at + 299_000 }},
		{"one is of 2040", func(i int, at schemas.Millis) schemas.Millis {
			if i == 2000 {
				return 2_208_988_800_000
			}
			return at
		}},
		{"the first is of 9999", func(i int, at schemas.Millis) schemas.Millis {
			if i == 0 {
				return 253_402_300_799_999
			}
			return at
		}},
		{"each is further ahead", func(i int, at schemas.Millis) schemas.Millis { return at + schemas.Millis(i)*hourMS }},
	} {
		t.Run(c.name, func(t *testing.T) {
			log := merged(honest, pulse(schemas.DefaultTenant, "ahead", fleetStart, fleetStart+4*dayMS))
			lying := dated(log, "ahead", c.as)
			_, plain := watch(t, log)
			d, got := watch(t, lying)
			require.Positive(t, d.Stats().Clamped)
			atTheEnd := 0
			for i := range log {
				v := got.verdicts[i]
				require.Equal(t, lying[i].ev.Time > log[i].ev.Time, v.Clamped)
				v.Clamped = false
				require.Equal(t, plain.verdicts[i], v, "event %d", i)
				require.False(t, v.Late, "event %d", i)
				if log[i].ev.AgentID != "ahead" && log[i].ev.Time%hourMS > 58*minuteMS {
					atTheEnd++
				}
			}
			require.Greater(t, atTheEnd, 20, "some events come in the last minutes of an hour")
			require.Equal(t, asJSON(t, plain.windows), asJSON(t, got.windows))
			for _, a := range f.agents {
				got.requireHours(t, a.id, slices.DeleteFunc(slices.Clone(log), func(e sent) bool { return e.arrived >= fleetStart+4*dayMS-hourMS }))
			}
		})
	}
}

// A time that was believed once, before arrivals were known, has let all hours pass.
func TestAPoisonedClockHealsWithTheFirstArrival(t *testing.T) {
	f := calm(seeded.Rand(t).Uint64(), 30)
	log := honestLog(f, 28)
	cut := slices.IndexFunc(log, func(e sent) bool { return e.arrived >= fleetStart+24*dayMS+12*hourMS+30*minuteMS })
	d, _ := watch(t, log[:cut])
	saved := d.Save()
	victim := f.agents[5]
	attack := pulse(schemas.DefaultTenant, victim.id, fleetStart+26*dayMS+10*hourMS, fleetStart+26*dayMS+10*hourMS+1)
	attack[0].act = true
	ev := &attack[0].ev
	ev.PeerGroup, ev.Tool, ev.Access, ev.BytesSent, ev.Resources = victim.group, "http.post", schemas.AccessSend, 4<<10, []string{"url:https://paste.evil.example/u"}
	rest := merged(log[cut:], attack)
	const y2040, y9999 = 2_208_988_800_000, 253_402_300_799_999
	poison := func(agent string, at schemas.Millis) sent { return pulse(schemas.DefaultTenant, agent, at, at+1)[0] }
	for _, c := range []struct {
		name   string
		poison sent
		blind  int // events that come before it is known when they arrive
	}{
		{"by an event of 2040", poison("ghost", y2040), 0},
		{"by an event of 9999", poison("ghost", y9999), 0},
		{"by an event of tomorrow", poison("ghost", rest[0].arrived+dayMS), 0},
		{"by a known agent", poison(f.agents[0].id, y2040), 0},
		{"and has been for a while", poison("ghost", y2040), 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			twin, got := &fed{}, &fed{}
			healthy := detector.Loaded(t, detector.DefaultConfig(), twin, saved)
			d := detector.Loaded(t, detector.DefaultConfig(), &fed{}, saved)
			for _, e := range append([]sent{c.poison}, rest[:c.blind]...) {
				d.Process(&e.ev)
			}
			feed(healthy, rest[:c.blind], &fed{})
			log := rest[c.blind:]
			d = detector.Loaded(t, detector.DefaultConfig(), got, d.Save())
			feed(healthy, log, twin)
			feed(d, log, got)
			require.Equal(t, uint64(1), d.Stats().Healed)

			// The years that passed have emptied the rates of who was active in them.
			excused := map[string]bool{c.poison.ev.AgentID: true}
			for _, e := range rest[:c.blind] {
				excused[e.ev.AgentID] = true
			}
			require.False(t, excused[victim.id])
			for i := range log {
				was, is := twin.verdicts[i].Score, got.verdicts[i].Score
				require.False(t, got.verdicts[i].Late, "event %d", i)
				switch {
				case excused[log[i].ev.AgentID]:
				case log[i].act:
					require.Greater(t, is, 50.0)
					require.InDelta(t, was, is, 10, "the attack")
				case was > 50:
					require.InDelta(t, was, is, 15, "%s of %s", log[i].ev.Time, log[i].ev.AgentID)
				case hourOf(log[i].arrived) == hourOf(log[0].arrived)+hourMS: // which holds the rest of the hour that has been closed
					require.Less(t, is, 70.0, "%s of %s", log[i].ev.Time, log[i].ev.AgentID)
				default:
					require.Less(t, is, 50.0, "%s of %s", log[i].ev.Time, log[i].ev.AgentID)
				}
			}
			// The hour at hand has been closed; from the one behind the next all is as it was.
			hours := func(f *fed) (out []string) {
				for _, w := range f.windows {
					if w.AgentID != "ghost" && w.Start > hourOf(log[0].arrived)+hourMS && w.Start < log[len(log)-1].arrived {
						out = append(out, fmt.Sprintf("%s %s %d", w.AgentID, w.Start, w.Events))
					}
				}
				return out
			}
			require.NotEmpty(t, hours(twin))
			require.ElementsMatch(t, hours(twin), hours(got), "windows are emitted again")
			ends := 0
			for _, a := range got.alerts {
				if a.Agent.ID == victim.id && a.Status == schemas.StatusClose && a.Time > attack[0].arrived {
					ends++
				}
			}
			require.Equal(t, 1, ends, "the episode of the attack ends")
		})
	}
}

// historyBeside is the history of a tenant that is loaded while another one is live, batch
// events for each of that one's, which come every three seconds.
func historyBeside(history []sent, batch int) (log []sent) {
	now := history[len(history)-1].ev.Time/dayMS*dayMS + dayMS
	var at schemas.Millis
	for i := range history {
		if i%batch == 0 {
			at = now + schemas.Millis(i/batch)*3000
			log = append(log, pulse("live", "live-1", at, at+1)...)
		}
		e := history[i]
		e.ev.TenantID, e.arrived = "history", at
		log = append(log, e)
	}
	return append(log, pulse("live", "live-1", at+1, at+3*hourMS)...)
}

func TestALiveTenantClosesNoWindowOfOneThatLoadsAHistory(t *testing.T) {
	const days = 12
	f := calm(seeded.Rand(t).Uint64(), 10)
	history := honestLog(f, days)
	for _, batch := range []int{1, 7, 200} {
		t.Run(strconv.Itoa(batch), func(t *testing.T) {
			_, got := watch(t, historyBeside(history, batch))
			want := history
			if batch == 1 { // the live tenant's hours pass, while those of the history's last day come
				want = slices.DeleteFunc(slices.Clone(history), func(e sent) bool { return e.ev.Time >= fleetStart+(days-1)*dayMS })
			}
			// Where it reaches the last day, its tenant's clock follows the partition again.
			for _, a := range f.agents {
				got.requireHours(t, a.id, want)
			}
		})
	}
}

func TestWhoHasGoneQuietIsClosedByOthersAnHourLater(t *testing.T) {
	// At half past twelve a tenant goes quiet for good, in the middle of an attack.
	quiet := fleetStart + 12*hourMS + 30*minuteMS
	log := pulse("quiet", "quiet-1", fleetStart, quiet)
	for i := range 20 {
		log = append(log, sent{arrived: quiet + schemas.Millis(i), ev: schemas.Activity{
			EventID: "x" + strconv.Itoa(i), Time: quiet + schemas.Millis(i), TenantID: "quiet", AgentID: "quiet-1", PeerGroup: "pulses",
			Tool: "http.post", Access: schemas.AccessSend, Resources: []string{"url:https://paste.evil.example/u"}, BytesSent: 50 << 20, Outcome: schemas.OutcomeSuccess,
		}})
	}
	log = merged(log, pulse("live", "live-1", fleetStart, fleetStart+22*hourMS))
	f := &fed{}
	d := detector.Started(t, detector.DefaultConfig(), f)
	var window, opened, closed schemas.Millis
	for i := range log {
		feed(d, log[i:i+1], f)
		if _, _, times := f.window("quiet-1", fleetStart+12*hourMS); times > 0 && window == 0 {
			window = log[i].arrived
		}
		for _, a := range f.alerts {
			switch {
			case a.Agent.ID != "quiet-1":
			case a.Status == schemas.StatusOpen && opened == 0:
				opened = log[i].arrived
			case a.Status == schemas.StatusClose && closed == 0:
				closed = log[i].arrived
			}
		}
	}
	f.requireHours(t, "quiet-1", log)
	require.InDelta(t, int64(fleetStart+14*hourMS+2*minuteMS), int64(window), 2*minuteMS, "the hour of noon, an hour and the grace behind its end")
	require.InDelta(t, int64(quiet), int64(opened), 1000)
	require.InDelta(t, int64(quiet+7*hourMS), int64(closed), 2*minuteMS, "the quiet time, an hour later")
}

// heldBack is a log in which an agent's events of some hours come at once behind them.
func heldBack(log []sent, agent string, from, to schemas.Millis) []sent {
	out := slices.Clone(log)
	n := schemas.Millis(0)
	for i := range out {
		if e := &out[i]; e.ev.AgentID == agent && e.arrived >= from && e.arrived < to {
			e.arrived = to + n
			n++
		}
	}
	return merged(out)
}

func TestWhatWasHeldBackFallsIntoItsOwnHoursAndRaisesNoAlert(t *testing.T) {
	f := calm(seeded.Rand(t).Uint64(), 20)
	log := honestLog(f, 22)
	from := fleetStart + 21*dayMS + 9*hourMS
	for _, n := range []int{0, 1, 5, 10, 11} {
		agent := f.agents[n].id
		t.Run(agent+" "+string(f.agents[n].kind), func(t *testing.T) {
			_, got := watch(t, heldBack(log, agent, from, from+3*hourMS))
			end := fleetStart + 22*dayMS - 2*hourMS
			got.requireHours(t, agent, slices.DeleteFunc(slices.Clone(log), func(e sent) bool { return e.arrived >= end }))
			for _, a := range got.alerts {
				if a.Agent.ID == agent && a.Time >= from {
					t.Errorf("%s: %s", a.Title, a.Summary)
				}
			}
		})
	}
}

func TestAHistoryOfOneNewAgentBuildsItsHours(t *testing.T) {
	f := calm(seeded.Rand(t).Uint64(), 10)
	log := honestLog(f, 15)
	newcomer := f.agents[0].id
	// Its two weeks come in an hour, while the others are at work.
	log = heldBack(log, newcomer, fleetStart, fleetStart+14*dayMS+12*hourMS)
	_, got := watch(t, log)
	end := fleetStart + 15*dayMS - 2*hourMS
	for _, a := range f.agents {
		got.requireHours(t, a.id, slices.DeleteFunc(slices.Clone(log), func(e sent) bool { return e.ev.Time >= end }))
	}
	last := got.windows[len(got.windows)-1]
	for _, w := range got.windows {
		if w.AgentID == newcomer {
			last = w
		}
	}
	require.Equal(t, newcomer, last.AgentID)
	require.Greater(t, last.BaselineSamples, 200.0, "hours that it has learnt")
}

func TestWhatComesBehindItsOwnHoursCountsWhereItArrives(t *testing.T) {
	h := newHouse(t, seeded.Rand(t).Uint64())
	for number, attack := range attacks {
		log, control := h.attack(t, number)
		if log[0].ev.Access == schemas.AccessRead || log[0].ev.Resources[0] == h.known {
			t.Run(attack.name, func(t *testing.T) {
				for _, back := range []schemas.Millis{26 * minuteMS, 3 * hourMS, 30 * hourMS, 400 * dayMS} {
					late := clones(log)
					for i := range late {
						late[i].ev.Time -= back
					}
					require.GreaterOrEqual(t, h.run(t, late), control-5) // that it is late may say more
					f := goneOn(t, h.saved, append(late, pulse(schemas.DefaultTenant, "pulse", h.at+hourMS, h.at+2*hourMS)...))
					events, behind, times := f.window(h.agent.id, hourOf(h.at))
					require.Equal(t, 1, times)
					require.Equal(t, uint64(len(log)), behind)
					require.GreaterOrEqual(t, events, behind)
				}
			})
		}
	}
}

// Whose own hour lies behind the others' keeps that open as long as it brings something;
// the hours of the others end all the same.
func TestAnOldHourThatIsKeptOpenHoldsNobodyElsesOpen(t *testing.T) {
	begin := fleetStart + 6*hourMS
	log := pulse(schemas.DefaultTenant, "old", begin, begin+1) // one event, then hours of nothing
	slow := pulse(schemas.DefaultTenant, "old", begin+4*hourMS+30_000, begin+8*hourMS)
	for i := range slow {
		slow[i].ev.Time = begin + 2*hourMS + schemas.Millis(i)*1000
	}
	brief := pulse(schemas.DefaultTenant, "brief", begin+4*hourMS+5*minuteMS, begin+4*hourMS+10*minuteMS)
	log = merged(log, slow, brief, pulse(schemas.DefaultTenant, "clock", begin, begin+8*hourMS))
	_, got := watch(t, log)
	got.requireHours(t, "brief", log)
}

func TestClocksSurviveARestart(t *testing.T) {
	for _, c := range []struct {
		name string
		heal bool
	}{
		{"that believes no lie", false},
		{"that heals", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := seeded.Rand(t)
			log, blind := clockTroubles(rng.Uint64())
			if c.heal {
				for i := range 40 { // it is not known for a while when events arrive
					log[blind+i].arrived = 0
				}
				log[blind+20].ev.Time = 2_208_988_800_000
			}
			cuts := []int{0, blind + 10, blind + 21, blind + 40, blind + 41}
			for range 25 {
				cuts = append(cuts, rng.IntN(len(log)))
			}
			d, whole := restarted(t, detector.DefaultConfig(), log, cuts)
			stats := d.Stats()
			require.Equal(t, c.heal, stats.Healed > 0)
			require.Positive(t, stats.Late)
			require.Positive(t, stats.Clamped)
			require.NotEmpty(t, whole.alerts)
		})
	}
}

// clockTroubles is a log with all that clocks have to bear, and where its middle is.
func clockTroubles(seed uint64) (log []sent, middle int) {
	f := calm(seed, 12)
	honest := honestLog(f, 6)
	log = heldBack(honest, f.agents[1].id, fleetStart+3*dayMS, fleetStart+3*dayMS+5*hourMS)
	log = heldBack(log, f.agents[6].id, fleetStart, fleetStart+4*dayMS)
	log = dated(log, f.agents[0].id, func(i int, at schemas.Millis) schemas.Millis {
		switch {
		case i%50 == 7:
			return at - 5*hourMS
		case i%400 == 9:
			return 253_402_300_799_999
		}
		return at + 299_000
	})
	for i := range log {
		if i%9 == 0 {
			log[i].ev.TenantID = "second"
		}
	}
	for _, e := range honest[:3000] { // a history of another tenant comes on the last day
		e.ev.TenantID = "history"
		e.arrived = fleetStart + 5*dayMS + (e.arrived-fleetStart)/20
		log = append(log, e)
	}
	for _, e := range pulse(schemas.DefaultTenant, f.agents[2].id, fleetStart+dayMS, fleetStart+5*dayMS) {
		if e.ev.Tool, e.ev.BytesSent = "http.post", 50<<20; e.arrived/minuteMS%700 < 9 { // attacks
			log = append(log, e)
		}
	}
	return merged(log), len(log) / 2
}
