package kafka

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/segmentio/kafka-go/protocol"
)

// Versions of the Fetch API that we write ourselves. 4 brings record batches and
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

// fetchRequest asks for one partition. It is a protocol.RawExchanger: kafka-go
// routes it and owns the connection, and the bytes in both directions are ours.
type fetchRequest struct {
	clientID  string
	topic     string
	partition int32
	offset    int64
	maxWaitMS int32
	maxBytes  int32
	buffer    []byte // where the record set goes, if it is large enough

	version int16
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
func (r *fetchRequest) ApiKey() protocol.ApiKey { return protocol.Fetch }

// ApiKey implements protocol.Message.
func (r *fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

// Broker routes to the partition's leader.
func (r *fetchRequest) Broker(cluster protocol.Cluster) (protocol.Broker, error) {
	return leaderOf(cluster, r.topic, r.partition)
}

// Required takes note of the version and claims the exchange.
func (r *fetchRequest) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = min(versions[protocol.Fetch], fetchMaxVersion)
	return true
}

// RawExchange sends the request and reads the answer.
func (r *fetchRequest) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	if r.version < fetchMinVersion {
		return nil, fmt.Errorf("the broker speaks version %d of the fetch API; Kafka 0.11 or newer is needed", r.version)
	}
	w, err := exchange(rw, protocol.Fetch, r.version, r.clientID, r.encode())
	if err != nil {
		return nil, err
	}
	return r.decode(w)
}

func (r *fetchRequest) encode() []byte {
	b := make([]byte, 0, 128+len(r.topic))
	b = binary.BigEndian.AppendUint32(b, math.MaxUint32) // replica id -1: a consumer
	b = binary.BigEndian.AppendUint32(b, uint32(r.maxWaitMS))
	b = binary.BigEndian.AppendUint32(b, 1) // min bytes
	b = binary.BigEndian.AppendUint32(b, uint32(r.maxBytes))
	b = append(b, readCommitted)
	if r.version >= 7 { // a full fetch outside any session
		b = binary.BigEndian.AppendUint32(b, 0)
		b = binary.BigEndian.AppendUint32(b, math.MaxUint32)
	}
	b = binary.BigEndian.AppendUint32(b, 1)
	b = appendString(b, r.topic)
	b = binary.BigEndian.AppendUint32(b, 1)
	b = binary.BigEndian.AppendUint32(b, uint32(r.partition))
	if r.version >= 9 {
		b = binary.BigEndian.AppendUint32(b, math.MaxUint32) // leader epoch: unknown
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.offset))
	if r.version >= 5 {
		b = binary.BigEndian.AppendUint64(b, math.MaxUint64) // log start: a follower's business
	}
	b = binary.BigEndian.AppendUint32(b, uint32(r.maxBytes))
	if r.version >= 7 {
		b = binary.BigEndian.AppendUint32(b, 0) // forgotten topics
	}
	if r.version >= 11 {
		b = appendString(b, "") // rack
	}
	return b
}

// decode reads the answer. It holds one topic and one partition, as the request
// did; anything else means that the two sides have lost step.
func (r *fetchRequest) decode(w *wireReader) (*fetchResponse, error) {
	w.int32() // throttle time
	out := &fetchResponse{logStart: -1}
	if r.version >= 7 {
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
	if r.version >= 5 {
		out.logStart = w.int64()
	}
	out.aborted = w.aborted()
	if r.version >= 11 {
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
