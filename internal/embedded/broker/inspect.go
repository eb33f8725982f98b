package broker

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A producer decides what its batches unpack to, and kfake stores them unseen: they
// were unpacked when the broker stamped them, when somebody asked for an offset by
// time, and by every reader. So each batch is looked at once, when it comes in, on the
// goroutine of its connection: kfake answers everybody on one goroutine, which must
// not wait for this.
//
// Only that goroutine can answer. A batch that is refused is therefore overwritten,
// in the request, by a mark that nobody else can write and the reason, which the
// control function for produce requests turns into the answer (refusedBatches).

// maxProduceParts bounds topics and partitions in one produce request, each of which
// costs kfake some 300 bytes.
const maxProduceParts = 20_000

// maxTags bounds the tagged fields of one produce request; Kafka has defined none yet.
const maxTags = 1000

// inspector looks at produce requests.
type inspector struct {
	mark  [16]byte
	slow  chan struct{} // held by the one batch that takes long
	ready chan struct{} // closed when what it refuses is answered; nothing is read before
}

func newInspector() *inspector {
	in := &inspector{slow: make(chan struct{}, 1), ready: make(chan struct{})}
	_, _ = rand.Read(in.mark[:]) // it never fails
	return in
}

var errProduce = errors.New("malformed produce request")

