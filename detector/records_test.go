package detector_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/schemas"
)

var update = flag.Bool("update", false, "rewrite the goldens")

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

// withRegistrations has an event in five followed by what is said about an agent: its own, or
// one that never acts. Some is of yesterday. The events say more of who acts.
func withRegistrations(rng *rand.Rand, events []schemas.Activity) []schemas.Activity {
	var out []schemas.Activity
	statuses := []string{"", schemas.StatusActive, schemas.StatusSuspended, schemas.StatusDecommissioned}
	for i := range events {
		ev := events[i]
		ev.AgentVersion, ev.CredentialID = []string{"", "1", "2"}[rng.IntN(3)], []string{"", "a", "b", "c"}[rng.IntN(4)]
		ev.SourceIP = []string{"", "10.0.0.1", "10.0.1.1", "2001:db8::1", "no address"}[rng.IntN(5)]
		ev.CredentialType = []string{"static_key", "oauth_token"}[rng.IntN(2)]
		ev.CredentialExpires = schemas.Millis(rng.IntN(2)) * (ev.Time + schemas.Millis(rng.IntN(2*dayMS)) - dayMS/8)
		out = append(out, ev)
		if rng.IntN(5) > 0 {
			continue
		}
		r := &schemas.Registration{
			TenantID: ev.TenantID, AgentID: ev.AgentID, Time: ev.Time - schemas.Millis(rng.IntN(2)*rng.IntN(dayMS)), Status: statuses[rng.IntN(4)],
			Owner: []string{"", "Ada", "Bob"}[rng.IntN(3)], Criticality: schemas.CriticalityHigh, PeerGroup: []string{"", "", "one", "two"}[rng.IntN(4)],
			Versions: [][]string{nil, {}, {"1"}}[rng.IntN(3)], Labels: []schemas.Attribute{{Key: "k", Value: "v"}},
		}
		credentials := []schemas.Credential{{ID: "a", MaxAgeDays: rng.IntN(3)}, {ID: "b", Expires: ev.Time}}
		switch rng.IntN(4) {
		case 0:
			r.AgentID = fmt.Sprintf("idle-%d", rng.IntN(40))
		case 1:
			r.Credentials = credentials[:rng.IntN(3)]
		}
		if strings.HasSuffix(ev.AgentID, "7") {
			r.Credentials = credentials
		}
		out = append(out, schemas.Activity{Time: ev.Time, Registration: r})
	}
	return out
}

// asSent is events of which it is not known when they arrived.
func asSent(events []schemas.Activity) []sent {
	log := make([]sent, len(events))
	for i := range events {
		log[i].ev = events[i]
	}
	return log
}

func TestARestoredDetectorGoesOnExactlyAsTheOneThatWasSaved(t *testing.T) {
	for i := range 3 {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			rng := seeded.Rand(t)
			events := withRegistrations(rng, troubled(rng.Uint64(), 15, 5))
			cfg := detector.DefaultConfig()
			cfg.MaxAgents = 22 // with two tenants some are evicted
			cfg.MaxTenants = 2 - i%2
			cfg.Identity = everyCheck()
			decideBy(&cfg, somePolicies, policy.Options{})
			cfg.Overrides = []detector.Override{{Agent: "agent-00*", AlertsPerAgentDay: 0.5}, {PeerGroup: "s*", QuietTime: time.Hour}}
			cfg.Metrics = []detector.Metric{{Name: "size", Field: "bytes_received", Take: "mean"}, {Name: "sum", Field: "bytes_sent", Take: "sum"}}
			cuts := []int{0, 1}
			for range 6 {
				cuts = append(cuts, 2+rng.IntN(len(events)-2))
			}
			d, whole := restarted(t, cfg, asSent(events), cuts)
			require.NotEmpty(t, whole.alerts)
			require.NotEmpty(t, whole.windows)
			require.Positive(t, d.Stats().Evicted)
			require.Greater(t, d.Stats().Registrations, 30)
			require.Positive(t, d.Stats().RegistrationsOutdated)
			requireEveryCheck(t, whole.alerts)
			require.NotEmpty(t, policyAlerts(t, whole.alerts)["policy:in-an-incident"])
		})
	}
}

func TestADetectorRestoredAfterEveryEventSaysWhatOneThatRanThroughSays(t *testing.T) {
	rng := seeded.Rand(t)
	events := withRegistrations(rng, troubled(rng.Uint64(), 3, 4))
	start := rng.IntN(max(1, len(events)-1500)) // by then there is something to restore
	events = events[:min(len(events), start+1500)]
	var cuts []int
	for cut := start; cut < len(events); cut++ {
		cuts = append(cuts, cut)
	}
	cfg := detector.DefaultConfig()
	cfg.Identity = everyCheck()
	decideBy(&cfg, somePolicies, policy.Options{})
	_, whole := restarted(t, cfg, asSent(events), cuts)
	require.NotEmpty(t, whole.windows)
}

