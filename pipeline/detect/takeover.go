package detect

import (
	"context"
	"maps"
	"time"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/statelog"
	"github.com/plumbline-sec/plumbline/schemas"
)

// takeOver takes the partition over: it claims the log of state, restores from it
// unless the state in memory is still right, and proves that it may (rules 2 to 6).
func (h *handler) takeOver(ctx context.Context, gen pipeline.Generation, a pipeline.Assignment, warm *state) error {
	d := h.role
	started := time.Now()
	owner := statelog.NewOwner(&d.Role, a.TopicPartition, func(offset int64) error { return gen.Commit(a.TopicPartition, offset) }, h.logger)
	var before *statelog.Owner
	if warm != nil {
		before = warm.owner
	}
	content, start, err := owner.Recover(ctx, a, before, d.cfg.FreshOnLostState)
	if err != nil {
		return err
	}
	if content == nil {
		h.state = warm
		h.state.owner, h.state.handler = owner, h
		return h.legitimate(ctx, a)
	}
	h.state = &state{owner: owner, handler: h, out: pipeline.NewOutbox(&d.Role), next: start, safe: start}
	h.state.out.Sent = h.state.sent
	m := content.Marker
	h.state.verdict, h.state.since = d.inForce(m, start, h.logger)
	if m == nil && a.Committed && a.Offset > 0 {
		d.metrics.StateLost.Inc()
		h.logger.Warn().Int64("offset", a.Offset).
			Msg("BASELINES START ANEW: there is no checkpoint, and detector.on_lost_state says fresh; agents are judged like new ones until they are known again")
	}
	if h.state.detector, h.state.routed, err = restore(h.state.verdict.cfg, h.state, content); err != nil {
		return statelog.Lost(err)
	}
	h.state.stats = h.state.detector.Stats() // what was counted before is not counted again
	if err := h.legitimate(ctx, a); err != nil {
		return err
	}
	if m == nil {
		// The initial marker, before the first event.
		if err := h.checkpoint(ctx); err != nil {
			return err
		}
		return h.complete(ctx)
	}
	h.state.outputs = m.Outputs
	if h.state.known, err = h.knownAt(ctx, m.Outputs, h.state.safe); err != nil {
		return err
	}
	took := time.Since(started)
	d.metrics.RestoreSeconds.Observe(took.Seconds())
	h.logger.Info().Int64("offset", h.state.next).Int("agents", h.state.detector.Stats().Agents).Stringer("took", took.Round(time.Microsecond)).
		Int("alerts_sent_before", len(h.state.known.of)).Str("config_hash", h.state.verdict.cfg.Hash).Int64("config_since", h.state.since).Msg("baselines restored")
	return nil
}

// restore makes the detector of what the log comes to, and where every source
// partition stands.
func restore(cfg detector.Config, sink detector.Sink, c *statelog.Content) (*detector.Detector, map[string]position, error) {
	if c.Marker == nil {
		d, err := detector.New(cfg, sink)
		return d, make(map[string]position), err
	}
	routed, err := parseRouted(c.Input)
	if err != nil {
		return nil, nil, err
	}
	d, err := detector.RestoreCuts(cfg, sink, c.Partition, maps.Values(c.Agents))
	return d, routed, err
}

// Check says whether detect can go on from the newest checkpoint of a partition, and
// what its clock is then.
func Check(c *statelog.Content) (watermark schemas.Millis, err error) {
	if c.Marker == nil {
		return 0, statelog.ErrLost
	}
	// What the config says makes no difference to what can be read, and nothing is heard.
	d, _, err := restore(detector.DefaultConfig(), &state{}, c)
	if err != nil {
		return 0, err
	}
	return d.Stats().Watermark, nil
}

// legitimate has the coordinator accept a commit of this generation before
// anything but the claim is written (rule 4).
func (h *handler) legitimate(ctx context.Context, a pipeline.Assignment) error {
	standing := a.Offset
	if !a.Committed {
		standing = h.state.safe
	}
	return h.state.owner.Accepted(ctx, standing)
}
