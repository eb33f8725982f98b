package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
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
