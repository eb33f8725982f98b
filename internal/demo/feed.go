package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// batchRecords and batchWait bound what is sent at once: large batches while
// history is loaded, prompt ones while the fleet is live.
const (
	batchRecords = 2000
	batchWait    = 100 * time.Millisecond
)

// feed is what was sent.
type feed struct {
	sent      int64 // events
	said      int64 // registrations
	agentDays map[agentDay]struct{}
	records   []pipeline.Record
	oldest    time.Time // when the first record of the batch came
}

type agentDay struct {
	agent string
	day   int64
}

// register says who the honest agents are, before they act: those that attacks bring along
// are then the ones that nobody knows.
func (d *demo) register(ctx context.Context) error {
	var records []pipeline.Record
	for _, r := range d.fleet.Registrations() {
		records = append(records, pipeline.Record{Key: schemas.AppendKey(nil, r.TenantID, r.AgentID), Value: schemas.AppendRegistration(nil, &r)})
	}
	if err := d.client.Produce(ctx, pipeline.TopicPartition{Topic: d.cfg.Sources[1].Topic}, records); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d.feed.said = int64(len(records))
	return d.caughtUp(ctx)
}

// send plays the whole fleet: history at once, then live at the speed that the
// duration asks for.
func (d *demo) send(ctx context.Context) error {
	topic := d.cfg.Sources[0].Topic
	partitions, err := d.client.Partitions(ctx, topic)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	if partitions != 1 {
		return fmt.Errorf("demo: topic %s has %d partitions; the demo's own has one", topic, partitions)
	}
	tp := pipeline.TopicPartition{Topic: topic}
	_, end := d.fleet.Span()
	live := d.liveFrom()
	pace := simulator.Pace{From: live, Speed: float64(end-live) / float64(d.opt.Duration.Milliseconds())}
	d.feed.agentDays = make(map[agentDay]struct{})
	d.screen.phase("history", d.opt.History)
	var began time.Time
	var ev schemas.Activity
	for d.fleet.Next(&ev) {
		if ev.Time >= live {
			if began.IsZero() {
				if err := d.history(ctx, tp); err != nil {
					return err
				}
				began = time.Now()
			}
			if err := d.pause(ctx, tp, pace.Wait(ev.Time, time.Since(began))); err != nil {
				return err
			}
		}
		d.add(&ev)
		if len(d.feed.records) >= batchRecords || (!began.IsZero() && time.Since(d.feed.oldest) >= batchWait) {
			if err := d.flush(ctx, tp); err != nil {
				return err
			}
		}
	}
	return d.flush(ctx, tp)
}

// history ends the loading of history: it waits until detection has seen it, so
// that the live part is live.
func (d *demo) history(ctx context.Context, tp pipeline.TopicPartition) error {
	if err := d.flush(ctx, tp); err != nil {
		return err
	}
	if err := d.caughtUp(ctx); err != nil {
		return err
	}
	d.watch.goLive()
	d.screen.phase("live", d.opt.Live)
	return nil
}

// caughtUp waits until detection has read what was sent.
func (d *demo) caughtUp(ctx context.Context) error {
	for d.lag() > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// pause waits until it is time for the next event.
func (d *demo) pause(ctx context.Context, tp pipeline.TopicPartition, wait time.Duration) error {
	for wait > 0 {
		step := min(wait, batchWait)
		if wait > batchWait {
			if err := d.flush(ctx, tp); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(step):
		}
		wait -= step
	}
	return nil
}

func (d *demo) add(ev *schemas.Activity) {
	if len(d.feed.records) == 0 {
		d.feed.oldest = time.Now()
	}
	tenant := ev.TenantID
	if tenant == "" {
		tenant = schemas.DefaultTenant
	}
	key := schemas.AppendKey(nil, tenant, ev.AgentID)
	d.feed.records = append(d.feed.records, pipeline.Record{Key: key, Value: simulator.AppendSource(nil, ev)})
	d.feed.agentDays[agentDay{ev.AgentID, int64(ev.Time) / dayMillis}] = struct{}{}
	d.screen.at(ev.Time)
}

func (d *demo) flush(ctx context.Context, tp pipeline.TopicPartition) error {
	if len(d.feed.records) == 0 {
		return nil
	}
	if err := d.client.Produce(ctx, tp, d.feed.records); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d.feed.sent += int64(len(d.feed.records))
	d.feed.records = d.feed.records[:0]
	d.screen.progress(d.feed.sent, d.lag(), d.watch.episodes())
	return nil
}

// lag is how much of what was sent detection has not read yet.
func (d *demo) lag() int64 { return max(0, d.feed.said+d.feed.sent-d.service.Read(app.RoleDetect)) }
