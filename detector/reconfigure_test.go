package detector_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/seeded"
	"github.com/plumbline-sec/plumbline/pipeline/policy"
	"github.com/plumbline-sec/plumbline/schemas"
)

// changes are configs that a detector may be given while it works.
func changes() map[string]func(*detector.Config) {
	size := detector.Metric{Name: "size", Field: "bytes_received", Take: "mean"}
	sum := detector.Metric{Name: "sum", Field: "bytes_sent", Take: "sum"}
	return map[string]func(*detector.Config){
		"nothing":        func(*detector.Config) {},
		"another budget": func(c *detector.Config) { c.AlertsPerAgentDay, c.QuietTime = 1, time.Hour },
		"fewer agents":   func(c *detector.Config) { c.MaxAgents, c.MaxTenants = 8, 1 },
		"a signal off":   func(c *detector.Config) { c.Signals = map[string]detector.SignalConfig{"new_destination": {Off: true}} },
		"weights": func(c *detector.Config) {
			c.Signals = map[string]detector.SignalConfig{"bytes_sent": {Weight: 9}, "drift": {AtLeast: 50}}
		},
		"overrides": func(c *detector.Config) {
			c.Overrides = []detector.Override{{Agent: "agent-00*", AlertsPerAgentDay: 2}}
		},
		"no override":           func(c *detector.Config) { c.Overrides = nil },
		"metrics change places": func(c *detector.Config) { c.Metrics = []detector.Metric{sum, size} },
		"a metric gone":         func(c *detector.Config) { c.Metrics = []detector.Metric{sum} },
		"metrics gone":          func(c *detector.Config) { c.Metrics = nil },
		"a metric more": func(c *detector.Config) {
			c.Metrics = append(c.Metrics[:2:2], detector.Metric{Name: "in", Field: "tokens_in", Take: "sum"})
		},
		"a metric of other sense": func(c *detector.Config) {
			c.Metrics = []detector.Metric{{Name: "size", Field: "bytes_sent", Take: "sum"}, sum}
		},
		"identity checks": func(c *detector.Config) {
			c.Identity = map[string]string{schemas.CheckNoOwner: detector.IdentityObserve, schemas.CheckStaticKey: detector.IdentityAlert}
		},
		"identity checks of some": func(c *detector.Config) {
			c.Overrides = []detector.Override{{Agent: "agent-0*", Identity: map[string]string{schemas.CheckUnregisteredAgent: detector.IdentityOff}}}
		},
		"other policies": func(c *detector.Config) {
			decideBy(c, somePolicies+`@id("more") forbid (principal, action == Plumbline::Action::"write", resource);`, policy.Options{DefaultDeny: true})
		},
		"no policies": func(c *detector.Config) { c.Policies, c.NewDecider = nil, nil },
		"the runbook and tags": func(c *detector.Config) {
			c.Runbook, c.Tags = "https://wiki.example/", schemas.Tagging{Access: map[string]schemas.Tags{"send": {Attack: []string{"T1048"}}}}
		},
	}
}

func reconfigurable() detector.Config {
	cfg := detector.DefaultConfig()
	cfg.MaxAgents = 22
	cfg.AlertsPerAgentDay = 0.3
	cfg.Identity = everyCheck()
	decideBy(&cfg, somePolicies, policy.Options{})
	cfg.Overrides = []detector.Override{{Agent: "agent-00*", AlertsPerAgentDay: 0.5}, {PeerGroup: "s*", QuietTime: time.Hour}}
	cfg.Metrics = []detector.Metric{{Name: "size", Field: "bytes_received", Take: "mean"}, {Name: "sum", Field: "bytes_sent", Take: "sum"}}
	return cfg
}

