package kafka

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// FuzzRecordSet looks for bytes that make the parser panic, break an invariant or
// allocate more than the bytes are worth. The checksums are made right first: the
// parser would look no further, and an attacker's batch has a right one.
func FuzzRecordSet(f *testing.F) {
	full := []recordSpec{{key: []byte("k"), value: []byte("value"), headers: []kmsg.Header{{Key: "h", Value: []byte("x")}}}, {offset: 1, time: 1000}}
	f.Add(batchSpec{records: full}.bytes(f), int64(0), int64(-1))
	f.Add(append(batchSpec{records: full}.bytes(f), batchSpec{base: 2, records: full, attributes: 0x10, producer: 5}.bytes(f)...), int64(1), int64(5))
	f.Add(controlBatch(f, 0, 5, false), int64(0), int64(5))
	for _, codec := range codecs {
		f.Add(batchSpec{records: full, codec: codec}.bytes(f), int64(0), int64(0))
	}
	f.Add(batchSpec{lastDelta: 9}.bytes(f), int64(4), int64(0))
	f.Add(append(oldMessageBytes(1, 7, []byte("v")), oldMessageBytes(0, 8, []byte("v"))...), int64(7), int64(0))

	f.Fuzz(func(t *testing.T, set []byte, offset, abortedProducer int64) {
		offset = max(0, offset)
		fixChecksums(set)
		before := bytes.Clone(set)
		p := newParser(testPartition, offset, []abortedTransaction{{abortedProducer, 0}})
		p.budget, p.most = 1<<20, 1<<20
		err := p.recordSet(set)
		var corrupt *pipeline.CorruptError
		if err != nil && errors.Is(err, pipeline.ErrCorrupt) && !errors.As(err, &corrupt) {
			t.Fatalf("corrupt without saying where: %v", err)
		}
		if !bytes.Equal(before, set) {
			t.Fatal("the parser wrote into its input")
		}
		if p.next < offset {
			t.Fatalf("next %d below the offset %d", p.next, offset)
		}
		last := offset - 1
		for i, r := range p.records {
			if r.Offset <= last || r.Offset >= p.next {
				t.Fatalf("record %d: offset %d after %d, next %d", i, r.Offset, last, p.next)
			}
			last = r.Offset
			if r.Time < 0 {
				t.Fatalf("record %d: time %d", i, r.Time)
			}
		}
		if most := (len(set) + p.decompressed) / minRecordSize; len(p.records) > most || cap(p.records) > 4*most+64 {
			t.Fatalf("%d records with room for %d from %d bytes", len(p.records), cap(p.records), len(set)+p.decompressed)
		}
	})
}

func fixChecksums(set []byte) {
	for len(set) > posMagic {
		size := int64(int32(binary.BigEndian.Uint32(set[posLength:]))) + lengthEnd
		if size < batchHeaderSize || size > int64(len(set)) || set[posMagic] != 2 {
			return
		}
		fixChecksum(set[:size])
		set = set[size:]
	}
}

// FuzzFetchAnswer looks for answers that make the reader panic or loop.
func FuzzFetchAnswer(f *testing.F) {
	for _, version := range []int16{4, 5, 7, 11} {
		f.Add(version, answerBytes(version, 0, []byte("records"), abortedTransaction{1, 2}))
		f.Add(version, answerBytes(version, 1, nil))
	}
	f.Fuzz(func(t *testing.T, version int16, answer []byte) {
		version = max(fetchMinVersion, min(fetchMaxVersion, version))
		src := bytes.NewReader(answer)
		out, err := fetchOfVersion(version).decode(&wireReader{r: src, left: int64(len(answer))})
		if err == nil && (len(out.recordSet) > len(answer) || len(out.aborted)*16 > len(answer)) {
			t.Fatalf("%d bytes of records, %d aborted transactions from %d bytes", len(out.recordSet), len(out.aborted), len(answer))
		}
		if err == nil && src.Len() > 0 {
			t.Fatalf("%d bytes of the answer were left on the connection", src.Len())
		}
	})
}

// answerBytes is what a broker answers to a fetch, without the header.
func answerBytes(version, code int16, records []byte, aborted ...abortedTransaction) []byte {
	res := kmsg.NewPtrFetchResponse()
	res.Version = version
	topic := kmsg.NewFetchResponseTopic()
	topic.Topic = "t"
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition, p.ErrorCode, p.HighWatermark, p.LogStartOffset = 3, code, 77, 5
	p.RecordBatches = records
	for _, a := range aborted {
		p.AbortedTransactions = append(p.AbortedTransactions, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: a.producerID, FirstOffset: a.firstOffset})
	}
	topic.Partitions = append(topic.Partitions, p)
	res.Topics = append(res.Topics, topic)
	return res.AppendTo(nil)
}
