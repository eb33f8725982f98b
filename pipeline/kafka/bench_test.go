package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"testing"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// activityLike are records as route writes them: 400 bytes of JSON under a key,
// with the origin in a header.
func activityLike(n int) []recordSpec {
	rng := rand.New(rand.NewPCG(1, 2))
	out := make([]recordSpec, n)
	for i := range out {
		agent := "agent-" + strconv.Itoa(rng.IntN(10_000))
		value := fmt.Appendf(nil, `{"event_id":"%016x","time":"2026-11-24T03:%02d:%02d.%03dZ","tenant_id":"default","agent_id":"%s","session_id":"%016x",`+
			`"action":"tool_call","tool":"read_file","access":"read","resources":["file:report-%d.xlsx","file:notes-%d.md"],"bytes_sent":%d,"bytes_received":%d,`+
			`"outcome":"success","duration_ms":%d,"model":"example-model-1","attributes":{"region":"eu-west-1","team":"finance"}}`,
			rng.Uint64(), i/60000%60, i/1000%60, i%1000, agent, rng.Uint64(), rng.IntN(500), rng.IntN(500), rng.IntN(5000), rng.IntN(90000), rng.IntN(2000))
		out[i] = recordSpec{
			offset: int32(i), key: []byte("default/" + agent), value: value,
			headers: []kmsg.Header{{Key: "plumbline-origin", Value: fmt.Appendf(nil, "default/1/agent-activity/%d/%d/0", i%3, i)}},
		}
	}
	return out
}

func fetchLike(tb testing.TB, codec kgo.CompressionCodec) (set []byte, records int) {
	tb.Helper()
	const batches, each = 8, 1000
	all := activityLike(batches * each)
	for i := range batches {
		rs := all[i*each : (i+1)*each]
		for j := range rs {
			rs[j].offset = int32(j)
		}
		set = append(set, batchSpec{base: int64(i * each), baseTime: 1_700_000_000_000, records: rs, codec: codec}.bytes(tb)...)
	}
	return set, batches * each
}

func TestParserAllocatesAFewTimesABatchAndNotForEveryRecord(t *testing.T) {
	for name, codec := range codecs {
		set, records := fetchLike(t, codec)
		allocs := testing.AllocsPerRun(10, func() {
			p, err := parse(set, 0)
			require.NoError(t, err)
			require.Len(t, p.records, records)
		})
		t.Logf("%s: %.0f allocations for %d records", name, allocs, records)
		assert.Less(t, allocs/float64(records), 0.05, name)
	}
}

func BenchmarkParse(b *testing.B) {
	for _, name := range []string{"none", "snappy", "lz4", "zstd", "gzip"} {
		set, records := fetchLike(b, codecs[name])
		part := kmsg.FetchResponseTopicPartition{RecordBatches: set}
		decompressor := kgo.DefaultDecompressor()
		framed := append(binary.BigEndian.AppendUint32(nil, uint32(len(set))), set...)
		for _, by := range []struct {
			name string
			read func() (records int)
		}{
			{"own", func() int { p, _ := parse(set, 0); return len(p.records) }},
			{"franz-go", func() int {
				out, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &part, decompressor, nil)
				return len(out.Records)
			}},
			{"kafka-go", func() int { return kafkaGoParse(b, framed) }},
		} {
			b.Run(by.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(len(set)))
				for b.Loop() {
					if n := by.read(); n != records {
						b.Fatal(n)
					}
				}
				perRecord(b, records)
			})
		}
	}
}

func perRecord(b *testing.B, records int) {
	b.Helper()
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*records), "ns/record")
}

// kafkaGoParse reads a record set as kafka-go's Client.Fetch does, and copies keys
// and values out, which its pages make necessary for whoever keeps them.
func kafkaGoParse(tb testing.TB, framed []byte) int {
	tb.Helper()
	var set protocol.RecordSet
	_, err := set.ReadFrom(bytes.NewReader(framed))
	require.NoError(tb, err)
	n := 0
	for {
		r, err := set.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return n
		}
		require.NoError(tb, err)
		key, err := protocol.ReadAll(r.Key)
		require.NoError(tb, err)
		value, err := protocol.ReadAll(r.Value)
		require.NoError(tb, err)
		if len(key) == 0 || len(value) == 0 {
			tb.Fatal("empty record")
		}
		n++
	}
}

// BenchmarkEncode writes record sets that go nowhere: what encoding them costs remains.
func BenchmarkEncode(b *testing.B) {
	specs := activityLike(2000)
	records := make([]pipeline.Record, len(specs))
	size := 0
	for i, s := range specs {
		records[i] = pipeline.Record{Key: s.key, Value: s.value, Headers: []pipeline.Header{{Key: s.headers[0].Key, Value: s.headers[0].Value}}}
		size += recordSize(&records[i])
	}
	b.ReportAllocs()
	var out int64
	for b.Loop() {
		set := protocol.RecordSet{Version: 2, Attributes: protocol.Attributes(kafkago.Lz4), Records: &recordReader{records: records}}
		n, err := set.WriteTo(io.Discard)
		require.NoError(b, err)
		out = n
	}
	perRecord(b, len(records))
	b.ReportMetric(float64(size)/float64(out), "ratio")
}
