package decide

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/pipeline/policy/policytest"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// questionOf asks about an event, as docs/decide.md maps one to the other.
func questionOf(tb testing.TB, rng *rand.Rand, ev *schemas.Activity) []byte {
	tb.Helper()
	object := func(of map[string]any) map[string]any {
		for name, v := range of {
			if v == "" || v == uint64(0) {
				delete(of, name)
			}
		}
		return of
	}
	context := object(map[string]any{
		"bytes_sent": ev.BytesSent, "bytes_received": ev.BytesReceived, "model": ev.Model, "on_behalf_of": ev.OnBehalfOf,
		"source_ip": ev.SourceIP, "outcome": ev.Outcome, "time": ev.Time.String(), "session_id": ev.SessionID,
	})
	action := object(map[string]any{"access": ev.Access, "tool": ev.Tool, "action": ev.Action})
	name := "call"
	switch { // what is the action's name is not said twice
	case ev.Action != "":
		name = ev.Action
	case ev.Access != "":
		name = ev.Access
	}
	resource := map[string]any{"type": "tool", "id": ev.Tool}
	resources := slices.Clone(ev.Resources)
	switch {
	case ev.TargetAgentID != "":
		resource = map[string]any{"type": "agent", "id": ev.TargetAgentID}
	case len(resources) > 0 && rng.IntN(2) == 0:
		for i := range resources[0] {
			if resources[0][i] == ':' {
				resource = map[string]any{"type": resources[0][:i], "id": resources[0][i+1:]}
				resources = resources[1:]
				break
			}
		}
	}
	if resource["id"] == "" {
		return nil // an act without a tool, a resource and another agent can't be asked about
	}
	if len(resources) > 0 {
		context["resources"] = resources
	}
	b, err := json.Marshal(map[string]any{
		"subject": map[string]any{"type": "agent", "id": ev.AgentID, "properties": object(map[string]any{
			"tenant_id": ev.TenantID, "peer_group": ev.PeerGroup, "agent_version": ev.AgentVersion, "credential_type": ev.CredentialType, "department": "it",
		})},
		"action": map[string]any{"name": name, "properties": action}, "resource": resource, "context": context,
	})
	require.NoError(tb, err)
	return b
}

// What the engine decides on an event that happened, it decides on the question before: the
// same, with the same policies, of the same registration and risk.
func TestAQuestionIsDecidedAsItsEventIs(t *testing.T) {
	example, err := os.ReadFile("../../deploy/policies/agents.cedar")
	require.NoError(t, err)
	for name, text := range map[string][]byte{"fleet": policytest.Fleet(200), "example": example, "here": []byte(policies)} {
		t.Run(name, func(t *testing.T) {
			rng := seeded.Rand(t)
			set, err := policy.Parse([]policy.File{{Name: "p.cedar", Text: text}}, policy.Options{DefaultDeny: true})
			require.NoError(t, err)
			d := newRole(t, newCluster(), func(cfg *Config) { cfg.Policies = set })
			known := ""
			d.problem.Store(&known)
			engine := policy.NewEngine(set)
			fleet, err := simulator.New(simulator.Options{Agents: 60, Days: 3, Seed: 5, Kinds: simulator.Kinds(), Count: 20})
			require.NoError(t, err)
			events := decode.NewActivity()
			asked, denied := 0, 0
			for made := new(schemas.Activity); asked < 4000 && fleet.Next(made); {
				if rng.IntN(20) == 0 {
					made.Tool, made.Outcome = "old", schemas.OutcomeSuccess
				}
				made.Outcome = "" // nobody knows it before
				if name == "example" {
					made.TenantID = "acme" // of whom its policies speak
				}
				body := questionOf(t, rng, made)
				if body == nil {
					continue
				}
				var reg *schemas.Registration
				if rng.IntN(2) == 0 {
					reg = &schemas.Registration{TenantID: made.TenantID, AgentID: made.AgentID, Time: made.Time, Owner: "it", TimeZone: "Europe/Berlin"}
					if rng.IntN(2) == 0 {
						reg.Destinations = []string{"s3:*", "example.com"}
					}
					require.True(t, d.registry.register(reg))
				}
				at := made.Time.Time()
				d.registry.risks = map[string][]episode{}
				risk := ""
				if i := rng.IntN(2 * len(severities)); i < len(severities) {
					risk = severities[i]
					d.registry.risks[made.TenantID+"/"+made.AgentID] = []episode{{id: "e", severity: i, heard: at}}
				}
				reg, _, _ = d.registry.of(made.TenantID, made.AgentID, at)
				var want []schemas.PolicyDecision
				events.Decode(&decode.Record{Time: made.Time, Value: schemas.AppendActivity(nil, made)}, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
					require.Nil(t, refusal)
					want = engine.Decide(nil, ev, reg, risk)
				})
				d.now = func() time.Time { return at }
				req, err := readRequest(body)
				require.NoError(t, err)
				event, err := req.event()
				require.NoError(t, err, string(body))
				a, err := d.ask(t.Context(), event)
				require.NoError(t, err, string(body))
				permit := true
				var by []string
				failed := false
				for _, w := range want {
					permit, failed = permit && !w.Denied, failed || len(w.Failed) > 0
				}
				if permit && failed { // decide.on_error
					require.False(t, a.permit)
					require.Equal(t, "a policy can't be evaluated", a.problem)
					continue
				}
				for _, w := range want {
					if w.Denied != permit && (w.Denied || !w.Observed) {
						for _, p := range w.Policies {
							by = once(by, p.ID)
						}
					}
				}
				got := a.decided
				if !a.permit {
					got = a.denied
					denied++
				}
				require.Equal(t, permit, a.permit, "%s\n%s", body, event)
				slices.Sort(by)
				slices.Sort(got)
				require.Equal(t, by, got, "%s\n%s", body, event)
				asked++
			}
			require.Equal(t, 4000, asked)
			require.Greater(t, denied, 40)
			require.Less(t, denied, 3990)
		})
	}
}

