package siem_test

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline/replay"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// keeper is an encoder that keeps the alerts that it is handed.
type keeper struct{ alerts []*schemas.Alert }

// Name implements siem.Encoder.
func (k *keeper) Name() string { return "kept" }

// Append implements siem.Encoder.
func (k *keeper) Append(dst []byte, a *schemas.Alert) ([]byte, error) {
	c := *a
	k.alerts = append(k.alerts, &c)
	return dst, nil
}

// hostileAlerts has every hostile value wherever an agent has a say.
func hostileAlerts() map[string]*schemas.Alert {
	alerts := make(map[string]*schemas.Alert)
	for name, v := range hostileValues {
		alerts["hostile: "+name] = hostile(v)
	}
	return alerts
}

// allAlerts are those given, the samples, and the alerts of real traces: tool calls of language
// models, benign and hijacked, and CloudTrail of an account under attack, with a
// budget so wide that there are many.
func allAlerts(tb testing.TB, given map[string]*schemas.Alert) map[string]*schemas.Alert {
	tb.Helper()
	alerts := map[string]*schemas.Alert{"exfiltration": exfiltration(), "silence": silence(), "closed": closed()}
	maps.Copy(alerts, given)
	data := filepath.Join("..", "..", "..", "shared", "data")
	if _, err := os.Stat(data); err != nil {
		tb.Logf("SKIPPED, no alerts of real traces: %v", err)
		return alerts
	}
	for form, patterns := range map[string][]string{
		"activity":   {"agentdojo/train.jsonl", "agentdojo/test-*.jsonl"},
		"cloudtrail": {"cloudtrail/invictus/*.json", "cloudtrail/stratus/*.json"},
	} {
		k := &keeper{}
		cfg := detector.DefaultConfig()
		cfg.AlertsPerAgentDay = 100
		decoder, err := forms.New(form, nil)
		require.NoError(tb, err)
		run, err := replay.New(replay.Config{Detector: cfg, Partitions: 1, Decoder: decoder, Encoder: k, Alerts: io.Discard})
		require.NoError(tb, err)
		for _, pattern := range patterns {
			files, err := filepath.Glob(filepath.Join(data, pattern))
			require.NoError(tb, err)
			require.NotEmpty(tb, files)
			for _, name := range files {
				text, err := os.ReadFile(name)
				require.NoError(tb, err)
				if form == "cloudtrail" {
					require.NoError(tb, run.Record(text))
					continue
				}
				for line := range bytes.Lines(text) {
					require.NoError(tb, run.Record(line))
				}
				require.NoError(tb, run.Flush())
			}
		}
		require.Zero(tb, run.Summary().DeadLetters)
		require.Greater(tb, len(k.alerts), 5, form)
		for i, a := range k.alerts {
			alerts["real: "+form+" "+strconv.Itoa(i)] = a
		}
	}
	return alerts
}

func TestCanonicalAlertsFollowTheirSchema(t *testing.T) {
	f, err := os.Open(filepath.Join("..", "alert.schema.json"))
	require.NoError(t, err)
	doc, err := jsonschema.UnmarshalJSON(f)
	require.NoError(t, errors.Join(err, f.Close()))
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	require.NoError(t, c.AddResource("alert.json", doc))
	schema := c.MustCompile("alert.json")
	odd := hostile("x\n\x00\xff")
	odd.Episode = exfiltration().Episode // an agent has no say in it
	for _, a := range allAlerts(t, map[string]*schemas.Alert{"hostile": odd}) {
		validate(t, schema, check(t, siem.JSON, a))
	}
}
