package kafka

import (
	"context"
	"fmt"
	"io"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// deleteRecordsRequest is the DeleteRecords API, version 0, which kafka-go has no
// messages for.
type deleteRecordsRequest struct{ request }

var (
	_ protocol.BrokerMessage = (*deleteRecordsRequest)(nil)
	_ protocol.RawExchanger  = (*deleteRecordsRequest)(nil)
)

// maxDeleteAnswer bounds what is read of an answer about one partition.
const maxDeleteAnswer = 1 << 10

type deleteRecordsResponse struct{ errorCode int16 }

// ApiKey implements protocol.Message.
func (r *deleteRecordsResponse) ApiKey() protocol.ApiKey { return protocol.DeleteRecords }

// Required claims the exchange.
func (r *deleteRecordsRequest) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange sends the request and reads the answer.
func (r *deleteRecordsRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	w, err := r.send(rw)
	if err != nil {
		return nil, err
	}
	if w.left > maxDeleteAnswer {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", errAnswer, w.left, maxDeleteAnswer)
	}
	b := make([]byte, w.left)
	if !w.full(b) {
		return nil, w.err
	}
	var res kmsg.DeleteRecordsResponse
	if err := res.ReadFrom(b); err != nil {
		return nil, fmt.Errorf("%w: it ends too early", errAnswer)
	}
	if n := len(res.Topics); n != 1 {
		return nil, fmt.Errorf("%w: %d topics", errAnswer, n)
	}
	if n := len(res.Topics[0].Partitions); n != 1 {
		return nil, fmt.Errorf("%w: %d partitions", errAnswer, n)
	}
	return &deleteRecordsResponse{errorCode: res.Topics[0].Partitions[0].ErrorCode}, nil
}

// DeleteRecords removes the records of a partition below an offset.
func (c *Client) DeleteRecords(ctx context.Context, tp pipeline.TopicPartition, before int64) error {
	fail := func(err error) error {
		return fmt.Errorf("delete records of %s/%d below %d: %w", tp.Topic, tp.Partition, before, err)
	}
	p := kmsg.DeleteRecordsRequestTopicPartition{Partition: tp.Partition, Offset: before}
	res, err := c.roundTrip(ctx, &deleteRecordsRequest{request{&kmsg.DeleteRecordsRequest{
		Topics:        []kmsg.DeleteRecordsRequestTopic{{Topic: tp.Topic, Partitions: []kmsg.DeleteRecordsRequestTopicPartition{p}}},
		TimeoutMillis: int32(c.cfg.RequestTimeout.Milliseconds() / 2),
	}, tp.Topic, tp.Partition}})
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
