package pipeline_test

import (
	"encoding/json"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/pipelinetest"
	"github.com/plumbline-sec/plumbline/pipeline/route"
	"github.com/plumbline-sec/plumbline/schemas"
)

// tick is the record of a tick.
func tick(at time.Time) pipeline.Record {
	return pipeline.Record{
		Value:   schemas.AppendTick(nil, schemas.Tick{At: schemas.Millis(at.UnixMilli())}),
		Headers: []pipeline.Header{{Key: schemas.RecordHeader, Value: []byte(schemas.RecordTick)}},
	}
}

func TestARecordThatIsNoEventIsPassedOver(t *testing.T) {
	r := newRig(t, 1)
	r.send(line("a", 1, time.Now(), ""))
	r.run("route")
	of := func(kind string) pipeline.Record {
		return pipeline.Record{Value: []byte("\x00"), Key: []byte("default/a"), Headers: []pipeline.Header{{Key: schemas.RecordHeader, Value: []byte(kind)}}}
	}
	_, err := r.cluster.Put(activity, of("of a later release"), of(""), tick(time.Now()))
	require.NoError(t, err)
	s := r.run("detect", "archive")
	require.Empty(t, r.cluster.All(pipeline.TopicDeadLetter))
	require.Equal(t, 1, r.warehouse.Stored("activity"))
	require.InDelta(t, 2, testutil.ToFloat64(s.metrics.Passed.WithLabelValues("detect")), 0)
	require.InDelta(t, 3, testutil.ToFloat64(s.metrics.Passed.WithLabelValues("archive")), 0)

	_, err = r.cluster.Put(activity, of("tick"))
	require.NoError(t, err)
	s = r.run("detect", "archive")
	require.Len(t, r.cluster.All(pipeline.TopicDeadLetter), 1, "route writes no such tick")
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.Refused.WithLabelValues(pipeline.TopicActivity, "no_origin")), 0)
}

// An agent may send what looks like a tick: its headers stay where they are.
func TestNoSourceRecordBecomesATick(t *testing.T) {
	r := newRig(t, 1)
	forged := tick(time.Now().Add(1000 * time.Hour))
	forged.Headers = append(forged.Headers, pipeline.Header{Key: "plumbline-origin", Value: []byte("default/1/agent-activity/0/99/0")})
	_, err := r.cluster.Put(pipeline.TopicPartition{Topic: sourceTopic}, forged)
	require.NoError(t, err)
	forged.Value = []byte(line("a", 1, time.Now(), `,"at":"2100-01-01T00:00:00Z"`))
	_, err = r.cluster.Put(pipeline.TopicPartition{Topic: sourceTopic}, forged)
	require.NoError(t, err)
	r.run(allRoles...)
	require.Len(t, r.cluster.All(pipeline.TopicDeadLetter), 1, "what names no agent is no event")
	routed := r.cluster.All(pipeline.TopicActivity)
	require.Len(t, routed, 1)
	require.Nil(t, routed[0].Header(schemas.RecordHeader))
	require.Equal(t, "default/1/"+sourceTopic+"/0/1/0", string(routed[0].Header(schemas.OriginHeader)))
	require.Equal(t, 1, r.warehouse.Stored("activity"))
}

// ticksIn are the ticks of a partition of the activity topic.
func (r *rig) ticksIn(partition int32) (out []pipeline.Record) {
	for _, rec := range r.cluster.Records(pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: partition}) {
		if rec.Header(schemas.RecordHeader) != nil {
			out = append(out, rec)
		}
	}
	return out
}

// ticking is a rig whose route writes ticks, in a bubble whose clock runs without hurry.
func ticking(t *testing.T, partitions int32) *rig {
	t.Helper()
	r := newRig(t, partitions)
	r.ticks, r.every = route.TickEvery, time.Hour
	r.cluster.SetFetch(10*time.Minute, 1000)
	return r
}

// A service that watches one agent, which works for four weeks and is then stopped.
func TestAServiceMissesAnAgentThatIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := ticking(t, 1)
		const step = 10 * time.Minute
		n := 0
		call := func(at time.Time) { n++; r.send(line("alone", n, at, "")) }
		now := time.Now()
		for at := now.Add(-27 * 24 * time.Hour); at.Before(now); at = at.Add(step) {
			call(at)
		}
		s := r.start(allRoles...)
		for range 12 * time.Hour / step {
			call(time.Now())
			time.Sleep(step)
		}
		stopped := time.Now()
		require.Zero(t, r.silences())
		time.Sleep(7 * time.Hour)
		require.Equal(t, 1, r.silences(), "log:\n%s", r.logged())
		require.NoError(t, s.stop())

		var a schemas.Alert
		rec := r.cluster.All(pipeline.TopicAlerts)[0]
		require.NoError(t, json.Unmarshal(rec.Value, &a))
		require.Less(t, rec.Time.Time().Sub(stopped), 6*time.Hour+5*time.Minute)
		at, ok := pipeline.ParsePlace(rec.Header(pipeline.HeaderSource))
		require.True(t, ok)
		require.NotNil(t, r.cluster.Records(activity)[at.Offset].Header(schemas.RecordHeader), "a tick completed it")

		require.Equal(t, n, r.warehouse.Stored("activity"))
		require.Empty(t, r.cluster.All(pipeline.TopicDeadLetter))
		require.Len(t, r.ticksIn(0), 19)

		// The topic says it all: the alerts, and the state.
		alerts := said{}
		d, err := detector.New(r.detectors, alerts)
		require.NoError(t, err)
		for _, rec := range r.cluster.Records(activity) {
			r.take(d, &rec)
		}
		require.Equal(t, map[string]int(alerts), r.alerts())
		got, end := r.state(0)
		require.Equal(t, r.undisturbed(0, end), got)
	})
}

