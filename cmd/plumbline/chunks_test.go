package main

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/input"
)

// inChunks returns the lines of all chunks of an input.
func inChunks(t *testing.T, r io.Reader, limit, maxLines int) (lines []line, chunks int, read int64, err error) {
	t.Helper()
	out := make(chan chunk, 1)
	done := make(chan error, 1)
	cut := &chunker{opt: input.Options{MaxRecord: limit}, maxLines: maxLines, out: out}
	go func() { done <- cut.read(t.Context(), "x", r); close(out) }()
	for c := range out {
		require.Equal(t, "x", c.file)
		lines = append(lines, c.lines...)
		read += c.read
		chunks++
	}
	return lines, chunks, read, <-done
}

func TestAllOfAnInputIsInItsChunks(t *testing.T) {
	const text = "\n{}\n \t\r\n{\"a\":1}\r\n{\"long\":1}"
	lines, _, read, err := inChunks(t, iotest.HalfReader(strings.NewReader(text)), 8, 100)
	require.NoError(t, err)
	require.Equal(t, []line{{number: 2, data: []byte("{}"), size: 2}, {number: 4, data: []byte(`{"a":1}`), size: 7}, {number: 5, size: 10, tooLong: true}}, lines)
	require.Equal(t, int64(len(text)), read)
}

func TestALineThatTricklesInIsHandedOnAtOnce(t *testing.T) {
	r, w := io.Pipe()
	out := make(chan chunk)
	done := make(chan error, 1)
	cut := &chunker{opt: input.Options{MaxRecord: 100}, maxLines: 100, out: out}
	go func() { done <- cut.read(t.Context(), "pipe", r) }()
	for _, text := range []string{"{}\n", "{\"b\":1}\nhalf of"} {
		_, err := io.WriteString(w, text)
		require.NoError(t, err)
		c := <-out
		require.Len(t, c.lines, 1, "it did not wait for more")
	}
	_, err := io.WriteString(w, " c\n")
	require.NoError(t, err)
	require.Equal(t, "half of c", string((<-out).lines[0].data))
	require.NoError(t, w.Close())
	require.True(t, (<-out).last)
	require.NoError(t, <-done)
}

func TestChunksAreBoundedByLinesAndBytes(t *testing.T) {
	lines, chunks, _, err := inChunks(t, strings.NewReader(strings.Repeat("{}\n", 1000)), 10, 100)
	require.NoError(t, err)
	require.Len(t, lines, 1000)
	require.Equal(t, 11, chunks, "the last one says that it is the last")

	lines, chunks, _, err = inChunks(t, strings.NewReader(strings.Repeat("{"+strings.Repeat("x", 99_999)+"\n", 100)), 1<<20, 100)
	require.NoError(t, err)
	require.Len(t, lines, 100)
	require.GreaterOrEqual(t, chunks, 9)
}

func TestAReadThatFailsNamesTheLineAndKeepsWhatCameBefore(t *testing.T) {
	broken := errors.New("the disk is gone")
	lines, _, _, err := inChunks(t, io.MultiReader(strings.NewReader("{}\n{}\n{\"half"), iotest.ErrReader(broken)), 10, 100)
	require.ErrorIs(t, err, broken)
	require.ErrorContains(t, err, "read x, line 3")
	require.Len(t, lines, 2)
}

func TestReadingEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	cut := &chunker{opt: input.Options{MaxRecord: 10}, maxLines: 1, out: make(chan chunk)}
	require.ErrorIs(t, cut.read(ctx, "x", strings.NewReader("{}\n{}\n")), context.Canceled)
}
