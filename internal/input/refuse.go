package input

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Error says that an input is not one of records, or is broken: where, what stands
// there, and what to do. Its text is safe to print but for Name.
type Error struct {
	Name  string
	Line  int64
	What  string
	Next  string
	cause error // nil: none
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s, line %d: %s; %s", e.Name, e.Line, e.What, e.Next)
}

// Unwrap returns what the error came from.
func (e *Error) Unwrap() error { return e.cause }

// magic is how a kind of file begins.
type magic struct {
	at   int
	text string
	kind string
	next string
}

const (
	unpackFirst = "unpack it first: "
	exportIt    = "have it exported as JSON, one object a line"
)

var magics = []magic{
	{0, gzipMagic, "gzip within gzip or zstd", unpackFirst + "gzip -dc FILE"},
	{0, zstdMagic, "zstd within gzip or zstd", unpackFirst + "zstd -dc FILE"},
	{0, "BZh", "a bzip2 file", unpackFirst + "bzip2 -dc FILE"},
	{0, "\xfd7zXZ\x00", "an xz file", unpackFirst + "xz -dc FILE"},
	{0, "\x04\x22\x4d\x18", "an lz4 file", unpackFirst + "lz4 -dc FILE"},
	{0, "\xff\x06\x00\x00sNaPpY", "a snappy file", unpackFirst + "snzip -dc FILE"},
	{0, "PK\x03\x04", "a zip archive", unpackFirst + "unzip -p FILE"},
	{0, "7z\xbc\xaf\x27\x1c", "a 7z archive", unpackFirst + "7z x -so FILE"},
	{257, "ustar", "a tar archive", unpackFirst + "tar -xOf FILE"},
	{0, "SQLite format 3\x00", "an SQLite database", "have its rows printed as JSON: sqlite3 -json FILE 'SELECT ...'"},
	{0, "PAR1", "a Parquet file", exportIt},
	{0, "Obj\x01", "an Avro file", exportIt},
	{0, "ORC", "an ORC file", exportIt},
	{0, "ARROW1", "an Arrow file", exportIt},
	{0, "%PDF-", "a PDF document", exportIt},
	{0, "\x7fELF", "a program", "name a file of records"},
	{0, "\xff\xfe\x00\x00", "UTF-32", "convert it first: iconv -f UTF-32 -t UTF-8 FILE"},
	{0, "\x00\x00\xfe\xff", "UTF-32", "convert it first: iconv -f UTF-32 -t UTF-8 FILE"},
	{0, "{\x00", "UTF-16 without a byte order mark", "convert it first: iconv -f UTF-16LE -t UTF-8 FILE"},
	{0, "\x00{", "UTF-16 without a byte order mark", "convert it first: iconv -f UTF-16BE -t UTF-8 FILE"},
}

// magicOf returns what a file is that begins with head, nil where that is not known.
func magicOf(head []byte) *magic {
	for i := range magics {
		m := &magics[i]
		if len(head) >= m.at && bytes.HasPrefix(head[m.at:], []byte(m.text)) {
			if m.text == "ORC" && !binary(head) || m.text == "BZh" && !binary(head) {
				continue // a word
			}
			return m
		}
	}
	return nil
}

// binary reports whether head is no text: control characters stand in it that are none
// of line ends, blanks and colours.
func binary(head []byte) bool {
	return bytes.IndexFunc(head, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != '\f' && r != '\x1b'
	}) >= 0
}

// refuse says what an input is whose first line that is not blank is no JSON: lines are
// the first of them, none where the first has no end.
func refuse(line int64, head []byte, lines []Record) error {
	e := &Error{Line: line}
	if m := magicOf(head); m != nil {
		e.What, e.Next = "this is "+m.kind+", not JSON lines", m.next
		return e
	}
	if binary(head) {
		e.What, e.Next = "this is binary, not JSON lines: it begins with "+excerpt(head), exportIt+", or name its form, where that has a binary encoding"
		return e
	}
	if len(lines) == 0 {
		e.What, e.Next = "this is not JSON lines: it begins with "+excerpt(head), exportIt
		return e
	}
	first := string(lines[0].Data)
	what := ""
	e.Next = exportIt
	switch separator := separatorOf(lines); {
	case strings.HasPrefix(first, "<"):
		what = "XML or HTML"
	case isYAML(first):
		what = "YAML"
	case separator != 0 && first[0] != '[':
		what = "CSV"
		e.Next = csvToJSON(separator)
	default:
		e.What = "this is not JSON lines: the line is " + excerpt(lines[0].Data)
		return e
	}
	e.What = "this looks like " + what + ", not JSON lines: the line is " + excerpt(lines[0].Data)
	return e
}

// csvToJSON is how CSV becomes JSON lines with what nearly every system has.
func csvToJSON(separator byte) string {
	how := ""
	if separator != ',' {
		how = ", delimiter=" + strconv.Quote(string(separator))
	}
	return "make it that, with the first line for the names: python3 -c 'import csv,json,sys; [print(json.dumps(r)) for r in csv.DictReader(sys.stdin" + how + ")]' < FILE, and read it with a mapping: its numbers stay text"
}

// separatorOf returns what separates the columns of lines, 0 where they are no table.
func separatorOf(lines []Record) byte {
	for _, c := range []byte{',', '\t', ';', '|'} {
		n := bytes.Count(lines[0].Data, []byte{c})
		switch {
		case n == 0, bytes.Count(lines[0].Data, []byte{' '}) > 2*n:
		case len(lines) == 1 && n > 1, len(lines) > 1 && bytes.Count(lines[1].Data, []byte{c}) >= n:
			return c
		}
	}
	return 0
}

func isYAML(first string) bool {
	if strings.HasPrefix(first, "---") || strings.HasPrefix(first, "%YAML") || strings.HasPrefix(first, "- ") {
		return true
	}
	name, value, found := strings.Cut(first, ":")
	return found && name != "" && !strings.ContainsAny(name, " ,\t") && (value == "" || value[0] == ' ')
}

// excerpt is the beginning of data, quoted.
func excerpt(data []byte) string {
	const most = 80
	if len(data) > most {
		return strconv.QuoteToASCII(string(data[:most])) + "..."
	}
	return strconv.QuoteToASCII(string(data))
}
