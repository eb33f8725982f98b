package chdb_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

// raw is an engine that runs what it is given: no list looks at it, no grant but the
// user's holds it.
type raw struct {
	t   *testing.T
	in  *json.Encoder
	out *json.Decoder
}

func startRaw(t *testing.T, mode, dataDir string) *raw {
	t.Helper()
	cfg := chdbtest.Config(t)
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe, "--data-dir", dataDir, "--lib", cfg.Lib)
	cmd.Env = []string{"TZ=UTC", rawEnv + "=" + mode}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close()
		_, _ = io.Copy(io.Discard, out)
		assert.NoError(t, cmd.Wait())
	})
	return &raw{t: t, in: json.NewEncoder(in), out: json.NewDecoder(out)}
}

func (r *raw) ask(line string) string {
	r.t.Helper()
	require.NoError(r.t, r.in.Encode(line))
	var answer string
	require.NoError(r.t, r.out.Decode(&answer), line)
	return answer
}

// TestWhatGetsPastTheListEndsAtTheKernel gives the engine what the list would refuse.
// That it works without the kernel's walls shows that it is they that hold.
func TestWhatGetsPastTheListEndsAtTheKernel(t *testing.T) {
	missing := chdb.MissingWall()
	outside := t.TempDir()
	file := filepath.Join(outside, "canary")
	require.NoError(t, os.WriteFile(file, []byte(canary), 0o600))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = ln.Close() }()
	probes := map[string]string{ // and what they answer where nothing holds them
		"SELECT file('" + file + "')":                     canary,
		"read " + file:                                    canary,
		"read /etc/passwd":                                "root:",
		"SELECT file('/etc/passwd')":                      "root:",
		"write " + outside + "/new":                       "written",
		"connect " + ln.Addr().String():                   "connected",
		"listen 127.0.0.1:0":                              "listening",
		"run /bin/true":                                   "",
		fmt.Sprintf("signal %d", os.Getpid()):             "signalled",
		fmt.Sprintf("read /proc/%d/environ", os.Getpid()): "=",
	}
	byKernel := map[string]bool{"connect": true, "listen": true, "run": true} // without Landlock too
	free := startRaw(t, "free", t.TempDir())
	locked := startRaw(t, "locked", t.TempDir())
	for probe, want := range probes {
		what, _, _ := strings.Cut(probe, " ")
		answer := free.ask(probe)
		assert.Contains(t, answer, want, probe)
		assert.NotContains(t, answer, "error: ", probe)
		if missing != "" && !byKernel[what] {
			continue
		}
		answer = locked.ask(probe)
		assert.Contains(t, answer, "error: ", probe)
		assert.NotContains(t, answer, canary, probe)
		assert.NotContains(t, answer, "root:", probe)
	}
	require.NoFileExists(t, "/tmp/plumbline-hostile")
	if missing != "" {
		t.Skip("NOT TESTED: which files the engine opens: " + missing)
	}
}

// TestTheEngineWorksLockedIn: what it does with its own files it may do still.
func TestTheEngineWorksLockedIn(t *testing.T) {
	r := startRaw(t, "locked", t.TempDir())
	for _, sql := range []string{
		"CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree PARTITION BY a % 3 ORDER BY a SETTINGS min_bytes_for_wide_part = 0",
		"INSERT INTO t SELECT number, toString(number) FROM numbers(10000)",
		"INSERT INTO t SELECT number, toString(number) FROM numbers(10000)",
		"OPTIMIZE TABLE t FINAL",
		"ALTER TABLE t UPDATE b = 'x' WHERE a = 1 SETTINGS mutations_sync = 2",
		"ALTER TABLE t DETACH PARTITION 1",
		"ALTER TABLE t ATTACH PARTITION 1",
		"ALTER TABLE t DROP PARTITION 2",
		"RENAME TABLE t TO u",
		"CREATE DATABASE d",
		"RENAME TABLE u TO d.u",
		"SELECT b FROM (SELECT b FROM d.u UNION ALL SELECT toString(number) FROM numbers(1000000)) ORDER BY b FORMAT Null SETTINGS max_bytes_before_external_sort = 1000000, max_bytes_ratio_before_external_sort = 0",
		"SELECT toDateTime(0, 'Asia/Kolkata'), value FROM system.asynchronous_metrics LIMIT 1",
	} {
		answer := r.ask(sql)
		if strings.Contains(answer, "asynchronous_metrics") {
			continue // the engine as a library has no such table
		}
		assert.NotContains(t, answer, "error: ", sql)
	}
	assert.Equal(t, "13334\n", r.ask("SELECT count() FROM d.u"))
}

func TestNobodyElseMayLookIntoTheEnginesFiles(t *testing.T) {
	dir := t.TempDir()
	s := chdbtest.StartServer(t, chdbtest.WithDataDir(dir))
	w := newWeb(t, s.Addr())
	w.must("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	w.must("INSERT INTO t VALUES (1)")
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), info.Mode().Perm())
	files := 0
	require.NoError(t, filepath.WalkDir(filepath.Join(dir, "engine", "store"), func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err == nil && info.Mode().IsRegular() {
			files++
			assert.Zero(t, info.Mode().Perm()&0o077, path)
		}
		return err
	}))
	assert.Positive(t, files)

	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.Pid()))
	require.NoError(t, err)
	assert.Contains(t, string(status), "NoNewPrivs:\t1")
	assert.Contains(t, string(status), "Seccomp:\t2")
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", s.Pid()))
	require.NoError(t, err)
	for _, task := range tasks {
		if status, err := os.ReadFile(task); err == nil { // it may have ended
			assert.Contains(t, string(status), "Seccomp:\t2", task)
		}
	}
}
