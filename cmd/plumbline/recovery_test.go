package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// engineProcess returns the process id of the service's engine, 0 while there is none.
func (s *site) engineProcess() int {
	s.t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(s.t, err)
	for _, path := range stats {
		b, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if len(fields) > 1 && fields[1] == strconv.Itoa(s.cmd.Process.Pid) && fields[0] != "Z" {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			require.NoError(s.t, err)
			return pid
		}
	}
	return 0
}

// says waits until /readyz has the code and all of these words.
func (s *site) says(code int, words ...string) {
	s.t.Helper()
	var got int
	var body string
	for deadline := time.Now().Add(40 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		got, body = s.get("/readyz")
		all := got == code
		for _, w := range words {
			all = all && strings.Contains(body, w)
		}
		if all {
			return
		}
	}
	s.t.Fatalf("readyz: want %d with %q, have %d:\n%s\nlog:\n%s", code, words, got, body, s.log.String())
}

func (s *site) send(from, n int) {
	s.t.Helper()
	var lines strings.Builder
	for i := range n {
		fmt.Fprintf(&lines, `{"event_id":"e%d","agent_id":"a%d","tool":"t"}`+"\n", from+i, i%5)
	}
	s.must(lines.String(), "send", "-")
}

// detects waits until so many events were scored since the start.
func (s *site) detects(n int) {
	s.t.Helper()
	require.Eventually(s.t, func() bool {
		_, metrics := s.get("/metrics")
		return strings.Contains(metrics, fmt.Sprintf(`plumbline_records_total{role="detect",topic="plumbline.activity"} %d`, n))
	}, 20*time.Second, 50*time.Millisecond, "detection goes on")
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	require.NoError(t, err)
	defer func() { require.NoError(t, in.Close()) }()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o700)
	require.NoError(t, err)
	_, err = io.Copy(out, in)
	require.NoError(t, err)
	require.NoError(t, out.Close())
}

func TestAKilledEngineComesBackThoughTheBinaryWasReplaced(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, exe string){
		"by another program": func(t *testing.T, exe string) {
			t.Helper()
			require.NoError(t, os.WriteFile(exe+".new", []byte("#!/bin/sh\nexit 7\n"), 0o700))
			require.NoError(t, os.Rename(exe+".new", exe))
		},
		"and removed": func(t *testing.T, exe string) {
			t.Helper()
			require.NoError(t, os.Remove(exe))
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, 1)
			s.exe = filepath.Join(s.dir, "plumbline")
			copyFile(t, binary, s.exe)
			s.start()
			s.send(0, 10)
			replace(t, s.exe)
			first := s.engineProcess()
			require.NotZero(t, first)
			require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
			var again int
			require.Eventually(t, func() bool {
				again = s.engineProcess()
				_, metrics := s.get("/metrics")
				return again != 0 && again != first && strings.Contains(metrics, "plumbline_embedded_clickhouse_restarts_total 1\n")
			}, 30*time.Second, 20*time.Millisecond, "log:\n%s", s.log.String())
			s.says(http.StatusOK, "ok    warehouse\n", "ok    warehouse_data\n")
			comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", again))
			require.NoError(t, err)
			require.Equal(t, "plumbline\n", string(comm))
			_, metrics := s.get("/metrics")
			require.Contains(t, metrics, "plumbline_embedded_clickhouse_failed_starts_total 0\n")
			s.exe = binary
			s.send(10, 10)
			s.eventually(20, "SELECT count() AS n FROM activity")
			require.Equal(t, 0, s.stop())
		})
	}
}

func TestAnEngineThatHangsFailsReadinessAndDetectionGoesOn(t *testing.T) {
	s := newSite(t, 1)
	s.start()
	pid := s.engineProcess()
	require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
	s.says(http.StatusServiceUnavailable, "FAIL  warehouse: ", "ok    detect", "ok    route")
	s.send(0, 50)
	s.detects(50)
	require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))
	s.says(http.StatusOK, "ok    warehouse\n")
	s.eventually(50, "SELECT count() AS n FROM activity")
	require.Equal(t, 0, s.stop())
}

