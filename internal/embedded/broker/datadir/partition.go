package datadir

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// partition is the log of a partition while it is mended.
type partition struct {
	dir       string
	topic     string
	part      int
	compacted bool
	committed int64 // the greatest offset that a group has committed
	log       zerolog.Logger

	snap    *snapshot
	stopped bool // the snapshot is of the files as they are
	damaged bool
}

// snapshot is snapshot.json, as far as it is needed here; the rest is kept.
type snapshot struct {
	HighWatermark  int64           `json:"high_watermark"`
	LogStartOffset int64           `json:"log_start_offset"`
	Segments       []snapshotEntry `json:"segments"`
}

type snapshotEntry struct {
	BaseOffset int64 `json:"base_offset"`
	Size       int64 `json:"size"`
}

func (p *partition) file(base int64, kind string) string {
	return filepath.Join(p.dir, strconv.FormatInt(base, 10)+kind)
}

// mend checks the log and writes anew what is damaged.
func (p *partition) mend() error {
	bases, err := p.bases()
	if err != nil {
		return err
	}
	if err := p.readSnapshot(bases); err != nil {
		return err
	}
	if len(bases) == 0 {
		return p.begin()
	}
	end := int64(0)
	for i, base := range bases {
		s := segment{base: base, limit: math.MaxInt64}
		if i+1 < len(bases) {
			s.limit = bases[i+1]
		}
		if s.raw, err = os.ReadFile(p.file(base, ".dat")); err != nil {
			return fmt.Errorf("read segment: %w", err)
		}
		s.scan(p.compacted)
		if end, err = p.settle(&s, i+1 == len(bases)); err != nil {
			return err
		}
	}
	if p.stopped && (p.snap.HighWatermark != end || p.snap.LogStartOffset < bases[0] || p.snap.LogStartOffset > end) {
		return p.forgetSnapshot(fmt.Sprintf("it has the log from %d to %d, which is from %d to %d", p.snap.LogStartOffset, p.snap.HighWatermark, bases[0], end))
	}
	return nil
}

// bases are the first offsets of the segments, by their names.
func (p *partition) bases() ([]int64, error) {
	entries, err := os.ReadDir(p.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list segments: %w", err)
	}
	var bases []int64
	for _, e := range entries {
		name, is := strings.CutSuffix(e.Name(), ".dat")
		if !is {
			continue
		}
		if base, err := strconv.ParseInt(name, 10, 64); err == nil && base >= 0 {
			bases = append(bases, base)
		}
	}
	slices.Sort(bases)
	return bases, nil
}

// readSnapshot reads what the broker wrote when it was stopped the last time; it may
// have been killed since.
func (p *partition) readSnapshot(bases []int64) error {
	data, err := os.ReadFile(filepath.Join(p.dir, "snapshot.json"))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	var snap snapshot
	if err := json.Unmarshal(data, &snap); err != nil {
		return p.forgetSnapshot(err.Error())
	}
	p.snap = &snap
	p.stopped = len(snap.Segments) == len(bases) && len(bases) > 0
	for i := 0; p.stopped && i < len(bases); i++ {
		info, err := os.Stat(p.file(bases[i], ".dat"))
		p.stopped = err == nil && snap.Segments[i].BaseOffset == bases[i] && snap.Segments[i].Size == info.Size()
	}
	return nil
}

// forgetSnapshot sets a snapshot aside that can't be right. kfake then reads the log
// itself, all but how much of it was deleted.
func (p *partition) forgetSnapshot(reason string) error {
	path := filepath.Join(p.dir, "snapshot.json")
	kept, err := setAside(path, 0)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil {
		return fmt.Errorf("set the snapshot aside: %w", err)
	}
	p.snap, p.stopped = nil, false
	p.log.Warn().Str("topic", p.topic).Int("partition", p.part).Str("reason", reason).Str("kept", kept).
		Msg("embedded kafka: the summary of a log is damaged and is made anew from the log; no record is lost, some that were deleted may be back; nothing has to be done")
	return nil
}

