package pipeline_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/detect"
	"github.com/plumbline-sec/plumbline/pipeline/pipelinetest"
	"github.com/plumbline-sec/plumbline/pipeline/statelog"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

type silent struct{}

func (silent) Alert(*schemas.Alert)   {}
func (silent) Window(*schemas.Window) {}

// records are those of the detector's state by tenant and agent, and that of the
// partition by "".
type records map[string]string

func (r records) Partition(record []byte)       { r[""] = string(record) }
func (r records) Gone(tenantID, agentID string) { delete(r, tenantID+"/"+agentID) }
func (r records) Agent(record []byte) {
	tenantID, agentID, err := detector.AgentOf(record)
	if err != nil {
		panic(err)
	}
	r[tenantID+"/"+agentID] = string(record)
}

// cut returns the records of a detector.
func cut(d *detector.Detector) records {
	r := records{}
	d.BeginCut(r, func(string, string) bool { return true })
	d.ContinueCut(1 << 30)
	return r
}

// read returns the records that a log comes to. They can be restored.
func read(t *testing.T, s *statelog.Content) records {
	t.Helper()
	_, err := detect.Check(s)
	require.NoError(t, err)
	r := records{"": string(s.Partition)}
	for key, record := range s.Agents {
		r[key] = string(record)
	}
	return r
}

// state returns the records that the newest checkpoint of a partition comes to, and
// the offset that it is of.
func (r *rig) state(partition int32) (records, int64) {
	r.t.Helper()
	s, err := statelog.Read(r.t.Context(), r.cluster, partition)
	require.NoError(r.t, err)
	require.NotNil(r.t, s.Marker)
	return read(r.t, s), s.Marker.Offset
}

// undisturbed returns the records of a detector that saw the canonical events of
// a partition once, in order, up to an offset.
func (r *rig) undisturbed(partition int32, to int64) records {
	r.t.Helper()
	d, err := detector.New(r.detectors, silent{})
	require.NoError(r.t, err)
	last := map[int32]int64{} // by source partition
	for _, rec := range r.cluster.Records(pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: partition}) {
		if rec.Offset >= to {
			break
		}
		if rec.Header(schemas.RecordHeader) == nil {
			o, err := schemas.ParseOrigin(rec.Header(schemas.OriginHeader))
			require.NoError(r.t, err)
			if seen, ok := last[o.Partition]; ok && o.Offset <= seen {
				continue // route wrote it twice
			}
			last[o.Partition] = o.Offset
		}
		r.take(d, &rec)
	}
	return cut(d)
}

// take has a detector take a record as detect does.
func (r *rig) take(d *detector.Detector, rec *pipeline.Record) {
	r.t.Helper()
	d.Arrived(rec.Time)
	if rec.Header(schemas.RecordHeader) != nil {
		tick, err := schemas.ParseTick(rec.Value)
		require.NoError(r.t, err)
		d.Tick(tick.At)
		return
	}
	decode.NewCanonical().Decode(&decode.Record{Offset: rec.Offset, Time: rec.Time, Value: rec.Value}, func(_ int32, ev *schemas.Activity, refusal *decode.Refusal) {
		require.Nil(r.t, refusal)
		d.Process(ev)
	})
}

func TestARestartGoesOnAsIfNothingHadHappened(t *testing.T) {
	r := newRig(t, 2)
	lines := fleet(8)
	const restarts = 5
	for i := range restarts {
		r.send(lines[i*len(lines)/restarts : (i+1)*len(lines)/restarts]...)
		s := r.run(allRoles...)
		require.InDelta(t, 0, testutil.ToFloat64(s.detect.StateLost), 0)
	}
	require.Equal(t, r.replayed(lines), r.alerts())
	for p := range int32(2) {
		got, at := r.state(p)
		require.Equal(t, r.undisturbed(p, at), got)
	}
}

