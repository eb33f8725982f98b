package decode

import (
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plumbline-sec/plumbline/schemas"
)

// otlpTranscoder turns the JSON form of OTLP into the protobuf form, so that one
// reader knows what spans mean. OTLP's JSON differs from protobuf's own: ids are
// in hex, and enums are numbers. A member that OTLP does not know is passed over,
// and so is one of the wrong type; bytes that are not UTF-8 stay as they are.
type otlpTranscoder struct {
	root    *otlpObject
	batch   bool // a member of a batch stood in the text
	s       scanner
	out     []byte
	scratch []byte // of a string with escapes
	open    []byte // the brackets that skip has yet to close
}

type otlpType = uint8

const (
	jText otlpType = iota
	jHex
	jBase64
	jVarint // also of an integer in quotes
	jFixed64
	jDouble
	jBool
	jEnum
	jMessage
	jMessages // an array of messages
)

// otlpMember is a member of a JSON object and the field that it becomes.
type otlpMember struct {
	num  protowire.Number
	typ  otlpType
	into *otlpObject
}

type otlpObject struct{ members map[string]otlpMember }

// newOTLPObject returns the batch of spans or of log records, as far as it is read.
func newOTLPObject(logs bool) *otlpObject {
	type members = map[string]otlpMember
	value := &otlpObject{}
	attribute := &otlpObject{members{"key": {1, jText, nil}, "value": {2, jMessage, value}}}
	value.members = members{
		"stringValue": {1, jText, nil}, "boolValue": {2, jBool, nil}, "intValue": {3, jVarint, nil}, "doubleValue": {4, jDouble, nil},
		"arrayValue":  {5, jMessage, &otlpObject{members{"values": {1, jMessages, value}}}},
		"kvlistValue": {6, jMessage, &otlpObject{members{"values": {1, jMessages, attribute}}}},
		"bytesValue":  {7, jBase64, nil},
	}
	resources, scopes, items, item := "resourceSpans", "scopeSpans", "spans", members{
		"traceId": {1, jHex, nil}, "spanId": {2, jHex, nil}, "parentSpanId": {4, jHex, nil},
		"name": {5, jText, nil}, "kind": {6, jEnum, nil},
		"startTimeUnixNano": {7, jFixed64, nil}, "endTimeUnixNano": {8, jFixed64, nil},
		"attributes": {9, jMessages, attribute},
		"status":     {15, jMessage, &otlpObject{members{"message": {2, jText, nil}, "code": {3, jEnum, nil}}}},
	}
	if logs {
		resources, scopes, items, item = "resourceLogs", "scopeLogs", "logRecords", members{
			"timeUnixNano": {1, jFixed64, nil}, "severityNumber": {2, jEnum, nil},
			"body": {5, jMessage, value}, "attributes": {6, jMessages, attribute},
			"traceId": {9, jHex, nil}, "spanId": {10, jHex, nil},
			"observedTimeUnixNano": {11, jFixed64, nil}, "eventName": {12, jText, nil},
		}
	}
	scope := &otlpObject{members{items: {2, jMessages, &otlpObject{item}}}}
	resource := &otlpObject{members{
		"resource": {1, jMessage, &otlpObject{members{"attributes": {1, jMessages, attribute}}}},
		scopes:     {2, jMessages, scope},
	}}
	return &otlpObject{members{resources: {1, jMessages, resource}}}
}

// otlpEnums are the names of enum values, which OTLP does not allow and some
// producers write.
var otlpEnums = map[string]uint64{
	"SPAN_KIND_SERVER": spanServer, "SPAN_KIND_CLIENT": spanClient, "SPAN_KIND_PRODUCER": spanProducer,
	"STATUS_CODE_ERROR": statusError, "SEVERITY_NUMBER_ERROR": severityError, "SEVERITY_NUMBER_FATAL": severityError + 4,
}

