package statelog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/failpoint"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Sizes and times of checkpoints.
const (
	// chunkBytes is about what one record of the log holds.
	chunkBytes = 900 << 10
	// cutTime bounds what a step of a checkpoint takes from detection, and cutAgents
	// how often the clock is looked at.
	cutTime   = 5 * time.Millisecond
	cutAgents = 64
	// readyChunks bounds what is cut before it is written.
	readyChunks = 4
	// pollTime is how soon the end of a checkpoint is noticed where no event comes.
	pollTime = 10 * time.Millisecond
)

// State is what a checkpoint holds: that of a detector, which says what these do.
type State interface {
	BeginCut(sink detector.CutSink, also func(tenantID, agentID string) bool)
	ContinueCut(agents int) (complete bool)
	CutWhole() bool
	ConfirmCut()
	AbortCut()
}

// Checkpoint is one in the making: chunks in order, then the marker. The goroutine
// of its owner cuts, a bit after every batch; another one writes.
type Checkpoint struct {
	Marker Marker
	Bytes  int // that were written, when it has ended

	owner *Owner
	state State
	pause prometheus.Observer

	chunk  []byte   // that is being filled
	index  int      // its number
	ready  [][]byte // full ones
	cut    bool     // everything is cut
	closed bool     // everything is handed over
	pollAt time.Time

	chunks chan []byte
	result chan error
	cancel context.CancelFunc

	start   int64 // offset of its first record
	written int   // chunks
}

// Begin starts a checkpoint of a state as it is (rule 7). All that followed from the
// records before the marker's offset is acknowledged. input is what the role knows
// of its input; pause is told, in seconds, how long each step held it up.
func (o *Owner) Begin(ctx context.Context, s State, m Marker, input []byte, pause prometheus.Observer) *Checkpoint {
	m.Partitions = o.partitions
	full := m.Slices == 1 || s.CutWhole() || len(o.window) == 0
	c := o.begin(m, full)
	writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	c.state, c.pause, c.chunks, c.result, c.cancel = s, pause, make(chan []byte, readyChunks), make(chan error, 1), cancel
	go c.write(writing) // ends with the last chunk or by Abandon, which waits for it
	s.BeginCut(c, func(tenantID, agentID string) bool {
		return full || sliceOf(tenantID, agentID, m.Slices) == int(c.Marker.Counter%uint64(m.Slices))
	})
	c.entry(entryInput, input)
	return c
}

// begin is Begin without anybody who writes. full: it holds every agent.
func (o *Owner) begin(m Marker, full bool) *Checkpoint {
	o.id.Attempt++
	m.Format, m.Snapshot, m.attempt, m.Counter = format, detector.RecordFormat, o.id, o.counter+1
	if !full {
		m.Window = append(m.Window, o.window[max(0, len(o.window)-m.Slices+1):]...)
	}
	return &Checkpoint{owner: o, Marker: m, start: -1, pollAt: time.Now()}
}

// sliceOf divides agents into equal parts.
func sliceOf(tenantID, agentID string, parts int) int {
	f := fnv.New32a()
	_, _ = f.Write(schemas.AppendKey(nil, tenantID, agentID))
	return int(f.Sum32() % uint32(parts))
}

// Partition implements detector.CutSink. The record may be larger than a chunk.
func (c *Checkpoint) Partition(record []byte) {
	for {
		n := min(len(record), chunkBytes)
		c.entry(entryPartition, record[:n])
		if record = record[n:]; len(record) == 0 {
			return
		}
	}
}

// Gone implements detector.CutSink.
func (c *Checkpoint) Gone(tenantID, agentID string) {
	c.entry(entryGone, schemas.AppendKey(nil, tenantID, agentID))
}

// Agent implements detector.CutSink.
func (c *Checkpoint) Agent(record []byte) { c.entry(entryAgent, record) }

func (c *Checkpoint) entry(kind byte, b []byte) {
	if len(c.chunk) > 0 && len(c.chunk)+len(b) > chunkBytes {
		c.full()
	}
	if len(c.chunk) == 0 {
		c.chunk = appendChunkHead(make([]byte, 0, min(chunkBytes, max(4<<10, len(b)))+64), c.Marker.attempt, c.index)
	}
	c.chunk = appendEntry(c.chunk, kind, b)
}

