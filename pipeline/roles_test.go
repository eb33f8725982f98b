package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/pipelinetest"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

func TestEveryEventIsRoutedOnceAndEveryRefusalIsKeptWithItsReason(t *testing.T) {
	r := newRig(t, 4)
	now := time.Now().Add(-time.Hour)
	var good []string
	for i := range 500 {
		good = append(good, line("agent-"+strconv.Itoa(i%17), i, now.Add(time.Duration(i)*time.Second), ""))
	}
	bad := []string{`not json`, `{"tool":"x"}`, `{"agent_id":7}`, `{"agent_id":"a","x":` + strings.Repeat("[", 10_000), `{"agent_id":"a","agent_id":"b"}`}
	r.send(good...)
	r.send(bad...)
	s := r.run(allRoles...)

	seen := make(map[string]bool)
	for p := range int32(4) {
		for _, rec := range r.cluster.Records(pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: p}) {
			require.Equal(t, p, schemas.Partition(rec.Key, 4), "an agent's events stand in the partition of its key")
			origin, err := schemas.ParseOrigin(rec.Headers[0].Value)
			require.NoError(t, err)
			require.False(t, seen[origin.String()], "origin %s stands twice", origin)
			seen[origin.String()] = true
		}
	}
	require.Len(t, seen, len(good))
	require.Equal(t, len(good), r.warehouse.Stored("activity"))

	reasons := make(map[string]string)
	for _, rec := range r.cluster.All(pipeline.TopicDeadLetter) {
		h := make(map[string]string)
		for _, x := range rec.Headers {
			h[x.Key] = string(x.Value)
		}
		require.Equal(t, sourceTopic, h[pipeline.HeaderSourceTopic])
		require.NotEmpty(t, h[pipeline.HeaderSourceOffset])
		reasons[string(rec.Value)] = h[pipeline.HeaderReason]
	}
	require.Equal(t, map[string]string{
		bad[0]: "not_json", bad[1]: "no_agent_id", bad[2]: "invalid_identity", bad[3]: "too_deep", bad[4]: "duplicate_identity",
	}, reasons)
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.Refused.WithLabelValues("default", "too_deep")), 0)
}

func TestARegistrationGoesTheWayOfEventsAndAnEventIsNone(t *testing.T) {
	r := newRig(t, 2)
	reg := `{"record":"registration","tenant_id":"acme","agent_id":"bot","time":"2026-02-01T00:00:00.000Z","owner":"Ada","tools":[]}`
	forged := `{"tenant_id":"acme","agent_id":"bot","event_id":"e","time":"2026-02-01T00:00:00.000Z","attributes":{"record":"registration","owner":"Eve"}}`
	r.send(reg, `{"record":"registration","agent_id":"bot","status":"gone"}`)
	r.send(forged)
	key := schemas.AppendKey(nil, "acme", "bot")
	// Who may write events says `+"`record`"+` as well, in the body and as a header.
	_, err := r.cluster.Put(pipeline.TopicPartition{Topic: sourceTopic, Partition: schemas.Partition(key, 2)}, pipeline.Record{
		Key: key, Value: []byte(reg), Headers: []pipeline.Header{{Key: schemas.RecordHeader, Value: []byte(schemas.RecordRegistration)}},
	})
	require.NoError(t, err)
	s := r.run(allRoles...)

	var kinds []string
	for _, rec := range r.cluster.Records(pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: schemas.Partition(key, 2)}) {
		kind := string(rec.Header(schemas.RecordHeader))
		kinds = append(kinds, kind)
		if kind != "" {
			require.Equal(t, reg, string(rec.Value))
			require.Equal(t, "registry/1/agent-registry/"+strconv.Itoa(int(schemas.Partition(key, 2)))+"/0/0", string(rec.Header(schemas.OriginHeader)))
		}
	}
	require.ElementsMatch(t, []string{"", "", schemas.RecordRegistration}, kinds)
	require.Equal(t, 1, r.warehouse.Stored("registrations"))
	require.Equal(t, 2, r.warehouse.Stored("activity"))
	require.Len(t, r.cluster.All(pipeline.TopicDeadLetter), 1)
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.Refused.WithLabelValues("registry", "invalid_registration")), 0)
}

