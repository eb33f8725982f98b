package decide

import (
	"context"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Bounds of the log of decisions.
const (
	maxWaiting  = 16 << 10
	maxBatch    = 2000
	logEvery    = 100 * time.Millisecond
	logFor      = 30 * time.Second // a batch that is not acknowledged by then is dropped
	logStopFor  = 3 * time.Second
	maxIDLogged = 128
)

// decisionLog writes decisions down, away from those who wait for answers.
type decisionLog struct {
	of      *Decide
	waiting chan pipeline.Record
}

func newDecisionLog(d *Decide) *decisionLog {
	return &decisionLog{of: d, waiting: make(chan pipeline.Record, maxWaiting)}
}

// add takes a decision, or drops it where the log is full.
func (l *decisionLog) add(a *answer, api, requestID string) {
	if l.of.cfg.LogTopic == "" {
		return
	}
	ev := &a.event
	b := append(l.appendHead(nil, a, api, requestID), `"event":`...)
	b = append(schemas.AppendActivity(b, ev), '}')
	select {
	case l.waiting <- pipeline.Record{Key: schemas.AppendKey(nil, ev.TenantID, ev.AgentID), Value: b}:
	default:
		l.of.metrics.dropped.WithLabelValues().Inc()
	}
}

func (l *decisionLog) appendHead(b []byte, a *answer, api, requestID string) []byte {
	b = append(a.event.Time.AppendRFC3339(append(b, `{"time":"`...)), `","decision":"`...)
	b = append(append(append(b, a.result()...), `","api":"`...), api...)
	b = append(b, `",`...)
	if requestID != "" {
		b = append(schemas.AppendString(append(b, `"request_id":`...), requestID[:min(len(requestID), maxIDLogged)]), ',')
	}
	return append(l.of.appendReasons(b, a), ',')
}

// run writes until ctx ends, and then what still waits.
func (l *decisionLog) run(ctx context.Context) {
	if l.of.cfg.LogTopic == "" {
		return
	}
	topic, err := l.of.Topic(ctx, l.of.cfg.LogTopic)
	if err != nil {
		l.of.metrics.dropped.WithLabelValues().Add(float64(len(l.waiting)))
		return // ctx has ended
	}
	ticker := time.NewTicker(logEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			rest, cancel := context.WithTimeout(context.WithoutCancel(ctx), logStopFor)
			defer cancel()
			for len(l.waiting) > 0 {
				l.write(rest, topic)
			}
			return
		case <-ticker.C:
			for len(l.waiting) > 0 && ctx.Err() == nil {
				l.write(ctx, topic)
			}
		}
	}
}

// write sends what waits, at most a batch.
func (l *decisionLog) write(ctx context.Context, topic pipeline.Topic) {
	ctx, cancel := context.WithTimeout(ctx, logFor)
	defer cancel()
	batches := map[pipeline.TopicPartition][]pipeline.Record{}
	for range min(len(l.waiting), maxBatch) {
		rec := <-l.waiting
		tp := topic.Of(rec.Key)
		batches[tp] = append(batches[tp], rec)
	}
	for tp, records := range batches {
		retry := pipeline.Retry{
			Msg: "decisions could not be written down; retrying", Logger: l.of.Logger,
			Count: l.of.Metrics.ProduceErrors.WithLabelValues(topic.Name).Inc,
		}
		if err := retry.Until(ctx, func() error { return l.of.Log.Produce(ctx, tp, records) }); err != nil {
			l.of.metrics.dropped.WithLabelValues().Add(float64(len(records)))
		}
	}
}
