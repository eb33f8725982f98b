package otlp

import (
	"encoding/base64"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode/jsonscan"
)

// OTLP is read straight from the wire, for two reasons: the generated code
// refuses a whole batch for one string that is not UTF-8, and builds a tree of
// hundreds of bytes for an attribute of two.

// wireField is one field of a protobuf message.
type wireField struct {
	num  int32
	typ  protowire.Type
	bits uint64 // of a varint or a fixed number
	data []byte // of a string, a message or bytes
}

// wireReader walks over the fields of one message.
type wireReader struct {
	b   []byte
	bad bool // the message ends within a field, or is none
}

func (r *wireReader) next(f *wireField) bool {
	if len(r.b) == 0 {
		return false
	}
	// Nearly every field is short, and has a tag and a length of one byte each.
	if b := r.b; len(b) > 1 && b[0]&0x87 == byte(protowire.BytesType) && b[0] > 7 && b[1] < 0x80 {
		if end := 2 + int(b[1]); end <= len(b) {
			f.num, f.typ, f.data, r.b = int32(b[0]>>3), protowire.BytesType, b[2:end], b[end:]
			return true
		}
	}
	num, typ, n := protowire.ConsumeTag(r.b)
	if n < 0 {
		r.bad = true
		return false
	}
	f.num, f.typ, f.data = int32(num), typ, nil
	b := r.b[n:]
	switch typ {
	case protowire.VarintType:
		f.bits, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		f.bits, n = protowire.ConsumeFixed64(b)
	case protowire.Fixed32Type:
		var v uint32
		v, n = protowire.ConsumeFixed32(b)
		f.bits = uint64(v)
	case protowire.BytesType:
		f.data, n = protowire.ConsumeBytes(b)
	case protowire.StartGroupType, protowire.EndGroupType:
		n = protowire.ConsumeFieldValue(num, typ, b)
	default:
		n = -1
	}
	if n < 0 {
		r.bad = true
		return false
	}
	r.b = b[n:]
	return true
}

// is reports whether the field is a string, message or bytes of that number.
func (f *wireField) is(num int32) bool {
	return f.num == num && f.typ == protowire.BytesType
}

// valueKind is which member of an AnyValue is set.
type valueKind = uint8

const (
	kindNone valueKind = iota
	kindText
	kindBool
	kindInt
	kindDouble
	kindList
	kindMap
	kindBytes
)

// anyValue is an AnyValue; its text shares memory with the record.
type anyValue struct {
	kind valueKind
	bits uint64
	text []byte // of a string or bytes; of a list or map the message
}

// Field numbers of AnyValue are the kinds.
func readValue(b []byte) (v anyValue, ok bool) {
	r := wireReader{b: b}
	var f wireField
	for r.next(&f) {
		var want protowire.Type
		switch valueKind(f.num) {
		case kindText, kindList, kindMap, kindBytes:
			want = protowire.BytesType
		case kindBool, kindInt:
			want = protowire.VarintType
		case kindDouble:
			want = protowire.Fixed64Type
		default:
			continue
		}
		if f.num <= int32(kindBytes) && f.typ == want {
			v = anyValue{kind: valueKind(f.num), bits: f.bits, text: f.data}
		}
	}
	return v, !r.bad
}

// readAttribute reads a KeyValue.
func readAttribute(b []byte) (key []byte, v anyValue, ok bool) {
	r := wireReader{b: b}
	var f wireField
	for r.next(&f) {
		switch {
		case f.is(1):
			key = f.data
		case f.is(2):
			if v, ok = readValue(f.data); !ok {
				return nil, v, false
			}
		}
	}
	return key, v, !r.bad
}

// clip shortens what the builder is going to cut, and leaves enough for
// it to see that there is something to cut.
func clip(b []byte) []byte {
	const most = schemas.MaxStringBytes + 8
	if len(b) > most {
		return b[:most]
	}
	return b
}

// string is the value as an attribute shows it: a list or a map is its JSON text.
func (v *anyValue) string() string {
	switch v.kind {
	case kindText:
		return jsonscan.Alias(clip(v.text))
	case kindBool:
		return strconv.FormatBool(v.bits != 0)
	case kindInt:
		return strconv.FormatInt(int64(v.bits), 10)
	case kindDouble:
		return strconv.FormatFloat(math.Float64frombits(v.bits), 'g', -1, 64)
	case kindBytes:
		return base64.StdEncoding.EncodeToString(clip(v.text))
	case kindList, kindMap:
		return jsonscan.Alias(clip(v.appendJSON(nil, 0)))
	}
	return ""
}

