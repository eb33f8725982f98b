package main

import (
	"bufio"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/simulator"
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
