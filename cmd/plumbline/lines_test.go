package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"
)

// readAll reads text in chunks and returns the lines of all of them.
func readAll(t *testing.T, r io.Reader, limit, maxLines int) (lines []line, chunks int, read int64, err error) {
	t.Helper()
	out := make(chan chunk, 1)
	done := make(chan error, 1)
	lr := &lineReader{max: limit, maxLines: maxLines, out: out}
	go func() { done <- lr.read(t.Context(), input{name: "x", r: r}); close(out) }()
	for c := range out {
		require.Equal(t, "x", c.file)
		lines = append(lines, c.lines...)
		read += c.read
		chunks++
	}
	return lines, chunks, read, <-done
}

func TestAnInputIsCutIntoLines(t *testing.T) {
	long := strings.Repeat("y", 3*chunkBytes)
	for _, c := range []struct {
		name, text string
		limit      int
		want       []line
	}{
		{"nothing", "", 10, nil},
		{"one line without an end", "a", 10, []line{{number: 1, data: []byte("a"), size: 1}}},
		{"blank lines are left out and counted", "\na\n \t\n\r\nb\n", 10, []line{{number: 2, data: []byte("a"), size: 1}, {number: 5, data: []byte("b"), size: 1}}},
		{"ends of Windows", "a\r\nb\r\n", 10, []line{{number: 1, data: []byte("a"), size: 1}, {number: 2, data: []byte("b"), size: 1}}},
		{"as long as permitted", "0123456789\n0123456789\r\n", 10, []line{{number: 1, data: []byte("0123456789"), size: 10}, {number: 2, data: []byte("0123456789"), size: 10}}},
		{"one byte too long", "01234567890\nb\n", 10, []line{{number: 1, size: 11, tooLong: true}, {number: 2, data: []byte("b"), size: 1}}},
		{"much too long", long + "\nb\n", 10, []line{{number: 1, size: int64(len(long)), tooLong: true}, {number: 2, data: []byte("b"), size: 1}}},
		{"longer than the buffer", long + "\nb\n", 8 * chunkBytes, []line{{number: 1, data: []byte(long), size: int64(len(long))}, {number: 2, data: []byte("b"), size: 1}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, r := range map[string]io.Reader{
				"at once": strings.NewReader(c.text), "by halves": iotest.HalfReader(strings.NewReader(c.text)), "with the end at once": iotest.DataErrReader(strings.NewReader(c.text)),
			} {
				got, _, read, err := readAll(t, r, c.limit, 100)
				require.NoError(t, err, name)
				require.Equal(t, c.want, got, name)
				require.Equal(t, int64(len(c.text)), read, name)
			}
		})
	}
}

func TestALineThatTricklesInIsHandedOnAtOnce(t *testing.T) {
	r, w := io.Pipe()
	out := make(chan chunk)
	done := make(chan error, 1)
	lr := &lineReader{max: 100, maxLines: 100, out: out}
	go func() { done <- lr.read(t.Context(), input{name: "pipe", r: r}) }()
	for _, text := range []string{"a\n", "b\nhalf of"} {
		_, err := io.WriteString(w, text)
		require.NoError(t, err)
		c := <-out
		require.Len(t, c.lines, 1, "it did not wait for more")
	}
	_, err := io.WriteString(w, " c\n")
	require.NoError(t, err)
	require.Equal(t, "half of c", string((<-out).lines[0].data))
	require.NoError(t, w.Close())
	require.NoError(t, <-done)
}

func TestChunksAreBoundedByLinesAndBytes(t *testing.T) {
	lines, chunks, _, err := readAll(t, strings.NewReader(strings.Repeat("a\n", 1000)), 10, 100)
	require.NoError(t, err)
	require.Len(t, lines, 1000)
	require.Equal(t, 10, chunks)

	lines, chunks, _, err = readAll(t, strings.NewReader(strings.Repeat(strings.Repeat("x", 99_999)+"\n", 100)), 1<<20, 100)
	require.NoError(t, err)
	require.Len(t, lines, 100)
	require.GreaterOrEqual(t, chunks, 9)
}

func TestAReadThatFailsNamesTheLineAndKeepsWhatCameBefore(t *testing.T) {
	broken := errors.New("the disk is gone")
	lines, _, _, err := readAll(t, io.MultiReader(strings.NewReader("a\nb\n"), iotest.ErrReader(broken)), 10, 100)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "read x, line 3")
	require.Len(t, lines, 2)
}

func TestReadingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	lr := &lineReader{max: 10, maxLines: 1, out: make(chan chunk)}
	require.ErrorIs(t, lr.read(ctx, input{name: "x", r: strings.NewReader("a\nb\n")}), context.Canceled)
}
