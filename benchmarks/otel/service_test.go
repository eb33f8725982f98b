package otel

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// binary is the built plumbline.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "plumbline-otel")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	binary = filepath.Join(dir, "plumbline")
	build := exec.Command("go", "build", "-o", binary, "./cmd/plumbline")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build plumbline: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// freeAddr returns an address on loopback that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { require.NoError(t, l.Close()) }()
	return l.Addr().String()
}

// service is a running plumbline with the sources otlp_spans, with options, and
// otlp_logs.
type service struct{ kafka, admin string }

func startService(t *testing.T, options string) *service {
	t.Helper()
	s := &service{kafka: freeAddr(t), admin: freeAddr(t)}
	dir := t.TempDir()
	config := filepath.Join(dir, "plumbline.yaml")
	text := fmt.Sprintf(`data_dir: %s/data
sources:
  - {name: spans, topic: otlp_spans, decoder: otlp_spans, options: %s}
  - {name: logs, topic: otlp_logs, decoder: otlp_logs}
embedded: {kafka_listen: %s}
admin: {listen: %s}
log: {format: json}
`, dir, options, s.kafka, s.admin)
	require.NoError(t, os.WriteFile(config, []byte(text), 0o600))
	var log bytes.Buffer
	cmd := exec.Command(binary, "run", "--config", config, "--roles", "route,detect")
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		err := cmd.Wait()
		if t.Failed() {
			t.Log(log.String())
		}
		require.NoError(t, err)
	})
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + s.admin + "/readyz")
		if err != nil {
			return false
		}
		defer resp.Body.Close() //nolint:errcheck // a test
		return resp.StatusCode == http.StatusOK
	}, 30*time.Second, 50*time.Millisecond, "the service did not become ready")
	return s
}

// read returns the first n records of a topic.
func (s *service) read(t *testing.T, topic string, n int) (records []*kgo.Record) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(s.kafka), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for len(records) < n {
		f := c.PollFetches(ctx)
		require.NoError(t, ctx.Err(), "%d of %d records of %s", len(records), n, topic)
		f.EachRecord(func(r *kgo.Record) { records = append(records, r) })
	}
	require.Len(t, records, n, topic)
	return records
}

// activity returns what stands in plumbline.activity, n events by their ids.
func (s *service) activity(t *testing.T, n int) map[string]*schemas.Activity {
	t.Helper()
	out := map[string]*schemas.Activity{}
	d := decode.NewCanonical()
	for _, r := range s.read(t, "plumbline.activity", n) {
		rec := decode.Record{Topic: r.Topic, Partition: r.Partition, Offset: r.Offset, Time: schemas.Millis(r.Timestamp.UnixMilli()), Value: r.Value}
		d.Decode(&rec, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
			require.Nil(t, refusal)
			require.Equal(t, ev.TenantID+"/"+ev.AgentID, string(r.Key))
			c := *ev
			c.Resources = append([]string(nil), ev.Resources...)
			c.Attributes = append([]schemas.Attribute(nil), ev.Attributes...)
			out[ev.EventID] = &c
		})
	}
	require.Len(t, out, n)
	return out
}
