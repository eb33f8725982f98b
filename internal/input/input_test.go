package input_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/input"
)

const limit = 1 << 20

// got is a record, with a copy of its bytes.
type got struct {
	line int64
	text string // "N bytes" where it is too long
}

// read returns all records of an input, and what ended it: nil at its end.
func read(tb testing.TB, r io.Reader, o input.Options) (records []got, err error) {
	tb.Helper()
	records = []got{}
	in := input.NewReader(tb.Context(), "file", r, o)
	for {
		rec, err := in.Next()
		if err != nil {
			_, again := in.Next()
			require.Equal(tb, err, again, "it stays so")
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return records, err
		}
		if rec.TooLong {
			require.Nil(tb, rec.Data)
			records = append(records, got{rec.Line, fmt.Sprintf("%d bytes", rec.Size)})
			continue
		}
		require.Len(tb, rec.Data, int(rec.Size))
		records = append(records, got{rec.Line, string(rec.Data)})
	}
}

func gzipped(texts ...string) string {
	var out bytes.Buffer
	for _, text := range texts {
		w := gzip.NewWriter(&out)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
	}
	return out.String()
}

func zstded(texts ...string) string {
	var out bytes.Buffer
	for _, text := range texts {
		w, _ := zstd.NewWriter(&out)
		_, _ = w.Write([]byte(text))
		_ = w.Close()
	}
	return out.String()
}

func utf16Of(order binary.AppendByteOrder, text string) string {
	var out []byte
	for _, c := range utf16.Encode([]rune("\ufeff" + text)) {
		out = order.AppendUint16(out, c)
	}
	return string(out)
}

