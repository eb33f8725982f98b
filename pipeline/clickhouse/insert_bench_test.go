//go:build unix

package clickhouse

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkInsertActivity inserts into the engine, in its process, and reports what
// this process spends on it, socket and HTTP included. The table is of the engine
// Null: it takes rows and keeps none.
func BenchmarkInsertActivity(b *testing.B) {
	const n = 50000
	rows := typicalRows(n, 10000, now())
	for _, method := range []string{CompressionNone, CompressionLZ4, CompressionZSTD} {
		b.Run(method, func(b *testing.B) {
			db := migrated(b, func(c *Config) { c.Compression = method })
			exec(b, db, "CREATE TABLE as_it_is AS activity_rows")
			exec(b, db, "DROP TABLE activity_rows")
			exec(b, db, "CREATE TABLE activity_rows AS as_it_is ENGINE = Null")
			b.ReportAllocs()
			b.ResetTimer()
			start := cpu(b)
			for range b.N {
				require.NoError(b, db.InsertActivity(b.Context(), rows))
			}
			spent := cpu(b) - start
			b.ReportMetric(spent/float64(b.N)/n*1e9, "cpu-ns/row")
			b.ReportMetric(float64(b.N)*n/spent, "rows/cpu-s")
		})
	}
}

// cpu is how many seconds of CPU this process has used.
func cpu(tb testing.TB) float64 {
	tb.Helper()
	var r syscall.Rusage
	require.NoError(tb, syscall.Getrusage(syscall.RUSAGE_SELF, &r))
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}