func TestEveryCheckpointHoldsTheStateAtItsOffset(t *testing.T) {
	r := newRig(t, 1)
	r.every = 0 // one after the other
	r.send(fleet(4)...)
	s := r.start("route", "detect")
	for range 20 {
		require.Eventually(t, r.checkpointed, 10*time.Second, time.Millisecond)
		got, at := r.state(0)
		require.Equal(t, r.undisturbed(0, at), got, "checkpoint of offset %d", at)
	}
	r.settled("route", "detect")
	require.Positive(t, testutil.CollectAndCount(s.detect.ModelRatio))
	require.NoError(t, s.stop())
	require.Greater(t, testutil.ToFloat64(s.detect.Checkpoints.WithLabelValues("confirmed")), 2., "the initial one, one at least on the way, the last one")
	require.Zero(t, testutil.CollectAndCount(s.detect.ModelRatio), "whose partition it is reports them")
	start, end, err := r.cluster.Bounds(t.Context(), baselines)
	require.NoError(t, err)
	require.Less(t, end-start, int64(10), "the log is trimmed as it rolls")
}

// checkpointed reports whether there is a checkpoint.
func (r *rig) checkpointed() bool {
	s, err := statelog.Read(r.t.Context(), r.cluster, 0)
	return err == nil && s.Marker != nil
}

func TestStateThatIsGoneIsRefusedUnlessTheConfigSaysFresh(t *testing.T) {
	r := newRig(t, 1)
	r.events(1, 100)
	r.run(allRoles...)

	r.cluster.CreateTopic(pipeline.TopicBaselines, 1) // deleted and created anew
	r.events(1, 50)
	err := r.start(allRoles...).ended()
	require.ErrorIs(t, err, statelog.ErrLost)
	require.ErrorContains(t, err, "on_lost_state: fresh")

	r.fresh = true
	s := r.run(allRoles...)
	require.Contains(t, r.logged(), "BASELINES START ANEW")
	require.InDelta(t, 1, testutil.ToFloat64(s.detect.StateLost), 0)
	require.Equal(t, 150, r.warehouse.Stored("activity"))
	s = r.start(allRoles...) // and from then on there is state again
	r.settled(allRoles...)
	require.NoError(t, s.stop())
	require.InDelta(t, 0, testutil.ToFloat64(s.detect.StateLost), 0)
}

func TestAnotherNumberOfPartitionsIsRefused(t *testing.T) {
	r := newRig(t, 2)
	r.events(20, 20)
	r.run(allRoles...)
	r.cluster.AddPartitions(pipeline.TopicActivity, 3)
	err := r.start("detect").ended()
	require.ErrorContains(t, err, "plumbline.activity has 3 partitions and plumbline.baselines has 2")
	r.cluster.AddPartitions(pipeline.TopicBaselines, 3)
	err = r.start("detect").ended()
	require.ErrorContains(t, err, "the detector state is of a topic with 2 partitions")
}

