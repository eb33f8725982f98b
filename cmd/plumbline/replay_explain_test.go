package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestReplayExplainsAnEventThatRaisedAnAlertAndOneThatDidNot(t *testing.T) {
	events := plumbline(t, "simulate", "--agents", "10", "--days", "10", "--scenario", "exfil_fast", "--attacks", "1").stdout
	code, alerts, stderr := fed(t, events, "replay", "--input", "-", "--alerts", "-")
	require.Equal(t, exitGood, code, stderr)
	var opened schemas.Alert
	for line := range strings.Lines(alerts) {
		if require.NoError(t, json.Unmarshal([]byte(line), &opened)); opened.Status == schemas.StatusOpen {
			break
		}
	}
	proof := opened.Evidence.CompletedBy.EventID
	var last struct {
		EventID string `json:"event_id"`
	}
	lines := strings.Split(strings.TrimSpace(events), "\n")
	require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &last))

	kept := filepath.Join(t.TempDir(), "alerts")
	code, out, stderr := fed(t, events, "replay", "--input", "-", "--explain", proof, "--explain", last.EventID, "--alerts", kept)
	require.Equal(t, exitGood, code, stderr)
	require.Contains(t, stderr, "agent-days", "the summary stands beside what is explained")
	same, err := os.ReadFile(kept)
	require.NoError(t, err)
	require.Equal(t, alerts, string(same))
	for line := range strings.Lines(out) {
		require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), 80, line)
	}
	flat := strings.Join(strings.Fields(out), " ")
	require.Contains(t, flat, opened.Summary)
	require.Contains(t, flat, opened.AlertID)
	require.Contains(t, flat, "no alert, because ")
	for _, s := range detector.LadderSteps() {
		require.Contains(t, out, "\n"+s.Name+" ")
		require.Contains(t, flat, s.Means+" ("+s.Source+")")
	}

	code, out, stderr = fed(t, events, "replay", "--input", "-", "--explain", proof, "--output", "json")
	require.Equal(t, exitGood, code, stderr)
	var ladder struct {
		detector.Ladder
		Steps []detector.LadderStep `json:"steps"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &ladder))
	require.Equal(t, opened.AlertID, ladder.Alert.AlertID)
	require.Equal(t, opened.Severity, ladder.Severity)
	require.InEpsilon(t, opened.ExpectedPerAgentDay, math.Pow(10, -ladder.Surprise), 1e-3)
	require.Equal(t, detector.LadderSteps(), ladder.Steps)
}

func TestReplaySaysOfWhichEventsItKnowsNothing(t *testing.T) {
	const event = `{"event_id":"a,b\u001b]0;x\u202e","agent_id":"a\u202e","session_id":"\u009b1m","tool":"t","resources":["url:https://x.example/\u202e"],"time":"2026-03-01T10:00:00Z"}` + "\n"
	code, out, stderr := fed(t, event, "replay", "--input", "-", "--explain", "a,b\x1b]0;x\u202e", "--explain", "gone\x1b[1m")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, `event a,b\u001b]0;x\u202e of 2026-03-01 10:00:00.000 UTC`)
	require.Contains(t, stderr, `no event has the id "gone\x1b[1m"; check that --input holds its day`)
	for _, text := range []string{out, stderr} {
		require.NotContains(t, text, "\x1b")
		require.NotContains(t, text, "\u202e")
		require.NotContains(t, text, "\u009b")
	}
	for _, args := range [][]string{{"--explain", "x", "--alerts", "-"}, {"--explain", "x", "--scores", "-"}, {"--explain", ""}} {
		code, _, stderr = fed(t, event, append([]string{"replay", "--input", "-"}, args...)...)
		require.Equal(t, exitUsage, code, stderr)
	}
}

func TestReplayExplainsTheFirstEventsOfAnIDThatManyHave(t *testing.T) {
	var events strings.Builder
	for i := range 25 {
		fmt.Fprintf(&events, `{"event_id":"same","agent_id":"a-%d","time":"2026-03-01T10:00:00Z"}`+"\n", i)
	}
	code, out, stderr := fed(t, events.String(), "replay", "--input", "-", "--explain", "same", "--output", "json")
	require.Equal(t, exitGood, code, stderr)
	require.Equal(t, 10, strings.Count(out, "\n"))
	require.Contains(t, stderr, `25 events have the id "same"; the first 10 are explained`)
}
