package clickhouse

import (
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// maxText is how much of a value is looked at for the cell of a terminal, which shows
// less; whole is no limit.
const (
	maxText = 4096
	whole   = math.MaxInt
)

// appendText appends a value as people read it. typ is its ClickHouse type, or
// empty where it is not known (within a tuple). Strings within arrays and maps are
// quoted. What is longer than most bytes is cut.
func appendText(dst []byte, v reflect.Value, typ string, nested bool, most int) []byte {
	v, typ = unwrap(v, typ)
	if !v.IsValid() {
		return append(dst, "NULL"...)
	}
	if s, ok := scalar(v, typ); ok {
		cutShort := len(s.text) > most
		if cutShort {
			s.text = s.text[:most]
		}
		if nested && s.quoted {
			dst = append(dst, '\'')
			dst = terminal.AppendEscaped(dst, strings.ReplaceAll(s.text, "'", `\'`))
			dst = append(dst, '\'')
		} else {
			dst = terminal.AppendEscaped(dst, s.text)
		}
		if cutShort {
			dst = append(dst, "…"...)
		}
		return dst
	}
	start := len(dst)
	full := func() bool { return len(dst)-start > most }
	switch v.Kind() { //nolint:exhaustive // the others are scalars
	case reflect.Slice, reflect.Array:
		elem := element(typ)
		dst = append(dst, '[')
		for i := 0; i < v.Len() && !full(); i++ {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendText(dst, v.Index(i), elem, true, most)
		}
		return append(dst, ']')
	case reflect.Map:
		keyType, valueType := mapTypes(typ)
		dst = append(dst, '{')
		for i, k := range sortedKeys(v) {
			if full() {
				break
			}
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendText(dst, k, keyType, true, most)
			dst = append(dst, ':')
			dst = appendText(dst, v.MapIndex(k), valueType, true, most)
		}
		return append(dst, '}')
	}
	return terminal.AppendEscaped(dst, string(marshalled(v)))
}

// marshalled is what is neither scalar nor list nor map: the driver's JSON, Variant
// and Dynamic, which know their JSON.
func marshalled(v reflect.Value) []byte {
	x := v.Interface()
	if v.CanAddr() {
		x = v.Addr().Interface() // JSON has its method on the pointer
	}
	b, err := json.Marshal(x)
	if err != nil {
		return appendJSONString(nil, fmt.Sprint(v.Interface()))
	}
	// What is not ASCII stands within strings, and encoding/json leaves it as it is.
	out := make([]byte, 0, len(b))
	for _, r := range string(b) {
		out = terminal.AppendRune(out, r)
	}
	return out
}

// appendJSON appends a value as JSON.
func appendJSON(dst []byte, v reflect.Value, typ string) []byte {
	v, typ = unwrap(v, typ)
	if !v.IsValid() {
		return append(dst, "null"...)
	}
	if s, ok := scalar(v, typ); ok {
		switch {
		case s.null:
			return append(dst, "null"...)
		case s.quoted:
			return appendJSONString(dst, s.text)
		}
		return append(dst, s.text...)
	}
	switch v.Kind() { //nolint:exhaustive // the others are scalars
	case reflect.Slice, reflect.Array:
		elem := element(typ)
		dst = append(dst, '[')
		for i := range v.Len() {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSON(dst, v.Index(i), elem)
		}
		return append(dst, ']')
	case reflect.Map:
		_, valueType := mapTypes(typ)
		dst = append(dst, '{')
		for i, k := range sortedKeys(v) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendJSONString(dst, fmt.Sprint(k.Interface()))
			dst = append(dst, ':')
			dst = appendJSON(dst, v.MapIndex(k), valueType)
		}
		return append(dst, '}')
	}
	return append(dst, marshalled(v)...)
}

// scalarText is a value that is neither a list nor a map.
type scalarText struct {
	text   string
	quoted bool // as a string
	null   bool // JSON has no such number
}

