package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas"
)

func TestReplayDoesNotWriteOverItsInputNorTwiceToOneFile(t *testing.T) {
	dir := t.TempDir()
	input, link := filepath.Join(dir, "in.jsonl"), filepath.Join(dir, "link.jsonl")
	const event = `{"event_id":"1","agent_id":"a","time":"2026-03-01T10:00:00Z"}` + "\n"
	require.NoError(t, os.WriteFile(input, []byte(event), 0o600))
	require.NoError(t, os.Symlink(input, link))
	out := filepath.Join(dir, "out")
	for name, test := range map[string]struct {
		args []string
		code int
	}{
		"alerts over the input":                     {[]string{"--alerts", input}, exitUsage},
		"scores over the input by another name":     {[]string{"--scores", link}, exitUsage},
		"alerts and scores in a file not there yet": {[]string{"--alerts", out, "--scores", dir + "/./out"}, exitUsage},
		"nothing kept of either":                    {[]string{"--alerts", os.DevNull, "--scores", os.DevNull}, exitGood},
		"two files":                                 {[]string{"--alerts", out + "1", "--scores", out + "2"}, exitGood},
	} {
		t.Run(name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			code := run(t.Context(), append([]string{"replay", "--input", input}, test.args...), strings.NewReader(""), &stdout, &stderr)
			require.Equal(t, test.code, code, stderr.String())
			left, err := os.ReadFile(input)
			require.NoError(t, err)
			require.True(t, bytes.Equal([]byte(event), left), "the input is as it was")
		})
	}
}

func TestReplayWritesWhatAnOutputOfTheConfigGets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plumbline.yaml")
	require.NoError(t, os.WriteFile(path, []byte(`
detector: {alerts_per_agent_day: 5}
outputs:
  - {topic: siem.cef, format: cef, syslog: true, status: [open], min_severity: high}
  - {topic: siem.ecs, format: ecs}
`), 0o600))
	events := plumbline(t, "simulate", "--agents", "10", "--days", "10", "--scenario", "exfil_fast", "--attacks", "1").stdout
	code, all, stderr := fed(t, events, "replay", "--config", path, "--input", "-", "--alerts", "-")
	require.Equal(t, exitGood, code, stderr)
	wanted := 0
	for line := range strings.Lines(all) {
		var a schemas.Alert
		require.NoError(t, json.Unmarshal([]byte(line), &a))
		if a.Status == schemas.StatusOpen && (a.Severity == schemas.SeverityHigh || a.Severity == schemas.SeverityCritical) {
			wanted++
		}
	}
	require.Positive(t, wanted)
	require.Greater(t, strings.Count(all, "\n"), wanted)

	code, out, stderr := fed(t, events, "replay", "--config", path, "--input", "-", "--alerts", "-", "--alerts-for", "siem.cef")
	require.Equal(t, exitGood, code, stderr)
	require.Equal(t, wanted, strings.Count(out, "\n"))
	for line := range strings.Lines(out) {
		require.Regexp(t, `^<3[45]>1 \S+ - plumbline - plumbline\.\S+ - CEF:0\|.*outcome=open `, line)
	}

	for _, args := range [][]string{{"--alerts-for", "siem.cf"}, {"--alerts-for", "siem.cef", "--alerts-format", "cef"}} {
		code, _, stderr = fed(t, "", append([]string{"replay", "--config", path, "--input", "-", "--alerts", "-"}, args...)...)
		require.Equal(t, exitUsage, code, stderr)
	}
	require.Contains(t, stderr, "can't both name the form")
}
