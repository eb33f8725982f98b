package pipeline

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
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

// Fingerprint is a hash of the records of the partition and of its agents, as they
// stand in the log: no config takes part. The same events give the same one, unless
// records are still of an older release.
func (s *State) Fingerprint() string {
	sum := sha256.New()
	add := func(record []byte) {
		_, _ = sum.Write(binary.AppendUvarint(nil, uint64(len(record))))
		_, _ = sum.Write(record)
	}
	add(s.fold.partition)
	for _, key := range slices.Sorted(maps.Keys(s.fold.agents)) {
		add(s.fold.agents[key])
	}
	return hex.EncodeToString(sum.Sum(nil)[:8])
}

// Partition returns the record of what the agents share.
func (s *State) Partition() []byte { return s.fold.partition }

// Agent returns the record of an agent; nil: there is no such agent.
func (s *State) Agent(tenantID, agentID string) []byte {
	return s.fold.agents[agentKey(tenantID, agentID)]
}

// Check says whether a detector can go on from the newest checkpoint, and what its
// clock is then.
func (s *State) Check() (watermark schemas.Millis, err error) {
	if s.Marker == nil {
		return 0, ErrStateLost
	}
	// What the config says makes no difference to what can be read.
	d, err := detector.RestoreCuts(detector.DefaultConfig(), unheard{}, s.fold.partition, maps.Values(s.fold.agents))
	if err != nil {
		return 0, err
	}
	return d.Stats().Watermark, nil
}

// unheard is the sink of a detector that is only looked at.
type unheard struct{}

// Alert implements detector.Sink.
func (unheard) Alert(*schemas.Alert) {}

// Window implements detector.Sink.
func (unheard) Window(*schemas.Window) {}
