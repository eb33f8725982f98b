package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// StateSplit moves the detector's state to more partitions while nothing runs.
//
// The new number must be a multiple of the old one: then the agents of an old
// partition go to it and to new ones only, each with what its peers have taught,
// and every partition is a piece of one. New partitions are written before the old
// one whose agents they get, so that it can be run again wherever it was
// interrupted.
type StateSplit struct {
	Log Log
	// Commit commits an offset of the detect group, and fails while the group has
	// members.
	Commit func(ctx context.Context, tp TopicPartition, offset int64) error
	// Alerts are the topics that alerts go to, outputs included.
	Alerts []string
	// Progress, if set, is called when a partition is written.
	Progress func(partition int32, agents int)
	Logger   zerolog.Logger
}

// Run moves the state to as many partitions as TopicActivity has. It returns the
// old number and the new one; they are equal where there was nothing to do.
func (s *StateSplit) Run(ctx context.Context) (from, to int32, err error) {
	if to, err = s.Log.Partitions(ctx, TopicActivity); err != nil {
		return 0, 0, fmt.Errorf("split state: %w", err)
	}
	n, err := s.Log.Partitions(ctx, TopicBaselines)
	if err != nil {
		return 0, 0, fmt.Errorf("split state: %w", err)
	}
	if n != to {
		return 0, 0, fmt.Errorf("split state: %s has %d partitions and %s has %d: give both the same number first", TopicActivity, to, TopicBaselines, n)
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
func (s *StateSplit) read(ctx context.Context, to int32) (states []*State, from int32, err error) {
	first, err := ReadState(ctx, s.Log, 0)
	if err != nil {
		return nil, 0, err
	}
	if first.Marker == nil {
		return nil, 0, fmt.Errorf("split state: partition 0: %w", ErrStateLost)
	}
	// The last of the old partitions is written last: it knows the old number.
	from = first.Marker.Partitions
	for p := range to {
		st, err := ReadState(ctx, s.Log, p)
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
func (s *StateSplit) ready(ctx context.Context, p, from int32, st *State) error {
	tp := TopicPartition{TopicActivity, p}
	_, end, err := s.Log.Bounds(ctx, tp)
	switch {
	case err != nil:
		return err
	case p >= from && end > 0:
		return fmt.Errorf("%s/%d holds %d events already: events of one agent stand in two partitions; "+
			"route must not run between adding partitions and splitting the state", tp.Topic, tp.Partition, end)
	case p >= from:
		return nil
	case st.Marker == nil:
		return ErrStateLost
	case st.Marker.Offset != end:
		return fmt.Errorf("detect is %d records behind: let it catch up and stop it (plumbline state show)", end-st.Marker.Offset)
	}
	return nil
}

// write makes a checkpoint of partition p from its part of an old one's agents.
func (s *StateSplit) write(ctx context.Context, p, to int32, old *State) error {
	fail := func(err error) error { return fmt.Errorf("split state: partition %d: %w", p, err) }
	input := TopicPartition{TopicActivity, p}
	_, end, err := s.Log.Bounds(ctx, input)
	if err != nil {
		return fail(err)
	}
	owner := &stateOwner{
		log: s.Log, input: input, tp: TopicPartition{TopicBaselines, p},
		commit: func(offset int64) error {
			err := s.Commit(ctx, input, offset)
			if errors.Is(err, ErrGroupActive) {
				return fmt.Errorf("%w: %w", ErrFenced, err)
			}
			return err
		},
		health: NewHealth(), metrics: newUnregistered(), logger: s.Logger,
	}
	if err := owner.commit(end); err != nil { // also says whether somebody works on it
		return fail(err)
	}
	if _, err := owner.claim(ctx, nil); err != nil {
		return fail(err)
	}
	outputs, err := s.outputs(ctx)
	if err != nil {
		return fail(err)
	}
	m := old.Marker
	cp := owner.begin(StateMarker{
		Offset: end, Partitions: to, Slices: 1, Outputs: outputs,
		ConfigHash: m.ConfigHash, DetectorVersion: m.DetectorVersion, Snapshot: detector.RecordFormat,
	}, true)
	r := &checkpointRun{cp: cp}
	r.Partition(old.fold.partition)
	r.entry(entryRoute, appendRouted(nil, old.fold.routed))
	agents := 0
	for key, record := range old.fold.agents {
		if schemas.Partition([]byte(key), to) == p {
			r.Agent(record)
			agents++
		}
	}
	r.full()
	for _, chunk := range r.ready {
		if err := cp.chunk(ctx, chunk); err != nil {
			return fail(err)
		}
	}
	if err := cp.confirm(ctx); err != nil {
		return fail(err)
	}
	if s.Progress != nil {
		s.Progress(p, agents)
	}
	return nil
}

func (s *StateSplit) outputs(ctx context.Context) (map[string][]int64, error) {
	var targets []target
	for _, topic := range s.Alerts {
		n, err := s.Log.Partitions(ctx, topic)
		if err != nil {
			return nil, err
		}
		targets = append(targets, target{topic, n})
	}
	scan := outputScan{s.Log, NewHealth(), s.Logger}
	return scan.ends(ctx, targets)
}

// ErrGroupActive says that a group has members, so that its offsets are not for
// others to commit.
var ErrGroupActive = errors.New("the consumer group has members: stop every instance first")
