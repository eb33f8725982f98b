package pipeline_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/pipelinetest"
	"github.com/plumbline-sec/plumbline/pipeline/replay"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

// replayed returns the alerts that a replay of the lines gives, one a string.
func (r *rig) replayed(lines []string) map[string]int {
	r.t.Helper()
	var out bytes.Buffer
	run, err := replay.New(replay.Config{Detector: r.detectors, Partitions: r.partitions, Encoder: siem.JSON, Alerts: &out})
	require.NoError(r.t, err)
	for _, l := range lines {
		require.NoError(r.t, run.Record([]byte(l)))
	}
	require.NoError(r.t, run.Flush())
	alerts := make(map[string]int)
	for l := range strings.Lines(out.String()) {
		alerts[strings.TrimSuffix(l, "\n")]++
	}
	require.NotEmpty(r.t, alerts)
	return alerts
}

// alerts returns what stands in the alert topic and how often.
func (r *rig) alerts() map[string]int {
	alerts := make(map[string]int)
	for _, rec := range r.cluster.All(pipeline.TopicAlerts) {
		alerts[string(rec.Value)]++
	}
	return alerts
}

// read waits until a service has read so many records of a topic.
func (s *service) read(t *testing.T, role, topic string, n int) {
	t.Helper()
	require.Eventually(t, func() bool {
		return testutil.ToFloat64(s.metrics.Records.WithLabelValues(role, topic)) >= float64(n)
	}, 20*time.Second, time.Millisecond)
}

// rejoined waits until a role has joined its group a second time.
func (s *service) rejoined(t *testing.T, role string) {
	t.Helper()
	require.Eventually(t, func() bool { return testutil.ToFloat64(s.metrics.Generations.WithLabelValues(role)) >= 2 }, 20*time.Second, time.Millisecond)
}

func TestBaselinesSurviveCommitsThatAreRefused(t *testing.T) {
	r := newRig(t, 1)
	lines := fleet(8)
	third := len(lines) / 3
	r.send(lines[:third]...)
	s := r.start("route", "detect")
	r.settled("route", "detect")
	// As when the connection to the coordinator is lost: the generation ends, and
	// the partition comes back at an offset behind the baselines.
	r.cluster.SetHooks(pipelinetest.Hooks{Commit: func(group string, _ pipeline.TopicPartition, _ int64) error {
		if group == pipeline.GroupDetect {
			return errors.New("connection reset")
		}
		return nil
	}})
	r.send(lines[third : 2*third]...)
	r.settled("route")
	s.read(t, "detect", pipeline.TopicActivity, 2*third)
	r.cluster.Rebalance(pipeline.GroupDetect)
	s.rejoined(t, "detect")
	r.cluster.SetHooks(pipelinetest.Hooks{})
	r.send(lines[2*third:]...)
	r.settled("route", "detect")
	require.NoError(t, s.stop())
	require.Positive(t, testutil.ToFloat64(s.metrics.CommitErrors.WithLabelValues("detect")))
	require.InDelta(t, 0, testutil.ToFloat64(s.detect.StateLost), 0)
	require.Equal(t, r.replayed(lines), r.alerts(), "nothing is scored twice, and nothing with fresh baselines")
}

func TestBaselinesAndAlertsSurviveBrokersThatAreAwayForLongerThanADrain(t *testing.T) {
	r := newRig(t, 1)
	lines := fleet(8)
	half := len(lines) / 2
	r.send(lines[:half]...)
	s := r.start("route", "detect")
	r.settled("route", "detect")
	var refused atomic.Int32
	r.cluster.SetHooks(pipelinetest.Hooks{Produce: func(tp pipeline.TopicPartition, _ []pipeline.Record) error {
		if tp.Topic == pipeline.TopicAlerts || tp.Topic == pipeline.TopicWindows {
			refused.Add(1)
			return errors.New("not enough replicas")
		}
		return nil
	}})
	r.cluster.SetRebalanceTimeout(20 * time.Second)
	r.send(lines[half:]...)
	require.Eventually(t, func() bool { return refused.Load() > 0 }, 10*time.Second, time.Millisecond)
	r.cluster.Rebalance(pipeline.GroupDetect)
	s.rejoined(t, "detect")
	require.Contains(t, r.logged(), "not everything was acknowledged")
	r.cluster.SetHooks(pipelinetest.Hooks{})
	r.settled("route", "detect")
	require.NoError(t, s.stop())
	require.InDelta(t, 0, testutil.ToFloat64(s.detect.StateLost), 0)
	require.Equal(t, r.replayed(lines), r.alerts())
}

// slowLog acknowledges a write some time after it stands in the log; whoever does
// not wait for that does not know whether it does.
type slowLog struct {
	pipeline.Log
	written chan string
}

