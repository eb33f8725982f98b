package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"
	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

// endToEnd is the whole service: events wait in the source topic, all roles run,
// until the view holds every event and every alert.
type endToEnd struct {
	Name   string `json:"name"`
	Events int    `json:"events"`
	Stored int    `json:"events_in_the_view"`
	Alerts int    `json:"alerts_in_the_view"`
	Window int    `json:"windows_inserted"`

	// CPU time an event, in nanoseconds. Broker is 0 where it runs in the service.
	ServiceNanos float64 `json:"service_cpu_ns"`
	BrokerNanos  float64 `json:"broker_cpu_ns"`
	EngineNanos  float64 `json:"engine_cpu_ns"`
	PerSecond    float64 `json:"per_second_per_core"` // of the service alone

	Startup    float64 `json:"startup_cpu_seconds"` // not part of the above
	Seconds    float64 `json:"seconds"`             // wall clock, shared with broker and engine
	PeakMemory float64 `json:"peak_resident_bytes"`
}

// recent is a fleet whose time has just passed, so that nothing is clamped and
// nothing old.
func recent(agents, days int) simulator.Options {
	today := time.Now().UTC().Truncate(24 * time.Hour)
	return simulator.Options{Agents: agents, Days: days, Seed: 3, Start: today.AddDate(0, 0, -days)}
}

// kafkaClient connects as the service does.
func kafkaClient(addr string) (*kafka.Client, error) {
	return kafka.New(kafka.Config{Brokers: []string{addr}}, zerolog.Nop())
}

// preload writes the next n events of the feed into the source topic, which it
// creates where it is missing.
func preload(ctx context.Context, client *kafka.Client, f *feed, n int) error {
	if err := client.EnsureTopics(ctx, []kafka.TopicSpec{{Name: sourceTopic, Partitions: 1, Foreign: true}}); err != nil {
		return err
	}
	c, err := newCorpus(2000)
	if err != nil {
		return err
	}
	defer c.free()
	for n > 0 {
		if err := c.fill(f, min(n, 1200)); err != nil {
			return err
		}
		if err := send(ctx, client, c, 0, c.len()); err != nil {
			return err
		}
		n -= c.len()
	}
	return nil
}

// send appends the records of a corpus from one index to before another to the
// source topic.
func send(ctx context.Context, client *kafka.Client, c *corpus, from, to int) error {
	records := make([]pipeline.Record, 0, to-from)
	for i := from; i < to; i++ {
		records = append(records, pipeline.Record{Key: c.key(i), Value: c.value(i)})
	}
	return client.Produce(ctx, pipeline.TopicPartition{Topic: sourceTopic}, records)
}

// site is a directory with a broker of its own process on it.
type site struct {
	dir    string
	broker *process
	client *kafka.Client
	addr   string
}

func (b *runner) newSite(ctx context.Context) (*site, error) {
	dir, err := os.MkdirTemp(b.tmp, "site-")
	if err != nil {
		return nil, fmt.Errorf("site: %w", err)
	}
	s := &site{dir: dir}
	if s.broker, s.addr, err = spawn(ctx, b.exe, childBroker, filepath.Join(dir, app.KafkaDir)); err != nil {
		return nil, err
	}
	s.client, err = kafkaClient(s.addr)
	return s, err
}

// close ends the broker and removes everything.
func (s *site) close() {
	s.stopBroker()
	_ = os.RemoveAll(s.dir)
}

func (s *site) stopBroker() {
	if s.client != nil {
		_ = s.client.Close()
		s.client = nil
	}
	if s.broker != nil {
		_ = s.broker.stop()
		s.broker = nil
	}
}

func (b *runner) endToEnd(ctx context.Context) error {
	for _, embedded := range []bool{false, true} {
		if err := b.wholeService(ctx, embedded, false); err != nil {
			return err
		}
	}
	return b.wholeService(ctx, false, true)
}

