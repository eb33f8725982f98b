package broker_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
)

// bombs are batches of 10 MiB at most, for every codec, that unpack to 200 MiB and more.
var bombs = sync.OnceValue(func() map[string][]byte {
	tb := new(testing.T)
	out := make(map[string][]byte)
	for name, codec := range map[string]int16{"gzip": asGzip, "lz4": asLZ4, "zstd": asZstd} {
		out[name] = batch(codec, packed(tb, codec, plainRecord(0, 160<<20)), 1)
	}
	out["snappy"] = batch(asSnappy, packed(tb, asSnappy, plainRecord(0, 200<<20)), 1)
	out["snappy in Java's framing"] = batch(asSnappy, packed(tb, asXerial, plainRecord(0, 200<<20)), 1)
	return out
})

func TestABatchThatUnpacksToMoreThanAReaderTakesIsRefusedInLittleMemory(t *testing.T) {
	addr := brokertest.Start(t)
	c := client(t, addr)
	large := fmt.Sprint(11 << 20)
	createTopic(t, c, "appended", map[string]string{"message.timestamp.type": "LogAppendTime", "max.message.bytes": large})
	createTopic(t, c, "created", map[string]string{"max.message.bytes": large})
	for name, bomb := range bombs() {
		for _, topic := range []string{"appended", "created"} {
			t.Run(name+" to a topic "+topic, func(t *testing.T) {
				w := dial(t, addr)
				var answer kmsg.ProduceResponseTopicPartition
				var slowest time.Duration
				started := time.Now()
				grew := heapOf(func() {
					done := make(chan struct{})
					go func() {
						defer close(done)
						answer = w.produceRaw(topic, bomb)
					}()
					for ended := false; !ended; {
						select {
						case <-done:
							ended = true
						default:
						}
						at := time.Now()
						require.NoError(t, produce(t.Context(), c, "created", 0, record("of another producer", time.Now())))
						slowest = max(slowest, time.Since(at))
					}
				})
				assert.Equal(t, kerr.MessageTooLarge.Code, answer.ErrorCode)
				require.NotNil(t, answer.ErrorMessage)
				assert.Contains(t, *answer.ErrorMessage, "too large")
				assert.Less(t, grew, uint64(96<<20))
				t.Logf("%d KiB: refused after %v, the heap grew by %d MiB, others waited %v: %s", len(bomb)>>10, time.Since(started), grew>>20, slowest, *answer.ErrorMessage)
			})
		}
	}
	assert.Equal(t, "of another producer", fetchAll(t, c, "created", 0, 1)[0].value)
}

func TestABatchJustWithinTheBoundIsStampedInBoundedMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("packs 600 MiB")
	}
	addr := brokertest.Start(t)
	c := client(t, addr)
	createTopic(t, c, "appended", map[string]string{"message.timestamp.type": "LogAppendTime", "max.message.bytes": fmt.Sprint(11 << 20)})
	for _, codec := range []int16{asGzip, asSnappy, asXerial, asLZ4, asZstd} {
		b := batch(codec, packed(t, codec, io.MultiReader(plainRecord(0, 100<<20), plainRecord(1, 20<<20))), 2)
		w := dial(t, addr)
		started := time.Now()
		grew := heapOf(func() {
			answer := w.produceRaw("appended", b)
			assert.Zero(t, answer.ErrorCode, "codec %d", codec)
		})
		assert.Less(t, grew, uint64(512<<20), "codec %d", codec)
		t.Logf("codec %#x: %d KiB of 120 MiB: %v, the heap grew by %d MiB", codec, len(b)>>10, time.Since(started), grew>>20)
	}
}

