package simulator

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

func build(tb testing.TB, o Options) *Fleet {
	tb.Helper()
	f, err := New(o)
	require.NoError(tb, err)
	return f
}

// lines returns a fleet as JSON lines.
func lines(tb testing.TB, o Options) (events, labels string) {
	tb.Helper()
	f := build(tb, o)
	var ev, lab bytes.Buffer
	require.NoError(tb, f.WriteEvents(&ev, nil))
	require.NoError(tb, WriteLabels(&lab, f.Labels()))
	return ev.String(), lab.String()
}

// fingerprint is short, where a difference would fill the screen.
func fingerprint(s string) [sha256.Size]byte { return sha256.Sum256([]byte(s)) }

func TestTheSameOptionsGiveTheSameBytes(t *testing.T) {
	for _, tails := range []Tails{TailsNB, TailsHeavy} {
		t.Run(string(tails), func(t *testing.T) {
			o := Options{Agents: 30, Days: 10, Seed: 42, Kinds: Kinds(), Count: 9, Tails: tails, Tenants: 2}
			events, labels := lines(t, o)
			again, labelsAgain := lines(t, o)
			assert.Equal(t, fingerprint(events), fingerprint(again), "events differ")
			assert.Equal(t, labels, labelsAgain)
			assert.Equal(t, 9, strings.Count(labels, "\n"))
			o.Seed = 43
			other, otherLabels := lines(t, o)
			assert.NotEqual(t, fingerprint(events), fingerprint(other), "another seed gives the same events")
			assert.NotEqual(t, labels, otherLabels)
		})
	}
}

func TestAttacksOnlyAddEventsAndLabelsNameThem(t *testing.T) {
	for _, tails := range []Tails{TailsNB, TailsHeavy} {
		t.Run(string(tails), func(t *testing.T) {
			o := Options{Agents: 40, Days: 10, Seed: 7, Tails: tails}
			honest, _ := lines(t, o)
			known := map[string]bool{}
			for line := range strings.Lines(honest) {
				known[line] = true
			}
			o.Kinds, o.Count = Kinds(), 2*len(Kinds())
			f := build(t, o)
			added := map[string]schemas.Millis{}
			ids := map[string]bool{}
			per := map[string]int{}
			var ev schemas.Activity
			var buf []byte
			for f.Next(&ev) {
				require.False(t, ids[ev.EventID], "event id %s stands twice", ev.EventID)
				ids[ev.EventID] = true
				buf = append(AppendSource(buf[:0], &ev), '\n')
				require.Equal(t, !known[string(buf)], f.Injected())
				if known[string(buf)] {
					delete(known, string(buf))
					continue
				}
				added[ev.EventID] = ev.Time
				per[ev.AgentID]++
			}
			assert.Empty(t, known, "honest events are missing or changed")
			labels := f.Labels()
			require.Len(t, labels, 2*len(Kinds()))
			kinds := map[Kind]int{}
			var sum int
			for _, l := range labels {
				kinds[l.Kind]++
				sum += l.Events
				assert.Equal(t, per[l.AgentID], l.Events, "%s on %s", l.Kind, l.AgentID)
				assert.Len(t, l.EventIDs, min(l.Events, MaxLabelEvents))
				for i, id := range l.EventIDs {
					at, ok := added[id]
					require.True(t, ok, "event %s of %s is not in the stream", id, l.Kind)
					assert.False(t, at < l.Start || at > l.End, "event %s of %s lies outside of its label", id, l.Kind)
					if i == 0 {
						assert.Equal(t, l.Start, at)
					}
				}
			}
			assert.Equal(t, len(added), sum, "added events and labelled events")
			for _, k := range Kinds() {
				assert.Equal(t, 2, kinds[k], "attacks of kind %s", k)
			}
		})
	}
}

func TestEventsAreInOrderAndTheDecoderTakesThemWhole(t *testing.T) {
	for _, tails := range []Tails{TailsNB, TailsHeavy} {
		t.Run(string(tails), func(t *testing.T) {
			f := build(t, Options{Agents: 40, Days: 5, Seed: 3, Kinds: Kinds(), Tails: tails, Tenants: 3})
			from, to := f.Span()
			dec := decode.NewActivity()
			last := from
			var ev schemas.Activity
			var src, back []byte
			n := 0
			for f.Next(&ev) {
				n++
				require.LessOrEqual(t, last, ev.Time)
				require.Less(t, ev.Time, to)
				last = ev.Time
				src = AppendSource(src[:0], &ev)
				dec.Decode(&decode.Record{Value: src, Time: ev.Time}, func(_ int32, got *schemas.Activity, refusal *decode.Refusal) {
					require.Nil(t, refusal)
					require.Equal(t, schemas.Flags{}, schemas.Flags{
						TimeClamped: got.Flags.TimeClamped, Old: got.Flags.Old, UTF8Replaced: got.Flags.UTF8Replaced,
						ResourcesCut: got.Flags.ResourcesCut, StringsCut: got.Flags.StringsCut,
					}, "flags of %s", src)
					require.Empty(t, got.Flags.FieldsInvalid, "%s", src)
					back = AppendSource(back[:0], got)
				})
				require.Equal(t, string(src), string(back), "what was decoded is not what was written")
			}
			assert.Greater(t, n, 10_000)
			assert.Equal(t, uint64(n), f.Events())
		})
	}
}

