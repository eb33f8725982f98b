// Command quality measures the detector with its default config on simulated
// fleets: does it keep the alert budget on honest traffic, and does it find the
// attacks.
//
// Every seed is run twice, once honest and once with attacks mixed in. The honest
// events of both are the same, so an attack whose agent was alerted on in the same
// time without it was found by luck, and is counted apart.
//
// It prints figures and judges none of them: the exit code is 0 whenever it ran.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"slices"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
)

type options struct {
	seeds, first, agents, days, attacks int
	tails                               []simulator.Tails
	strength                            float64
	json, quick                         bool
	out, dojo, rcf                      string
	progress                            func(format string, args ...any)
}

func main() {
	bench.Main("quality", func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		o, err := parse(args, stderr)
		if err != nil {
			return err
		}
		return measure(ctx, o, stdout)
	})
}

func parse(args []string, stderr io.Writer) (options, error) {
	o := options{progress: bench.Progress("quality", stderr)}
	flags := bench.Flags("quality", stderr)
	flags.IntVar(&o.seeds, "seeds", 3, "how many seeds")
	flags.IntVar(&o.first, "first", 1, "the first seed")
	flags.IntVar(&o.agents, "agents", 120, "agents of a fleet")
	flags.IntVar(&o.days, "days", 28, "days of a fleet")
	flags.IntVar(&o.attacks, "attacks", 0, "attacks of a fleet (default: a quarter of the agents)")
	flags.Float64Var(&o.strength, "strength", 1, "how far attacks stick out")
	tails := flags.String("tails", "nb", "nb, heavy or both")
	output := flags.String("output", "text", "text or json")
	flags.StringVar(&o.out, "out", "", "directory to write quality.md and its pictures into: takes minutes more")
	flags.StringVar(&o.dojo, "agentdojo", "../shared/data/agentdojo", "directory of AgentDojo's traces, for --out; left out where there is none")
	flags.StringVar(&o.rcf, "rcf", ".cache/rcf", "directory of the jar of Random Cut Forest (benchmarks/rcf/fetch.sh), for --out; left out where there is none, or no java")
	flags.BoolVar(&o.quick, "quick", false, "one seed of 60 agents and 21 days")
	err := bench.Parse(flags, args, "--output is text or json, --seeds at least 1", func() bool {
		return (*output == "text" || *output == "json") && o.seeds >= 1
	})
	// A directory that was named is needed; that of the default may be absent.
	flags.Visit(func(f *flag.Flag) {
		switch {
		case err != nil:
		case f.Name == "agentdojo":
			if err = checkDojo(o.dojo); err != nil {
				err = fmt.Errorf("--agentdojo: %w", err)
			}
		case f.Name == "rcf":
			err = bench.Jars("--rcf", o.rcf, "benchmarks/rcf/fetch.sh")
		}
	})
	if o.quick {
		o.seeds, o.agents, o.days = 1, 60, 21
	}
	o.tails = []simulator.Tails{simulator.Tails(*tails)}
	if *tails == "both" {
		o.tails = []simulator.Tails{simulator.TailsNB, simulator.TailsHeavy}
	}
	o.json = *output == "json"
	return o, err
}

// measure runs everything and prints the report, or writes the page.
func measure(ctx context.Context, o options, stdout io.Writer) error {
	var all []report
	for _, tails := range o.tails {
		seeds, err := runSeeds(o, uint64(o.first), o.seeds, tails, detector.DefaultConfig())
		if err != nil {
			return err
		}
		if len(seeds) > 1 {
			seeds = append(seeds, sum(seeds))
		}
		all = append(all, seeds...)
	}
	if o.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(all); err != nil {
			return fmt.Errorf("print: %w", err)
		}
	}
	if o.json && o.out == "" {
		return nil
	}
	p, err := newPage(ctx, o, all)
	if err != nil {
		return err
	}
	return p.Publish(o.out, "quality", nil, stdout)
}

// runSeeds runs several seeds, one after the other.
func runSeeds(o options, first uint64, n int, tails simulator.Tails, cfg detector.Config) (out []report, err error) {
	for i := range uint64(n) {
		o.progress("seed %d, tails %s", first+i, tails)
		r, err := runSeed(o, first+i, tails, cfg)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// runSeed runs one seed honest and attacked.
func runSeed(o options, seed uint64, tails simulator.Tails, cfg detector.Config) (report, error) {
	opt := simulator.Options{Agents: o.agents, Days: o.days, Seed: seed, Tails: tails}
	honest, err := play(opt, cfg, false)
	if err != nil {
		return report{}, err
	}
	opt.Kinds, opt.Count, opt.Strength = simulator.Kinds(), o.attacks, o.strength
	attacked, err := play(opt, cfg, false)
	if err != nil {
		return report{}, err
	}
	r := report{
		Name: fmt.Sprintf("seed %d", seed), Tails: tails, Budget: cfg.AlertsPerAgentDay,
		Events: honest.events + attacked.events, Seconds: honest.seconds + attacked.seconds,
		StatedBytesPerAgent: honest.statedPerAgent,
	}
	r.Attacked = rates(attacked, attacked.detector, attacked.labels)
	r.Changes, r.SettledChanges = nearChanges(honest)
	r.Severity = useOf(attacked)
	for i, found := range [][2]alarms{{honest.detector, attacked.detector}, {honest.ewma, attacked.ewma}, {honest.zscore, attacked.zscore}} {
		x := r.outcomes()[i]
		x.Honest, x.Attacks = rates(honest, found[0], nil), tallies{}
		for _, l := range attacked.labels {
			credit(x.Attacks, l, found[1], found[0])
		}
	}
	return r, nil
}

// sum adds seeds up.
func sum(seeds []report) report {
	s := report{Name: "all", Tails: seeds[0].Tails, Budget: seeds[0].Budget, Attacked: newBudgetUse()}
	for _, x := range s.outcomes() {
		x.Honest, x.Attacks = newBudgetUse(), tallies{}
	}
	for _, r := range seeds {
		s.Events += r.Events
		s.Seconds += r.Seconds
		s.StatedBytesPerAgent += r.StatedBytesPerAgent / float64(len(seeds))
		s.Changes += r.Changes
		s.SettledChanges += r.SettledChanges
		s.Attacked.add(r.Attacked)
		s.Severity.plus(&r.Severity)
		for i, x := range s.outcomes() {
			x.Honest.add(r.outcomes()[i].Honest)
			x.Attacks.add(r.outcomes()[i].Attacks)
		}
	}
	return s
}

// median of an empty list is -1.
func median(x []float64) float64 {
	if len(x) == 0 {
		return -1
	}
	s := slices.Sorted(slices.Values(x))
	return s[len(s)/2]
}
