package chdb_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/internal/synced"
)

func TestAnEngineThatCannotStartAgainIsSaidOnceCountedAndBackWhenItCan(t *testing.T) {
	lib := chdbtest.Config(t).Lib
	link := filepath.Join(t.TempDir(), "libchdb.so")
	require.NoError(t, os.Symlink(lib, link))
	log := &synced.Buffer{}
	s := chdbtest.StartServer(t, chdbtest.WithLogger(zerolog.New(log)), func(c *chdb.Config) { c.Lib = link })
	require.NoError(t, s.Health())

	require.NoError(t, os.Remove(link))
	require.NoError(t, syscall.Kill(s.Pid(), syscall.SIGKILL))
	require.Eventually(t, func() bool { return s.FailedStarts() >= 3 }, 20*time.Second, 10*time.Millisecond)
	err := s.Health()
	require.ErrorContains(t, err, "the engine is down since 2")
	require.ErrorContains(t, err, "it does not start")
	require.ErrorContains(t, err, "libchdb.so")
	assert.Zero(t, s.Restarts(), "nothing has served since")
	assert.Equal(t, 1, strings.Count(log.String(), "does not start"), log.String())

	require.NoError(t, os.Symlink(lib, link))
	require.Eventually(t, func() bool { return s.Restarts() == 1 }, 30*time.Second, 10*time.Millisecond)
	require.NoError(t, s.Health())
	assert.Equal(t, "1\n", newWeb(t, s.Addr()).must("SELECT 1"))
	assert.Contains(t, log.String(), "serves again")
	stop(t, s)
	require.ErrorContains(t, s.Health(), "it was stopped")
}

func TestAStopWhileTheEngineCannotStartEndsAtOnce(t *testing.T) {
	lib := chdbtest.Config(t).Lib
	link := filepath.Join(t.TempDir(), "libchdb.so")
	require.NoError(t, os.Symlink(lib, link))
	s := chdbtest.StartServer(t, func(c *chdb.Config) { c.Lib = link })
	require.NoError(t, os.Remove(link))
	require.NoError(t, syscall.Kill(s.Pid(), syscall.SIGKILL))
	require.Eventually(t, func() bool { return s.FailedStarts() > 0 }, 20*time.Second, 10*time.Millisecond)
	begin := time.Now()
	stop(t, s)
	assert.Less(t, time.Since(begin), 5*time.Second)
}

func TestAnEngineThatDoesNotStartOnDataOfBeforeIsTriedAgainWhereAskedFor(t *testing.T) {
	cfg := chdbtest.Config(t)
	lib, link := cfg.Lib, filepath.Join(t.TempDir(), "libchdb.so")
	cfg.Lib, cfg.KeepTrying = link, true
	_, err := chdb.Start(t.Context(), cfg)
	require.ErrorContains(t, err, "libchdb.so", "there is no data yet: nothing was ever well here")

	require.NoError(t, os.Symlink(lib, link))
	s := chdbtest.StartServer(t, chdbtest.WithDataDir(cfg.DataDir))
	newWeb(t, s.Addr()).must("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a")
	stop(t, s)
	require.NoError(t, os.Remove(link))
	log := &synced.Buffer{}
	cfg.Logger = zerolog.New(log)
	s, err = chdb.Start(t.Context(), cfg)
	require.NoError(t, err)
	defer stop(t, s)
	require.ErrorContains(t, s.Health(), "it does not start (1 attempts)")
	require.NoError(t, os.Symlink(lib, link))
	require.Eventually(t, func() bool { return s.Health() == nil }, 30*time.Second, 10*time.Millisecond)
	newWeb(t, s.Addr()).must("INSERT INTO t VALUES (1)")
	assert.Zero(t, s.Restarts(), "it has not died")
	assert.EqualValues(t, 1, s.FailedStarts())
	assert.Equal(t, 1, strings.Count(log.String(), "does not start"))
}
