package clickhouse

import (
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	chproto "github.com/ClickHouse/clickhouse-go/v2/lib/proto"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// newBlock makes the columns that a batch of the driver would have.
func newBlock[R any](tb testing.TB, t *table[R]) *chproto.Block {
	tb.Helper()
	b := chproto.NewBlock()
	b.ServerContext.Timezone = time.UTC
	for i := range t.columns {
		require.NoError(tb, b.AddColumn(t.columns[i].name, column.Type(t.columns[i].typ)))
	}
	return b
}

func TestEveryFieldOfAnEventHasItsColumn(t *testing.T) {
	for f := range schemas.FieldCount {
		require.True(t, slices.ContainsFunc(activityTable.columns, func(c spec[pipeline.ActivityRow]) bool { return c.name == f.String() }), "%s", f)
	}
}

func TestADictionaryOfAnySizeKeepsItsWords(t *testing.T) {
	for _, words := range []int{1, 2, 253, 254, 255, 256, 257, 65534, 65535, 65536, 70000} {
		var (
			d dictionary
			w wire
		)
		for i := range words {
			d.add(fmt.Sprint("word", i))
		}
		d.add("")
		d.flush(&w)
		col, err := column.Type("LowCardinality(String)").Column("c", &column.ServerContext{})
		require.NoError(t, err)
		require.NoError(t, col.Decode(proto.NewReader(&byteSource{w.b}), words+1))
		for i := range words {
			require.Equal(t, fmt.Sprint("word", i), col.Row(i, false))
		}
		require.Empty(t, col.Row(words, false))
	}
}

type byteSource struct{ b []byte }

func (s *byteSource) Read(p []byte) (int, error) {
	if len(s.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, s.b)
	s.b = s.b[n:]
	return n, nil
}

func TestAnEncoderRefusesColumnsThatAreNotTheTables(t *testing.T) {
	rows := typicalRows(3, 2, 1790000000000)
	for _, c := range []struct {
		name  string
		alter func(b *chproto.Block)
		says  string
	}{
		{"one column less", func(b *chproto.Block) { b.Columns = b.Columns[1:] }, "38 columns where 39"},
		{"columns in another order", func(b *chproto.Block) { b.Columns[0], b.Columns[1] = b.Columns[1], b.Columns[0] }, "column 0 is agent_id"},
		{"a column of another type", func(b *chproto.Block) {
			col, err := column.Type("UInt64").Column("tenant_id", b.ServerContext)
			require.NoError(t, err)
			b.Columns[0] = col
		}, "column tenant_id is a UInt64, not a LowCardinality(String): it was altered"},
		{"a column that holds rows already", func(b *chproto.Block) {
			require.NoError(t, b.Columns[3].AppendRow("x"))
		}, "column event_id holds 4 of 3 rows"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEncoder(activityTable)
			e.fill(rows)
			block := newBlock(t, activityTable)
			c.alter(block)
			require.ErrorContains(t, e.load(block.Columns, len(rows)), c.says)

			// It is as good as new for the next batch.
			e.fill(rows)
			block = newBlock(t, activityTable)
			require.NoError(t, e.load(block.Columns, len(rows)))
		})
	}
}

func TestVersionsOrderRows(t *testing.T) {
	older, newer := pipeline.ActivityRow{Version: 3}, pipeline.ActivityRow{Version: 4}
	require.Less(t, activityVersion(&older), activityVersion(&newer))
	for _, pair := range [][2]schemas.Millis{{-1 << 62, 1}, {1, 2}, {1790000000000, 1790000000001}, {maxMillis - 1, 1 << 62}} {
		require.Greater(t, firstRecorded(pair[0]), firstRecorded(pair[1]), "the first wins")
		require.Less(t, lastRecorded(pair[0]), lastRecorded(pair[1]), "the last wins")
	}
	require.Equal(t, uint64(rowFormat), firstRecorded(1)>>timeBits)
	require.Equal(t, uint64(rowFormat), lastRecorded(1<<62)>>timeBits)
}

func BenchmarkEncodeActivity(b *testing.B) {
	const n = 50000
	rows := typicalRows(n, 10000, 1790000000000)
	perRow := func(b *testing.B) {
		b.Helper()
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/row")
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "rows/s")
	}
	b.Run("fill", func(b *testing.B) {
		e := newEncoder(activityTable)
		b.ReportAllocs()
		for b.Loop() {
			e.fill(rows)
		}
		perRow(b)
	})
	b.Run("fill and load", func(b *testing.B) {
		e := newEncoder(activityTable)
		b.ReportAllocs()
		for b.Loop() {
			e.fill(rows)
			if err := e.load(newBlock(b, activityTable).Columns, n); err != nil {
				b.Fatal(err)
			}
		}
		perRow(b)
	})
	// All that the client does for a batch but the socket.
	for _, method := range []compress.Method{compress.None, compress.LZ4} {
		b.Run(fmt.Sprintf("fill, load, encode, compress %s", method), func(b *testing.B) {
			e := newEncoder(activityTable)
			var out proto.Buffer
			w := compress.NewWriter(0, method)
			b.ReportAllocs()
			for b.Loop() {
				e.fill(rows)
				block := newBlock(b, activityTable)
				if err := e.load(block.Columns, n); err != nil {
					b.Fatal(err)
				}
				out.Reset()
				if err := block.Encode(&out, 0); err != nil {
					b.Fatal(err)
				}
				if method != compress.None {
					if err := w.Compress(out.Buf); err != nil {
						b.Fatal(err)
					}
				}
			}
			perRow(b)
			b.ReportMetric(float64(len(out.Buf))/n, "B/row")
		})
	}
}
