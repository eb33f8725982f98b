package chdb_test

import (
	"context"
	"fmt"
	"testing"

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

// BenchmarkInsert stores batches of thirteen columns, client side included, each on
// the disk before the next.
func BenchmarkInsert(b *testing.B) {
	for name, compression := range map[string]*clickhouse.Compression{"none": nil, "lz4": {Method: clickhouse.CompressionLZ4}} {
		for _, rows := range []int{1_000, 10_000, 100_000} {
			b.Run(fmt.Sprintf("%s/rows=%d", name, rows), func(b *testing.B) {
				conn := benchConn(b, compression)
				require.NoError(b, conn.Exec(b.Context(), fmt.Sprintf(richTable, "t")))
				batch := richRows(rows)
				b.ResetTimer()
				for b.Loop() {
					require.NoError(b, insertRich(b.Context(), conn, "t", batch))
				}
				b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
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
