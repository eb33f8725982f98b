package broker_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker"
	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/internal/embedded/claim"
)

// client returns a client without an idle connection left after the test.
func client(t *testing.T, addr string) *kafka.Client {
	t.Helper()
	transport := &kafka.Transport{MetadataTTL: time.Second, DialTimeout: 2 * time.Second}
	t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(addr), Transport: transport, Timeout: 10 * time.Second}
}

func createTopic(t *testing.T, c *kafka.Client, topic string, settings map[string]string) {
	t.Helper()
	config := kafka.TopicConfig{Topic: topic, NumPartitions: 2, ReplicationFactor: 1}
	for k, v := range settings {
		config.ConfigEntries = append(config.ConfigEntries, kafka.ConfigEntry{ConfigName: k, ConfigValue: v})
	}
	resp, err := c.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{config}})
	require.NoError(t, err)
	require.NoError(t, resp.Errors[topic])
}

func produce(ctx context.Context, c *kafka.Client, topic string, codec kafka.Compression, records ...kafka.Record) error {
	resp, err := c.Produce(ctx, &kafka.ProduceRequest{
		Topic: topic, Partition: 0, RequiredAcks: kafka.RequireAll, Compression: codec,
		Records: kafka.NewRecordReader(records...),
	})
	if err != nil {
		return err
	}
	return resp.Error
}

func record(value string, at time.Time) kafka.Record {
	return kafka.Record{Time: at, Key: kafka.NewBytes([]byte("k")), Value: kafka.NewBytes([]byte(value))}
}

type got struct {
	offset int64
	value  string
	at     time.Time
}

// fetchAll reads partition 0 from offset on until want records came.
func fetchAll(t *testing.T, c *kafka.Client, topic string, offset int64, want int) []got {
	t.Helper()
	var all []got
	for len(all) < want {
		resp, err := c.Fetch(t.Context(), &kafka.FetchRequest{Topic: topic, Partition: 0, Offset: offset, MinBytes: 1, MaxBytes: 64 << 20, MaxWait: time.Second})
		require.NoError(t, err)
		require.NoError(t, resp.Error)
		for {
			r, err := resp.Records.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			value, err := io.ReadAll(r.Value)
			require.NoError(t, err)
			offset = r.Offset + 1
			all = append(all, got{r.Offset, string(value), r.Time})
		}
	}
	return all
}

func TestATopicThatNobodyCreatedDoesNotAppear(t *testing.T) {
	c := client(t, brokertest.Start(t))
	require.ErrorContains(t, produce(t.Context(), c, "nobody", 0, record("a", time.Now())), "topic not found")
	meta, err := c.Metadata(t.Context(), &kafka.MetadataRequest{})
	require.NoError(t, err)
	assert.Empty(t, meta.Topics)
}

func TestARecordOfTenMebibytesFitsATopicThatAllowsIt(t *testing.T) {
	c := client(t, brokertest.Start(t))
	createTopic(t, c, "large", map[string]string{"max.message.bytes": fmt.Sprint(11 << 20)})
	createTopic(t, c, "small", nil)
	value := strings.Repeat("x", 10<<20)
	require.NoError(t, produce(t.Context(), c, "large", 0, record(value, time.Now())))
	require.ErrorIs(t, produce(t.Context(), c, "small", 0, record(value, time.Now())), kafka.MessageSizeTooLarge)
	assert.Len(t, fetchAll(t, c, "large", 0, 1)[0].value, 10<<20)
}

func TestARestartKeepsTopicsRecordsSettingsAndOffsets(t *testing.T) {
	dir := t.TempDir()
	b := brokertest.StartBroker(t, brokertest.WithDataDir(dir))
	c := client(t, b.Addr())
	createTopic(t, c, "events", map[string]string{"retention.ms": "86400000"})
	require.NoError(t, produce(t.Context(), c, "events", 0, record("a", time.Now()), record("b", time.Now())))
	commit(t, c, "readers", 1)
	require.NoError(t, b.Stop())

	c = client(t, brokertest.Start(t, brokertest.WithDataDir(dir)))
	assert.Equal(t, "b", fetchAll(t, c, "events", 0, 2)[1].value)
	assert.Equal(t, int64(1), committed(t, c, "readers"))
	described, err := c.DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: "events", ConfigNames: []string{"retention.ms"}},
	}})
	require.NoError(t, err)
	assert.Equal(t, "86400000", described.Resources[0].ConfigEntries[0].ConfigValue)
	require.NoError(t, produce(t.Context(), c, "events", 0, record("c", time.Now())))
	assert.Equal(t, got{offset: 2, value: "c"}, withoutTime(fetchAll(t, c, "events", 2, 1)[0]))
}

func withoutTime(g got) got { g.at = time.Time{}; return g }

// commit joins the group, as a group that nobody ever joined has no offsets.
func commit(t *testing.T, c *kafka.Client, group string, offset int64) {
	t.Helper()
	resp, err := c.OffsetCommit(t.Context(), &kafka.OffsetCommitRequest{
		GroupID: group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{"events": {{Partition: 0, Offset: offset}}},
	})
	require.NoError(t, err)
	require.NoError(t, resp.Topics["events"][0].Error)
}

func committed(t *testing.T, c *kafka.Client, group string) int64 {
	t.Helper()
	resp, err := c.OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{GroupID: group, Topics: map[string][]int{"events": {0}}})
	require.NoError(t, err)
	require.NoError(t, resp.Error)
	return resp.Topics["events"][0].CommittedOffset
}

