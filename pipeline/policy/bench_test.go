package policy

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline/policy/policytest"
	"github.com/plumbline-sec/plumbline/schemas"
)

// fleet returns events of simulated agents, registrations of three quarters of them, and a
// set of n policies.
func fleet(tb testing.TB, events, n int) ([]schemas.Activity, map[string]*schemas.Registration, *Set) {
	tb.Helper()
	f, err := simulator.New(simulator.Options{Agents: 1000, Days: 14, Seed: 3, Kinds: simulator.Kinds(), Count: 50})
	require.NoError(tb, err)
	out, regs := make([]schemas.Activity, events), map[string]*schemas.Registration{}
	for i := range out {
		require.True(tb, f.Next(&out[i]), "too few events")
		id := out[i].AgentID
		if _, ok := regs[id]; ok {
			continue
		}
		regs[id] = nil
		if len(regs)%4 > 0 {
			regs[id] = &schemas.Registration{
				TenantID: out[i].TenantID, AgentID: id, Owner: "team-" + out[i].PeerGroup, Criticality: []string{"low", "normal", "high"}[len(regs)%3],
				TimeZone: "Europe/Berlin",
			}
		}
	}
	set, err := Parse([]File{{"fleet.cedar", policytest.Fleet(n)}}, Options{DefaultDeny: true})
	require.NoError(tb, err)
	return out, regs, set
}

// BenchmarkPolicyFleet is an event of the fleet, with an engine that has seen a day of it.
func BenchmarkPolicyFleet(b *testing.B) {
	for _, n := range []int{4, 50, 200, 500, 10_000} {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			runtime.LockOSThread()
			const seen = 60_000
			events, regs, set := fleet(b, 400_000, n)
			e := NewEngine(set)
			var out []schemas.PolicyDecision
			for i := range seen {
				out = e.Decide(out[:0], &events[i], regs[events[i].AgentID], "")
			}
			e.evaluations = 0
			b.ReportAllocs()
			b.ResetTimer()
			took, registered := time.Duration(0), [256]*schemas.Registration{}
			for i := 0; i < b.N; i += len(registered) {
				// As behind a decoder and a detector, events and agents are in the caches.
				batch := events[seen+i%(len(events)-seen-len(registered)):][:min(len(registered), b.N-i)]
				for i := range batch {
					registered[i] = regs[batch[i].AgentID]
					touched += touch(&batch[i])
				}
				start := cpu()
				for i := range batch {
					out = e.Decide(out[:0], &batch[i], registered[i], "")
				}
				took += cpu() - start
			}
			b.ReportMetric(float64(took.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(e.evaluations)/float64(b.N), "evaluations/op")
		})
	}
}

var touched int

// cpu is the CPU time of this thread: others work on the machine too.
func cpu() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// touch reads what is decided on.
func touch(ev *schemas.Activity) (n int) {
	for _, s := range append([]string{ev.TenantID, ev.PeerGroup, ev.Action, ev.Tool, ev.Access, ev.Model, ev.Outcome, ev.TargetAgentID}, ev.Resources...) {
		if s != "" {
			n += int(s[0]) + int(s[len(s)-1])
		}
	}
	return n
}

// BenchmarkPolicyEvaluate is a decision that was never made before, its plan included. The
// worst is that of the event that takes the longest, each at its best of several tries.
func BenchmarkPolicyEvaluate(b *testing.B) {
	for _, n := range []int{200, 10_000} {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			runtime.LockOSThread()
			events, regs, set := fleet(b, 50_000, n)
			var out []schemas.PolicyDecision
			worst, all := time.Duration(0), time.Duration(0)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				ev, best := &events[(i*7919)%len(events)], time.Hour
				for range 5 {
					e := NewEngine(set)
					e.principal(regs[ev.AgentID])
					start := cpu()
					out = e.Decide(out[:0], ev, regs[ev.AgentID], "")
					best = min(best, cpu()-start)
				}
				worst = max(worst, best/time.Duration(len(out)))
				all += best
			}
			b.ReportMetric(float64(all.Nanoseconds())/float64(b.N), "ns/op")
			b.ReportMetric(float64(worst.Nanoseconds()), "worst-ns")
		})
	}
}

// BenchmarkPolicyLibrary is the same event, decided by the library alone with the entities
// at hand.
func BenchmarkPolicyLibrary(b *testing.B) {
	for _, n := range []int{4, 50, 200, 500} {
		b.Run(fmt.Sprintf("policies=%d", n), func(b *testing.B) {
			events, regs, set := fleet(b, 20_000, n)
			runtime.LockOSThread()
			decide := Library(set)
			b.ReportAllocs()
			b.ResetTimer()
			start := cpu()
			for i := range b.N {
				ev := &events[i%len(events)]
				decide(ev, regs[ev.AgentID])
			}
			b.ReportMetric(float64((cpu()-start).Nanoseconds())/float64(b.N), "ns/op")
		})
	}
}