// begin has a log without a segment begin where it was: kfake would begin it at 0
// again, also where retention has deleted all of its records.
func (p *partition) begin() error {
	floor := p.committed
	if p.snap != nil {
		floor = max(floor, p.snap.HighWatermark)
	}
	if floor <= 0 {
		return nil
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return fmt.Errorf("make the partition's directory: %w", err)
	}
	b := placeholder(floor-1, floor, time.Now().UnixMilli())
	if err := errors.Join(replace(p.file(floor-1, ".idx"), indexOf(b)), replace(p.file(floor-1, ".dat"), b)); err != nil {
		return err
	}
	if p.snap == nil || len(p.snap.Segments) == 0 {
		p.log.Info().Str("topic", p.topic).Int("partition", p.part).Int64("next", floor).
			Msg("embedded kafka: a log without records goes on where it ended")
		return nil
	}
	from := p.snap.Segments[0].BaseOffset
	p.lost(gap{from: from, to: floor}, "", p.dir)
	return nil
}

// settle decides what is lost in a segment, says it, and writes the segment anew where
// anything about it is to change. It returns the offset behind it.
func (p *partition) settle(s *segment, last bool) (int64, error) {
	index, err := os.ReadFile(p.file(s.base, ".idx"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, fmt.Errorf("read index: %w", err)
	}
	torn := p.tail(s, indexed(index), last)
	sound := soundIndex(index, len(s.batches))
	if sound && len(s.gaps) == 0 {
		s.epochsFrom(index)
	}
	changed := torn > 0 || len(s.gaps) > 0
	mended := 0
	for _, b := range s.batches {
		if b.mended {
			mended++
		}
	}
	end := s.end()
	if changed || mended > 0 {
		return end, p.rewrite(s, torn, mended)
	}
	if !sound {
		// It is worked out anew, so that it has as many entries as there are batches:
		// the next ones are appended at its end.
		var parts [][]byte
		for _, b := range s.batches {
			parts = append(parts, indexOf(s.bytes(b)))
		}
		return end, replace(p.file(s.base, ".idx"), parts...)
	}
	return end, nil
}

// tail decides about the end of a segment: whether anything is lost behind its last
// batch, which becomes a gap, or how many bytes only were not written to their end.
func (p *partition) tail(s *segment, indexed int, last bool) (torn int) {
	g := gap{pos: len(s.raw), from: s.end(), to: s.end(), before: len(s.batches)}
	if s.tail != nil {
		g = *s.tail
	}
	// A batch is acknowledged after its entry in the index was written. How many were
	// in the gaps is not known.
	missing := int64(max(0, indexed-len(s.batches)-len(s.gaps)))
	if g.size == 0 && len(s.gaps) > 0 {
		missing = 0
	}
	switch {
	case last:
		if p.snap != nil && (!p.stopped || g.size > 0) {
			g.to = max(g.to, p.snap.HighWatermark)
		}
		g.to = max(g.to, g.from+missing)
		if g.size > 0 && g.to == g.from && !p.stopped {
			return g.size
		}
		if g.size > 0 && (!p.stopped || g.to == g.from) {
			// Too far does no harm; an offset that is given twice does.
			g.to = max(g.to, g.from+1, s.claimed(g.pos, g.from))
		}
		if g.to > g.from || len(s.gaps) > 0 || p.damaged {
			g.to = max(g.to, p.committed)
		}
	case g.size > 0 || missing > 0:
		g.to = max(g.to, s.limit) // the next segment begins there
	}
	if g.to > g.from || g.size > 0 {
		s.gaps = append(s.gaps, g)
	}
	return 0
}

// rewrite writes a segment anew: its batches, and where offsets are lost an empty one.
func (p *partition) rewrite(s *segment, torn, mended int) error {
	path := p.file(s.base, ".dat")
	kept := ""
	var err error
	if len(s.gaps) > 0 || mended > 0 {
		p.damaged = true
		at := s.base
		if len(s.gaps) > 0 {
			at = s.gaps[0].from
		}
		if kept, err = setAside(path, at); err != nil {
			return err
		}
	}
	var dat, idx [][]byte
	size := int64(0)
	add := func(b []byte) {
		dat, idx, size = append(dat, b), append(idx, indexOf(b)), size+int64(len(b))
	}
	gaps := s.gaps
	stamp := time.Now().UnixMilli()
	cover := func(upTo int) {
		for ; len(gaps) > 0 && gaps[0].before == upTo; gaps = gaps[1:] {
			for from := gaps[0].from; from < gaps[0].to; {
				to := min(gaps[0].to, from+math.MaxInt32)
				if gaps[0].to-from > 16*math.MaxInt32 {
					from, to = gaps[0].to-1, gaps[0].to // a hole is as good
				}
				add(placeholder(from, to, stamp))
				from = to
			}
		}
	}
	for i, b := range s.batches {
		one := s.bytes(b)
		if i == 0 {
			stamp = timeOf(one)
		}
		cover(i)
		stamp = timeOf(one)
		add(one)
	}
	cover(len(s.batches))
	if err := errors.Join(replace(p.file(s.base, ".idx"), idx...), replace(path, dat...), p.resize(s.base, size)); err != nil {
		return err
	}
	for _, g := range s.gaps {
		p.lost(g, kept, path)
	}
	if mended > 0 {
		p.log.Warn().Str("topic", p.topic).Int("partition", p.part).Int("batches", mended).Str("file", path).Str("kept", kept).
			Msg("embedded kafka: damaged headers of record batches were mended; no record in them is lost, nothing has to be done")
	}
	if torn > 0 {
		p.log.Info().Str("topic", p.topic).Int("partition", p.part).Int("bytes", torn).Str("file", path).
			Msg("embedded kafka: cut off a batch that was not written to its end, and was never acknowledged")
	}
	return nil
}

// timeOf is the greatest time of a batch.
func timeOf(b []byte) int64 {
	if t := int64(binary.BigEndian.Uint64(b[atMaxTime:])); t > 0 {
		return t
	}
	return time.Now().UnixMilli()
}

// lost says what is lost, in one line.
func (p *partition) lost(g gap, kept, path string) {
	if g.to <= g.from {
		p.log.Error().Str("topic", p.topic).Int("partition", p.part).Int64("offset", g.from).Int("bytes", g.size).Str("file", path).Str("kept", kept).
			Msg("embedded kafka: the log is damaged: bytes in it belong to no record; no offset is missing, nothing has to be done")
		return
	}
	p.log.Error().Str("topic", p.topic).Int("partition", p.part).Int64("from", g.from).Int64("to", g.to-1).Int64("records", g.to-g.from).
		Int("bytes", g.size).Str("file", path).Str("kept", kept).
		Msg("embedded kafka: the log is damaged: the records with these offsets can't be read and are lost, all others are kept with their offsets, readers go on behind them. The file is kept as it was. To have the records again, send them again from where they came; look at the disk, too")
}

// resize keeps a snapshot true of a segment that was written anew, for else kfake
// would forget what it says of the log.
func (p *partition) resize(base, size int64) error {
	if !p.stopped {
		return nil
	}
	path := filepath.Join(p.dir, "snapshot.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	var all map[string]json.RawMessage
	var segments []map[string]json.RawMessage
	if err := errors.Join(json.Unmarshal(data, &all), json.Unmarshal(all["segments"], &segments)); err != nil {
		return fmt.Errorf("read snapshot: %w", err)
	}
	for i := range p.snap.Segments {
		if p.snap.Segments[i].BaseOffset == base {
			segments[i]["size"] = json.RawMessage(strconv.FormatInt(size, 10))
		}
	}
	if all["segments"], err = json.Marshal(segments); err == nil {
		data, err = json.Marshal(all)
	}
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	return replace(path, data)
}
