package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
)

// latency is how long alerts took at one rate. Times are those of the broker's
// append, in milliseconds.
type latency struct {
	Roles    string  `json:"roles"`
	Offered  float64 `json:"offered_per_second"`
	Achieved float64 `json:"achieved_per_second"`
	Seconds  float64 `json:"seconds"`
	Alerts   int     `json:"alerts"`

	FromSource   quantiles `json:"source_record_to_alert_ms"`
	FromActivity quantiles `json:"activity_record_to_alert_ms"`
	// The service's own histogram: the bucket that holds its 99th percentile, from
	// the activity record to the acknowledgement of the alert.
	OwnP99 float64 `json:"own_histogram_p99_at_most_ms"`
	// CatchUp is how long after the last event everything was detected.
	CatchUp float64 `json:"catch_up_seconds"`
}

type quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

func quantilesOf(x []float64) quantiles {
	if len(x) == 0 {
		return quantiles{}
	}
	s := slices.Sorted(slices.Values(x))
	at := func(q float64) float64 { return s[min(len(s)-1, int(math.Ceil(q*float64(len(s))))-1)] }
	return quantiles{P50: at(.5), P99: at(.99), Max: s[len(s)-1]}
}

// latencyBudget makes alerts more common than the default does, since a percentile
// wants many, and not so common that they are what is measured.
const latencyBudget = .5

func (b *runner) latency(ctx context.Context) error {
	for _, roles := range b.scale.latencyRoles {
		if err := b.latencyOf(ctx, roles); err != nil {
			return fmt.Errorf("roles %s: %w", roles, err)
		}
	}
	return nil
}

// latencyOf runs one service and offers it one rate after the other.
func (b *runner) latencyOf(ctx context.Context, roles string) (err error) {
	at, err := b.newSite(ctx)
	if err != nil {
		return err
	}
	defer at.close()
	fleet := recent(2000, 5)
	fleet.Kinds, fleet.Count, fleet.Window = simulator.Kinds(), 400, 4*24*time.Hour
	f, err := startFeed(ctx, b.exe, feedOptions{Fleet: fleet})
	if err != nil {
		return err
	}
	defer f.stop()
	b.progress("latency, %s: %s events to learn from", roles, thousands(b.scale.latencyWarm))
	if err := preload(ctx, at.client, f, b.scale.latencyWarm); err != nil {
		return err
	}
	s, err := b.startService(ctx, serviceOptions{dir: at.dir, kafka: at.addr, roles: roles, budget: latencyBudget})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := caughtUp(ctx, s, b.scale.latencyWarm); err != nil {
		return err
	}
	// The client of the preload may not know the topics yet that the service made.
	client, err := kafkaClient(at.addr)
	if err != nil {
		return err
	}
	defer client.Close() //nolint:errcheck // nothing is under way
	for _, rate := range []float64{10_000, 50_000} {
		b.progress("latency, %s: %s events/s for %v", roles, thousands(int(rate)), b.scale.latency)
		l, err := b.offer(ctx, s, client, f, rate)
		if err != nil {
			return err
		}
		l.Roles = roles
		b.page.Latency = append(b.page.Latency, *l)
	}
	return nil
}

// caughtUp waits until n events in all are routed and detected.
func caughtUp(ctx context.Context, s *service, n int) error {
	return s.eventually(ctx, 5*time.Minute, fmt.Sprintf("for %d events to be detected", n), func() (bool, error) {
		m, err := s.metrics(ctx)
		if err != nil {
			return false, err
		}
		route, detect := [2]string{"role", "route"}, [2]string{"role", "detect"}
		routed, seen := m.sum("plumbline_events_total"), m.sum("plumbline_records_total", detect, [2]string{"topic", pipeline.TopicActivity})
		lag := m.sum("plumbline_lag_records", route) + m.sum("plumbline_lag_records", detect)
		return routed >= float64(n) && seen >= float64(n) && lag == 0, nil
	})
}

