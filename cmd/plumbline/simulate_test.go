package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestSimulateWritesTheSameLabelledFleetEveryTime(t *testing.T) {
	labels := filepath.Join(t.TempDir(), "labels.jsonl")
	args := []string{"simulate", "--agents", "24", "--days", "5", "--scenario", "burst,newborn", "--attacks", "2", "--labels", labels}
	r := good(t, args...)
	require.Contains(t, r.stderr, "2 attacks")
	require.Equal(t, r.stdout, plumbline(t, args...).stdout)

	events := map[string]bool{}
	for line := range strings.Lines(r.stdout) {
		var ev struct {
			ID string `json:"event_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(line), &ev))
		events[ev.ID] = true
	}
	written, err := os.ReadFile(labels)
	require.NoError(t, err)
	kinds := map[simulator.Kind]bool{}
	for line := range strings.Lines(string(written)) {
		var l simulator.Label
		require.NoError(t, json.Unmarshal([]byte(line), &l))
		kinds[l.Kind] = true
		for _, id := range l.EventIDs {
			require.True(t, events[id], "event %s of %s is not in the output", id, l.Kind)
		}
	}
	require.Equal(t, map[simulator.Kind]bool{simulator.KindBurst: true, simulator.KindNewborn: true}, kinds)
}

func TestSimulateEndsQuietlyWhenItsReaderHasSeenEnough(t *testing.T) {
	cmd := command(t, "simulate", "--agents", "500")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	_, err = bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, out.Close())
	require.NoError(t, cmd.Wait())
	require.NotContains(t, stderr.String(), "plumbline:")
}

func TestSimulateSaysThatItWasInterrupted(t *testing.T) {
	cmd := command(t, "simulate", "--agents", "500")
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	require.NoError(t, cmd.Start())
	in := bufio.NewReader(out)
	_, err = in.ReadString('\n')
	require.NoError(t, err)
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	_, err = in.WriteTo(io.Discard)
	require.NoError(t, err)
	require.Error(t, cmd.Wait())
	require.Equal(t, 1, cmd.ProcessState.ExitCode())
	require.True(t, strings.HasSuffix(stderr.String(), "plumbline: interrupted\n"), stderr.String())
}

func TestSimulateRefusesWhatItCannotDo(t *testing.T) {
	for _, c := range []struct{ flag, value, says string }{
		{"--agents", "0", "--agents must be above 0"},
		{"--days", "-2", "--days must be above 0"},
		{"--scenario", "smurf", `no attack is called "smurf"`},
		{"--start", "tomorrow", `--start: "tomorrow" is neither a date`},
		{"--tails", "thick", "--tails must be one of"},
		{"--labels", "/nowhere/labels.jsonl", "--labels: open /nowhere/labels.jsonl"},
		{"--tenants", "101", "101 tenants"},
		{"--attacks", "3", "--attacks 3 of no kind: write --scenario attacks"},
	} {
		t.Run(c.flag+" "+c.value, func(t *testing.T) {
			r := plumbline(t, "simulate", c.flag+"="+c.value)
			require.Equal(t, 2, r.code)
			require.Contains(t, r.stderr, c.says)
			require.Empty(t, r.stdout)
		})
	}
}

// linesOf are the lines of a file.
func linesOf(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return strings.Split(strings.TrimRight(string(b), "\n"), "\n")
}

func TestAFleetThatIsRegisteredHasNoIdentityAlertButOfStrangers(t *testing.T) {
	config := writeFile(t, "required.yaml", "detector: {identity: {unregistered_agent: alert}}\n")
	for seed := 1; seed <= 3; seed++ {
		dir := t.TempDir()
		path := func(name string) string { return filepath.Join(dir, name) }
		r := good(t, "simulate", "--agents", "20", "--days", "6", "--seed", strconv.Itoa(seed), "--scenario", "newborn", "--attacks", "2", "--registry", path("agents.jsonl"), "--labels", path("labels.jsonl"))
		require.NoError(t, os.WriteFile(path("events.jsonl"), []byte(r.stdout), 0o600))
		good(t, "replay", "--config", config, path("agents.jsonl"), path("events.jsonl"), "--alerts", path("alerts.jsonl"))
		var strangers, named []string
		for _, line := range linesOf(t, path("labels.jsonl")) {
			var label struct {
				AgentID string `json:"agent_id"`
			}
			require.NoError(t, json.Unmarshal([]byte(line), &label))
			strangers = append(strangers, label.AgentID)
		}
		for _, line := range linesOf(t, path("alerts.jsonl")) {
			var a schemas.Alert
			require.NoError(t, json.Unmarshal([]byte(line), &a))
			switch {
			case a.Kind != schemas.KindBehavior:
				named = append(named, a.Agent.ID)
				require.Equal(t, schemas.CheckUnregisteredAgent, a.Signals[0].Name)
				require.Empty(t, a.Agent.Owner)
			case !slices.Contains(strangers, a.Agent.ID):
				require.NotEmpty(t, a.Agent.Owner)
			}
		}
		slices.Sort(strangers)
		slices.Sort(named)
		require.Len(t, strangers, 2)
		require.Equal(t, strangers, slices.Compact(named), "seed %d", seed)
	}
}