func TestTenantsShareNoAgentAndTalkToTheirOwn(t *testing.T) {
	f := build(t, Options{Agents: 90, Days: 3, Seed: 5, Tenants: 3})
	tenant := map[string]map[string]bool{}
	for _, a := range f.Agents() {
		if tenant[a.TenantID] == nil {
			tenant[a.TenantID] = map[string]bool{}
		}
		assert.False(t, tenant[a.TenantID][a.AgentID], "%s/%s stands twice", a.TenantID, a.AgentID)
		tenant[a.TenantID][a.AgentID] = true
	}
	require.Len(t, tenant, 3)
	var ev schemas.Activity
	messages := 0
	for f.Next(&ev) {
		require.True(t, tenant[ev.TenantID][ev.AgentID])
		if ev.TargetAgentID != "" {
			messages++
			require.True(t, tenant[ev.TenantID][ev.TargetAgentID], "%s talks to %s of another tenant", ev.AgentID, ev.TargetAgentID)
		}
	}
	assert.Positive(t, messages)
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for name, o := range map[string]Options{
		"agents below zero":                     {Agents: -1},
		"days below zero":                       {Days: -3},
		"unknown tails":                         {Tails: "thick"},
		"a rate that is not a number":           {Rate: math.NaN()},
		"a mix with a part below zero":          {Mix: Mix{Steady: 2, Rare: -1}},
		"more tenants than agents":              {Agents: 3, Tenants: 4},
		"a spread attack of an unknown kind":    {Kinds: []Kind{"smurf"}},
		"a majority of attacked agents":         {Agents: 10, Kinds: []Kind{KindBurst}, Count: 6},
		"a window longer than the fleet's life": {Days: 2, Window: 50 * time.Hour},
		"a start before 1970":                   {Start: time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(o)
			require.ErrorContains(t, err, "simulate: ")
		})
	}
}

func TestAScenarioIsReadByName(t *testing.T) {
	for text, want := range map[string][]Kind{
		"benign":            nil,
		"attacks":           Kinds(),
		"burst":             {KindBurst},
		"ramp, exfil_slow":  {KindRamp, KindExfilSlow},
		"newborn,injection": {KindNewborn, KindInjection},
	} {
		got, err := ParseScenario(text)
		require.NoError(t, err, text)
		assert.Equal(t, want, got, text)
	}
	_, err := ParseScenario("burst,smurf")
	assert.ErrorContains(t, err, `no attack is called "smurf"`)
}

func TestOnlySettledAgentsAreAttackedWhereThatIsAsked(t *testing.T) {
	for seed := range uint64(5) {
		f := build(t, Options{Agents: 80, Days: 14, Seed: seed, Kinds: []Kind{KindSweep, KindNewDestination, KindInjection}, Count: 20, Settled: true})
		require.NoError(t, f.WriteEvents(io.Discard, nil))
		require.Len(t, f.Labels(), 20)
		for _, l := range f.Labels() {
			a := f.agents[slices.IndexFunc(f.agents, func(a *agent) bool { return a.id == l.AgentID })]
			require.GreaterOrEqual(t, a.rhythm.perHour(), 0.5)
			if l.Kind == KindSweep {
				require.NotEqual(t, Batch, a.rhythm.kind)
			} else {
				require.Less(t, a.role.tools[a.toolWith(schemas.AccessSend)].fresh, 0.02)
			}
		}
	}
}

func TestAWriterThatFailsEndsTheWriting(t *testing.T) {
	full := errors.New("disk full")
	err := build(t, Options{Agents: 20, Days: 2}).WriteEvents(failing{full}, nil)
	assert.ErrorIs(t, err, full)
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestPaceWaitsForWhatLiesAheadOnly(t *testing.T) {
	p := Pace{From: 1000, Speed: 60}
	assert.Zero(t, p.Wait(900, 0))
	assert.Equal(t, time.Second, p.Wait(1000+60_000, 0))
	assert.Equal(t, 300*time.Millisecond, p.Wait(1000+60_000, 700*time.Millisecond))
	assert.Zero(t, p.Wait(1000+60_000, 2*time.Second))
}

func BenchmarkNext(b *testing.B) {
	for _, tails := range []Tails{TailsNB, TailsHeavy} {
		b.Run(string(tails), func(b *testing.B) {
			f := endless(b, tails)
			var ev schemas.Activity
			b.ReportAllocs()
			for b.Loop() {
				if !f.Next(&ev) {
					f = endless(b, tails)
				}
			}
		})
	}
}

func BenchmarkNextAsJSON(b *testing.B) {
	f := endless(b, TailsNB)
	var ev schemas.Activity
	var buf []byte
	b.ReportAllocs()
	for b.Loop() {
		if !f.Next(&ev) {
			f = endless(b, TailsNB)
		}
		buf = AppendSource(buf[:0], &ev)
	}
	b.SetBytes(int64(len(buf)))
}

func endless(tb testing.TB, tails Tails) *Fleet {
	tb.Helper()
	return build(tb, Options{Agents: 2000, Days: 3000, Tails: tails, Seed: 1})
}
