package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

const (
	chunkLines = 8192
	chunkBytes = 1 << 20
)

// line is one line of input.
type line struct {
	number  int64
	data    []byte // without the line's end; nil where it is too long
	size    int64  // of data, also where it is too long
	tooLong bool
}

// chunk is what was read in one go.
type chunk struct {
	file  string
	lines []line
	read  int64 // bytes of input
}

// lineReader cuts an input into chunks of lines. A chunk is handed on when it is
// full, or when reading on might wait: what trickles in is sent as it comes.
type lineReader struct {
	max      int // bytes of a line
	maxLines int // of a chunk
	out      chan<- chunk
}

// read reads one input to its end.
func (lr *lineReader) read(ctx context.Context, in input) error {
	r := bufio.NewReaderSize(in.r, chunkBytes)
	var (
		number int64
		arena  []byte
	)
	c := chunk{file: in.name}
	hand := func() error {
		if len(c.lines) == 0 && c.read == 0 {
			return nil
		}
		select {
		case lr.out <- c:
		case <-ctx.Done():
			return ctx.Err()
		}
		c = chunk{file: in.name}
		arena = nil // the chunk has it now
		return nil
	}
	for {
		if len(c.lines) >= lr.maxLines || len(arena) >= chunkBytes || mightWait(r) {
			if err := hand(); err != nil {
				return err
			}
		}
		start := len(arena)
		var size int64
		var err error
		arena, size, err = lr.line(r, arena)
		if size > 0 {
			number++
			c.read += size
			if err == nil {
				size-- // the line's end
			}
			c.add(number, arena[start:len(arena):len(arena)], size, lr.max)
		}
		switch {
		case errors.Is(err, io.EOF):
			return hand()
		case err != nil:
			return errors.Join(fmt.Errorf("read %s, line %d: %w", in.name, number+1, err), hand())
		}
	}
}

// add adds a line unless it is blank.
func (c *chunk) add(number int64, data []byte, size int64, limit int) {
	if size > int64(len(data)) { // it was cut off
		c.lines = append(c.lines, line{number: number, size: size, tooLong: true})
		return
	}
	data = bytes.TrimRight(data, "\r\n")
	switch {
	case len(data) > limit:
		c.lines = append(c.lines, line{number: number, size: int64(len(data)), tooLong: true})
	case len(bytes.TrimSpace(data)) > 0:
		c.lines = append(c.lines, line{number: number, data: data, size: int64(len(data))})
	}
}

// line appends the next line with its end to arena, as far as it is not too long,
// and returns how long it was.
func (lr *lineReader) line(r *bufio.Reader, arena []byte) ([]byte, int64, error) {
	var size int64
	for {
		part, err := r.ReadSlice('\n')
		size += int64(len(part))
		if size <= int64(lr.max)+2 { // with \r\n
			arena = append(arena, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return arena, size, err
		}
	}
}

// mightWait reports whether r holds no whole line any more.
func mightWait(r *bufio.Reader) bool {
	held, err := r.Peek(r.Buffered())
	return err != nil || bytes.IndexByte(held, '\n') < 0
}