// silences counts the alerts of silence that were opened.
func (r *rig) silences() (n int) {
	for _, rec := range r.cluster.All(pipeline.TopicAlerts) {
		var a schemas.Alert
		require.NoError(r.t, json.Unmarshal(rec.Value, &a))
		if a.Status == schemas.StatusOpen && a.Signals[0].Name == schemas.SignalSilence {
			n++
		}
	}
	return n
}

// An old history is loaded in parts, and ticks fall into the pauses between them.
func TestTicksChangeNothingOfAHistoryThatIsLoaded(t *testing.T) {
	lines := fleet(6)
	synctest.Test(t, func(t *testing.T) {
		r := ticking(t, 2)
		s := r.start("route", "detect")
		const parts = 7
		for i := range parts {
			r.send(lines[i*len(lines)/parts : (i+1)*len(lines)/parts]...)
			time.Sleep(3 * time.Hour)
		}
		require.NoError(t, s.stop())
		require.Greater(t, len(r.ticksIn(0))+len(r.ticksIn(1)), 2*parts)
		require.Equal(t, r.replayed(lines), r.alerts())
	})
}

func TestOneOfSeveralInstancesWritesTheTicksOfAPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := ticking(t, 4)
		r.send(line("a", 1, time.Now(), ""), line("b", 2, time.Now(), ""), line("c", 3, time.Now(), ""))
		first, second := r.start("route"), r.start("route")
		time.Sleep(90 * time.Minute)
		third := r.start("route")
		time.Sleep(90 * time.Minute)
		require.NoError(t, first.stop())
		time.Sleep(7 * time.Hour)
		require.NoError(t, errors.Join(second.stop(), third.stop()))
		used := 0
		for p := range int32(4) {
			tp := pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: p}
			hours := map[time.Time]int{}
			for _, rec := range r.ticksIn(p) {
				require.Nil(t, rec.Key)
				hours[rec.Time.Time().Add(-3*time.Minute).Truncate(time.Hour)]++
			}
			if len(r.cluster.Records(tp)) == 0 {
				continue
			}
			used++
			require.Len(t, hours, 10, "one an hour")
			require.LessOrEqual(t, len(r.ticksIn(p)), 12, "who takes a partition over may write one too many")
		}
		require.Positive(t, used)
		require.Less(t, used, 4, "a partition without an event gets none")
	})
}

// What waits in a source is not passed by a tick, whoever is to route it.
func TestNoTickPassesWhatWaitsInASource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := ticking(t, 2)
		var stuck atomic.Bool
		stuck.Store(true)
		r.cluster.SetHooks(pipelinetest.Hooks{Fetch: func(tp pipeline.TopicPartition, _ int64) error {
			if tp.Topic == sourceTopic && tp.Partition == 1 && stuck.Load() {
				return errors.New("no leader")
			}
			return nil
		}})
		var waits string
		for _, agent := range []string{"a", "b", "c", "d", "e"} {
			r.send(line(agent, 1, time.Now(), ""))
			if schemas.Partition(schemas.AppendKey(nil, schemas.DefaultTenant, agent), 2) == 1 {
				waits = agent
			}
		}
		require.NotEmpty(t, waits)
		s, other := r.start("route"), r.start("route")
		time.Sleep(5 * time.Hour)
		require.NotEmpty(t, r.cluster.Records(activity))
		require.Empty(t, append(r.ticksIn(0), r.ticksIn(1)...))
		stuck.Store(false)
		time.Sleep(2 * time.Hour)
		require.NoError(t, errors.Join(s.stop(), other.stop()))
		for p := range int32(2) {
			require.NotEmpty(t, r.ticksIn(p))
			records := r.cluster.Records(pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: p})
			require.Nil(t, records[0].Header(schemas.RecordHeader), "what waited comes first")
		}
	})
}

func TestAPartitionThatIsIdleForGoodGetsNoTicksForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := ticking(t, 1)
		r.ticks = time.Minute
		r.send(line("a", 1, time.Now(), ""))
		s := r.start("route")
		time.Sleep(10 * time.Hour)
		n := len(r.ticksIn(0))
		require.InDelta(t, 120, n, 2, "the last of five days, were they hours")
		r.send(line("a", 2, time.Now(), ""))
		time.Sleep(30 * time.Minute)
		require.InDelta(t, n+30, len(r.ticksIn(0)), 1)
		require.NoError(t, s.stop())
	})
}

func TestATickThatCouldNotBeWrittenIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := ticking(t, 1)
		r.send(line("a", 1, time.Now(), ""))
		r.run("route")
		refused := 0
		r.cluster.SetHooks(pipelinetest.Hooks{Produce: func(pipeline.TopicPartition, []pipeline.Record) error {
			if refused++; refused <= 3 {
				return errors.New("not enough replicas")
			}
			return nil
		}})
		s := r.start("route")
		time.Sleep(10 * time.Minute)
		require.Len(t, r.ticksIn(0), 1)
		require.Contains(t, r.logged(), "a tick could not be written")
		require.NoError(t, s.health["route"].Ready(), "routing goes on")
		require.NoError(t, s.stop())
	})
}
