package schemas

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"unsafe"
)

// OriginHeader is the key of the record header that holds an event's Origin.
const OriginHeader = "plumbline-origin"

// ErrOrigin is what ParseOrigin's errors wrap.
var ErrOrigin = errors.New("not an origin")

// AppendTo appends the one header value
// "source/incarnation/topic/partition/offset/index". Neither the name of a source
// nor that of a Kafka topic can hold a slash.
func (o Origin) AppendTo(dst []byte) []byte {
	dst = append(append(dst, o.Source...), '/')
	dst = append(strconv.AppendUint(dst, uint64(o.Incarnation), 10), '/')
	dst = append(append(dst, o.Topic...), '/')
	dst = append(strconv.AppendInt(dst, int64(o.Partition), 10), '/')
	dst = append(strconv.AppendInt(dst, o.Offset, 10), '/')
	return strconv.AppendInt(dst, int64(o.Index), 10)
}

// String returns the form that AppendTo appends.
func (o Origin) String() string { return string(o.AppendTo(nil)) }

// ParseOrigin reads what AppendTo wrote, and nothing else: two different values
// are never the same origin. Source and Topic share b's memory, which must not
// change as long as they are in use.
func ParseOrigin(b []byte) (o Origin, err error) {
	var parts [6][]byte
	rest := b
	for i := range parts {
		part, after, more := bytes.Cut(rest, []byte{'/'})
		if more != (i < len(parts)-1) {
			return Origin{}, originError(b, "needs source/incarnation/topic/partition/offset/index")
		}
		parts[i], rest = part, after
	}
	if !validName(parts[0]) || !validName(parts[2]) {
		return Origin{}, originError(b, "a name is not one or more of A-Z a-z 0-9 . _ -")
	}
	var numbers [4]uint64
	for i, p := range [4]int{1, 3, 4, 5} {
		width := 31
		switch p {
		case 1:
			width = 32
		case 4:
			width = 63
		}
		n, ok := parseDigits(parts[p], width)
		if !ok {
			return Origin{}, originError(b, "a number is out of range or not canonical")
		}
		numbers[i] = n
	}
	return Origin{
		Source: alias(parts[0]), Incarnation: uint32(numbers[0]), Topic: alias(parts[2]),
		Partition: int32(numbers[1]), Offset: int64(numbers[2]), Index: int32(numbers[3]),
	}, nil
}

func originError(b []byte, why string) error {
	return fmt.Errorf("parse origin %.200q: %s: %w", b, why, ErrOrigin)
}

func alias(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // the caller keeps b unchanged
}

func validName(b []byte) bool {
	for _, c := range b {
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
			return false
		}
	}
	return len(b) > 0
}

// parseDigits reads a decimal number of at most that many bits, without sign and
// leading zeros.
func parseDigits(b []byte, width int) (v uint64, ok bool) {
	if len(b) == 0 || len(b) > 19 || (b[0] == '0' && len(b) > 1) {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = v*10 + uint64(c-'0')
	}
	return v, v>>width == 0
}
