package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/pipelinetest"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// chaos is a random history of owners of one partition: killed at any step, paused
// beyond the session timeout and woken as zombies, thrown from one generation into
// the next, with writes that are refused, whose acknowledgement is lost, or that
// land minutes later. Time is that of a synctest bubble, so that a history of
// hours takes milliseconds.
//
// What must hold at its end, whatever happened: the alerts are those of an
// undisturbed run, byte for byte, none is missing, and the state is bit for bit
// that of a detector that saw every event once. No alert stands twice unless a
// zombie or a late write to the alert topic itself can explain it.
type chaos struct {
	*rig
	rng     *rand.Rand
	mu      sync.Mutex // guards rng
	clean   bool       // no fault that may double alerts
	quiet   bool       // faults are over
	actions map[string]int
	next    *detector.Config // that is reloaded on the way; nil: none
	crash   bool             // not reloaded: all are killed, and those that come have it
}

func (c *chaos) roll(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rng.IntN(n)
}

func (c *chaos) healed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.quiet
}

// owner is one process with the detect role.
type owner struct {
	c      *chaos
	member *pipelinetest.Member
	stop   func() error
	reload func(detector.Config) error

	mu     sync.Mutex
	dead   bool
	pauses time.Time
}

var errDead = errors.New("this process is dead")

// gate lets a request of the process through: after a moment, when it is no longer
// paused, and never when it is dead.
func (o *owner) gate(ctx context.Context) error {
	time.Sleep(time.Duration(o.c.roll(20)) * time.Millisecond)
	for {
		o.mu.Lock()
		dead, until := o.dead, o.pauses
		o.mu.Unlock()
		if dead {
			<-ctx.Done()
			return errDead
		}
		if wait := time.Until(until); wait > 0 {
			time.Sleep(wait)
			continue
		}
		return ctx.Err()
	}
}

// chaosLog is the cluster as one process sees it.
type chaosLog struct {
	pipeline.Log
	o *owner
}

// Fetch implements pipeline.Log.
func (l *chaosLog) Fetch(ctx context.Context, tp pipeline.TopicPartition, offset int64) (pipeline.Fetched, error) {
	if err := l.o.gate(ctx); err != nil {
		return pipeline.Fetched{}, err
	}
	return l.Log.Fetch(ctx, tp, offset)
}

// Bounds implements pipeline.Log.
func (l *chaosLog) Bounds(ctx context.Context, tp pipeline.TopicPartition) (start, end int64, err error) {
	if err := l.o.gate(ctx); err != nil {
		return 0, 0, err
	}
	return l.Log.Bounds(ctx, tp)
}

// DeleteRecords implements pipeline.Log.
func (l *chaosLog) DeleteRecords(ctx context.Context, tp pipeline.TopicPartition, before int64) error {
	if err := l.o.gate(ctx); err != nil {
		return err
	}
	if l.o.c.roll(4) == 0 {
		return errors.New("not authorised to delete")
	}
	return l.Log.DeleteRecords(ctx, tp, before)
}

// Produce implements pipeline.Log.
func (l *chaosLog) Produce(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) error {
	_, err := l.Append(ctx, tp, records)
	return err
}

// Append implements pipeline.Log.
func (l *chaosLog) Append(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) (pipeline.Appended, error) {
	c := l.o.c
	if err := l.o.gate(ctx); err != nil {
		return pipeline.Appended{}, err
	}
	fault := c.roll(100)
	if c.healed() || (c.clean && tp.Topic != pipeline.TopicBaselines && fault >= 4 && fault < 8) {
		fault = 100
	}
	switch {
	case fault < 4: // applied, the acknowledgement is lost
		_, _ = l.Log.Append(context.WithoutCancel(ctx), tp, records)
		return pipeline.Appended{}, errors.New("connection reset after the request")
	case fault < 8: // it lies around somewhere in between and is applied later
		c.count("late write")
		late := time.Duration(c.roll(120_000)) * time.Millisecond
		time.AfterFunc(late, func() { _, _ = l.Log.Append(context.Background(), tp, records) }) //nolint:contextcheck // the request has ended
		return pipeline.Appended{}, errors.New("request timed out")
	case fault < 12:
		return pipeline.Appended{}, errors.New("not enough replicas")
	}
	return l.Log.Append(ctx, tp, records)
}