func TestASchemaThatNobodyCanHealStopsTheArchiveAndNotDetection(t *testing.T) {
	s := newSite(t, 1)
	s.start()
	s.send(0, 10)
	s.eventually(10, "SELECT count() AS n FROM activity")
	require.Equal(t, 0, s.stop())
	s.must("", "query", "ALTER TABLE plumbline.activity_rows MODIFY COLUMN bytes_sent UInt16")

	s.launch("route,detect,archive")
	s.says(http.StatusServiceUnavailable, "FAIL  warehouse: the schema was changed by hand", "column bytes_sent is UInt16, not UInt64", "ok    detect", "ok    route")
	s.send(10, 10)
	s.detects(10)
	require.Equal(t, 1, strings.Count(s.log.String(), "nothing is archived until that is done"), s.log.String())

	s.must("", "query", "ALTER TABLE plumbline.activity_rows MODIFY COLUMN bytes_sent UInt64 CODEC(T64, ZSTD(1))")
	s.says(http.StatusOK, "ok    warehouse\n", "ok    archive\n")
	s.eventually(20, "SELECT count() AS n FROM activity")
	require.Equal(t, 0, s.stop())
}

func TestWithoutTheArchiveTheWarehouseIsNoConditionOfReadiness(t *testing.T) {
	s := newSite(t, 1)
	s.launch("route,detect")
	s.says(http.StatusOK, "ok    detect", "ok    route")
	_, body := s.get("/readyz")
	require.NotContains(t, body, "warehouse")
	require.Zero(t, s.engineProcess())
	require.Equal(t, 0, s.stop())
}

// TestRowsThatWereLostComeBackFromKafka is what docs/operations.md says to do.
func TestRowsThatWereLostComeBackFromKafka(t *testing.T) {
	s := newSite(t, 2)
	s.start()
	s.send(0, 3000)
	s.eventually(3000, "SELECT count() AS n FROM activity")
	s.must("", "query", "TRUNCATE TABLE plumbline.activity_rows")
	s.eventually(0, "SELECT count() AS n FROM activity")
	require.Equal(t, 0, s.stop())

	// What kafka-consumer-groups --reset-offsets --to-earliest does, while no
	// instance archives.
	s.launch("route,detect")
	s.says(http.StatusOK)
	addr, err := net.ResolveTCPAddr("tcp", s.kafka)
	require.NoError(t, err)
	transport := &kafkago.Transport{}
	defer transport.CloseIdleConnections()
	client := &kafkago.Client{Addr: addr, Transport: transport}
	offsets := []kafkago.OffsetCommit{{Partition: 0}, {Partition: 1}}
	res, err := client.OffsetCommit(t.Context(), &kafkago.OffsetCommitRequest{
		GroupID: pipeline.GroupArchive, GenerationID: -1,
		Topics: map[string][]kafkago.OffsetCommit{pipeline.TopicActivity: offsets},
	})
	require.NoError(t, err)
	for _, p := range res.Topics[pipeline.TopicActivity] {
		require.NoError(t, p.Error)
	}
	require.Equal(t, 0, s.stop())

	s.start()
	s.eventually(3000, "SELECT count() AS n FROM activity")
	s.eventually(3000, "SELECT uniqExact(event_id) AS n FROM activity")
	require.Equal(t, 0, s.stop())
}

func TestAnEngineThatDoesNotStartOnItsDataHoldsUpTheArchiveAndNotDetection(t *testing.T) {
	s := newSite(t, 1)
	s.start()
	s.send(0, 100)
	s.eventually(100, "SELECT count() AS n FROM activity")
	for _, sql := range []string{"ALTER TABLE plumbline.activity_rows MODIFY SETTING max_suspicious_broken_parts = 0", "OPTIMIZE TABLE plumbline.activity_rows FINAL"} {
		s.must("", "query", sql)
	}
	part := s.rows("SELECT path FROM system.parts WHERE active AND table = 'activity_rows'")
	require.Len(t, part, 1)
	require.Equal(t, 0, s.stop())
	columns := filepath.Join(part[0]["path"].(string), "columns.txt")
	good, err := os.ReadFile(columns)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(columns, []byte("no columns"), 0o600))

	s.launch("route,detect,archive")
	s.says(http.StatusServiceUnavailable, "FAIL  warehouse: the engine is down since", "broken parts", "ok    detect", "ok    route")
	s.send(100, 10)
	s.detects(10)
	require.NoError(t, os.WriteFile(columns, good, 0o600))
	s.says(http.StatusOK, "ok    warehouse\n", "ok    archive\n")
	s.eventually(110, "SELECT count() AS n FROM activity")
	require.Equal(t, 1, strings.Count(s.log.String(), "embedded clickhouse does not start"), s.log.String())
	require.Equal(t, 0, s.stop())
}
