package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/synced"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

// site is a directory with a config and, while it runs, a service.
type site struct {
	t      *testing.T
	exe    string
	dir    string
	config string
	admin  string
	kafka  string
	cmd    *exec.Cmd
	log    synced.Buffer
}

func newSite(t *testing.T, partitions int, more ...string) *site {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the service with the embedded engine")
	}
	dir := t.TempDir()
	s := &site{t: t, exe: binary, dir: dir, config: filepath.Join(dir, "plumbline.yaml"), admin: freeAddr(t), kafka: freeAddr(t)}
	text := fmt.Sprintf(`data_dir: %s/data
kafka: {partitions: %d}
embedded: {kafka_listen: %s, clickhouse_listen: %s}
admin: {listen: %s}
archive: {max_age: 100ms}
log: {format: json}
`, dir, partitions, s.kafka, freeAddr(t), s.admin) + strings.Join(more, "\n") + "\n"
	require.NoError(t, os.WriteFile(s.config, []byte(text), 0o600))
	return s
}

// spawn runs a service until the test ends, at the latest.
func (s *site) spawn(dir, name string, args ...string) {
	s.t.Helper()
	s.cmd = exec.Command(name, args...)
	s.cmd.Stderr, s.cmd.Dir = &s.log, dir
	require.NoError(s.t, s.cmd.Start())
	s.t.Cleanup(func() { _ = s.cmd.Process.Kill(); _ = s.cmd.Wait() })
}

// start runs the service and waits until it is ready.
func (s *site) start() {
	s.t.Helper()
	s.startIn("")
}

// startIn does so in a directory.
func (s *site) startIn(dir string) {
	s.t.Helper()
	s.spawn(dir, s.exe, "run", "--config", s.config)
	require.Eventually(s.t, func() bool {
		code, _ := s.get("/readyz")
		return code == http.StatusOK
	}, 60*time.Second, 100*time.Millisecond, "the service did not become ready")
}

// stop sends SIGTERM and returns the exit code.
func (s *site) stop() int {
	s.t.Helper()
	begin := time.Now()
	require.NoError(s.t, s.cmd.Process.Signal(syscall.SIGTERM))
	_ = s.cmd.Wait()
	require.Less(s.t, time.Since(begin), 30*time.Second)
	return s.cmd.ProcessState.ExitCode()
}

func (s *site) get(path string) (code int, body string) {
	res, err := http.Get("http://" + s.admin + path)
	if err != nil {
		return 0, err.Error()
	}
	b, _ := io.ReadAll(res.Body)
	_ = res.Body.Close()
	return res.StatusCode, string(b)
}