func TestAnInputIsReadAsItsRecords(t *testing.T) {
	long := `{"x":"` + strings.Repeat("y", 2*limit) + `"}`
	message := "\x0a\x7b\x12\x00\x1a\xff\n{\n" + strings.Repeat("\x00\x01", 40)
	for name, c := range map[string]struct {
		text   string
		binary bool
		want   []got
	}{
		"nothing":                              {"", false, nil},
		"blank lines":                          {"\n \t\r\n\n", false, nil},
		"a line without an end":                {`{"a":1}`, false, []got{{1, `{"a":1}`}}},
		"lines":                                {"{\"a\":1}\n{\"b\":2}\n", false, []got{{1, `{"a":1}`}, {2, `{"b":2}`}}},
		"blank lines are left out and counted": {"\n{}\n \t\n\r\n{}\n", false, []got{{2, "{}"}, {5, "{}"}}},
		"ends of Windows":                      {"{}\r\n{}\r\n", false, []got{{1, "{}"}, {2, "{}"}}},
		"blanks around stay":                   {" {} \n\t{}\n", false, []got{{1, " {} "}, {2, "\t{}"}}},
		"a broken line costs itself":           {"{}\n{\"a\":\nnot json\n[]\n{\"b\n\x00\n{}\n", false, []got{{1, "{}"}, {2, `{"a":`}, {3, "not json"}, {4, "[]"}, {5, `{"b`}, {6, "\x00"}, {7, "{}"}}},
		"the first is cut off":                 {"{\"a\": 1, \"b\": \"x\"\n{}\n", false, []got{{1, `{"a": 1, "b": "x"`}, {2, "{}"}}},
		"the first is cut off behind a comma":  {"{\"a\": 1,\n{}\n", false, []got{{1, `{"a": 1,`}, {2, "{}"}}},
		"the first is cut off in a string":     {"{\"a\": \"x\nyz\n{}\n", false, []got{{1, `{"a": "x`}, {2, "yz"}, {3, "{}"}}},
		"the only one is cut off":              {`{"a": 1,`, false, []got{{1, `{"a": 1,`}}},
		"the first is no JSON":                 {"warning: clock skew\n\nand more\n{\"a\":1}\nx\n", false, []got{{1, "warning: clock skew"}, {3, "and more"}, {4, `{"a":1}`}, {5, "x"}}},
		"log lines that begin like a list":     {"[INFO] up\n{\"a\":1}\n", false, []got{{1, "[INFO] up"}, {2, `{"a":1}`}}},
		"too long, first":                      {long + "\n{}\n", false, []got{{1, fmt.Sprintf("%d bytes", len(long))}, {2, "{}"}}},
		"too long, then":                       {"{}\n" + long + "\r\n{}\n" + long, false, []got{{1, "{}"}, {2, fmt.Sprintf("%d bytes", len(long)+1)}, {3, "{}"}, {4, fmt.Sprintf("%d bytes", len(long))}}},
		"as long as permitted":                 {long[:limit] + "\n" + long[:limit] + "\r\n" + long[:limit+1], false, []got{{1, long[:limit]}, {2, long[:limit]}, {3, fmt.Sprintf("%d bytes", limit+1)}}},

		"UTF-8 with a mark, and another": {"\ufeff{\"a\":1}\n\ufeff{\"b\":2}\n", false, []got{{1, `{"a":1}`}, {2, `{"b":2}`}}},
		"UTF-16, little end first":       {utf16Of(binary.LittleEndian, "{\"a\":\"ü😀\"}\r\n{}\r\n"), false, []got{{1, `{"a":"ü😀"}`}, {2, "{}"}}},
		"UTF-16, big end first":          {utf16Of(binary.BigEndian, "{\"a\":\"ü😀\"}\r\n{}\r\n"), false, []got{{1, `{"a":"ü😀"}`}, {2, "{}"}}},

		"one object over lines":                 {"{\n  \"a\": 1,\n  \"b\": [\n{\n}, {}]\n}\n", false, []got{{1, "{\n  \"a\": 1,\n  \"b\": [\n{\n}, {}]\n}"}}},
		"many over lines":                       {"\n{\n \"a\": \"}\\\"\"\n}\n\n{\n \"b\": 2\n}{}\n", false, []got{{2, "{\n \"a\": \"}\\\"\"\n}"}, {6, "{\n \"b\": 2\n}"}, {8, "{}"}}},
		"many on a line":                        {"{} {\"a\":1}{}\n{}\n", false, []got{{1, "{}"}, {1, `{"a":1}`}, {1, "{}"}, {2, "{}"}}},
		"a piece of a list":                     {"{\"a\":1},\n{\"b\":2},\n", false, []got{{1, `{"a":1}`}, {2, `{"b":2}`}}},
		"a broken one over lines":               {"{\n \"a\": \"x\n}\n{\n \"b\": [2}\n}\n{\n \"c\": 3,\n{\n \"d\": 4\n}\n", false, []got{{1, "{\n \"a\": \"x\n}"}, {4, "{\n \"b\": [2}"}, {6, "}"}, {7, "{\n \"c\": 3,"}, {9, "{\n \"d\": 4\n}"}}},
		"the last over lines is cut":            {"{\n \"a\": 1\n}\n{\n \"b\":", false, []got{{1, "{\n \"a\": 1\n}"}, {4, "{\n \"b\":"}}},
		"text between":                          {"{\n}\n, and so on\n{\n}\n", false, []got{{1, "{\n}"}, {3, "and so on"}, {4, "{\n}"}}},
		"a list":                                {"[{\"a\":1},{\"b\":[{}]} , [{}] ]\n", false, []got{{1, `{"a":1}`}, {1, `{"b":[{}]}`}, {1, "[{}]"}}},
		"a list over lines":                     {"\ufeff[\n  {\n    \"a\": 1\n  },\n  {\"b\": 2}\n]\n", false, []got{{2, "{\n    \"a\": 1\n  }"}, {5, `{"b": 2}`}}},
		"all on one line, and too much for one": {strings.Repeat(`{"a":"some text"}`, limit/10), false, many(limit/10, `{"a":"some text"}`)},
		"a list on one line, just so":           {"[" + strings.Repeat(`{"a":"some text"},`, limit/10) + "{}]", false, append(many(limit/10, `{"a":"some text"}`), got{1, "{}"})},
		"a list without elements":               {"[]", false, nil},
		"lists":                                 {"[{}]\n[{}, {}]\n", false, []got{{1, "{}"}, {2, "{}"}, {2, "{}"}}},
		"a list with other things":              {"[\n{}, 1, \"a,]\", null,\n{}]", false, []got{{2, "{}"}, {2, "1"}, {2, `"a,]"`}, {2, "null"}, {3, "{}"}}},
		"a list with one that is long":          {"[{},\n" + long + ",{}]", false, []got{{1, "{}"}, {2, fmt.Sprintf("%d bytes", len(long))}, {2, "{}"}}},
		"a list with one that is broken":        {"[{\"a\": [1, 2},\n{\"b\": \"x\n},\n{\"c\":3}\n]", false, []got{{1, `{"a": [1, 2}`}, {2, "{\"b\": \"x\n}"}, {4, `{"c":3}`}}},
		"deeper than anything":                  {"[" + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + ",{}]", false, []got{{1, strings.Repeat("[", 5000) + strings.Repeat("]", 5000)}, {1, "{}"}}},

		"gzip":                        {gzipped("{}\n{}\n"), false, []got{{1, "{}"}, {2, "{}"}}},
		"gzip, joined":                {gzipped("{}\n{\"a\"", ":1}\n", "", "{}"), false, []got{{1, "{}"}, {2, `{"a":1}`}, {3, "{}"}}},
		"gzip with zeros behind":      {gzipped("{}") + strings.Repeat("\x00", 1000), false, []got{{1, "{}"}}},
		"gzip of nothing":             {gzipped(""), false, nil},
		"gzip of UTF-16":              {gzipped(utf16Of(binary.LittleEndian, "{}\r\n")), false, []got{{1, "{}"}}},
		"gzip of a list":              {gzipped("[\n{},{}]"), false, []got{{2, "{}"}, {2, "{}"}}},
		"zstd":                        {zstded("{}\n{}\n"), false, []got{{1, "{}"}, {2, "{}"}}},
		"zstd, joined":                {zstded("{}\n{\"a\"", ":1}\n", "{}"), false, []got{{1, "{}"}, {2, `{"a":1}`}, {3, "{}"}}},
		"zstd behind what is skipped": {"\x50\x2a\x4d\x18\x02\x00\x00\x00ab" + zstded("{}"), false, []got{{1, "{}"}}},

		"a binary message":                  {message, true, []got{{1, message}}},
		"a short one":                       {"\x0a\x00", true, []got{{1, "\x0a\x00"}}},
		"a binary message in gzip":          {gzipped(message), true, []got{{1, message}}},
		"JSON of a form that has binary":    {"{\n}\n", true, []got{{1, "{\n}"}}},
		"lines of it, behind a blank one":   {"\n{}\n{}\n", true, []got{{2, "{}"}, {3, "{}"}}},
		"JSON in a registry's framing":      {"\x00\x00\x00\x00\x07{\n}", false, []got{{1, "\x00\x00\x00\x00\x07{\n}"}}},
		"a binary message that is too long": {strings.Repeat("\x01", 2*limit), true, []got{{1, fmt.Sprintf("%d bytes", limit+1)}}},
	} {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{
				"at once": strings.NewReader(c.text), "with the end at once": iotest.DataErrReader(strings.NewReader(c.text)),
				"by halves": iotest.HalfReader(strings.NewReader(c.text)), "in small pieces": &pieces{text: c.text},
			} {
				records, err := read(t, r, input.Options{MaxRecord: limit, Binary: c.binary})
				require.NoError(t, err, how)
				require.Equal(t, append([]got{}, c.want...), records, how)
			}
		})
	}
}