// restarted has one detector work off a log at once, and one that is saved and restored at
// each cut: they say the same. It returns the first one, and what it said.
func restarted(t *testing.T, cfg detector.Config, log []sent, cuts []int) (*detector.Detector, *fed) {
	t.Helper()
	whole, parts := &fed{}, &fed{}
	d, p := detector.Started(t, cfg, whole), detector.Started(t, cfg, parts)
	feed(d, log, whole)
	slices.Sort(cuts)
	at := 0
	for _, cut := range append(cuts, len(log)) {
		feed(p, log[at:cut], parts)
		at = cut
		saved := p.Save()
		require.True(t, bytes.Equal(saved, p.Save()), "saving changes nothing")
		p = detector.Loaded(t, cfg, parts, saved)
		require.True(t, bytes.Equal(saved, p.Save()), "a restored detector writes the same records")
	}
	requireSame(t, whole, parts)
	require.True(t, bytes.Equal(d.Save(), p.Save()))
	return d, whole
}

// requireSame fails where what two detectors said is not the same, byte for byte.
func requireSame(t *testing.T, want, got *fed) {
	t.Helper()
	a, b := asJSON(t, []any{want.verdicts, want.windows, want.alerts}), asJSON(t, []any{got.verdicts, got.windows, got.alerts})
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			t.Fatalf("the outputs differ:\n%s\n%s", a[max(0, i-300):min(len(a), i+200)], b[max(0, i-300):min(len(b), i+200)])
		}
	}
	require.Len(t, b, len(a))
}

// recordsOf are the records that the release with a format wrote.
func recordsOf(t *testing.T, format int) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", fmt.Sprintf("records-v%d.bin", format)))
	require.NoError(t, err, "run TestRecordsOfReleasedFormatsLoad with -update to write it")
	return b
}

func TestRecordsOfReleasedFormatsLoad(t *testing.T) {
	cfg := detector.DefaultConfig()
	events := troubled(9, 5, 8)
	half := 0
	for events[half].Time < events[0].Time+6*24*hourMS {
		half++
	}
	d := detector.Started(t, cfg, &recorder{})
	for _, ev := range events[:half] {
		d.Process(&ev)
	}
	fresh := d.Save()
	if *update {
		require.NoError(t, os.WriteFile(filepath.Join("testdata", fmt.Sprintf("records-v%d.bin", detector.RecordFormat)), fresh, 0o600))
	}
	for version := 1; version <= detector.RecordFormat; version++ {
		t.Run(strconv.Itoa(version), func(t *testing.T) {
			golden := recordsOf(t, version)
			old := detector.Loaded(t, cfg, &recorder{}, golden)
			written := old.Save()
			again := detector.Loaded(t, cfg, &recorder{}, written)
			require.True(t, bytes.Equal(written, again.Save()), "what was read is written again")
			require.True(t, version < detector.RecordFormat || bytes.Equal(golden, written), "what was read is written again")
			for _, ev := range events[half:] {
				v := old.Process(&ev)
				require.False(t, math.IsNaN(v.Surprise) || math.IsInf(v.Surprise, 0))
			}
		})
	}
	newest := recordsOf(t, detector.RecordFormat)
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
	d := detector.Loaded(t, detector.DefaultConfig(), r, golden)
	d.Process(&schemas.Activity{
		EventID: "odd", Time: fleetStart + 4*24*hourMS, TenantID: "acme", AgentID: "agent-1", PeerGroup: "crm", SessionID: "odd", Tool: "mail",
		Access: schemas.AccessSend, Resources: []string{"email:drop@evil.example"}, BytesSent: 1 << 30, Outcome: schemas.OutcomeSuccess,
	})
	require.NotEmpty(t, r.alerts)
	require.Contains(t, r.alerts[0].Summary, "the first time for it or any of its 3 peers")
}

func TestAlertsAreCompleteAndTheirIDsUnique(t *testing.T) {
	r := &recorder{}
	d := detector.Started(t, detector.DefaultConfig(), r)
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
	d := detector.Started(t, detector.DefaultConfig(), &recorder{})
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
		d := detector.Started(f, detector.DefaultConfig(), &recorder{})
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
		again := detector.Loaded(t, detector.DefaultConfig(), &recorder{}, once)
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
	d := detector.Started(t, cfg, &recorder{})
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
			other := detector.Loaded(t, changed, &recorder{}, saved)
			for _, ev := range events {
				ev.EventID += "-again"
				ev.Time += 3 * 86_400_000
				other.Process(&ev)
			}
			_ = detector.Loaded(t, changed, &recorder{}, other.Save())
		})
	}
}
