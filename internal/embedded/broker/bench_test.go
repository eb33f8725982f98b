package broker

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BenchmarkCheckBatch is what looking at a batch as it comes in costs: 1000 events of
// some 480 bytes.
func BenchmarkCheckBatch(b *testing.B) {
	const n = 1000
	var plain []byte
	for i := range n {
		r := kmsg.Record{
			OffsetDelta: int32(i), TimestampDelta64: int64(i), Key: fmt.Appendf(nil, "default/agent-%d", i%50),
			Value: fmt.Appendf(nil, `{"event_id":"%016x","agent_id":"agent-%d","time":"2026-03-01T10:%02d:00Z","tool":"file.read","resources":["file:/srv/reports/%d.xlsx"],"bytes_received":%d,"session_id":"run-%x","attributes":{"path":"/srv/reports/%d","trace":"%032x%032x%032x"}}`,
				i*7919, i%50, i%60, i%97, i*131, i/20, i%97, i*i, i*31, i*17),
		}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		plain = r.AppendTo(plain)
	}
	for _, codec := range []kgo.CompressionCodecType{kgo.CodecNone, kgo.CodecGzip, kgo.CodecSnappy, kgo.CodecLz4, kgo.CodecZstd} {
		packed := plain
		if codec != kgo.CodecNone {
			var err error
			if packed, err = compress(plain, codec); err != nil {
				b.Fatal(err)
			}
		}
		batch := slices.Concat(batchOf(0)[:atRecords], packed)
		batch[atAttrs+1] = byte(codec)
		binary.BigEndian.PutUint32(batch[atCount:], n)
		batch = seal(batch)
		b.Run([]string{"none", "gzip", "snappy", "lz4", "zstd"}[codec], func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(plain)))
			for b.Loop() {
				budget := int64(maxUnpacked)
				if err := checkBatch(batch, &budget, nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
		})
	}
}
