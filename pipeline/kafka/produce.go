package kafka

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// maxRequest bounds the uncompressed records of one produce request: a broker
// takes 1 MiB where nobody configured anything else. A larger record goes alone.
const maxRequest = 960 << 10

// Produce appends records in order, in as many requests as their size asks for,
// one after the other.
func (c *Client) Produce(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) error {
	_, err := c.Append(ctx, tp, records)
	return err
}

// Append is Produce, and says where the records went. After an error, what it
// returns covers the records that are acknowledged; of the others none, some or
// all may stand in the log.
func (c *Client) Append(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) (pipeline.Appended, error) {
	var out pipeline.Appended
	for len(records) > 0 {
		n := requestLength(records)
		base, err := c.produce(ctx, tp, records[:n])
		if err != nil {
			return out, fmt.Errorf("produce %d records to %s/%d: %w", n, tp.Topic, tp.Partition, err)
		}
		if out.Count == 0 {
			out.First = base
		}
		out.Count += n
		out.Last = base + int64(n) - 1
		records = records[n:]
	}
	return out, nil
}

// requestLength returns how many of the first records go into one request.
func requestLength(records []pipeline.Record) int {
	size := 0
	for i := range records {
		size += recordSize(&records[i])
		if i > 0 && size > maxRequest {
			return i
		}
	}
	return len(records)
}

// recordSize is what a record takes in a batch, rounded up.
func recordSize(r *pipeline.Record) int {
	n := len(r.Key) + len(r.Value) + 24
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value) + 8
	}
	return n
}

func (c *Client) produce(ctx context.Context, tp pipeline.TopicPartition, records []pipeline.Record) (int64, error) {
	if c.isClosed() {
		return 0, errClosed
	}
	res, err := c.client.Produce(ctx, &kafkago.ProduceRequest{
		Topic:        tp.Topic,
		Partition:    int(tp.Partition),
		RequiredAcks: kafkago.RequireAll,
		Compression:  kafkago.Lz4,
		Records:      &recordReader{records: records},
	})
	if err != nil {
		return 0, c.explain(ctx, err)
	}
	if err := responseError(res); err != nil {
		return 0, produceError(c.hint(err))
	}
	return res.BaseOffset, nil
}

// responseError is the error of a produce answer: the partition's, with what it
// says of single records.
func responseError(res *kafkago.ProduceResponse) error {
	if len(res.RecordErrors) == 0 {
		return res.Error
	}
	first := slices.Min(slices.Collect(maps.Keys(res.RecordErrors)))
	of := fmt.Errorf("%d records refused, the first of them record %d: %w", len(res.RecordErrors), first, res.RecordErrors[first])
	return errors.Join(res.Error, of)
}

// recordReader hands records to kafka-go without copying their bytes.
type recordReader struct {
	records []pipeline.Record
	next    int
	record  protocol.Record
	headers []protocol.Header

	key, value byteReader
}

// byteReader is protocol.Bytes over a slice, used again for every record.
type byteReader struct{ bytes.Reader }

// Close implements io.Closer.
func (*byteReader) Close() error { return nil }

// of returns a reader of b, or null.
func (r *byteReader) of(b []byte) protocol.Bytes {
	if b == nil {
		return nil
	}
	r.Reset(b)
	return r
}

// ReadRecord implements protocol.RecordReader. The result is valid until the next
// call.
func (r *recordReader) ReadRecord() (*protocol.Record, error) {
	if r.next == len(r.records) {
		return nil, io.EOF
	}
	in := &r.records[r.next]
	r.next++
	r.headers = r.headers[:0]
	for _, h := range in.Headers {
		r.headers = append(r.headers, protocol.Header{Key: h.Key, Value: h.Value})
	}
	r.record = protocol.Record{Key: r.key.of(in.Key), Value: r.value.of(in.Value), Headers: r.headers}
	if in.Time != 0 {
		r.record.Time = time.UnixMilli(int64(in.Time)) // zero: kafka-go takes the present
	}
	return &r.record, nil
}