// many are n times the same record on line 1.
func many(n int, text string) (records []got) {
	for range n {
		records = append(records, got{1, text})
	}
	return records
}

// pieces is a reader of a byte at a time, of long texts of some hundred.
type pieces struct{ text string }

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+len(p.text)/2000)], p.text)
	p.text = p.text[n:]
	return n, nil
}

func TestWhatIsNotReadSaysWhatItIsAndWhatToDo(t *testing.T) {
	tar := "a.jsonl" + strings.Repeat("\x00", 250) + "ustar\x0000" + strings.Repeat("\x00", 247) + "{}\n"
	for name, c := range map[string]struct{ text, want string }{
		"CSV":                       {"time,agent_id,tool\n2026-03-01,a,t\n", `file, line 1: this looks like CSV, not JSON lines: the line is "time,agent_id,tool"; make it that, with the first line for the names: python3 -c 'import csv,json,sys; [print(json.dumps(r)) for r in csv.DictReader(sys.stdin)]' < FILE, and read it with a mapping: its numbers stay text`},
		"CSV with semicolons":       {"\n\ntime;agent_id;tool\n2026-03-01;a;t\n", `file, line 3: this looks like CSV, not JSON lines: the line is "time;agent_id;tool"; make it that, with the first line for the names: python3 -c 'import csv,json,sys; [print(json.dumps(r)) for r in csv.DictReader(sys.stdin, delimiter=";")]' < FILE, and read it with a mapping: its numbers stay text`},
		"TSV":                       {"time\tagent_id\n1\t2\n", `delimiter="\t"`},
		"CSV of one line":           {"a,b,c", "this looks like CSV"},
		"CSV in gzip":               {gzipped("time,agent_id,tool\n2026-03-01,a,t\n"), "this looks like CSV"},
		"XML":                       {"<?xml version=\"1.0\"?>\n<a/>\n{}", `file, line 1: this looks like XML or HTML, not JSON lines: the line is "<?xml version=\"1.0\"?>"; have it exported as JSON, one object a line`},
		"YAML":                      {"---\nagent_id: a\n", "this looks like YAML"},
		"YAML without its dashes":   {"agent_id: a\ntool: b\n", "this looks like YAML"},
		"a log":                     {"Mar  1 10:00:00 host app: up, and well\n", `this is not JSON lines: the line is "Mar  1 10:00:00 host app: up, and well"`},
		"a long log":                {strings.Repeat("[INFO] up\n", 100) + "{}\n", `file, line 1: this is not JSON lines: the line is "[INFO] up"`},
		"JSON without objects":      {"1\n2\n", "file, line 1: this is not JSON lines"},
		"a list of plain values":    {"[1,2,3]\n", `file, line 1: this is not JSON lines: the line is "[1,2,3]"`},
		"zip":                       {"PK\x03\x04\x14\x00a.json{}", "this is a zip archive, not JSON lines; unpack it first: unzip -p FILE"},
		"tar":                       {tar, "this is a tar archive, not JSON lines; unpack it first: tar -xOf FILE"},
		"tar.gz":                    {gzipped(tar), "this is a tar archive"},
		"gzip twice":                {gzipped(gzipped("{}")), "this is gzip within gzip or zstd, not JSON lines; unpack it first: gzip -dc FILE"},
		"zstd in gzip":              {gzipped(zstded("{}")), "this is zstd within gzip or zstd"},
		"bzip2":                     {"BZh91AY&SY\x00\x01\x02", "bzip2 -dc FILE"},
		"xz":                        {"\xfd7zXZ\x00\x00", "xz -dc FILE"},
		"SQLite":                    {"SQLite format 3\x00\x10\x00", "this is an SQLite database"},
		"Parquet":                   {"PAR1\x15\x04\n{\"a\":1}\n", "this is a Parquet file"},
		"zeros":                     {strings.Repeat("\x00", 3000), `this is binary, not JSON lines: it begins with "\x00\x00`},
		"noise without a line":      {strings.Repeat("\x01\x80", 2*limit), `this is binary, not JSON lines`},
		"text without a line":       {strings.Repeat("x", 3*limit), `this is not JSON lines: it begins with "xxxxx`},
		"UTF-16 without a mark":     {"{\x00}\x00\n\x00", "iconv -f UTF-16LE"},
		"UTF-16 the other way":      {"\x00{\x00}\x00\n", "iconv -f UTF-16BE"},
		"UTF-16 of CSV":             {utf16Of(binary.LittleEndian, "a,b,c\r\n1,2,3\r\n"), "this looks like CSV"},
		"UTF-32":                    {"\xff\xfe\x00\x00{\x00\x00\x00}\x00\x00\x00", "this is UTF-32, not JSON lines; convert it first: iconv -f UTF-32 -t UTF-8 FILE"},
		"hostile text":              {"\x1b]0;owned\x07\u202e\n", `it begins with "\x1b]0;owned\a\u202e\n"`},
		"a list without an end":     {"\n[\n{}", "file, line 2: the list that begins here never ends"},
		"gzip, then something else": {gzipped("{}\n") + "{}\n", "what follows the gzip stream, at byte"},
		"zstd, then something else": {zstded("{}\n") + "{}\n{}\n", "what follows the zstd stream, at byte"},
	} {
		t.Run(name, func(t *testing.T) {
			for how, r := range map[string]io.Reader{"at once": strings.NewReader(c.text), "in small pieces": &pieces{text: c.text}} {
				if how == "in small pieces" && (name == "tar" || name == "hostile text" || name == "zeros") {
					continue // it takes more than the first bytes to tell
				}
				_, err := read(t, r, input.Options{MaxRecord: limit})
				var refused *input.Error
				require.ErrorAs(t, err, &refused, how)
				require.ErrorContains(t, err, c.want, how)
				for _, c := range err.Error() {
					require.True(t, c >= ' ' && c < 0x7f, "%q", err.Error())
				}
			}
		})
	}
}

