package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func parsed(t *testing.T, text string) *Config {
	t.Helper()
	cfg, err := Parse("test.yaml", []byte(text), testForms)
	require.NoError(t, err)
	return cfg
}

// What the tags say of a key is what the fingerprint makes of it.
func TestADifferenceIsMarkedAsAVerdictWhereTheFingerprintChanges(t *testing.T) {
	t.Setenv("KAFKA_PASSWORD", "x")
	for _, c := range []struct {
		text              string
		key, old, new     string
		verdicts, restart bool
	}{
		{"data_dir: /srv", "data_dir", "./plumbline-data", "/srv", false, true},
		{"kafka: {partitions: 4}", "kafka.partitions", "1", "4", true, true},
		{"kafka: {replication: 3}", "kafka.replication", "0", "3", false, true},
		{"clickhouse: {retention_days: 9}", "clickhouse.retention_days", "90", "9", false, true},
		{"detector: {alerts_per_agent_day: 0.002}", "detector.alerts_per_agent_day", "0.01", "0.002", true, false},
		{"detector: {quiet_time: 2h}", "detector.quiet_time", "6h", "2h", true, false},
		{"detector: {max_agents: 10}", "detector.max_agents", "2000000", "10", true, false},
		{"detector: {max_tenants: 10}", "detector.max_tenants", "4096", "10", true, false},
		{"detector: {checkpoint_every: 1m}", "detector.checkpoint_every", "30s", "1m", false, true},
		{"detector: {on_lost_state: fresh}", "detector.on_lost_state", "refuse", "fresh", false, true},
		{"detector: {runbook: x}", "detector.runbook", `""`, "x", false, false},
		{"detector: {access_tags: {read: [T1213]}}", "detector.access_tags.read", "[]", "[T1213]", false, false},
		{"detector: {signals: {drift: {off: true}}}", "detector.signals.drift.off", "false", "true", true, false},
		{"detector: {signals: {drift: {weight: 2}}}", "detector.signals.drift.weight", "0.0", "2.0", true, false},
		{"detector: {signals: {drift: {at_least: 2}}}", "detector.signals.drift.at_least", "0.0", "2.0", true, false},
		{"detector: {signals: {drift: {tags: [T1213]}}}", "detector.signals.drift.tags", "[]", "[T1213]", false, false},
		{"detector: {metrics: [{name: cost, field: tokens_in, take: sum}]}", "detector.metrics[cost]", "", "{name: cost, field: tokens_in, take: sum, unit: \"\"}", true, false},
		{"detector: {overrides: [{agent: a, quiet_time: 1h}]}", "detector.overrides[0]", "", "{tenant: \"\", peer_group: \"\", agent: a, alerts_per_agent_day: 0.0, quiet_time: 1h, signals: {}, identity: {}}", true, false},
		{"detector: {identity: {no_owner: off}}", "detector.identity.no_owner", `""`, `"off"`, true, false},
		{"outputs: [{topic: siem.ocsf, format: ocsf, min_severity: high}]", "outputs[siem.ocsf].min_severity", "low", "high", false, true},
		{"log: {level: debug}", "log.level", "info", "debug", false, true},
	} {
		t.Run(c.key, func(t *testing.T) {
			to := parsed(t, c.text)
			require.Equal(t, []Change{{c.key, c.old, c.new, c.verdicts, c.restart}}, Diff(Default(), to))
			require.Equal(t, c.verdicts, Default().Hash() != to.Hash())
			require.Empty(t, Diff(to, to))
		})
	}
}

func TestListsAreComparedByTheNamesInThemAndSecretsNeverShown(t *testing.T) {
	const one, two = "{name: a, field: tokens_in, take: sum}", "{name: b, field: tokens_out, take: sum}"
	from, to := parsed(t, "detector: {metrics: ["+one+", "+two+"]}"), parsed(t, "detector: {metrics: ["+two+", "+one+"]}")
	require.NotEqual(t, from.Hash(), to.Hash())
	require.Equal(t, []Change{{Key: "detector.metrics", Old: "order a, b", New: "order b, a", Verdicts: true}}, Diff(from, to))

	from, to = Default(), Default()
	from.ClickHouse.Password, to.ClickHouse.Password = NewSecret("hunter1"), NewSecret("hunter2")
	require.Equal(t, []Change{{Key: "clickhouse.password", Old: `"***"`, New: `"***"`, Restart: true}}, Diff(from, to))
	require.Empty(t, Diff(Default(), parsed(t, "detector: {signals: {drift: {}}, metrics: []}")), "a signal that is named without a change")
}
