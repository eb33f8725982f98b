package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/archive"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/route"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// load fills a new corpus from a feed of its own, which goes on behind it.
func (b *runner) load(ctx context.Context, canonical bool) (*corpus, *feed, error) {
	f, err := startFeed(ctx, b.exe, feedOptions{Fleet: simulator.Options{Agents: 10_000, Days: 28, Seed: 7}, Canonical: canonical})
	if err != nil {
		return nil, nil, err
	}
	c, err := newCorpus(b.scale.corpus)
	if err == nil {
		err = c.fill(f, b.scale.corpus)
	}
	if err != nil {
		f.stop()
	}
	return c, f, err
}

// decode measures the decoders and the encoder of the canonical form.
func (b *runner) decode(ctx context.Context) error {
	source, f, err := b.load(ctx, false)
	if err != nil {
		return err
	}
	f.stop()
	defer source.free()
	canonical, f, err := b.load(ctx, true)
	if err != nil {
		return err
	}
	f.stop()
	defer canonical.free()
	b.page.EventBytes, b.page.CanonicalBytes = source.meanBytes(), canonical.meanBytes()
	var public, canon, route rounds
	return onOneCore(func() error {
		dp, dc := decode.NewActivity(), decode.NewCanonical()
		for i := range b.rounds {
			b.progress("decode: round %d of %d", i+1, b.rounds)
			limit, err := measure(func() error { return source.decodeAll(dp, nil) })
			if err != nil {
				return err
			}
			public.add(source.len(), limit, cost{})
			used, err := measure(func() error { return canonical.decodeAll(dc, nil) })
			if err != nil {
				return err
			}
			canon.add(canonical.len(), used, cost{})
			used, err = measure(func() error { return rewrite(source, dp) })
			if err != nil {
				return err
			}
			route.add(source.len(), used, limit)
		}
		b.page.add(
			public.speed("decode", "event", "the public form, as agents send it"),
			canon.speed("decode canonical", "event", "the form in plumbline.activity, as detect and archive read it"),
			route.speed("decode + encode + key", "event", "what route does to an event, without the role around it"),
		)
		return nil
	})
}

// rewrite decodes every event and writes it, its key, partition and origin anew.
func rewrite(c *corpus, d decode.Decoder) error {
	var buf []byte
	sum := int32(0)
	err := c.decodeAll(d, func(ev *schemas.Activity) {
		buf = schemas.AppendKey(buf[:0], ev.TenantID, ev.AgentID)
		sum += schemas.Partition(buf, 64)
		buf = schemas.AppendActivity(buf, ev)
		o := schemas.Origin{Source: "default", Incarnation: 1, Topic: sourceTopic}
		buf = o.AppendTo(buf)
	})
	if err == nil && sum <= 0 && c.len() > 1000 {
		return fmt.Errorf("%d events on one of 64 partitions", c.len())
	}
	return err
}

// role is one of the service's.
type role interface {
	Run(ctx context.Context) error
}

// stage measures a role over a log in memory, GOMAXPROCS being 1.
type stage struct {
	name, what string
	topic      string // of its input
	fresh      bool   // every round needs events that the role has not seen
	build      func(r pipeline.Role, group pipeline.Group) (role, error)
	check      func(log *memoryLog, events int) error
}

// measureRole runs the rounds of a stage.
func (b *runner) measureRole(ctx context.Context, s stage) error {
	c, f, err := b.load(ctx, s.topic == pipeline.TopicActivity)
	if err != nil {
		return err
	}
	defer f.stop()
	defer c.free()
	log := newMemoryLog(s.topic)
	role, err := s.build(pipeline.Role{
		Log: log, Metrics: pipeline.NewMetrics(prometheus.NewRegistry()), Health: pipeline.NewHealth(), Logger: zerolog.Nop(),
	}, &soleMember{log: log})
	if err != nil {
		return err
	}
	return onOneCore(func() error {
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		var roleErr error
		go func() { defer close(ended); roleErr = role.Run(ctx) }()
		r, err := b.roleRounds(s, log, c, f, ended)
		cancel()
		<-ended
		if err == nil {
			err = roleErr
		}
		if err == nil {
			err = s.check(log, b.scale.corpus*(b.rounds+1))
		}
		if err == nil {
			b.page.add(r.speed(s.name, "event", s.what))
		}
		return err
	})
}

