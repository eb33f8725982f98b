package broker_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/internal/seeded"
)

// site is a data directory with one partition of records, as a broker left it that was
// stopped, and as one that was killed.
type site struct {
	stopped, killed string
	records         map[int64]string
	end             int64
	batches         []placed
	isKilled        bool // the directory that is looked at is of one that was killed
}

// placed is where a batch is.
type placed struct {
	file       string // of the segment
	at, behind int
	from, to   int64 // its offsets
}

const damagedPartition = "partitions/events-0"

func newSite(t *testing.T) site {
	t.Helper()
	s := site{stopped: t.TempDir(), killed: t.TempDir(), records: make(map[int64]string)}
	b := brokertest.StartBroker(t, brokertest.WithDataDir(s.stopped))
	c := client(t, b.Addr())
	createTopic(t, c, "events", map[string]string{"segment.bytes": "1500", "message.timestamp.type": "LogAppendTime"})
	codecs := []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}
	for i := range 30 {
		var records []kafka.Record
		for j := range 1 + i%4 {
			value := fmt.Sprintf("record %d of batch %d %s", j, i, strings.Repeat("x", 13*i))
			s.records[s.end] = value
			s.end++
			records = append(records, record(value, time.Now()))
		}
		require.NoError(t, produce(t.Context(), c, "events", codecs[i%len(codecs)], records...))
	}
	commit(t, c, "readers", s.end)
	require.NoError(t, os.CopyFS(s.killed+"/copy", os.DirFS(s.stopped)))
	s.killed += "/copy"
	require.NoError(t, b.Stop())
	files, err := filepath.Glob(filepath.Join(s.stopped, damagedPartition, "*.dat"))
	require.NoError(t, err)
	require.Greater(t, len(files), 3, "segments")
	for _, f := range files {
		raw, err := os.ReadFile(f)
		require.NoError(t, err)
		for pos := 0; pos < len(raw); {
			size := 12 + int(binary.BigEndian.Uint32(raw[pos+8:]))
			from := int64(binary.BigEndian.Uint64(raw[pos:]))
			s.batches = append(s.batches, placed{filepath.Base(f), pos, pos + size, from, from + int64(binary.BigEndian.Uint32(raw[pos+23:])) + 1})
			pos += size
		}
	}
	slices.SortFunc(s.batches, func(a, b placed) int { return int(a.from - b.from) })
	require.Equal(t, s.end, s.batches[len(s.batches)-1].to)
	return s
}

// copied is a copy of a site's directory that may be damaged.
func copied(t *testing.T, dir string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "data")
	require.NoError(t, os.CopyFS(out, os.DirFS(dir)))
	return out
}

// line is what the broker logged.
type line struct {
	Level     string
	Topic     string
	Partition int
	From, To  int64
	Records   int64
	Bytes     int
	Kept      string
	Message   string
}

// opened is what a broker makes of a directory.
type opened struct {
	lines   []line // from warn on
	records map[int64]string
	end     int64
	next    int64 // of a record that is produced then
	commit  int64
}

func open(t *testing.T, dir string) opened {
	t.Helper()
	var log bytes.Buffer
	b := brokertest.StartBroker(t, brokertest.WithDataDir(dir), brokertest.WithLogger(zerolog.New(&log).Level(zerolog.WarnLevel)))
	c := client(t, b.Addr())
	out := opened{records: make(map[int64]string), commit: committed(t, c, "readers")}
	w := dial(t, b.Addr())
	out.end = readLog(t, w, "events", out.records)
	answer := w.produceRaw("events", batch(0, packed(t, 0, plainRecord(0, 1)), 1))
	require.Zero(t, answer.ErrorCode)
	out.next = answer.BaseOffset
	require.NoError(t, b.Stop())
	for l := range strings.Lines(log.String()) {
		var one line
		require.NoError(t, json.Unmarshal([]byte(l), &one))
		out.lines = append(out.lines, one)
	}
	return out
}

// readLog reads partition 0 from its beginning to its end, as a consumer does.
func readLog(t *testing.T, w wire, topic string, into map[int64]string) (end int64) {
	t.Helper()
	for offset := int64(0); ; {
		p := w.ask(fetchOf(topic, offset, 3000, -1)).(*kmsg.FetchResponse).Topics[0].Partitions[0]
		if p.ErrorCode == kerr.OffsetOutOfRange.Code && offset < p.LogStartOffset {
			offset = p.LogStartOffset
			continue
		}
		require.NoError(t, kerr.ErrorForCode(p.ErrorCode), "at offset %d", offset)
		if offset == p.HighWatermark {
			return offset
		}
		require.NotEmpty(t, p.RecordBatches, "at offset %d of %d", offset, p.HighWatermark)
		for rest := p.RecordBatches; len(rest) > 0; {
			var b kmsg.RecordBatch
			size := 12 + int(binary.BigEndian.Uint32(rest[8:]))
			require.NoError(t, b.ReadFrom(rest[:size]))
			rest = rest[size:]
			require.Equal(t, sealed(b.AppendTo(nil)), b.AppendTo(nil), "a sound batch")
			plain := unpacked(t, &b)
			for range b.NumRecords {
				var r kmsg.Record
				require.NoError(t, r.ReadFrom(plain))
				at := b.FirstOffset + int64(r.OffsetDelta)
				require.NotContains(t, into, at, "an offset twice")
				into[at] = string(r.Value)
				length, n := binary.Varint(plain)
				plain = plain[n+int(length):]
			}
			require.GreaterOrEqual(t, b.FirstOffset+int64(b.LastOffsetDelta)+1, offset)
			offset = b.FirstOffset + int64(b.LastOffsetDelta) + 1
		}
	}
}

