package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// TestMain lets the test binary be its own children, as the program is.
func TestMain(m *testing.M) {
	if ok, err := runChild(os.Args[1:]); ok {
		if err != nil {
			_, _ = io.WriteString(os.Stderr, err.Error()+"\n")
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// tiny is a run that takes moments.
func tiny(t *testing.T) *runner {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	root, err := bench.Root(t.Context())
	require.NoError(t, err)
	dir := t.TempDir()
	return &runner{
		scale: scale{
			corpus: 3000, siemAgents: 40, policyEvents: 500, endToEnd: 20_000, latency: time.Second, latencyWarm: 5000,
			fleets: []fleetSize{{agents: 300, warm: 6000, rate: 1, events: 4000}},
		},
		rounds: 2, exe: exe, root: root, tmp: dir, keep: dir, progress: bench.Progress("throughput", io.Discard), page: &page{},
	}
}

func TestMedianIsOfTheRounds(t *testing.T) {
	for _, c := range []struct {
		name string
		in   []float64
		want spread
	}{
		{"no round", nil, spread{}},
		{"one round", []float64{4}, spread{4, 4, 4}},
		{"an odd number", []float64{9, 1, 4}, spread{4, 1, 9}},
		{"an even number takes the middle of two", []float64{9, 1, 4, 5}, spread{4.5, 1, 9}},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, spreadOf(c.in)) })
	}
	require.Equal(t, spread{Median: 1e6, Min: 5e5, Max: 2e6}, spread{Median: 1000, Min: 500, Max: 2000}.perSecond(), "the slowest round is the smallest rate")
}

func TestQuantilesAreObservedValues(t *testing.T) {
	x := make([]float64, 1000)
	for i := range x {
		x[len(x)-1-i] = float64(i + 1)
	}
	require.Equal(t, quantiles{P50: 500, P99: 990, Max: 1000}, quantilesOf(x))
	require.Equal(t, quantiles{P50: 7, P99: 7, Max: 7}, quantilesOf([]float64{7}))
}

func TestMetricsAreSummedByTheirLabels(t *testing.T) {
	m, err := parseMetrics([]byte(`# TYPE lag gauge
lag{role="route",topic="a"} 3
lag{role="detect",topic="b"} 4
lag{role="route",topic="b"} 5e2
# TYPE plain counter
plain 7
`))
	require.NoError(t, err)
	require.InDelta(t, 507, m.sum("lag"), 0)
	require.InDelta(t, 503, m.sum("lag", [2]string{"role", "route"}), 0)
	require.InDelta(t, 4, m.sum("lag", [2]string{"role", "detect"}, [2]string{"topic", "b"}), 0)
	require.InDelta(t, 7, m.sum("plain"), 0)
	require.Zero(t, m.sum("not there"))
}

