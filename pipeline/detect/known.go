package detect

import (
	"context"
	"errors"
	"sync"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// knownAlerts are the alerts that stand in the output topics already although
// their events are going to be processed again: an earlier owner of the partition
// sent them before it died (rule 6). They are recognised by topic and alert_id,
// and not sent once more.
type knownAlerts struct {
	of map[alertIn]knownAlert
}

type alertIn struct{ topic, id string }

type knownAlert struct {
	at     pipeline.TopicPartition
	offset int64 // the lowest one at which it stands
	source int64 // offset in the activity topic of the event that completed it
}

func (k *knownAlerts) has(topic, id string) bool {
	_, ok := k.of[alertIn{topic, id}]
	return ok
}

// before reports whether the events of all of them stand before an offset.
func (k *knownAlerts) before(offset int64) bool {
	for _, a := range k.of {
		if a.source >= offset {
			return false
		}
	}
	return true
}

// passed forgets the alerts of events before an offset: a checkpoint holds them.
func (k *knownAlerts) passed(offset int64) {
	for in, a := range k.of {
		if a.source < offset {
			delete(k.of, in)
		}
	}
}

// lowest returns where the first known alert of a partition stands, and end if
// there is none (P_out of rule 8).
func (k *knownAlerts) lowest(tp pipeline.TopicPartition, end int64) int64 {
	for _, a := range k.of {
		if a.at == tp {
			end = min(end, a.offset)
		}
	}
	return end
}

// alertTopics are the topics that alerts go to.
func (h *handler) alertTopics() []pipeline.Topic {
	return append([]pipeline.Topic{h.targets[0]}, h.targets[2:]...)
}

// knownAt returns the alerts of events at or behind an offset of this input partition
// that stand in the alert topics behind the offsets of a marker.
func (h *handler) knownAt(ctx context.Context, outputs map[string][]int64, offset int64) (knownAlerts, error) {
	known := knownAlerts{of: make(map[alertIn]knownAlert)}
	var mu sync.Mutex
	err := pipeline.EachPartition(ctx, h.alertTopics(), func(ctx context.Context, tp pipeline.TopicPartition) error {
		return h.sentTo(ctx, tp, outputs[tp.Topic], func(id string, at, source int64) {
			if source < offset {
				return
			}
			in := alertIn{tp.Topic, id}
			mu.Lock()
			defer mu.Unlock()
			if _, again := known.of[in]; !again {
				known.of[in] = knownAlert{tp, at, source}
			}
		})
	})
	return known, err
}

// sent returns the alerts of this input partition that stand in a partition of an
// alert topic behind the last cut.
func (h *handler) sent(ctx context.Context, tp pipeline.TopicPartition) (map[string]bool, error) {
	outputs, ok := h.state.outputs[tp.Topic]
	if !ok {
		return nil, nil //nolint:nilnil // no alerts go there
	}
	ids := make(map[string]bool)
	return ids, h.sentTo(ctx, tp, outputs, func(id string, _, _ int64) { ids[id] = true })
}

// sentTo calls f with every alert of this input partition that stands in a partition
// of an alert topic, from its offset in outputs to the end as it is now.
func (h *handler) sentTo(ctx context.Context, tp pipeline.TopicPartition, outputs []int64, f func(id string, at, source int64)) error {
	const failed = "looking for alerts that were sent already failed; retrying"
	start, end, err := h.role.Bounds(ctx, tp, failed, h.logger)
	if err != nil {
		return err
	}
	from := int64(0) // of a partition that was added since
	if int(tp.Partition) < len(outputs) {
		from = outputs[tp.Partition]
	}
	if from < start {
		h.logger.Warn().Str("topic", tp.Topic).Int32("partition", tp.Partition).Int64("from", from).Int64("log_start", start).
			Msg("retention removed alerts before they could be recognised: some may be sent a second time, with the same alert_id; raise the topic's retention")
		from = start
	}
	retry := pipeline.Retry{What: "read " + tp.String(), Msg: failed, Health: h.role.Health, Logger: h.logger}
	return retry.Until(ctx, func() error {
		for {
			var err error
			from, err = pipeline.ReadRange(ctx, h.role.Log, tp, from, end, &retry, func(rec *pipeline.Record) error {
				id := rec.Header(pipeline.HeaderAlertID)
				if source, ok := pipeline.ParsePlace(rec.Header(pipeline.HeaderSource)); ok && source.Partition == h.partition && id != nil {
					f(string(id), rec.Offset, source.Offset)
				}
				return nil
			})
			var corrupt *pipeline.CorruptError
			switch {
			case errors.Is(err, pipeline.ErrOffsetOutOfRange):
				if from, end, err = h.role.Bounds(ctx, tp, failed, h.logger); err != nil {
					return err
				}
			case errors.As(err, &corrupt) && corrupt.Next > from:
				from = corrupt.Next // what can't be read can't be recognised
			default:
				return err
			}
		}
	})
}
