package pipeline

import (
	"context"
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/detector"
)

// Sizes and times of checkpoints.
const (
	// chunkBytes is about what one record of the log holds.
	chunkBytes = 900 << 10
	// wholeBelow is the default of DetectConfig.WholeBelow, and slicesOf the number of
	// parts that agents are divided into above it.
	wholeBelow = 256 << 20
	slicesOf   = 8
	// cutTime bounds what a step of a checkpoint takes from detection, and cutAgents
	// how often the clock is looked at.
	cutTime   = 5 * time.Millisecond
	cutAgents = 64
	// readyChunks bounds what is cut before it is written.
	readyChunks = 4
	// pollTime is how soon the end of a checkpoint is noticed where no event comes.
	pollTime = 10 * time.Millisecond
)

// checkpointRun is a checkpoint in the making. The handler's goroutine cuts, a bit
// after every batch; another one writes.
type checkpointRun struct {
	cp      *checkpoint
	started time.Time

	chunk  []byte   // that is being filled
	index  int      // its number
	ready  [][]byte // full ones
	cut    bool     // everything is cut
	closed bool     // everything is handed over

	chunks chan []byte
	result chan error
	cancel context.CancelFunc
}

// later plans the next checkpoint.
func (h *detectHandler) later() { h.cutAt = time.Now().Add(h.role.cfg.CheckpointEvery) }

// begin starts a checkpoint of the state as it is. All that the detector said is
// acknowledged.
func (h *detectHandler) begin(ctx context.Context) error {
	start := time.Now()
	s, d := h.state, h.role
	scan := outputScan{d.log, d.health, h.logger}
	outputs, err := scan.ends(ctx, h.alertTargets())
	if err != nil {
		return err
	}
	s.outputs = make(map[string][]int64, len(outputs))
	for topic, ends := range outputs {
		s.outputs[topic] = slices.Clone(ends)
		for p := range ends {
			ends[p] = s.known.lowest(TopicPartition{topic, int32(p)}, ends[p])
		}
	}
	parts := 1
	if s.detector.Stats().StateBytes >= d.cfg.WholeBelow {
		parts = slicesOf
	}
	full := parts == 1 || s.detector.CutWhole() || len(s.owner.window) == 0
	cp := s.owner.begin(StateMarker{
		Offset: s.next, Partitions: h.partitions, Slices: parts, Outputs: outputs,
		ConfigHash: d.cfg.Detector.Hash, DetectorVersion: d.cfg.Detector.Version, Snapshot: detector.RecordFormat,
	}, full)
	writing, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r := &checkpointRun{cp: cp, started: start, chunks: make(chan []byte, readyChunks), result: make(chan error, 1), cancel: cancel}
	h.run = r
	go r.write(writing) // ends with the last chunk or by abandon, which waits for it
	s.detector.BeginCut(r, func(tenantID, agentID string) bool {
		return full || sliceOf(tenantID, agentID, parts) == int(cp.marker.Counter%uint64(parts))
	})
	r.entry(entryRoute, appendRouted(nil, s.routed))
	d.metrics.CheckpointPause.Observe(time.Since(start).Seconds())
	return nil
}

// sliceOf divides agents into equal parts.
func sliceOf(tenantID, agentID string, parts int) int {
	f := fnv.New32a()
	_, _ = f.Write([]byte(tenantID))
	_, _ = f.Write([]byte{'/'})
	_, _ = f.Write([]byte(agentID))
	return int(f.Sum32() % uint32(parts))
}

// write is the goroutine of a run.
func (r *checkpointRun) write(ctx context.Context) {
	for chunk := range r.chunks {
		if err := r.cp.chunk(ctx, chunk); err != nil {
			r.result <- err
			return
		}
	}
	if ctx.Err() != nil {
		r.result <- ctx.Err()
		return
	}
	r.result <- r.cp.confirm(ctx)
}

// Partition implements detector.CutSink. The record may be larger than a chunk.
func (r *checkpointRun) Partition(record []byte) {
	for {
		n := min(len(record), chunkBytes)
		r.entry(entryPartition, record[:n])
		if record = record[n:]; len(record) == 0 {
			return
		}
	}
}

// Gone implements detector.CutSink.
func (r *checkpointRun) Gone(tenantID, agentID string) {
	r.entry(entryGone, []byte(agentKey(tenantID, agentID)))
}

// Agent implements detector.CutSink.
func (r *checkpointRun) Agent(record []byte) { r.entry(entryAgent, record) }

