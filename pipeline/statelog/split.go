package statelog

import (
	"context"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Split moves the detector's state to more partitions while nothing runs.
//
// The new number must be a multiple of the old one: then the agents of an old
// partition go to it and to new ones only, each with what its peers have taught,
// and every partition is a piece of one. New partitions are written before the old
// one whose agents they get, so that it can be run again wherever it was
// interrupted.
type Split struct {
	Log pipeline.Log
	// Commit commits an offset of the detect group, and fails while the group has
	// members.
	Commit func(ctx context.Context, tp pipeline.TopicPartition, offset int64) error
	// Alerts are the topics that alerts go to, outputs included.
	Alerts []string
	// Progress, if set, is called when a partition is written.
	Progress func(partition int32, agents int)
	Logger   zerolog.Logger
}

// Run moves the state to as many partitions as TopicActivity has. It returns the
// old number and the new one; they are equal where there was nothing to do.
func (s *Split) Run(ctx context.Context) (from, to int32, err error) {
	if to, err = s.Log.Partitions(ctx, pipeline.TopicActivity); err != nil {
		return 0, 0, fmt.Errorf("split state: %w", err)
	}
	n, err := s.Log.Partitions(ctx, pipeline.TopicBaselines)
	if err != nil {
		return 0, 0, fmt.Errorf("split state: %w", err)
	}
	if n != to {
		return 0, 0, fmt.Errorf("split state: %s has %d partitions and %s has %d: give both the same number first", pipeline.TopicActivity, to, pipeline.TopicBaselines, n)
	}
	states, from, err := s.read(ctx, to)
	if err != nil || from == to {
		return from, to, err
	}
	for p := from; p < to; p++ {
		if states[p%from].Marker.Partitions == to {
			continue // split already, and then all that came from it is written
		}
		if err := s.write(ctx, p, to, states[p%from]); err != nil {
			return from, to, err
		}
	}
	for p := range from {
		if states[p].Marker.Partitions == to {
			continue
		}
		if err := s.write(ctx, p, to, states[p]); err != nil {
			return from, to, err
		}
	}
	return from, to, nil
}

// read reads the old partitions and checks that they may be split.
func (s *Split) read(ctx context.Context, to int32) (states []*Content, from int32, err error) {
	first, err := Read(ctx, s.Log, 0)
	if err != nil {
		return nil, 0, err
	}
	if first.Marker == nil {
		return nil, 0, fmt.Errorf("split state: partition 0: %w", ErrLost)
	}
	// The last of the old partitions is written last: it knows the old number.
	from = first.Marker.Partitions
	for p := range to {
		st, err := Read(ctx, s.Log, p)
		if err != nil {
			return nil, 0, err
		}
		states = append(states, st)
		if st.Marker != nil {
			from = min(from, st.Marker.Partitions)
		}
	}
	if to%from != 0 {
		return nil, 0, fmt.Errorf("split state: %d partitions can't become %d: take a multiple of %d, so that agents only move to new partitions", from, to, from)
	}
	for p := range to {
		if err := s.ready(ctx, p, from, states[p]); err != nil {
			return nil, 0, fmt.Errorf("split state: partition %d: %w", p, err)
		}
	}
	return states, from, nil
}

// ready checks one partition.
func (s *Split) ready(ctx context.Context, p, from int32, st *Content) error {
	tp := pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: p}
	_, end, err := s.Log.Bounds(ctx, tp)
	switch {
	case err != nil:
		return err
	case p >= from && end > 0:
		return fmt.Errorf("%s holds %d events already: events of one agent stand in two partitions; "+
			"route must not run between adding partitions and splitting the state", tp, end)
	case p >= from:
		return nil
	case st.Marker == nil:
		return ErrLost
	case st.Marker.Offset != end:
		return fmt.Errorf("detect is %d records behind: let it catch up and stop it (plumbline state show)", end-st.Marker.Offset)
	}
	return nil
}

// write makes a checkpoint of partition p from its part of an old one's agents.
func (s *Split) write(ctx context.Context, p, to int32, old *Content) error {
	fail := func(err error) error { return fmt.Errorf("split state: partition %d: %w", p, err) }
	input := pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: p}
	_, end, err := s.Log.Bounds(ctx, input)
	if err != nil {
		return fail(err)
	}
	role := &pipeline.Role{Name: "detect", Log: s.Log, Metrics: pipeline.NewMetrics(prometheus.NewRegistry()), Health: pipeline.NewHealth(), Logger: s.Logger}
	owner := NewOwner(role, input, func(offset int64) error {
		err := s.Commit(ctx, input, offset)
		if errors.Is(err, pipeline.ErrGroupActive) {
			return fmt.Errorf("%w: %w", pipeline.ErrFenced, err)
		}
		return err
	}, s.Logger)
	if err := owner.commit(end); err != nil { // also says whether somebody works on it
		return fail(err)
	}
	if _, err := owner.claim(ctx, nil); err != nil {
		return fail(err)
	}
	topics := make([]pipeline.Topic, len(s.Alerts))
	for i, name := range s.Alerts {
		n, err := s.Log.Partitions(ctx, name)
		if err != nil {
			return fail(err)
		}
		topics[i] = pipeline.Topic{Name: name, Partitions: n}
	}
	outputs, err := Ends(ctx, role, topics, s.Logger)
	if err != nil {
		return fail(err)
	}
	m := old.Marker
	c := owner.begin(Marker{
		Offset: end, Partitions: to, Slices: 1, Outputs: outputs,
		ConfigHash: m.ConfigHash, ConfigSince: end, Config: m.Config, DetectorVersion: m.DetectorVersion,
	}, true)
	c.Partition(old.Partition)
	c.entry(entryInput, old.Input)
	agents := 0
	for key, record := range old.Agents {
		if schemas.Partition([]byte(key), to) == p {
			c.Agent(record)
			agents++
		}
	}
	c.full()
	for _, chunk := range c.ready {
		if err := c.append(ctx, chunk); err != nil {
			return fail(err)
		}
	}
	if err := c.confirm(ctx); err != nil {
		return fail(err)
	}
	if s.Progress != nil {
		s.Progress(p, agents)
	}
	return nil
}

// Ends returns the end of every partition of the alert topics (P_out of rule 8, where
// no alert of a dead owner stands before it).
func Ends(ctx context.Context, role *pipeline.Role, topics []pipeline.Topic, logger zerolog.Logger) (map[string][]int64, error) {
	out := make(map[string][]int64, len(topics))
	for _, t := range topics {
		out[t.Name] = make([]int64, t.Partitions)
	}
	err := pipeline.EachPartition(ctx, topics, func(ctx context.Context, tp pipeline.TopicPartition) error {
		_, end, err := role.Bounds(ctx, tp, "looking for alerts that were sent already failed; retrying", logger)
		out[tp.Topic][tp.Partition] = end
		return err
	})
	return out, err
}