func TestTheBrokerSpeaksTLS(t *testing.T) {
	server, trusted := brokertest.TLS(t, true)
	c := client(t, brokertest.Start(t, brokertest.WithTLS(server)))
	c.Transport.(*kafka.Transport).TLS = trusted
	_, err := c.Metadata(t.Context(), &kafka.MetadataRequest{})
	require.NoError(t, err)
}

func TestAnOccupiedPortNamesThePortAndTheSetting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer func() { _ = taken.Close() }()
	dir := t.TempDir()
	_, err = broker.Start(broker.Config{DataDir: dir, Listen: taken.Addr().String(), Logger: zerolog.Nop()})
	var port *claim.PortError
	require.ErrorAs(t, err, &port)
	assert.Contains(t, err.Error(), taken.Addr().String())
	assert.Contains(t, err.Error(), "embedded.kafka_listen")
	brokertest.Start(t, brokertest.WithDataDir(dir)) // the failed start gave the directory back
}

func TestADataDirectoryInUseNamesItsHolder(t *testing.T) {
	dir := t.TempDir()
	addr := brokertest.Start(t, brokertest.WithDataDir(dir))
	_, err := broker.Start(broker.Config{DataDir: dir, Listen: "127.0.0.1:0", Logger: zerolog.Nop()})
	var held *claim.HeldError
	require.ErrorAs(t, err, &held)
	assert.Equal(t, addr, held.Note.Addr)
	assert.Contains(t, err.Error(), dir)
	note, ok := claim.Holder(dir)
	assert.True(t, ok)
	assert.Equal(t, addr, note.Addr)
}

func TestWhatIsNotKafkaEndsItsConnectionAndNothingElse(t *testing.T) {
	addr := brokertest.Start(t)
	for name, bytes := range map[string]string{
		"a browser":                 "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"an unknown request":        "\x00\x00\x00\x0a\x7f\x7f\x00\x00\x00\x00\x00\x00\x00\x00",
		"a frame of four gigabytes": "\xff\xff\xff\xff\x00\x00\x00\x03\x00\x00",
		"an empty frame":            "\x00\x00\x00\x00\x00\x00\x00\x00",
		"a request cut short":       "\x00\x00\x00\x10\x00\x03\x00\x0c\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", addr)
			require.NoError(t, err)
			defer func() { _ = conn.Close() }()
			_, err = conn.Write([]byte(bytes))
			require.NoError(t, err)
			_ = conn.(*net.TCPConn).CloseWrite() // the broker may have closed it already
			require.NoError(t, conn.SetReadDeadline(time.Now().Add(5*time.Second)))
			_, err = conn.Read(make([]byte, 1))
			require.Error(t, err)
			require.NotErrorIs(t, err, context.DeadlineExceeded)
		})
	}
	_, err := http.Get("http://" + addr + "/") //nolint:noctx,bodyclose // there is no answer
	require.Error(t, err)
	_, err = client(t, addr).Metadata(t.Context(), &kafka.MetadataRequest{})
	require.NoError(t, err)
}

func TestATopicWithLogAppendTimeHasTheBrokersTimes(t *testing.T) {
	dir := t.TempDir()
	b := brokertest.StartBroker(t, brokertest.WithDataDir(dir))
	c := client(t, b.Addr())
	createTopic(t, c, "appended", map[string]string{"message.timestamp.type": "LogAppendTime"})
	createTopic(t, c, "created", nil)
	old := time.UnixMilli(1_500_000_000_000)
	started := time.Now().Truncate(time.Millisecond)
	codecs := []kafka.Compression{0, kafka.Gzip, kafka.Snappy, kafka.Lz4, kafka.Zstd}
	for _, topic := range []string{"appended", "created"} {
		for _, codec := range codecs {
			require.NoError(t, produce(t.Context(), c, topic, codec, record("a", old), record("b", old.Add(time.Hour)), record("c", old.Add(-time.Hour))))
		}
	}
	check := func(c *kafka.Client) {
		all := fetchAll(t, c, "appended", 0, 3*len(codecs))
		require.Len(t, all, 3*len(codecs))
		for i, r := range all {
			assert.False(t, r.at.Before(started) || r.at.After(time.Now()), "record %d has the time %s", i, r.at)
			assert.Equal(t, all[i/3*3].at, r.at, "one time for a batch")
			assert.Equal(t, []string{"a", "b", "c"}[i%3], r.value)
		}
		all = fetchAll(t, c, "created", 0, 3*len(codecs))
		assert.True(t, all[1].at.Equal(old.Add(time.Hour)), "the producer's time where the topic says nothing")
	}
	check(c)
	require.NoError(t, b.Stop())
	check(client(t, brokertest.Start(t, brokertest.WithDataDir(dir))))
}

func TestTheStampOutlivesItsControlFunction(t *testing.T) {
	c := client(t, brokertest.Start(t))
	createTopic(t, c, "appended", map[string]string{"message.timestamp.type": "LogAppendTime"})
	old := time.UnixMilli(1_500_000_000_000)
	const produces = 1100 // more than two lives of one
	for range produces {
		require.NoError(t, produce(t.Context(), c, "appended", 0, record("a", old)))
	}
	for _, r := range fetchAll(t, c, "appended", 0, produces) {
		require.False(t, r.at.Equal(old), "record %d has the producer's time", r.offset)
	}
}