// wholeService lets the service work off a topic; with profile it is profiled
// meanwhile, and not counted.
func (b *runner) wholeService(ctx context.Context, embedded, profile bool) error {
	e := endToEnd{Name: "broker in another process", Events: b.scale.endToEnd}
	if embedded {
		e.Name = "broker in the same process"
	}
	b.progress("end to end, %s: filling the source topic with %s events", e.Name, thousands(e.Events))
	at, err := b.newSite(ctx)
	if err != nil {
		return err
	}
	defer at.close()
	f, err := startFeed(ctx, b.exe, feedOptions{Fleet: recent(10_000, 2)})
	if err != nil {
		return err
	}
	err = preload(ctx, at.client, f, e.Events)
	f.stop()
	if err != nil {
		return err
	}
	if embedded {
		at.stopBroker()
		at.addr = ""
	}
	b.progress("end to end, %s: the service works", e.Name)
	s, err := b.startService(ctx, serviceOptions{dir: at.dir, kafka: at.addr, pprof: profile})
	if err != nil {
		return err
	}
	if profile {
		err = b.profileService(ctx, s)
	} else {
		err = e.follow(ctx, s, at)
	}
	if stopErr := s.stop(); err == nil {
		err = stopErr
	}
	if err == nil && !profile {
		b.page.EndToEnd = append(b.page.EndToEnd, e)
	}
	return err
}

// follow waits until everything is in the views and takes the figures.
func (e *endToEnd) follow(ctx context.Context, s *service, at *site) error {
	startup, err := s.startup(ctx)
	if err != nil {
		return err
	}
	begin, engine0, broker0 := time.Now(), stack.ChildrenCPUTime(s.pid()), time.Duration(0)
	if at.broker != nil {
		broker0, _ = stack.CPUTime(at.broker.pid())
	}
	var service, engine, broker time.Duration
	err = s.eventually(ctx, 10*time.Minute, "for every row", func() (bool, error) {
		m, err := s.metrics(ctx)
		if err != nil {
			return false, err
		}
		inserted := func(table string) int { return int(m.sum("plumbline_inserted_rows_total", [2]string{"table", table})) }
		alerts := int(m.sum("plumbline_alerts_total"))
		e.Window = inserted("windows")
		if m.sum("plumbline_lag_records") > 0 || inserted("activity") < e.Events ||
			e.Window < int(m.sum("plumbline_windows_total")) || inserted("alerts") < alerts {
			return false, nil
		}
		// Before the counting, which is the engine's work and not the service's.
		if service, err = stack.CPUTime(s.pid()); err != nil {
			return false, err
		}
		engine, e.Seconds = stack.ChildrenCPUTime(s.pid()), time.Since(begin).Seconds()
		if at.broker != nil {
			broker, _ = stack.CPUTime(at.broker.pid())
		}
		e.Alerts, err = s.count(ctx, "SELECT count() FROM alerts")
		if err != nil || e.Alerts != alerts {
			return false, err
		}
		e.Stored, err = s.count(ctx, "SELECT count() FROM activity")
		return e.Stored == e.Events, err
	})
	if err != nil {
		return err
	}
	n := float64(e.Events)
	e.Startup, e.PeakMemory = startup.Seconds(), float64(stack.PeakMemory(s.pid()))
	e.ServiceNanos = float64(service-startup) / n
	e.EngineNanos = float64(engine-engine0) / n
	e.BrokerNanos = float64(broker-broker0) / n
	e.PerSecond = 1e9 / e.ServiceNanos
	return nil
}

// profileService profiles the service while it has much to do.
func (b *runner) profileService(ctx context.Context, s *service) error {
	if _, err := s.startup(ctx); err != nil {
		return err
	}
	b.progress("profiling the service for %v", b.scale.profile)
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.admin, int(b.scale.profile.Seconds()))
	body, err := get(ctx, url)
	if err != nil {
		return err
	}
	path := filepath.Join(b.keep, "service.pprof")
	if err := os.WriteFile(path, body, 0o600); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	return b.page.addProfile(ctx, "the whole service, broker in another process", path, "")
}
