package main

import (
	"cmp"
	"fmt"
	"os"
	"slices"
	"strings"

	pprof "github.com/google/pprof/profile"
)

// profile is the top of a CPU profile, in two orders.
type profile struct {
	Name    string     `json:"name"`
	Seconds float64    `json:"seconds"` // CPU time in the samples
	Top     []function `json:"top"`     // by the time in the functions themselves
	Cum     []function `json:"top_cumulative"`
}

// function is a function's part of the profile's total.
type function struct {
	Name string  `json:"name"`
	Flat float64 `json:"flat"` // in the function itself
	Cum  float64 `json:"cum"`  // and in what it calls
}

const topFunctions = 25

// topOf reads a CPU profile. It keeps the samples with a function on their stack whose
// name ends with focus.
func topOf(path, focus string) (*profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was read
	in, err := pprof.Parse(f)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	return top(in, focus)
}

func top(in *pprof.Profile, focus string) (*profile, error) {
	total := 0.0
	by := map[string]*function{}
	for _, s := range in.Sample {
		var stack []string // the innermost first
		for _, l := range s.Location {
			for _, line := range l.Line {
				stack = append(stack, shortName(line.Function.Name))
			}
		}
		if len(stack) == 0 || !slices.ContainsFunc(stack, func(name string) bool { return strings.HasSuffix(name, focus) }) {
			continue
		}
		nanos := float64(s.Value[len(s.Value)-1])
		total += nanos
		seen := map[string]bool{} // a recursive function counts once
		for i, name := range stack {
			if by[name] == nil {
				by[name] = &function{Name: name}
			}
			if i == 0 {
				by[name].Flat += nanos
			}
			if !seen[name] {
				by[name].Cum += nanos
			}
			seen[name] = true
		}
	}
	if total == 0 {
		return nil, fmt.Errorf("profile: none of %d samples counts", len(in.Sample))
	}
	all := make([]function, 0, len(by))
	for _, f := range by {
		all = append(all, function{f.Name, f.Flat / total, f.Cum / total})
	}
	highest := func(of func(*function) float64) []function {
		slices.SortFunc(all, func(a, b function) int {
			return cmp.Or(cmp.Compare(of(&b), of(&a)), cmp.Compare(a.Name, b.Name))
		})
		return slices.Clone(all[:min(topFunctions, len(all))])
	}
	return &profile{
		Seconds: total / 1e9,
		Top:     highest(func(f *function) float64 { return f.Flat }), Cum: highest(func(f *function) float64 { return f.Cum }),
	}, nil
}

// shortName leaves out what makes no difference to a reader: this module's path and
// the shapes of type parameters.
func shortName(name string) string {
	name = strings.TrimPrefix(name, "github.com/plumbline-sec/plumbline/")
	before, rest, ok := strings.Cut(name, "[go.shape.")
	if !ok {
		return name
	}
	return before + "[...]" + rest[strings.LastIndexByte(rest, ']')+1:]
}
