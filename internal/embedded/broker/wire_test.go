package broker_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// wire is a connection on which requests are made byte by byte.
type wire struct {
	tb testing.TB
	net.Conn
}

func dial(tb testing.TB, addr string) wire {
	tb.Helper()
	conn, err := net.Dial("tcp", addr) //nolint:noctx // at once
	require.NoError(tb, err)
	tb.Cleanup(func() { _ = conn.Close() })
	return wire{tb, conn}
}

func (w wire) write(req kmsg.Request) {
	w.tb.Helper()
	_, err := w.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, 1))
	require.NoError(w.tb, err)
}

func (w wire) ask(req kmsg.Request) kmsg.Response {
	w.tb.Helper()
	w.write(req)
	size := make([]byte, 4)
	_, err := io.ReadFull(w, size)
	require.NoError(w.tb, err)
	body := make([]byte, binary.BigEndian.Uint32(size))
	_, err = io.ReadFull(w, body)
	require.NoError(w.tb, err)
	body = body[4:] // behind the correlation id
	if req.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		body = body[1:]
	}
	resp := req.ResponseKind()
	require.NoError(w.tb, resp.ReadFrom(body))
	return resp
}

// produceRaw sends one batch and returns the answer to it.
func (w wire) produceRaw(topic string, batch []byte) kmsg.ProduceResponseTopicPartition {
	w.tb.Helper()
	return w.ask(produceOf(topic, batch)).(*kmsg.ProduceResponse).Topics[0].Partitions[0]
}

// produceOf is a request with one batch for each partition, from the first on.
func produceOf(topic string, batches ...[]byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks, req.TimeoutMillis = -1, 10_000
	t := kmsg.ProduceRequestTopic{Topic: topic}
	for i, b := range batches {
		p := kmsg.NewProduceRequestTopicPartition()
		p.Partition, p.Records = int32(i), b
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

// fetchOf asks for partition 0 from an offset on, for so many bytes, in a new session
// (epoch 0) or in none (-1).
func fetchOf(topic string, offset int64, most, epoch int32) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(11)
	req.MaxBytes, req.SessionEpoch = most, epoch
	p := kmsg.NewFetchRequestTopicPartition()
	p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch = offset, most, -1
	req.Topics = []kmsg.FetchRequestTopic{{Topic: topic, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return req
}

// The codecs of a batch's attributes.
const (
	asGzip   = 1
	asSnappy = 2
	asLZ4    = 3
	asZstd   = 4
	asXerial = asSnappy | 0x100 // in the framing of the Java library
)

// batch is a sealed batch of count records.
func batch(codec int16, records []byte, count int32) []byte {
	b := kmsg.RecordBatch{
		Magic: 2, Attributes: codec & 7, NumRecords: count, LastOffsetDelta: count - 1, FirstTimestamp: 1000, MaxTimestamp: 1000,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, Records: records,
	}
	return sealed(b.AppendTo(nil))
}

func sealed(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[8:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// plainRecord is one record without key and headers, with a value of that many zeros.
func plainRecord(offset int64, size int) io.Reader {
	head := []byte{0}                             // attributes
	head = binary.AppendVarint(head, 7)           // time
	head = binary.AppendVarint(head, offset)      // offset
	head = binary.AppendVarint(head, -1)          // key
	head = binary.AppendVarint(head, int64(size)) // value
	length := int64(len(head)) + int64(size) + 1  // and the count of headers
	head = append(binary.AppendVarint(nil, length), head...)
	return io.MultiReader(bytes.NewReader(head), io.LimitReader(zeros{}, int64(size)), bytes.NewReader([]byte{0}))
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// packed compresses what r holds.
func packed(tb testing.TB, codec int16, r io.Reader) []byte {
	tb.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	switch codec {
	case asGzip:
		w, _ = gzip.NewWriterLevel(&out, gzip.BestCompression)
	case asLZ4:
		w = lz4.NewWriter(&out)
	case asZstd:
		z, err := zstd.NewWriter(&out, zstd.WithEncoderConcurrency(1))
		require.NoError(tb, err)
		w = z
	case asSnappy:
		plain, err := io.ReadAll(r)
		require.NoError(tb, err)
		return snappy.Encode(nil, plain)
	case asXerial:
		out.Write([]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0, 0, 0, 0, 1, 0, 0, 0, 1})
		for block := make([]byte, 1<<20); ; {
			n, err := io.ReadFull(r, block)
			if n > 0 {
				one := snappy.Encode(nil, block[:n])
				out.Write(binary.BigEndian.AppendUint32(nil, uint32(len(one))))
				out.Write(one)
			}
			if err != nil {
				return out.Bytes()
			}
		}
	default:
		plain, err := io.ReadAll(r)
		require.NoError(tb, err)
		return plain
	}
	_, err := io.Copy(struct{ io.Writer }{w}, r) // not by its ReadFrom, which lz4 gets wrong
	require.NoError(tb, err)
	require.NoError(tb, w.Close())
	return out.Bytes()
}

// heapOf runs f and returns by how much the heap grew while it ran, at most.
func heapOf(f func()) (most uint64) {
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var peak atomic.Uint64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		var m runtime.MemStats
		for {
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
		}
	})
	f()
	close(stop)
	wg.Wait()
	return peak.Load() - min(peak.Load(), before.HeapAlloc)
}

// unpacked are the records of a batch in the clear.
func unpacked(tb testing.TB, b *kmsg.RecordBatch) []byte {
	tb.Helper()
	plain, err := kgo.DefaultDecompressor().Decompress(b.Records, kgo.CompressionCodecType(b.Attributes&7))
	require.NoError(tb, err)
	return plain
}
