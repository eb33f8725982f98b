package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// profile is the top of a CPU profile, in two orders.
type profile struct {
	Name    string     `json:"name"`
	Seconds float64    `json:"seconds"` // CPU time in the samples
	Top     []function `json:"top"`     // by the time in the functions themselves
	Cum     []function `json:"top_cumulative"`
}

// function is one line of `go tool pprof -top`, as parts of the profile's total.
type function struct {
	Name string  `json:"name"`
	Flat float64 `json:"flat"` // in the function itself
	Cum  float64 `json:"cum"`  // and in what it calls
}

const topFunctions = 25

// topOf runs pprof over a file; focus, where given, keeps only the samples with a
// matching function on their stack.
func topOf(ctx context.Context, path, focus string) (*profile, error) {
	p, err := topIn(ctx, path, "-flat", focus)
	if err != nil {
		return nil, err
	}
	cum, err := topIn(ctx, path, "-cum", focus)
	if err != nil {
		return nil, err
	}
	p.Cum = cum.Top
	return p, nil
}

func topIn(ctx context.Context, path, order, focus string) (*profile, error) {
	args := []string{"tool", "pprof", "-top", order, "-relative_percentages", "-nodecount=" + strconv.Itoa(topFunctions)}
	if focus != "" {
		args = append(args, "-focus="+focus)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, path)...) //nolint:gosec // a file that this program wrote
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go tool pprof: %w: %s", err, stderr.Bytes())
	}
	return parseTop(string(out))
}

// parseTop reads the table that `go tool pprof -top` prints.
func parseTop(text string) (*profile, error) {
	p := &profile{}
	table := false
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if !table {
			// Active filters come first, then "Showing nodes accounting for ...", then
			// the head of the table.
			if _, of, ok := strings.Cut(line, " of "); ok && strings.HasPrefix(line, "Showing nodes accounting") {
				p.Seconds = seconds(strings.Fields(of)[0])
			}
			table = len(f) == 5 && f[0] == "flat" && f[4] == "cum%"
			continue
		}
		if len(f) < 6 {
			continue
		}
		flat, err1 := percent(f[1])
		cum, err2 := percent(f[4])
		if err1 != nil || err2 != nil {
			return nil, fmt.Errorf("go tool pprof: unexpected line %q", line)
		}
		p.Top = append(p.Top, function{Name: shortName(strings.Join(f[5:], " ")), Flat: flat, Cum: cum})
	}
	if len(p.Top) == 0 {
		return nil, fmt.Errorf("go tool pprof printed no functions: %.300q", text)
	}
	return p, nil
}

// shortName leaves out what makes no difference to a reader: this module's path,
// the shapes of type parameters, that a call was inlined.
func shortName(name string) string {
	name = strings.TrimSuffix(strings.TrimPrefix(name, "github.com/plumbline-sec/plumbline/"), " (inline)")
	before, rest, ok := strings.Cut(name, "[go.shape.")
	if !ok {
		return name
	}
	return before + "[...]" + rest[strings.LastIndexByte(rest, ']')+1:]
}

func percent(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	return v / 100, err
}

// seconds reads pprof's durations: "970ms", "1.23s", "2.5mins".
func seconds(s string) float64 {
	for _, u := range []struct {
		suffix string
		scale  float64
	}{{"mins", 60}, {"hrs", 3600}, {"ms", 1e-3}, {"us", 1e-6}, {"ns", 1e-9}, {"s", 1}} {
		if n, ok := strings.CutSuffix(s, u.suffix); ok {
			v, err := strconv.ParseFloat(n, 64)
			if err == nil {
				return v * u.scale
			}
		}
	}
	return 0
}
