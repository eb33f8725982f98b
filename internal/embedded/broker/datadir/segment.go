package datadir

import (
	"encoding/binary"
	"hash/crc32"
	"math"
)

// A record batch, by the position of its fields. The checksum covers what follows it:
// neither the offset nor the length nor the format.
const (
	atBase      = 0
	atLength    = 8
	atEpoch     = 12
	atMagic     = 16
	atCRC       = 17
	atAttrs     = 21
	atLastDelta = 23
	atFirstTime = 27
	atMaxTime   = 35
	atProducer  = 43
	atCount     = 57
	atRecords   = 61

	lengthEnd = 12 // where the length starts to count

	attrTransactional = 0x10
	attrControl       = 0x20
)

// Bounds on what a damaged header may be taken for.
const (
	maxBatch   = 128 << 20
	maxRecords = 2 << 20
	// maxTries bounds the bytes that are summed in the search for the next batch, as a
	// multiple of the segment: whoever writes records can write headers into them.
	maxTries = 64
)

// batch is a batch in a segment.
type batch struct {
	pos, size int
	base      int64
	delta     int32
	epoch     uint32
	mended    bool // its header is not the one that stands there
}

func (b batch) end() int64 { return b.base + int64(b.delta) + 1 }

// end is behind the last batch or gap.
func (s *segment) end() int64 {
	end := s.base
	if n := len(s.batches); n > 0 {
		end = s.batches[n-1].end()
	}
	if n := len(s.gaps); n > 0 {
		end = max(end, s.gaps[n-1].to)
	}
	return end
}

// gap is a stretch of a segment that can't be read.
type gap struct {
	pos, size int
	from      int64 // the first offset that is lost
	to        int64 // behind the last one
	before    int   // the batch behind it, by its index; as many as there are at the end
}

// segment is what a scan of a segment finds.
type segment struct {
	base, limit int64 // it begins at base, and its offsets are under limit
	raw         []byte
	batches     []batch
	gaps        []gap
	tail        *gap // what stands behind the last batch, to the end; its offsets are not known
	tries       int
}

// scan reads a segment whose first batch begins at base.
func (s *segment) scan(compacted bool) {
	next := s.base
	var open *gap // before the batch at pos
	for pos := 0; pos < len(s.raw); {
		size := s.soundAt(pos)
		if size == 0 {
			found := s.search(pos, next)
			if n := s.withLength(pos, found); n > 0 {
				size = n // only its length was wrong
			} else {
				g := gap{pos: pos, size: found - pos, from: next, to: next, before: len(s.batches)}
				if found == len(s.raw) {
					s.tail = &g
					return
				}
				open, pos = &g, found
				continue
			}
		}
		b := batch{pos: pos, size: size, delta: s.deltaAt(pos), epoch: s.epochAt(pos)}
		if open != nil {
			b.base = s.baseBehind(b, next, compacted)
		} else if b.base = s.baseOf(b, next, compacted); b.base > next && !compacted {
			open = &gap{pos: pos, from: next, before: len(s.batches)} // somebody took it out
		}
		if open != nil {
			open.to = b.base
			s.gaps, open = append(s.gaps, *open), nil
		}
		b.mended = b.base != s.baseAt(pos) || s.raw[pos+atMagic] != 2 || size != s.lengthAt(pos)
		s.batches = append(s.batches, b)
		next, pos = b.end(), pos+size
	}
}

// baseOf is the first offset of a sound batch that stands where next is expected. The
// checksum doesn't cover it, but it begins where the one before ends; and where it
// does not, in a compacted log, the one behind it decides.
func (s *segment) baseOf(b batch, next int64, compacted bool) int64 {
	b.base = s.baseAt(b.pos)
	if b.base == next {
		return next
	}
	behind, known := s.limit, s.limit != math.MaxInt64
	if s.soundAt(b.pos+b.size) > 0 {
		behind, known = s.baseAt(b.pos+b.size), true
	}
	fits := b.base > next && b.end() <= behind && b.end() > b.base
	switch {
	case fits && (compacted || known && b.end() == behind):
		return b.base // what is missing is missing
	case known && compacted && behind-int64(b.delta)-1 >= next:
		return behind - int64(b.delta) - 1
	}
	return next
}

// baseBehind is the first offset of a sound batch behind a lost one. Its own word is
// believed unless the batches behind it agree on another.
func (s *segment) baseBehind(b batch, next int64, compacted bool) int64 {
	base := s.baseAt(b.pos)
	if compacted || s.soundAt(b.pos+b.size) == 0 {
		return base
	}
	succ := b.pos + b.size
	want := s.baseAt(succ) - int64(b.delta) - 1
	end := s.baseAt(succ) + int64(s.deltaAt(succ)) + 1
	third := succ + s.lengthAt(succ)
	agrees := third == len(s.raw) && (s.limit == math.MaxInt64 || end == s.limit) || s.soundAt(third) > 0 && s.baseAt(third) == end
	if want > next && agrees {
		return want
	}
	return base
}

func (s *segment) baseAt(pos int) int64 { return int64(binary.BigEndian.Uint64(s.raw[pos+atBase:])) }

func (s *segment) deltaAt(pos int) int32 {
	return int32(binary.BigEndian.Uint32(s.raw[pos+atLastDelta:]))
}