// produce checks the batches of a produce request: key, version and so on, without
// its length. An error ends the connection.
func (in *inspector) produce(ctx context.Context, frame []byte) error {
	budget := int64(maxUnpacked)
	slow := func() (func(), error) {
		select {
		case in.slow <- struct{}{}:
			return func() { <-in.slow }, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return eachBatch(frame, func(batch []byte) error {
		err := checkBatch(batch, &budget, slow)
		switch {
		case errors.Is(err, errTooLarge):
			in.refuse(batch, kerr.MessageTooLarge.Code, err)
		case errors.Is(err, errRecords):
			in.refuse(batch, kerr.InvalidRecord.Code, err)
		case err != nil:
			return err
		}
		return nil
	})
}

// refuse writes the mark, the code, and as much of the reason as fits.
func (in *inspector) refuse(batch []byte, code int16, reason error) {
	n := copy(batch, in.mark[:])
	if len(batch) < n+2 {
		clear(batch) // kfake refuses what is no batch
		return
	}
	binary.BigEndian.PutUint16(batch[n:], uint16(code))
	clear(batch[n+2+copy(batch[n+2:], reason.Error()):])
}

// refused is what refuse wrote.
func (in *inspector) refused(batch []byte) (code int16, reason string, is bool) {
	rest, is := bytes.CutPrefix(batch, in.mark[:])
	if !is || len(rest) < 2 {
		return 0, "", false
	}
	text, _, _ := bytes.Cut(rest[2:], []byte{0})
	return int16(binary.BigEndian.Uint16(rest)), string(text), true
}

// answerRefused answers a request that holds refused batches; nil where it holds
// none. A request is written as a whole or not at all, so the other batches are to be
// sent again, which producers do by themselves.
func (in *inspector) answerRefused(req *kmsg.ProduceRequest) *kmsg.ProduceResponse {
	found := false
	res := answerProduce(req, func(p *kmsg.ProduceRequestTopicPartition) (int16, string) {
		code, reason, is := in.refused(p.Records)
		if found = found || is; is {
			return code, "the batch is refused: " + reason
		}
		return kerr.KafkaStorageError.Code, "not written, for another batch of the request is refused; send it again"
	})
	if !found {
		return nil
	}
	return res
}

// answerProduce answers a request without writing anything.
func answerProduce(req *kmsg.ProduceRequest, answer func(*kmsg.ProduceRequestTopicPartition) (code int16, message string)) *kmsg.ProduceResponse {
	res := req.ResponseKind().(*kmsg.ProduceResponse) //nolint:forcetypeassert // by construction
	for _, t := range req.Topics {
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for i := range t.Partitions {
			part := kmsg.NewProduceResponseTopicPartition()
			code, message := answer(&t.Partitions[i])
			part.Partition, part.ErrorCode, part.BaseOffset, part.ErrorMessage = t.Partitions[i].Partition, code, -1, &message
			topic.Partitions = append(topic.Partitions, part)
		}
		res.Topics = append(res.Topics, topic)
	}
	return res
}

// eachBatch walks a produce request as it is on the wire, without trusting a count,
// and calls visit with the record set of each partition. Versions that kfake refuses
// are not walked.
func eachBatch(frame []byte, visit func([]byte) error) error {
	w := walk{b: frame}
	w.take(2) // the key
	version := w.uint16()
	if version < 3 || version > 13 {
		return nil
	}
	flexible := version >= 9
	w.take(4)          // the correlation id
	w.string(false)    // the client id, which is not compact in any version
	w.tags(flexible)   // of the header
	w.string(flexible) // the transactional id
	w.take(6)          // acks, timeout
	parts := 0
	for range w.count(flexible) {
		if version >= 13 {
			w.take(16)
		} else {
			w.string(flexible)
		}
		for range w.count(flexible) {
			w.take(4) // the partition
			batch := w.bytes(flexible)
			w.tags(flexible)
			if w.bad {
				return errProduce
			}
			if parts++; parts > maxProduceParts {
				return fmt.Errorf("%w: more than %d partitions", errProduce, maxProduceParts)
			}
			if err := visit(batch); err != nil {
				return err
			}
		}
		w.tags(flexible)
		if w.bad {
			return errProduce
		}
		if parts++; parts > maxProduceParts {
			return fmt.Errorf("%w: more than %d topics and partitions", errProduce, maxProduceParts)
		}
	}
	w.tags(flexible)
	if w.bad {
		return errProduce
	}
	return nil
}

// walk reads Kafka's wire format. After a value that is not there, bad is set and
// stays, and everything is empty.
type walk struct {
	b      []byte
	bad    bool
	tagged int
}

func (w *walk) stop() { w.bad, w.b = true, nil }

func (w *walk) take(n int64) []byte {
	if n < 0 || n > int64(len(w.b)) {
		w.stop()
		return nil
	}
	out := w.b[:n:n]
	w.b = w.b[n:]
	return out
}

func (w *walk) uint16() int {
	if b := w.take(2); b != nil {
		return int(binary.BigEndian.Uint16(b))
	}
	return 0
}

func (w *walk) int32() int64 {
	if b := w.take(4); b != nil {
		return int64(int32(binary.BigEndian.Uint32(b)))
	}
	return 0
}

func (w *walk) uvarint() int64 {
	v, n := binary.Uvarint(w.b)
	if n <= 0 || n > 5 || v > 1<<32-1 {
		w.stop()
		return 0
	}
	w.b = w.b[n:]
	return int64(v)
}

// string passes over a string that may be null.
func (w *walk) string(flexible bool) {
	if flexible {
		w.bytes(true)
		return
	}
	w.take(max(int64(int16(w.uint16())), 0))
}

func (w *walk) bytes(flexible bool) []byte { return w.take(w.length(flexible)) }

// length is that of bytes or an array, 0 where there is none.
func (w *walk) length(flexible bool) int64 {
	if flexible {
		return max(w.uvarint()-1, 0)
	}
	return max(w.int32(), 0)
}

// count is the length of an array; each element has at least a byte.
func (w *walk) count(flexible bool) int64 {
	n := w.length(flexible)
	if n > int64(len(w.b)) {
		w.stop()
		return 0
	}
	return n
}

// tags passes over tagged fields, which kfake keeps in maps.
func (w *walk) tags(flexible bool) {
	if !flexible {
		return
	}
	for n := w.uvarint(); n > 0 && !w.bad; n-- {
		if w.tagged++; w.tagged > maxTags {
			w.stop()
		}
		w.uvarint()
		w.take(w.uvarint())
	}
}