// TestALateOrRepeatedRecordOfTheStateLogChangesNothing puts the records of a real
// log into orders that zombies and retries can bring about.
func TestALateOrRepeatedRecordOfTheStateLogChangesNothing(t *testing.T) {
	r := newRig(t, 1)
	lines := fleet(3)
	var logs [][]pipeline.Record // of every owner
	var want records
	seen := int64(0)
	for i := range 3 {
		r.send(lines[i*300 : (i+1)*300]...)
		r.run("route", "detect")
		all := r.cluster.Records(baselines)
		logs = append(logs, slices.DeleteFunc(slices.Clone(all), func(rec pipeline.Record) bool { return rec.Offset < seen }))
		seen = all[len(all)-1].Offset + 1
		want, _ = r.state(0)
	}
	last := func(i int) []pipeline.Record { // chunk and marker of its last checkpoint
		n := len(logs[i])
		require.Equal(t, "marker", string(logs[i][n-1].Key))
		return logs[i][n-2:]
	}
	opened := []pipeline.Record{r.openOf(3)}
	for name, order := range map[string][][]pipeline.Record{
		"as it was":      {last(1), opened, last(2)},
		"a marker twice": {last(1), opened, last(2), last(2)[1:]},
		"a chunk twice":  {last(1), opened, last(2)[:1], last(2)},
		"a zombie's checkpoint after a newer open":         {last(0), opened, last(1), last(2)},
		"a zombie's marker between chunk and marker":       {last(1)[:1], opened, last(2)[:1], last(1)[1:], last(2)[1:]},
		"a zombie's checkpoint behind the newer one":       {opened, last(2), last(1)},
		"a chunk of a checkpoint that was never completed": {last(1), opened, last(2), last(2)[:1]},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := statelog.Read(t.Context(), logOf(t, slices.Concat(order...)...), 0)
			require.NoError(t, err)
			require.Equal(t, want, read(t, s))
		})
	}
	for name, bad := range map[string]struct {
		records []pipeline.Record
		says    string
	}{
		"a chunk is missing":       {last(2)[1:], "not complete"},
		"a record of someone else": {[]pipeline.Record{{Key: []byte("agent"), Value: []byte("{}")}}, "no kind of record"},
		"a chunk that is cut":      {[]pipeline.Record{{Key: []byte("chunk"), Value: []byte{0x80}}}, "ends too early"},
		"a later format":           {[]pipeline.Record{{Key: []byte("open"), Value: []byte(`{"format":2,"epoch":9}`)}}, "a later one"},
		"a marker that is no JSON": {[]pipeline.Record{{Key: []byte("marker"), Value: []byte(`{`)}}, "marker at offset 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := statelog.Read(t.Context(), logOf(t, bad.records...), 0)
			require.ErrorContains(t, err, bad.says)
		})
	}
}

// openOf is the claim of an epoch.
func (r *rig) openOf(epoch int) pipeline.Record {
	return pipeline.Record{Key: []byte("open"), Value: []byte(`{"format":1,"epoch":` + strconv.Itoa(epoch) + `,"nonce":"n"}`)}
}

func TestStateMovesToMorePartitionsWithEveryAgent(t *testing.T) {
	r := newRig(t, 2)
	lines := fleet(20)
	half := len(lines) / 2
	r.send(lines[:half]...)
	s := r.start("route", "detect")
	r.settled("route", "detect")
	split := statelog.Split{
		Log: r.cluster, Alerts: []string{pipeline.TopicAlerts, ocsfTopic}, Logger: zerolog.Nop(),
		Commit: func(_ context.Context, tp pipeline.TopicPartition, offset int64) error {
			r.cluster.SetCommitted(pipeline.GroupDetect, tp, offset)
			return nil
		},
	}
	from, to, err := split.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, from, to, "nothing to do yet")
	require.NoError(t, s.stop())
	before := r.records(2)
	require.Len(t, before, 20)

	r.cluster.AddPartitions(pipeline.TopicActivity, 3)
	_, _, err = split.Run(t.Context())
	require.ErrorContains(t, err, "plumbline.activity has 3 partitions and plumbline.baselines has 2")
	r.cluster.AddPartitions(pipeline.TopicBaselines, 3)
	_, _, err = split.Run(t.Context())
	require.ErrorContains(t, err, "take a multiple of 2")
	r.cluster.AddPartitions(pipeline.TopicActivity, 6)
	r.cluster.AddPartitions(pipeline.TopicBaselines, 6)

	// Interrupted wherever it may be, it is run again.
	written := 0
	split.Progress = func(int32, int) { written++ }
	commit := split.Commit
	for stopAfter := range 6 {
		n := 0
		split.Commit = func(ctx context.Context, tp pipeline.TopicPartition, offset int64) error {
			if n++; n > 2*stopAfter { // two commits a partition
				return pipeline.ErrGroupActive
			}
			return commit(ctx, tp, offset)
		}
		_, _, err = split.Run(t.Context())
		require.ErrorIs(t, err, pipeline.ErrGroupActive)
	}
	split.Commit = commit
	from, to, err = split.Run(t.Context())
	require.NoError(t, err)
	require.Equal(t, []int32{2, 6}, []int32{from, to})
	require.Equal(t, before, r.records(6), "every agent is where its key says, unchanged")
	require.Equal(t, 0+1+2+3+4+5+3, written, "only what is not split yet is written again")

	r.send(lines[half:]...)
	s = r.start("route", "detect")
	require.Eventually(t, func() bool {
		return len(r.cluster.All(pipeline.TopicActivity)) == len(lines) && testutil.ToFloat64(s.metrics.Records.WithLabelValues("detect", pipeline.TopicActivity)) >= float64(len(lines)-half)
	}, 20*time.Second, 5*time.Millisecond, r.logged())
	require.NoError(t, s.stop())
	require.InDelta(t, 0, testutil.ToFloat64(s.detect.StateLost), 0)
	require.Len(t, r.records(6), 20)
	require.NotEmpty(t, r.cluster.All(pipeline.TopicAlerts))
}

