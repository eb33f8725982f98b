package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/backtest"
	"github.com/plumbline-sec/plumbline/internal/config"
)

func TestTuneSaysWhatBudgetsAndOverridesGive(t *testing.T) {
	events, labels := attackedFleet(t)
	noisy := writeFile(t, "noisy.yaml", "detector: {alerts_per_agent_day: 0.3}\n")
	args := []string{"tune", "--config", noisy, "--input", events, "--incidents", labels, "--budgets", "0.01,0.3"}
	r := good(t, args...)
	var got backtest.Tuning
	require.NoError(t, json.Unmarshal([]byte(good(t, append(args, "--output", "json")...).stdout), &got))
	require.Len(t, got.Curve, 2)
	require.Equal(t, got.Present, got.Curve[1])
	require.Less(t, got.Curve[0].Episodes, got.Curve[1].Episodes)
	require.Positive(t, got.Curve[0].Incidents)

	// A budget of the curve is what a backtest with it says.
	out := decodeBacktest(t, plumbline(t, "backtest", "--config", noisy, "--candidate", writeFile(t, "default.yaml", ""), "--input", events, "--output", "json"))
	require.Equal(t, out.Old.Episodes, got.Present.Episodes)
	require.Equal(t, out.New.Episodes, got.Curve[0].Episodes)

	sum := 0
	for _, s := range got.Signals {
		sum += s.Alerts
	}
	require.Equal(t, got.Present.Episodes, sum)
	require.NotEmpty(t, got.Overrides)
	for _, o := range got.Overrides {
		require.LessOrEqual(t, o.Saved, got.Present.Episodes)
		require.Contains(t, r.stdout, o.YAML)
	}

	// What is printed is a part of a config.
	_, pasted, found := strings.Cut(r.stdout, "\ndetector:\n")
	require.True(t, found, r.stdout)
	_, err := config.Parse("pasted.yaml", []byte("detector:\n"+pasted), app.Forms())
	require.NoError(t, err, pasted)
}

func TestAnOverrideIsPrintedOnlyWhereItMatchesItsNameAlone(t *testing.T) {
	for _, name := range []string{"plain", hostileName, `"`, "a: b", "${HOME}", "$${x}", "file:x", "- x", "#", "ü\n", "null", "1e3", "}"} {
		o := backtest.Override{Tenant: "acme", Agent: name, Signal: "call_rate"}
		text := overrideYAML(&o)
		if text == "" {
			t.Logf("%q can't be written", name)
			continue
		}
		require.NotContains(t, text, "\n")
		cfg, err := config.Parse("x.yaml", []byte("detector:\n  overrides:\n    "+text+"\n"), app.Forms())
		require.NoError(t, err, text)
		require.Equal(t, name, cfg.Detector.Overrides[0].Agent)
	}
	require.NotEmpty(t, overrideYAML(&backtest.Override{Tenant: "acme", Agent: "plain", Budget: 0.001}))
	require.Empty(t, overrideYAML(&backtest.Override{Tenant: "acme", Agent: "all-*", Signal: "call_rate"}), "it would match others, too")
}

func TestTuneRefusesWhatIsNoBudget(t *testing.T) {
	events := writeFile(t, "events.jsonl", `{"agent_id":"a","time":"2026-03-02T00:00:00Z"}`+"\n")
	r := plumbline(t, "tune", "--input", events, "--budgets", "0.1,10")
	require.Equal(t, exitUsage, r.code)
	require.Equal(t, "plumbline: --budgets: 10 is no budget; write numbers over 0 and under 10\n", r.stderr)
}
