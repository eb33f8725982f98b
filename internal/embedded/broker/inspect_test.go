package broker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/rs/zerolog"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTheBatchesOfEveryVersionOfAProduceRequestAreFound(t *testing.T) {
	for version := int16(3); version <= 13; version++ {
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(version)
		id := "transaction"
		req.TransactionID = &id
		var want [][]byte
		for _, name := range []string{"one", "another"} {
			topic := kmsg.NewProduceRequestTopic()
			topic.Topic = name
			for i := range int32(3) {
				p := kmsg.NewProduceRequestTopicPartition()
				p.Partition, p.Records = i, batchOf(0, int64(i))
				topic.Partitions = append(topic.Partitions, p)
				want = append(want, p.Records)
			}
			req.Topics = append(req.Topics, topic)
		}
		frame := kmsg.NewRequestFormatter(kmsg.FormatterClientID("a client")).AppendRequest(nil, req, 7)
		var found [][]byte
		require.NoError(t, eachBatch(frame[4:], func(b []byte) error {
			found = append(found, b)
			return nil
		}))
		assert.Equal(t, want, found, "version %d", version)
		for cut := 8; cut < len(frame); cut += 7 {
			assert.ErrorIs(t, eachBatch(frame[4:cut], func([]byte) error { return nil }), errProduce, "version %d, %d bytes", version, cut)
		}
	}
}

func TestAMarkThatAProducerWritesItselfIsNoMark(t *testing.T) {
	a, b := newInspector(), newInspector()
	forged := batchOf(0)
	b.refuse(forged, 1, errTooLarge)
	_, _, is := a.refused(forged)
	assert.False(t, is)
	code, reason, is := b.refused(forged)
	assert.True(t, is)
	assert.Equal(t, int16(1), code)
	assert.Equal(t, errTooLarge.Error(), reason)
}

func TestConnectionsBeyondTheMostAreClosedAndOthersGoOn(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	require.NoError(t, err)
	in := newInspector()
	close(in.ready)
	ln, _ := guard(inner, nil, "here:1", in, zerolog.Nop()).(*guardedListener)
	ln.most = 2
	accepted := make(chan net.Conn, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", inner.Addr().String()) //nolint:noctx // at once
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	dial()
	first := <-accepted
	dial()
	second := <-accepted
	third := dial()
	require.NoError(t, third.SetReadDeadline(time.Now().Add(5*time.Second)))
	_, err = third.Read(make([]byte, 1))
	require.Error(t, err)
	require.NotErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, first.Close())
	_ = first.Close() // which counts once
	dial()
	fourth := <-accepted
	require.NoError(t, errors.Join(second.Close(), fourth.Close(), inner.Close()))
	<-ended
}

func TestARequestThatComesTooSlowlyEndsItsConnection(t *testing.T) {
	client, server := net.Pipe()
	in := newInspector()
	close(in.ready)
	l, _ := guard(oneConn{server}, nil, "here:1", in, zerolog.Nop()).(*guardedListener)
	l.frame = 50 * time.Millisecond
	c, err := l.Accept()
	require.NoError(t, err)
	go func() { _, _ = client.Write([]byte{0, 0, 0, 20, 0, 3, 0, 1, 0}) }()
	_, err = c.Read(make([]byte, 100))
	require.Error(t, err)
	_, err = client.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// oneConn is a listener that accepts this.
type oneConn struct{ net.Conn }

func (o oneConn) Accept() (net.Conn, error) { return o.Conn, nil }
func (o oneConn) Addr() net.Addr            { return o.LocalAddr() }

func TestWhoeverWaitsForRoomGetsItInTurnOrGivesUp(t *testing.T) {
	f := newInFlight(10)
	require.NoError(t, f.enter(t.Context(), 100), "more than there is, is all there is")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, f.enter(ctx, 1), context.DeadlineExceeded)
	got := make(chan error, 2)
	go func() { got <- f.enter(t.Context(), 8) }()
	f.leave(4)
	f.leave(4)
	require.NoError(t, <-got)
	f.leave(2)
	require.NoError(t, f.enter(t.Context(), 2))
}

// FuzzBatch holds the check against franz-go's decoder: what passes is records that
// it reads too.
func FuzzBatch(f *testing.F) {
	f.Add(batchOf(0)[atRecords:], byte(0), int32(1))
	f.Add(batchOf(0, 5)[atRecords:], byte(0), int32(2))
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(batchOf(0, 1, 2)[atRecords:])
	_ = w.Close()
	f.Add(z.Bytes(), byte(1), int32(3))
	for codec := byte(2); codec < 5; codec++ {
		packed, err := compress(batchOf(0, 1)[atRecords:], kgo.CompressionCodecType(codec))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packed, codec, int32(2))
	}
	f.Fuzz(func(t *testing.T, records []byte, codec byte, count int32) {
		b := batchOf(0)[:atRecords]
		b[atAttrs+1] = codec & attrCodec
		b[atCount], b[atCount+1], b[atCount+2], b[atCount+3] = byte(count>>24), byte(count>>16), byte(count>>8), byte(count)
		b = seal(append(b, records...))
		budget := int64(1 << 20)
		if checkBatch(b, &budget, func() (func(), error) { return func() {}, nil }) != nil {
			return
		}
		plain, err := kgo.DefaultDecompressor().Decompress(records, kgo.CompressionCodecType(codec&attrCodec))
		if err != nil {
			t.Fatalf("accepted, and it can't be decompressed: %v", err)
		}
		if int64(len(plain)) != 1<<20-budget {
			t.Fatalf("%d bytes, counted as %d", len(plain), 1<<20-budget)
		}
	})
}

func FuzzProduceRequest(f *testing.F) {
	for _, version := range []int16{3, 9, 13} {
		req := kmsg.NewPtrProduceRequest()
		req.SetVersion(version)
		topic := kmsg.NewProduceRequestTopic()
		topic.Topic = "a"
		p := kmsg.NewProduceRequestTopicPartition()
		p.Records = batchOf(0)
		topic.Partitions = append(topic.Partitions, p)
		req.Topics = append(req.Topics, topic)
		f.Add(kmsg.NewRequestFormatter().AppendRequest(nil, req, 7)[4:])
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		in := newInspector()
		_ = in.produce(t.Context(), frame)
	})
}
