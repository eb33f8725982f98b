package kafka

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/klauspost/compress/snappy"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/pipeline"
)

func compressWith(tb testing.TB, codec kgo.CompressionCodec, b []byte) (uint16, []byte) {
	tb.Helper()
	c, err := kgo.DefaultCompressor(codec)
	require.NoError(tb, err)
	out, kind := c.Compress(new(bytes.Buffer), b)
	return uint16(kind), bytes.Clone(out)
}

func TestDecompressStopsAtItsLimit(t *testing.T) {
	const limit = 1 << 20
	for name, codec := range codecs {
		if codec == kgo.NoCompression() {
			continue
		}
		t.Run(name, func(t *testing.T) {
			kind, packed := compressWith(t, codec, make([]byte, limit))
			out, err := decompress(kind, packed, 0, limit)
			require.NoError(t, err)
			assert.Len(t, out, limit)
			kind, packed = compressWith(t, codec, make([]byte, limit+1))
			_, err = decompress(kind, packed, 0, limit)
			require.ErrorIs(t, err, errTooBig)
			_, err = decompress(kind, packed[:len(packed)/2], 0, limit)
			require.Error(t, err)
		})
	}
}

func TestDecompressReadsSnappyInXerialFraming(t *testing.T) {
	framed := append([]byte{0x82, 'S', 'N', 'A', 'P', 'P', 'Y', 0}, 0, 0, 0, 1, 0, 0, 0, 1)
	for _, part := range []string{"first ", "second ", strings.Repeat("third ", 1000)} {
		block := snappy.Encode(nil, []byte(part))
		framed = binary.BigEndian.AppendUint32(framed, uint32(len(block)))
		framed = append(framed, block...)
	}
	out, err := decompress(codecSnappy, framed, 0, 1<<20)
	require.NoError(t, err)
	assert.Equal(t, "first second "+strings.Repeat("third ", 1000), string(out))
	_, err = decompress(codecSnappy, framed, 0, 1000)
	require.ErrorIs(t, err, errTooBig)
	for cut := 17; cut < len(framed); cut++ {
		if _, err := decompress(codecSnappy, framed[:cut], 0, 1<<20); err == nil {
			// Only at a border between two blocks may less look whole.
			assert.Contains(t, []int{16 + 4 + 8, 16 + 4 + 8 + 4 + 9}, cut)
		}
	}
}

func TestAZipBombIsRefusedBeforeItIsInMemory(t *testing.T) {
	for name, codec := range codecs {
		if codec == kgo.NoCompression() || name == "snappy" { // snappy shrinks to a twentieth at best
			continue
		}
		t.Run(name, func(t *testing.T) {
			const most = 4 << 20
			bomb := batchSpec{codec: codec, records: []recordSpec{{value: make([]byte, 16*most)}}}.bytes(t)
			p := newParser(testPartition, 0, nil)
			p.most = most
			if name == "zstd" { // its limit is the decoder's own
				p.most = maxBatch
				bomb = batchSpec{codec: codec, records: []recordSpec{{value: make([]byte, maxBatch)}}}.bytes(t)
			}
			kind, warm := compressWith(t, codec, []byte("the decoder's own memory is not counted"))
			_, err := decompress(kind, warm, 0, most)
			require.NoError(t, err)
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			err = p.recordSet(bomb)
			runtime.ReadMemStats(&after)
			var corrupt *pipeline.CorruptError
			require.ErrorAs(t, err, &corrupt)
			require.ErrorContains(t, err, "decompresses to too much")
			assert.Equal(t, int64(1), corrupt.Next, "the reader may step over it")
			assert.True(t, corrupt.Intact, "the reader need not try again")
			// Pools may be empty (the race detector sees to that): two blocks of the decoder's own.
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(3*p.most+8<<20))
		})
	}
	t.Run("snappy that lies about its size", func(t *testing.T) {
		_, err := decompress(codecSnappy, []byte{0xff, 0xff, 0xff, 0xff, 0x0f, 0}, 0, maxBatch)
		require.ErrorContains(t, err, "announced")
	})
}

func TestABatchOfCountlessTinyThingsIsRefused(t *testing.T) {
	tiny := appendRecord(nil, recordSpec{})
	for name, test := range map[string]struct {
		spec batchSpec
		want string
	}{
		"records": {batchSpec{lastDelta: 1, count: maxRecords + 1, tail: bytes.Repeat(tiny, maxRecords+1)}, "records, more than"},
		"headers": {batchSpec{records: []recordSpec{{headers: make([]kmsg.Header, maxHeaders+1)}}}, "headers in the batch"},
	} {
		t.Run(name, func(t *testing.T) {
			test.spec.codec = kgo.ZstdCompression()
			b := test.spec.bytes(t)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := parse(b, 0)
			runtime.ReadMemStats(&after)
			require.ErrorIs(t, err, pipeline.ErrCorrupt)
			require.ErrorContains(t, err, test.want)
			assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(100<<20), "from %d bytes", len(b))
		})
	}
}

func TestManyBatchesThatGrowAreReadInSeveralFetches(t *testing.T) {
	var set []byte
	const each, budget = 20 << 10, 64 << 10
	for i := range 10 {
		set = append(set, batchSpec{base: int64(i), codec: kgo.ZstdCompression(), records: []recordSpec{{value: make([]byte, each)}}}.bytes(t)...)
	}
	var offsets []int64
	fetches := 0
	for offset := int64(0); offset < 10; fetches++ {
		p := newParser(testPartition, offset, nil)
		p.budget = budget
		require.NoError(t, p.recordSet(set))
		require.Greater(t, p.next, offset)
		assert.LessOrEqual(t, len(p.records)*each, budget+each)
		for _, r := range p.records {
			offsets = append(offsets, r.Offset)
		}
		offset = p.next
	}
	assert.Equal(t, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, offsets)
	assert.Equal(t, 3, fetches)
}
