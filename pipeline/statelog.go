package pipeline

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/plumbline-sec/plumbline/detector"
)

// The log of detector state, TopicBaselines: a rolling log, one partition for each
// partition of TopicActivity. docs/delivery.md has the rules and the reasons; they
// are cited here by number.
//
// Three kinds of records, told apart by their key:
//
//	open    JSON: an owner claims the partition under a new epoch
//	chunk   binary: uvarint epoch, attempt and index, then entries of a checkpoint
//	marker  JSON: a checkpoint is complete, and what it belongs to
//
// An entry is a kind byte and, behind its uvarint length, what it holds.
const (
	keyOpen   = "open"
	keyChunk  = "chunk"
	keyMarker = "marker"
)

// The kinds of entries of a chunk.
const (
	entryPartition = 'P' // a piece of the partition record; the pieces in order are the record
	entryRoute     = 'R' // where every source partition stands, see appendRouted
	entryGone      = 'G' // an evicted agent: its key as in keyOfAgent
	entryAgent     = 'A' // the record of an agent
)

// stateFormat is the version of what is written here.
const stateFormat = 1

// ErrStateLost says that the detector state that belongs to the committed offsets
// is not there, or can't be read.
var ErrStateLost = errors.New("detector state lost")

// attempt names a checkpoint that was begun; it is never used again.
type attempt struct {
	Epoch   uint64 `json:"epoch"`
	Attempt uint64 `json:"attempt"`
}

func (a attempt) after(b attempt) bool {
	return a.Epoch > b.Epoch || a.Epoch == b.Epoch && a.Attempt > b.Attempt
}

type stateOpen struct {
	Format int    `json:"format"`
	Epoch  uint64 `json:"epoch"`
	Nonce  string `json:"nonce"` // tells two owners apart that claim one epoch
}

// windowEntry is a checkpoint that the newest one needs.
type windowEntry struct {
	attempt
	Start  int64 `json:"start"` // offset of its first record
	Chunks int   `json:"chunks"`
}

// StateMarker completes a checkpoint.
type StateMarker struct {
	Format int `json:"format"`
	attempt
	Counter    uint64 `json:"counter"` // of checkpoints, over all owners
	Offset     int64  `json:"offset"`  // of TopicActivity: everything before it is in the state
	Partitions int32  `json:"partitions"`
	Slices     int    `json:"slices"`

	ConfigHash      string `json:"config_hash"`
	DetectorVersion string `json:"detector_version"`
	Snapshot        int    `json:"snapshot"` // version of the detector's records

	// Outputs has for every partition of every alert topic the offset from which
	// alerts of events at or behind Offset may stand.
	Outputs map[string][]int64 `json:"outputs"`
	// Window lists the checkpoints that together hold every agent, this one last.
	Window []windowEntry `json:"window"`
}

// stateFold reads the log in order and knows what it comes to (rule 3).
type stateFold struct {
	fence    uint64
	pending  map[attempt]map[int][]byte
	complete map[attempt]bool

	marker    *StateMarker // the newest that was applied
	agents    map[string][]byte
	partition []byte
	routed    map[string]position
}

func newStateFold() *stateFold {
	return &stateFold{
		pending: make(map[attempt]map[int][]byte), complete: make(map[attempt]bool),
		agents: make(map[string][]byte), routed: make(map[string]position),
	}
}

// add takes the next record. It keeps the record's bytes. opened is what
// the record opens, where it is an open.
func (f *stateFold) add(rec *Record) (opened *stateOpen, err error) {
	switch string(rec.Key) {
	case keyOpen:
		o := &stateOpen{}
		if err := json.Unmarshal(rec.Value, o); err != nil {
			return nil, fmt.Errorf("open at offset %d: %w", rec.Offset, err)
		}
		if o.Format > stateFormat {
			return nil, newerState(o.Format, stateFormat, rec.Offset)
		}
		f.raise(o.Epoch)
		return o, nil
	case keyChunk:
		id, index, entries, err := parseChunk(rec.Value)
		if err != nil {
			return nil, fmt.Errorf("chunk at offset %d: %w", rec.Offset, err)
		}
		if f.raise(id.Epoch); id.Epoch < f.fence || f.marker != nil && !id.after(f.marker.attempt) {
			return nil, nil //nolint:nilnil // a late write of who was fenced, or of what is done
		}
		chunks := f.pending[id]
		if chunks == nil {
			chunks = make(map[int][]byte)
			f.pending[id] = chunks
		}
		chunks[index] = entries
		return nil, nil //nolint:nilnil // no open
	case keyMarker:
		m := &StateMarker{}
		if err := json.Unmarshal(rec.Value, m); err != nil {
			return nil, fmt.Errorf("marker at offset %d: %w", rec.Offset, err)
		}
		if m.Format > stateFormat {
			return nil, newerState(m.Format, stateFormat, rec.Offset)
		}
		if m.Snapshot > detector.RecordFormat {
			return nil, newerState(m.Snapshot, detector.RecordFormat, rec.Offset)
		}
		if f.raise(m.Epoch); m.Epoch < f.fence || f.marker != nil && !m.after(f.marker.attempt) {
			return nil, nil //nolint:nilnil // fenced, older, or repeated
		}
		if err := f.apply(m); err != nil {
			return nil, fmt.Errorf("marker at offset %d: %w", rec.Offset, err)
		}
		return nil, nil //nolint:nilnil // no open
	}
	return nil, fmt.Errorf("record at offset %d: %q is no kind of record that is known here", rec.Offset, truncated(rec.Key))
}