const (
	// maxOTLPDepth bounds the nesting of the JSON text that is looked into: a value
	// within schemas.MaxDepth lists takes three levels for each.
	maxOTLPDepth = 4 * schemas.MaxDepth
	// lengthBytes is how many bytes the length of a message takes: it is written
	// after the message, so there has to be room for the longest.
	lengthBytes  = 4
	maxOTLPBytes = 1 << (7*lengthBytes - 1)
)

// transcode returns the protobuf form of text in memory of its own, since events
// share it.
func (t *otlpTranscoder) transcode(text []byte) ([]byte, *Refusal) {
	if len(text) > maxOTLPBytes/2 {
		return nil, &Refusal{Reason: ReasonTooLarge, Detail: strconv.Itoa(len(text)) + " bytes, at most " + strconv.Itoa(maxOTLPBytes/2)}
	}
	t.out, t.batch = make([]byte, 0, len(text)), false
	t.s.reset(text)
	if t.s.peek() != '{' {
		return nil, &Refusal{Reason: ReasonNotJSON, Detail: "is not an object"}
	}
	ok := t.object(t.root, 1)
	if ok && t.s.peek() != 0 {
		ok = t.s.invalid()
	}
	if !ok {
		return nil, &Refusal{Reason: t.s.fail, Detail: "invalid at byte " + strconv.Itoa(t.s.pos)}
	}
	if !t.batch && len(text) > len("{}") {
		return nil, &Refusal{Reason: ReasonNotOTLP, Detail: "has none of the members of a batch"}
	}
	return t.out, nil
}

// object reads the object at pos, the depth-th that is open.
func (t *otlpTranscoder) object(o *otlpObject, depth int) bool {
	s := &t.s
	s.pos++
	if s.peek() == '}' {
		s.pos++
		return true
	}
	for {
		if s.peek() != '"' {
			return s.invalid()
		}
		key, ok := s.str()
		if !ok || !s.colon() {
			return false
		}
		m, known := o.members[alias(s.b[key.start:key.end])]
		t.batch = t.batch || known
		if !known || depth > maxOTLPDepth {
			ok = t.skip()
		} else {
			ok = t.member(m, depth)
		}
		if !ok {
			return false
		}
		switch s.peek() {
		case ',':
			s.pos++
		case '}':
			s.pos++
			return true
		default:
			return s.invalid()
		}
	}
}

func (t *otlpTranscoder) member(m otlpMember, depth int) bool {
	s := &t.s
	c := s.peek()
	switch m.typ {
	case jMessage:
		if c == '{' {
			return t.message(m, depth+1)
		}
	case jMessages:
		if c == '[' {
			return t.messages(m, depth+2)
		}
	case jText, jHex, jBase64:
		if c == '"' {
			return t.text(m)
		}
	case jBool:
		if c == 't' || c == 'f' {
			t.out = protowire.AppendVarint(protowire.AppendTag(t.out, m.num, protowire.VarintType), protowire.EncodeBool(c == 't'))
			return s.scalar(c)
		}
	default:
		if c == '"' || c == '-' || isDigit(c) {
			return t.number(m, c)
		}
	}
	return t.skip()
}

// message reads the object at pos as a message.
func (t *otlpTranscoder) message(m otlpMember, depth int) bool {
	t.out = protowire.AppendTag(t.out, m.num, protowire.BytesType)
	t.out = append(t.out, make([]byte, lengthBytes)...)
	start := len(t.out)
	if !t.object(m.into, depth) {
		return false
	}
	n := len(t.out) - start
	for i := range lengthBytes {
		b := byte(n >> (7 * i) & 0x7f)
		if i < lengthBytes-1 {
			b |= 0x80
		}
		t.out[start-lengthBytes+i] = b
	}
	return true
}

