package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
)

// maxDocument bounds what is held in memory of a file: one line, or a file that is
// one document.
const maxDocument = 256 << 20

// eachRecord calls visit with every record of a file: with each line where these
// are JSON, else with the whole file, which is one document (a CloudTrail log file,
// pretty-printed JSON) or one binary message. What gzip made is unpacked.
//
// The bytes that visit is given are not changed afterwards.
func eachRecord(r io.Reader, visit func(value []byte) error) error {
	in := bufio.NewReaderSize(r, 1<<20)
	if magic, _ := in.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
		unpacked, err := gzip.NewReader(in)
		if err != nil {
			return fmt.Errorf("unpack gzip: %w", err)
		}
		in = bufio.NewReaderSize(unpacked, 1<<20)
	}
	first, end := wholeLine(in)
	if end != nil && !errors.Is(end, io.EOF) {
		return end
	}
	if !json.Valid(first) {
		rest, err := io.ReadAll(io.LimitReader(in, maxDocument+1))
		if err != nil {
			return err
		}
		whole := slices.Concat(first, rest)
		if len(whole) > maxDocument {
			return errors.New("it is no JSON lines, and as one document it has over 256 MiB")
		}
		if b := bytes.TrimLeft(whole, " \t\r\n"); len(b) == 0 || b[0] != '{' || json.Valid(whole) {
			return visitWhole(whole, visit)
		}
		// Lines, the first of which is broken: that one is to be seen, not all of them.
		in = bufio.NewReaderSize(bytes.NewReader(whole), 1<<20)
		first, end = wholeLine(in)
	}
	for {
		if len(bytes.TrimSpace(first)) > 0 {
			if err := visit(bytes.TrimRight(first, "\r\n")); err != nil {
				return err
			}
		}
		if errors.Is(end, io.EOF) {
			return nil
		}
		if end != nil {
			return end
		}
		first, end = wholeLine(in)
	}
}

func visitWhole(whole []byte, visit func(value []byte) error) error {
	if len(whole) == 0 {
		return nil
	}
	return visit(whole)
}

// wholeLine reads a line with its end; io.EOF comes with the last one.
func wholeLine(r *bufio.Reader) (line []byte, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if line = append(line, part...); len(line) > maxDocument {
			return nil, errors.New("a line has over 256 MiB")
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, err
		}
	}
}
