package chdb_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

func benchConn(b *testing.B, compression *clickhouse.Compression) driver.Conn {
	b.Helper()
	conn, err := clickhouse.Open(&clickhouse.Options{Addr: []string{chdbtest.Start(b)}, Protocol: clickhouse.HTTP, Compression: compression})
	require.NoError(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	return conn
}

// BenchmarkStart is a start of the child with an empty data directory, and its
// stop.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		cfg := chdbtest.Config(b)
		s, err := chdb.Start(b.Context(), cfg)
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, s.Stop(context.Background()))
		b.StartTimer()
	}
}

// BenchmarkInsert stores batches of twelve columns, client side included, each on
// the disk before the next.
func BenchmarkInsert(b *testing.B) {
	for name, compression := range map[string]*clickhouse.Compression{"none": nil, "lz4": {Method: clickhouse.CompressionLZ4}} {
		for _, rows := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/rows=%d", name, rows), func(b *testing.B) {
				conn := benchConn(b, compression)
				require.NoError(b, conn.Exec(b.Context(), `CREATE TABLE t (
					tenant LowCardinality(String), agent String, at DateTime64(3, 'UTC'), id String, tool LowCardinality(String), action LowCardinality(String),
					sent UInt64, received UInt64, resources Array(String), outcome LowCardinality(String), attributes Map(LowCardinality(String), String), recorded DateTime64(3, 'UTC')
				) ENGINE = ReplacingMergeTree PARTITION BY toDate(recorded) ORDER BY (tenant, agent, at, id)`))
				batch := benchColumns(rows)
				b.ResetTimer()
				for b.Loop() {
					send, err := conn.PrepareBatch(b.Context(), "INSERT INTO t")
					require.NoError(b, err)
					for i, column := range batch {
						require.NoError(b, send.Column(i).Append(column))
					}
					require.NoError(b, send.Send())
				}
				b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

func benchColumns(n int) []any {
	var (
		tenant, agent, id, tool, action, outcome = make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		at, recorded                             = make([]time.Time, n), make([]time.Time, n)
		sent, received                           = make([]uint64, n), make([]uint64, n)
		resources                                = make([][]string, n)
		attributes                               = make([]map[string]string, n)
	)
	for i := range n {
		tenant[i], agent[i], id[i] = "default", fmt.Sprintf("agent-%d", i%200), fmt.Sprintf("01890000-0000-7000-8000-%012d", i)
		tool[i], action[i], outcome[i] = fmt.Sprintf("tool-%d", i%30), "tool_call", "success"
		at[i] = time.UnixMilli(1_700_000_000_000 + int64(i))
		recorded[i] = at[i]
		sent[i], received[i] = uint64(i*37), uint64(i*91)
		resources[i] = []string{fmt.Sprintf("file:report-%d.xlsx", i%500)}
		attributes[i] = map[string]string{"region": "eu-west-1"}
	}
	return []any{tenant, agent, at, id, tool, action, sent, received, resources, outcome, attributes, recorded}
}

// BenchmarkQuery is one small answer, and one of a million rows.
func BenchmarkQuery(b *testing.B) {
	b.Run("one row", func(b *testing.B) {
		conn := benchConn(b, nil)
		for b.Loop() {
			var one uint8
			require.NoError(b, conn.QueryRow(b.Context(), "SELECT 1").Scan(&one))
		}
	})
	b.Run("a million rows", func(b *testing.B) {
		conn := benchConn(b, nil)
		for b.Loop() {
			rows, err := conn.Query(b.Context(), "SELECT number, toString(number) FROM numbers(1000000)")
			require.NoError(b, err)
			n := 0
			for rows.Next() {
				n++
			}
			require.NoError(b, rows.Close())
			require.Equal(b, 1000000, n)
		}
	})
}
