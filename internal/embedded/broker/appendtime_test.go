package broker

import (
	"encoding/binary"
	"hash/crc32"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// batchOf makes a batch whose records have these time deltas.
func batchOf(deltas ...int64) []byte {
	var records []byte
	for i, delta := range deltas {
		r := kmsg.Record{OffsetDelta: int32(i), TimestampDelta64: delta, Value: []byte("value"), Key: []byte("key"), Headers: []kmsg.Header{{Key: "h", Value: []byte("v")}}}
		r.Length = int32(len(r.AppendTo(nil)) - 1)
		records = r.AppendTo(records)
	}
	b := kmsg.RecordBatch{Magic: 2, NumRecords: int32(len(deltas)), LastOffsetDelta: int32(len(deltas) - 1), FirstTimestamp: 1000, MaxTimestamp: 9000, ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, Records: records}
	raw := b.AppendTo(nil)
	return seal(raw)
}

func seal(raw []byte) []byte {
	binary.BigEndian.PutUint32(raw[atLength:], uint32(len(raw)-12))
	binary.BigEndian.PutUint32(raw[atCRC:], crc32.Checksum(raw[atAttrs:], castagnoli))
	return raw
}

func TestARestampedBatchIsSoundAndHasOneTime(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	for name, deltas := range map[string][]int64{
		"one record": {0}, "the same time": {0, 0, 0}, "later ones": {0, 5, 100_000}, "earlier ones": {0, -5, -1 << 40},
	} {
		t.Run(name, func(t *testing.T) {
			in := batchOf(deltas...)
			before := append([]byte(nil), in...)
			out, err := restamp(in, true, now)
			require.NoError(t, err)
			assert.Equal(t, before, in, "the input is not changed")
			var b kmsg.RecordBatch
			require.NoError(t, b.ReadFrom(out))
			assert.Equal(t, now.UnixMilli(), b.FirstTimestamp)
			assert.Equal(t, now.UnixMilli(), b.MaxTimestamp)
			assert.Equal(t, int32(len(out)-12), b.Length)
			assert.Equal(t, int32(crc32.Checksum(out[atAttrs:], castagnoli)), b.CRC)
			rest := b.Records
			for i := range deltas {
				length, n := binary.Varint(rest)
				var r kmsg.Record
				require.NoError(t, r.ReadFrom(rest[:n+int(length)]))
				rest = rest[n+int(length):]
				assert.Zero(t, r.TimestampDelta64)
				assert.Equal(t, int32(i), r.OffsetDelta)
				assert.Equal(t, "value", string(r.Value))
				assert.Equal(t, "h", r.Headers[0].Key)
			}
			assert.Empty(t, rest)
		})
	}
}

func TestADamagedBatchIsNotGivenANewChecksum(t *testing.T) {
	good := batchOf(0, 7)
	for name, damage := range map[string]func([]byte) []byte{
		"no header":             func(b []byte) []byte { return b[:60] },
		"an old format":         func(b []byte) []byte { b[atMagic] = 1; return b },
		"cut off":               func(b []byte) []byte { return b[:len(b)-1] },
		"a flipped bit":         func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"a record too long":     func(b []byte) []byte { b[atRecords] = 0x7e; return seal(b) },
		"more records than are": func(b []byte) []byte { b[atCount+3] = 3; return seal(b) },
		"fewer than are":        func(b []byte) []byte { b[atCount+3] = 1; return seal(b) },
		"not compressed":        func(b []byte) []byte { b[atAttrs+1] |= 4; return seal(b) },
	} {
		t.Run(name, func(t *testing.T) {
			_, err := restamp(damage(append([]byte(nil), good...)), true, time.Now())
			require.Error(t, err)
		})
	}
}

func TestTheFlagOfAProducerIsTakenOff(t *testing.T) {
	in := batchOf(0, 7)
	in[atAttrs+1] |= attrAppendTime
	out, err := restamp(seal(in), false, time.Now())
	require.NoError(t, err)
	assert.Equal(t, batchOf(0, 7), out)
}