// TestADetectorThatIsReconfiguredGoesOnAsOneThatIsRestoredWithThatConfig holds what is done
// in place to what a restart does with the records of that instant.
func TestADetectorThatIsReconfiguredGoesOnAsOneThatIsRestoredWithThatConfig(t *testing.T) {
	rng := seeded.Rand(t)
	events := asSent(withRegistrations(rng, troubled(rng.Uint64(), 15, 5)))
	for name, change := range changes() {
		t.Run(name, func(t *testing.T) {
			at := len(events)/4 + rng.IntN(len(events)/2)
			cfg := reconfigurable()
			live := &fed{}
			d := detector.Started(t, cfg, live)
			feed(d, events[:at], live)
			saved := d.Save()
			*live = fed{}

			change(&cfg)
			restored := &fed{}
			r := detector.Loaded(t, cfg, restored, saved)
			require.NoError(t, d.Reconfigure(cfg))
			require.True(t, bytes.Equal(r.Save(), d.Save()), "records differ")
			require.Equal(t, r.CutWhole(), d.CutWhole())
			feed(d, events[at:], live)
			feed(r, events[at:], restored)
			requireSame(t, restored, live)
			require.True(t, bytes.Equal(r.Save(), d.Save()), "records differ at the end")
			require.NotEmpty(t, live.alerts)
		})
	}
}

func TestAConfigThatIsNoneLeavesADetectorAsItWas(t *testing.T) {
	d, err := detector.New(reconfigurable(), &recorder{})
	require.NoError(t, err)
	for _, ev := range troubled(3, 5, 2) {
		d.Process(&ev)
	}
	before := d.Save()
	require.Error(t, d.Reconfigure(detector.Config{}))
	require.True(t, bytes.Equal(before, d.Save()))
}

func TestAConfigSurvivesItsCanonicalForm(t *testing.T) {
	seen := map[string]string{}
	for name, change := range changes() {
		cfg := reconfigurable()
		cfg.Version, cfg.Hash = "v1", "abc"
		change(&cfg)
		b, err := cfg.Canonical()
		require.NoError(t, err)
		require.NotContains(t, string(b), `"v1"`, "a release is no part of a config")
		back, err := detector.ParseConfig(b, "v2")
		require.NoError(t, err)
		require.Equal(t, "v2", back.Version)
		again, err := back.Canonical()
		require.NoError(t, err)
		require.Equal(t, string(b), string(again))
		back.Version, back.NewDecider = cfg.Version, cfg.NewDecider
		require.Equal(t, fmt.Sprintf("%+v", cfg), fmt.Sprintf("%+v", back))
		require.NotContains(t, seen, string(b), "%s is the config of another change", name)
		seen[string(b)] = name
	}
	// Maps that are empty are maps that are not there.
	a, b := detector.DefaultConfig(), detector.DefaultConfig()
	a.Signals, a.Tags.Access, a.Overrides = map[string]detector.SignalConfig{}, map[string]schemas.Tags{}, []detector.Override{}
	x, err := a.Canonical()
	require.NoError(t, err)
	y, err := b.Canonical()
	require.NoError(t, err)
	require.Equal(t, string(y), string(x))
	// What an older release did not know has its default; what a newer one knows is no mistake.
	old, err := detector.ParseConfig([]byte(strings.Replace(string(y), `"max_tenants":4096,`, `"unknown":{},`, 1)), "")
	require.NoError(t, err)
	require.Equal(t, b.MaxTenants, old.MaxTenants)
	_, err = detector.ParseConfig([]byte("{"), "")
	require.Error(t, err)
}

// BenchmarkReconfigure is how long a partition waits in the memory of its detector.
func BenchmarkReconfigure(b *testing.B) {
	cfg := detector.DefaultConfig()
	d, err := detector.New(cfg, &discard{})
	require.NoError(b, err)
	s := newStream(100_000)
	for range 300_000 {
		d.Process(s.next())
	}
	b.ReportAllocs()
	for b.Loop() {
		cfg.AlertsPerAgentDay *= 1.01
		if err := d.Reconfigure(cfg); err != nil {
			b.Fatal(err)
		}
	}
}
