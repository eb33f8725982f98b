package kafka

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/pipeline"
)

var testPartition = pipeline.TopicPartition{Topic: "t", Partition: 3}

// batchSpec describes a batch; franz-go's message types encode it, so that encoder
// and parser are not the same hand's.
type batchSpec struct {
	base       int64
	lastDelta  int32 // zero: that of the last record
	baseTime   int64
	maxTime    int64
	attributes int16
	producer   int64
	records    []recordSpec
	codec      kgo.CompressionCodec
	count      int32 // zero: as many as there are
	tail       []byte
}

type recordSpec struct {
	offset     int32 // delta
	time       int64 // delta
	key, value []byte
	headers    []kmsg.Header
}

func values(vs ...string) []recordSpec {
	var out []recordSpec
	for i, v := range vs {
		out = append(out, recordSpec{offset: int32(i), value: []byte(v)})
	}
	return out
}

func (s batchSpec) bytes(tb testing.TB) []byte {
	tb.Helper()
	var body []byte
	for _, r := range s.records {
		body = appendRecord(body, r)
	}
	body = append(body, s.tail...)
	attributes := s.attributes
	if s.codec != kgo.NoCompression() {
		c, err := kgo.DefaultCompressor(s.codec)
		require.NoError(tb, err)
		compressed, codec := c.Compress(new(bytes.Buffer), body)
		body = bytes.Clone(compressed)
		attributes |= int16(codec)
	}
	lastDelta := s.lastDelta
	if lastDelta == 0 && len(s.records) > 0 {
		lastDelta = s.records[len(s.records)-1].offset
	}
	count := s.count
	if count == 0 {
		count = int32(len(s.records))
	}
	producer := s.producer
	if producer == 0 {
		producer = -1
	}
	b := kmsg.RecordBatch{
		FirstOffset: s.base, Length: int32(49 + len(body)), PartitionLeaderEpoch: -1, Magic: 2, Attributes: attributes,
		LastOffsetDelta: lastDelta, FirstTimestamp: s.baseTime, MaxTimestamp: s.maxTime,
		ProducerID: producer, ProducerEpoch: 0, FirstSequence: -1, NumRecords: count, Records: body,
	}
	out := b.AppendTo(nil)
	fixChecksum(out)
	return out
}

// RawBatch is a batch of one record.
func RawBatch(tb testing.TB, value string, attributes int16) []byte {
	tb.Helper()
	return batchSpec{attributes: attributes, records: values(value)}.bytes(tb)
}

func fixChecksum(batch []byte) {
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
}

func appendRecord(dst []byte, r recordSpec) []byte {
	rec := kmsg.Record{TimestampDelta64: r.time, OffsetDelta: r.offset, Key: r.key, Value: r.value, Headers: r.headers}
	body := rec.AppendTo(nil)[1:] // without the length, which is zero and so one byte
	dst = binary.AppendVarint(dst, int64(len(body)))
	return append(dst, body...)
}

// controlBatch ends a producer's transaction.
func controlBatch(tb testing.TB, base, producer int64, commit bool) []byte {
	tb.Helper()
	key := []byte{0, 0, 0, 0}
	if commit {
		key[3] = 1
	}
	return batchSpec{base: base, attributes: 0x30, producer: producer, records: []recordSpec{{key: key, value: make([]byte, 6)}}}.bytes(tb)
}

func parse(b []byte, offset int64, aborted ...abortedTransaction) (*parser, error) {
	p := newParser(testPartition, offset, aborted)
	err := p.recordSet(b)
	return p, err
}

func valuesOf(records []pipeline.Record) []string {
	out := []string{}
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return out
}

// oldMessageBytes encodes a message of format 0 or 1, without a key.
func oldMessageBytes(magic byte, offset int64, value []byte) []byte {
	body := append([]byte{magic, 0}, make([]byte, 8*int(magic))...) // attributes; a timestamp in format 1
	body = binary.BigEndian.AppendUint32(body, math.MaxUint32)
	body = binary.BigEndian.AppendUint32(body, uint32(len(value)))
	body = append(body, value...)
	out := binary.BigEndian.AppendUint64(nil, uint64(offset))
	out = binary.BigEndian.AppendUint32(out, uint32(len(body)+4))
	out = binary.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(body))
	return append(out, body...)
}
