//go:build clients

package clients

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/ext"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const endless = "SELECT max(sipHash64(number)) FROM numbers(100000000000)"

func addr() string { return net.JoinHostPort("127.0.0.1", os.Getenv("CLICKHOUSE_PORT")) }

func open(t *testing.T, change func(*clickhouse.Options)) driver.Conn {
	t.Helper()
	opts := &clickhouse.Options{Addr: []string{addr()}, Protocol: clickhouse.HTTP, Auth: clickhouse.Auth{Database: "plumbline"}}
	if change != nil {
		change(opts)
	}
	conn, err := clickhouse.Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

func code(err error) int32 {
	if ex, ok := errors.AsType[*clickhouse.Exception](err); ok {
		return ex.Code
	}
	return 0
}

func awaitRunning(t *testing.T, conn driver.Conn, id string, want uint64) {
	t.Helper()
	require.Eventually(t, func() bool {
		var n uint64
		err := conn.QueryRow(context.Background(), "SELECT count() FROM system.processes WHERE query_id = {id:String}", clickhouse.Named("id", id)).Scan(&n)
		return err == nil && n == want
	}, 10*time.Second, 20*time.Millisecond)
}

func TestAStatementHasItsIDAndIsKilledByIt(t *testing.T) {
	conn := open(t, nil)
	var got string
	ctx := clickhouse.Context(t.Context(), clickhouse.WithQueryID("go's"))
	require.NoError(t, conn.QueryRow(ctx, "SELECT queryID()").Scan(&got))
	assert.Equal(t, "go's", got)

	id := uuid.NewString()
	killed := make(chan error, 1)
	go func() {
		var n uint64
		killed <- conn.QueryRow(clickhouse.Context(t.Context(), clickhouse.WithQueryID(id)), endless).Scan(&n)
	}()
	awaitRunning(t, conn, id, 1)
	require.NoError(t, conn.Exec(t.Context(), "KILL QUERY WHERE query_id = {id:String} SYNC", clickhouse.Named("id", id)))
	assert.EqualValues(t, 394, code(<-killed))
}

func TestAStatementEndsWithItsContextAndItsTime(t *testing.T) {
	conn := open(t, nil)
	var n uint64
	err := conn.QueryRow(clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_execution_time": 1})), endless).Scan(&n)
	assert.EqualValues(t, 159, code(err), "%v", err)

	id := uuid.NewString()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	require.ErrorIs(t, conn.QueryRow(clickhouse.Context(ctx, clickhouse.WithQueryID(id)), endless).Scan(&n), context.DeadlineExceeded)
	awaitRunning(t, conn, id, 0)
}

func TestSettingsAreTheRequestsOwn(t *testing.T) {
	conn := open(t, func(o *clickhouse.Options) {
		o.Settings, o.MaxOpenConns = clickhouse.Settings{"max_threads": 2, "session_id": uuid.NewString()}, 1
	})
	threads := func(ctx context.Context) (n uint64) {
		require.NoError(t, conn.QueryRow(ctx, "SELECT toUInt64(getSetting('max_threads'))").Scan(&n))
		return n
	}
	assert.EqualValues(t, 2, threads(t.Context()))
	assert.EqualValues(t, 5, threads(clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_threads": 5, "readonly": 2}))))
	assert.EqualValues(t, 2, threads(t.Context()))
	require.NoError(t, conn.Exec(t.Context(), "CREATE TEMPORARY TABLE mine (a UInt8)"))
	require.NoError(t, conn.Exec(t.Context(), "INSERT INTO mine VALUES (1), (2)"))
	var sum uint64
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT sum(a) FROM mine").Scan(&sum))
	assert.EqualValues(t, 3, sum)
}

func TestErrorsBeforeAndInTheMidstOfAnAnswer(t *testing.T) {
	for name, method := range map[string]clickhouse.CompressionMethod{
		"none": clickhouse.CompressionNone, "lz4": clickhouse.CompressionLZ4, "zstd": clickhouse.CompressionZSTD, "gzip": clickhouse.CompressionGZIP, "brotli": clickhouse.CompressionBrotli,
	} {
		t.Run(name, func(t *testing.T) {
			conn := open(t, func(o *clickhouse.Options) { o.Compression = &clickhouse.Compression{Method: method, Level: 3} })
			assert.EqualValues(t, 60, code(conn.Exec(t.Context(), "SELECT * FROM nowhere")))
			assert.EqualValues(t, 62, code(conn.Exec(t.Context(), "SELEC 1")))
			assert.EqualValues(t, 497, code(conn.Exec(t.Context(), "SELECT * FROM file('/etc/passwd')")))
			rows, err := conn.Query(t.Context(), "SELECT number, throwIf(number = 2900000) FROM numbers(3000000)")
			require.NoError(t, err)
			n := 0
			for rows.Next() {
				n++
			}
			assert.EqualValues(t, 395, code(rows.Err()), "%v", rows.Err())
			assert.Greater(t, n, 100_000)
			_ = rows.Close() // the same again
		})
	}
}

func TestATableComesWithItsStatement(t *testing.T) {
	table, err := ext.NewTable("given", ext.Column("a", "UInt8"), ext.Column("b", "String"))
	require.NoError(t, err)
	require.NoError(t, table.Append(uint8(1), "x"))
	require.NoError(t, table.Append(uint8(2), "y"))
	var got string
	require.NoError(t, open(t, nil).QueryRow(clickhouse.Context(t.Context(), clickhouse.WithExternalTable(table)), "SELECT b FROM given WHERE a = 2").Scan(&got))
	assert.Equal(t, "y", got)
}

func TestTheReaderOnlyReads(t *testing.T) {
	as := func(password string) driver.Conn {
		return open(t, func(o *clickhouse.Options) { o.Auth.Username, o.Auth.Password = "reader", password })
	}
	assert.EqualValues(t, 516, code(as("wrong").Ping(t.Context())))
	reader := as(os.Getenv("READER_PASSWORD"))
	var n uint64
	require.NoError(t, reader.QueryRow(t.Context(), "SELECT count() FROM alerts").Scan(&n))
	for _, sql := range []string{"CREATE TABLE t (a UInt8) ENGINE = Memory", "DROP TABLE activity_rows", "INSERT INTO activity_rows (event_id) VALUES ('x')", "KILL QUERY WHERE 1"} {
		assert.EqualValues(t, 164, code(reader.Exec(t.Context(), sql)), sql)
	}
}