func TestReplayGivesTheAlertsOfTheService(t *testing.T) {
	for _, partitions := range []int32{1, 4} {
		t.Run(fmt.Sprintf("with %d partitions", partitions), func(t *testing.T) {
			r := newRig(t, partitions)
			lines := fleet(12)
			r.send(lines...)
			r.run(allRoles...)
			want := r.replayed(lines)
			require.Equal(t, want, r.alerts())
			require.Len(t, r.cluster.All(ocsfTopic), len(want), "each alert stands in the output too")
			require.Equal(t, len(want), r.warehouse.Stored("alerts"))
			require.Positive(t, r.warehouse.Stored("windows"))
		})
	}
}

func TestWhatACrashRepeatsIsStoredAndScoredOnce(t *testing.T) {
	r := newRig(t, 2)
	r.events(5, 300)
	// A crash between the acknowledged write and the commit of the source offset.
	r.run("route")
	for p := range int32(2) {
		r.cluster.SetCommitted(pipeline.GroupRoute, pipeline.TopicPartition{Topic: sourceTopic, Partition: p}, 10)
	}
	s := r.run(allRoles...)

	written := len(r.cluster.All(pipeline.TopicActivity))
	require.Greater(t, written, 300, "route wrote again what it had not committed")
	require.InDelta(t, written-300, testutil.ToFloat64(s.detect.Repeated), 0, "detect recognises every repetition")
	require.Equal(t, 300, r.warehouse.Stored("activity"), "under the views each event stands once")
}

func TestAWriteThatFailsIsRepeatedAndNothingOvertakesIt(t *testing.T) {
	r := newRig(t, 1)
	var failures atomic.Int32
	r.cluster.SetHooks(pipelinetest.Hooks{
		Produce: func(tp pipeline.TopicPartition, _ []pipeline.Record) error {
			if tp.Topic == pipeline.TopicActivity && failures.Add(1) <= 4 {
				return errors.New("not enough replicas")
			}
			return nil
		},
		Commit: func(group string, _ pipeline.TopicPartition, offset int64) error {
			if have := int64(len(r.cluster.All(pipeline.TopicActivity))); group == pipeline.GroupRoute && have < offset {
				return fmt.Errorf("committed %d with only %d written", offset, have)
			}
			return nil
		},
	})
	r.events(1, 250)
	s := r.run("route")
	require.InDelta(t, 4, testutil.ToFloat64(s.metrics.ProduceErrors.WithLabelValues(pipeline.TopicActivity)), 0)
	require.InDelta(t, 0, testutil.ToFloat64(s.metrics.CommitErrors.WithLabelValues("route")), 0, r.logged())
	written := r.cluster.All(pipeline.TopicActivity)
	require.Len(t, written, 250)
	for i, rec := range written {
		require.Contains(t, string(rec.Value), fmt.Sprintf(`"agent-0-%d"`, i), "order is kept")
	}
}

func TestAlertsFlowWhileTheWarehouseIsDownAndItCatchesUp(t *testing.T) {
	r := newRig(t, 1)
	var down atomic.Bool
	down.Store(true)
	r.warehouse.SetHooks(func(context.Context, string, int) error {
		if down.Load() {
			return errors.New("connection refused")
		}
		return nil
	}, nil)
	lines := fleet(8)
	r.send(lines...)
	s := r.start(allRoles...)
	r.settled("route", "detect")
	require.NotEmpty(t, r.cluster.All(pipeline.TopicAlerts))
	require.Zero(t, r.warehouse.Stored("activity"))
	require.Eventually(t, func() bool { return s.health["archive"].Ready() != nil }, 5*time.Second, 5*time.Millisecond)
	require.ErrorContains(t, s.health["archive"].Ready(), "connection refused")
	require.NoError(t, s.health["detect"].Ready())

	down.Store(false)
	r.settled(allRoles...)
	require.NoError(t, s.health["archive"].Ready())
	require.NoError(t, s.stop())
	require.Equal(t, len(lines), r.warehouse.Stored("activity"))
}

func TestALostAcknowledgementOfTheWarehouseDoublesNothing(t *testing.T) {
	r := newRig(t, 1)
	var lost atomic.Int32
	r.warehouse.SetHooks(nil, func(context.Context, string, int) error {
		if lost.Add(1) <= 3 {
			return errors.New("connection reset after the insert")
		}
		return nil
	})
	r.events(1, 200)
	r.run(allRoles...)
	require.Equal(t, 200, r.warehouse.Stored("activity"))
	require.Greater(t, r.warehouse.Inserted("activity"), 200)
}

