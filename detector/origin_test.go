package detector_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// lodged gives the agents of a fleet an address and a credential. How often they change
// differs: never, when the address moves within its network, every day, or every few hours.
func lodged(events []schemas.Activity) []schemas.Activity {
	for i := range events {
		ev := &events[i]
		var n int
		_, _ = fmt.Sscanf(ev.AgentID, "agent-%d", &n)
		day, span := int(ev.Time/dayMS), int(ev.Time/(6*hourMS))
		switch n % 4 {
		case 0, 1:
			ev.SourceIP, ev.CredentialID = fmt.Sprintf("10.1.%d.%d", n, span%200), fmt.Sprintf("key-%d", n)
		case 2: // a new credential every day
			ev.SourceIP, ev.CredentialID = fmt.Sprintf("10.2.%d.7", n), fmt.Sprintf("token-%d-%d", n, day)
		case 3: // and another machine every six hours
			ev.SourceIP, ev.CredentialID = fmt.Sprintf("100.%d.%d.7", span*7919%200, span*104729%250), fmt.Sprintf("token-%d-%d", n, span)
		}
	}
	return events
}

// led counts the opened episodes by the signal that led.
func led(alerts []*schemas.Alert) map[string]int {
	by := map[string]int{}
	for _, a := range alerts {
		if a.Status == schemas.StatusOpen {
			by[a.Signals[0].Name]++
		}
	}
	return by
}

// TestStolenTokensAreFound has tokens of agents in the hands of others, and agents in other
// networks, within a fleet of which half rotate honestly: within ten events, at the default
// budget. Who changes networks all day is the only one who may act from anywhere.
func TestStolenTokensAreFound(t *testing.T) {
	const days = 28
	found, cases, told := 0, 0, 0
	for seed := range uint64(3) {
		f := newFleet(seed+100, 40)
		r := &recorder{}
		cfg := detector.DefaultConfig()
		d := detector.Started(t, cfg, r)
		last := map[string]schemas.Activity{}
		for day := range days {
			for _, ev := range lodged(f.day(day)) {
				ev.Resources = slices.Clone(ev.Resources)
				d.Process(&ev)
				last[ev.AgentID] = ev
			}
		}
		by := led(r.alerts)
		told += by[schemas.SignalForeignAddress] + by[schemas.SignalUnknownCredential]
		saved := d.Save()
		rng := rand.New(rand.NewPCG(seed, 7))
		for n := 0; n < 20; {
			who := rng.IntN(len(f.agents))
			victim, thief, stolen := f.agents[rng.IntN(len(f.agents))], f.agents[who], n%2 == 0
			if victim == thief || !stolen && who%4 == 3 {
				continue
			}
			n++
			cases++
			got := &recorder{}
			d := detector.Loaded(t, cfg, got, saved)
			for i := range 10 {
				ev := last[thief.id]
				ev.EventID, ev.SessionID = fmt.Sprintf("theft-%d", i), fmt.Sprintf("theft-%d", i/3)
				ev.Time = fleetStart + days*dayMS + 10*hourMS + schemas.Millis(i)*minuteMillis
				if stolen {
					ev.CredentialID = last[victim.id].CredentialID
				} else {
					ev.SourceIP = fmt.Sprintf("203.0.113.%d", i)
				}
				d.Process(&ev)
			}
			by := led(got.alerts)
			if by[schemas.SignalForeignAddress]+by[schemas.SignalUnknownCredential] > 0 {
				found++
				continue
			}
			t.Logf("seed %d: not found: %s as %s, credential %v", seed, thief.id, victim.id, stolen)
		}
	}
	t.Logf("%d of %d found; %d honest changes told of in %d agent-days", found, cases, told, 3*40*days)
	require.GreaterOrEqual(t, found, cases*9/10)
	require.LessOrEqual(t, told, 3)
}

// TestHonestRotationDoesNotBreakTheBudget compares fleets of which half change addresses and
// credentials with the same fleets that say nothing of them.
func TestHonestRotationDoesNotBreakTheBudget(t *testing.T) {
	silent, rotating := 0, 0
	for seed := range uint64(4) {
		for _, of := range []struct {
			opened *int
			day    func([]schemas.Activity) []schemas.Activity
		}{{&silent, func(e []schemas.Activity) []schemas.Activity { return e }}, {&rotating, lodged}} {
			f, r := newFleet(seed+200, 40), &recorder{}
			d := detector.Started(t, detector.DefaultConfig(), r)
			for day := range 21 {
				for _, ev := range of.day(f.day(day)) {
					d.Process(&ev)
				}
			}
			for _, n := range led(r.alerts) {
				*of.opened += n
			}
		}
	}
	t.Logf("%d episodes, %d with addresses and credentials", silent, rotating)
	require.LessOrEqual(t, rotating, silent+silent/5)
}
