package kafka

import (
	"bytes"
	"encoding/binary"
	"io"
	"math"
	"strconv"
	"testing"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// connection is the two directions of a broker connection.
type connection struct {
	io.Reader
	io.Writer
}

func withHeader(correlation int32, body []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)+4))
	b = binary.BigEndian.AppendUint32(b, uint32(correlation))
	return append(b, body...)
}

func fetchOfVersion(version int16) *fetchRequest {
	r := newFetchRequest(testPartition, 0, 0, 0, nil)
	r.fetch.Version = version
	return r
}

const ourCorrelation = 0x506c756d

func TestFetchSpeaksEveryVersionOfTheProtocol(t *testing.T) {
	for version := int16(fetchMinVersion); version <= fetchMaxVersion; version++ {
		t.Run("version "+strconv.Itoa(int(version)), func(t *testing.T) {
			var sent bytes.Buffer
			next := []byte("the next answer")
			answer := append(withHeader(ourCorrelation, answerBytes(version, 0, []byte("records"), abortedTransaction{8, 9})), next...)
			src := bytes.NewReader(answer)
			req := newFetchRequest(testPartition, 42, 500, 1000, nil)
			assert.True(t, req.Required(map[protocol.ApiKey]int16{protocol.Fetch: version}))
			msg, err := req.RawExchange(connection{src, &sent})
			require.NoError(t, err)

			res, ok := msg.(*fetchResponse)
			require.True(t, ok)
			assert.Equal(t, "records", string(res.recordSet))
			assert.Equal(t, int64(77), res.highWatermark)
			assert.Equal(t, []abortedTransaction{{8, 9}}, res.aborted)
			wantStart := int64(5)
			if version < 5 {
				wantStart = -1
			}
			assert.Equal(t, wantStart, res.logStart)
			assert.Equal(t, len(next), src.Len(), "the next answer is untouched")

			got := kmsg.NewPtrFetchRequest()
			got.Version = version
			frame := sent.Bytes()
			assert.Equal(t, len(frame)-4, int(binary.BigEndian.Uint32(frame)))
			head := append([]byte{0, 1, 0, byte(version), 0x50, 0x6c, 0x75, 0x6d, 0, 9}, "plumbline"...)
			assert.Equal(t, head, frame[4:4+len(head)])
			body := frame[4+len(head):]
			require.NoError(t, got.ReadFrom(body))
			assert.Equal(t, body, got.AppendTo(nil), "nothing is left over")
			assert.Equal(t, int8(1), got.IsolationLevel)
			assert.Equal(t, int32(500), got.MaxWaitMillis)
			assert.Equal(t, int32(1000), got.MaxBytes)
			p := got.Topics[0].Partitions[0]
			assert.Equal(t, "t", got.Topics[0].Topic)
			assert.Equal(t, []any{int32(3), int64(42), int32(1000), int32(-1)}, []any{p.Partition, p.FetchOffset, p.PartitionMaxBytes, p.CurrentLeaderEpoch})
			assert.Equal(t, int32(-1), got.ReplicaID)
		})
	}
}

func TestFetchRefusesAnswersThatDoNotFit(t *testing.T) {
	ok := answerBytes(11, 0, []byte("records"))
	for name, test := range map[string]struct {
		answer []byte
		want   string
	}{
		"another correlation id":       {withHeader(1, ok), "correlation id"},
		"an answer that ends early":    {withHeader(ourCorrelation, ok[:20]), "ends too early"},
		"records that end early":       {withHeader(ourCorrelation, ok[:len(ok)-3]), "7 bytes of records in 4"},
		"a connection that ends early": {withHeader(ourCorrelation, ok)[:40], "unexpected EOF"},
		"no answer at all":             {nil, "EOF"},
		"more records than bytes":      {withHeader(ourCorrelation, append(ok[:len(ok)-11:len(ok)-11], 0x7f, 0, 0, 0)), "bytes of records in"},
	} {
		t.Run(name, func(t *testing.T) {
			req := fetchOfVersion(11)
			_, err := req.RawExchange(connection{bytes.NewReader(test.answer), io.Discard})
			require.ErrorContains(t, err, test.want)
		})
	}
	t.Run("a broker before 0.11", func(t *testing.T) {
		req := fetchOfVersion(3)
		_, err := req.RawExchange(connection{bytes.NewReader(nil), io.Discard})
		require.ErrorContains(t, err, "0.11")
	})
}

func TestDeleteRecordsRefusesAnswersThatDoNotFit(t *testing.T) {
	for want, answer := range map[string][]byte{
		"ends too early": {0}, "0 topics": make([]byte, 8), "2000 bytes, more than 1024": make([]byte, 2000),
	} {
		req := &deleteRecordsRequest{request{&kmsg.DeleteRecordsRequest{}, "t", 3}}
		_, err := req.RawExchange(connection{bytes.NewReader(withHeader(ourCorrelation, answer)), io.Discard})
		require.ErrorContains(t, err, want)
	}
}

func TestRecordSetMemoryGrowsWithWhatArrives(t *testing.T) {
	// 200 MiB announced, nothing sent.
	head := binary.BigEndian.AppendUint32(nil, 200<<20)
	allocated := testing.AllocsPerRun(1, func() {
		w := wireReader{r: bytes.NewReader(head), left: math.MaxInt32}
		assert.Nil(t, w.recordSet(nil))
		require.ErrorIs(t, w.err, io.ErrUnexpectedEOF)
	})
	assert.Less(t, allocated, 20.0)
	t.Run("and what arrives is read whole", func(t *testing.T) {
		data := bytes.Repeat([]byte("0123456789abcdef"), 5<<16) // more than one step
		w := wireReader{r: io.MultiReader(bytes.NewReader(binary.BigEndian.AppendUint32(nil, uint32(len(data)))), bytes.NewReader(data)), left: math.MaxInt32}
		assert.True(t, bytes.Equal(data, w.recordSet(make([]byte, 0, 100))))
		require.NoError(t, w.err)
	})
}
