package replay_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/pipeline/replay"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

const (
	second = schemas.Millis(1000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
	y2286  = schemas.Millis(9_972_720_000_000)
)

// monday is when the files of these tests begin.
var monday = schemas.Millis(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC).UnixMilli())

// call is an event of an agent at work.
func call(agent string, n int, at schemas.Millis) schemas.Activity {
	return schemas.Activity{
		EventID: fmt.Sprintf("%s-%d", agent, n), Time: at, TenantID: schemas.DefaultTenant, AgentID: agent, SessionID: agent,
		Tool: fmt.Sprintf("tool-%d", n%3), Access: schemas.AccessRead, Resources: []string{fmt.Sprintf("file:%d", n%7)}, BytesSent: uint64(200 + n%50),
	}
}

// file is the work of some agents, in the order of time: each makes a call every so often
// while it is at work.
func file(rng *rand.Rand, agents int, from, to, every schemas.Millis, works func(at schemas.Millis) bool) (events []schemas.Activity) {
	for a := range agents {
		n := 0
		for at := from + schemas.Millis(rng.Int64N(int64(every))); at < to; at += every/2 + schemas.Millis(rng.Int64N(int64(every))) {
			if works(at) {
				n++
				events = append(events, call(fmt.Sprintf("agent-%d", a), n, at))
			}
		}
	}
	slices.SortStableFunc(events, func(a, b schemas.Activity) int { return int(a.Time - b.Time) })
	return events
}

func always(schemas.Millis) bool { return true }

// replayed is what a replay says of files.
type replayed struct {
	summary replay.Summary
	scores  []float64
}

func replayOf(t *testing.T, files ...[]schemas.Activity) (r replayed) {
	t.Helper()
	var scores bytes.Buffer
	run, err := replay.New(replay.Config{Detector: detector.DefaultConfig(), Partitions: 1, Encoder: siem.JSON, Scores: &scores})
	require.NoError(t, err)
	total := 0
	for _, events := range files {
		for i := range events {
			require.NoError(t, run.Record(schemas.AppendActivity(nil, &events[i])))
		}
		total += len(events)
		require.NoError(t, run.Flush())
	}
	for l := range strings.Lines(scores.String()) {
		var s struct{ Score float64 }
		require.NoError(t, json.Unmarshal([]byte(l), &s))
		r.scores = append(r.scores, s.Score)
	}
	r.summary = run.Summary()
	require.Equal(t, int64(total), r.summary.Events)
	require.Len(t, r.scores, total)
	require.Zero(t, r.summary.DeadLetters)
	return r
}

// requireAlike holds the scores of all events but those of liars to what they are in an
// honest file.
func (r *replayed) requireAlike(t *testing.T, honest replayed, liar func(i int) bool) {
	t.Helper()
	for i := range r.scores {
		if !liar(i) && max(r.scores[i], honest.scores[i]) > 20 { // below that it is all the same
			require.Less(t, math.Abs(r.scores[i]-honest.scores[i]), 3.0, "event %d: %.1f, in an honest file %.1f", i, r.scores[i], honest.scores[i])
		}
	}
}

func TestALineOfAnotherCenturyHarmsNobodyInAReplay(t *testing.T) {
	honest := file(seeded.Rand(t), 40, monday, monday+2*day, 10*minute, always)
	want := replayOf(t, honest)
	require.Zero(t, want.summary.Clamped)
	require.Zero(t, want.summary.Late)
	n := len(honest)
	for _, c := range []struct {
		name    string
		at      []int
		clamped int64
	}{
		{"the first line", []int{0}, 1},
		{"the second line", []int{1}, 1},
		{"in the middle", []int{n / 2}, 1},
		{"close to the end", []int{n - 3}, 1},
		{"the last line", []int{n - 1}, 0}, // there is nobody left whom it could harm
		{"the first five lines", []int{0, 1, 2, 3, 4}, 5},
		{"five lines in the middle", []int{n / 2, n/2 + 1, n/2 + 2, n/2 + 3, n/2 + 4}, 5},
		{"five lines far apart", []int{10, n / 4, n / 3, n / 2, n - 100}, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			lying := slices.Clone(honest)
			for _, i := range c.at {
				lying[i].Time = y2286
			}
			got := replayOf(t, lying)
			require.Equal(t, c.clamped, got.summary.Clamped)
			require.Zero(t, got.summary.Late)
			require.Equal(t, want.summary.Alerts, got.summary.Alerts)
			require.Equal(t, want.summary.AgentDays, got.summary.AgentDays-int64(len(c.at))+c.clamped)
			got.requireAlike(t, want, func(i int) bool { return slices.Contains(c.at, i) })
		})
	}
}

