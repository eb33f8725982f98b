package kafka_test

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
)

// logBuffer collects log lines from several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func loggingClient(t *testing.T, cfg kafka.Config) (*kafka.Client, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	c, err := kafka.New(cfg, zerolog.New(log).Level(zerolog.WarnLevel))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c, log
}

func TestClientRidesOutABrokerThatIsGone(t *testing.T) {
	dir := t.TempDir()
	broker := brokertest.StartBroker(t, brokertest.WithDataDir(dir))
	addr := broker.Addr()
	c, log := loggingClient(t, kafka.Config{Brokers: []string{addr}, MetadataTTL: 200 * time.Millisecond})
	require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t"}}))
	require.NoError(t, c.Produce(t.Context(), tp, []pipeline.Record{{Value: []byte("before")}}))
	g, gen := join(t.Context(), t, c)
	require.NoError(t, gen.Commit(tp, 1))
	ended := make(chan struct{})
	gen.Start(func(ctx context.Context) {
		<-ctx.Done()
		close(ended)
	})

	require.NoError(t, broker.Stop())
	<-ended
	_, fetchErr := c.Fetch(t.Context(), tp, 0)
	for _, err := range []error{fetchErr, c.Produce(t.Context(), tp, []pipeline.Record{{}})} {
		var unreachable *kafka.UnreachableError
		require.ErrorAs(t, err, &unreachable)
		require.ErrorContains(t, err, addr)
		require.ErrorContains(t, err, "kafka.brokers")
	}
	joined := make(chan pipeline.Generation, 1)
	go func() {
		gen, err := g.Next(t.Context())
		assert.NoError(t, err)
		joined <- gen
	}()
	require.Eventually(t, func() bool { return strings.Contains(log.String(), addr) }, 10*time.Second, 10*time.Millisecond)
	time.Sleep(300 * time.Millisecond)
	assert.Equal(t, 1, strings.Count(log.String(), "\n"), "one line for one outage, not one for each attempt: %s", log)
	assert.Contains(t, log.String(), "kafka.brokers")

	brokertest.Start(t, brokertest.WithDataDir(dir), brokertest.WithListen(addr))
	select {
	case gen := <-joined:
		assert.Equal(t, []pipeline.Assignment{{TopicPartition: tp, Offset: 1, Committed: true}}, gen.Assignments())
	case <-time.After(20 * time.Second):
		t.Fatal("the group did not come back")
	}
	require.Eventually(t, func() bool {
		f, err := c.Fetch(t.Context(), tp, 0)
		return err == nil && len(f.Records) == 1
	}, 10*time.Second, 50*time.Millisecond)
	require.NoError(t, g.Close())
}

func TestClientFollowsAPartitionToItsNewLeader(t *testing.T) {
	cluster := fakeCluster(t)
	c := withTopic(t, newClient(t, kafka.Config{Brokers: cluster.ListenAddrs(), MetadataTTL: 200 * time.Millisecond}))
	for node := range int32(3) {
		require.NoError(t, cluster.MoveTopicPartition("t", 0, node))
		require.Eventually(t, func() bool {
			return c.Produce(t.Context(), tp, []pipeline.Record{{Value: []byte{byte(node)}}}) == nil
		}, 10*time.Second, 20*time.Millisecond)
		require.Eventually(t, func() bool {
			f, err := c.Fetch(t.Context(), tp, int64(node))
			return err == nil && len(f.Records) == 1 && f.Records[0].Value[0] == byte(node)
		}, 10*time.Second, 20*time.Millisecond)
	}
}

func TestRequestsToABrokerThatNeverAnswersEnd(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // connections are made, and nobody accepts them
	require.NoError(t, err)
	defer func() { _ = l.Close() }()
	c := newClient(t, kafka.Config{Brokers: []string{l.Addr().String()}, DialTimeout: 200 * time.Millisecond, RequestTimeout: 400 * time.Millisecond})
	start := time.Now()
	_, err = c.Fetch(t.Context(), tp, 0)
	var unreachable *kafka.UnreachableError
	require.ErrorAs(t, err, &unreachable)
	require.ErrorAs(t, c.Produce(t.Context(), tp, []pipeline.Record{{}}), &unreachable)
	assert.Less(t, time.Since(start), 10*time.Second)
}

