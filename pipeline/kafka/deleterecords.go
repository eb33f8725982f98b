package kafka

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// deleteRecordsRequest is the DeleteRecords API, version 0, for one partition.
// kafka-go has no messages for it.
type deleteRecordsRequest struct {
	clientID  string
	topic     string
	partition int32
	before    int64
	timeoutMS int32
}

var (
	_ protocol.BrokerMessage = (*deleteRecordsRequest)(nil)
	_ protocol.RawExchanger  = (*deleteRecordsRequest)(nil)
)

type deleteRecordsResponse struct{ errorCode int16 }

// ApiKey implements protocol.Message.
func (r *deleteRecordsRequest) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

// ApiKey implements protocol.Message.
func (r *deleteRecordsResponse) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

// Broker routes to the partition's leader.
func (r *deleteRecordsRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return leaderOf(cluster, r.topic, r.partition)
}

// Required claims the exchange.
func (r *deleteRecordsRequest) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange sends the request and reads the answer.
func (r *deleteRecordsRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	b := binary.BigEndian.AppendUint32(nil, 1)
	b = appendString(b, r.topic)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(r.partition))
	b = binary.BigEndian.AppendUint64(b, uint64(r.before))
	b = binary.BigEndian.AppendUint32(b, uint32(r.timeoutMS))
	w, err := exchange(rw, protocol.DeleteRecords, 0, r.clientID, b)
	if err != nil {
		return nil, err
	}
	w.int32() // throttle time
	if n := w.int32(); w.err == nil && n != 1 {
		return nil, fmt.Errorf("%w: %d topics", errAnswer, n)
	}
	w.skip(int64(w.int16())) // topic name
	if n := w.int32(); w.err == nil && n != 1 {
		return nil, fmt.Errorf("%w: %d partitions", errAnswer, n)
	}
	w.int32() // partition
	w.int64() // low watermark
	out := &deleteRecordsResponse{errorCode: w.int16()}
	if err := w.discard(); err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteRecords removes the records of a partition below an offset.
func (c *Client) DeleteRecords(ctx context.Context, tp pipeline.TopicPartition, before int64) error {
	fail := func(err error) error {
		return fmt.Errorf("delete records of %s/%d below %d: %w", tp.Topic, tp.Partition, before, err)
	}
	res, err := c.roundTrip(ctx, &deleteRecordsRequest{
		clientID:  c.cfg.ClientID,
		topic:     tp.Topic,
		partition: tp.Partition,
		before:    before,
		timeoutMS: int32(c.cfg.RequestTimeout.Milliseconds() / 2),
	})
	if err != nil {
		return fail(err)
	}
	r, ok := res.(*deleteRecordsResponse)
	switch {
	case !ok:
		return fail(fmt.Errorf("unexpected answer %T", res))
	case r.errorCode == int16(kafkago.OffsetOutOfRange):
		return fail(fmt.Errorf("%w: %w", pipeline.ErrOffsetOutOfRange, kafkago.OffsetOutOfRange))
	case r.errorCode != 0:
		return fail(c.hint(kafkago.Error(r.errorCode)))
	}
	return nil
}