// BenchmarkEvaluate is one question without the network.
func BenchmarkEvaluate(b *testing.B) {
	d, bodies := fleetOf(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		req, err := readRequest(bodies[i%len(bodies)])
		require.NoError(b, err)
		event, err := req.event()
		require.NoError(b, err)
		_, err = d.ask(b.Context(), event)
		require.NoError(b, err)
	}
}

// fleetOf is a role with 200 policies, 100,000 registrations and questions of 1,000 agents.
func fleetOf(tb testing.TB) (*Decide, [][]byte) {
	tb.Helper()
	set, err := policy.Parse([]policy.File{{Name: "p.cedar", Text: policytest.Fleet(200)}}, policy.Options{DefaultDeny: true})
	require.NoError(tb, err)
	d := newRole(tb, newCluster(), func(cfg *Config) { cfg.Policies = set })
	known := ""
	d.problem.Store(&known)
	fill(tb, d)
	fleet, err := simulator.New(simulator.Options{Agents: 1000, Days: 2, Seed: 3, Kinds: simulator.Kinds(), Count: 20})
	require.NoError(tb, err)
	rng := rand.New(rand.NewPCG(1, 2))
	var bodies [][]byte
	for ev := new(schemas.Activity); len(bodies) < 20_000 && fleet.Next(ev); {
		require.True(tb, d.registry.register(&schemas.Registration{TenantID: ev.TenantID, AgentID: ev.AgentID, Time: 1, Owner: ev.PeerGroup, TimeZone: "Europe/Berlin"}))
		if body := questionOf(tb, rng, ev); body != nil {
			bodies = append(bodies, body)
		}
	}
	return d, bodies
}

func fill(tb testing.TB, d *Decide) {
	tb.Helper()
	for i := range 100_000 {
		require.True(tb, d.registry.register(&schemas.Registration{TenantID: "acme", AgentID: fmt.Sprint("agent-", i), Time: 1, Owner: "it"}))
	}
}

// BenchmarkServe asks over HTTP at 5,000 requests a second, from 32 connections, and reports
// how long answers took; where all connections wait for one, from when the request was due.
func BenchmarkServe(b *testing.B) {
	const perSecond, connections = 5000, 32
	d, bodies := fleetOf(b)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(b, err)
	server := &http.Server{Handler: d.Handler(), ReadHeaderTimeout: time.Second}
	go func() { _ = server.Serve(ln) }()
	defer server.Close() //nolint:errcheck // it was measured
	raw := make([][]byte, len(bodies))
	for i, body := range bodies {
		raw[i] = append(fmt.Appendf(nil, "POST %s HTTP/1.1\r\nHost: pdp\r\nContent-Type: application/json\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n\r\n", pathEvaluation, token, len(body)), body...)
	}
	took := make([]time.Duration, b.N)
	var next atomic.Int64
	begin := time.Now().Add(10 * time.Millisecond)
	b.ResetTimer()
	before := used(b)
	var wg sync.WaitGroup
	for range connections {
		wg.Go(func() { client(b, ln.Addr().String(), raw, begin, perSecond, &next, took) })
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64((used(b)-before).Microseconds())/float64(b.N), "cpu-µs/request")
	slices.Sort(took)
	report := func(part float64, unit string) {
		b.ReportMetric(float64(took[min(len(took)-1, int(part*float64(len(took))))].Microseconds()), unit)
	}
	report(0.5, "p50-µs")
	report(0.99, "p99-µs")
	report(0.999, "p99.9-µs")
	b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "requests/s")
}

// client asks over one connection until all is asked.
func client(b *testing.B, addr string, raw [][]byte, begin time.Time, perSecond int, next *atomic.Int64, took []time.Duration) {
	b.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		b.Error(err)
		return
	}
	defer conn.Close() //nolint:errcheck // all was read
	answers := bufio.NewReader(conn)
	for {
		i := int(next.Add(1)) - 1
		if i >= len(took) {
			return
		}
		due := begin.Add(time.Duration(i) * time.Second / time.Duration(perSecond))
		if wait := time.Until(due); wait > 0 {
			time.Sleep(wait)
			due = time.Now() // that it slept too long is not the server's doing
		}
		if _, err := conn.Write(raw[i%len(raw)]); err != nil {
			b.Error(err)
			return
		}
		res, err := http.ReadResponse(answers, nil)
		if err != nil {
			b.Error(err)
			return
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
			b.Error(res.Status, err)
			return
		}
		took[i] = time.Since(due)
	}
}

// used is the CPU time of the process: of those who ask too.
func used(tb testing.TB) time.Duration {
	tb.Helper()
	var u syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