// records returns the record of every agent, by tenant and agent, and checks that
// each is in the partition that its key belongs to.
func (r *rig) records(partitions int32) map[string]string {
	r.t.Helper()
	out := make(map[string]string)
	for p := range partitions {
		s, err := statelog.Read(r.t.Context(), r.cluster, p)
		require.NoError(r.t, err)
		for key, record := range read(r.t, s) {
			if key != "" {
				require.Equal(r.t, p, schemas.Partition([]byte(key), partitions))
				out[key] = record
			}
		}
	}
	return out
}

func TestStateThatDoesNotDecodeIsRefusedWithWhatToDo(t *testing.T) {
	r := newRig(t, 1)
	r.send(fleet(3)...)
	r.run("route", "detect")
	records := r.cluster.Records(baselines)
	r.cluster.CreateTopic(pipeline.TopicBaselines, 1)
	for _, rec := range records {
		if string(rec.Key) == "chunk" {
			rec.Value = bytes.ReplaceAll(rec.Value, []byte("agent-1"), []byte("agent-2")) // one agent twice
			rec.Value = bytes.Replace(rec.Value, []byte("\x07default"), []byte("\x07defaulx"), 1)
		}
		_, err := r.cluster.Put(baselines, rec)
		require.NoError(t, err)
	}
	err := r.start("detect").ended()
	require.ErrorIs(t, err, statelog.ErrLost)
	require.ErrorContains(t, err, "on_lost_state: fresh")
}

// FuzzAStateLogOfAnyBytesIsReadOrRefused puts a record of any bytes between those
// of a real log.
func FuzzAStateLogOfAnyBytesIsReadOrRefused(f *testing.F) {
	sound := stateRecords(f, detector.DefaultConfig())
	s, err := statelog.Read(f.Context(), logOf(f, sound...), 0)
	require.NoError(f, err)
	require.Len(f, s.Agents, 1, "the seed is a log")
	for _, rec := range sound {
		f.Add(string(rec.Key), rec.Value)
	}
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		other := pipeline.Record{Key: []byte(key), Value: value}
		for at := range len(sound) + 1 {
			s, err := statelog.Read(t.Context(), logOf(t, slices.Concat(sound[:at], []pipeline.Record{other}, sound[at:], []pipeline.Record{other})...), 0)
			if err == nil {
				_, _ = detect.Check(s)
			}
		}
	})
}

// logOf is a log of state with these records.
func logOf(tb testing.TB, records ...pipeline.Record) *pipelinetest.Cluster {
	tb.Helper()
	c := pipelinetest.NewCluster()
	c.CreateTopic(pipeline.TopicBaselines, 1)
	_, err := c.Put(baselines, records...)
	require.NoError(tb, err)
	return c
}

