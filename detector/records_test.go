package detector_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/schemas"
)

var update = flag.Bool("update", false, "rewrite the goldens")

// transcript is everything that a detector says, as bytes.
type transcript struct {
	recorder
	verdicts bytes.Buffer
}

func (r *transcript) run(t *testing.T, d *detector.Detector, events []schemas.Activity) {
	t.Helper()
	for i := range events {
		v := d.Process(&events[i])
		b, err := json.Marshal(v)
		require.NoError(t, err)
		r.verdicts.Write(b)
		r.verdicts.WriteByte('\n')
	}
}

func (r *transcript) bytes(t *testing.T) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"alerts": r.alerts, "windows": r.windows})
	require.NoError(t, err)
	return r.verdicts.String() + string(b)
}

// troubled is benign traffic of several days with attacks, late events, duplicates
// and a second tenant in it.
func troubled(seed uint64, agents, days int) []schemas.Activity {
	f := newFleet(seed, agents)
	var out []schemas.Activity
	for day := range days {
		for i, ev := range f.day(day) {
			ev.Resources = append([]string(nil), ev.Resources...)
			if i%7 == 3 {
				ev.TenantID = "second"
			}
			out = append(out, ev)
			switch {
			case i%97 == 0:
				out = append(out, ev) // a duplicate
			case i%113 == 0:
				late := ev
				late.EventID += "-late"
				late.Time -= 5 * hourMS
				out = append(out, late)
			case day > 1 && i%601 == 0:
				for k := range 80 {
					bad := ev
					bad.EventID = fmt.Sprintf("%s-bad-%d", ev.EventID, k)
					bad.Time += schemas.Millis(k)
					bad.Access, bad.BytesSent = schemas.AccessSend, 1<<22
					bad.SessionID = fmt.Sprintf("bad-%d", k/20)
					bad.Resources = []string{fmt.Sprintf("email:x%d@evil.example", k)}
					out = append(out, bad)
				}
			}
		}
	}
	return out
}

func TestARestoredDetectorGoesOnExactlyAsTheOneThatWasSaved(t *testing.T) {
	for i := range 3 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			rng := seeded.Rand(t)
			events := troubled(rng.Uint64(), 15, 5)
			cfg := detector.DefaultConfig()
			cfg.MaxAgents = 22 // with two tenants some are evicted
			cfg.Overrides = []detector.Override{{Agent: "agent-00*", AlertsPerAgentDay: 0.5}, {PeerGroup: "s*", QuietTime: time.Hour}}
			cfg.Metrics = []detector.Metric{{Name: "size", Field: "bytes_received", Take: "mean"}, {Name: "sum", Field: "bytes_sent", Take: "sum"}}
			whole := &transcript{}
			d, err := detector.New(cfg, whole)
			require.NoError(t, err)
			whole.run(t, d, events)

			parts := &transcript{}
			p, err := detector.New(cfg, parts)
			require.NoError(t, err)
			cuts := []int{0, 1}
			for range 6 {
				cuts = append(cuts, 2+rng.IntN(len(events)-2))
			}
			slices.Sort(cuts)
			at := 0
			for _, cut := range cuts {
				parts.run(t, p, events[at:cut])
				at = cut
				snap := p.Save()
				require.True(t, bytes.Equal(snap, p.Save()), "saving changes nothing")
				p, err = detector.Load(cfg, parts, snap)
				require.NoError(t, err)
				require.True(t, bytes.Equal(snap, p.Save()), "a restored detector writes the same records")
			}
			parts.run(t, p, events[at:])
			require.NotEmpty(t, whole.alerts)
			require.NotEmpty(t, whole.windows)
			require.Positive(t, d.Stats().Evicted)
			if whole.bytes(t) != parts.bytes(t) {
				firstDifference(t, whole.bytes(t), parts.bytes(t))
				t.Fatalf("the outputs differ: %d and %d alerts", len(whole.alerts), len(parts.alerts))
			}
			require.True(t, bytes.Equal(d.Save(), p.Save()))
		})
	}
}

func TestADetectorRestoredAfterEveryEventSaysWhatOneThatRanThroughSays(t *testing.T) {
	rng := seeded.Rand(t)
	events := troubled(rng.Uint64(), 3, 4)
	start := rng.IntN(max(1, len(events)-1500)) // by then there is something to restore
	whole, parts := &transcript{}, &transcript{}
	d, err := detector.New(detector.DefaultConfig(), whole)
	require.NoError(t, err)
	p, err := detector.New(detector.DefaultConfig(), parts)
	require.NoError(t, err)
	whole.run(t, d, events[:start])
	parts.run(t, p, events[:start])
	for i := range events[start:min(len(events), start+1500)] {
		one := events[start+i : start+i+1]
		whole.run(t, d, one)
		p, err = detector.Load(detector.DefaultConfig(), parts, p.Save())
		require.NoError(t, err)
		parts.run(t, p, one)
	}
	require.NotEmpty(t, whole.windows)
	if whole.bytes(t) != parts.bytes(t) {
		firstDifference(t, whole.bytes(t), parts.bytes(t))
		t.Fatal("the outputs differ")
	}
	require.True(t, bytes.Equal(d.Save(), p.Save()))
}

