package app

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/internal/embedded"
	"github.com/plumbline-sec/plumbline/internal/telemetry"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/archive"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/route"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

// Directories of the embedded stack within data_dir.
const (
	KafkaDir      = "kafka"
	ClickHouseDir = "clickhouse"
)

// stopTimeout bounds each step of a stop.
const stopTimeout = 5 * time.Second

// patient is a stop that may wait for a server that does not answer. It is left to
// itself when its time is over: the process is about to end.
func patient(stop func() error) func(context.Context) error {
	return func(ctx context.Context) error {
		done := make(chan error, 1)
		go func() { done <- stop() }() // ends with the server's answer, or its timeouts
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return fmt.Errorf("it does not end: %w", ctx.Err())
		}
	}
}

// quick is a stop that does not wait for anybody.
func quick(stop func() error) func(context.Context) error {
	return func(context.Context) error { return stop() }
}

func (a *App) startAdmin() (*telemetry.Admin, error) {
	telemetry.RegisterBuildInfo(a.reg, a.opts.Version)
	admin := telemetry.NewAdmin(a.cfg.Admin, a.reg, a.logger)
	if err := admin.Start(); err != nil {
		return nil, err
	}
	a.onStop("admin server", admin.Stop)
	return admin, nil
}

// startKafka starts the embedded broker where that is configured, connects, and
// makes sure of the topics.
func (a *App) startKafka(ctx context.Context, addr *Addresses) (*kafka.Client, error) {
	cfg, err := KafkaConfig(a.cfg)
	if err != nil {
		return nil, err
	}
	if a.cfg.Kafka.Brokers.Embedded() {
		b, err := embedded.StartKafka(filepath.Join(a.cfg.DataDir, KafkaDir), a.cfg.Embedded.KafkaListen,
			a.logger.With().Str("component", "embedded-kafka").Logger())
		if err != nil {
			return nil, err
		}
		a.onStop("embedded kafka", quick(b.Stop))
		cfg.Brokers = []string{b.Addr()}
	}
	addr.Kafka = cfg.Brokers
	client, err := kafka.New(cfg, a.logger.With().Str("component", "kafka").Logger())
	if err != nil {
		return nil, err
	}
	a.onStop("kafka client", patient(client.Close))
	return client, a.ensureTopics(ctx, client)
}

// startClickHouse starts the embedded engine where that is configured. It
// connects to nothing: archive waits for ClickHouse, the others do not need it.
func (a *App) startClickHouse(ctx context.Context, addr *Addresses) (*warehouse, error) {
	if !a.has(RoleArchive) {
		return nil, nil //nolint:nilnil // without archive there is no warehouse
	}
	cfg, err := ClickHouseConfig(a.cfg)
	if err != nil {
		return nil, err
	}
	var engine embedded.ClickHouse
	if a.cfg.ClickHouse.Addr.Embedded() {
		if engine, err = a.startEngine(ctx); err != nil {
			return nil, err
		}
		cfg.Addrs = []string{engine.Addr()}
	}
	addr.ClickHouse = cfg.Addrs
	db, err := clickhouse.Open(cfg)
	if err != nil {
		return nil, err
	}
	a.onStop("clickhouse client", patient(db.Close))
	return newWarehouse(db, engine, a.reg, a.logger.With().Str("component", "warehouse").Logger()), nil
}

// startEngine runs the embedded ClickHouse in a child process.
func (a *App) startEngine(ctx context.Context) (embedded.ClickHouse, error) {
	engine, err := embedded.StartClickHouse(ctx, embedded.ClickHouseConfig{
		DataDir: filepath.Join(a.cfg.DataDir, ClickHouseDir), Listen: a.cfg.Embedded.ClickHouseListen, KeepTrying: true,
		Database: a.cfg.ClickHouse.Database, ReaderPassword: a.cfg.Embedded.ReaderPassword.Reveal(),
		Logger: a.logger.With().Str("component", "embedded-clickhouse").Logger(),
	})
	if err != nil {
		return nil, err
	}
	a.onStop("embedded clickhouse", engine.Stop)
	count := func(name, help string, n func() int64) {
		a.reg.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Namespace: "plumbline", Name: name, Help: help}, func() float64 { return float64(n()) }))
	}
	count("embedded_clickhouse_restarts_total", "How often the embedded engine died and another served in its place.", engine.Restarts)
	count("embedded_clickhouse_failed_starts_total", "Attempts to start the embedded engine again that came to nothing.", engine.FailedStarts)
	return engine, nil
}

