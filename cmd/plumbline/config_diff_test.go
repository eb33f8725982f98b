package main

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestConfigDiffSaysWhichKeysChangeVerdictsAndWhichNeedARestart(t *testing.T) {
	before := writeFile(t, "old.yaml", "detector: {runbook: a}\n")
	after := writeFile(t, "new.yaml", "detector: {alerts_per_agent_day: 0.002, runbook: \"b\\u009b\"}\nkafka: {partitions: 4}\n")
	r := plumbline(t, "config", "diff", before, after)
	require.Equal(t, exitFailed, r.code)
	require.Empty(t, r.stderr)
	require.Contains(t, r.stdout, "kafka.partitions: 1 -> 4 [verdicts] [restart]\n")
	require.Contains(t, r.stdout, "detector.alerts_per_agent_day: 0.01 -> 0.002 [verdicts]\n")
	require.Contains(t, r.stdout, "detector.runbook: a -> ")
	require.Contains(t, r.stdout, "\nconfig_hash 99fbc4458939 -> ")
	require.NotContains(t, r.stdout, "\u009b", "a control character of a config stays off the terminal")

	r = good(t, "config", "diff", before, before, "--output", "json")
	var d configDiff
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &d))
	require.Equal(t, d.OldHash, d.NewHash)
	require.Contains(t, r.stdout, `"changes":[]`)
	require.Contains(t, good(t, "config", "diff", before, before).stdout, "equal (config_hash ")

	wrong := writeFile(t, "wrong.yaml", "kafka:\n  partitons: 4\n")
	r = plumbline(t, "config", "diff", before, wrong)
	require.Equal(t, exitUsage, r.code)
	require.Contains(t, r.stderr, wrong+":2:3: kafka.partitons: unknown key; write partitions")
	require.Equal(t, exitUsage, plumbline(t, "config", "diff", before, after, "--config", before).code)
}