// chaosGroup is the coordinator as one process sees it.
type chaosGroup struct {
	*pipelinetest.Member
	o *owner
}

// Next implements pipeline.Group.
func (g *chaosGroup) Next(ctx context.Context) (pipeline.Generation, error) {
	if err := g.o.gate(ctx); err != nil {
		return nil, err
	}
	gen, err := g.Member.Next(ctx)
	if err != nil {
		return nil, err
	}
	return &chaosGeneration{gen, g.o}, nil
}

type chaosGeneration struct {
	pipeline.Generation
	o *owner
}

// Commit implements pipeline.Generation.
func (g *chaosGeneration) Commit(tp pipeline.TopicPartition, offset int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := g.o.gate(ctx); err != nil {
		return err
	}
	if !g.o.c.healed() && g.o.c.roll(20) == 0 {
		return errors.New("coordinator is loading")
	}
	return g.Generation.Commit(tp, offset)
}

func (c *chaos) count(action string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.actions[action]++
}

func (c *chaos) spawn() *owner {
	return c.spawnWith([]time.Duration{0, 5 * time.Second, time.Minute}[c.roll(3)])
}

// spawnWith starts a process that makes a checkpoint so often.
func (c *chaos) spawnWith(every time.Duration) *owner {
	ctx, cancel := context.WithCancel(context.Background())
	o := &owner{c: c, member: c.cluster.Group(pipeline.GroupDetect, pipeline.TopicActivity)}
	cfg := detect.Config{Detector: c.detectors, CheckpointEvery: every, Outputs: c.outputs, WholeBelow: c.whole}
	role := pipeline.Role{Log: &chaosLog{c.cluster, o}, Metrics: pipeline.NewMetrics(prometheus.NewRegistry()), Health: pipeline.NewHealth(), Logger: zerolog.New(c.rig)}
	detect, err := detect.New(role, &chaosGroup{o.member, o}, cfg, detect.NewMetrics(prometheus.NewRegistry()))
	require.NoError(c.t, err)
	o.reload = detect.Reload
	var ran error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ran = detect.Run(ctx)
		_ = o.member.Close()
	}()
	o.stop = func() error { // by several at a time: a lock would hold up the bubble's clock
		cancel()
		<-ended
		return ran
	}
	return o
}

// kill ends a process without a farewell: nothing that it has not sent is sent.
func (o *owner) kill() {
	o.mu.Lock()
	o.dead = true
	o.mu.Unlock()
	time.Sleep(100 * time.Millisecond) // what is on the wire arrives
	o.c.cluster.Evict(o.member)
	go o.stop() //nolint:errcheck // a dead process says nothing
}

// pause stops a process for longer than its session: the group goes on without it.
func (o *owner) pause(d time.Duration) {
	o.mu.Lock()
	o.pauses = time.Now().Add(d)
	o.mu.Unlock()
	o.c.cluster.Evict(o.member)
}

func (c *chaos) act(owners []*owner) []*owner {
	i := c.roll(len(owners))
	switch roll := c.roll(10); {
	case roll < 3:
		for again := true; again; again = c.roll(2) == 0 { // the next one dies while it catches up
			c.count("kill")
			owners[i].kill()
			owners[i] = c.spawn()
			time.Sleep(time.Duration(c.roll(500)) * time.Millisecond)
		}
	case roll < 5 && !c.clean:
		c.count("pause")
		owners[i].pause(time.Duration(1+c.roll(180)) * time.Second)
	case roll < 6:
		c.count("stop")
		if err := owners[i].stop(); err != nil {
			c.t.Errorf("stop: %v", err)
		}
		owners[i] = c.spawn()
	case roll < 7:
		c.count("rebalance")
		c.cluster.Rebalance(pipeline.GroupDetect)
	case roll < 8:
		c.count("move")
		c.cluster.Move(pipeline.GroupDetect)
	case roll < 9 && len(owners) < 3:
		c.count("join")
		owners = append(owners, c.spawn())
	}
	return owners
}