func scalar(v reflect.Value, typ string) (scalarText, bool) {
	switch x := v.Interface().(type) {
	case time.Time:
		return scalarText{text: timeText(x, typ), quoted: true}, true
	case decimal.Decimal:
		return scalarText{text: x.String()}, true
	case big.Int:
		return scalarText{text: x.String()}, true
	case fmt.Stringer: // UUID, IP, Duration
		if v.Kind() != reflect.Struct {
			return scalarText{text: x.String(), quoted: true}, true
		}
	}
	switch v.Kind() { //nolint:exhaustive // the others are no scalars
	case reflect.String:
		return scalarText{text: v.String(), quoted: true}, true
	case reflect.Bool:
		return scalarText{text: strconv.FormatBool(v.Bool())}, true
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Int:
		return scalarText{text: strconv.FormatInt(v.Int(), 10)}, true
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uint:
		return scalarText{text: strconv.FormatUint(v.Uint(), 10)}, true
	case reflect.Float32, reflect.Float64:
		f, bits := v.Float(), 64
		if v.Kind() == reflect.Float32 {
			bits = 32
		}
		format := byte('f')
		if a := math.Abs(f); a != 0 && (a < 1e-6 || a >= 1e15) {
			format = 'e'
		}
		return scalarText{text: strconv.FormatFloat(f, format, -1, bits), null: math.IsNaN(f) || math.IsInf(f, 0)}, true
	}
	return scalarText{}, false
}

// timeText is RFC 3339; a Date has no time of day.
func timeText(t time.Time, typ string) string {
	switch {
	case strings.HasPrefix(typ, "Date") && !strings.HasPrefix(typ, "DateTime"):
		return t.Format(time.DateOnly)
	case strings.HasPrefix(typ, "DateTime64("):
		digits, _ := strconv.Atoi(typ[len("DateTime64(") : len("DateTime64(")+1])
		if digits > 0 {
			return t.Format("2006-01-02T15:04:05." + strings.Repeat("0", digits) + "Z07:00")
		}
	case typ == "":
		return t.Format(time.RFC3339Nano)
	}
	return t.Format(time.RFC3339)
}

// unwrap takes pointers, interfaces and the types around a type away. It returns
// an invalid value for NULL.
func unwrap(v reflect.Value, typ string) (reflect.Value, string) {
	for v.IsValid() && (v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface) {
		if v.IsNil() {
			return reflect.Value{}, typ
		}
		v = v.Elem()
	}
	for _, outer := range []string{"LowCardinality(", "Nullable("} {
		if strings.HasPrefix(typ, outer) {
			typ = typ[len(outer) : len(typ)-1]
		}
	}
	return v, typ
}

// element is the type of an array's elements.
func element(typ string) string {
	if inner, ok := strings.CutPrefix(typ, "Array("); ok {
		return strings.TrimSuffix(inner, ")")
	}
	return ""
}

// mapTypes are the types of a map's keys and values.
func mapTypes(typ string) (key, value string) {
	inner, ok := strings.CutPrefix(typ, "Map(")
	if !ok {
		return "", ""
	}
	inner = strings.TrimSuffix(inner, ")")
	depth := 0
	for i, c := range inner {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				return strings.TrimSpace(inner[:i]), strings.TrimSpace(inner[i+1:])
			}
		}
	}
	return "", ""
}

func sortedKeys(v reflect.Value) []reflect.Value {
	keys := v.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int {
		return strings.Compare(fmt.Sprint(a.Interface()), fmt.Sprint(b.Interface()))
	})
	return keys
}

// appendJSONString appends a JSON string in which nothing moves a cursor or turns
// text around; what is no UTF-8 becomes U+FFFD, since JSON can't say it.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c < 0x7f {
			if c == '"' || c == '\\' {
				dst = append(dst, '\\')
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, `\ufffd`...)
		} else {
			dst = terminal.AppendRune(dst, r)
		}
		i += n
	}
	return append(dst, '"')
}
