package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/plumbline-sec/plumbline/detector"
)

// takeOver takes the partition over: it claims the log of state, restores from it
// unless the state in memory is still right, and proves that it may (rules 2 to 6).
func (h *detectHandler) takeOver(ctx context.Context, gen Generation, a Assignment, warm *detectState) error {
	d := h.role
	started := time.Now()
	owner := &stateOwner{
		log: d.log, input: a.TopicPartition, tp: TopicPartition{TopicBaselines, a.Partition},
		commit:  func(offset int64) error { return gen.Commit(a.TopicPartition, offset) },
		metrics: d.metrics, health: d.health, logger: h.logger,
	}
	if err := h.samePartitions(ctx); err != nil {
		return err
	}
	var before *stateOwner
	if warm != nil {
		before = warm.owner
	}
	fold, err := owner.claim(ctx, before)
	if errors.Is(err, ErrStateLost) && fold != nil && d.cfg.FreshOnLostState {
		h.logger.Error().Err(err).Msg("detector state is incomplete, and detector.on_lost_state says fresh")
		fold, err = newStateFold(), nil
	}
	if errors.Is(err, ErrStateLost) {
		err = fmt.Errorf("%w. %s", err, adviceLost)
	}
	if err != nil {
		return err
	}
	if fold == nil {
		h.state = warm
		h.state.owner, h.state.handler = owner, h
		return h.legitimate(ctx, a)
	}
	if err := h.restore(ctx, a, owner, fold); err != nil {
		return err
	}
	if err := h.legitimate(ctx, a); err != nil {
		return err
	}
	if fold.marker == nil {
		// The initial marker, before the first event.
		if err := h.begin(ctx); err != nil {
			return err
		}
		return h.drive(ctx)
	}
	scan := outputScan{d.log, d.health, h.logger}
	h.state.outputs = fold.marker.Outputs
	if h.state.known, err = scan.scan(ctx, h.alertTargets(), fold.marker.Outputs, h.partition, h.state.safe); err != nil {
		return err
	}
	took := time.Since(started)
	d.metrics.RestoreSeconds.Observe(took.Seconds())
	h.logger.Info().Int64("offset", h.state.next).Int("agents", h.state.detector.Stats().Agents).Stringer("took", took.Round(time.Microsecond)).
		Int("alerts_sent_before", len(h.state.known.of)).Str("config_hash", fold.marker.ConfigHash).Msg("baselines restored")
	return nil
}

const adviceLost = "To give the baselines of this partition up and learn anew, set detector.on_lost_state: fresh for one start; " +
	"where records of the topic can't be read, delete the topic " + TopicBaselines + " before that. Events and stored rows are not affected"

// samePartitions refuses to work where state and input are divided differently
// (rule 12).
func (h *detectHandler) samePartitions(ctx context.Context) error {
	input, err := h.role.partitionsOf(ctx, TopicActivity)
	if err != nil {
		return err
	}
	state, err := h.role.partitionsOf(ctx, TopicBaselines)
	if err != nil {
		return err
	}
	h.partitions = input
	if input != state {
		return fmt.Errorf("%s has %d partitions and %s has %d: agents would be held against the baselines of others. %s",
			TopicActivity, input, TopicBaselines, state, advicePartitions)
	}
	return nil
}

const advicePartitions = "Where partitions were added, stop every instance and run `plumbline state split`; or delete the topic " + TopicBaselines +
	", set detector.on_lost_state: fresh for one start, and let baselines be learnt anew"

// restore makes the state that the log comes to.
func (h *detectHandler) restore(ctx context.Context, a Assignment, owner *stateOwner, fold *stateFold) error {
	d, m := h.role, fold.marker
	s := &detectState{routed: fold.routed, owner: owner, handler: h, out: newOutbox(d.log, d.metrics, d.health, h.logger)}
	h.state = s
	s.out.sent = func(ctx context.Context, tp TopicPartition) (map[string]bool, error) { return s.handler.sent(ctx, tp) }
	at := a
	switch {
	case m != nil && m.Partitions != h.partitions:
		return fmt.Errorf("the detector state is of a topic with %d partitions, %s has %d. %s", m.Partitions, TopicActivity, h.partitions, advicePartitions)
	case m != nil:
		at.Offset, at.Committed = m.Offset, true
	case a.Committed && a.Offset > 0 && !d.cfg.FreshOnLostState:
		return fmt.Errorf("%w: events up to offset %d were processed, and %s/%d holds no checkpoint. %s", ErrStateLost, a.Offset, TopicBaselines, a.Partition, adviceLost)
	case a.Committed && a.Offset > 0:
		d.metrics.StateLost.Inc()
		h.logger.Warn().Int64("offset", a.Offset).
			Msg("BASELINES START ANEW: there is no checkpoint, and detector.on_lost_state says fresh; agents are judged like new ones until they are known again")
	}
	start, err := d.startOffset(ctx, at, h.logger)
	if err != nil && m != nil && ctx.Err() == nil {
		return fmt.Errorf("%w; the detector state is of the old topic too. %s", err, adviceLost)
	}
	if err != nil {
		return err
	}
	s.next, s.safe = start, start
	if m == nil {
		s.detector, err = detector.New(d.cfg.Detector, s)
	} else {
		s.detector, err = detector.RestoreCuts(d.cfg.Detector, s, fold.partition, maps.Values(fold.agents))
	}
	if err != nil {
		return fmt.Errorf("%w: %w. %s", ErrStateLost, err, adviceLost)
	}
	s.stats = s.detector.Stats() // what was counted before is not counted again
	return nil
}

// legitimate has the coordinator accept a commit of this generation before
// anything but the claim is written (rule 4).
func (h *detectHandler) legitimate(ctx context.Context, a Assignment) error {
	standing := a.Offset
	if !a.Committed {
		standing = h.state.safe
	}
	return h.state.owner.accepted(ctx, standing)
}

// sent returns the alerts of this input partition that stand in a partition of an
// alert topic behind the last cut.
func (h *detectHandler) sent(ctx context.Context, tp TopicPartition) (map[string]bool, error) {
	of, ok := h.state.outputs[tp.Topic]
	if !ok {
		return nil, nil //nolint:nilnil // no alerts go there
	}
	from := int64(0) // of a partition that was added since
	if int(tp.Partition) < len(of) {
		from = of[tp.Partition]
	}
	ids := make(map[string]bool)
	scan := outputScan{h.role.log, h.role.health, h.logger}
	err := scan.partition(ctx, tp, from, func(rec *Record) {
		if p, _, ok := parseSource(header(rec, HeaderSource)); ok && p == h.partition {
			ids[string(header(rec, HeaderAlertID))] = true
		}
	})
	return ids, err
}

// alertTargets are the topics that alerts go to.
func (h *detectHandler) alertTargets() []target {
	return append([]target{h.targets[0]}, h.targets[2:]...)
}
