// Package bench is what all benchmarks share: the command around them, the machine
// they ran on, and the page of their results. It knows nothing of what is measured.
package bench

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

var errUsage = errors.New("wrong usage")

// Main runs a benchmark and exits: 0 when it ran, 1 when it failed, 2 when the
// command line was wrong.
func Main(name string, run func(ctx context.Context, args []string, stdout, stderr io.Writer) error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
		return
	case errors.Is(err, errUsage):
		os.Exit(2) //nolint:forbidigo // this is the program
	}
	fmt.Fprintln(os.Stderr, name+": "+err.Error())
	os.Exit(1) //nolint:forbidigo // this is the program
}

// Flags returns an empty set of flags. Its messages go to stderr.
func Flags(name string, stderr io.Writer) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(stderr)
	return flags
}

// Parse reads a command line without arguments and checks it. rule says what valid
// checks. When Parse fails, it has told the user why.
func Parse(flags *flag.FlagSet, args []string, rule string, valid func() bool) error {
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return err
	case err != nil:
		return errUsage
	case flags.NArg() == 0 && valid():
		return nil
	}
	fmt.Fprintf(flags.Output(), "%s: %s, and there are no arguments\n", flags.Name(), rule)
	return errUsage
}

// Progress returns a function that reports what a benchmark is doing, with the
// seconds since it began.
func Progress(name string, to io.Writer) func(format string, args ...any) {
	begin := time.Now()
	return func(format string, args ...any) {
		fmt.Fprintf(to, "%s: %4.0fs  %s\n", name, time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
}

// Jars says how to fill the directory of a flag, where it holds no jar.
func Jars(flag, dir, fetch string) error {
	if jars, err := filepath.Glob(filepath.Join(dir, "*.jar")); err != nil || len(jars) == 0 {
		return fmt.Errorf("%s: no *.jar in %s: fill it with %s %s", flag, dir, fetch, dir)
	}
	return nil
}

// EachLine calls f with every line of a file. The line is valid until f returns.
func EachLine(path string, f func(line []byte) error) error {
	in, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	defer in.Close() //nolint:errcheck // it was read
	s := bufio.NewScanner(in)
	s.Buffer(nil, 16<<20)
	for n := 1; s.Scan(); n++ {
		if err := f(s.Bytes()); err != nil {
			return fmt.Errorf("%s:%d: %w", path, n, err)
		}
	}
	if err := s.Err(); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
