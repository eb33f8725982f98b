// Package statelog owns the log of what a role has learnt, plumbline.baselines: a
// rolling log, one partition for each partition of the activity topic. A role claims
// its partition, goes on from what the log comes to, and appends checkpoints.
// docs/delivery.md has the rules and the reasons; they are cited here by number.
//
// Three kinds of records, told apart by their key:
//
//	open    JSON: an owner claims the partition under a new epoch
//	chunk   binary: uvarint epoch, attempt and index, then entries of a checkpoint
//	marker  JSON: a checkpoint is complete, and what it belongs to
//
// An entry is a kind byte and, behind its uvarint length, what it holds.
//
// Invariants:
//  1. Nothing but an open is written before the group coordinator has accepted a
//     commit of this generation (rule 4).
//  2. A checkpoint counts when its marker stands in the log with no foreign open
//     of a higher epoch before it, and the coordinator has accepted the commit of
//     its offset (rule 9).
//  3. An attempt's number is never used twice in an epoch (rule 7).
//  4. What is read is a function of the log: late and repeated records of earlier
//     owners change nothing (rule 3).
//
// It imports the ports of package pipeline, and of the detector only what a record
// is: whose, and of which format. It never imports a role or an adapter.
package statelog

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

const (
	keyOpen   = "open"
	keyChunk  = "chunk"
	keyMarker = "marker"
)

// The kinds of entries of a chunk.
const (
	entryPartition = 'P' // a piece of the partition record; the pieces in order are the record
	entryInput     = 'R' // what the role knows of its input
	entryGone      = 'G' // an evicted agent: its key as in keyOfAgent
	entryAgent     = 'A' // the record of an agent
)

// format is the version of what is written here.
const format = 1

// ErrLost says that the detector state that belongs to the committed offsets
// is not there, or can't be read.
var ErrLost = errors.New("detector state lost")

// attempt names a checkpoint that was begun; it is never used again.
type attempt struct {
	Epoch   uint64 `json:"epoch"`
	Attempt uint64 `json:"attempt"`
}

func (a attempt) after(b attempt) bool {
	return a.Epoch > b.Epoch || a.Epoch == b.Epoch && a.Attempt > b.Attempt
}