// Produce implements pipeline.Log.
func (l *slowLog) Produce(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) error {
	if err := l.Log.Produce(ctx, tp, records); err != nil {
		return err
	}
	select {
	case l.written <- tp.Topic:
	default:
	}
	select {
	case <-time.After(200 * time.Millisecond):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestAWriteThatIsInFlightWhenTheGenerationEndsIsNotWrittenTwice(t *testing.T) {
	for _, end := range []string{"by a rebalance", "by a stop"} {
		t.Run(end, func(t *testing.T) {
			r := newRig(t, 1)
			slow := &slowLog{Log: r.cluster, written: make(chan string)}
			r.kafka = slow
			r.events(1, 300)
			s := r.start("route")
			require.Equal(t, pipeline.TopicActivity, <-slow.written)
			if end == "by a stop" {
				require.NoError(t, s.stop())
				s = r.start("route")
			} else {
				r.cluster.Rebalance(pipeline.GroupRoute)
			}
			r.settled("route")
			require.NoError(t, s.stop())
			seen := make(map[string]bool)
			for _, rec := range r.cluster.All(pipeline.TopicActivity) {
				origin := string(rec.Headers[0].Value)
				require.False(t, seen[origin], "%s stands twice", origin)
				seen[origin] = true
			}
			require.Len(t, seen, 300)
		})
	}
}

func TestATopicThatIsMissingAmongTheOutputsIsSaidAndMakesTheRoleUnready(t *testing.T) {
	r := newRig(t, 1)
	r.outputs[0].Topic = "siem.absent"
	r.send(line("agent", 1, time.Now(), ""))
	s := r.start("route", "detect")
	require.Eventually(t, func() bool {
		err := s.health["detect"].Ready()
		return err != nil && strings.Contains(err.Error(), "siem.absent")
	}, 5*time.Second, time.Millisecond, "the role reads nothing and must not look ready")
	require.Contains(t, r.logged(), "siem.absent")
	r.cluster.CreateTopic("siem.absent", 1)
	r.settled("route", "detect")
	require.Eventually(t, func() bool { return s.health["detect"].Ready() == nil }, 5*time.Second, time.Millisecond)
	require.NoError(t, s.stop())
}

func TestBrokersThatDisagreeAboutTheLogAreNotAskedWithoutAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.send(line("agent", 1, time.Now(), ""))
		var asked atomic.Int32
		r.cluster.SetHooks(pipelinetest.Hooks{Fetch: func(tp pipeline.TopicPartition, _ int64) error {
			if tp.Topic == sourceTopic && asked.Add(1) < 1000 {
				return pipeline.ErrOffsetOutOfRange
			}
			return nil
		}})
		s := r.start("route")
		require.Eventually(t, func() bool { return asked.Load() > 0 }, 5*time.Second, time.Millisecond)
		time.Sleep(500 * time.Millisecond)
		require.Less(t, asked.Load(), int32(20))
		require.ErrorContains(t, s.health["route"].Ready(), "out of range")
		r.cluster.SetHooks(pipelinetest.Hooks{})
		r.settled("route")
		require.NoError(t, s.stop())
	})
}

func TestAPartitionThatFailsIsNotHiddenByOneThatWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 2)
		r.cluster.SetHooks(pipelinetest.Hooks{Fetch: func(tp pipeline.TopicPartition, _ int64) error {
			if tp.Topic == sourceTopic && tp.Partition == 0 {
				return errors.New("no leader")
			}
			return nil
		}})
		s := r.start("route")
		require.Eventually(t, func() bool {
			return s.health["route"].Ready() != nil && strings.Contains(s.health["route"].Ready().Error(), "no leader")
		}, 5*time.Second, time.Millisecond)
		for range 100 {
			require.ErrorContains(t, s.health["route"].Ready(), sourceTopic+"/0")
			time.Sleep(time.Millisecond)
		}
		require.NoError(t, s.stop())
	})
}

func TestWhatARoleNoLongerOwnsIsNeitherMeasuredNorReady(t *testing.T) {
	r := newRig(t, 1)
	r.events(3, 50)
	s := r.start("route", "detect")
	r.settled("route", "detect")
	spare := r.start("route") // more members than partitions
	require.Eventually(t, func() bool { return spare.health["route"].Ready() == nil }, 5*time.Second, time.Millisecond)
	require.InDelta(t, 3, testutil.ToFloat64(s.detect.Agents.WithLabelValues("0")), 0)
	require.NoError(t, s.stop())
	require.NoError(t, spare.stop())
	require.Equal(t, 0, testutil.CollectAndCount(s.metrics.Lag))
	require.Equal(t, 0, testutil.CollectAndCount(s.detect.Agents))
	for name, h := range s.health {
		require.Error(t, h.Ready(), name)
	}
	require.Error(t, spare.health["route"].Ready())
}

func TestARefusedCommitIsTriedAgainWithoutHaste(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.send(line("agent", 1, time.Now(), ""))
		var tried atomic.Int32
		var once sync.Once
		first := make(chan struct{})
		r.cluster.SetHooks(pipelinetest.Hooks{Commit: func(string, pipeline.TopicPartition, int64) error {
			tried.Add(1)
			once.Do(func() { close(first) })
			return errors.New("coordinator is loading")
		}})
		s := r.start("route")
		<-first
		time.Sleep(1500 * time.Millisecond)
		require.LessOrEqual(t, tried.Load(), int32(3))
		require.Equal(t, 1, strings.Count(r.logged(), "offset commit refused"), "it is said once")
		r.cluster.SetHooks(pipelinetest.Hooks{})
		r.settled("route")
		require.NoError(t, s.stop())
		committed, _ := r.cluster.Committed(pipeline.GroupRoute, source)
		require.Equal(t, int64(1), committed)
		require.Equal(t, schemas.DefaultTenant+"/agent", string(r.cluster.All(pipeline.TopicActivity)[0].Key))
	})
}
