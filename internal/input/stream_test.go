package input_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/input"
)

// A writer that pauses after each record is read record by record: nothing waits for a
// buffer to fill, nor for what comes next.
func TestWhatTricklesInIsHandedOnAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		writes []string // after each of them one more record is there
		pack   func(w io.Writer) (write func(text string) error)
	}{
		"lines":              {writes: []string{"{\"a\":1}\n", "{}\n", "broken\n", "{}\r\n"}},
		"behind a mark":      {writes: []string{"\ufeff{}\n", "{}\n"}},
		"objects over lines": {writes: []string{"{\n\"a\": 1\n}", "\n{\n}", "{}"}},
		"elements":           {writes: []string{"[\n{\"a\":\n1}", ",{}", ",\n{}"}},
		"lists":              {writes: []string{"[{}", "]\n[{}", "]\n[{}"}},
		"gzip, flushed": {writes: []string{"{\"a\":1}\n", "{}\n", "{}\n"}, pack: func(w io.Writer) func(string) error {
			z := gzip.NewWriter(w)
			return func(text string) error { _, _ = z.Write([]byte(text)); return z.Flush() }
		}},
		"gzip, a stream each": {writes: []string{"{\"a\":1}\n", "{}\n", "{}\n"}, pack: func(w io.Writer) func(string) error {
			return func(text string) error { _, err := io.WriteString(w, gzipped(text)); return err }
		}},
		"zstd, flushed": {writes: []string{"{\"a\":1}\n", "{}\n", "{}\n"}, pack: func(w io.Writer) func(string) error {
			z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
			return func(text string) error { _, _ = z.Write([]byte(text)); return z.Flush() }
		}},
		"zstd, a stream each": {writes: []string{"{\"a\":1}\n", "{}\n", "{}\n"}, pack: func(w io.Writer) func(string) error {
			return func(text string) error { _, err := io.WriteString(w, zstded(text)); return err }
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r, w := io.Pipe()
			records := make(chan string)
			go func() {
				defer close(records)
				in := input.NewReader(t.Context(), "pipe", r, input.Options{MaxRecord: limit})
				for {
					rec, err := in.Next()
					if err != nil {
						return
					}
					records <- string(rec.Data)
				}
			}()
			write := func(text string) error { _, err := io.WriteString(w, text); return err }
			if c.pack != nil {
				write = c.pack(w)
			}
			for i, text := range c.writes {
				wrote := make(chan error, 1)
				go func() { wrote <- write(text) }()
				got, more := <-records // hangs where it waits for more
				require.True(t, more)
				require.Equal(t, strings.Trim(text, "[],\r\n\ufeff"), got, i)
				require.NoError(t, <-wrote)
			}
			require.NoError(t, w.Close())
			for range records {
				t.Error("one more")
			}
		})
	}
}

// What is collected is handed on before each read, and only then.
func TestWhoCollectsIsToldBeforeEachReadOfTheInput(t *testing.T) {
	reads, told := 0, 0
	src := readerFunc(func(p []byte) (int, error) {
		if reads++; reads > 5 {
			return 0, io.EOF
		}
		require.Equal(t, reads, told)
		return copy(p, "{}\n{}\n"), nil
	})
	in := input.NewReader(t.Context(), "x", src, input.Options{MaxRecord: limit, BeforeRead: func() error { told++; return nil }})
	for n := range 10 {
		_, err := in.Next()
		require.NoError(t, err)
		require.Equal(t, n/2+1, told)
	}
	_, err := in.Next()
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, int64(30), in.Read())
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// repeated is n times the same byte.
func repeated(c byte, n int64) io.Reader {
	return io.LimitReader(readerFunc(func(p []byte) (int, error) {
		for i := range p {
			p[i] = c
		}
		return len(p), nil
	}), n)
}

func TestAFileThatUnpacksToFarMoreStaysWithinBoundedMemory(t *testing.T) {
	const size = 32 << 20
	for name, c := range map[string]struct {
		head string
		fill byte
		want []got
	}{
		"one long line":     {"{}\n{", ' ', []got{{1, "{}"}, {2, "33554433 bytes"}}},
		"one long element":  {"[{},[", '[', []got{{1, "{}"}, {1, "33554433 bytes"}}},
		"one deep element":  {"{\n}[", '[', []got{{1, "{\n}"}, {2, "33554432 bytes"}}},
		"blank lines":       {"{}\n", '\n', []got{{1, "{}"}}},
		"a long string":     {"{}\n{\"a\":\"", '\\', []got{{1, "{}"}, {2, "33554438 bytes"}}},
		"nothing but zeros": {"", 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			for kind, pack := range map[string]func(w io.Writer) io.WriteCloser{
				"gzip": func(w io.Writer) io.WriteCloser { z, _ := gzip.NewWriterLevel(w, 1); return z },
				"zstd": func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1)); return z },
			} {
				var packed bytes.Buffer
				z := pack(&packed)
				_, err := io.Copy(z, io.MultiReader(strings.NewReader(c.head), repeated(c.fill, size)))
				require.NoError(t, err)
				require.NoError(t, z.Close())

				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				records, _ := read(t, &packed, input.Options{MaxRecord: limit})
				runtime.ReadMemStats(&after)
				require.Equal(t, append([]got{}, c.want...), records, kind)
				require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(20<<20), "%s: all that was ever allocated", kind)
			}
		})
	}
}