// checkKept says that all records are there but those of the batches that were
// touched, which are there or not, and that every loss was told.
func (s *site) checkKept(t *testing.T, o opened, touched func(placed) bool) {
	t.Helper()
	assert.Equal(t, o.end, o.next, "the next offset")
	if last := s.batches[len(s.batches)-1]; s.isKilled && touched(last) {
		// Nobody knows how many records it had, and an offset must not be given twice.
		assert.GreaterOrEqual(t, o.end, s.end, "the end of the log")
	} else {
		assert.Equal(t, s.end, o.end, "the end of the log")
	}
	assert.Equal(t, s.end, o.commit, "the committed offset")
	told := make(map[int64]bool)
	for _, l := range o.lines {
		assert.Equal(t, "events", l.Topic, l.Message)
		assert.Zero(t, l.Partition, l.Message)
		if l.Level == "error" && l.Records > 0 {
			assert.Equal(t, l.Records, l.To-l.From+1)
			for at := l.From; at <= l.To; at++ {
				told[at] = true
			}
		}
	}
	for _, b := range s.batches {
		for at := b.from; at < b.to; at++ {
			value, is := o.records[at]
			if is {
				assert.Equal(t, s.records[at], value, "offset %d", at)
				assert.False(t, told[at], "offset %d is there, and said to be lost", at)
				continue
			}
			assert.True(t, touched(b), "offset %d is lost, and its batch was not touched", at)
			assert.True(t, told[at], "offset %d is lost, and nobody says so", at)
		}
	}
	assert.LessOrEqual(t, len(o.records), len(s.records))
}

func TestAByteThatIsFlippedCostsNoMoreThanItsBatchAndNoOffset(t *testing.T) {
	s := newSite(t)
	r := seeded.Rand(t)
	for _, dir := range []string{s.stopped, s.killed} {
		s.isKilled = dir == s.killed
		for range 10 {
			b := s.batches[r.IntN(len(s.batches))]
			at := b.at + r.IntN(b.behind-b.at)
			if r.IntN(2) == 0 {
				at = b.at + r.IntN(61) // of the header
			}
			data := copied(t, dir)
			flip(t, filepath.Join(data, damagedPartition, b.file), at, byte(1+r.IntN(255)))
			what := fmt.Sprintf("%s: byte %d of the batch %d to %d (%s)", filepath.Base(dir), at-b.at, b.from, b.to-1, b.file)
			o := open(t, data)
			s.checkKept(t, o, func(p placed) bool { return p == b })
			require.NotEmpty(t, o.lines, what)
			if len(o.records) < len(s.records) {
				assert.Equal(t, b.from, o.lines[0].From, what)
				assert.Equal(t, o.end == s.end, b.to-1 == o.lines[0].To, what)
			}
			kept, err := os.ReadFile(o.lines[0].Kept)
			require.NoError(t, err)
			if !strings.Contains(o.lines[0].Kept, "snapshot") {
				flipped := make([]byte, 0, len(kept))
				original, err := os.ReadFile(filepath.Join(dir, damagedPartition, b.file))
				require.NoError(t, err)
				flipped = append(flipped, original...)
				flipped[at] = kept[at]
				assert.True(t, bytes.Equal(flipped, kept), "the damaged file is kept as it was")
			}
			again := open(t, data)
			assert.Empty(t, again.lines, "it is said once: %s", what)
			assert.Len(t, again.records, len(o.records)+1, what)
			require.False(t, t.Failed(), "%s: %+v", what, o.lines)
		}
	}
}

func flip(t *testing.T, path string, at int, with byte) {
	t.Helper()
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	raw[at] ^= with
	require.NoError(t, os.WriteFile(path, raw, 0o600))
}