func TestOtherBatchesOfARequestThatIsRefusedAreToBeSentAgain(t *testing.T) {
	addr := brokertest.Start(t)
	c := client(t, addr)
	createTopic(t, c, "events", nil)
	good := batch(0, packed(t, 0, plainRecord(0, 10)), 1)
	res := dial(t, addr).ask(produceOf("events", good, bombs()["zstd"])).(*kmsg.ProduceResponse)
	byPartition := map[int32]int16{}
	for _, p := range res.Topics[0].Partitions {
		byPartition[p.Partition] = p.ErrorCode
	}
	assert.Equal(t, map[int32]int16{0: kerr.KafkaStorageError.Code, 1: kerr.MessageTooLarge.Code}, byPartition)
	assert.True(t, kerr.IsRetriable(kerr.ErrorForCode(byPartition[0])))
	answer := dial(t, addr).produceRaw("events", good)
	assert.Zero(t, answer.ErrorCode)
	assert.Zero(t, answer.BaseOffset, "nothing of the refused request was written")
}

func TestABatchWhoseRecordsAreNotWhatItSaysIsRefusedAndMovesNoOffset(t *testing.T) {
	addr := brokertest.Start(t)
	c := client(t, addr)
	createTopic(t, c, "events", nil)
	require.NoError(t, produce(t.Context(), c, "events", 0, record("a", time.Now()), record("b", time.Now())))
	one := packed(t, 0, plainRecord(0, 10))
	two := packed(t, 0, io.MultiReader(plainRecord(0, 10), plainRecord(1, 10)))
	for name, b := range map[string][]byte{
		"fewer than none, which moves the end back": batch(0, nil, -5),
		"none":                           batch(0, nil, 0),
		"two thousand million":           batch(0, one, 1<<31-1),
		"more than there are":            batch(0, one, 2),
		"fewer than there are":           batch(0, two, 1),
		"the same offset twice":          batch(0, append(append([]byte(nil), one...), one...), 2),
		"no gzip":                        batch(asGzip, one, 1),
		"no snappy":                      batch(asSnappy, one, 1),
		"no lz4":                         batch(asLZ4, one, 1),
		"no zstd":                        batch(asZstd, one, 1),
		"a compression that there isn't": batch(6, one, 1),
		"a length beyond the end":        batch(0, binary.AppendVarint(nil, 1<<40), 1),
		"nothing at all":                 batch(asZstd, nil, 1),
		"bytes behind the last":          batch(0, append(append([]byte(nil), one...), 0), 1),
	} {
		t.Run(name, func(t *testing.T) {
			answer := dial(t, addr).produceRaw("events", b)
			assert.NotZero(t, answer.ErrorCode)
		})
	}
	require.NoError(t, produce(t.Context(), c, "events", 0, record("c", time.Now())))
	all := fetchAll(t, c, "events", 0, 3)
	assert.Equal(t, got{offset: 2, value: "c"}, withoutTime(all[2]))
}

func TestARequestThatClaimsMoreThanItHasEndsItsConnectionAndTakesNoMemory(t *testing.T) {
	addr := brokertest.Start(t)
	body := make([]byte, 8<<20)
	frame := func(key, version uint16, body []byte) []byte {
		b := binary.BigEndian.AppendUint32(nil, uint32(len(body)+10))
		b = binary.BigEndian.AppendUint16(b, key)
		b = binary.BigEndian.AppendUint16(b, version)
		b = append(b, 0, 0, 0, 1, 0xff, 0xff) // correlation id, no client id
		return append(b, body...)
	}
	produceBody := append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 1}, binary.BigEndian.AppendUint32(nil, uint32(len(body)))...)
	for name, bytes := range map[string][]byte{
		"topics of a produce request":     frame(0, 3, append(produceBody, body...)),
		"tagged fields of a produce":      frame(0, 9, append([]byte{0xff, 0xff, 0xff, 0x03}, body...)),
		"topics of a metadata request":    frame(3, 1, append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)),
		"groups of a describe request":    frame(15, 0, append(binary.BigEndian.AppendUint32(nil, uint32(len(body)/2)), body...)),
		"partitions of a produce request": frame(0, 3, append(append([]byte{0xff, 0xff, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 'a'}, binary.BigEndian.AppendUint32(nil, 1<<20)...), body...)),
	} {
		t.Run(name, func(t *testing.T) {
			w := dial(t, addr)
			grew := heapOf(func() {
				_, _ = w.Write(bytes) // it may be closed before the end
				require.NoError(t, w.SetReadDeadline(time.Now().Add(10*time.Second)))
				_, err := w.Read(make([]byte, 1))
				require.Error(t, err)
				require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
			})
			assert.Less(t, grew, uint64(64<<20))
		})
	}
	_, err := client(t, addr).Metadata(t.Context(), &kafka.MetadataRequest{})
	require.NoError(t, err)
}

