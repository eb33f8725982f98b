package chdb_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
)

func stop(t *testing.T, s *chdb.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
}

func TestARestartKeepsTheData(t *testing.T) {
	dir := t.TempDir()
	s := chdbtest.StartServer(t, chdbtest.WithDataDir(dir))
	w := newWeb(t, s.Addr())
	w.must("CREATE DATABASE warehouse")
	w.must("CREATE TABLE warehouse.t (a UInt64, s String) ENGINE = ReplacingMergeTree ORDER BY a")
	w.must("CREATE VIEW warehouse.v AS SELECT * FROM warehouse.t FINAL")
	w.must("INSERT INTO warehouse.t VALUES (1, 'x'), (2, 'y')")
	w.must("CREATE TABLE d (a UInt64) ENGINE = MergeTree ORDER BY a")
	w.must("INSERT INTO d VALUES (3)")
	stop(t, s)
	stop(t, s) // twice does no harm

	w = newWeb(t, chdbtest.Start(t, chdbtest.WithDataDir(dir)))
	assert.Equal(t, "1\tx\n2\ty\n", w.must("SELECT * FROM warehouse.v ORDER BY a"))
	assert.Equal(t, "3\n", w.must("SELECT * FROM d"))
	w.must("INSERT INTO warehouse.t VALUES (3, 'z')")
}

func TestOnlyOneServiceHoldsADataDirectory(t *testing.T) {
	cfg := chdbtest.Config(t)
	_, ok := claim.Service(cfg.DataDir)
	assert.False(t, ok)
	s := chdbtest.StartServer(t, chdbtest.WithDataDir(cfg.DataDir))
	addr, ok := claim.Service(cfg.DataDir)
	assert.True(t, ok)
	assert.Equal(t, s.Addr(), addr)

	started := time.Now()
	_, err := chdb.Start(t.Context(), cfg)
	var held *claim.HeldError
	require.ErrorAs(t, err, &held)
	assert.Contains(t, err.Error(), cfg.DataDir)
	assert.Contains(t, err.Error(), s.Addr())
	assert.Less(t, time.Since(started), 5*time.Second, "a living holder is not waited for")

	stop(t, s)
	_, ok = claim.Service(cfg.DataDir)
	assert.False(t, ok)
}

func TestAnOccupiedPortNamesThePortAndTheSetting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	cfg := chdbtest.Config(t)
	cfg.Listen = taken.Addr().String()
	_, err = chdb.Start(t.Context(), cfg)
	var port *claim.PortError
	require.ErrorAs(t, err, &port)
	assert.Contains(t, err.Error(), taken.Addr().String())
	assert.Contains(t, err.Error(), "embedded.clickhouse_listen")
	_, ok := claim.Service(cfg.DataDir)
	assert.False(t, ok, "the failed start gave the directory back")
}

func TestAChildThatCannotStartSaysWhy(t *testing.T) {
	cfg := chdbtest.Config(t)
	good := cfg.Lib
	cfg.Lib = filepath.Join(t.TempDir(), "libchdb.so")
	require.NoError(t, os.WriteFile(cfg.Lib, []byte("not a library"), 0o600))
	_, err := chdb.Start(t.Context(), cfg)
	require.ErrorContains(t, err, "libchdb.so")

	cfg.Lib = good
	require.NoError(t, os.WriteFile(filepath.Join(cfg.DataDir, "engine"), nil, 0o600))
	_, err = chdb.Start(t.Context(), cfg)
	require.ErrorContains(t, err, "engine")
	_, ok := claim.Service(cfg.DataDir)
	assert.False(t, ok)
}

