package kafka

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestParserReadsEveryPartOfARecord(t *testing.T) {
	for name, codec := range codecs {
		t.Run(name, func(t *testing.T) {
			b := batchSpec{base: 100, baseTime: 1000, maxTime: 1007, codec: codec, records: []recordSpec{
				{key: []byte("k"), value: []byte("v"), headers: []kmsg.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}}},
				{offset: 1, time: 7, value: []byte(strings.Repeat("long ", 100)), headers: []kmsg.Header{{Key: "a", Value: []byte("2")}}},
				{offset: 5, time: -3},
				{offset: 6, key: []byte{}, value: []byte{}},
			}}.bytes(t)
			p, err := parse(b, 0)
			require.NoError(t, err)
			assert.Equal(t, []pipeline.Record{
				{Offset: 100, Time: 1000, Key: []byte("k"), Value: []byte("v"), Headers: []pipeline.Header{{Key: "a", Value: []byte("1")}, {Key: "b"}}},
				{Offset: 101, Time: 1007, Value: []byte(strings.Repeat("long ", 100)), Headers: []pipeline.Header{{Key: "a", Value: []byte("2")}}},
				{Offset: 105, Time: 997},
				{Offset: 106, Time: 1000, Key: []byte{}, Value: []byte{}},
			}, p.records)
			assert.Equal(t, int64(107), p.next)
			assert.Equal(t, codec == kgo.NoCompression(), p.referenced)
		})
	}
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func TestParserTakesTheBrokersTimeWhereTheBatchCarriesIt(t *testing.T) {
	records := []recordSpec{{time: 0}, {offset: 1, time: -900_000}, {offset: 2, time: 1 << 40}}
	for name, test := range map[string]struct {
		attributes int16
		want       []schemas.Millis
	}{
		"append time: one time for all, whatever the producer wrote": {0x08, []schemas.Millis{5_000_000, 5_000_000, 5_000_000}},
		"create time: the producer's":                                {0, []schemas.Millis{1_000_000, 100_000, 1_000_000 + 1<<40}},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := parse(batchSpec{baseTime: 1_000_000, maxTime: 5_000_000, attributes: test.attributes, records: records}.bytes(t), 0)
			require.NoError(t, err)
			for i, r := range p.records {
				assert.Equal(t, test.want[i], r.Time)
			}
		})
	}
	t.Run("no time at all is zero", func(t *testing.T) {
		p, err := parse(batchSpec{baseTime: -1, maxTime: -1, records: values("a")}.bytes(t), 0)
		require.NoError(t, err)
		assert.Equal(t, schemas.Millis(0), p.records[0].Time)
	})
}

func TestParserSkipsWhatStandsBelowTheOffset(t *testing.T) {
	set := append(batchSpec{base: 0, records: values("a", "b")}.bytes(t), batchSpec{base: 2, records: values("c", "d", "e"), codec: kgo.Lz4Compression()}.bytes(t)...)
	for offset, want := range [][]string{{"a", "b", "c", "d", "e"}, {"b", "c", "d", "e"}, {"c", "d", "e"}, {"d", "e"}, {"e"}, {}} {
		p, err := parse(set, int64(offset))
		require.NoError(t, err)
		assert.Equal(t, want, valuesOf(p.records))
		assert.Equal(t, int64(5), p.next)
	}
}

func TestParserMovesOnWhereABatchHoldsNoRecord(t *testing.T) {
	t.Run("a batch that compaction emptied", func(t *testing.T) {
		p, err := parse(batchSpec{base: 10, lastDelta: 4}.bytes(t), 10)
		require.NoError(t, err)
		assert.Empty(t, p.records)
		assert.Equal(t, int64(15), p.next)
	})
	t.Run("a batch whose last records compaction took", func(t *testing.T) {
		p, err := parse(batchSpec{base: 10, lastDelta: 4, records: values("a")}.bytes(t), 10)
		require.NoError(t, err)
		assert.Equal(t, []string{"a"}, valuesOf(p.records))
		assert.Equal(t, int64(15), p.next)
	})
	t.Run("a control batch", func(t *testing.T) {
		p, err := parse(controlBatch(t, 10, 1, true), 10)
		require.NoError(t, err)
		assert.Empty(t, p.records)
		assert.Equal(t, int64(11), p.next)
	})
}

