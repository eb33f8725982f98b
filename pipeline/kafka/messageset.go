package kafka

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// Messages of the formats 0 and 1, which brokers before 0.11 wrote and brokers
// before 4.0 may still hold:
//
//	offset int64, size int32, crc int32, magic int8, attributes int8,
//	[timestamp int64, format 1 only], key, value (each int32 length and bytes)
//
// A compressed message holds a set of messages in its value. Its offset is that of
// the last of them; theirs are absolute in format 0 and relative in format 1.
const (
	posMessageCRC        = 12
	posMessageAttributes = 17
	minMessageSize       = 14 // of format 0, not counting offset and size
)

// message takes one whole message, compressed or not.
func (p *parser) message(b []byte) error {
	offset := int64(binary.BigEndian.Uint64(b))
	m, err := parseMessage(b)
	if err != nil {
		return p.corrupt(offset, offset+1, err.Error())
	}
	if offset < p.behind {
		return p.corrupt(offset, offset+1, fmt.Sprintf("it stands inside the batch before, which ends at %d", p.behind))
	}
	if offset < p.offset {
		p.advance(offset)
		return nil
	}
	codec := m.attributes & attrCodec
	if codec == 0 {
		p.referenced = true
		p.records = append(p.records, m.record(offset, m.time))
		p.advance(offset)
		return nil
	}
	plain, err := p.decompress(uint16(codec), m.value)
	if err != nil {
		return p.unreadable(offset, offset+1, err.Error())
	}
	inner, err := innerMessages(plain, m, offset)
	if err != nil {
		return p.unreadable(offset, offset+1, err.Error())
	}
	if len(inner) > 0 && inner[0].Offset < p.behind {
		return p.corrupt(offset, offset+1, fmt.Sprintf("it begins inside the batch before, which ends at %d", p.behind))
	}
	for _, r := range inner {
		if r.Offset >= p.offset {
			p.records = append(p.records, r)
		}
	}
	p.advance(offset)
	return nil
}

// innerMessages reads the message set that a compressed message holds.
func innerMessages(b []byte, outer oldMessage, offset int64) ([]pipeline.Record, error) {
	var out []pipeline.Record
	previous := int64(-1)
	for len(b) > 0 {
		if len(b) < posMessageCRC+minMessageSize {
			return nil, fmt.Errorf("%d bytes after the last inner message", len(b))
		}
		size := int64(int32(binary.BigEndian.Uint32(b[posLength:]))) + posMessageCRC
		if size < posMessageCRC+minMessageSize || size > int64(len(b)) {
			return nil, fmt.Errorf("inner message of %d bytes", size)
		}
		at := int64(binary.BigEndian.Uint64(b))
		m, err := parseMessage(b[:size:size])
		if err != nil {
			return nil, fmt.Errorf("inner message: %w", err)
		}
		if m.magic != outer.magic || m.attributes&attrCodec != 0 || at <= previous {
			return nil, fmt.Errorf("inner message of format %d, attributes %#x, at %d", m.magic, m.attributes, at)
		}
		if len(out) == maxRecords {
			return nil, fmt.Errorf("more than %d inner messages", maxRecords)
		}
		t := m.time
		if outer.attributes&attrLogAppendTime != 0 {
			t = outer.time
		}
		out = append(out, m.record(at, t))
		previous, b = at, b[size:]
	}
	if outer.magic == 1 && len(out) > 0 {
		shift := offset - out[len(out)-1].Offset
		for i := range out {
			out[i].Offset += shift
		}
	}
	if len(out) > 0 && (out[0].Offset < 0 || out[len(out)-1].Offset > offset) {
		return nil, fmt.Errorf("inner messages from %d to %d", out[0].Offset, out[len(out)-1].Offset)
	}
	return out, nil
}

type oldMessage struct {
	magic, attributes byte
	time              int64
	key, value        []byte
}

func (m *oldMessage) record(offset, time int64) pipeline.Record {
	return pipeline.Record{Offset: offset, Time: millis(time), Key: m.key, Value: m.value}
}

func parseMessage(b []byte) (oldMessage, error) {
	if want, got := binary.BigEndian.Uint32(b[posMessageCRC:]), crc32.ChecksumIEEE(b[posMagic:]); want != got {
		return oldMessage{}, fmt.Errorf("checksum %08x instead of %08x", got, want)
	}
	m := oldMessage{magic: b[posMagic], attributes: b[posMessageAttributes], time: -1}
	rest := b[posMessageAttributes+1:]
	if m.magic > 1 {
		return oldMessage{}, fmt.Errorf("format %d", m.magic)
	}
	if m.magic == 1 {
		if len(rest) < 8 {
			return oldMessage{}, fmt.Errorf("%d bytes", len(b))
		}
		m.time = int64(binary.BigEndian.Uint64(rest))
		rest = rest[8:]
	}
	var ok bool
	if m.key, rest, ok = takeSized(rest); ok {
		m.value, rest, ok = takeSized(rest)
	}
	if !ok || len(rest) != 0 {
		return oldMessage{}, fmt.Errorf("key and value do not fill its %d bytes", len(b))
	}
	return m, nil
}

func takeSized(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := int64(int32(binary.BigEndian.Uint32(b)))
	b = b[4:]
	if n < 0 {
		return nil, b, true
	}
	if n > int64(len(b)) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}
