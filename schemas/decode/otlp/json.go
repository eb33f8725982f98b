package otlp

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// transcoder turns the JSON form of OTLP into the protobuf form, so that one
// reader knows what spans mean. OTLP's JSON differs from protobuf's own: ids are
// in hex, and enums are numbers. A member that OTLP does not know is passed over,
// and so is one of the wrong type; bytes that are not UTF-8 stay as they are.
type transcoder struct {
	root    *jsonObject
	batch   bool // a member of a batch stood in the text
	s       jsonscan.Scanner
	out     []byte
	scratch []byte // of a string with escapes
	open    []byte // the brackets that skip has yet to close
}

type jsonType = uint8

const (
	jText jsonType = iota
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

// jsonMember is a member of a JSON object and the field that it becomes.
type jsonMember struct {
	num  protowire.Number
	typ  jsonType
	into *jsonObject
}

type jsonObject struct{ members map[string]jsonMember }

// newJSONObject returns the batch of spans or of log records, as far as it is read.
func newJSONObject(logs bool) *jsonObject {
	type members = map[string]jsonMember
	value := &jsonObject{}
	attribute := &jsonObject{members{"key": {1, jText, nil}, "value": {2, jMessage, value}}}
	value.members = members{
		"stringValue": {1, jText, nil}, "boolValue": {2, jBool, nil}, "intValue": {3, jVarint, nil}, "doubleValue": {4, jDouble, nil},
		"arrayValue":  {5, jMessage, &jsonObject{members{"values": {1, jMessages, value}}}},
		"kvlistValue": {6, jMessage, &jsonObject{members{"values": {1, jMessages, attribute}}}},
		"bytesValue":  {7, jBase64, nil},
	}
	resources, scopes, items, item := "resourceSpans", "scopeSpans", "spans", members{
		"traceId": {1, jHex, nil}, "spanId": {2, jHex, nil}, "parentSpanId": {4, jHex, nil},
		"name": {5, jText, nil}, "kind": {6, jEnum, nil},
		"startTimeUnixNano": {7, jFixed64, nil}, "endTimeUnixNano": {8, jFixed64, nil},
		"attributes": {9, jMessages, attribute},
		"events":     {11, jMessages, &jsonObject{members{"name": {2, jText, nil}, "attributes": {3, jMessages, attribute}}}},
		"status":     {15, jMessage, &jsonObject{members{"message": {2, jText, nil}, "code": {3, jEnum, nil}}}},
	}
	if logs {
		resources, scopes, items, item = "resourceLogs", "scopeLogs", "logRecords", members{
			"timeUnixNano": {1, jFixed64, nil}, "severityNumber": {2, jEnum, nil},
			"body": {5, jMessage, value}, "attributes": {6, jMessages, attribute},
			"traceId": {9, jHex, nil}, "spanId": {10, jHex, nil},
			"observedTimeUnixNano": {11, jFixed64, nil}, "eventName": {12, jText, nil},
		}
	}
	scope := &jsonObject{members{items: {2, jMessages, &jsonObject{item}}}}
	resource := &jsonObject{members{
		"resource": {1, jMessage, &jsonObject{members{"attributes": {1, jMessages, attribute}}}},
		scopes:     {2, jMessages, scope},
	}}
	return &jsonObject{members{resources: {1, jMessages, resource}}}
}

// enumNames are the names of enum values, which OTLP does not allow and some
// producers write.
var enumNames = map[string]uint64{
	"SPAN_KIND_SERVER": spanServer, "SPAN_KIND_CLIENT": spanClient, "SPAN_KIND_PRODUCER": spanProducer,
	"STATUS_CODE_ERROR": statusError, "SEVERITY_NUMBER_ERROR": severityError, "SEVERITY_NUMBER_FATAL": severityError + 4,
}

const (
	// maxJSONDepth bounds the nesting of the JSON text that is looked into: a value
	// within schemas.MaxDepth lists takes three levels for each.
	maxJSONDepth = 4 * schemas.MaxDepth
	// lengthBytes is how many bytes the length of a message takes: it is written
	// after the message, so there has to be room for the longest.
	lengthBytes  = 4
	maxJSONBytes = 1 << (7*lengthBytes - 1)
)

// transcode returns the protobuf form of text in memory of its own, since events
// share it.
func (t *transcoder) transcode(text []byte) ([]byte, *decode.Refusal) {
	if len(text) > maxJSONBytes/2 {
		return nil, &decode.Refusal{Reason: decode.ReasonTooLarge, Detail: strconv.Itoa(len(text)) + " bytes, at most " + strconv.Itoa(maxJSONBytes/2)}
	}
	t.out, t.batch = make([]byte, 0, len(text)), false
	t.s.Reset(text)
	if t.s.Peek() != '{' {
		return nil, &decode.Refusal{Reason: decode.ReasonNotJSON, Detail: "is not an object"}
	}
	if err := t.s.End(t.object(t.root, 1)); err != nil {
		return nil, &decode.Refusal{Reason: err.Reason, Detail: err.Detail}
	}
	if !t.batch && len(text) > len("{}") {
		return nil, &decode.Refusal{Reason: decode.ReasonNotOTLP, Detail: "has none of the members of a batch"}
	}
	return t.out, nil
}

// object reads the object at Pos, the depth-th that is open.
func (t *transcoder) object(o *jsonObject, depth int) bool {
	s := &t.s
	closing, more := s.Enter()
	for more {
		if s.Peek() != '"' { // as Key does, which costs a call for each member
			return s.Invalid()
		}
		key, ok := s.Token()
		if !ok || !s.Colon() {
			return false
		}
		m, known := o.members[jsonscan.Alias(s.B[key.Start:key.End])]
		t.batch = t.batch || known
		if !known || depth > maxJSONDepth {
			ok = t.skip()
		} else {
			ok = t.member(m, depth)
		}
		if ok {
			more, ok = s.More(closing)
		}
		if !ok {
			return false
		}
	}
	return true
}

func (t *transcoder) member(m jsonMember, depth int) bool {
	s := &t.s
	c := s.Peek()
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
			return s.Scalar(c)
		}
	default:
		if c == '"' || c == '-' || jsonscan.IsDigit(c) {
			return t.number(m, c)
		}
	}
	return t.skip()
}