func TestAStreamThatIsCutOffGivesWhatStoodBefore(t *testing.T) {
	var text strings.Builder
	for i := range 500 {
		fmt.Fprintf(&text, "{\"n\":%d,\"x\":\"%x\"}\n", i, i*i*7919)
	}
	want, err := read(t, strings.NewReader(text.String()), input.Options{MaxRecord: limit})
	require.NoError(t, err)
	for kind, packed := range map[string]string{
		"gzip": gzipped(text.String()[:9000], text.String()[9000:]), "zstd": zstded(text.String()[:9000], text.String()[9000:]),
	} {
		most := 0
		for at := 4; at < len(packed); at += 7 {
			records, err := read(t, strings.NewReader(packed[:at]), input.Options{MaxRecord: limit})
			require.LessOrEqual(t, len(records), len(want))
			require.Equal(t, want[:len(records)], records, "%s at %d", kind, at)
			most = max(most, len(records))
			if err == nil {
				continue // between two streams
			}
			require.ErrorContains(t, err, fmt.Sprintf("file, line %d: the %s stream is cut off at byte %d of the file, what stands before this line was taken; get the whole file", len(records)+1, kind, at))
		}
		require.Greater(t, most, 200, kind)
	}
}

func TestAStreamThatIsBrokenIsAnError(t *testing.T) {
	text := strings.Repeat("{\"a\":\"some text\"}\n", 50)
	for kind, packed := range map[string]string{"gzip": gzipped(text), "zstd": zstded(text)} {
		broken := 0
		for at := 4; at < len(packed); at++ {
			data := []byte(packed)
			data[at] ^= 0x41
			records, err := read(t, bytes.NewReader(data), input.Options{MaxRecord: limit})
			if err != nil {
				require.ErrorContains(t, err, "file, line ")
				broken++
			}
			require.LessOrEqual(t, len(records), 2000)
		}
		require.Greater(t, broken, len(packed)*2/3, kind)
	}
}

func TestAnErrorOfTheInputItselfIsToldFromOneOfTheStream(t *testing.T) {
	gone := errors.New("the disk is gone")
	for _, text := range []string{"{}\n{}\n{", gzipped("{}\n{}\n{", "x")[:30]} {
		records, err := read(t, io.MultiReader(strings.NewReader(text), iotest.ErrReader(gone)), input.Options{MaxRecord: limit})
		require.ErrorIs(t, err, gone)
		require.ErrorContains(t, err, fmt.Sprintf("read file, line %d: ", len(records)+1))
	}
}

func TestReadingEndsWithItsContextAndWithWhoReads(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	in := input.NewReader(ctx, "file", iotest.OneByteReader(strings.NewReader("{}\n{}\n")), input.Options{MaxRecord: limit})
	_, err := in.Next()
	require.NoError(t, err)
	cancel()
	_, err = in.Next()
	require.ErrorIs(t, err, context.Canceled)

	enough := errors.New("enough")
	in = input.NewReader(t.Context(), "file", strings.NewReader("{}\n"), input.Options{MaxRecord: limit, BeforeRead: func() error { return enough }})
	_, err = in.Next()
	require.Equal(t, enough, err)
}