func TestACancelledFetchDoesNotWaitForTheBroker(t *testing.T) {
	c := withTopic(t, newClient(t, kafka.Config{Brokers: []string{brokertest.Start(t)}, FetchMaxWait: 20 * time.Second}))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := c.Fetch(ctx, tp, 0)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	assert.Less(t, time.Since(start), 5*time.Second)
}

func TestProduceErrorsKeepTheirMeaning(t *testing.T) {
	cluster := fakeCluster(t, kfake.SeedTopics(1, "t"))
	c := newClient(t, kafka.Config{Brokers: cluster.ListenAddrs()})
	for name, test := range map[string]struct {
		code     *kerr.Error
		tooLarge bool
		want     string
	}{
		"too few replicas":  {kerr.NotEnoughReplicas, false, "t/0"},
		"a broker's limit":  {kerr.MessageTooLarge, true, "message too large"},
		"a list too large":  {kerr.RecordListTooLarge, true, "message too large"},
		"an ACL":            {kerr.TopicAuthorizationFailed, false, "an ACL denies this to an anonymous client"},
		"a moved partition": {kerr.NotLeaderForPartition, false, "t/0"},
	} {
		t.Run(name, func(t *testing.T) {
			fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: "t", Err: test.code, Count: -1})
			defer fault.Remove()
			err := c.Produce(t.Context(), tp, []pipeline.Record{{Value: []byte("v")}})
			require.ErrorContains(t, err, test.want)
			if test.tooLarge {
				require.ErrorIs(t, err, pipeline.ErrTooLarge)
			} else {
				require.NotErrorIs(t, err, pipeline.ErrTooLarge)
			}
		})
	}
}

func TestAppendSaysWhatIsAcknowledgedWhenALaterRequestFails(t *testing.T) {
	cluster := fakeCluster(t, kfake.SeedTopics(1, "t"))
	c := newClient(t, kafka.Config{Brokers: cluster.ListenAddrs()})
	requests := make(map[kmsg.Request]int) // kfake may ask several times about one
	cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotEnoughReplicas, Count: -1, When: func(r kmsg.Request) bool {
		if _, ok := requests[r]; !ok {
			requests[r] = len(requests) + 1
		}
		return requests[r] == 2
	}})
	big := make([]byte, 600<<10)
	appended, err := c.Append(t.Context(), tp, []pipeline.Record{{Value: big}, {Value: big}, {Value: big}})
	require.Error(t, err)
	assert.Equal(t, pipeline.Appended{First: 0, Last: 0, Count: 1}, appended)
}

func TestRefusedCredentialsAreAnAccessError(t *testing.T) {
	cluster := fakeCluster(t, kfake.EnableSASL(), kfake.Superuser(kafka.MechanismPlain, "me", password))
	cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		res, ok := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
		if !ok {
			return nil, nil, false
		}
		res.ErrorCode = kerr.SaslAuthenticationFailed.Code
		return res, nil, true
	})
	c := newClient(t, kafka.Config{Brokers: cluster.ListenAddrs(), SASL: &kafka.SASLConfig{Mechanism: kafka.MechanismPlain, Username: "me", Password: password}})
	_, err := c.Fetch(t.Context(), tp, 0)
	var access *kafka.AccessError
	require.ErrorAs(t, err, &access)
	require.ErrorContains(t, err, "refuses the credentials of PLAIN as me")
}

func TestAClosedClientSaysSo(t *testing.T) {
	c, err := kafka.New(kafka.Config{Brokers: []string{brokertest.Start(t)}}, zerolog.Nop())
	require.NoError(t, err)
	require.NoError(t, c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "t"}}))
	g, _ := join(t.Context(), t, c)
	require.NoError(t, c.Close(), "and closes its groups")
	require.NoError(t, c.Close())
	_, fetchErr := c.Fetch(t.Context(), tp, 0)
	_, _, boundsErr := c.Bounds(t.Context(), tp)
	_, nextErr := g.Next(t.Context())
	_, groupErr := c.Group(fastGroup("g", "t"))
	for _, err := range []error{fetchErr, boundsErr, nextErr, groupErr, c.Produce(t.Context(), tp, []pipeline.Record{{}}), c.EnsureTopics(t.Context(), []kafka.TopicSpec{{Name: "u"}})} {
		require.ErrorContains(t, err, "closed")
	}
}