// run runs a command of the program to its end.
func (s *site) run(stdin string, args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(s.exe, append(args, "--config", s.config)...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	_ = cmd.Run()
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// must runs one that may not fail, and returns its output.
func (s *site) must(stdin string, args ...string) string {
	s.t.Helper()
	out, errs, code := s.run(stdin, args...)
	require.Equal(s.t, 0, code, errs)
	return out
}

// rows runs a query and returns its rows.
func (s *site) rows(sql string) []map[string]any {
	s.t.Helper()
	out := s.must("", "query", "--output", "json", sql)
	var rows []map[string]any
	for l := range strings.Lines(out) {
		var row map[string]any
		require.NoError(s.t, json.Unmarshal([]byte(l), &row), l)
		rows = append(rows, row)
	}
	return rows
}

// count returns the one number of a query.
func (s *site) count(sql string) int {
	s.t.Helper()
	rows := s.rows("SELECT toInt64(n) AS n FROM (" + sql + ")")
	require.Len(s.t, rows, 1)
	switch n := rows[0]["n"].(type) {
	case float64:
		return int(n)
	case string:
		var i int
		_, err := fmt.Sscan(n, &i)
		require.NoError(s.t, err)
		return i
	}
	s.t.Fatalf("no number in %v", rows)
	return 0
}

func (s *site) eventually(want int, sql string) {
	s.t.Helper()
	got := -1
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(200 * time.Millisecond) {
		if got = s.count(sql); got == want {
			return
		}
	}
	s.t.Fatalf("%s: want %d, have %d; log:\n%s", sql, want, got, s.log.String())
}

// agentDojo returns a file of the real traces of tool calls, or skips.
func agentDojo(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs("../../../shared/data/agentdojo/" + name)
	require.NoError(t, err)
	if _, err := os.Stat(path); err != nil {
		t.Skipf("SKIPPED: the real agent traces are not beside this checkout: %v", err)
	}
	return path
}

func lineCount(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return bytes.Count(b, []byte("\n"))
}

// ids returns the alert ids and sessions of a file of alerts.
func ids(t *testing.T, path string) (alerts map[string]bool, sessions map[string]bool) {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	alerts, sessions = make(map[string]bool), make(map[string]bool)
	for l := range strings.Lines(string(b)) {
		var a struct {
			AlertID   string `json:"alert_id"`
			SessionID string `json:"session_id"`
		}
		require.NoError(t, json.Unmarshal([]byte(l), &a))
		alerts[a.AlertID] = true
		sessions[a.SessionID] = true
	}
	return alerts, sessions
}

func TestTheServiceTakesRealAgentTraces(t *testing.T) {
	train, test := agentDojo(t, "train.jsonl"), agentDojo(t, "test-gpt-4-0125-preview.jsonl")
	labels := agentDojo(t, "labels.jsonl")
	for _, partitions := range []int{1, 4} {
		t.Run(fmt.Sprintf("with %d partitions", partitions), func(t *testing.T) {
			// The traces are four hours of 97 agents: a budget of a hundredth a day allows
			// for nothing in them. Half an alert a day shows whom the alerts are about.
			s := newSite(t, partitions, "detector: {alerts_per_agent_day: 0.5}")
			s.start()
			sent := 0
			for _, f := range []string{train, test} {
				s.must("", "send", f)
				sent += lineCount(t, f)
			}
			s.eventually(sent, "SELECT count() AS n FROM activity")
			s.eventually(sent, "SELECT uniqExact(event_id) AS n FROM activity")

			alerts, scores := filepath.Join(s.dir, "alerts"), filepath.Join(s.dir, "scores")
			for _, suffix := range []string{"1", "2"} {
				s.must("", "replay", "-i", train, "-i", test, "--alerts", alerts+suffix, "--scores", scores+suffix)
			}
			for _, f := range []string{alerts, scores} {
				a, err := os.ReadFile(f + "1")
				require.NoError(t, err)
				b, err := os.ReadFile(f + "2")
				require.NoError(t, err)
				require.True(t, bytes.Equal(a, b), "a replay of the same input gives the same bytes")
			}
			want, sessions := ids(t, alerts+"1")
			require.NotEmpty(t, want)
			s.eventually(len(want), "SELECT count() AS n FROM alerts")
			for _, row := range s.rows("SELECT alert_id FROM alerts") {
				require.True(t, want[row["alert_id"].(string)], "alert %v is not in the replay", row["alert_id"])
			}
			requireHijacked(t, labels, sessions)
			s.requireInTopic("siem.ocsf", partitions, len(want))

			require.Equal(t, 0, s.stop(), "SIGTERM ends with 0; log:\n%s", s.log.String())
			s.start()
			more := agentDojo(t, "test-claude-3-haiku-20240307.jsonl")
			s.must("", "send", more)
			sent += lineCount(t, more)
			s.eventually(sent, "SELECT count() AS n FROM activity")
			s.eventually(sent, "SELECT uniqExact(event_id) AS n FROM activity")
			require.Equal(t, 0, s.stop())
		})
	}
}

// requireInTopic reads a topic as a SIEM does and expects so many records.
func (s *site) requireInTopic(topic string, partitions, want int) {
	s.t.Helper()
	client, err := kafka.New(kafka.Config{Brokers: []string{s.kafka}}, zerolog.Nop())
	require.NoError(s.t, err)
	defer func() { require.NoError(s.t, client.Close()) }()
	got := 0
	for p := range partitions {
		tp := pipeline.TopicPartition{Topic: topic, Partition: int32(p)}
		_, end, err := client.Bounds(s.t.Context(), tp)
		require.NoError(s.t, err)
		for at := int64(0); at < end; {
			f, err := client.Fetch(s.t.Context(), tp, at)
			require.NoError(s.t, err)
			for i := range f.Records {
				require.True(s.t, json.Valid(f.Records[i].Value))
			}
			got += len(f.Records)
			at = f.Next
		}
	}
	require.Equal(s.t, want, got, "records of %s", topic)
}

// requireHijacked checks that a hijacked session is among those alerted on.
func requireHijacked(t *testing.T, labels string, sessions map[string]bool) {
	t.Helper()
	b, err := os.ReadFile(labels)
	require.NoError(t, err)
	found := 0
	for l := range strings.Lines(string(b)) {
		var row struct {
			SessionID string `json:"session_id"`
			Label     string `json:"label"`
		}
		require.NoError(t, json.Unmarshal([]byte(l), &row))
		if row.Label == "hijacked" && sessions[row.SessionID] {
			found++
		}
	}
	require.Positive(t, found, "no hijacked session among the alerts")
}

func TestBadInputIsCountedKeptAndStopsNothing(t *testing.T) {
	s := newSite(t, 1)
	s.start()
	good := func(id string, extra string) string {
		return fmt.Sprintf(`{"event_id":%q,"agent_id":"a","time":"2026-03-01T10:00:00Z"%s}`, id, extra)
	}
	resources := make([]string, 300)
	for i := range resources {
		resources[i] = fmt.Sprintf(`"file:%d"`, i)
	}
	input := []string{
		`this is not JSON`,
		`{"event_id":"no-agent","tool":"x"}`,
		good("wrong-types", `,"bytes_sent":"many","resources":7,"outcome":"maybe"`),
		`{"event_id":"big","agent_id":"a","attributes":{"x":"` + strings.Repeat("y", 5<<20) + `"}}`,
		`{"event_id":"deep","agent_id":"a","x":` + strings.Repeat(`[`, 10_000) + strings.Repeat(`]`, 10_000) + `}`,
		"{\"event_id\":\"bad-utf8-id\",\"agent_id\":\"a\xff\"}",
		good("bad-utf8", ",\"model\":\"m\xff\""),
		strings.Replace(good("in-1970", ""), "2026-03-01T10:00:00Z", "1970-01-02T00:00:00Z", 1),
		strings.Replace(good("in-2300", ""), "2026-03-01T10:00:00Z", "2300-01-01T00:00:00Z", 1),
		good("control", `,"tool":"a\u0000b\u001b[31mc\nd"`),
		good("many", `,"resources":[`+strings.Join(resources, ",")+`]`),
		good("last", ""),
	}
	s.must(strings.Join(input, "\n")+"\n", "send", "-")
	s.eventually(7, "SELECT count() AS n FROM activity")

	flags := make(map[string]string)
	for _, row := range s.rows("SELECT event_id, toString(time) AS time, arrayStringConcat(flags, ' ') AS flags, tool, length(resources) AS resources, toString(recorded_at) AS recorded_at FROM activity") {
		flags[row["event_id"].(string)] = fmt.Sprint(row["flags"])
		switch row["event_id"] {
		case "control":
			require.Equal(t, "a\x00b\x1b[31mc\nd", row["tool"], "storage keeps every byte")
		case "in-1970":
			require.Equal(t, "1970-01-02 00:00:00.000", row["time"])
		case "in-2300":
			require.Equal(t, row["recorded_at"], row["time"], "it takes the time of its record")
		}
	}
	require.Contains(t, flags["wrong-types"], "fields_invalid:")
	require.Contains(t, flags["bad-utf8"], "utf8_replaced")
	require.Contains(t, flags["in-1970"], "old")
	require.Contains(t, flags["in-2300"], "time_clamped")
	require.Contains(t, flags["many"], "resources_cut:300")

	_, metrics := s.get("/metrics")
	for reason, n := range map[string]int{"not_json": 1, "no_agent_id": 1, "too_large": 1, "too_deep": 1, "invalid_identity": 1} {
		require.Contains(t, metrics, fmt.Sprintf(`plumbline_refused_events_total{reason=%q,source="default"} %d`, reason, n))
	}
	for flag, n := range map[string]int{"time_clamped": 1, "utf8_replaced": 1, "resources_cut": 1, "fields_invalid": 1} {
		require.Contains(t, metrics, fmt.Sprintf(`plumbline_flagged_events_total{flag=%q} %d`, flag, n))
	}
	require.Equal(t, 0, s.stop())
}

func TestAKillLosesNoEventAndDoublesNoRow(t *testing.T) {
	s := newSite(t, 2)
	s.start()
	var lines strings.Builder
	const n = 20_000
	for i := range n {
		fmt.Fprintf(&lines, `{"event_id":"e%d","agent_id":"agent-%d","time":"2026-03-01T10:%02d:00Z","tool":"t"}`+"\n", i, i%50, i%60)
	}
	s.must(lines.String(), "send", "-")
	// In the middle of the work: no drain, no commit.
	require.NoError(t, s.cmd.Process.Kill())
	_ = s.cmd.Wait()
	s.start()
	s.eventually(n, "SELECT count() AS n FROM activity")
	s.eventually(n, "SELECT uniqExact(event_id) AS n FROM activity")
	require.Regexp(t, `"took":"[0-9.]+(µs|ms|s)".*"message":"baselines restored"`, s.log.String(), "a duration has a unit")
	require.Equal(t, 0, s.stop())
}