func TestAFrameComesBackAsItWas(t *testing.T) {
	var b []byte
	want := []frame{
		{1_780_000_000_000, []byte("default/a"), []byte(`{"agent_id":"a"}`)},
		{0, nil, bytes.Repeat([]byte("x"), 100_000)},
		{1, []byte("k"), nil},
	}
	for i := range want {
		b = appendFrame(b, &want[i])
	}
	r := frameReader{r: bufio.NewReader(bytes.NewReader(b))}
	for i := range want {
		got, err := r.next()
		require.NoError(t, err)
		require.Equal(t, want[i].time, got.time)
		require.Equal(t, string(want[i].key), string(got.key))
		require.Equal(t, string(want[i].value), string(got.value))
	}
	_, err := r.next()
	require.ErrorIs(t, err, io.EOF)
	cut := frameReader{r: bufio.NewReader(bytes.NewReader(b[:len(b)/2]))}
	_, err = cut.next()
	require.NoError(t, err)
	_, err = cut.next()
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

func TestTheFeedGivesTheEventsOfTheGenerator(t *testing.T) {
	b := tiny(t)
	opt := simulator.Options{Agents: 50, Days: 1, Seed: 9}
	fleet, err := simulator.New(opt)
	require.NoError(t, err)
	source, err := startFeed(t.Context(), b.exe, feedOptions{Fleet: opt})
	require.NoError(t, err)
	defer source.stop()
	canonical, err := startFeed(t.Context(), b.exe, feedOptions{Fleet: opt, Canonical: true})
	require.NoError(t, err)
	defer canonical.stop()
	c, err := newCorpus(1000)
	require.NoError(t, err)
	defer c.free()
	require.NoError(t, c.fill(canonical, 1000))
	require.Equal(t, 1000, c.len())
	var want schemas.Activity
	i := 0
	require.NoError(t, c.decodeAll(decode.NewCanonical(), func(ev *schemas.Activity) {
		require.True(t, fleet.Next(&want))
		rec, err := source.next()
		require.NoError(t, err)
		require.Equal(t, string(simulator.AppendSource(nil, &want)), string(rec.value))
		require.Equal(t, want.EventID, ev.EventID)
		require.Equal(t, want.Time, ev.Time)
		require.Equal(t, want.TenantID+"/"+want.AgentID, string(c.key(i)))
		o, err := schemas.ParseOrigin(c.origin(i))
		require.NoError(t, err)
		require.Equal(t, int64(i), o.Offset)
		i++
	}))
	require.Equal(t, 1000, i)
}

func TestHelloIsAnswerOfAServer(t *testing.T) {
	body, err := hello("54460")
	require.NoError(t, err)
	r := chproto.NewReader(bytes.NewReader(body))
	r.EnableCompression()
	block := proto.NewBlock()
	require.NoError(t, block.Decode(r, 54460))
	require.Equal(t, []string{"displayName()", "version()", "revision()", "timezone()"}, block.ColumnsNames())
	require.Equal(t, 1, block.Rows())
	_, err = hello("")
	require.Error(t, err)
}

func TestEveryStageIsMeasured(t *testing.T) {
	b := tiny(t)
	for _, x := range benches[:7] {
		require.NoError(t, x.run(b, t.Context()), x.name)
	}
	seen := map[string]speed{}
	for _, s := range b.page.Stages {
		seen[s.Name] = s
		require.Positive(t, s.CPUNanos.Min, s.Name)
		require.LessOrEqual(t, s.CPUNanos.Min, s.CPUNanos.Median, s.Name)
		require.Equal(t, 2, s.Rounds, s.Name)
	}
	for _, name := range []string{
		"decode", "decode canonical", "decode + encode + key", "decode cloudtrail", "decode ocsf", "decode mapping", "decode otlp_spans", "route", "decode + detect, 300 agents",
		"detect (role)", "archive", "siem json", "siem ocsf", "policy", "policy, cedar-go alone",
	} {
		require.Contains(t, seen, name)
	}
	require.Positive(t, seen["archive"].ShareOfDecode.Median)
	require.Greater(t, b.page.EventBytes, 200.0)
	require.Greater(t, b.page.CanonicalBytes, b.page.EventBytes, "canonical records say when they were recorded")
	require.NotEmpty(t, b.page.Memory)
	require.Greater(t, b.page.Memory[0].HeapBytes, 500.0)
	require.Len(t, b.page.Restores, 1)
	require.Len(t, b.page.Profiles, 1)
	require.Contains(t, b.page.Profiles[0].Cum, "(*Detector).Process")
	b.page.judge()
	require.NotEqual(t, notMeasured, verdictOf(b.page, "route, per core"))
	require.Equal(t, notMeasured, verdictOf(b.page, "decode + detect at 1,000,000 agents, per core"))
}

func verdictOf(p *page, what string) string {
	for _, t := range p.Targets {
		if t.What == what {
			return t.Verdict
		}
	}
	return "no such target"
}

func TestTargetsAreJudgedByWhatWasMeasured(t *testing.T) {
	p := &page{
		Stages: []speed{
			{Name: "route", CPUNanos: spread{Median: 4000}},
			{Name: "archive", CPUNanos: spread{Median: 4001}},
			{Name: "decode + detect, 1,000,000 agents", CPUNanos: spread{Median: 3000}, MeanNanos: 3900, Uneven: true, GCNanos: 200},
		},
		Memory:   []footprint{{Agents: 1_000_100, HeapBytes: 4000}, {Agents: 1_000_200, HeapBytes: 4100, EventsPerAgent: 7}, {Agents: 5, HeapBytes: 4095}},
		EndToEnd: []endToEnd{{Name: "same process", PerSecond: 9e9}, {BrokerNanos: 1, PerSecond: 119_999}},
		Latency: []latency{
			{Roles: allRoles, Offered: 10_000, Achieved: 10_000, Alerts: 5, FromSource: quantiles{P99: 9999}},
			{Roles: allRoles, Offered: 50_000, Achieved: 40_000, Alerts: 5, FromSource: quantiles{P99: 10}},
		},
	}
	p.judge()
	for what, want := range map[string]string{
		"route, per core":                               "yes",
		"archive client side, per core":                 "no",
		"decode + detect at 1,000,000 agents, per core": "no",
		"memory of an agent at 1,000,000 agents":        "no",
		"memory of the agents with the most history":    "no",
		"source record to ClickHouse and alerts, all roles, per core (broker and engine not counted)": "no",
		"event in Kafka to alert in Kafka at 50,000 events/s, p99":                                    "no",
		"restore of 1,000,000 agents, from memory":                                                    notMeasured,
	} {
		require.Equal(t, want, verdictOf(p, what), what)
	}
}

func TestThePageSaysWhatWasRun(t *testing.T) {
	dir := t.TempDir()
	p := &page{
		Machine: bench.Machine{CPU: "Some CPU", Cores: 4, Go: "go1.0", Commit: "abc", Modified: true, Command: "go run x"},
		Quick:   true, Failures: []string{"latency: no | broker"},
		EndToEnd: []endToEnd{{Name: "a|b"}},
		Profiles: []profile{{Name: "p", Top: "a|b\n"}},
	}
	p.judge()
	require.NoError(t, p.markdown().Publish(dir, "throughput", p, io.Discard))
	md, err := os.ReadFile(dir + "/throughput.md")
	require.NoError(t, err)
	for _, want := range []string{
		"Some CPU, 4 cores", "Commit abc, with uncommitted changes", "`go run x`", "A quick run", "**Failed**: latency",
		"| route, per core | >= 250k events/s |  | not measured |", "| a\\|b | 0 |", "```\na|b\n```",
	} {
		require.Contains(t, string(md), want)
	}
	js, err := os.ReadFile(dir + "/throughput.json")
	require.NoError(t, err)
	var back page
	require.NoError(t, json.Unmarshal(js, &back))
	require.Equal(t, p.Targets, back.Targets)
}

func TestFlags(t *testing.T) {
	for _, c := range []struct {
		args   string
		ok     bool
		rounds int
	}{
		{"", true, 7},
		{"--quick", true, 3},
		{"--quick --rounds 5 --only decode,siem --out x", true, 5},
		{"--only nothing", false, 0},
		{"--rounds -1", false, 0},
		{"more", false, 0},
	} {
		t.Run(c.args, func(t *testing.T) {
			o, err := parse(strings.Fields(c.args), io.Discard)
			if !c.ok {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.rounds, o.rounds)
		})
	}
}

func TestNumbersAreReadable(t *testing.T) {
	require.Equal(t, "1,234,567", thousands(1_234_567))
	require.Equal(t, "-1,234", thousands(-1234))
	require.Equal(t, "123", thousands(123))
	require.Equal(t, "250k", rate(250_000))
	require.Equal(t, "1.44M", rate(1_440_000))
	require.Equal(t, "9999", rate(9999))
}

func TestTheWholeServiceIsMeasured(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs the service with the embedded engine")
	}
	b := tiny(t)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	require.NoError(t, b.wholeService(ctx, false, false))
	require.Len(t, b.page.EndToEnd, 1)
	e := b.page.EndToEnd[0]
	require.Equal(t, 20_000, e.Stored)
	require.Positive(t, e.ServiceNanos)
	require.Positive(t, e.EngineNanos)
	require.NoError(t, b.latencyOf(ctx, withoutSQL))
	require.Len(t, b.page.Latency, 2)
	alerts := 0
	for _, l := range b.page.Latency {
		alerts += l.Alerts
		require.LessOrEqual(t, l.FromSource.P50, l.FromSource.P99)
		require.LessOrEqual(t, l.FromActivity.Max, l.FromSource.Max)
	}
	require.Positive(t, alerts)
}
