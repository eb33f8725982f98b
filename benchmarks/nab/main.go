// Command nab runs the series of the Numenta Anomaly Benchmark through the baselines
// and the signal of a metric: each series is an agent without peers whose events carry one
// number. A row's score is its evidence where it stands out more than all rows of
// the quiet time before it, else nothing: an episode raises one alert until it gets
// worse. It writes what NAB's scorers read.
//
//	go run ./benchmarks/nab --data DIR --out DIR
//
// DIR of --data holds data/CATEGORY/FILE.csv; --out gets CATEGORY/plumbline_FILE.csv
// with the columns timestamp, value and anomaly_score.
package main

import (
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
)

func main() {
	bench.Main("nab", func(_ context.Context, args []string, _, stderr io.Writer) error {
		flags := bench.Flags("nab", stderr)
		data := flags.String("data", "", "directory of NAB: a checkout of its repository, or what else holds data/CATEGORY/FILE.csv")
		out := flags.String("out", "", "directory for the results")
		if err := bench.Parse(flags, args, "--data and --out are needed", func() bool { return *data != "" && *out != "" }); err != nil {
			return err
		}
		return run(*data, *out, stderr)
	})
}

func run(data, out string, stderr io.Writer) error {
	files, err := filepath.Glob(filepath.Join(data, "data", "*", "*.csv"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no series in %s: it must hold data/CATEGORY/FILE.csv, as a checkout of NAB does: %w", data, errors.Join(err, os.ErrNotExist))
	}
	rows := 0
	began := time.Now()
	for _, file := range files {
		n, err := series(file, filepath.Join(out, filepath.Base(filepath.Dir(file)), "plumbline_"+filepath.Base(file)))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		rows += n
	}
	fmt.Fprintf(stderr, "%d series, %d rows, %.1f µs a row\n", len(files), rows, float64(time.Since(began).Microseconds())/float64(rows))
	return nil
}

// series scores one file.
func series(file, result string) (rows int, err error) {
	in, err := os.Open(file)
	if err != nil {
		return 0, fmt.Errorf("read: %w", err)
	}
	defer in.Close() //nolint:errcheck // it was read
	lines, err := csv.NewReader(in).ReadAll()
	if err != nil || len(lines) < 2 {
		return 0, fmt.Errorf("%d lines: %w", len(lines), err)
	}
	var b strings.Builder
	b.WriteString("timestamp,value,anomaly_score\n")
	s := newScorer()
	for _, l := range lines[1:] {
		at, err := time.Parse(time.DateTime, l[0][:len(time.DateTime)])
		if err != nil {
			return 0, fmt.Errorf("time: %w", err)
		}
		x, err := strconv.ParseFloat(l[1], 64)
		if err != nil {
			return 0, fmt.Errorf("value: %w", err)
		}
		fmt.Fprintf(&b, "%s,%s,%s\n", l[0], l[1], strconv.FormatFloat(squash(s.score(at.UnixMilli(), x)), 'g', 8, 64))
	}
	if err := os.MkdirAll(filepath.Dir(result), 0o750); err != nil {
		return 0, fmt.Errorf("results: %w", err)
	}
	if err := os.WriteFile(result, []byte(b.String()), 0o600); err != nil {
		return 0, fmt.Errorf("results: %w", err)
	}
	return len(lines) - 1, nil
}

// squash brings evidence (-log10 p) into 0 to 1, in the same order.
func squash(evidence float64) float64 { return 1 - math.Exp(-evidence/20) }
