package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"

	"github.com/plumbline-sec/plumbline/internal/input"
)

// inputHelp is what holds for every command that reads records.
const inputHelp = `Read are JSON lines; JSON objects that span lines and lists of objects, whose elements are taken one by one; each also packed with gzip or zstd, and in UTF-16 with its byte order mark. CSV, archives and all else is refused with what to do instead. The first records that are no events are named with their lines. The exit code is 1 where an input is refused, is broken or cut off (what stands before that is taken), or where none of its records is an event; what comes behind it is not read.`

// inputs are files, one after the other. Every command that reads records reads them
// here, so that each takes and refuses the same.
type inputs struct {
	names []string
	stdin io.Reader
	total int64 // bytes of all files, 0 where one of them has no size
	read  atomic.Int64
}

// inputFlag is how commands whose arguments are files take them by name as well.
type inputFlag struct {
	Input []string `short:"i" placeholder:"FILE" help:"The same as an argument. Repeatable, read in order."`
}

// or returns the files: the arguments, or those of --input, which have no order among
// each other.
func (f inputFlag) or(arguments []string) ([]string, error) {
	switch {
	case len(arguments)+len(f.Input) == 0:
		return nil, usageError{errors.New("no input: name a file, or - for standard input")}
	case len(arguments) == 0:
		return f.Input, nil
	case len(f.Input) == 0:
		return arguments, nil
	}
	return nil, usageError{errors.New("input: files are either arguments or those of --input, as they are read in order")}
}

// openInputs looks at all files before the first is read: a name that is wrong shows
// at once. Opened is one at a time, as there may be more of them than a process may open,
// and a FIFO waits for who writes into it.
func openInputs(names []string, stdin io.Reader) (*inputs, error) {
	in := &inputs{names: names, stdin: stdin}
	if i := slices.Index(names, "-"); i >= 0 && slices.Contains(names[i+1:], "-") {
		return nil, errors.New("input: standard input can be read only once")
	}
	sized := true
	for _, name := range names {
		if name == "-" {
			sized = false
			continue
		}
		info, err := os.Stat(name)
		switch {
		case err != nil:
			return nil, fmt.Errorf("input: open %s: %w", name, errors.Unwrap(err))
		case info.IsDir():
			return nil, fmt.Errorf("input: %s is a directory", name)
		case !info.Mode().IsRegular():
			sized = false
			continue
		}
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("input: %w", err)
		}
		_ = f.Close() // it was not read
		in.total += info.Size()
	}
	if !sized {
		in.total = 0
	}
	return in, nil
}

// open opens one of them. name is what it is called in messages.
func (in *inputs) open(file string) (r io.Reader, name string, closeFile func(), err error) {
	if file == "-" {
		return in.stdin, "standard input", func() {}, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, "", nil, fmt.Errorf("input: %w", err)
	}
	return f, file, func() { _ = f.Close() }, nil // it was only read
}

// one calls visit with every record of a file. It fails where the file can't be read to
// its end, or where t says that nothing was taken of it.
func (in *inputs) one(ctx context.Context, file string, o input.Options, t *tally, visit func(rec input.Record) error) error {
	r, name, closeFile, err := in.open(file)
	if err != nil {
		return err
	}
	defer closeFile()
	t.begin(name)
	records, before := input.NewReader(ctx, name, r, o), in.read.Load()
	for {
		rec, err := records.Next()
		in.read.Store(before + records.Read())
		if errors.Is(err, io.EOF) {
			return t.end()
		}
		if ctx.Err() != nil {
			return errInterrupted
		}
		if err != nil {
			return err
		}
		if t.at(rec.Line); rec.TooLong {
			t.tooLong(rec.Size, o.MaxRecord)
		}
		if err := visit(rec); err != nil {
			return err
		}
	}
}
