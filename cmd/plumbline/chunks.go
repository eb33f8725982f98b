package main

import (
	"context"
	"errors"
	"io"

	"github.com/plumbline-sec/plumbline/internal/input"
)

const (
	chunkLines = 8192
	chunkBytes = 1 << 20
)

// line is one record of an input.
type line struct {
	number  int64 // of the line that it begins on
	data    []byte
	size    int64 // of data, also where it is too long
	tooLong bool
}

// chunk is what was read in one go.
type chunk struct {
	file  string
	lines []line
	read  int64 // bytes of input
	last  bool  // of the file
}

// chunker cuts inputs into chunks. A chunk is handed on when it is full, or when
// reading on might wait: what trickles in is sent as it comes.
type chunker struct {
	opt      input.Options
	maxLines int // of a chunk
	out      chan<- chunk
}

// read reads one input to its end.
func (c *chunker) read(ctx context.Context, name string, in io.Reader) error {
	var (
		r     *input.Reader
		now   = chunk{file: name}
		arena []byte
		read  int64 // handed on
	)
	hand := func() error {
		now.read = r.Read() - read
		if len(now.lines) == 0 && now.read == 0 && !now.last {
			return nil
		}
		read = r.Read()
		select {
		case c.out <- now:
		case <-ctx.Done():
			return ctx.Err()
		}
		now = chunk{file: name}
		arena = nil // the chunk has it now
		return nil
	}
	o := c.opt
	o.BeforeRead = hand
	r = input.NewReader(ctx, name, in, o)
	for {
		rec, err := r.Next()
		if err != nil {
			now.last = errors.Is(err, io.EOF)
			if now.last {
				err = nil
			}
			return errors.Join(err, hand())
		}
		start := len(arena)
		arena = append(arena, rec.Data...)
		now.lines = append(now.lines, line{number: rec.Line, data: arena[start:len(arena):len(arena)], size: rec.Size, tooLong: rec.TooLong})
		if len(now.lines) >= c.maxLines || len(arena) >= chunkBytes {
			if err := hand(); err != nil {
				return err
			}
		}
	}
}
