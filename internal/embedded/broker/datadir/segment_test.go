package datadir

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// logOf is a log of batches that have so many records each.
func logOf(counts ...int) []byte {
	var out []byte
	base := int64(0)
	for i, n := range counts {
		b := placeholder(base, base+int64(n), 1000+int64(i))
		b = append(b, bytes.Repeat([]byte{byte(i), 0xaa}, 5*n)...)
		binary.BigEndian.PutUint32(b[atLength:], uint32(len(b)-lengthEnd))
		binary.BigEndian.PutUint32(b[atCount:], uint32(n))
		binary.BigEndian.PutUint32(b[atCRC:], crc32.Checksum(b[atAttrs:], castagnoli))
		out = append(out, b...)
		base += int64(n)
	}
	return out
}

// FuzzSegment has any bytes for a segment: what is mended is sound from its beginning
// to its end, without a hole or an overlap, and is left alone the next time.
func FuzzSegment(f *testing.F) {
	whole := logOf(1, 3, 2, 7, 1)
	f.Add(whole, uint8(5), int64(14))
	f.Add(whole[:len(whole)-3], uint8(5), int64(0))
	f.Add(whole[70:], uint8(2), int64(20))
	for _, at := range []int{3, 9, 16, 18, 25, 60, 90, 150} {
		damaged := bytes.Clone(whole)
		damaged[at] ^= 0x21
		f.Add(damaged, uint8(5), int64(0))
	}
	f.Fuzz(func(t *testing.T, raw []byte, indexed uint8, committed int64) {
		dir := t.TempDir()
		dat := filepath.Join(dir, "0.dat")
		require.NoError(t, os.WriteFile(dat, raw, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "0.idx"), make([]byte, int(indexed)*indexEntry), 0o600))
		p := partition{dir: dir, topic: "t", committed: max(0, committed%maxCommit), log: zerolog.Nop()}
		require.NoError(t, p.mend())
		mended, err := os.ReadFile(dat)
		require.NoError(t, err)
		s := segment{limit: math.MaxInt64, raw: mended}
		s.scan(false)
		require.Nil(t, s.tail)
		require.Empty(t, s.gaps)
		var index []byte
		for _, b := range s.batches {
			require.False(t, b.mended && b.base-b.end() > 0)
			index = append(index, indexOf(s.bytes(b))...)
		}
		got, err := os.ReadFile(filepath.Join(dir, "0.idx"))
		require.NoError(t, err)
		require.True(t, soundIndex(got, len(s.batches)))
		if len(s.batches) > 0 && s.end() < 16*math.MaxInt32 {
			require.Equal(t, index, got)
		}
		before, err := os.ReadDir(dir)
		require.NoError(t, err)
		p = partition{dir: dir, topic: "t", committed: p.committed, log: zerolog.Nop()}
		require.NoError(t, p.mend())
		after, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, after, len(before), "mended again")
	})
}

// FuzzFrames has any bytes for a log of entries.
func FuzzFrames(f *testing.F) {
	entry := func(text string) []byte {
		b := binary.LittleEndian.AppendUint32(nil, uint32(2+len(text)))
		sum := crc32.Checksum(append([]byte{1, 0}, text...), castagnoli)
		b = binary.LittleEndian.AppendUint32(b, sum)
		return append(append(b, 1, 0), text...)
	}
	whole := append(entry(`{"type":"commit","g":"a","t":"x","o":7}`), entry(`{"type":"commit","g":"b","t":"x","o":9}`)...)
	f.Add(whole)
	f.Add(whole[:len(whole)-4])
	f.Add(append([]byte{1, 2, 3}, whole...))
	f.Fuzz(func(t *testing.T, raw []byte) {
		path := filepath.Join(t.TempDir(), "groups.log")
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		first, err := mendFrames(path, "", zerolog.Nop())
		require.NoError(t, err)
		commits(first)
		mended, err := os.ReadFile(path)
		require.NoError(t, err)
		again := readFrames(mended)
		require.Zero(t, again.lost)
		require.Len(t, again.sound, len(first))
	})
}

func TestACommitOfWhateverOffsetDoesNotMoveAnEndThatNothingIsLostOf(t *testing.T) {
	whole := logOf(1, 3, 2)
	assert.Equal(t, whole, mended(t, partition{committed: 1 << 50, log: zerolog.Nop()}, whole))
}

// mended is what is made of a log in a directory of its own.
func mended(t *testing.T, p partition, raw []byte) []byte {
	t.Helper()
	p.dir = t.TempDir()
	require.NoError(t, os.WriteFile(p.file(0, ".dat"), raw, 0o600))
	require.NoError(t, p.mend())
	after, err := os.ReadFile(p.file(0, ".dat"))
	require.NoError(t, err)
	return after
}

func TestACompactedLogKeepsItsHoles(t *testing.T) {
	whole := logOf(1, 3, 2, 7)
	s := segment{limit: math.MaxInt64, raw: whole}
	s.scan(true)
	holed := append(bytes.Clone(whole[:s.batches[1].pos]), whole[s.batches[2].pos:]...)
	var log bytes.Buffer
	assert.Equal(t, holed, mended(t, partition{compacted: true, log: zerolog.New(&log)}, holed))
	assert.Empty(t, log.String())
}

func TestASnapshotThatCantBeRightIsSetAside(t *testing.T) {
	whole := logOf(1, 3, 2)
	for name, snap := range map[string]map[string]any{
		"an end before the last record": {"high_watermark": 5},
		"an end behind it":              {"high_watermark": 60},
		"a beginning behind the end":    {"high_watermark": 6, "log_start_offset": 7},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			snap["segments"] = []map[string]any{{"base_offset": 0, "size": len(whole)}}
			data, err := json.Marshal(snap)
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(filepath.Join(dir, "0.dat"), whole, 0o600))
			require.NoError(t, os.WriteFile(filepath.Join(dir, "snapshot.json"), data, 0o600))
			p := partition{dir: dir, log: zerolog.Nop()}
			require.NoError(t, p.mend())
			require.NoFileExists(t, filepath.Join(dir, "snapshot.json"))
			require.FileExists(t, filepath.Join(dir, "snapshot.json.damaged-0"))
		})
	}
}

func TestABatchBehindALostOneTakesItsOffsetFromThoseBehindIt(t *testing.T) {
	raw := logOf(4, 3, 2, 2)
	s := segment{limit: math.MaxInt64, raw: bytes.Clone(raw)}
	s.scan(false)
	second := s.batches[1].pos
	raw[second-1] ^= 1     // the end of the first
	raw[second+7] ^= 4 ^ 2 // the offset of the second: 2 in the place of 4
	damaged := segment{limit: math.MaxInt64, raw: raw}
	damaged.scan(false)
	require.Len(t, damaged.gaps, 1)
	assert.Equal(t, int64(4), damaged.gaps[0].to)
	require.Len(t, damaged.batches, 3)
	assert.Equal(t, s.batches[1].base, damaged.batches[0].base)

	// One that was taken out as a whole is a loss as well.
	holed := segment{limit: math.MaxInt64, raw: append(bytes.Clone(s.raw[:second]), s.raw[s.batches[2].pos:]...)}
	holed.scan(false)
	require.Len(t, holed.gaps, 1)
	assert.Equal(t, []int64{4, 7}, []int64{holed.gaps[0].from, holed.gaps[0].to})
}