// TestAcknowledgedRowsSurviveTheDeathOfTheChild kills the engine in the midst of
// inserts, again and again.
func TestAcknowledgedRowsSurviveTheDeathOfTheChild(t *testing.T) {
	const deaths, writers = 3, 3
	s := chdbtest.StartServer(t)
	w := newWeb(t, s.Addr())
	w.must("CREATE TABLE t (writer UInt8, n UInt64, s String) ENGINE = MergeTree ORDER BY (writer, n)")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	acknowledged := make([][]uint64, writers)
	for i := range writers {
		wg.Go(func() {
			for n := uint64(0); ctx.Err() == nil; n++ {
				// 500 rows with one n: either all of them are there, or none.
				body := strings.Repeat(fmt.Sprintf("%d\t%d\tsome text\n", i, n), 500)
				req, err := http.NewRequestWithContext(context.WithoutCancel(ctx), http.MethodPost, "http://"+s.Addr()+"/?query=INSERT+INTO+t+FORMAT+TSV", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				resp, err := w.client.Do(req)
				if err != nil {
					continue // the child died under it
				}
				_ = resp.Body.Close()
				if resp.StatusCode == http.StatusOK {
					acknowledged[i] = append(acknowledged[i], n)
				}
			}
		})
	}
	for death := range deaths {
		time.Sleep(300 * time.Millisecond)
		pid := s.Pid()
		require.NoError(t, syscall.Kill(pid, syscall.SIGKILL))
		require.Eventually(t, func() bool { return s.Pid() != 0 && s.Pid() != pid && s.Restarts() == int64(death+1) }, 20*time.Second, 10*time.Millisecond)
		assert.Equal(t, "1\n", w.must("SELECT 1"), "the address is the same, and waits")
	}
	cancel()
	wg.Wait()
	stored := map[string]bool{}
	for line := range strings.Lines(w.must("SELECT writer, n, count() FROM t GROUP BY writer, n")) {
		fields := strings.Fields(line)
		assert.Equal(t, "500", fields[2], "rows of insert %s of writer %s", fields[1], fields[0])
		stored[fields[0]+" "+fields[1]] = true
	}
	total := 0
	for i, ns := range acknowledged {
		for _, n := range ns {
			total++
			assert.True(t, stored[fmt.Sprint(i, " ", n)], "insert %d of writer %d was acknowledged", n, i)
		}
	}
	assert.Positive(t, total)
	t.Logf("%d inserts acknowledged across %d deaths", total, deaths)
}

func TestTheChildEndsWithItsParent(t *testing.T) {
	chdbtest.Config(t) // the library is there
	exe, err := os.Executable()
	require.NoError(t, err)
	for name, signal := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "terminated": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command(exe)
			cmd.Env = append(os.Environ(), parentEnv+"="+dir)
			cmd.Stderr = os.Stderr
			out, err := cmd.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, cmd.Start())
			line, err := bufio.NewReader(out).ReadString('\n')
			require.NoError(t, err)
			var addr string
			var child int
			_, err = fmt.Sscan(line, &addr, &child)
			require.NoError(t, err)
			w := newWeb(t, addr)
			w.must("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
			w.must("INSERT INTO t VALUES (1)")

			require.NoError(t, cmd.Process.Signal(signal))
			_ = cmd.Wait()
			// The next start waits for the child to go, and finds what it stored.
			w = newWeb(t, chdbtest.Start(t, chdbtest.WithDataDir(dir)))
			assert.Eventually(t, func() bool { return !claim.Alive(child) }, 5*time.Second, 5*time.Millisecond, "the child is gone")
			assert.Equal(t, "1\n", w.must("SELECT * FROM t"))
		})
	}
}

func TestAStopLetsAnInsertEnd(t *testing.T) {
	dir := t.TempDir()
	s := chdbtest.StartServer(t, chdbtest.WithDataDir(dir))
	w := newWeb(t, s.Addr())
	w.must("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	done := w.start("INSERT INTO t SELECT number + sleepEachRow(0.1) FROM numbers(10) SETTINGS max_block_size = 1", "i")
	stop(t, s)
	assert.Equal(t, http.StatusOK, (<-done).status)
	w = newWeb(t, chdbtest.Start(t, chdbtest.WithDataDir(dir)))
	assert.Equal(t, "10\n", w.must("SELECT count() FROM t"))
}

func TestAStopDoesNotWaitForeverForAQuery(t *testing.T) {
	s := chdbtest.StartServer(t)
	w := newWeb(t, s.Addr())
	done := w.start(endless, "q")
	started := time.Now()
	stop(t, s)
	assert.Less(t, time.Since(started), 15*time.Second)
	(<-done).fails(t, "394")
}