func TestARebalanceKeepsTheBaselinesWarm(t *testing.T) {
	r := newRig(t, 2)
	lines := fleet(8)
	half := len(lines) / 2
	r.send(lines[:half]...)
	s := r.start(allRoles...)
	r.settled(allRoles...)
	r.cluster.Rebalance(pipeline.GroupDetect)
	r.send(lines[half:]...)
	r.settled(allRoles...)
	require.NoError(t, s.stop())
	require.GreaterOrEqual(t, testutil.ToFloat64(s.metrics.Generations.WithLabelValues("detect")), 2.)
	require.Zero(t, observed(t, s.detect.RestoreSeconds), "they are not read back")
	require.Equal(t, r.replayed(lines), r.alerts())
}

// observed returns how often a histogram was.
func observed(t *testing.T, h prometheus.Histogram) uint64 {
	t.Helper()
	var m dto.Metric
	require.NoError(t, h.Write(&m))
	return m.GetHistogram().GetSampleCount()
}

func TestRecordsLostToRetentionAreCountedAndReadingGoesOn(t *testing.T) {
	r := newRig(t, 1)
	r.events(1, 100)
	r.cluster.SetCommitted(pipeline.GroupRoute, source, 20)
	require.NoError(t, r.cluster.DeleteRecords(t.Context(), source, 50))
	s := r.run("route")
	require.InDelta(t, 30, testutil.ToFloat64(s.metrics.LostRecords.WithLabelValues("route", sourceTopic)), 0)
	require.Contains(t, r.logged(), "DATA LOST")
	require.Len(t, r.cluster.All(pipeline.TopicActivity), 50)
}

func TestABatchThatCantBeReadIsSteppedOverLoudly(t *testing.T) {
	r := newRig(t, 1)
	r.events(1, 30)
	r.cluster.SetFetch(5*time.Millisecond, 10)
	r.cluster.SetHooks(pipelinetest.Hooks{Fetch: func(tp pipeline.TopicPartition, offset int64) error {
		if tp.Topic == sourceTopic && offset == 10 {
			return &pipeline.CorruptError{TopicPartition: tp, Offset: 10, Next: 20, Reason: "checksum"}
		}
		return nil
	}})
	s := r.run("route")
	require.Len(t, r.cluster.All(pipeline.TopicActivity), 20, "what stands before and behind it is routed")
	require.InDelta(t, 10, testutil.ToFloat64(s.metrics.LostRecords.WithLabelValues("route", sourceTopic)), 0)
	require.Contains(t, r.logged(), "DATA LOST")
}

// A broker that was away, and has to heal a batch from a replica when it is back.
func TestABatchIsNotGivenUpForWhatFailedBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1)
		r.events(1, 30)
		r.run(allRoles...)
		r.cluster.SetFetch(5*time.Millisecond, 10)
		r.events(1, 30)
		failed := make(map[string]int)
		var mu sync.Mutex
		r.cluster.SetHooks(pipelinetest.Hooks{Fetch: func(tp pipeline.TopicPartition, offset int64) error {
			mu.Lock()
			defer mu.Unlock()
			switch n := failed[tp.Topic]; {
			case tp.Topic == sourceTopic && offset < 40, n >= 12:
				return nil
			case n >= 8:
				failed[tp.Topic]++
				return &pipeline.CorruptError{TopicPartition: tp, Offset: offset, Next: offset + 10, Reason: "checksum"}
			}
			failed[tp.Topic]++
			return errors.New("no broker answers")
		}})
		s := r.start("route", "detect")
		time.Sleep(5 * time.Minute)
		require.NoError(t, s.stop())
		require.Len(t, r.cluster.All(pipeline.TopicActivity), 60)
		require.InDelta(t, 0, testutil.ToFloat64(s.metrics.LostRecords.WithLabelValues("route", sourceTopic)), 0)
		for _, topic := range []string{sourceTopic, pipeline.TopicBaselines} {
			require.Equal(t, 12, failed[topic], topic)
		}
	})
}

func TestABatchThatItsProducerMadeUnreadableIsReadOnce(t *testing.T) {
	r := newRig(t, 1)
	r.events(1, 30)
	r.cluster.SetFetch(5*time.Millisecond, 10)
	var reads atomic.Int64
	r.cluster.SetHooks(pipelinetest.Hooks{Fetch: func(tp pipeline.TopicPartition, offset int64) error {
		if tp.Topic == sourceTopic && offset >= 10 && offset < 20 {
			reads.Add(1)
			return &pipeline.CorruptError{TopicPartition: tp, Offset: offset, Next: offset + 1, Reason: "it decompresses to too much", Intact: true}
		}
		return nil
	}})
	s := r.start("route")
	require.Eventually(t, func() bool { return len(r.cluster.All(pipeline.TopicActivity)) == 20 }, 5*time.Second, time.Millisecond,
		"ten bombs hold nobody up")
	require.NoError(t, s.stop())
	require.Equal(t, int64(10), reads.Load(), "each is read once")
	require.InDelta(t, 10, testutil.ToFloat64(s.metrics.LostRecords.WithLabelValues("route", sourceTopic)), 0)
	require.Contains(t, r.logged(), "DATA LOST")
}

