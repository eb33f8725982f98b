package decide

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// take takes a record of a partition.
type take func(pipeline.TopicPartition, *pipeline.Record)

// lookEvery is how often it is looked whether everything is read, and partitionsEvery
// whether topics have more partitions.
const (
	lookEvery       = 200 * time.Millisecond
	partitionsEvery = 30 * time.Second
)

// follower knows how far the topics are read.
type follower struct {
	pipeline.Log
	mu    sync.Mutex
	begun map[string]bool // topics whose partitions are known
	parts map[pipeline.TopicPartition]*progress
	lag   func(tp pipeline.TopicPartition, records int64)
}

type progress struct {
	end     int64 // what was there when reading began
	whole   bool  // that is read
	reached time.Time
}

// Fetch notes how far a partition is read. Who asks for an offset has handled what stands
// before it.
func (f *follower) Fetch(ctx context.Context, tp pipeline.TopicPartition, offset int64) (pipeline.Fetched, error) {
	f.mu.Lock()
	if p := f.parts[tp]; offset >= p.end {
		p.whole = true
	}
	f.mu.Unlock()
	got, err := f.Log.Fetch(ctx, tp, offset)
	if err == nil {
		f.mu.Lock()
		f.parts[tp].reached = time.Now()
		f.mu.Unlock()
		f.lag(tp, max(0, got.HighWatermark-got.Next))
	}
	return got, err
}

// problem says why what is known may not be what was said; "" where it is.
func (f *follower) problem(topics []string, bound time.Duration) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range topics {
		if !f.begun[t] {
			return t + " is not read yet"
		}
	}
	for tp, p := range f.parts {
		switch away := time.Since(p.reached); {
		case !p.whole:
			return tp.String() + " is not read to its end yet"
		case away > bound:
			return tp.String() + " could not be read for " + away.Round(time.Second).String()
		}
	}
	return ""
}

// follow reads all partitions of a topic from their start, until ctx ends.
func (d *Decide) follow(ctx context.Context, topic string, newTake func() (take, error)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ticker := time.NewTicker(partitionsEvery)
	defer ticker.Stop()
	for n := int32(0); ; {
		t, err := d.Topic(ctx, topic)
		if err != nil {
			return // ctx has ended
		}
		for ; n < t.Partitions; n++ {
			tp := pipeline.TopicPartition{Topic: topic, Partition: n}
			take, err := newTake()
			if err != nil {
				d.Logger.Error().Err(err).Str("topic", topic).Msg("the topic can't be read") // the config was checked
				return
			}
			d.follower.mu.Lock()
			d.follower.parts[tp] = &progress{end: math.MaxInt64, reached: time.Now()}
			d.follower.mu.Unlock()
			wg.Go(func() { d.partition(ctx, tp, take) })
		}
		d.follower.mu.Lock()
		d.follower.begun[topic] = true
		d.follower.mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// partition reads a partition from its start until ctx ends.
func (d *Decide) partition(ctx context.Context, tp pipeline.TopicPartition, take take) {
	logger := d.Logger.With().Stringer("partition", tp).Logger()
	lost := d.Metrics.LostRecords.WithLabelValues(d.Name, tp.Topic)
	fetchErrors, records := d.Metrics.FetchErrors.WithLabelValues(d.Name, tp.Topic), d.Metrics.Records.WithLabelValues(d.Name, tp.Topic)
	retry := &pipeline.Retry{What: "read " + tp.String(), Msg: "read failed; retrying", Logger: logger, Count: fetchErrors.Inc}
	offset := int64(-1)
	for ctx.Err() == nil {
		start, end, err := d.Bounds(ctx, tp, "looking up offsets failed; retrying", logger)
		if err != nil {
			return
		}
		switch {
		case offset < 0 && start > 0 && tp.Topic != pipeline.TopicAlerts:
			logger.Warn().Int64("removed", start).Msg("retention has removed registrations: agents that were registered then and not since are unknown here; give the topic retention.ms=-1")
			offset = start
		case offset < start || offset > end: // also of a topic that was made anew
			offset = start
		}
		d.follower.mu.Lock()
		if p := d.follower.parts[tp]; !p.whole {
			p.end = end
		}
		d.follower.mu.Unlock()
		offset, err = pipeline.ReadRange(ctx, d.follower, tp, offset, math.MaxInt64, retry, func(rec *pipeline.Record) error {
			take(tp, rec)
			records.Inc()
			return nil
		})
		var corrupt *pipeline.CorruptError
		switch {
		case ctx.Err() != nil:
			return
		case errors.As(err, &corrupt) && corrupt.Next > offset:
			lost.Add(float64(corrupt.Next - offset))
			logger.Error().Err(err).Int64("offset", offset).Int64("next", corrupt.Next).Msg("DATA LOST: a batch that can't be read is stepped over")
			offset = corrupt.Next
		default:
			fetchErrors.Inc()
			logger.Warn().Err(err).Int64("offset", offset).Msg("read failed; looking up offsets again")
			pause(ctx, time.Second)
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// lagOf shows how far a partition is behind.
func (d *Decide) lagOf(tp pipeline.TopicPartition, records int64) {
	d.Metrics.Lag.WithLabelValues(d.Name, tp.Topic, strconv.Itoa(int(tp.Partition))).Set(float64(records))
}

// look notes whether anything can be decided, and has old episodes forgotten, until ctx ends.
func (d *Decide) look(ctx context.Context) {
	topics := []string{pipeline.TopicAlerts}
	for _, s := range d.cfg.Registrations {
		topics = append(topics, s.Topic)
	}
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for swept := time.Now(); ; {
		problem := d.follower.problem(topics, d.cfg.StaleAfter)
		if before := d.problem.Swap(&problem); *before != problem && (*before == "" || problem == "") {
			if problem == "" {
				d.Logger.Info().Msg("registry and risks are known: deciding")
			} else {
				d.Logger.Error().Str("reason", problem).Bool("permit", d.cfg.Permit).Msg("nothing can be decided: decide.on_error is answered")
			}
		}
		failing := 0.0
		if problem != "" {
			failing = 1
		}
		d.metrics.failing.WithLabelValues().Set(failing)
		if time.Since(swept) > time.Minute {
			swept = time.Now()
			d.registry.forget(swept.Add(-d.cfg.RiskFor))
		}
		agents, risks := d.registry.sizes()
		d.metrics.known.WithLabelValues("registered").Set(float64(agents))
		d.metrics.known.WithLabelValues("at_risk").Set(float64(risks))
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Ready returns nil while it decides, else why it does not.
func (d *Decide) Ready() error {
	if problem := *d.problem.Load(); problem != "" {
		return fmt.Errorf("decide.on_error is answered: %s", problem)
	}
	return nil
}

// Alive returns nil: every wait of the role is bounded.
func (d *Decide) Alive() error { return nil }
