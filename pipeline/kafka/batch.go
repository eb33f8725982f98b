package kafka

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"unsafe"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// The header of a record batch (format 2), by the position of its fields.
// https://kafka.apache.org/documentation/#recordbatch
const (
	posBaseOffset      = 0
	posLength          = 8 // counts what follows it
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21 // the checksum covers all from here on
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posNumRecords      = 57
	batchHeaderSize    = 61
	lengthEnd          = 12 // where posLength starts to count

	attrCodec         = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20

	// The smallest record and header there can be, in bytes: what a count may
	// claim at most follows from the bytes that are there.
	minRecordSize = 7
	minHeaderSize = 2

	// Of a message of format 0 or 1: its checksum covers all from posMagic on.
	posMessageCRC  = 12
	minMessageSize = 14 // counts what follows its length
)

// Bounds on what bytes may become. A producer decides how well its records
// compress and how small they are, so a small fetch must not become a large heap:
// after fetchBudget the rest of the fetch is left for the next one, and a single
// batch beyond maxBatch bytes, maxRecords records or as many headers is refused.
// The latter two are out of reach of a batch of 14 MiB that is not compressed.
const (
	fetchBudget = 16 << 20
	maxBatch    = 128 << 20
	maxRecords  = 2 << 20
	maxHeaders  = 2 << 20
	maxGrowth   = 16 // that is believed in advance
	recordCost  = int(unsafe.Sizeof(pipeline.Record{}))
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// parser turns the record set of one fetch into records.
type parser struct {
	tp         pipeline.TopicPartition
	offset     int64 // asked for
	next       int64 // behind the last batch that was taken or skipped, at least offset
	behind     int64 // behind the last batch; no later one may begin before it
	records    []pipeline.Record
	referenced bool // a record refers to the record set itself, not to a decompressed copy

	budget, most int     // fetchBudget, maxBatch
	growth       float64 // expected of compressed bytes

	headers      []pipeline.Header // records take theirs from here, many per allocation
	headerKeys   []string          // of the last record: the next one has mostly the same
	headerCount  int64             // in this batch
	decompressed int
	read         int // bytes of the record set

	aborted  []abortedTransaction // by first offset, those not reached yet
	aborting map[int64]struct{}   // producers inside an aborted transaction
}

func newParser(tp pipeline.TopicPartition, offset int64, aborted []abortedTransaction) *parser {
	slices.SortStableFunc(aborted, func(a, b abortedTransaction) int {
		switch {
		case a.firstOffset < b.firstOffset:
			return -1
		case a.firstOffset > b.firstOffset:
			return 1
		}
		return 0
	})
	return &parser{tp: tp, offset: offset, next: offset, aborted: aborted, budget: fetchBudget, most: maxBatch, growth: 4}
}

// recordSet reads the batches in b. A batch that is cut off at the end is left for
// the next fetch. After an error, records and next are what stood before it.
func (p *parser) recordSet(b []byte) error {
	p.reserve(b)
	first := true
	for len(b) > posMagic {
		base := int64(binary.BigEndian.Uint64(b))
		length := int64(int32(binary.BigEndian.Uint32(b[posLength:])))
		magic := b[posMagic]
		least := int64(batchHeaderSize - lengthEnd)
		if magic < 2 {
			least = minMessageSize
		}
		if length < least || base < 0 {
			return p.corrupt(base, 0, fmt.Sprintf("impossible length %d", length))
		}
		if length+lengthEnd > int64(len(b)) {
			break
		}
		if p.cost() > p.budget {
			return nil
		}
		p.read += int(length) + lengthEnd
		batch := b[: length+lengthEnd : length+lengthEnd]
		b = b[length+lengthEnd:]
		var err error
		switch magic {
		case 2:
			err = p.batch(batch)
		case 0, 1:
			err = p.oldMessages(batch, b)
		default:
			err = p.corrupt(base, 0, fmt.Sprintf("unknown format %d", magic))
		}
		if err != nil {
			return err
		}
		first = false
	}
	if first && len(b) > 0 {
		return fmt.Errorf("fetch %s/%d at %d: the broker sent %d bytes and no whole batch", p.tp.Topic, p.tp.Partition, p.offset, len(b))
	}
	return nil
}

// cost is what the records take beside the record set itself.
func (p *parser) cost() int { return p.decompressed + len(p.records)*recordCost }

// reserve makes room for the records that the headers of the batches announce,
// as far as the bytes could hold them.
func (p *parser) reserve(b []byte) {
	announced := 0
	for rest := b; len(rest) >= batchHeaderSize && rest[posMagic] == 2; {
		size := int64(int32(binary.BigEndian.Uint32(rest[posLength:]))) + lengthEnd
		if size < batchHeaderSize || size > int64(len(rest)) {
			break
		}
		announced += max(0, int(int32(binary.BigEndian.Uint32(rest[posNumRecords:]))))
		rest = rest[size:]
	}
	if n := min(announced, 1+len(b)/minRecordSize, fetchBudget/recordCost); n > 0 {
		p.records = make([]pipeline.Record, 0, n)
	}
}

// batch takes one whole batch of format 2.
func (p *parser) batch(b []byte) error {
	base := int64(binary.BigEndian.Uint64(b))
	delta := int64(int32(binary.BigEndian.Uint32(b[posLastOffsetDelta:])))
	last := base + delta
	attributes := binary.BigEndian.Uint16(b[posAttributes:])
	behind := int64(0) // trusted only after the checksum
	if delta >= 0 {
		behind = last + 1
	}
	if want, got := binary.BigEndian.Uint32(b[posCRC:]), crc32.Checksum(b[posAttributes:], castagnoli); want != got {
		return p.corrupt(base, behind, fmt.Sprintf("checksum %08x instead of %08x", got, want))
	}
	if delta < 0 || last < base {
		return p.unreadable(base, 0, fmt.Sprintf("last offset delta %d", delta))
	}
	if base < p.behind {
		return p.corrupt(base, behind, fmt.Sprintf("it begins inside the batch before, which ends at %d", p.behind))
	}
	producer := int64(binary.BigEndian.Uint64(b[posProducerID:]))
	p.reachAborted(last)
	if attributes&attrControl != 0 {
		p.control(b, attributes, producer)
		p.advance(last)
		return nil
	}
	if _, ok := p.aborting[producer]; (ok && attributes&attrTransactional != 0) || last < p.offset {
		p.advance(last)
		return nil
	}
	body := b[batchHeaderSize:]
	if codec := attributes & attrCodec; codec != 0 {
		plain, err := p.decompress(codec, body)
		if err != nil {
			return p.unreadable(base, behind, err.Error())
		}
		body = plain
	} else {
		p.referenced = true
	}
	had := len(p.records)
	if err := p.body(b, body, base, delta, attributes); err != nil {
		p.records = p.records[:had]
		return p.unreadable(base, behind, err.Error())
	}
	p.advance(last)
	return nil
}

// oldMessages refuses a message of format 0 or 1, and with it those that follow in
// rest: stepped over one by one, each would cost a fetch.
func (p *parser) oldMessages(b, rest []byte) error {
	offset := int64(binary.BigEndian.Uint64(b))
	if want, got := binary.BigEndian.Uint32(b[posMessageCRC:]), crc32.ChecksumIEEE(b[posMagic:]); want != got {
		return p.corrupt(offset, offset+1, fmt.Sprintf("checksum %08x instead of %08x", got, want))
	}
	if offset < p.behind {
		return p.corrupt(offset, offset+1, fmt.Sprintf("it stands inside the batch before, which ends at %d", p.behind))
	}
	if offset < p.offset {
		p.advance(offset)
		return nil
	}
	next := offset + 1
	for len(rest) > posMagic && rest[posMagic] < 2 {
		at, size := int64(binary.BigEndian.Uint64(rest)), int64(int32(binary.BigEndian.Uint32(rest[posLength:])))+lengthEnd
		if at < next || size < lengthEnd+minMessageSize || size > int64(len(rest)) || binary.BigEndian.Uint32(rest[posMessageCRC:]) != crc32.ChecksumIEEE(rest[posMagic:size]) {
			break
		}
		next, rest = at+1, rest[size:]
	}
	return p.unreadable(offset, next, "a message format older than Kafka 0.11, which is not read; "+
		"copy such a topic with a client of 0.11 or newer and name the copy as the source, or let its retention remove what is old")
}

// decompress expects a batch to grow as much as the one before it did.
func (p *parser) decompress(codec uint16, packed []byte) ([]byte, error) {
	plain, err := decompress(codec, packed, int(p.growth*float64(len(packed))), p.most)
	if err != nil {
		return nil, err
	}
	p.decompressed += len(plain)
	p.growth = min(maxGrowth, 1.1*float64(len(plain)+1)/float64(len(packed)+1))
	return plain, nil
}

// body takes the records of a batch.
func (p *parser) body(header, body []byte, base, lastDelta int64, attributes uint16) error {
	n := int64(int32(binary.BigEndian.Uint32(header[posNumRecords:])))
	if n < 0 || n*minRecordSize > int64(len(body)) {
		return fmt.Errorf("%d records in %d bytes", n, len(body))
	}
	if n > maxRecords {
		return fmt.Errorf("%d records, more than %d", n, maxRecords)
	}
	p.headerCount = 0
	baseTime := int64(binary.BigEndian.Uint64(header[posBaseTimestamp:]))
	appendTime := attributes&attrLogAppendTime != 0
	if appendTime {
		baseTime = int64(binary.BigEndian.Uint64(header[posMaxTimestamp:]))
	}
	p.records = slices.Grow(p.records, int(n))
	c := cursor{b: body}
	previous := int64(-1)
	for i := range n {
		size := c.varint()
		if c.bad || size < 0 || size > int64(len(body)-c.i) {
			return fmt.Errorf("record %d of %d: length %d", i, n, size)
		}
		end := c.i + int(size)
		r := cursor{b: body[:end], i: c.i}
		r.take(1) // attributes: unused by Kafka
		timeDelta, offsetDelta := r.varint(), r.varint()
		if appendTime {
			timeDelta = 0
		}
		key := r.nullable()
		value := r.nullable()
		headers := p.recordHeaders(&r)
		if p.headerCount > maxHeaders {
			return fmt.Errorf("record %d of %d: more than %d headers in the batch", i, n, maxHeaders)
		}
		if r.bad || r.i != end {
			return fmt.Errorf("record %d of %d does not fill its %d bytes", i, n, size)
		}
		if offsetDelta <= previous || offsetDelta > lastDelta {
			return fmt.Errorf("record %d of %d: offset delta %d", i, n, offsetDelta)
		}
		previous, c.i = offsetDelta, end
		if base+offsetDelta < p.offset {
			continue
		}
		p.records = append(p.records, pipeline.Record{
			Offset: base + offsetDelta, Time: millis(baseTime + timeDelta), Key: key, Value: value, Headers: headers,
		})
	}
	if c.i != len(body) {
		return fmt.Errorf("%d bytes after the last of %d records", len(body)-c.i, n)
	}
	return nil
}

// recordHeaders takes the headers of one record out of the shared slice.
func (p *parser) recordHeaders(c *cursor) []pipeline.Header {
	n := c.varint()
	if c.bad || n == 0 {
		return nil
	}
	if n < 0 || n*minHeaderSize > int64(len(c.b)-c.i) {
		c.bad = true
		return nil
	}
	if p.headerCount += n; p.headerCount > maxHeaders {
		return nil
	}
	if int64(cap(p.headers)-len(p.headers)) < n {
		p.headers = make([]pipeline.Header, 0, max(int(n), min(4096, max(16, 4*cap(p.headers)))))
	}
	start := len(p.headers)
	for i := range int(n) {
		key, value := c.nullable(), c.nullable()
		if c.bad {
			return nil
		}
		if i == len(p.headerKeys) {
			p.headerKeys = append(p.headerKeys, "")
		}
		if p.headerKeys[i] != string(key) { // compares without allocating
			p.headerKeys[i] = string(key)
		}
		p.headers = append(p.headers, pipeline.Header{Key: p.headerKeys[i], Value: value})
	}
	return p.headers[start:len(p.headers):len(p.headers)]
}

// reachAborted notes the aborted transactions that begin up to an offset.
func (p *parser) reachAborted(last int64) {
	for len(p.aborted) > 0 && p.aborted[0].firstOffset <= last {
		if p.aborting == nil {
			p.aborting = make(map[int64]struct{})
		}
		p.aborting[p.aborted[0].producerID] = struct{}{}
		p.aborted = p.aborted[1:]
	}
}

// control handles a control batch: the end of a producer's transaction. Its key
// is a version and a type, of which 0 means abort.
func (p *parser) control(b []byte, attributes uint16, producer int64) {
	if attributes&attrCodec != 0 {
		return // Kafka never compresses them
	}
	c := cursor{b: b[batchHeaderSize:]}
	c.varint()
	c.take(1)
	c.varint()
	c.varint()
	if key := c.nullable(); !c.bad && len(key) >= 4 && binary.BigEndian.Uint16(key[2:]) == 0 {
		delete(p.aborting, producer)
	}
}

func (p *parser) advance(last int64) {
	p.behind = last + 1
	p.next = max(p.next, p.behind)
}

func (p *parser) corrupt(offset, next int64, reason string) error {
	return &pipeline.CorruptError{TopicPartition: p.tp, Offset: offset, Next: next, Reason: reason}
}

// unreadable is corrupt for a batch whose checksum is right.
func (p *parser) unreadable(offset, next int64, reason string) error {
	return &pipeline.CorruptError{TopicPartition: p.tp, Offset: offset, Next: next, Reason: reason, Intact: true}
}

// millis maps Kafka's "no timestamp" (-1) to ours (0).
func millis(t int64) schemas.Millis { return schemas.Millis(max(t, 0)) }

// cursor reads the varint encoding of records. After a value that is not there
// or does not fit, bad is set and stays.
type cursor struct {
	b   []byte
	i   int
	bad bool
}

func (c *cursor) varint() int64 {
	if c.i < len(c.b) && c.b[c.i] < 0x80 {
		u := int64(c.b[c.i])
		c.i++
		return u>>1 ^ -(u & 1)
	}
	return c.longVarint()
}

func (c *cursor) longVarint() int64 {
	v, n := binary.Varint(c.b[c.i:])
	if n <= 0 || c.bad {
		c.bad = true
		return 0
	}
	c.i += n
	return v
}

// take returns the next n bytes, which can't be appended to in place.
func (c *cursor) take(n int64) []byte {
	if n > int64(len(c.b)-c.i) || c.bad {
		c.bad = true
		return nil
	}
	start := c.i
	c.i += int(n)
	return c.b[start:c.i:c.i]
}

// nullable returns a byte string, nil where it is null.
func (c *cursor) nullable() []byte {
	n := c.varint()
	if n < 0 {
		return nil
	}
	return c.take(n)
}
