package clickhouse

import (
	"context"
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

func TestAServerThatWasAwayIsUsedAgain(t *testing.T) {
	dir := t.TempDir()
	s := chdbtest.StartServer(t, chdbtest.WithDataDir(dir))
	addr := s.Addr()
	db := open(t, addr, func(c *Config) { c.DialTimeout = time.Second })
	require.NoError(t, db.Migrate(t.Context(), nil))
	rows := typicalRows(100, 3, now())
	require.NoError(t, db.InsertActivity(t.Context(), rows[:50]))
	require.NoError(t, s.Stop(t.Context()))

	err := db.InsertActivity(t.Context(), rows)
	require.Error(t, err)
	require.True(t, IsRetryable(err), "%v", err)
	require.ErrorContains(t, err, addr)

	chdbtest.Start(t, chdbtest.WithDataDir(dir), chdbtest.WithListen(addr))
	require.NoError(t, db.Ping(t.Context()))
	require.NoError(t, checkSchema(t.Context(), db))
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	require.Equal(t, 100, count(t, db, "activity"))
}

func TestAClosedDBLeavesNothingBehind(t *testing.T) {
	engine := chdbtest.Start(t)
	native := startNative(t, engine, "plumb", secret)
	before := goleak.IgnoreCurrent()
	for _, cfg := range []Config{
		{Addrs: []string{engine}},
		{Addrs: []string{native}, Protocol: ProtocolNative, Username: "plumb", Password: secret},
		{Addrs: []string{closedPort(t)}, DialTimeout: 100 * time.Millisecond},
	} {
		db, err := Open(cfg)
		require.NoError(t, err)
		if db.Migrate(t.Context(), nil) == nil {
			require.NoError(t, db.InsertActivity(t.Context(), typicalRows(5000, 10, now())))
			require.NoError(t, db.Query(t.Context(), "SELECT * FROM activity", FormatJSON, io.Discard, nil))
			exec(t, db, "DROP TABLE activity_rows")
			require.Error(t, db.InsertActivity(t.Context(), typicalRows(5000, 10, now())))
			require.Error(t, db.Query(t.Context(), "SELECT throwIf(number > 70000) FROM numbers(100000)", FormatJSON, io.Discard, nil))
		}
		require.NoError(t, db.Close())
		require.NoError(t, db.Close(), "a second Close is no error")
		require.Error(t, db.Ping(t.Context()))
		exec := open(t, engine) // the next round starts from nothing
		require.NoError(t, exec.root.Exec(t.Context(), "DROP DATABASE IF EXISTS plumbline"))
		require.NoError(t, exec.Close())
	}
	http.DefaultClient.CloseIdleConnections() // those of the native bridge
	goleak.VerifyNone(t, before)
}

func TestAnInsertThatIsStoppedLeavesTheDBUsable(t *testing.T) {
	db := migrated(t)
	rows := typicalRows(20000, 100, now())
	for _, wait := range []time.Duration{0, time.Millisecond, 5 * time.Millisecond, 20 * time.Millisecond, 60 * time.Millisecond} {
		ctx, cancel := context.WithTimeout(t.Context(), wait)
		if err := db.InsertActivity(ctx, rows); err != nil {
			require.True(t, IsRetryable(err), "%v", err)
		}
		cancel()
	}
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	require.Equal(t, len(rows), count(t, db, "activity"))
}