func TestARecreatedTopicIsRefusedWithWhatToDo(t *testing.T) {
	r := newRig(t, 1)
	r.send(line("agent", 1, time.Now(), ""))
	r.cluster.SetCommitted(pipeline.GroupRoute, source, 1000)
	require.ErrorContains(t, r.start("route").ended(), "raise `incarnation`")
}

func TestARecordThatTheBrokerRefusesForItsSizeBecomesADeadLetterAndBlocksNobody(t *testing.T) {
	r := newRig(t, 1)
	// The activity topic takes less than what the source took.
	r.cluster.CreateTopic(pipeline.TopicActivity, 1, pipelinetest.MaxMessage(2000))
	r.cluster.CreateTopic(pipeline.TopicDeadLetter, 1, pipelinetest.MaxMessage(3000))
	now := time.Now().Add(-time.Hour)
	r.send(line("agent", 1, now, ""), line("agent", 2, now, `,"model":"`+strings.Repeat("m", 3900)+`"`), line("agent", 3, now, ""))
	r.run("route")
	require.Len(t, r.cluster.All(pipeline.TopicActivity), 2)
	dead := r.cluster.All(pipeline.TopicDeadLetter)
	require.Len(t, dead, 1)
	require.Contains(t, fmt.Sprintf("%s", dead[0].Headers), "record_too_large")
	require.Contains(t, fmt.Sprintf("%s", dead[0].Headers), pipeline.HeaderCut, "it is cut to what the topic takes, and says so")
}

func TestARecordThatRouteDidNotWriteIsSetAside(t *testing.T) {
	r := newRig(t, 1)
	now := time.Now().Add(-time.Hour)
	_, err := r.cluster.Put(activity, pipeline.Record{Key: []byte("default/x"), Value: []byte(`{"agent_id":"forged"}`)})
	require.NoError(t, err)
	r.send(line("agent", 1, now, ""))
	s := r.run(allRoles...)
	dead := r.cluster.All(pipeline.TopicDeadLetter)
	require.Len(t, dead, 1)
	require.Contains(t, string(dead[0].Value), "forged")
	require.InDelta(t, 1, testutil.ToFloat64(s.metrics.Refused.WithLabelValues(pipeline.TopicActivity, "no_origin")), 0,
		"detect and archive read it, and one dead letter is counted once")
	require.Equal(t, 1, r.warehouse.Stored("activity"))
}

func TestAStopDrainsWhatWasRead(t *testing.T) {
	r := newRig(t, 1)
	now := time.Now().Add(-time.Hour)
	s := r.start(allRoles...)
	for i := range 2000 {
		r.send(line("agent", i, now.Add(time.Duration(i)*time.Millisecond), ""))
	}
	require.Eventually(t, func() bool { return len(r.cluster.All(pipeline.TopicActivity)) > 100 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.stop())
	committed, _ := r.cluster.Committed(pipeline.GroupRoute, source)
	require.Len(t, r.cluster.All(pipeline.TopicActivity), int(committed), "what was routed is committed, no more and no less")
	archived, _ := r.cluster.Committed(pipeline.GroupArchive, activity)
	require.Equal(t, int(archived), r.warehouse.Stored("activity"), "what was read is stored and committed")
}

func TestAnOutputGetsWhatItsFilterWantsAndTheAlertTopicEverything(t *testing.T) {
	r := newRig(t, 1)
	r.outputs[0].Filter = siem.Filter{Statuses: []string{schemas.StatusOpen}}
	r.send(fleet(8)...)
	r.run("route", "detect")
	opened := 0
	for _, rec := range r.cluster.All(pipeline.TopicAlerts) {
		var a schemas.Alert
		require.NoError(t, json.Unmarshal(rec.Value, &a))
		if a.Status == schemas.StatusOpen {
			opened++
		}
	}
	require.Positive(t, opened)
	require.Greater(t, len(r.cluster.All(pipeline.TopicAlerts)), opened)
	require.Len(t, r.cluster.All(ocsfTopic), opened)
}