// stateRecords are the records of a log with one small checkpoint.
func stateRecords(tb testing.TB, cfg detector.Config) []pipeline.Record {
	tb.Helper()
	d, err := detector.New(cfg, silent{})
	require.NoError(tb, err)
	d.Process(&schemas.Activity{
		EventID: "e", Time: 1_700_000_000_000, TenantID: "t", AgentID: "a", PeerGroup: "g", Tool: "x", Outcome: schemas.OutcomeSuccess, BytesSent: 1, BytesReceived: 2,
	})
	chunk := []byte{1, 1, 0}
	entry := func(kind byte, b string) {
		chunk = binary.AppendUvarint(append(chunk, kind), uint64(len(b)))
		chunk = append(chunk, b...)
	}
	of := cut(d)
	entry('P', of[""])
	entry('A', of["t/a"])
	entry('G', "t/b")
	entry('R', "\x03s/0\x02\x00")
	return []pipeline.Record{
		{Key: []byte("open"), Value: []byte(`{"format":1,"epoch":1,"nonce":"n"}`)},
		{Key: []byte("chunk"), Value: chunk},
		{Key: []byte("marker"), Value: []byte(`{"format":1,"epoch":1,"attempt":1,"counter":1,"offset":5,"partitions":1,"slices":1,"snapshot":1,"outputs":{},"window":[{"epoch":1,"attempt":1,"start":1,"chunks":1}]}`)},
	}
}

// Metrics are the config's, and who looks at the state has another one or none.
func TestTheFingerprintTellsMetricsApart(t *testing.T) {
	fingerprint := func(field string) string {
		cfg := detector.DefaultConfig()
		cfg.Metrics = []detector.Metric{{Name: "metric", Field: field, Take: "sum"}}
		s, err := statelog.Read(t.Context(), logOf(t, stateRecords(t, cfg)...), 0)
		require.NoError(t, err)
		_, err = detect.Check(s)
		require.NoError(t, err)
		return s.Fingerprint()
	}
	one, again, other := fingerprint("bytes_sent"), fingerprint("bytes_sent"), fingerprint("bytes_received")
	require.Equal(t, one, again)
	require.NotEqual(t, one, other)
}

// TestALogThatIsTrimmedWhileItIsClaimedIsReadAgain has the log's beginning deleted
// by somebody else behind the claim's own open.
func TestALogThatIsTrimmedWhileItIsClaimedIsReadAgain(t *testing.T) {
	r := newRig(t, 1)
	lines := fleet(3)
	half := len(lines) / 2
	r.send(lines[:half]...)
	r.run("route", "detect")
	records := r.cluster.Records(baselines)
	var before, after sync.Once
	var claims atomic.Int32
	r.cluster.SetHooks(pipelinetest.Hooks{
		Produce: func(to pipeline.TopicPartition, _ []pipeline.Record) error {
			if to == baselines {
				before.Do(func() { // another owner's checkpoint, right before the open
					_, err := r.cluster.Put(baselines, slices.Concat(records, records)...)
					assert.NoError(t, err)
				})
			}
			return nil
		},
		Produced: func(to pipeline.TopicPartition, written []pipeline.Record) error {
			if to == baselines {
				after.Do(func() { // which trims the log
					_, end, err := r.cluster.Bounds(t.Context(), baselines)
					assert.NoError(t, err)
					assert.NoError(t, r.cluster.DeleteRecords(t.Context(), baselines, end-3))
				})
				if string(written[0].Key) == "open" {
					claims.Add(1)
				}
			}
			return nil
		},
	})
	r.send(lines[half:]...)
	s := r.run("route", "detect")
	require.Equal(t, int32(2), claims.Load(), "what was read before the log was trimmed is not relied on")
	require.Equal(t, uint64(1), observed(t, s.detect.RestoreSeconds))
	got, at := r.state(0)
	require.Equal(t, int64(len(lines)), at)
	require.Equal(t, r.undisturbed(0, at), got)
}