func (s *segment) countAt(pos int) int32 {
	return int32(binary.BigEndian.Uint32(s.raw[pos+atCount:]))
}

func (s *segment) epochAt(pos int) uint32 { return binary.BigEndian.Uint32(s.raw[pos+atEpoch:]) }

// lengthAt is the size that a batch says it has.
func (s *segment) lengthAt(pos int) int {
	return int(int32(binary.BigEndian.Uint32(s.raw[pos+atLength:]))) + lengthEnd
}

// soundAt is the size of the batch that begins at pos and has its checksum, or 0.
func (s *segment) soundAt(pos int) int {
	if pos+atRecords > len(s.raw) {
		return 0
	}
	size := s.lengthAt(pos)
	if size < atRecords || size > maxBatch || size > len(s.raw)-pos || s.deltaAt(pos) < 0 {
		return 0
	}
	s.tries += size
	if !s.sum(pos, pos+size) {
		return 0
	}
	return size
}

func (s *segment) sum(pos, end int) bool {
	return crc32.Checksum(s.raw[pos+atAttrs:end], castagnoli) == binary.BigEndian.Uint32(s.raw[pos+atCRC:])
}

// withLength is the size of the batch at pos where its length is all that is wrong:
// it has its checksum if it ends where the next one begins.
func (s *segment) withLength(pos, end int) int {
	if end-pos < atRecords || end-pos > maxBatch || s.deltaAt(pos) < 0 || !s.sum(pos, end) {
		return 0
	}
	return end - pos
}

// search returns where the next sound batch begins behind pos, or the end of the
// segment: where the damaged one says that it ends, if all else that it says agrees,
// for then whatever looks like a batch inside it is what a producer wrote; or anywhere.
func (s *segment) search(pos int, next int64) int {
	if behind := s.claimed(pos, next); behind > next {
		end := pos + s.lengthAt(pos)
		if end == len(s.raw) || end < len(s.raw) && s.plausible(end, next) && s.baseAt(end) == behind && s.soundAt(end) > 0 {
			return end
		}
	}
	s.tries = 0
	for q := pos + 1; q+atRecords <= len(s.raw); q++ {
		if s.raw[q+atMagic] == 2 && s.raw[q+atAttrs] == 0 && s.plausible(q, next) && s.soundAt(q) > 0 {
			if behind := q + s.lengthAt(q); behind+atRecords > len(s.raw) || s.plausible(behind, s.baseAt(q)) {
				return q
			}
		}
		if s.tries > maxTries*len(s.raw) {
			break
		}
	}
	return len(s.raw)
}

// claimed is behind the last offset that a damaged batch says it has, as far as that
// may be believed; next where it may not.
func (s *segment) claimed(pos int, next int64) int64 {
	if pos+atRecords > len(s.raw) || s.baseAt(pos) != next || s.lengthAt(pos) < atRecords {
		return next
	}
	most := int32(0)
	// Both say how many records there are; the one that is damaged may say less.
	for _, n := range []int32{s.deltaAt(pos) + 1, s.countAt(pos)} {
		if n > most && n <= maxRecords {
			most = n
		}
	}
	return next + int64(most)
}

// plausible says whether a batch behind a lost one might have the offset that stands
// at pos.
func (s *segment) plausible(pos int, next int64) bool {
	if pos+atRecords > len(s.raw) {
		return false
	}
	base := s.baseAt(pos)
	return base > next && base < s.limit && base-next <= math.MaxInt32
}

// bytes is a batch as it is to be written.
func (s *segment) bytes(b batch) []byte {
	out := s.raw[b.pos : b.pos+b.size]
	if b.mended {
		out = append([]byte(nil), out...)
		binary.BigEndian.PutUint64(out[atBase:], uint64(b.base))
		binary.BigEndian.PutUint32(out[atLength:], uint32(b.size-lengthEnd))
		binary.BigEndian.PutUint32(out[atEpoch:], b.epoch)
		out[atMagic] = 2
	}
	return out
}

// epochsFrom takes the epochs from a sound index, which has a checksum for them.
func (s *segment) epochsFrom(index []byte) {
	for i := range s.batches {
		if e := binary.LittleEndian.Uint32(index[i*indexEntry+indexEpoch:]); e != s.batches[i].epoch {
			s.batches[i].epoch, s.batches[i].mended = e, true
		}
	}
}

// placeholder is a batch without records that covers the offsets from base on, up to
// but not including to. Retention goes by its time, so it has that of its neighbour.
func placeholder(base, to, time int64) []byte {
	b := make([]byte, atRecords)
	binary.BigEndian.PutUint64(b[atBase:], uint64(base))
	binary.BigEndian.PutUint32(b[atLength:], atRecords-lengthEnd)
	b[atMagic] = 2
	binary.BigEndian.PutUint32(b[atLastDelta:], uint32(to-base-1))
	binary.BigEndian.PutUint64(b[atFirstTime:], uint64(time))
	binary.BigEndian.PutUint64(b[atMaxTime:], uint64(time))
	for i := atProducer; i < atCount; i++ {
		b[i] = 0xff // no producer, no epoch of it, no sequence: -1
	}
	binary.BigEndian.PutUint32(b[atCRC:], crc32.Checksum(b[atAttrs:], castagnoli))
	return b
}
