package test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// rare are the metrics, with their labels, that the service of this test does not
// export: they count by table what is broken, and nothing is.
var rare = map[string][]string{
	"plumbline_warehouse_broken_parts":   {"table"},
	"plumbline_warehouse_detached_parts": {"table"},
	"plumbline_warehouse_detached_rows":  {"table"},
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

// scrape runs the real service on the embedded stack, sends it a fleet's events and
// what is wrong in every way that is cheap, and returns the labels of its metrics.
func scrape(t *testing.T) map[string]map[string]bool {
	t.Helper()
	dir := t.TempDir()
	binary := filepath.Join(dir, "plumbline")
	build := exec.Command("go", "build", "-o", binary, "./cmd/plumbline")
	build.Dir = "../../.."
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	kafka, clickhouse, admin := freeAddr(t), freeAddr(t), freeAddr(t)
	config := filepath.Join(dir, "plumbline.yaml")
	require.NoError(t, os.WriteFile(config, fmt.Appendf(nil, `data_dir: %s/data
sources:
  - {name: default, topic: agent-activity}
  - {name: spans, topic: otlp_spans, decoder: otlp_spans}
detector: {checkpoint_every: 1s}
embedded: {kafka_listen: %s, clickhouse_listen: %s}
admin: {listen: %s}
`, dir, kafka, clickhouse, admin), 0o600))
	var log bytes.Buffer
	service := exec.Command(binary, "run", "--config", config)
	service.Stderr = &log
	require.NoError(t, service.Start())
	t.Cleanup(func() {
		require.NoError(t, service.Process.Signal(syscall.SIGTERM))
		err := service.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
		require.NoError(t, err)
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + admin + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close() //nolint:errcheck // a test
		return resp.StatusCode == http.StatusOK
	}, time.Minute, 50*time.Millisecond, "the service did not become ready")

	events := exec.Command(binary, "simulate", "--agents", "20", "--days", "4", "--scenario", "attacks", "--start", time.Now().AddDate(0, 0, -4).Format(time.DateOnly))
	simulated, err := events.Output()
	require.NoError(t, err)
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka))
	require.NoError(t, err)
	defer client.Close()
	var records []*kgo.Record
	send := func(topic, value string) { records = append(records, &kgo.Record{Topic: topic, Value: []byte(value)}) }
	for line := range strings.Lines(string(simulated)) {
		send("agent-activity", line)
	}
	send("agent-activity", "not JSON")
	send("agent-activity", `{"agent_id": "a", "tool": "`+strings.Repeat("x", 70_000)+`", "time": "2040-01-01T00:00:00Z"}`)
	send("otlp_spans", `{"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174", "name": "GET /", "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000"}]}]}]}`)
	send("plumbline.activity", `{"agent_id": "forged"}`)
	require.NoError(t, client.ProduceSync(t.Context(), records...).FirstErr())

	var found map[string]map[string]bool
	require.Eventually(t, func() bool {
		found = metrics(t, admin)
		for _, name := range []string{"alerts_total", "skipped_entries_total", "flagged_events_total", "model_alert_ratio", "checkpoints_total", "inserted_rows_total"} {
			if found["plumbline_"+name] == nil {
				return false
			}
		}
		return found["plumbline_refused_events_total"]["reason"] && found["plumbline_lag_records"]["role"]
	}, time.Minute, 200*time.Millisecond, "what was sent was not counted")
	return found
}

// metrics returns the labels of each metric, those of histograms by the names of their series.
func metrics(t *testing.T, admin string) map[string]map[string]bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+admin+"/metrics", nil)
	require.NoError(t, err)
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close() //nolint:errcheck // a test
	p := expfmt.NewTextParser(model.UTF8Validation)
	families, err := p.TextToMetricFamilies(resp.Body)
	require.NoError(t, err)
	out := make(map[string]map[string]bool)
	for name, f := range families {
		labels := set()
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = true
			}
			if m.GetHistogram() != nil {
				name = f.GetName() + "_bucket"
				labels["le"] = true
			}
		}
		out[name] = labels
	}
	return out
}
