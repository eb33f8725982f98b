package pipeline

import (
	"context"
	"fmt"
	"maps"

	"github.com/plumbline-sec/plumbline/detector"
)

// State is what the log of detector state holds of one partition.
type State struct {
	Marker *StateMarker // of the newest checkpoint; nil: there is none
	Epoch  uint64       // the highest that was claimed
	Start  int64        // of the log
	End    int64
	Agents int
	Bytes  int64 // of all agents and what they share

	fold *stateFold
}

// ReadState reads the state of one partition without claiming it.
func ReadState(ctx context.Context, log Log, partition int32) (*State, error) {
	tp := TopicPartition{TopicBaselines, partition}
	fail := func(err error) error { return fmt.Errorf("read %s/%d: %w", tp.Topic, tp.Partition, err) }
	start, end, err := log.Bounds(ctx, tp)
	if err != nil {
		return nil, fail(err)
	}
	s := &State{Start: start, End: end, fold: newStateFold()}
	for at := start; at < end; {
		got, err := log.Fetch(ctx, tp, at)
		if err != nil {
			return nil, fail(err)
		}
		for i := range got.Records {
			if _, err := s.fold.add(&got.Records[i]); err != nil {
				return nil, fail(err)
			}
		}
		at = got.Next
	}
	if err := s.fold.check(); err != nil {
		return nil, fail(err)
	}
	s.Marker, s.Epoch, s.Agents, s.Bytes = s.fold.marker, s.fold.fence, len(s.fold.agents), int64(len(s.fold.partition))
	for _, record := range s.fold.agents {
		s.Bytes += int64(len(record))
	}
	return s, nil
}

// Restore returns the detector that the newest checkpoint holds, with the default
// config: for looking at, not for going on.
func (s *State) Restore(sink detector.Sink) (*detector.Detector, error) {
	if s.Marker == nil {
		return nil, ErrStateLost
	}
	d, err := detector.RestoreCuts(detector.DefaultConfig(), sink, s.fold.partition, maps.Values(s.fold.agents))
	if err != nil {
		return nil, fmt.Errorf("restore: %w", err)
	}
	return d, nil
}