// roles builds the roles that this service has.
func (a *App) roles(client *kafka.Client, wh *warehouse, addr *Addresses) ([]role, error) {
	var out []role
	for _, name := range Roles() {
		if !a.has(name) {
			continue
		}
		var r role
		var err error
		switch name {
		case RoleRoute:
			r, err = a.route(client)
		case RoleDetect:
			r, err = a.detect(client)
		case RoleArchive:
			r, err = a.archive(client, wh)
		case RoleDecide:
			r, err = a.decide(client, addr)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		r.name = name
		out = append(out, r)
	}
	return out, nil
}

// member returns a membership that ends with the service, and how to leave it
// before that.
func (a *App) member(client *kafka.Client, id string, topics ...string) (_ pipeline.Group, leave func(context.Context), _ error) {
	group, err := client.Group(kafka.GroupConfig{ID: id, Topics: topics, SessionTimeout: a.cfg.Kafka.SessionTimeout.Std()})
	if err != nil {
		return nil, nil, err
	}
	return group, a.onStop("consumer group "+id, patient(group.Close)), nil
}

func (a *App) roleLogger(name string) zerolog.Logger {
	return a.logger.With().Str("component", name).Logger()
}

func (a *App) role(client *kafka.Client, name string) pipeline.Role {
	return pipeline.Role{Log: client, Metrics: a.metrics.Metrics, Health: pipeline.NewHealth(), Logger: a.roleLogger(name)}
}

func (a *App) route(client *kafka.Client) (role, error) {
	var sources []route.Source
	var topics []string
	for _, s := range a.cfg.Sources {
		newDecoder := func() (decode.Decoder, error) { return forms.New(s.Decoder, s.Options) }
		if _, err := newDecoder(); err != nil {
			return role{}, fmt.Errorf("source %s: %w", s.Name, err)
		}
		sources = append(sources, route.Source{
			Name: s.Name, Topic: s.Topic, Incarnation: s.Incarnation, DeadLetterValues: s.DeadLetters != config.DeadLettersMetadata, NewDecoder: newDecoder,
		})
		topics = append(topics, s.Topic)
	}
	group, leave, err := a.member(client, pipeline.GroupRoute, topics...)
	if err != nil {
		return role{}, err
	}
	r := route.New(a.role(client, RoleRoute), group, sources, a.metrics.route)
	r.Ticks = route.Ticks{Offsets: client, Every: route.TickEvery}
	return role{health: r.Health, leave: leave, run: r.Run}, nil
}

func (a *App) detect(client *kafka.Client) (role, error) {
	outputs, err := Outputs(a.cfg)
	if err != nil {
		return role{}, err
	}
	group, leave, err := a.member(client, pipeline.GroupDetect, pipeline.TopicActivity)
	if err != nil {
		return role{}, err
	}
	d, err := detect.New(a.role(client, RoleDetect), group, detect.Config{
		Detector: DetectorConfig(a.cfg, a.opts.Version), Outputs: outputs,
		CheckpointEvery: a.cfg.Detector.CheckpointEvery.Std(), FreshOnLostState: a.cfg.Detector.OnLostState == config.LostStateFresh,
	}, a.metrics.detect)
	if err != nil {
		return role{}, err
	}
	a.reload.judge = d.Reload
	return role{health: d.Health, leave: leave, run: d.Run}, nil
}

func (a *App) archive(client *kafka.Client, wh *warehouse) (role, error) {
	group, leave, err := a.member(client, pipeline.GroupArchive, pipeline.TopicActivity, pipeline.TopicAlerts, pipeline.TopicWindows)
	if err != nil {
		return role{}, err
	}
	limits := archive.Limits{Rows: a.cfg.Archive.MaxRows, Bytes: int(a.cfg.Archive.MaxBytes), Age: a.cfg.Archive.MaxAge.Std()}
	archive := archive.New(a.role(client, RoleArchive), group, wh.db, limits, a.metrics.archive)
	return role{health: archive.Health, leave: leave, run: func(ctx context.Context) error {
		if err := a.migrate(ctx, wh); err != nil || ctx.Err() != nil {
			return err
		}
		defer wh.watch(ctx)()
		return archive.Run(ctx)
	}}, nil
}

// migrate brings the schema up to date, waiting for a ClickHouse that can't be
// reached yet, and for a person where the schema was changed in a way that only a
// person can undo: who may write to ClickHouse must not be able to stop detection.
func (a *App) migrate(ctx context.Context, wh *warehouse) error {
	logger := a.roleLogger(RoleArchive)
	said := ""
	for ctx.Err() == nil {
		err := wh.db.Migrate(ctx, func(s clickhouse.Step) {
			logger.Info().Stringer("step", s).Msg("schema migrated")
			if s.Note != "" {
				logger.Warn().Msg(s.Note)
			}
		})
		if err == nil || ctx.Err() != nil {
			wh.schemaIs(nil)
			return nil //nolint:nilerr // being asked to stop is no failure
		}
		conflict := errors.Is(err, clickhouse.ErrSchemaConflict)
		switch {
		case conflict && err.Error() != said:
			said = err.Error()
			logger.Error().Err(err).Msg("nothing is archived until that is done; Kafka keeps the records, detection goes on")
		case !conflict && !clickhouse.IsRetryable(err):
			return err
		case !conflict:
			logger.Warn().Err(err).Msg("ClickHouse does not answer yet; retrying every 5 s, detection goes on without it")
		}
		if conflict {
			wh.schemaIs(err)
		}
		sleep(ctx, 5*time.Second)
	}
	return nil
}

// ensureTopics creates what is missing and checks what is there, waiting for
// brokers that can't be reached yet.
func (a *App) ensureTopics(ctx context.Context, client *kafka.Client) error {
	for {
		err := client.EnsureTopics(ctx, a.topics())
		var settings *kafka.TopicsError
		if err == nil || errors.As(err, &settings) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		a.logger.Warn().Err(err).Msg("Kafka does not answer yet; retrying every 5 s")
		sleep(ctx, 5*time.Second)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// topics are those that the service needs. Sources belong to somebody else: they
// are created where they are missing, with the partitions of TopicActivity, so
// that an agent's events come from one partition, and are otherwise left alone.
func (a *App) topics() []kafka.TopicSpec {
	n, replicas := a.cfg.Kafka.Partitions, a.cfg.Kafka.Replication
	days := func(d int) map[string]string {
		return map[string]string{"retention.ms": strconv.Itoa(d * 24 * 3600 * 1000)}
	}
	out := []kafka.TopicSpec{
		{Name: pipeline.TopicActivity, Partitions: n, Replication: replicas, Configs: days(7), CheckPartitions: true},
		{Name: pipeline.TopicAlerts, Partitions: n, Replication: replicas, Configs: days(30)},
		{Name: pipeline.TopicWindows, Partitions: n, Replication: replicas, Configs: days(7)},
		{Name: pipeline.TopicBaselines, Partitions: n, Replication: replicas, CheckPartitions: true, Configs: map[string]string{
			"retention.ms": "-1", "retention.bytes": "-1", "segment.bytes": strconv.Itoa(128 << 20),
		}},
		{Name: pipeline.TopicDeadLetter, Partitions: 1, Replication: replicas, Configs: days(30)},
	}
	for _, s := range a.cfg.Sources {
		configs := days(7)
		if s.Decoder == formRegistration {
			configs = map[string]string{"retention.ms": "-1"} // decide reads it from the start
		}
		out = append(out, kafka.TopicSpec{Name: s.Topic, Partitions: n, Replication: replicas, Configs: configs, Foreign: true})
	}
	if a.has(RoleDecide) && a.cfg.Decide.LogTopic != "" {
		out = append(out, kafka.TopicSpec{Name: a.cfg.Decide.LogTopic, Partitions: n, Replication: replicas, Configs: days(30)})
	}
	for _, o := range a.cfg.Outputs {
		out = append(out, kafka.TopicSpec{Name: o.Topic, Partitions: n, Replication: replicas, Configs: days(30)})
	}
	return out
}