func TestAProducerThatIsAheadMakesNobodyLateInAReplay(t *testing.T) {
	honest := file(seeded.Rand(t), 40, monday, monday+2*day, 5*minute, always)
	want := replayOf(t, honest)
	for _, ahead := range []schemas.Millis{90 * second, 299 * second, 20 * minute, 3 * hour} {
		t.Run(ahead.Time().Format("15:04:05"), func(t *testing.T) {
			lying := slices.Clone(honest)
			lies := int64(0)
			for i := range lying {
				if lying[i].AgentID == "agent-7" {
					lying[i].Time += ahead
					lies++
				}
			}
			got := replayOf(t, lying)
			if ahead > 2*minute {
				require.Greater(t, got.summary.Clamped, lies*9/10)
			}
			require.LessOrEqual(t, got.summary.Clamped, lies+lies/20)
			require.Zero(t, got.summary.Late)
			require.Equal(t, want.summary.Alerts, got.summary.Alerts)
			got.requireAlike(t, want, func(i int) bool { return honest[i].AgentID == "agent-7" })
		})
	}
}

func TestAnHonestFileIsBelieved(t *testing.T) {
	office := func(at schemas.Millis) bool {
		sinceMonday := (at - monday) % (7 * day)
		return sinceMonday < 5*day && sinceMonday%day >= 8*hour && sinceMonday%day < 18*hour
	}
	for _, c := range []struct {
		name   string
		agents int
		every  schemas.Millis
		works  func(schemas.Millis) bool
	}{
		{"around the clock", 40, 20 * minute, always},
		{"office hours", 40, 20 * minute, office},
		{"few agents in office hours", 3, 20 * minute, office},
		{"one agent in office hours", 1, 20 * minute, office},
		{"one agent, seldom", 1, 9 * hour, always},
		{"five agents, seldom", 5, 30 * hour, always},
		{"two agents, seldom", 2, 5 * hour, always},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := seeded.Rand(t)
			events := file(rng, c.agents, monday, monday+21*day, c.every, c.works)
			got := replayOf(t, events)
			require.Zero(t, got.summary.Clamped)
			require.Zero(t, got.summary.Late)

			// Producers are a minute behind each other.
			arrives := make(map[string]schemas.Millis, len(events))
			for i := range events {
				arrives[events[i].EventID] = events[i].Time + schemas.Millis(rng.Int64N(int64(minute)))
			}
			slices.SortStableFunc(events, func(a, b schemas.Activity) int { return int(arrives[a.EventID] - arrives[b.EventID]) })
			require.False(t, c.agents > 20 && slices.IsSortedFunc(events, func(a, b schemas.Activity) int { return int(a.Time - b.Time) }))
			got = replayOf(t, events)
			require.Zero(t, got.summary.Clamped)
			require.Zero(t, got.summary.Late)
		})
	}
}

func TestTheSummaryTellsWhatIsLate(t *testing.T) {
	events := file(seeded.Rand(t), 10, monday, monday+2*day, 10*minute, always)
	late := int64(0)
	for i := range events {
		if i > 1000 && i%100 == 0 {
			events[i].Time -= 5 * hour
			late++
		}
	}
	got := replayOf(t, events)
	require.Positive(t, late)
	require.Equal(t, late, got.summary.Late)
	require.Zero(t, got.summary.Clamped)
}

