package pipeline_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/statelog"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// said keeps what a detector alerts on, one a string.
type said map[string]int

func (s said) Alert(a *schemas.Alert) {
	b, err := siem.JSON.Append(nil, a)
	if err != nil {
		panic(err)
	}
	s[string(b)]++
}
func (s said) Window(*schemas.Window) {}

// judged returns the alerts and the state of a detector that judged by one config up to
// where the state says, and then by r.detectors.
func (r *rig) judged(old detector.Config) (map[string]int, records) {
	r.t.Helper()
	s, err := statelog.Read(r.t.Context(), r.cluster, 0)
	require.NoError(r.t, err)
	canonical, err := r.detectors.Canonical()
	require.NoError(r.t, err)
	require.JSONEq(r.t, string(canonical), string(s.Marker.Config), "log:\n%s", r.logged())
	require.Equal(r.t, r.detectors.Hash, s.Marker.ConfigHash)
	alerts := said{}
	d, err := detector.New(old, alerts)
	require.NoError(r.t, err)
	for _, rec := range r.cluster.All(pipeline.TopicActivity) {
		if rec.Offset == s.Marker.ConfigSince {
			require.NoError(r.t, d.Reconfigure(r.detectors))
		}
		r.take(d, &rec)
	}
	return alerts, cut(d)
}

// other is a config that differs in everything that a reload may change.
func other(cfg detector.Config) detector.Config {
	cfg.Hash, cfg.AlertsPerAgentDay, cfg.QuietTime, cfg.MaxAgents = "other", 1, 3*time.Hour, 18
	cfg.Metrics = []detector.Metric{{Name: "sent", Field: "bytes_sent", Take: "sum"}}
	cfg.Overrides = []detector.Override{{Agent: "agent-1*", AlertsPerAgentDay: 9}}
	cfg.Runbook = "https://wiki.example/"
	return cfg
}

// reloaded has every process reload its config, or be killed and come back with it.
func (c *chaos) reloaded(owners []*owner) []*owner {
	c.detectors = *c.next
	if !c.crash {
		for _, o := range owners {
			require.NoError(c.t, o.reload(c.detectors))
		}
		c.count("reload")
		return owners
	}
	for _, o := range owners {
		o.kill()
	}
	c.count("restart with another config")
	return []*owner{c.spawn()}
}

func TestWhateverHappensEachRecordIsJudgedByOneConfig(t *testing.T) {
	records, _, base := chaosInput(t)
	actions := make(map[string]int)
	runs := uint64(24)
	if n, err := strconv.ParseUint(os.Getenv("PLUMBLINE_CHAOS_RUNS"), 10, 64); err == nil {
		runs = n
	} else if testing.Short() {
		runs = 4
	}
	for seed := uint64(1); seed <= runs; seed++ {
		t.Run("seed "+strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 1)
				r.detectors, r.outputs = base.detectors, base.outputs
				r.timed()
				r.cluster.SetFetch(5*time.Millisecond, 20)
				r.cluster.SetRebalanceTimeout(30 * time.Second)
				r.whole = []int64{1, 0}[seed/2%2]
				next := other(r.detectors)
				c := &chaos{
					rig: r, rng: rand.New(rand.NewPCG(seed, 5)), clean: seed%2 == 0, actions: actions,
					next: &next, crash: seed%3 == 0,
				}
				if doubles := c.run(records, nil, len(records)); c.clean {
					require.Zero(t, doubles, "alerts stand twice; log:\n%s", c.logged())
				}
			})
		})
	}
	t.Logf("faults: %v", actions)
}

func TestAReloadTakesEffectWhereNothingComes(t *testing.T) {
	r := newRig(t, 1)
	r.every = time.Hour
	lines := fleet(8)
	half := len(lines) / 2
	r.send(lines[:half]...)
	s := r.start("route", "detect")
	s.read(t, "detect", pipeline.TopicActivity, half)
	old := r.detectors
	r.detectors = other(old)
	require.NoError(t, s.reload(r.detectors))
	require.Eventually(t, func() bool { at, _ := r.cluster.Committed(pipeline.GroupDetect, activity); return at > 0 }, 5*time.Second, time.Millisecond)
	at, _ := r.cluster.Committed(pipeline.GroupDetect, activity)
	r.send(lines[half:]...)
	r.settled("route")
	require.NoError(t, s.stop())
	r.every = time.Millisecond
	r.run("detect")
	want, state := r.judged(old)
	require.Equal(t, want, r.alerts())
	got, _ := r.state(0)
	require.Equal(t, state, got)
	content, err := statelog.Read(t.Context(), r.cluster, 0)
	require.NoError(t, err)
	require.Equal(t, at, content.Marker.ConfigSince)
}

func TestAConfigThatComesAndGoesBeforeItsCheckpointNeedsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.every = time.Hour
		lines := fleet(8)
		r.send(lines...)
		s := r.start("route", "detect")
		s.read(t, "detect", pipeline.TopicActivity, len(lines))
		synctest.Wait()
		require.NoError(t, s.reload(other(r.detectors)))
		require.NoError(t, s.reload(r.detectors))
		time.Sleep(5 * time.Second)
		at, _ := r.cluster.Committed(pipeline.GroupDetect, activity)
		require.Zero(t, at, "a checkpoint was made")
		require.NoError(t, s.stop())
		content, err := statelog.Read(t.Context(), r.cluster, 0)
		require.NoError(t, err)
		require.Zero(t, content.Marker.ConfigSince)
	})
}

func TestAConfigThatTheDetectorRefusesIsNotReloaded(t *testing.T) {
	r := newRig(t, 1)
	s := r.start("detect")
	require.ErrorContains(t, s.reload(detector.Config{}), "budget")
	huge := r.detectors
	huge.Runbook = strings.Repeat("x", 1<<20)
	require.ErrorContains(t, s.reload(huge), "at most")
	require.NoError(t, s.stop())
}

// A log of a release that kept no config, or of one whose config is none for this release.
func TestStateWithoutAConfigIsJudgedByThatOfTheProcess(t *testing.T) {
	for name, stored := range map[string]string{"none": "", "unreadable": `[]`, "refused": `{"alerts_per_agent_day":-1}`} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			lines := fleet(8)
			r.send(lines[:len(lines)/2]...)
			r.run("route", "detect")
			r.rewriteMarker(func(m map[string]any) {
				delete(m, "config")
				delete(m, "config_since")
				if stored != "" {
					m["config"] = json.RawMessage(stored)
				}
			})
			old := r.detectors
			r.detectors = other(old)
			r.send(lines[len(lines)/2:]...)
			r.run("route", "detect")
			want, _ := r.judged(old)
			require.Equal(t, want, r.alerts())
			require.Equal(t, stored != "", strings.Contains(r.logged(), "none for this release"))
		})
	}
}

// rewriteMarker changes the newest marker of the log.
func (r *rig) rewriteMarker(change func(map[string]any)) {
	r.t.Helper()
	all := r.cluster.All(pipeline.TopicBaselines)
	for i := len(all) - 1; i >= 0; i-- {
		if string(all[i].Key) != "marker" {
			continue
		}
		m := map[string]any{}
		require.NoError(r.t, json.Unmarshal(all[i].Value, &m))
		change(m)
		b, err := json.Marshal(m)
		require.NoError(r.t, err)
		all[i].Value = b
		break
	}
	r.cluster.CreateTopic(pipeline.TopicBaselines, 1)
	_, err := r.cluster.Put(baselines, all...)
	require.NoError(r.t, err)
}