func TestAStreamThatIsCutOffAnywhereIsAnError(t *testing.T) {
	for name, all := range map[string]string{"gzip": gzipped("{\"a\":1}\n{}\n"), "zstd": zstded("{\"a\":1}\n{}\n")} {
		for n := 3; n < len(all); n++ {
			_, err := read(t, strings.NewReader(all[:n]), input.Options{MaxRecord: limit})
			require.Error(t, err, "%s, %d bytes", name, n)
		}
	}
}

func TestALineWithoutEndIsGivenUp(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED, it reads some GiB")
	}
	for name, text := range map[string]string{"first": "{", "later": "{}\n{", "among values": "{\n}{"} {
		_, err := read(t, io.MultiReader(strings.NewReader(text), repeated('a', 1<<40)), input.Options{MaxRecord: limit})
		require.ErrorContains(t, err, "no end within 1 GiB; what is read is one record a line", name)
	}
}

// Whatever stands in a file: it ends, nothing panics, records are within the limit, and
// lines are counted upwards.
func FuzzAnyInput(f *testing.F) {
	for _, text := range []string{
		"{}\n{}\n", "[{},{}]", "{\n}", "a,b\n1,2\n", gzipped("{}\n", "{}"), zstded("{}\n"), utf16Of(binary.BigEndian, "{}"), "\x00\x00\x00\x00\x01{}", "\n[", "x\n{\"a\":1}", "{\"a\": [1}\n{",
	} {
		f.Add([]byte(text), true)
		f.Add([]byte(text), false)
	}
	f.Fuzz(func(t *testing.T, data []byte, message bool) {
		const most = 100
		records, err := read(t, bytes.NewReader(data), input.Options{MaxRecord: most, Binary: message})
		line := int64(1)
		for _, r := range records {
			require.GreaterOrEqual(t, r.line, line)
			require.LessOrEqual(t, len(r.text), most)
			line = r.line
		}
		inPieces, errInPieces := read(t, &pieces{text: string(data)}, input.Options{MaxRecord: most, Binary: message})
		if err == nil && errInPieces == nil {
			require.Equal(t, records, inPieces, "however it comes")
		}
	})
}

// Brackets that close nothing are looked for among those that are open, which are few.
func TestBracketsThatCloseNothingCostNoMoreThanOthers(t *testing.T) {
	in := func(text string) time.Duration {
		least := time.Hour
		for range 3 {
			began := time.Now()
			_, err := read(t, io.MultiReader(strings.NewReader("{\n}"+strings.Repeat("[", 100_000)), repeated(text[0], 4<<20)), input.Options{MaxRecord: limit})
			require.Error(t, err, "the list never ends")
			least = min(least, time.Since(began))
		}
		return least
	}
	require.Less(t, in("}"), 60*in("x"))
}

// Behind a first line that is an object, every line comes out as it stands there.
func FuzzPlainLines(f *testing.F) {
	f.Add([]byte("{}\n\n [1]\r\n{\n}\n"), byte(0))
	f.Add([]byte("\x00\n\xef\xbb\nx"), byte(1))
	f.Fuzz(func(t *testing.T, data []byte, pack byte) {
		const first = `{"a":{"b":["}\""]}}`
		text := first + "\n" + string(data)
		var want []got
		for i, l := range strings.Split(text, "\n") {
			l = strings.TrimRight(strings.TrimPrefix(l, "\ufeff"), "\r\n")
			if len(bytes.TrimSpace([]byte(l))) > 0 {
				want = append(want, got{int64(i + 1), l})
			}
		}
		switch pack % 3 {
		case 1:
			text = gzipped(text[:len(text)/2], text[len(text)/2:])
		case 2:
			text = zstded(text)
		}
		records, err := read(t, strings.NewReader(text), input.Options{MaxRecord: limit})
		require.NoError(t, err)
		require.Equal(t, want, records)
	})
}