func truncated(b []byte) []byte { return b[:min(len(b), 32)] }

func newerState(format, known int, offset int64) error {
	return fmt.Errorf("record at offset %d has format %d, this release reads up to %d: start the release that wrote it, or a later one",
		offset, format, known)
}

// raise lifts the fence: who has a lower epoch has lost the partition, and what it
// began will not be completed.
func (f *stateFold) raise(epoch uint64) {
	if epoch <= f.fence {
		return
	}
	f.fence = epoch
	maps.DeleteFunc(f.pending, func(a attempt, _ map[int][]byte) bool { return a.Epoch < epoch })
}

// apply takes a complete checkpoint. What it does not have complete shows at the
// end: the log may begin in the middle of checkpoints that nobody needs any more.
func (f *stateFold) apply(m *StateMarker) error {
	if len(m.Window) == 0 || m.Window[len(m.Window)-1].attempt != m.attempt {
		return errors.New("its window does not end with itself")
	}
	chunks := f.pending[m.attempt]
	want := m.Window[len(m.Window)-1].Chunks
	f.complete[m.attempt] = len(chunks) == want
	if len(m.Window) == 1 {
		clear(f.agents)
	}
	f.partition = nil
	var agents [][]byte
	for _, i := range slices.Sorted(maps.Keys(chunks)) {
		err := eachEntry(chunks[i], func(kind byte, b []byte) error {
			switch kind {
			case entryPartition:
				f.partition = append(f.partition, b...)
			case entryRoute:
				return f.route(b)
			case entryGone:
				delete(f.agents, string(b))
			case entryAgent:
				agents = append(agents, b)
			default:
				return fmt.Errorf("entry of unknown kind %q", kind)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("chunk %d: %w", i, err)
		}
	}
	for _, b := range agents {
		key, err := keyOfAgent(b)
		if err != nil {
			return err
		}
		f.agents[key] = b
	}
	f.marker = m
	maps.DeleteFunc(f.pending, func(a attempt, _ map[int][]byte) bool { return !a.after(m.attempt) })
	return nil
}

// check says whether all that the newest marker needs was there.
func (f *stateFold) check() error {
	if f.marker == nil {
		return nil
	}
	for _, w := range f.marker.Window {
		if !f.complete[w.attempt] {
			return fmt.Errorf("the checkpoint of epoch %d, attempt %d needs that of epoch %d, attempt %d, which begins at offset %d and is not complete",
				f.marker.Epoch, f.marker.Attempt, w.Epoch, w.Attempt, w.Start)
		}
	}
	return nil
}

func (f *stateFold) route(b []byte) error {
	clear(f.routed)
	return parseRouted(b, func(source string, p position) { f.routed[source] = p })
}

// keyOfAgent tells agents apart.
func keyOfAgent(record []byte) (string, error) {
	tenantID, agentID, err := detector.AgentOf(record)
	if err != nil {
		return "", err
	}
	return agentKey(tenantID, agentID), nil
}

// agentKey needs no escape: a tenant has no slash.
func agentKey(tenantID, agentID string) string { return tenantID + "/" + agentID }

func appendChunkHead(dst []byte, id attempt, index int) []byte {
	dst = binary.AppendUvarint(dst, id.Epoch)
	dst = binary.AppendUvarint(dst, id.Attempt)
	return binary.AppendUvarint(dst, uint64(index))
}

func appendEntry(dst []byte, kind byte, b []byte) []byte {
	dst = append(dst, kind)
	dst = binary.AppendUvarint(dst, uint64(len(b)))
	return append(dst, b...)
}

var errChunk = errors.New("ends too early")

func parseChunk(b []byte) (id attempt, index int, entries []byte, err error) {
	var v [3]uint64
	for i := range v {
		n := 0
		if v[i], n = binary.Uvarint(b); n <= 0 {
			return attempt{}, 0, nil, errChunk
		}
		b = b[n:]
	}
	if v[2] > 1<<30 {
		return attempt{}, 0, nil, fmt.Errorf("index %d", v[2])
	}
	return attempt{v[0], v[1]}, int(v[2]), b, nil
}

func eachEntry(b []byte, f func(kind byte, b []byte) error) error {
	for len(b) > 0 {
		kind := b[0]
		size, n := binary.Uvarint(b[1:])
		if n <= 0 || size > uint64(len(b)-1-n) {
			return errChunk
		}
		b = b[1+n:]
		if err := f(kind, b[:size:size]); err != nil {
			return err
		}
		b = b[size:]
	}
	return nil
}

// appendRouted writes the positions in the order of their sources.
func appendRouted(dst []byte, routed map[string]position) []byte {
	for _, source := range slices.Sorted(maps.Keys(routed)) {
		p := routed[source]
		dst = binary.AppendUvarint(dst, uint64(len(source)))
		dst = append(dst, source...)
		dst = binary.AppendVarint(dst, p.offset)
		dst = binary.AppendVarint(dst, int64(p.index))
	}
	return dst
}

func parseRouted(b []byte, f func(source string, p position)) error {
	for len(b) > 0 {
		size, n := binary.Uvarint(b)
		if n <= 0 || size > uint64(len(b)-n) {
			return fmt.Errorf("positions of sources: %w", errChunk)
		}
		source := string(b[n : n+int(size)])
		b = b[n+int(size):]
		offset, n := binary.Varint(b)
		index, k := binary.Varint(b[max(n, 0):])
		if n <= 0 || k <= 0 {
			return fmt.Errorf("positions of sources: %w", errChunk)
		}
		b = b[n+k:]
		f(source, position{offset, int32(index)})
	}
	return nil
}