// firstDifference logs where two texts part.
func firstDifference(t *testing.T, a, b string) {
	t.Helper()
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Logf("%s\n%s", a[max(0, i-300):min(len(a), i+200)], b[max(0, i-300):min(len(b), i+200)])
			return
		}
	}
}

func TestRecordsOfReleasedFormatsLoad(t *testing.T) {
	cfg := detector.DefaultConfig()
	events := troubled(9, 5, 8)
	half := 0
	for events[half].Time < events[0].Time+6*24*hourMS {
		half++
	}
	d, err := detector.New(cfg, &recorder{})
	require.NoError(t, err)
	for _, ev := range events[:half] {
		d.Process(&ev)
	}
	fresh := d.Save()
	golden := func(version int) []byte {
		b, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("records-v%d.bin", version)))
		require.NoError(t, err, "run the test with -update to write it")
		return b
	}
	if *update {
		require.NoError(t, os.WriteFile(filepath.Join("testdata", fmt.Sprintf("records-v%d.bin", detector.RecordFormat)), fresh, 0o600))
	}
	for version := 1; version <= detector.RecordFormat; version++ {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			old, err := detector.Load(cfg, &recorder{}, golden(version))
			require.NoError(t, err)
			written := old.Save()
			again, err := detector.Load(cfg, &recorder{}, written)
			require.NoError(t, err)
			require.True(t, bytes.Equal(written, again.Save()), "what was read is written again")
			for _, ev := range events[half:] {
				v := old.Process(&ev)
				require.False(t, math.IsNaN(v.Surprise) || math.IsInf(v.Surprise, 0))
			}
		})
	}
	newest := golden(detector.RecordFormat)
	old, err := detector.Load(cfg, &recorder{}, newest)
	require.NoError(t, err)
	require.True(t, bytes.Equal(newest, old.Save()), "what was read is written again")
	// The last bits of the standard library's logarithms depend on the build (fused
	// multiply-add): a format is held to its shape, not to them.
	if len(newest) != len(fresh) {
		t.Fatalf("%d bytes, the golden has %d: the format changed: raise RecordFormat, keep this golden and add one", len(fresh), len(newest))
	}
}

// Format 1 did not know who vouches. Of a group that was four days old when a release with
// that format wrote its state, all four agents do.
func TestAgentsOfAnOlderFormatAreStillPeers(t *testing.T) {
	golden, err := os.ReadFile(filepath.Join("testdata", "records-v1-young.bin"))
	require.NoError(t, err)
	r := &recorder{}
	d, err := detector.Load(detector.DefaultConfig(), r, golden)
	require.NoError(t, err)
	d.Process(&schemas.Activity{
		EventID: "odd", Time: fleetStart + 4*24*hourMS, TenantID: "acme", AgentID: "agent-1", PeerGroup: "crm", SessionID: "odd", Tool: "mail",
		Access: schemas.AccessSend, Resources: []string{"email:drop@evil.example"}, BytesSent: 1 << 30, Outcome: schemas.OutcomeSuccess,
	})
	require.NotEmpty(t, r.alerts)
	require.Contains(t, r.alerts[0].Summary, "the first time for it or any of its 3 peers")
}

func TestTheSameEventsGiveTheSameBytes(t *testing.T) {
	events := troubled(5, 10, 4)
	var runs [3]string
	for i := range runs {
		r := &transcript{}
		d, err := detector.New(detector.DefaultConfig(), r)
		require.NoError(t, err)
		r.run(t, d, events)
		runs[i] = r.bytes(t) + string(d.Save())
	}
	require.True(t, runs[0] == runs[1] && runs[1] == runs[2], "three runs in one process")
}

