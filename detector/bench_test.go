package detector_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// discard is a sink that counts.
type discard struct{ alerts, windows int }

func (d *discard) Alert(*schemas.Alert)   { d.alerts++ }
func (d *discard) Window(*schemas.Window) { d.windows++ }

// stream makes events of many agents without allocating: every agent has five
// tools, twelve sources and two destinations, and makes a call every few minutes.
type stream struct {
	agents    int
	names     []string
	tools     []string
	resources []string
	sessions  []string
	ids       []string
	i         int
	ev        schemas.Activity
	res       [1]string
}

func newStream(agents int) *stream {
	s := &stream{agents: agents}
	for i := range agents {
		s.names = append(s.names, fmt.Sprintf("fleet/agent-%07d", i))
	}
	for i := range 64 {
		s.tools = append(s.tools, fmt.Sprintf("tool_number_%d", i))
		s.resources = append(s.resources, fmt.Sprintf("file:/srv/data/%d.parquet", i))
		s.sessions = append(s.sessions, fmt.Sprintf("session-%d", i))
	}
	for i := range 1 << 16 {
		s.ids = append(s.ids, fmt.Sprintf("%016x", uint64(i)*0x9e3779b97f4a7c15))
	}
	return s
}

// next is the next event: agents in turn, 12 an hour each.
func (s *stream) next() *schemas.Activity {
	i := s.i
	s.i++
	round, a := i/s.agents, i%s.agents
	step := 300_000.0 / float64(s.agents)
	at := fleetStart + schemas.Millis(round)*300_000 + schemas.Millis(float64(a)*step)
	s.ev = schemas.Activity{
		EventID: s.ids[i*7&(1<<16-1)], Time: at, TenantID: "default", AgentID: s.names[a], PeerGroup: "fleet",
		SessionID: s.sessions[round/12&63], Action: "tool_call", Tool: s.tools[(a+round%5)&63], Access: "read",
		Outcome: "success", BytesSent: uint64(100 + i*31%900), BytesReceived: uint64(2000 + i*17%9000),
	}
	r := (a + i*i%12) & 63
	if (round+a)%12 == 5 {
		s.ev.Access, r = "write", (a+round/12%2)&63
	}
	s.res[0] = s.resources[r]
	s.ev.Resources = s.res[:]
	return &s.ev
}

func benchmark(b *testing.B, agents int, ahead bool) {
	b.Helper()
	sink := &discard{}
	d := detector.Started(b, detector.DefaultConfig(), sink)
	s := newStream(agents)
	for range agents * 12 * 3 {
		d.Process(s.next())
	}
	b.ReportAllocs()
	b.ResetTimer()
	var key []byte
	for b.Loop() {
		if ahead {
			key = schemas.AppendKey(key[:0], "default", s.names[(s.i+detector.Lead)%s.agents])
			d.Ahead(key)
		}
		d.Process(s.next())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(sink.alerts), "alerts")
}

func BenchmarkProcess10kAgents(b *testing.B)  { benchmark(b, 10_000, false) }
func BenchmarkProcess100kAgents(b *testing.B) { benchmark(b, 100_000, false) }

// As detect does it: the keys of the next records are known.
func BenchmarkProcessAhead10kAgents(b *testing.B)  { benchmark(b, 10_000, true) }
func BenchmarkProcessAhead100kAgents(b *testing.B) { benchmark(b, 100_000, true) }

func TestAnAgentTakesAtMostFourKiBOnAverage(t *testing.T) {
	const agents = 5000
	s := newStream(agents)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	d := detector.Started(t, detector.DefaultConfig(), &discard{})
	for range agents * 12 * 30 {
		d.Process(s.next())
	}
	each := float64(heap()-before) / agents
	estimate := float64(d.Stats().StateBytes) / agents
	t.Logf("%.0f bytes an agent, Stats says %.0f, the records take %.0f", each, estimate, float64(len(d.Save()))/agents)
	require.Less(t, each, 4096.0)
	require.InDelta(t, each, estimate, each/4, "the estimate is of use")
	runtime.KeepAlive(s)
}