func (b *runner) roleRounds(s stage, log *memoryLog, c *corpus, f *feed, ended <-chan struct{}) (*rounds, error) {
	var limitOf decode.Decoder = decode.NewActivity()
	if s.topic == pipeline.TopicActivity {
		limitOf = decode.NewCanonical()
	}
	var r rounds
	for i := range b.rounds + 1 {
		b.progress("%s: round %d of %d", s.name, i, b.rounds)
		if s.fresh && i > 0 {
			if err := c.fill(f, b.scale.corpus); err != nil {
				return nil, err
			}
		}
		if i == 1 { // the first round warmed up
			r = rounds{}
		}
		if err := r.measure(c.len(), func() error { return c.decodeAll(limitOf, nil) }, func() error { return log.run(c, ended) }); err != nil {
			return nil, err
		}
	}
	return &r, nil
}

func (b *runner) route(ctx context.Context) error {
	return b.measureRole(ctx, stage{
		name: "route", what: "the role: decode, canonical encode, key and partition, origin, one flush a batch; Kafka itself not counted",
		topic: sourceTopic,
		build: func(r pipeline.Role, group pipeline.Group) (role, error) {
			sources := []route.Source{{
				Name: "default", Topic: sourceTopic, Incarnation: 1,
				NewDecoder: func() (decode.Decoder, error) { return decode.NewActivity(), nil },
			}}
			return route.New(r, group, sources, route.NewMetrics(prometheus.NewRegistry())), nil
		},
		check: func(log *memoryLog, events int) error {
			if n := log.count(pipeline.TopicActivity); n != events {
				return fmt.Errorf("route wrote %d of %d events", n, events)
			}
			return nil
		},
	})
}

// detectRole measures the role around the detector: origins, alerts in two forms,
// windows, metrics.
func (b *runner) detectRole(ctx context.Context) error {
	return b.measureRole(ctx, stage{
		name: "detect (role)", what: "the role with 10,000 agents: decode, detect, windows and alerts encoded, a checkpoint every 5 s; Kafka itself not counted; young baselines",
		topic: pipeline.TopicActivity, fresh: true,
		build: func(r pipeline.Role, group pipeline.Group) (role, error) {
			outputs := []detect.Output{{Topic: "siem.ocsf", Encoder: siem.OCSF}}
			cfg := detect.Config{Detector: detector.DefaultConfig(), Outputs: outputs, CheckpointEvery: 5 * time.Second}
			return detect.New(r, group, cfg, detect.NewMetrics(prometheus.NewRegistry()))
		},
		check: func(log *memoryLog, _ int) error {
			if log.count(pipeline.TopicDeadLetter) > 0 {
				return fmt.Errorf("detect set %d events aside", log.count(pipeline.TopicDeadLetter))
			}
			return nil
		},
	})
}

// archive measures the role with the ClickHouse client, against a server that
// reads rows and forgets them.
func (b *runner) archive(ctx context.Context) error {
	server, addr, err := spawn(ctx, b.exe, childSink)
	if err != nil {
		return err
	}
	defer server.stop() //nolint:errcheck // it keeps nothing
	db, err := clickhouse.Open(clickhouse.Config{Addrs: []string{addr}})
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // there is nothing behind it
	return b.measureRole(ctx, stage{
		name: "archive", what: "the role and the ClickHouse client: decode, columns, LZ4, HTTP; batches of 50,000 rows; server not counted, Kafka neither",
		topic: pipeline.TopicActivity,
		build: func(r pipeline.Role, group pipeline.Group) (role, error) {
			limits := archive.Limits{Rows: 50_000, Bytes: 64 << 20, Age: 100 * time.Millisecond}
			return archive.New(r, group, db, limits, archive.NewMetrics(prometheus.NewRegistry())), nil
		},
		check: func(_ *memoryLog, rows int) error {
			n, err := sinkBytes(ctx, addr)
			if err != nil {
				return err
			}
			if b.page.RowBytes = float64(n) / float64(rows); b.page.RowBytes < 10 {
				return fmt.Errorf("the server read %d bytes for %d rows", n, rows)
			}
			return nil
		},
	})
}

func sinkBytes(ctx context.Context, addr string) (int64, error) {
	body, err := get(ctx, "http://"+addr+"/bytes")
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(body), 10, 64)
}

// get returns the body of a page.
func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("get: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // it was read
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("get %s: %w", url, err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("get %s: %s: %.300s", url, res.Status, body)
	}
	return body, nil
}