func TestWhatIsOnlyClaimedTakesNoRoomFromOthers(t *testing.T) {
	addr := brokertest.Start(t)
	c := client(t, addr)
	createTopic(t, c, "events", map[string]string{"max.message.bytes": fmt.Sprint(11 << 20)})
	grew := heapOf(func() {
		for range 50 {
			w := dial(t, addr)
			head := binary.BigEndian.AppendUint32(nil, 100<<20)
			_, err := w.Write(append(head, make([]byte, 200<<10)...)) // a produce request, to begin with
			require.NoError(t, err)
		}
		w := dial(t, addr)
		for range 5 {
			at := time.Now()
			require.Zero(t, w.produceRaw("events", batch(0, packed(t, 0, plainRecord(0, 10<<20)), 1)).ErrorCode)
			assert.Less(t, time.Since(at), 10*time.Second)
		}
	})
	assert.Less(t, grew, uint64(400<<20))
}

func TestASmallRequestMakesNoMillionPartitions(t *testing.T) {
	addr := brokertest.Start(t)
	c := client(t, addr)
	create := kmsg.NewPtrCreateTopicsRequest()
	create.SetVersion(5)
	create.Topics = []kmsg.CreateTopicsRequestTopic{{Topic: "wide", NumPartitions: 1_000_000, ReplicationFactor: 1}}
	res := dial(t, addr).ask(create).(*kmsg.CreateTopicsResponse)
	assert.Equal(t, kerr.InvalidPartitions.Code, res.Topics[0].ErrorCode)
	assert.Contains(t, *res.Topics[0].ErrorMessage, "at most 1000 partitions")

	createTopic(t, c, "narrow", nil)
	more := kmsg.NewPtrCreatePartitionsRequest()
	more.SetVersion(1)
	more.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "narrow", Count: 1<<31 - 1}}
	assert.Equal(t, kerr.InvalidPartitions.Code, dial(t, addr).ask(more).(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode)

	lookups := kmsg.NewPtrListOffsetsRequest()
	lookups.SetVersion(1)
	at := kmsg.ListOffsetsRequestTopic{Topic: "narrow"}
	for i := range int32(101) {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp = i, 1
		at.Partitions = append(at.Partitions, p)
	}
	lookups.Topics = append(lookups.Topics, at)
	assert.Equal(t, kerr.InvalidRequest.Code, dial(t, addr).ask(lookups).(*kmsg.ListOffsetsResponse).Topics[0].Partitions[0].ErrorCode)
}

func TestAnAnswerIsBoundedWhateverAFetchAsksFor(t *testing.T) {
	addr := brokertest.Start(t, brokertest.WithDataDir(t.TempDir()))
	c := client(t, addr)
	createTopic(t, c, "events", map[string]string{"max.message.bytes": fmt.Sprint(11 << 20)})
	b := batch(0, packed(t, 0, plainRecord(0, 10<<20)), 1)
	w := dial(t, addr)
	for range 7 {
		require.Zero(t, w.produceRaw("events", b).ErrorCode)
	}
	res := w.ask(fetchOf("events", 0, 1<<31-1, 0)).(*kmsg.FetchResponse)
	assert.Zero(t, res.SessionID, "what a session holds is not bounded")
	assert.Zero(t, res.ErrorCode)
	assert.LessOrEqual(t, len(res.Topics[0].Partitions[0].RecordBatches), 55<<20)
	assert.GreaterOrEqual(t, len(res.Topics[0].Partitions[0].RecordBatches), 50<<20)

	share := kmsg.NewPtrShareFetchRequest()
	share.SetVersion(1)
	share.MaxRecords = 1<<31 - 1
	assert.Equal(t, kerr.UnsupportedVersion.Code, w.ask(share).(*kmsg.ShareFetchResponse).ErrorCode)
}
