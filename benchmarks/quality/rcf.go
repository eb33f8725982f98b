package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

// A Random Cut Forest (Guha, Mishra, Roy and Schrijvers 2016), AWS's own code, for each
// agent on the windows of the same run. It has no threshold of its own: it gets the
// one at which it costs as many alerts on honest traffic as Plumbline did, which
// nobody could know beforehand.

// rcfSeeds are the fleets of the comparison.
const rcfSeeds = 4

// scored is a window with its score.
type scored struct {
	id    who
	at    schemas.Millis // its end
	score float64
}

// forest is what the forests made of the windows of one run.
type forest struct {
	windows        []scored
	micros, perOne float64 // of an update, bytes of an agent
}

// runForest scores windows, those of an agent in their order.
func runForest(jars string, windows map[who][]schemas.Window) (*forest, error) {
	var in bytes.Buffer
	f := &forest{}
	ids := make([]who, 0, len(windows))
	for id := range windows {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b who) int { return strings.Compare(a.tenant+"/"+a.agent, b.tenant+"/"+b.agent) })
	for i, id := range ids {
		for _, w := range windows[id] {
			fmt.Fprintf(&in, "%d", i)
			for _, x := range features(&w) {
				fmt.Fprintf(&in, " %.5f", x)
			}
			in.WriteByte('\n')
			f.windows = append(f.windows, scored{id: id, at: w.Start + schemas.Millis(w.Seconds)*1000})
		}
	}
	ctx, stop := context.WithTimeout(context.Background(), 10*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, "java", "-cp", filepath.Join(jars, "*"), "benchmarks/rcf/Forest.java") //nolint:gosec // the directory is the user's
	var out, figures bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &in, &out, &figures
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("random cut forest: %w: %s", err, figures.String())
	}
	lines := bufio.NewScanner(&out)
	for i := range f.windows {
		if !lines.Scan() {
			return nil, fmt.Errorf("random cut forest: %d scores of %d windows", i, len(f.windows))
		}
		score, err := strconv.ParseFloat(lines.Text(), 64)
		if err != nil {
			return nil, fmt.Errorf("random cut forest: %w", err)
		}
		f.windows[i].score = score
	}
	if _, err := fmt.Sscan(figures.String(), &f.micros, &f.perOne); err != nil {
		return nil, fmt.Errorf("random cut forest: %w: %q", err, figures.String())
	}
	return f, nil
}

// features are what a window has in numbers, and where in the day and week it lies.
func features(w *schemas.Window) []float64 {
	var x []float64
	for _, n := range []uint64{
		w.Events, w.BytesSent, w.BytesReceived, w.Tools, w.Resources, w.NewResources, w.NewDestinations,
		w.Failures + w.Denied, w.Sessions,
	} {
		x = append(x, math.Log1p(float64(n)))
	}
	for _, period := range []schemas.Millis{day, 7 * day} {
		sin, cos := math.Sincos(2 * math.Pi * float64(w.Start%period) / float64(period))
		x = append(x, sin, cos)
	}
	return x
}

// alarms are those at a threshold, with the quiet time of the other baselines.
func (f *forest) alarms(threshold float64) alarms {
	out, quiet := alarms{}, map[who]schemas.Millis{}
	for _, w := range f.windows {
		if w.score < threshold {
			continue
		}
		if w.at >= quiet[w.id] {
			out[w.id] = append(out[w.id], alarm{at: w.at, open: true, signal: "rcf"})
		}
		quiet[w.id] = w.at + quietTime
	}
	return out
}

func (a alarms) count() int {
	n := 0
	for _, list := range a {
		for _, x := range list {
			if x.open {
				n++
			}
		}
	}
	return n
}

// writeForest writes the comparison.
func writeForest(b *bench.Page, o options) error {
	b.Line("\n## Random Cut Forest")
	_, err := os.Stat(o.rcf)
	if _, noJava := exec.LookPath("java"); err != nil || noJava != nil {
		b.Line("Left out: %v.", errors.Join(err, noJava))
		return nil
	}
	var honest, attacked []*forest
	var runs [][2]*played
	cost := 0
	for seed := range rcfSeeds {
		o.progress("random cut forest, seed %d", o.first+seed)
		opt := simulator.Options{Agents: o.agents, Days: o.days, Seed: uint64(o.first + seed)}
		var run [2]*played
		for i := range run {
			if i == 1 {
				opt.Kinds, opt.Count, opt.Strength = simulator.Kinds(), o.attacks, o.strength
			}
			p, err := play(opt, detector.DefaultConfig(), true)
			if err != nil {
				return err
			}
			f, err := runForest(o.rcf, p.windows)
			if err != nil {
				return err
			}
			p.windows = nil
			run[i] = p
			if i == 0 {
				honest, cost = append(honest, f), cost+p.detector.count()
			} else {
				attacked = append(attacked, f)
			}
		}
		runs = append(runs, run)
	}
	threshold := forestThreshold(honest, cost)
	own, theirs := tallies{}, tallies{}
	var micros, bytesEach, update, each float64
	alerts := 0
	for i, run := range runs {
		quiet, loud := honest[i].alarms(threshold), attacked[i].alarms(threshold)
		alerts += quiet.count()
		for _, l := range run[1].labels {
			credit(own, l, run[1].detector, run[0].detector)
			credit(theirs, l, loud, quiet)
		}
		micros += honest[i].micros / rcfSeeds
		bytesEach += honest[i].perOne / rcfSeeds
		update += 1e6 * run[0].seconds / float64(run[0].events) / rcfSeeds
		each += run[0].statedPerAgent / rcfSeeds
	}
	b.Line("AWS's own (50 trees of 256 points), one for each agent, on the hours of the agent as both detectors see them: calls, bytes, tools, resources, new ones, failures, sessions, "+
		"hour and weekday. %d fleets, tails nb. Its threshold is the one at which it costs as many alerts on honest traffic as Plumbline: %d, and %d.", rcfSeeds, cost, alerts)
	b.Table("attack", "Plumbline", "Random Cut Forest")
	for _, kind := range simulator.Kinds() {
		if own[kind] != nil {
			b.Row(kind, own[kind].share(), theirs[kind].share())
		}
	}
	b.Row("**all**", own.total().share(), theirs.total().share())
	b.Row("time of an update", fmt.Sprintf("%.1f µs an event", update), fmt.Sprintf("%.0f µs a window", micros))
	b.Row(fmt.Sprintf("memory of an agent and its part of its group's; a fleet is %d agents", o.agents), fmt.Sprintf("%.0f KiB", each/1024), fmt.Sprintf("%.0f KiB", bytesEach/1024))
	return nil
}

// forestThreshold is the lowest at which the forests alert at most so often.
func forestThreshold(forests []*forest, most int) float64 {
	low, high := 0.0, 1000.0
	for range 40 {
		mid := (low + high) / 2
		n := 0
		for _, f := range forests {
			n += f.alarms(mid).count()
		}
		if n > most {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}