// full closes the chunk that is being filled.
func (c *Checkpoint) full() {
	if len(c.chunk) > 0 {
		c.ready = append(c.ready, c.chunk)
		c.chunk = nil
		c.index++
	}
}

// Advance takes a checkpoint a step further. When it has ended it is confirmed, or,
// with an error, given up.
func (c *Checkpoint) Advance() (ended bool, err error) {
	select {
	case err := <-c.result:
		return true, c.ended(err)
	default:
	}
	start := time.Now()
	c.pollAt = start.Add(pollTime)
	for !c.cut && len(c.ready) < readyChunks && time.Since(start) < cutTime {
		if c.cut = c.state.ContinueCut(cutAgents); c.cut {
			c.full()
		}
	}
	c.pause.Observe(time.Since(start).Seconds())
	for len(c.ready) > 0 {
		select {
		case c.chunks <- c.ready[0]:
			c.ready = c.ready[1:]
			continue
		default:
		}
		return false, nil
	}
	if c.cut {
		c.close()
	}
	return false, nil
}

func (c *Checkpoint) close() {
	if !c.closed {
		c.closed = true
		close(c.chunks)
	}
}

// Due says when to call Advance.
func (c *Checkpoint) Due() time.Time {
	if c.closed || len(c.ready) >= readyChunks {
		return c.pollAt
	}
	return time.Unix(0, 0)
}

// Complete takes a checkpoint to its end, and gives it up when ctx ends.
func (c *Checkpoint) Complete(ctx context.Context) error {
	for {
		if ended, err := c.Advance(); ended {
			return err
		}
		wait := pollTime
		if !c.cut {
			wait = time.Millisecond
		}
		select {
		case err := <-c.result:
			return c.ended(err)
		case <-time.After(wait):
		case <-ctx.Done():
			if err := c.Abandon(); !errors.Is(err, context.Canceled) {
				return err
			}
			return ctx.Err()
		}
	}
}

// Abandon gives a checkpoint up and waits until nothing of it is being written any
// more. It returns nil where it was confirmed all the same.
func (c *Checkpoint) Abandon() error {
	c.cancel()
	c.close()
	return c.ended(<-c.result)
}

func (c *Checkpoint) ended(err error) error {
	c.cancel()
	if err != nil {
		c.state.AbortCut()
	} else {
		c.state.ConfirmCut()
	}
	return err
}

// write is the goroutine of a checkpoint.
func (c *Checkpoint) write(ctx context.Context) {
	for chunk := range c.chunks {
		if err := c.append(ctx, chunk); err != nil {
			c.result <- err
			return
		}
	}
	if ctx.Err() != nil {
		c.result <- ctx.Err()
		return
	}
	c.result <- c.confirm(ctx)
}

// append writes the next chunk.
func (c *Checkpoint) append(ctx context.Context, chunk []byte) error {
	at, err := c.owner.write(ctx, pipeline.Record{Key: []byte(keyChunk), Value: chunk})
	if err != nil {
		return err
	}
	failpoint.Hit(failpoint.StateChunk)
	if c.start < 0 {
		c.start = at
	}
	c.written++
	c.Bytes += len(chunk)
	return nil
}

// confirm completes the checkpoint (rules 8 and 9), and gives the log's space back
// that no checkpoint needs any more (rule 10).
func (c *Checkpoint) confirm(ctx context.Context) error {
	o := c.owner
	c.Marker.Window = append(c.Marker.Window, windowEntry{c.Marker.attempt, c.start, c.written})
	value, err := json.Marshal(&c.Marker)
	if err != nil {
		return fmt.Errorf("marker: %w", err)
	}
	if _, err := o.write(ctx, pipeline.Record{Key: []byte(keyMarker), Value: value}); err != nil {
		return err
	}
	failpoint.Hit(failpoint.StateMarker)
	if err := o.Accepted(ctx, c.Marker.Offset); err != nil {
		return err
	}
	failpoint.Hit(failpoint.StateCommitted)
	o.window, o.counter = c.Marker.Window, c.Marker.Counter
	o.trim(ctx)
	return nil
}