// A second file may begin before the first one ends, or long before it begins.
func TestASecondFileThatBeginsEarlierIsReplayed(t *testing.T) {
	for _, c := range []struct {
		name         string
		agents       int
		first, other schemas.Millis // when they begin; each is three days long
	}{
		{"a month earlier", 10, monday, monday - 30*day},
		{"two days earlier", 10, monday, monday - 2*day},
		{"a month earlier, of one agent", 1, monday, monday - 30*day},
		{"a month later", 10, monday, monday + 30*day},
		{"another year", 10, monday, monday - 400*day},
	} {
		t.Run(c.name, func(t *testing.T) {
			rng := seeded.Rand(t)
			first := file(rng, c.agents, c.first, c.first+3*day, 10*minute, always)
			other := file(rng, c.agents, c.other, c.other+3*day, 10*minute, always)
			for i := range other {
				other[i].AgentID = "other-" + other[i].AgentID
				other[i].EventID = "other-" + other[i].EventID
			}
			got := replayOf(t, first, other)
			require.Zero(t, got.summary.Clamped)
			require.Zero(t, got.summary.Late)
		})
	}
}

func TestAFileOfOneAgentIsJudgedByItsOwnTimes(t *testing.T) {
	honest := file(seeded.Rand(t), 1, monday, monday+3*day, 10*minute, always)
	want := replayOf(t, honest)
	for _, at := range []int{0, 1, len(honest) / 2, len(honest) - 2} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			lying := slices.Clone(honest)
			lying[at].Time = y2286
			got := replayOf(t, lying)
			require.Equal(t, int64(1), got.summary.Clamped)
			require.Zero(t, got.summary.Late)
			got.requireAlike(t, want, func(i int) bool { return i == at })
		})
	}
}

// held returns by how much the heap has grown when a replay has taken that many lines.
func held(t *testing.T, lines int, line func(i int) []byte) (mib float64) {
	t.Helper()
	run, err := replay.New(replay.Config{Detector: detector.DefaultConfig(), Partitions: 1, Encoder: siem.JSON, Alerts: io.Discard})
	require.NoError(t, err)
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range lines {
		require.NoError(t, run.Record(line(i)))
	}
	after := heap()
	require.Zero(t, run.Summary().DeadLetters)
	require.Less(t, run.Summary().Events, int64(lines), "some are held")
	runtime.KeepAlive(run)
	return (float64(after) - float64(before)) / (1 << 20)
}

func TestAReplayHoldsNoMoreThanItsBound(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines int
		grow  func(ev *schemas.Activity)
	}{
		{"many events", 20_000, func(ev *schemas.Activity) { ev.Resources = append(ev.Resources, "file:"+strings.Repeat("r", 4000)) }},
		{"attributes", 600, func(ev *schemas.Activity) {
			for i := range 250 {
				ev.Attributes = append(ev.Attributes, schemas.Attribute{Key: fmt.Sprintf("k%d", i), Value: strings.Repeat("v", 4000)})
			}
		}},
		{"resources", 600, func(ev *schemas.Activity) {
			for i := range 250 {
				ev.Resources = append(ev.Resources, fmt.Sprintf("file:%d/", i)+strings.Repeat("r", 3900))
			}
		}},
		{"more attributes than are kept", 600, func(ev *schemas.Activity) {
			for i := range 50_000 {
				ev.Attributes = append(ev.Attributes, schemas.Attribute{Key: fmt.Sprintf("k%d", i), Value: "v"})
			}
		}},
		{"a string that is cut", 600, func(ev *schemas.Activity) { ev.Tool = strings.Repeat("t", 1_000_000) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := held(t, c.lines, func(i int) []byte {
				ev := call(fmt.Sprintf("agent-%d", i%5), i, monday+schemas.Millis(i)*second)
				c.grow(&ev)
				return schemas.AppendActivity(nil, &ev)
			})
			t.Logf("%.0f MiB", got)
			require.Less(t, got, 64*1.25+10)
		})
	}
}
