package kafka

import (
	"fmt"
	"io"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// Versions of the Fetch API that we speak. 4 brings record batches and
// aborted transactions, 5 the log start; 11 is the last one before the flexible
// encoding. Every broker since 0.11 speaks one of them, Kafka 4 included.
const (
	fetchMinVersion = 4
	fetchMaxVersion = 11
)

// maxRecordSet bounds what one fetch answer may hold: far above what we ask for,
// because a broker sends at least one batch however large it is.
const maxRecordSet = 256 << 20

const readCommitted = 1

// fetchRequest asks for one partition. Its answer is read here: generated code makes
// room for as many topics, partitions and transactions as a count claims, 160 bytes
// for each byte that is there.
type fetchRequest struct {
	request
	fetch  *kmsg.FetchRequest
	buffer []byte // where the record set goes, if it is large enough
}

func newFetchRequest(tp pipeline.TopicPartition, offset int64, maxWaitMS, maxBytes int32, buffer []byte) *fetchRequest {
	f := kmsg.NewPtrFetchRequest() // by a consumer, outside any session, of any leader epoch
	f.MaxWaitMillis, f.MinBytes, f.MaxBytes, f.IsolationLevel = maxWaitMS, 1, maxBytes, readCommitted
	p := kmsg.NewFetchRequestTopicPartition()
	p.Partition, p.FetchOffset, p.PartitionMaxBytes = tp.Partition, offset, maxBytes
	f.Topics = []kmsg.FetchRequestTopic{{Topic: tp.Topic, Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	return &fetchRequest{request: request{f, tp.Topic, tp.Partition}, fetch: f, buffer: buffer}
}

var (
	_ protocol.BrokerMessage = (*fetchRequest)(nil)
	_ protocol.RawExchanger  = (*fetchRequest)(nil)
)

// fetchResponse is the answer for the one partition.
type fetchResponse struct {
	errorCode     int16
	highWatermark int64
	logStart      int64
	aborted       []abortedTransaction
	recordSet     []byte
}

type abortedTransaction struct {
	producerID  int64
	firstOffset int64
}

// ApiKey implements protocol.Message.
func (r *fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Required takes note of the version and claims the exchange.
func (r *fetchRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.fetch.Version = min(versions[protocol.Fetch], fetchMaxVersion)
	return true
}

// RawExchange sends the request and reads the answer.
func (r *fetchRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if r.fetch.Version < fetchMinVersion {
		return nil, fmt.Errorf("the broker speaks version %d of the fetch API; Kafka 0.11 or newer is needed", r.fetch.Version)
	}
	w, err := r.send(rw)
	if err != nil {
		return nil, err
	}
	return r.decode(w)
}

// decode reads the answer. It holds one topic and one partition, as the request
// did; anything else means that the two sides have lost step.
func (r *fetchRequest) decode(w *wireReader) (*fetchResponse, error) {
	w.int32() // throttle time
	out := &fetchResponse{logStart: -1}
	if r.fetch.Version >= 7 {
		out.errorCode = w.int16()
		w.int32() // session id
	}
	topics := w.int32()
	if w.err == nil && out.errorCode != 0 && topics <= 0 {
		return out, w.discard()
	}
	if w.err == nil && topics != 1 {
		return nil, fmt.Errorf("%w: %d topics", errAnswer, topics)
	}
	w.skip(int64(w.int16())) // topic name
	if n := w.int32(); w.err == nil && n != 1 {
		return nil, fmt.Errorf("%w: %d partitions", errAnswer, n)
	}
	if p := w.int32(); w.err == nil && p != r.partition {
		return nil, fmt.Errorf("%w: partition %d instead of %d", errAnswer, p, r.partition)
	}
	if code := w.int16(); code != 0 {
		out.errorCode = code
	}
	out.highWatermark = w.int64()
	w.int64() // last stable offset
	if r.fetch.Version >= 5 {
		out.logStart = w.int64()
	}
	out.aborted = w.aborted()
	if r.fetch.Version >= 11 {
		w.int32() // preferred read replica
	}
	out.recordSet = w.recordSet(r.buffer)
	if err := w.discard(); err != nil {
		return nil, err
	}
	return out, nil
}

func (w *wireReader) aborted() []abortedTransaction {
	n := int64(w.int32())
	if w.err != nil || n <= 0 {
		return nil
	}
	if n*16 > w.left {
		w.err = fmt.Errorf("%w: %d aborted transactions in %d bytes", errAnswer, n, w.left)
		return nil
	}
	out := make([]abortedTransaction, 0, min(n, 1024))
	for range n {
		out = append(out, abortedTransaction{producerID: w.int64(), firstOffset: w.int64()})
		if w.err != nil {
			return nil
		}
	}
	return out
}

// recordSet reads the batches. The memory grows with what arrives, not with what
// was announced.
func (w *wireReader) recordSet(buffer []byte) []byte {
	n := int64(w.int32())
	if w.err != nil || n <= 0 {
		return nil
	}
	if n > w.left {
		w.err = fmt.Errorf("%w: %d bytes of records in %d bytes", errAnswer, n, w.left)
		return nil
	}
	if n > maxRecordSet {
		w.err = fmt.Errorf("%w: %d bytes of records, more than %d", errAnswer, n, maxRecordSet)
		return nil
	}
	const step = 16 << 20
	if int64(cap(buffer)) < min(n, step) {
		buffer = make([]byte, 0, min(n, step))
	}
	buffer = buffer[:0]
	for int64(len(buffer)) < n {
		if len(buffer) == cap(buffer) {
			grown := make([]byte, len(buffer), min(n, 2*int64(cap(buffer))))
			copy(grown, buffer)
			buffer = grown
		}
		have := len(buffer)
		buffer = buffer[:min(n, int64(cap(buffer)))]
		if !w.full(buffer[have:]) {
			return nil
		}
	}
	return buffer
}
