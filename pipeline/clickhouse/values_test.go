package clickhouse

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/shopspring/decimal"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

func TestValuesAreReadableInTextAndExactInJSON(t *testing.T) {
	at := time.Date(2026, 11, 24, 3, 35, 44, 287e6, time.UTC)
	no := (*string)(nil)
	for _, c := range []struct {
		name, typ  string
		value      any
		text, json string
	}{
		{"a string", "String", "it's", "it's", `"it's"`},
		{"the largest number", "UInt64", uint64(math.MaxUint64), "18446744073709551615", "18446744073709551615"},
		{"a float", "Float64", 0.1, "0.1", "0.1"},
		{"a tiny float", "Float64", 1e-300, "1e-300", "1e-300"},
		{"no number", "Float64", math.NaN(), "NaN", "null"},
		{"infinity", "Float64", math.Inf(-1), "-Inf", "null"},
		{"a truth", "Bool", true, "true", "true"},
		{"an absent value", "Nullable(String)", no, "NULL", "null"},
		{"a time with milliseconds", "DateTime64(3, 'UTC')", at, "2026-11-24T03:35:44.287Z", `"2026-11-24T03:35:44.287Z"`},
		{"an optional time", "Nullable(DateTime64(3, 'UTC'))", &at, "2026-11-24T03:35:44.287Z", `"2026-11-24T03:35:44.287Z"`},
		{"a time of seconds", "DateTime", at, "2026-11-24T03:35:44Z", `"2026-11-24T03:35:44Z"`},
		{"a day", "Date", at, "2026-11-24", `"2026-11-24"`},
		{"days", "Array(Date)", []time.Time{at}, "['2026-11-24']", `["2026-11-24"]`},
		{"strings", "Array(String)", []string{"a", "it's"}, `['a','it\'s']`, `["a","it's"]`},
		{"bytes are numbers", "Array(UInt8)", []uint8{1, 2}, "[1,2]", "[1,2]"},
		{"lists of lists", "Array(Array(String))", [][]string{{"a"}, {}}, "[['a'],[]]", `[["a"],[]]`},
		{"a map", "Map(LowCardinality(String), String)", map[string]string{"b": "2", "a": "1"}, "{'a':'1','b':'2'}", `{"a":"1","b":"2"}`},
		{"a tuple", "Tuple(String, UInt8)", []any{"x", uint8(1)}, "['x',1]", `["x",1]`},
		{"a decimal", "Decimal(9, 2)", decimal.New(-1205, -2), "-12.05", "-12.05"},
		{"a big number", "UInt128", big.NewInt(1 << 60), "1152921504606846976", "1152921504606846976"},
		{"a UUID", "UUID", uuid.MustParse("6ba7b810-9dad-11d1-80b4-00c04fd430c8"), "6ba7b810-9dad-11d1-80b4-00c04fd430c8", `"6ba7b810-9dad-11d1-80b4-00c04fd430c8"`},
		{"an address", "IPv6", net.ParseIP("2001:db8::1"), "2001:db8::1", `"2001:db8::1"`},
		{"control characters", "String", "a\x00\x1b[31m\u0085\u202e\n", `a\u0000\u001b[31m\u0085\u202e\n`, `"a\u0000\u001b[31m\u0085\u202e\n"`},
		{"a value that knows its JSON", "JSON", selfMade{}, `{"a":"\u202e\u0085é"}`, `{"a":"\u202e\u0085é"}`},
		{"no UTF-8", "String", "\xffx", `\xffx`, `"\ufffdx"`},
		{"beyond the basic plane", "String", "\U000E0001😀", `\udb40\udc01😀`, `"\udb40\udc01😀"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.text, string(appendText(nil, reflect.ValueOf(c.value), c.typ, false, maxText)))
			got := appendJSON(nil, reflect.ValueOf(c.value), c.typ)
			require.Equal(t, c.json, string(got))
			require.True(t, json.Valid(got))
		})
	}
}

type selfMade struct{}

func (selfMade) MarshalJSON() ([]byte, error) { return []byte("{\"a\":\"\u202e\u0085é\"}"), nil }

func TestNoStringMovesATerminalsCursor(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	check := func(s string) {
		for _, out := range [][]byte{terminal.AppendEscaped(nil, s), appendJSONString(nil, s)} {
			require.True(t, utf8.Valid(out), "%q", s)
			for _, r := range string(out) {
				require.True(t, unicode.IsPrint(r), "%q: %U", s, r)
			}
		}
		var back string
		require.NoError(t, json.Unmarshal(appendJSONString(nil, s), &back), "%q", s)
		if utf8.ValidString(s) {
			require.Equal(t, s, back)
		}
	}
	for _, s := range hostile {
		check(s)
	}
	for range 20000 {
		b := make([]byte, rng.IntN(12))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		check(string(b))
		check(string([]rune{rune(rng.IntN(0x110000)), 'x', rune(rng.IntN(0x3000))}))
	}
}

func TestATableIsAlignedWhateverStandsInIt(t *testing.T) {
	var out bytes.Buffer
	w := bufio.NewWriter(&out)
	p := &tablePrinter{w: w}
	col := func(name, typ string, v any) resultColumn { return resultColumn{name, typ, reflect.ValueOf(v)} }
	line := func(agent string, n uint64, note string) []resultColumn {
		return []resultColumn{col("agent_id", "LowCardinality(String)", agent), col("events", "UInt64", n), col("no\x1b[2Jte", "String", note)}
	}
	p.columns(line("", 0, ""))
	for _, r := range [][]resultColumn{
		line("a-1", 12, "plain"), line("日本語", 1234567, "\x1b[31mred\x1b[0m"), line("b", 0, strings.Repeat("long ", 40)),
		line("", 7, ""),
	} {
		require.NoError(t, p.row(r))
	}
	require.NoError(t, p.end())
	require.NoError(t, w.Flush())
	golden(t, "table.golden.txt", out.Bytes())
}

func TestALongTableIsWrittenAsItComes(t *testing.T) {
	var out bytes.Buffer
	w := bufio.NewWriterSize(&out, 16)
	p := &tablePrinter{w: w}
	row := func(n int) []resultColumn {
		return []resultColumn{{"n", "Int64", reflect.ValueOf(int64(n))}, {"s", "String", reflect.ValueOf(fmt.Sprint("x", n))}}
	}
	p.columns(row(0))
	for n := range 3 * alignRows {
		require.NoError(t, p.row(row(n)))
		if n == alignRows {
			require.Empty(t, p.held, "nothing is held back any more")
		}
	}
	require.NoError(t, p.end())
	require.NoError(t, w.Flush())
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	require.Len(t, lines, 3*alignRows+2)
	require.Equal(t, "2999  x2999", lines[len(lines)-1])
}

func TestAHugeValueCostsNoMoreThanItsCell(t *testing.T) {
	huge := strings.Repeat("\x00", 10<<20)
	require.Less(t, len(appendText(nil, reflect.ValueOf(huge), "String", false, maxText)), 10*maxText)
	list := make([]string, 1<<20)
	require.Less(t, len(appendText(nil, reflect.ValueOf(list), "Array(String)", false, maxText)), 10*maxText)
}
