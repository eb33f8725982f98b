package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var errAnswer = errors.New("malformed answer")

// request is a request for one partition, encoded by generated code. kafka-go routes
// it and owns the connection; the bytes in both directions are ours. Its version is
// one before the flexible encoding, whose answers have another header.
type request struct {
	kmsg.Request
	topic     string
	partition int32
}

// ApiKey implements protocol.Message.
func (r *request) ApiKey() protocol.ApiKey { return protocol.ApiKey(r.Key()) }

// Broker routes to the partition's leader.
func (r *request) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	t, ok := cluster.Topics[r.topic]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoTopic(r.topic)
	}
	p, ok := t.Partitions[r.partition]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoPartition(r.topic, r.partition)
	}
	b, ok := cluster.Brokers[p.Leader]
	if !ok {
		return protocol.Broker{}, protocol.NewErrNoLeader(r.topic, r.partition)
	}
	return b, nil
}

// send writes the request and returns a reader that stands behind the header of the
// answer. kafka-go has one request at a time on a connection, so any correlation id
// serves to notice that the two sides have lost step.
func (r *request) send(rw io.ReadWriter) (*wireReader, error) {
	const correlation = 0x506c756d
	if _, err := rw.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID(clientID)).AppendRequest(nil, r.Request, correlation)); err != nil {
		return nil, err
	}
	w := &wireReader{r: rw, left: 4}
	w.left = int64(w.int32())
	if got := w.int32(); w.err == nil && got != correlation {
		return nil, fmt.Errorf("%w: correlation id %#x", errAnswer, got)
	}
	return w, w.err
}

// wireReader reads big-endian integers, never past the end of the message. The
// first error stays.
type wireReader struct {
	r    io.Reader
	left int64
	err  error
	buf  [8]byte
}

func (w *wireReader) full(b []byte) bool {
	if w.err != nil {
		return false
	}
	if int64(len(b)) > w.left {
		w.err = fmt.Errorf("%w: it ends too early", errAnswer)
		return false
	}
	n, err := io.ReadFull(w.r, b)
	w.left -= int64(n)
	if err != nil {
		if errors.Is(err, io.EOF) && n == 0 {
			err = io.ErrUnexpectedEOF
		}
		w.err = err
	}
	return err == nil
}

// number reads an integer of size bytes, 0 after an error.
func (w *wireReader) number(size int) uint64 {
	clear(w.buf[:])
	if !w.full(w.buf[8-size:]) {
		return 0
	}
	return binary.BigEndian.Uint64(w.buf[:])
}

func (w *wireReader) int16() int16 { return int16(w.number(2)) }
func (w *wireReader) int32() int32 { return int32(w.number(4)) }
func (w *wireReader) int64() int64 { return int64(w.number(8)) }

func (w *wireReader) skip(n int64) {
	if w.err != nil || n <= 0 {
		return
	}
	if n > w.left {
		w.err = fmt.Errorf("%w: it ends too early", errAnswer)
		return
	}
	c, err := io.CopyN(io.Discard, w.r, n)
	w.left -= c
	if err != nil {
		w.err = err
	}
}

// discard leaves the connection at the start of the next message.
func (w *wireReader) discard() error {
	w.skip(w.left)
	return w.err
}
