package detect

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/statelog"
)

// wholeBelow is the default of Config.WholeBelow, and slicesOf the number of parts
// that agents are divided into above it.
const (
	wholeBelow = 256 << 20
	slicesOf   = 8
)

// later plans the next checkpoint.
func (h *handler) later() { h.cutAt = time.Now().Add(h.role.cfg.CheckpointEvery) }

// begin starts a checkpoint of the state as it is. All that the detector said is
// acknowledged. What follows is judged by v, since an offset; wholeBelow is as in Config.
func (h *handler) begin(ctx context.Context, v *verdict, since, wholeBelow int64) error {
	start := time.Now()
	s, d := h.state, h.role
	outputs, err := statelog.Ends(ctx, &d.Role, h.alertTopics(), h.logger)
	if err != nil {
		return err
	}
	s.outputs = make(map[string][]int64, len(outputs))
	for topic, ends := range outputs {
		s.outputs[topic] = slices.Clone(ends)
		for p := range ends {
			ends[p] = s.known.lowest(pipeline.TopicPartition{Topic: topic, Partition: int32(p)}, ends[p])
		}
	}
	parts := 1
	if s.detector.Stats().StateBytes >= wholeBelow {
		parts = slicesOf
	}
	h.run, h.begun = s.owner.Begin(ctx, s.detector, statelog.Marker{
		Offset: s.next, Slices: parts, Outputs: outputs, DetectorVersion: v.cfg.Version,
		ConfigHash: v.cfg.Hash, ConfigSince: since, Config: v.canonical,
	}, appendRouted(nil, s.routed), d.metrics.CheckpointPause), start
	d.metrics.CheckpointPause.Observe(time.Since(start).Seconds())
	return nil
}

// checkpoint begins one that changes nothing about the config.
func (h *handler) checkpoint(ctx context.Context) error {
	return h.begin(ctx, h.state.verdict, h.state.since, h.role.cfg.WholeBelow)
}

// advance takes the checkpoint at hand a step further, and begins one that is due.
func (h *handler) advance(ctx context.Context) error {
	if h.run == nil {
		if h.state.next == h.state.safe || time.Now().Before(h.cutAt) {
			return nil
		}
		return h.checkpoint(ctx)
	}
	if ended, err := h.run.Advance(); ended {
		return h.ended(err)
	}
	return nil
}

// ended takes the result of the checkpoint at hand.
func (h *handler) ended(err error) error {
	run, s, m := h.run, h.state, h.role.metrics
	h.run = nil
	h.later()
	if err != nil {
		m.Checkpoints.WithLabelValues(checkpointGivenUp).Inc()
		h.lost = h.lost || errors.Is(err, pipeline.ErrFenced)
		return err
	}
	s.safe = run.Marker.Offset
	s.known.passed(s.safe)
	m.Checkpoints.WithLabelValues(checkpointConfirmed).Inc()
	m.CheckpointSeconds.Observe(time.Since(h.begun).Seconds())
	m.CheckpointBytes.Observe(float64(run.Bytes))
	m.CheckpointOffset.WithLabelValues(h.label).Set(float64(s.safe))
	for _, r := range s.detector.ModelRatios() {
		m.ModelRatio.WithLabelValues(h.label, r.Signal).Set(r.Ratio)
	}
	return nil
}

// complete takes the checkpoint at hand to its end.
func (h *handler) complete(ctx context.Context) error {
	if h.run == nil {
		return nil
	}
	return h.ended(h.run.Complete(ctx))
}

// abandon gives up the checkpoint at hand.
func (h *handler) abandon() {
	if h.run == nil {
		return
	}
	if err := h.ended(h.run.Abandon()); err != nil && !errors.Is(err, context.Canceled) {
		h.logger.Warn().Err(err).Msg("checkpoint given up")
	}
}

// Tick sends what the detector has said, and works on checkpoints.
func (h *handler) Tick(ctx context.Context) error {
	if err := h.flush(ctx); err != nil {
		return err
	}
	if err := h.follow(ctx); err != nil {
		return err
	}
	return h.advance(ctx)
}

// Due asks for a flush of what an earlier generation left, for another config, and for
// checkpoints.
func (h *handler) Due() time.Time {
	switch r := h.run; {
	case !h.state.out.Empty(), h.behind():
		return time.Unix(0, 0)
	case r != nil:
		return r.Due()
	case h.state.next > h.state.safe:
		return h.cutAt
	}
	return time.Time{}
}

// Finish sends everything and makes a last checkpoint, so that the next owner has
// nothing to read again.
func (h *handler) Finish(ctx context.Context) error {
	if err := h.flush(ctx); err != nil {
		return err
	}
	if err := h.complete(ctx); err != nil || h.state.next == h.state.safe {
		return err
	}
	if err := h.checkpoint(ctx); err != nil {
		return err
	}
	return h.complete(ctx)
}