func TestWhateverHappensToASegmentTheRestOfTheLogIsKept(t *testing.T) {
	s := newSite(t)
	r := seeded.Rand(t)
	type damage struct {
		name string
		do   func(r *rand.Rand, raw []byte) (out []byte, from, to int)
	}
	for _, d := range []damage{
		{"several bytes flipped", func(r *rand.Rand, raw []byte) ([]byte, int, int) {
			from := r.IntN(len(raw))
			to := min(len(raw), from+1+r.IntN(300))
			for range 10 {
				raw[from+r.IntN(to-from)] ^= byte(1 + r.IntN(255))
			}
			return raw, from, to
		}},
		{"zeros", func(r *rand.Rand, raw []byte) ([]byte, int, int) {
			from := r.IntN(len(raw))
			to := min(len(raw), from+1+r.IntN(1000))
			clear(raw[from:to])
			return raw, from, to
		}},
		{"cut off", func(r *rand.Rand, raw []byte) ([]byte, int, int) {
			n := r.IntN(len(raw))
			return raw[:n], n, len(raw)
		}},
		{"a piece taken out", func(r *rand.Rand, raw []byte) ([]byte, int, int) {
			from := r.IntN(len(raw))
			to := min(len(raw), from+1+r.IntN(500))
			return slices.Concat(raw[:from], raw[to:]), from, to
		}},
		{"garbage put in", func(r *rand.Rand, raw []byte) ([]byte, int, int) {
			from := r.IntN(len(raw))
			junk := make([]byte, 1+r.IntN(200))
			for i := range junk {
				junk[i] = byte(r.IntN(256))
			}
			return slices.Concat(raw[:from], junk, raw[from:]), from, from + 1
		}},
		{"nothing but garbage", func(r *rand.Rand, raw []byte) ([]byte, int, int) {
			for i := range raw {
				raw[i] = byte(r.IntN(256))
			}
			return raw, 0, len(raw)
		}},
		{"empty", func(_ *rand.Rand, raw []byte) ([]byte, int, int) { return nil, 0, len(raw) }},
	} {
		t.Run(d.name, func(t *testing.T) {
			for i := range 4 {
				dir := []string{s.stopped, s.killed}[i%2]
				s.isKilled = true // or as good as: the file has another length than it was left with
				file := s.batches[r.IntN(len(s.batches))].file
				data := copied(t, dir)
				path := filepath.Join(data, damagedPartition, file)
				raw, err := os.ReadFile(path)
				require.NoError(t, err)
				out, from, to := d.do(r, raw)
				require.NoError(t, os.WriteFile(path, out, 0o600))
				s.checkKept(t, open(t, data), func(p placed) bool { return p.file == file && p.at < to && p.behind > from })
				require.False(t, t.Failed(), "%s, %s: %d to %d", dir, file, from, to)
			}
		})
	}
}

func TestABatchThatWasNotWrittenToItsEndIsCutOffAndIsNoDamage(t *testing.T) {
	s := newSite(t)
	last := s.batches[len(s.batches)-1]
	whole, err := os.ReadFile(filepath.Join(s.stopped, damagedPartition, last.file))
	require.NoError(t, err)
	for _, n := range []int{1, 11, 12, 60, 61, 70, last.behind - last.at - 1} {
		data := copied(t, s.killed)
		path := filepath.Join(data, damagedPartition, last.file)
		torn := append([]byte(nil), whole[last.at:last.at+n]...)
		if n >= 8 {
			binary.BigEndian.PutUint64(torn, uint64(s.end))
		}
		require.NoError(t, os.WriteFile(path, append(slices.Clone(whole), torn...), 0o600))
		o := open(t, data)
		assert.Empty(t, o.lines, "%d bytes", n)
		s.checkKept(t, o, func(placed) bool { return false })
	}
}

func TestABatchThatWasWrittenAndNotIndexedKeepsItsPlaceInTheIndex(t *testing.T) {
	s := newSite(t)
	data := copied(t, s.killed)
	last := s.batches[len(s.batches)-1]
	index := filepath.Join(data, damagedPartition, strings.TrimSuffix(last.file, ".dat")+".idx")
	info, err := os.Stat(index)
	require.NoError(t, err)
	require.NoError(t, os.Truncate(index, info.Size()-15))
	o := open(t, data)
	assert.Empty(t, o.lines)
	s.checkKept(t, o, func(placed) bool { return false })
	after, err := os.Stat(index)
	require.NoError(t, err)
	assert.Equal(t, info.Size()+15, after.Size(), "and the one of the next batch")
}

func TestALogWhoseRecordsAreAllDeletedGoesOnWhereItEnded(t *testing.T) {
	dir := t.TempDir()
	b := brokertest.StartBroker(t, brokertest.WithDataDir(dir))
	c := client(t, b.Addr())
	createTopic(t, c, "events", nil)
	require.NoError(t, produce(t.Context(), c, "events", 0, record("a", time.Now()), record("b", time.Now())))
	commit(t, c, "readers", 2)
	remove := kmsg.NewPtrDeleteRecordsRequest()
	remove.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "events", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: 2}}}}
	require.Zero(t, dial(t, b.Addr()).ask(remove).(*kmsg.DeleteRecordsResponse).Topics[0].Partitions[0].ErrorCode)
	killed := copied(t, dir)
	require.NoError(t, b.Stop())
	for _, data := range []string{dir, killed} {
		o := open(t, data)
		assert.Empty(t, o.lines)
		assert.Equal(t, int64(2), o.end)
		assert.Equal(t, int64(2), o.next)
		assert.Equal(t, int64(2), o.commit)
		assert.Empty(t, o.records)
	}
}
