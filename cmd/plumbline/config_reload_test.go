package main

import (
	"encoding/json"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/app"
)

func (s *site) configure(from, to string) {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	require.NoError(s.t, err)
	require.Contains(s.t, string(text), from)
	require.NoError(s.t, os.WriteFile(s.config, []byte(strings.Replace(string(text), from, to, 1)), 0o600))
}

func TestARunningServiceReloadsItsConfig(t *testing.T) {
	s := newSite(t, 1, "detector: {alerts_per_agent_day: 0.02}")
	s.cmd = command(t, "run", "--config", s.config, "--roles", "route,detect", "--no-watch")
	s.cmd.Stderr, s.cmd.SysProcAttr = &s.log, &syscall.SysProcAttr{Setsid: true}
	require.NoError(t, s.cmd.Start())
	t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
	s.ready()
	s.must(`{"agent_id":"a"}`+"\n", "send", "-")

	require.Contains(t, s.must("", "config", "reload"), "nothing differs")
	s.configure("alerts_per_agent_day: 0.02", "alerts_per_agent_day: 0.002")
	s.configure("partitions: 1", "partitions: 2")
	out := s.must("", "config", "reload")
	require.Contains(t, out, "reloaded, config_hash ")
	require.Contains(t, out, "  detector.alerts_per_agent_day: 0.02 -> 0.002 [verdicts]\n")
	require.Contains(t, out, "  kafka.partitions: 1 -> 2 [verdicts] [restart]\n")
	s.configure("partitions: 2", "partitions: 1")

	var shown []partitionState
	require.Eventually(t, func() bool {
		require.NoError(t, json.Unmarshal([]byte(s.must("", "state", "show", "--output", "json")), &shown))
		return strings.Contains(s.log.String(), "another config judges from this offset on")
	}, 10*time.Second, 50*time.Millisecond)
	require.NoError(t, json.Unmarshal([]byte(s.must("", "state", "show", "--output", "json")), &shown))
	var valid validation
	require.NoError(t, json.Unmarshal([]byte(s.must("", "config", "validate", "--output", "json")), &valid))
	require.Equal(t, valid.Hash, shown[0].ConfigHash)

	// A mistake: the command says so before it asks, the service when it is asked.
	s.configure("alerts_per_agent_day: 0.002", "alerts_per_agent_day: 0.002, bad\x1b: 1")
	_, errs, code := s.run("", "config", "reload")
	require.Equal(t, exitUsage, code)
	require.Contains(t, errs, s.config+":7:")
	out, _, code = s.run("", "config", "reload", "--admin", s.admin)
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "refused: the config before stays in force")
	require.Contains(t, out, s.config+":7:")
	_, metrics := s.get("/metrics")
	require.Contains(t, metrics, "plumbline_config_reload_failed 1\n")
	require.Contains(t, metrics, `plumbline_config_reloads_total{result="refused"} 1`)
	out, _, _ = s.run("", "config", "reload", "--admin", s.admin, "--output", "json")
	var reloaded app.Reloaded
	require.NoError(t, json.Unmarshal([]byte(out), &reloaded))
	require.Equal(t, app.ReloadRefused, reloaded.Result)
	require.Len(t, reloaded.Mistakes, 1)

	// SIGHUP, where there is no terminal.
	s.configure("0.002, bad\x1b: 1", "0.003")
	require.NoError(t, s.cmd.Process.Signal(syscall.SIGHUP))
	require.Eventually(t, func() bool {
		_, metrics := s.get("/metrics")
		return strings.Contains(metrics, "plumbline_config_reload_failed 0\n") && strings.Contains(metrics, `plumbline_config_reloads_total{result="applied"} 2`)
	}, 10*time.Second, 20*time.Millisecond)
	require.Equal(t, 0, s.stop(), s.log.String())
	_, errs, code = s.run("", "config", "reload")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "the service does not answer")
}

func TestReplaySwitchesConfigs(t *testing.T) {
	events := writeFile(t, "events.jsonl", good(t, "simulate", "--agents", "20", "--days", "10", "--seed", "3").stdout)
	before := writeFile(t, "old.yaml", "detector: {alerts_per_agent_day: 0.3}\nkafka: {partitions: 2}\n")
	after := writeFile(t, "new.yaml", "detector: {alerts_per_agent_day: 3}\n")
	replay := func(args ...string) string {
		t.Helper()
		return good(t, append([]string{"replay", "--config", before, "--input", events, "--alerts", "-"}, args...)...).stdout
	}
	old := replay()
	require.Equal(t, old, replay("--switch-at", "0:999999="+after))
	from, both := replay("--switch-at", "0:0="+after), replay("--switch-at", "0:0="+after, "--switch-at", "1:0="+after)
	require.NotEqual(t, old, from)
	require.NotEqual(t, from, both)
	all := writeFile(t, "all.yaml", "detector: {alerts_per_agent_day: 3}\nkafka: {partitions: 2}\n")
	require.Equal(t, good(t, "replay", "--config", all, "--input", events, "--alerts", "-").stdout, both)

	later := replay("--switch-at", "1:2000="+after)
	require.NotEqual(t, old, later)
	require.NotEqual(t, from, later)
	for arg, says := range map[string]string{
		"1:x=" + after: "is not PARTITION:OFFSET=FILE", "2:0=" + after: "there are 2 partitions", "0:0=absent.yaml": "does not exist", "": "is not",
	} {
		r := plumbline(t, "replay", "--config", before, "--input", events, "--switch-at", arg)
		require.Equal(t, exitUsage, r.code, arg)
		require.Contains(t, r.stderr, says)
	}
}