func (t *otlpTranscoder) messages(m otlpMember, depth int) bool {
	s := &t.s
	s.pos++
	if s.peek() == ']' {
		s.pos++
		return true
	}
	for {
		ok := false
		if s.peek() == '{' {
			ok = t.message(m, depth)
		} else {
			ok = t.skip()
		}
		if !ok {
			return false
		}
		switch s.peek() {
		case ',':
			s.pos++
		case ']':
			s.pos++
			return true
		default:
			return s.invalid()
		}
	}
}

// text reads a string, an id or bytes. What is no hex or base64 is passed over.
func (t *otlpTranscoder) text(m otlpMember) bool {
	s := &t.s
	k, ok := s.str()
	if !ok {
		return false
	}
	raw := s.b[k.start:k.end]
	switch m.typ {
	case jHex, jBase64:
		var err error
		if m.typ == jHex {
			t.scratch, err = hex.AppendDecode(t.scratch[:0], raw)
		} else {
			t.scratch, err = base64.StdEncoding.AppendDecode(t.scratch[:0], raw)
		}
		if err == nil {
			t.out = protowire.AppendBytes(protowire.AppendTag(t.out, m.num, protowire.BytesType), t.scratch)
		}
	default:
		t.out = protowire.AppendTag(t.out, m.num, protowire.BytesType)
		if !k.escaped {
			t.out = protowire.AppendBytes(t.out, raw)
			break
		}
		t.scratch = unescapeAll(t.scratch[:0], raw)
		t.out = protowire.AppendBytes(t.out, t.scratch)
	}
	return true
}

// unescapeAll appends the value of the string raw, however long. A lone surrogate
// becomes a byte that is not UTF-8, for which the event is flagged later.
func unescapeAll(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		switch {
		case raw[i] != '\\':
			dst = append(dst, raw[i])
			i++
		case raw[i+1] == 'u':
			r, n := unescapeUnicode(raw[i:])
			if r < 0 {
				dst = append(dst, 0xff)
			} else {
				dst = utf8.AppendRune(dst, r)
			}
			i += n
		default:
			dst = append(dst, unescapeByte(raw[i+1]))
			i += 2
		}
	}
	return dst
}

// number reads a number, in quotes or not.
func (t *otlpTranscoder) number(m otlpMember, c byte) bool {
	s := &t.s
	var text string
	if c == '"' {
		k, ok := s.str()
		if !ok {
			return false
		}
		text = alias(s.b[k.start:k.end])
	} else {
		b, ok := s.number()
		if !ok {
			return false
		}
		text = alias(b)
	}
	switch m.typ {
	case jDouble:
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			t.out = protowire.AppendFixed64(protowire.AppendTag(t.out, m.num, protowire.Fixed64Type), math.Float64bits(f))
		}
	case jFixed64:
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			t.out = protowire.AppendFixed64(protowire.AppendTag(t.out, m.num, protowire.Fixed64Type), n)
		}
	default:
		n, err := strconv.ParseInt(text, 10, 64)
		if named, ok := otlpEnums[text]; ok && m.typ == jEnum {
			n, err = int64(named), nil
		}
		if err == nil {
			t.out = protowire.AppendVarint(protowire.AppendTag(t.out, m.num, protowire.VarintType), uint64(n))
		}
	}
	return true
}

// skip passes over the value at pos, however deep it is: refusing it would hide
// the whole batch. It checks that brackets and strings end, no more.
func (t *otlpTranscoder) skip() bool {
	s := &t.s
	open := t.open[:0]
	for {
		switch c := s.peek(); c {
		case '{', '[':
			open = append(open, c+2) // '{' and '}', '[' and ']' lie two apart
			s.pos++
			continue
		case '}', ']':
			if len(open) == 0 || open[len(open)-1] != c {
				return s.invalid()
			}
			open = open[:len(open)-1]
			s.pos++
		case ',', ':':
			if len(open) == 0 {
				return s.invalid()
			}
			s.pos++
			continue
		default:
			if !s.scalar(c) {
				return false
			}
		}
		if len(open) == 0 {
			t.open = open
			return true
		}
	}
}