func TestAlertsAreCompleteAndTheirIDsUnique(t *testing.T) {
	r := &recorder{}
	d, err := detector.New(detector.DefaultConfig(), r)
	require.NoError(t, err)
	for _, ev := range troubled(6, 15, 5) {
		d.Process(&ev)
	}
	require.NotEmpty(t, r.alerts)
	ids, open := map[string]bool{}, map[string]bool{}
	for _, a := range r.alerts {
		require.False(t, ids[a.AlertID], "alert id %s twice", a.AlertID)
		ids[a.AlertID] = true
		switch a.Status {
		case schemas.StatusOpen:
			require.False(t, open[a.EpisodeID])
			open[a.EpisodeID] = true
		case schemas.StatusClose:
			require.True(t, open[a.EpisodeID])
			delete(open, a.EpisodeID)
		default:
			require.True(t, open[a.EpisodeID], "an update of an open episode")
		}
		require.GreaterOrEqual(t, a.Score, 50.0)
		require.LessOrEqual(t, a.Score, 100.0)
		require.NotEmpty(t, a.Title)
		require.NotEmpty(t, a.Summary)
		require.NotEmpty(t, a.Counterfactual)
		require.Contains(t, a.Query, "FROM activity WHERE tenant_id = ")
		require.NotEmpty(t, a.Signals)
		require.NotEmpty(t, a.Tags.OwaspASI)
		require.NotEmpty(t, a.Evidence.EventIDs)
		require.LessOrEqual(t, len(a.Evidence.EventIDs), schemas.MaxEvidence)
		require.Positive(t, a.Evidence.EventCount)
		require.GreaterOrEqual(t, a.Confidence, 0.0)
		require.LessOrEqual(t, a.Confidence, 1.0)
		_, err := json.Marshal(a)
		require.NoError(t, err, "every number is finite")
	}
	for _, w := range r.windows {
		require.Positive(t, w.Events)
		_, err := json.Marshal(w)
		require.NoError(t, err)
	}
}

func TestRecordsThatCannotBeReadAreRefused(t *testing.T) {
	d, err := detector.New(detector.DefaultConfig(), &recorder{})
	require.NoError(t, err)
	for _, ev := range troubled(4, 5, 1) {
		d.Process(&ev)
	}
	records, err := detector.Split(d.Save())
	require.NoError(t, err)
	partition, agent := records[0], records[1]
	with := func(record []byte, at int, b byte) []byte {
		s := bytes.Clone(record)
		s[at] = b
		return s
	}
	for _, c := range []struct {
		name, says string
		partition  []byte
		agents     [][]byte
	}{
		{"nothing", "cut off", nil, nil},
		{"a partition of a newer format", "start the release that wrote it", with(partition, 1, detector.RecordFormat+1), nil},
		{"an agent of a newer format", "start the release that wrote it", partition, [][]byte{with(agent, 1, detector.RecordFormat+1)}},
		{"a format that there never was", "format 1 of a record", partition, [][]byte{with(agent, 1, 1)}},
		{"a partition that is cut off", "cut off", partition[:len(partition)-3], nil},
		{"an agent that is cut off", "cut off", partition, [][]byte{agent[:len(agent)-1]}},
		{"an agent and more", "1 bytes too many", partition, [][]byte{slices.Concat(agent, []byte{0})}},
		{"an agent twice", "twice", partition, [][]byte{agent, agent}},
		{"an agent of a tenant that is not there", "not there", partition, [][]byte{with(agent, 3, '!')}},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := detector.RestoreCuts(detector.DefaultConfig(), &recorder{}, c.partition, slices.Values(c.agents))
			require.ErrorContains(t, err, c.says)
		})
	}
}

// FuzzRestore feeds damaged records, and where they load, goes on with them: neither
// panics, and what was loaded is written again the same.
func FuzzRestore(f *testing.F) {
	for _, n := range []int{0, 1, 40} {
		d, err := detector.New(detector.DefaultConfig(), &recorder{})
		require.NoError(f, err)
		for _, ev := range troubled(uint64(n), 3, 2)[:n] {
			d.Process(&ev)
		}
		f.Add(d.Save())
	}
	next := troubled(3, 3, 1)
	f.Fuzz(func(t *testing.T, saved []byte) {
		d, err := detector.Load(detector.DefaultConfig(), &recorder{}, saved)
		if err != nil {
			return
		}
		once := d.Save()
		again, err := detector.Load(detector.DefaultConfig(), &recorder{}, once)
		require.NoError(t, err)
		require.True(t, bytes.Equal(once, again.Save()))
		for i := range next[:50] {
			d.Process(&next[i])
		}
	})
}

func TestStateOutlivesAChangeOfMetrics(t *testing.T) {
	cfg := detector.DefaultConfig()
	size := detector.Metric{Name: "size", Field: "bytes_received", Take: "mean"}
	cfg.Metrics = []detector.Metric{{Name: "sum", Field: "bytes_sent", Take: "sum"}, size}
	d, err := detector.New(cfg, &recorder{})
	require.NoError(t, err)
	events := troubled(9, 5, 3)
	for _, ev := range events {
		d.Process(&ev)
	}
	saved := d.Save()
	for name, metrics := range map[string][]detector.Metric{
		"one gone": {size}, "all gone": nil, "another order": {size, cfg.Metrics[0]},
		"a new one": {{Name: "new", Field: "tokens_in", Take: "sum"}, size},
	} {
		t.Run(name, func(t *testing.T) {
			changed := cfg
			changed.Metrics = metrics
			other, err := detector.Load(changed, &recorder{}, saved)
			require.NoError(t, err)
			for _, ev := range events {
				ev.EventID += "-again"
				ev.Time += 3 * 86_400_000
				other.Process(&ev)
			}
			_, err = detector.Load(changed, &recorder{}, other.Save())
			require.NoError(t, err)
		})
	}
}
