package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/demo"
)

func TestTheDemoStoresEverythingAndItsQueriesWorkAsPasted(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the demo on the embedded engine")
	}
	dir := t.TempDir()
	cmd := command(t, "demo", "--duration", "3s", "--agents", "32")
	cmd.Dir = dir
	r := finish(t, cmd)
	require.Equal(t, 0, r.code, r.stderr)
	require.NotContains(t, r.stdout, "\x1b", "no colour where nobody looks")

	events := regexp.MustCompile(`events\s+([\d,]+) sent, ([\d,]+) stored`).FindStringSubmatch(r.stdout)
	require.NotNil(t, events, r.stdout)
	require.Equal(t, events[1], events[2])
	require.Contains(t, r.stdout, "of 8 found")

	queries := 0
	for line := range strings.Lines(r.stdout) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, binary+" ") {
			continue
		}
		queries++
		sh := exec.CommandContext(t.Context(), "sh", "-c", line)
		sh.Dir = dir
		out, err := sh.CombinedOutput()
		require.NoError(t, err, "%s: %s", line, out)
		require.NotRegexp(t, `(?m)^0 rows`, string(out), line)
	}
	require.Equal(t, 4, queries)

	// Again in the same directory, for a program to read.
	cmd = command(t, "demo", "--duration", "1s", "--agents", "32", "--seed", "2", "--output", "json")
	cmd.Dir = dir
	r = finish(t, cmd)
	require.Equal(t, 0, r.code, r.stderr)
	var s demo.Summary
	require.NoError(t, json.Unmarshal([]byte(r.stdout), &s), r.stdout)
	require.Equal(t, s.EventsSent, s.EventsStored)
	require.Equal(t, 8, s.Attacks)
	require.Positive(t, s.AttacksFound)
	require.Positive(t, s.ExpectedFalseAlerts) // whether it is kept: internal/demo, on fleets that no clock moves
}

func TestTheDemoLeavesADirectoryAloneThatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	keep := filepath.Join(dir, "precious")
	require.NoError(t, os.WriteFile(keep, []byte("x"), 0o600))
	r := plumbline(t, "demo", "--data-dir", dir)
	require.NotEqual(t, 0, r.code)
	require.Contains(t, r.stderr, "not a demo's")
	require.FileExists(t, keep)
}