func (r *checkpointRun) entry(kind byte, b []byte) {
	if len(r.chunk) > 0 && len(r.chunk)+len(b) > chunkBytes {
		r.full()
	}
	if len(r.chunk) == 0 {
		r.chunk = r.cp.head(make([]byte, 0, min(chunkBytes, max(4<<10, len(b)))+64), r.index)
	}
	r.chunk = appendEntry(r.chunk, kind, b)
}

// full closes the chunk that is being filled.
func (r *checkpointRun) full() {
	if len(r.chunk) > 0 {
		r.ready = append(r.ready, r.chunk)
		r.chunk = nil
		r.index++
	}
}

// advance takes a checkpoint a step further, and begins one that is due.
func (h *detectHandler) advance(ctx context.Context) error {
	r := h.run
	if r == nil {
		if h.state.next == h.state.safe || time.Now().Before(h.cutAt) {
			return nil
		}
		return h.begin(ctx)
	}
	select {
	case err := <-r.result:
		return h.ended(err)
	default:
	}
	start := time.Now()
	h.pollAt = start.Add(pollTime)
	for !r.cut && len(r.ready) < readyChunks && time.Since(start) < cutTime {
		if r.cut = h.state.detector.ContinueCut(cutAgents); r.cut {
			r.full()
		}
	}
	h.role.metrics.CheckpointPause.Observe(time.Since(start).Seconds())
	for len(r.ready) > 0 {
		select {
		case r.chunks <- r.ready[0]:
			r.ready = r.ready[1:]
			continue
		default:
		}
		return nil
	}
	if r.cut && !r.closed {
		r.closed = true
		close(r.chunks)
	}
	return nil
}

// ended takes the result of a checkpoint.
func (h *detectHandler) ended(err error) error {
	r, s, m := h.run, h.state, h.role.metrics
	h.run = nil
	r.cancel()
	h.later()
	if err != nil {
		m.Checkpoints.WithLabelValues("given up").Inc()
		s.detector.AbortCut()
		h.lost = errors.Is(err, ErrFenced)
		return err
	}
	s.detector.ConfirmCut()
	s.safe = r.cp.marker.Offset
	s.known.passed(s.safe)
	m.Checkpoints.WithLabelValues("confirmed").Inc()
	m.CheckpointSeconds.Observe(time.Since(r.started).Seconds())
	m.CheckpointBytes.Observe(float64(r.cp.bytes))
	m.CheckpointOffset.WithLabelValues(h.label).Set(float64(s.safe))
	for _, r := range s.detector.ModelRatios() {
		m.ModelRatio.WithLabelValues(h.label, r.Signal).Set(r.Ratio)
	}
	return nil
}

// drive completes the checkpoint at hand.
func (h *detectHandler) drive(ctx context.Context) error {
	for h.run != nil {
		if err := h.advance(ctx); err != nil || h.run == nil {
			return err
		}
		wait := pollTime
		if !h.run.cut {
			wait = time.Millisecond
		}
		t := time.NewTimer(wait)
		select {
		case err := <-h.run.result:
			t.Stop()
			return h.ended(err)
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			h.abandon()
			return ctx.Err()
		}
	}
	return nil
}

// abandon gives up the checkpoint at hand and waits until nothing of it is being
// written any more.
func (h *detectHandler) abandon() {
	r := h.run
	if r == nil {
		return
	}
	r.cancel()
	if !r.closed {
		close(r.chunks)
	}
	if err := h.ended(<-r.result); err != nil && !errors.Is(err, context.Canceled) {
		h.logger.Warn().Err(err).Msg("checkpoint given up")
	}
}

// tick sends what the detector has said, and works on checkpoints.
func (h *detectHandler) tick(ctx context.Context) error {
	if err := h.flush(ctx); err != nil {
		return err
	}
	return h.advance(ctx)
}

// due asks for a flush of what an earlier generation left, and for checkpoints.
func (h *detectHandler) due() time.Time {
	switch r := h.run; {
	case !h.state.out.empty():
		return time.Unix(0, 0)
	case r != nil && (r.closed || len(r.ready) >= readyChunks):
		return h.pollAt
	case r != nil:
		return time.Unix(0, 0)
	case h.state.next > h.state.safe:
		return h.cutAt
	}
	return time.Time{}
}

// finish sends everything and makes a last checkpoint, so that the next owner has
// nothing to read again.
func (h *detectHandler) finish(ctx context.Context) error {
	if err := h.flush(ctx); err != nil {
		return err
	}
	if err := h.drive(ctx); err != nil || h.state.next == h.state.safe {
		return err
	}
	if err := h.begin(ctx); err != nil {
		return err
	}
	return h.drive(ctx)
}