// run is one history, in which records are added until there are so many. It returns
// how often alerts stand twice.
func (c *chaos) run(records []pipeline.Record, want map[string]int, total int) (doubles int) {
	owners := []*owner{c.spawn()}
	old, reloadAt := c.detectors, len(records)/8+c.roll(len(records)/2+1)
	for rest := records; len(rest) > 0; {
		if c.next != nil && len(records)-len(rest) >= reloadAt {
			owners, reloadAt = c.reloaded(owners), len(records)
		}
		n := min(len(rest), 1+c.roll(200))
		_, err := c.cluster.Put(activity, rest[:n]...)
		require.NoError(c.t, err)
		rest = rest[n:]
		time.Sleep(time.Duration(c.roll(4000)) * time.Millisecond)
		owners = c.act(owners)
	}
	c.mu.Lock()
	c.quiet = true
	c.mu.Unlock()
	for _, o := range owners {
		time.Sleep(time.Until(o.pauses))
		if err := o.stop(); err != nil {
			c.t.Errorf("stop: %v", err)
		}
	}
	time.Sleep(3 * time.Minute) // late writes land
	last := c.spawn()
	for range 10_000 {
		if at, _ := c.cluster.Committed(pipeline.GroupDetect, activity); at == int64(total) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	require.NoError(c.t, last.stop())
	time.Sleep(time.Minute) // the dead give up their drains
	log := c.logged()
	got, at := c.state(0)
	require.Equal(c.t, int64(total), at, "log:\n%s", log)
	state := c.undisturbed(0, at)
	if c.next != nil {
		want, state = c.judged(old)
	}
	require.True(c.t, maps.Equal(state, got), "the state is not that of an undisturbed run; log:\n%s", log)
	alerts := c.alerts()
	for alert, n := range alerts {
		require.Contains(c.t, want, alert, "log:\n%s", log)
		doubles += n - 1
	}
	require.Len(c.t, alerts, len(want), "log:\n%s", log)
	require.Len(c.t, distinct(c.cluster.All(ocsfTopic)), len(want))
	return doubles
}

func distinct(records []pipeline.Record) map[string]bool {
	out := make(map[string]bool)
	for _, r := range records {
		out[string(r.Value)] = true
	}
	return out
}

// timed has the records of the activity topic keep the time with which they are put there.
func (r *rig) timed() {
	r.cluster.CreateTopic(pipeline.TopicActivity, r.partitions, pipelinetest.CreateTime())
}

// chaosInput is a busy fleet that alerts all the time, but for nights of ticks, as
// canonical records, and the alerts of an undisturbed run.
func chaosInput(t *testing.T) ([]pipeline.Record, map[string]int, *rig) {
	t.Helper()
	r := newRig(t, 1)
	r.detectors.AlertsPerAgentDay = 5
	r.detectors.QuietTime = time.Hour
	r.detectors.MaxAgents = 25 // evictions too
	r.outputs = []detect.Output{{Topic: ocsfTopic, Encoder: siem.OCSF}}
	rng := rand.New(rand.NewPCG(7, 7))
	at := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	for i := range 4000 {
		at = at.Add(time.Duration(rng.IntN(240)) * time.Second)
		if i%500 == 499 {
			at = at.Add(9 * time.Hour)
		}
		agent := rng.IntN(10)
		if rng.IntN(20) == 0 {
			agent = rng.IntN(60)
		}
		r.send(line("agent-"+strconv.Itoa(agent), i, at, fmt.Sprintf(`,"access":"send","resources":["host:h%d.example"]`, rng.IntN(5+i/20))))
	}
	r.run("route")
	records := ticked(t, r.cluster.All(pipeline.TopicActivity))
	r.timed()
	_, err := r.cluster.Put(activity, records...)
	require.NoError(t, err)
	r.run("detect")
	want := r.alerts()
	require.Greater(t, len(want), 50)
	byTick := 0
	for _, rec := range r.cluster.All(pipeline.TopicAlerts) {
		if at, ok := pipeline.ParsePlace(rec.Header(pipeline.HeaderSource)); ok && records[at.Offset].Header(schemas.RecordHeader) != nil {
			byTick++
		}
	}
	require.Greater(t, byTick, 10, "ticks raise alerts")
	return records, want, r
}

// ticked are the records of a stream whose events came at once, with a tick at each hour.
func ticked(t *testing.T, events []pipeline.Record) (out []pipeline.Record) {
	t.Helper()
	var next time.Time
	for _, rec := range events {
		var ev struct{ Time schemas.Millis }
		require.NoError(t, json.Unmarshal(rec.Value, &ev))
		for ; !next.IsZero() && next.Before(ev.Time.Time()); next = next.Add(time.Hour) {
			at := tick(next)
			at.Time = schemas.Millis(next.UnixMilli())
			out = append(out, at)
		}
		next = ev.Time.Time().Add(-3 * time.Minute).Truncate(time.Hour).Add(time.Hour + 3*time.Minute)
		rec.Time = ev.Time
		out = append(out, rec)
	}
	return out
}

func TestWhateverHappensToItsOwnersThePartitionsAlertsAndStateAreThoseOfAnUndisturbedRun(t *testing.T) {
	records, want, base := chaosInput(t)
	runs, seed0 := uint64(30), uint64(1)
	if testing.Short() {
		runs = 5
	}
	for name, value := range map[string]*uint64{"PLUMBLINE_CHAOS_RUNS": &runs, "PLUMBLINE_CHAOS_SEED": &seed0} {
		if s := os.Getenv(name); s != "" {
			var err error
			*value, err = strconv.ParseUint(s, 10, 64)
			require.NoError(t, err)
		}
	}
	actions := make(map[string]int)
	unclean := 0
	for seed := seed0; seed < seed0+runs; seed++ {
		t.Run("seed "+strconv.FormatUint(seed, 10), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 1)
				r.detectors, r.outputs = base.detectors, base.outputs
				r.timed()
				r.cluster.SetFetch(5*time.Millisecond, 20)
				r.cluster.SetRebalanceTimeout(30 * time.Second)
				r.whole = []int64{1, 0}[seed/2%2]
				c := &chaos{
					rig: r, rng: rand.New(rand.NewPCG(seed, 3)), clean: seed%2 == 0, actions: actions,
				}
				doubles := c.run(records, want, len(records))
				if c.clean {
					require.Zero(t, doubles, "alerts stand twice; log:\n%s", c.logged())
				}
				unclean += doubles
			})
		})
	}
	t.Logf("%d histories; faults: %v; alerts sent twice by zombies and late writes: %d", runs, actions, unclean)
}

func TestACheckpointWhileCatchingUpRemembersWhereTheAlertsOfTheDeadOwnerStand(t *testing.T) {
	records, want, base := chaosInput(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.detectors, r.outputs = base.detectors, base.outputs
		r.timed()
		r.cluster.SetFetch(5*time.Millisecond, 20)
		c := &chaos{
			rig: r, rng: rand.New(rand.NewPCG(1, 3)), clean: true, quiet: true, actions: map[string]int{},
		}
		_, err := c.cluster.Put(activity, records...)
		require.NoError(t, err)
		first := c.spawnWith(time.Hour) // sends every alert and has only its initial checkpoint
		for len(c.cluster.All(ocsfTopic)) < len(want) {
			time.Sleep(10 * time.Millisecond)
		}
		first.kill()
		deaths := 0
		for at := int64(0); at < int64(len(records))/2; deaths++ {
			next := c.spawnWith(0)
			for from := at; at < from+40; {
				time.Sleep(10 * time.Millisecond)
				at, _ = c.cluster.Committed(pipeline.GroupDetect, activity)
			}
			next.kill()
		}
		require.Greater(t, deaths, 5)
		require.Zero(t, c.run(nil, want, len(records)), "alerts stand twice")
	})
}