type open struct {
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

// Marker completes a checkpoint.
type Marker struct {
	Format int `json:"format"`
	attempt
	Counter    uint64 `json:"counter"` // of checkpoints, over all owners
	Offset     int64  `json:"offset"`  // of TopicActivity: everything before it is in the state
	Partitions int32  `json:"partitions"`
	Slices     int    `json:"slices"`

	ConfigHash string `json:"config_hash"`
	// ConfigSince is the offset from which records are judged by the config: everything
	// before it was judged by another one, or by a release that did not say.
	ConfigSince int64 `json:"config_since,omitempty"`
	// Config is the config by which records from Offset on are judged, whatever the
	// process's says, until a marker has another one. Releases up to format 1 of the log
	// left it out: then it is the process's.
	Config          json.RawMessage `json:"config,omitempty"`
	DetectorVersion string          `json:"detector_version"`
	Snapshot        int             `json:"snapshot"` // version of the detector's records

	// Outputs has for every partition of every alert topic the offset from which
	// alerts of events at or behind Offset may stand.
	Outputs map[string][]int64 `json:"outputs"`
	// Window lists the checkpoints that together hold every agent, this one last.
	Window []windowEntry `json:"window"`
}

// Content is what the log of a partition comes to.
type Content struct {
	Start, End int64   // of the log
	Marker     *Marker // of the newest checkpoint; nil: there is none
	Epoch      uint64  // the highest that was claimed: who has a lower one is fenced

	Agents    map[string][]byte // the records of agents, by tenant/agent
	Partition []byte            // that of what they share
	Input     []byte            // what the role knows of its input

	pending  map[attempt]map[int][]byte
	complete map[attempt]bool
}

func newContent() *Content {
	return &Content{pending: make(map[attempt]map[int][]byte), complete: make(map[attempt]bool), Agents: make(map[string][]byte)}
}

// Read reads a partition without claiming it. Errors are not retried, but that the
// log is trimmed while it is read is none.
func Read(ctx context.Context, log pipeline.Log, partition int32) (*Content, error) {
	tp := pipeline.TopicPartition{Topic: pipeline.TopicBaselines, Partition: partition}
	for tries := 1; ; tries++ {
		c, err := read(ctx, log, tp)
		if err == nil || tries == 5 || !errors.Is(err, pipeline.ErrOffsetOutOfRange) {
			return c, err
		}
	}
}

func read(ctx context.Context, log pipeline.Log, tp pipeline.TopicPartition) (_ *Content, err error) {
	c := newContent()
	if c.Start, c.End, err = log.Bounds(ctx, tp); err == nil {
		_, err = pipeline.ReadRange(ctx, log, tp, c.Start, c.End, nil, func(rec *pipeline.Record) error {
			_, err := c.add(rec)
			return err
		})
	}
	if err == nil {
		err = c.check()
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", tp, err)
	}
	return c, nil
}

// Bytes is the size of all agents and what they share.
func (c *Content) Bytes() int64 {
	n := int64(len(c.Partition))
	for _, record := range c.Agents {
		n += int64(len(record))
	}
	return n
}

// Fingerprint is a hash of the records of the partition and of its agents, as they
// stand in the log: no config takes part. The same events give the same one, unless
// records are still of an older release.
func (c *Content) Fingerprint() string {
	sum := sha256.New()
	add := func(record []byte) {
		_, _ = sum.Write(binary.AppendUvarint(nil, uint64(len(record))))
		_, _ = sum.Write(record)
	}
	add(c.Partition)
	for _, key := range slices.Sorted(maps.Keys(c.Agents)) {
		add(c.Agents[key])
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// add takes the next record in order (rule 3). It keeps the record's bytes. opened
// is what the record opens, where it is an open.
func (c *Content) add(rec *pipeline.Record) (opened *open, err error) {
	switch string(rec.Key) {
	case keyOpen:
		o := &open{}
		if err := json.Unmarshal(rec.Value, o); err != nil {
			return nil, fmt.Errorf("open at offset %d: %w", rec.Offset, err)
		}
		if o.Format > format {
			return nil, newerState(o.Format, format, rec.Offset)
		}
		c.raise(o.Epoch)
		return o, nil
	case keyChunk:
		id, index, entries, err := parseChunk(rec.Value)
		if err != nil {
			return nil, fmt.Errorf("chunk at offset %d: %w", rec.Offset, err)
		}
		if c.raise(id.Epoch); id.Epoch < c.Epoch || c.Marker != nil && !id.after(c.Marker.attempt) {
			return nil, nil //nolint:nilnil // a late write of who was fenced, or of what is done
		}
		chunks := c.pending[id]
		if chunks == nil {
			chunks = make(map[int][]byte)
			c.pending[id] = chunks
		}
		chunks[index] = entries
		return nil, nil //nolint:nilnil // no open
	case keyMarker:
		m := &Marker{}
		if err := json.Unmarshal(rec.Value, m); err != nil {
			return nil, fmt.Errorf("marker at offset %d: %w", rec.Offset, err)
		}
		if m.Format > format {
			return nil, newerState(m.Format, format, rec.Offset)
		}
		if m.Snapshot > detector.RecordFormat {
			return nil, newerState(m.Snapshot, detector.RecordFormat, rec.Offset)
		}
		if c.raise(m.Epoch); m.Epoch < c.Epoch || c.Marker != nil && !m.after(c.Marker.attempt) {
			return nil, nil //nolint:nilnil // fenced, older, or repeated
		}
		if err := c.apply(m); err != nil {
			return nil, fmt.Errorf("marker at offset %d: %w", rec.Offset, err)
		}
		return nil, nil //nolint:nilnil // no open
	}
	return nil, fmt.Errorf("record at offset %d: %q is no kind of record that is known here", rec.Offset, truncated(rec.Key))
}

func truncated(b []byte) []byte { return b[:min(len(b), 32)] }

func newerState(has, known int, offset int64) error {
	return fmt.Errorf("record at offset %d has format %d, this release reads up to %d: start the release that wrote it, or a later one",
		offset, has, known)
}

// raise lifts the fence: who has a lower epoch has lost the partition, and what it
// began will not be completed.
func (c *Content) raise(epoch uint64) {
	if epoch <= c.Epoch {
		return
	}
	c.Epoch = epoch
	maps.DeleteFunc(c.pending, func(a attempt, _ map[int][]byte) bool { return a.Epoch < epoch })
}

// apply takes a complete checkpoint. What it does not have complete shows at the
// end: the log may begin in the middle of checkpoints that nobody needs any more.
func (c *Content) apply(m *Marker) error {
	if len(m.Window) == 0 || m.Window[len(m.Window)-1].attempt != m.attempt {
		return errors.New("its window does not end with itself")
	}
	chunks := c.pending[m.attempt]
	want := m.Window[len(m.Window)-1].Chunks
	c.complete[m.attempt] = len(chunks) == want
	if len(m.Window) == 1 {
		clear(c.Agents)
	}
	c.Partition = nil
	var agents [][]byte
	for _, i := range slices.Sorted(maps.Keys(chunks)) {
		err := eachEntry(chunks[i], func(kind byte, b []byte) error {
			switch kind {
			case entryPartition:
				c.Partition = append(c.Partition, b...)
			case entryInput:
				c.Input = b
			case entryGone:
				delete(c.Agents, string(b))
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
		tenantID, agentID, err := detector.AgentOf(b)
		if err != nil {
			return err
		}
		c.Agents[string(schemas.AppendKey(nil, tenantID, agentID))] = b
	}
	c.Marker = m
	maps.DeleteFunc(c.pending, func(a attempt, _ map[int][]byte) bool { return !a.after(m.attempt) })
	return nil
}

// check says whether all that the newest marker needs was there.
func (c *Content) check() error {
	if c.Marker == nil {
		return nil
	}
	for _, w := range c.Marker.Window {
		if !c.complete[w.attempt] {
			return fmt.Errorf("the checkpoint of epoch %d, attempt %d needs that of epoch %d, attempt %d, which begins at offset %d and is not complete",
				c.Marker.Epoch, c.Marker.Attempt, w.Epoch, w.Attempt, w.Start)
		}
	}
	return nil
}

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