// offer sends events at a rate and measures the alerts that follow.
func (b *runner) offer(ctx context.Context, s *service, client *kafka.Client, f *feed, rate float64) (*latency, error) {
	var from [3]int64
	topics := [3]string{sourceTopic, pipeline.TopicActivity, pipeline.TopicAlerts}
	for i, topic := range topics {
		var err error
		if _, from[i], err = client.Bounds(ctx, pipeline.TopicPartition{Topic: topic}); err != nil {
			return nil, err
		}
	}
	before, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	// The events are made before, so that the generator takes nothing of the machine.
	c, err := newCorpus(int(rate * b.scale.latency.Seconds()))
	if err != nil {
		return nil, err
	}
	defer c.free()
	if err := c.fill(f, cap(c.recs)); err != nil {
		return nil, err
	}
	l := &latency{Offered: rate}
	elapsed, err := pace(ctx, client, c, rate)
	if err != nil {
		return nil, err
	}
	l.Seconds, l.Achieved = elapsed.Seconds(), float64(c.len())/elapsed.Seconds()
	end := time.Now()
	if err := caughtUp(ctx, s, int(before.sum("plumbline_events_total"))+c.len()); err != nil {
		return nil, err
	}
	l.CatchUp = time.Since(end).Seconds()
	after, err := s.metrics(ctx)
	if err != nil {
		return nil, err
	}
	l.OwnP99 = 1000 * bench.Bound(before.histogram(alertLatency), after.histogram(alertLatency), .99)
	return l, l.join(ctx, client, from)
}

// pace sends what is due every few milliseconds, until everything is sent.
func pace(ctx context.Context, client *kafka.Client, c *corpus, rate float64) (time.Duration, error) {
	const beat = 5 * time.Millisecond
	tick := time.NewTicker(beat)
	defer tick.Stop()
	begin := time.Now()
	for sent := 0; sent < c.len(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
		due := min(int(rate*time.Since(begin).Seconds()), c.len())
		if due <= sent {
			continue
		}
		if err := send(ctx, client, c, sent, due); err != nil {
			return 0, err
		}
		sent = due
	}
	return time.Since(begin), nil
}

// join finds the records that alerts name and compares times: from holds the ends
// of the source, activity and alert topics before the events were sent.
func (l *latency) join(ctx context.Context, client *kafka.Client, from [3]int64) error {
	var source, activity, origin []int64
	err := stack.Read(ctx, client, pipeline.TopicPartition{Topic: sourceTopic}, from[0], func(r *pipeline.Record) error {
		source = append(source, int64(r.Time))
		return nil
	})
	if err != nil {
		return err
	}
	err = stack.Read(ctx, client, pipeline.TopicPartition{Topic: pipeline.TopicActivity}, from[1], func(r *pipeline.Record) error {
		if r.Header(schemas.RecordHeader) != nil {
			activity, origin = append(activity, int64(r.Time)), append(origin, -1)
			return nil
		}
		o, err := schemas.ParseOrigin(r.Header(schemas.OriginHeader))
		activity, origin = append(activity, int64(r.Time)), append(origin, o.Offset)
		return err
	})
	if err != nil {
		return err
	}
	var fromSource, fromActivity []float64
	err = stack.Read(ctx, client, pipeline.TopicPartition{Topic: pipeline.TopicAlerts}, from[2], func(r *pipeline.Record) error {
		_, text, _ := strings.Cut(string(r.Header(pipeline.HeaderSource)), "/")
		offset, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("header %s: %w", pipeline.HeaderSource, err)
		}
		i := offset - from[1]
		if i < 0 || i >= int64(len(activity)) || origin[i]-from[0] < 0 || origin[i]-from[0] >= int64(len(source)) {
			return nil // of an event from before
		}
		fromActivity = append(fromActivity, float64(int64(r.Time)-activity[i]))
		fromSource = append(fromSource, float64(int64(r.Time)-source[origin[i]-from[0]]))
		return nil
	})
	l.Alerts, l.FromActivity, l.FromSource = len(fromSource), quantilesOf(fromActivity), quantilesOf(fromSource)
	return err
}

// alertLatency is the service's own histogram.
const alertLatency = "plumbline_alert_latency_seconds"