func TestParserLeavesOutAbortedTransactions(t *testing.T) {
	const transactional = 0x10
	batch := func(base, producer int64, attributes int16, vs ...string) []byte {
		return batchSpec{base: base, producer: producer, attributes: attributes, records: values(vs...)}.bytes(t)
	}
	var set []byte
	for _, b := range [][]byte{
		batch(0, 7, transactional, "aborted 0", "aborted 1"),
		batch(2, 8, transactional, "committed 2"),
		batch(3, -1, 0, "plain 3"),
		batch(4, 7, 0, "plain 4, by the same producer"),
		controlBatch(t, 5, 7, false),
		batch(6, 7, transactional, "committed 6"),
		controlBatch(t, 7, 7, true),
		controlBatch(t, 8, 8, true),
		batch(9, 7, transactional, "aborted 9"),
		controlBatch(t, 10, 7, false),
		batch(11, 9, transactional, "aborted 11, the marker comes later"),
	} {
		set = append(set, b...)
	}
	aborted := []abortedTransaction{{9, 11}, {7, 9}, {7, 0}} // in any order
	p, err := parse(set, 0, aborted...)
	require.NoError(t, err)
	assert.Equal(t, []string{"committed 2", "plain 3", "plain 4, by the same producer", "committed 6"}, valuesOf(p.records))
	assert.Equal(t, int64(12), p.next)
}

func TestParserToleratesABatchCutOffAtTheEnd(t *testing.T) {
	whole := batchSpec{records: values("a")}.bytes(t)
	second := batchSpec{base: 1, records: values("b")}.bytes(t)
	for cut := range second {
		p, err := parse(append(slices.Clip(whole), second[:cut]...), 0)
		require.NoError(t, err)
		assert.Equal(t, []string{"a"}, valuesOf(p.records))
		assert.Equal(t, int64(1), p.next)
	}
	t.Run("but says so where it is all there is, else the reader would stand still in silence", func(t *testing.T) {
		_, err := parse(second[:len(second)-1], 1)
		require.ErrorContains(t, err, "no whole batch")
		require.NotErrorIs(t, err, pipeline.ErrCorrupt)
	})
}

func TestParserNamesABrokenBatchAndKeepsWhatStandsBefore(t *testing.T) {
	good := batchSpec{records: values("a", "b")}.bytes(t)
	for name, test := range map[string]struct {
		spec   batchSpec
		damage func(b []byte)
		reason string
		next   int64 // 0: not known
	}{
		"a flipped bit":                        {damage: func(b []byte) { b[len(b)-1] ^= 1 }, reason: "checksum", next: 4},
		"a flipped bit in the attributes":      {damage: func(b []byte) { b[22] ^= 8 }, reason: "checksum", next: 4},
		"a negative length":                    {damage: func(b []byte) { binary.BigEndian.PutUint32(b[8:], math.MaxUint32) }, reason: "length -1"},
		"a length below the header's":          {damage: func(b []byte) { binary.BigEndian.PutUint32(b[8:], 48) }, reason: "length 48"},
		"a negative offset":                    {damage: func(b []byte) { b[0] = 0x80 }, reason: "length"},
		"an unknown format":                    {damage: func(b []byte) { b[16] = 3 }, reason: "format 3"},
		"a negative last offset":               {spec: batchSpec{lastDelta: -5}, reason: "last offset delta -5"},
		"more records than bytes":              {spec: batchSpec{count: math.MaxInt32}, reason: "records in", next: 4},
		"a negative number of records":         {spec: batchSpec{count: -2}, reason: "-2 records", next: 4},
		"one record more than there are":       {spec: batchSpec{records: []recordSpec{{value: make([]byte, 50)}, {offset: 1}}, count: 3}, reason: "record 2 of 3", next: 4},
		"one record fewer than there are":      {spec: batchSpec{count: 1}, reason: "after the last", next: 4},
		"bytes after the last record":          {spec: batchSpec{tail: []byte{1}}, reason: "after the last", next: 4},
		"offsets that go back":                 {spec: batchSpec{records: []recordSpec{{offset: 1}, {offset: 1}}, lastDelta: 1}, reason: "offset delta 1", next: 4},
		"an offset beyond the batch":           {spec: batchSpec{records: []recordSpec{{offset: 7}}, lastDelta: 1}, reason: "offset delta 7", next: 4},
		"a codec that does not exist":          {spec: batchSpec{attributes: 5}, reason: "unknown compression 5", next: 4},
		"gzip that is none":                    {spec: batchSpec{attributes: 1}, reason: "gzip", next: 4},
		"snappy that is none":                  {spec: batchSpec{attributes: 2}, reason: "snappy", next: 4},
		"lz4 that is none":                     {spec: batchSpec{attributes: 3}, reason: "lz4", next: 4},
		"zstd that is none":                    {spec: batchSpec{attributes: 4}, reason: "zstd", next: 4},
		"a record length beyond the batch":     {spec: rawRecords(0x7f), reason: "record 0 of 1: length", next: 4},
		"a varint without end":                 {spec: rawRecords(0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80), reason: "record 0 of 1", next: 4},
		"a key longer than its record":         {spec: rawRecords(12, 0, 0, 0, 0x7e, 1, 0), reason: "does not fill", next: 4},
		"a record that is longer than it says": {spec: rawRecords(14, 0, 0, 0, 1, 1, 0, 9), reason: "does not fill", next: 4},
		"more headers than bytes":              {spec: rawRecords(22, 0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0), reason: "does not fill", next: 4},
		"a negative number of headers":         {spec: rawRecords(12, 0, 0, 0, 1, 1, 3), reason: "does not fill", next: 4},
	} {
		t.Run(name, func(t *testing.T) {
			spec := test.spec
			spec.base = 2
			if spec.records == nil && spec.tail == nil || len(spec.tail) == 1 {
				spec.records = values("cc", "d")
			}
			if spec.lastDelta == 0 {
				spec.lastDelta = 1
			}
			bad := spec.bytes(t)
			if test.damage != nil {
				test.damage(bad)
			}
			p, err := parse(append(slices.Clip(good), bad...), 0)
			var corrupt *pipeline.CorruptError
			require.ErrorAs(t, err, &corrupt)
			require.ErrorIs(t, err, pipeline.ErrCorrupt)
			require.ErrorContains(t, err, test.reason)
			require.ErrorContains(t, err, "t/3")
			assert.Equal(t, []string{"a", "b"}, valuesOf(p.records))
			assert.Equal(t, int64(2), p.next)
			assert.Equal(t, test.next, corrupt.Next)
			if corrupt.Intact {
				assert.NotContains(t, corrupt.Reason, "checksum", "another replica may have it right")
			}
			if !strings.Contains(name, "negative offset") {
				assert.Equal(t, int64(2), corrupt.Offset)
			}
		})
	}
}