// scalar is a number or a switch as JSON has it; there, some numbers are texts.
func (v *anyValue) scalar() *jsonscan.Value {
	out := &jsonscan.Value{Kind: '0', Text: v.string()}
	switch f := math.Float64frombits(v.bits); {
	case v.kind == kindBool:
		out.Kind = out.Text[0]
	case v.kind == kindDouble && (math.IsNaN(f) || math.IsInf(f, 0)):
		out.Kind = '"'
	}
	return out
}

// number is the value as a count: an integer, or its text, as some producers
// write all values.
func (v *anyValue) number() (n uint64, ok bool) {
	switch v.kind {
	case kindInt:
		return v.bits, int64(v.bits) >= 0
	case kindDouble:
		f := math.Float64frombits(v.bits)
		return uint64(f), f >= 0 && f < math.MaxInt64
	case kindText:
		return jsonscan.ParseUint(jsonscan.Alias(v.text))
	default:
		return 0, false
	}
}

// appendJSON appends JSON text of the value, and stops soon after the longest
// string that an event may hold: what goes on behind it is cut in any case, and
// then is no longer valid JSON.
func (v *anyValue) appendJSON(dst []byte, depth int) []byte {
	if len(dst) > schemas.MaxStringBytes {
		return dst
	}
	switch v.kind {
	case kindText:
		return appendText(dst, jsonscan.Alias(clip(v.text)))
	case kindBytes:
		return appendText(dst, v.string())
	case kindBool, kindInt:
		return append(dst, v.string()...)
	case kindDouble:
		if f := math.Float64frombits(v.bits); math.IsNaN(f) || math.IsInf(f, 0) {
			return appendText(dst, v.string())
		}
		return append(dst, v.string()...)
	case kindList, kindMap:
	default:
		return append(dst, "null"...)
	}
	open, shut := byte('['), byte(']')
	if v.kind == kindMap {
		open, shut = '{', '}'
	}
	dst = append(dst, open)
	if depth >= schemas.MaxDepth {
		return append(dst, shut)
	}
	first := true
	v.each(func(key []byte, e *anyValue) bool {
		if !first {
			dst = append(dst, ',')
		}
		first = false
		if v.kind == kindMap {
			dst = append(appendText(dst, jsonscan.Alias(clip(key))), ':')
		}
		dst = e.appendJSON(dst, depth+1)
		return len(dst) <= schemas.MaxStringBytes
	})
	return append(dst, shut)
}

// each calls visit with the members of a list or a map until it says no. What
// can't be read of them is passed over.
func (v *anyValue) each(visit func(key []byte, e *anyValue) bool) {
	r := wireReader{b: v.text}
	var f wireField
	for r.next(&f) {
		if !f.is(1) {
			continue
		}
		var key []byte
		var e anyValue
		var ok bool
		if v.kind == kindMap {
			key, e, ok = readAttribute(f.data)
		} else {
			e, ok = readValue(f.data)
		}
		if ok && !visit(key, &e) {
			return
		}
	}
}

// size is how much content the value holds: the length of a string, or of the
// JSON text, without escapes, of anything else. It is the same for both encodings.
func (v *anyValue) size(depth int) uint64 {
	switch v.kind {
	case kindNone:
		return 0
	case kindText, kindBytes:
		return uint64(len(v.text))
	case kindList, kindMap:
	default:
		return uint64(len(v.string()))
	}
	if depth >= schemas.MaxDepth {
		return uint64(len(v.text))
	}
	n, members := uint64(2), uint64(0)
	v.each(func(key []byte, e *anyValue) bool {
		members++
		n += e.size(depth + 1)
		if e.kind == kindText {
			n += 2
		}
		if v.kind == kindMap {
			n += uint64(len(key)) + 3
		}
		return true
	})
	return n + max(members, 1) - 1
}

// appendText appends s as a JSON string. Unlike schemas.AppendString it leaves
// what is not UTF-8 as it is, so that the builder sees and flags it.
func appendText(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		if c == '"' || c == '\\' {
			dst = append(dst, '\\', c)
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		start = i + 1
	}
	return append(append(dst, s[start:]...), '"')
}