// message reads the object at pos as a message.
func (t *transcoder) message(m jsonMember, depth int) bool {
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

func (t *transcoder) messages(m jsonMember, depth int) bool {
	return t.s.Each(func(s *jsonscan.Scanner) bool {
		if s.Peek() != '{' {
			return t.skip()
		}
		return t.message(m, depth)
	})
}

// text reads a string, an id or bytes. What is no hex or base64 is passed over.
func (t *transcoder) text(m jsonMember) bool {
	s := &t.s
	k, ok := s.Token()
	if !ok {
		return false
	}
	raw := s.B[k.Start:k.End]
	switch m.typ {
	case jHex, jBase64:
		ok := false
		if m.typ == jHex {
			t.scratch, ok = appendID(t.scratch[:0], raw)
		} else {
			var err error
			t.scratch, err = base64.StdEncoding.AppendDecode(t.scratch[:0], raw)
			ok = err == nil
		}
		if ok {
			t.out = protowire.AppendBytes(protowire.AppendTag(t.out, m.num, protowire.BytesType), t.scratch)
		}
	default:
		t.out = protowire.AppendTag(t.out, m.num, protowire.BytesType)
		if !k.Escaped {
			t.out = protowire.AppendBytes(t.out, raw)
			break
		}
		t.scratch = jsonscan.AppendUnescaped(t.scratch[:0], raw, len(raw))
		t.out = protowire.AppendBytes(t.out, t.scratch)
	}
	return true
}

// appendID decodes an id: OTLP has it in hex, and protobuf's own JSON, which some
// producers write, in base64. An id has 8 or 16 bytes.
func appendID(dst, text []byte) (id []byte, ok bool) {
	if n := len(text); n != 16 && n != 32 {
		form := base64.RawStdEncoding
		if bytes.ContainsAny(text, "-_") {
			form = base64.RawURLEncoding
		}
		id, err := form.AppendDecode(dst, bytes.TrimRight(text, "="))
		if n := len(id) - len(dst); err == nil && (n == 8 || n == 16) {
			return id, true
		}
	}
	id, err := hex.AppendDecode(dst, text)
	return id, err == nil
}

// number reads a number, in quotes or not.
func (t *transcoder) number(m jsonMember, c byte) bool {
	s := &t.s
	var text string
	if c == '"' {
		k, ok := s.Token()
		if !ok {
			return false
		}
		text = jsonscan.Alias(s.B[k.Start:k.End])
	} else {
		b, ok := s.Number()
		if !ok {
			return false
		}
		text = jsonscan.Alias(b)
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
		if named, ok := enumNames[text]; ok && m.typ == jEnum {
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
func (t *transcoder) skip() bool {
	s := &t.s
	open := t.open[:0]
	for {
		switch c := s.Peek(); c {
		case '{', '[':
			open = append(open, c+2) // '{' and '}', '[' and ']' lie two apart
			s.Pos++
			continue
		case '}', ']':
			if len(open) == 0 || open[len(open)-1] != c {
				return s.Invalid()
			}
			open = open[:len(open)-1]
			s.Pos++
		case ',', ':':
			if len(open) == 0 {
				return s.Invalid()
			}
			s.Pos++
			continue
		default:
			if !s.Scalar(c) {
				return false
			}
		}
		if len(open) == 0 {
			t.open = open
			return true
		}
	}
}