func TestParserRefusesBatchesThatOverlap(t *testing.T) {
	first := batchSpec{base: 5, records: values("a", "b")}.bytes(t)
	for name, second := range map[string][]byte{
		"a batch":                 batchSpec{base: 6, records: values("c", "d")}.bytes(t),
		"a message of old format": oldMessageBytes(1, 6, nil),
	} {
		t.Run(name, func(t *testing.T) {
			p, err := parse(append(slices.Clip(first), second...), 0)
			require.ErrorIs(t, err, pipeline.ErrCorrupt)
			require.ErrorContains(t, err, "inside the batch before, which ends at 7")
			assert.Equal(t, int64(7), p.next)
		})
	}
}

// rawRecords is a batch of one record that is written out.
func rawRecords(b ...byte) batchSpec {
	return batchSpec{count: 1, tail: append(b, make([]byte, 10)...)}
}

func TestParserReturnsBytesThatCannotRunIntoEachOther(t *testing.T) {
	p, err := parse(batchSpec{records: []recordSpec{{key: []byte("key"), value: []byte("value"), headers: []kmsg.Header{{Key: "h", Value: []byte("x")}}}, {offset: 1, headers: []kmsg.Header{{Key: "i"}}}}}.bytes(t), 0)
	require.NoError(t, err)
	_ = append(p.records[0].Key, "overwritten"...)
	_ = append(p.records[0].Value, "overwritten"...)
	_ = append(p.records[0].Headers, pipeline.Header{Key: "overwritten"})
	assert.Equal(t, "value", string(p.records[0].Value))
	assert.Equal(t, "x", string(p.records[0].Headers[0].Value))
	assert.Equal(t, "i", p.records[1].Headers[0].Key)
}

func TestParserRefusesFormatsBeforeKafka011(t *testing.T) {
	for _, magic := range []byte{0, 1} {
		t.Run("format "+strconv.Itoa(int(magic)), func(t *testing.T) {
			set := batchSpec{base: 9, records: values("new 9")}.bytes(t)
			for _, offset := range []int64{10, 12, 13} { // compressed, a message has the offset of the last one in it
				set = append(set, oldMessageBytes(magic, offset, []byte("old"))...)
			}
			set = append(set, batchSpec{base: 14, records: values("new 14")}.bytes(t)...)
			p, err := parse(set, 9)
			var corrupt *pipeline.CorruptError
			require.ErrorAs(t, err, &corrupt)
			assert.Equal(t, pipeline.CorruptError{TopicPartition: testPartition, Offset: 10, Next: 14, Reason: corrupt.Reason, Intact: true}, *corrupt)
			assert.Contains(t, corrupt.Reason, "a message format older than Kafka 0.11")
			assert.Equal(t, []string{"new 9"}, valuesOf(p.records))
			assert.Equal(t, int64(10), p.next)

			p, err = parse(set, corrupt.Next)
			require.NoError(t, err, "what lies below the offset is in nobody's way")
			assert.Equal(t, []string{"new 14"}, valuesOf(p.records))

			set[len(batchSpec{base: 9, records: values("new 9")}.bytes(t))+20] ^= 1
			_, err = parse(set, 10)
			require.ErrorAs(t, err, &corrupt)
			assert.Contains(t, corrupt.Reason, "checksum")
			assert.False(t, corrupt.Intact, "another replica may have it right")
		})
	}
}
