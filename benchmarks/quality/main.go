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
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
)

type options struct {
	seeds, first, agents, days, attacks int
	tails                               []simulator.Tails
	strength                            float64
	json, quick                         bool
	out, dojo, rcf                      string
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2) //nolint:forbidigo // this is the program; flag has said what is wrong
	}
	if err := measure(o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "quality: "+err.Error())
		os.Exit(1) //nolint:forbidigo // this is the program
	}
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("quality", flag.ContinueOnError)
	flags.SetOutput(stderr)
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
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if o.quick {
		o.seeds, o.agents, o.days = 1, 60, 21
	}
	switch *tails {
	case "both":
		o.tails = []simulator.Tails{simulator.TailsNB, simulator.TailsHeavy}
	default:
		o.tails = []simulator.Tails{simulator.Tails(*tails)}
	}
	o.json = *output == "json"
	if !o.json && *output != "text" || flags.NArg() > 0 || o.seeds < 1 {
		err := fmt.Errorf("quality: --output is text or json, --seeds at least 1, and there are no arguments: %s", strings.Join(args, " "))
		fmt.Fprintln(stderr, err)
		return o, err
	}
	return o, nil
}

// measure runs everything and prints the report.
func measure(o options, stdout, stderr io.Writer) error {
	var all []report
	for _, tails := range o.tails {
		var seeds []report
		for i := range o.seeds {
			fmt.Fprintf(stderr, "quality: seed %d, tails %s\n", o.first+i, tails)
			r, err := runSeed(o, uint64(o.first+i), tails, detector.DefaultConfig())
			if err != nil {
				return err
			}
			seeds = append(seeds, r)
		}
		if len(seeds) > 1 {
			seeds = append(seeds, sum(seeds))
		}
		all = append(all, seeds...)
	}
	if o.out != "" {
		if err := writePage(o, all, stderr); err != nil {
			return err
		}
	}
	if o.json {
		enc := json.NewEncoder(stdout)
		enc.SetIndent("", "  ")
		if err := enc.Encode(all); err != nil {
			return fmt.Errorf("print: %w", err)
		}
		return nil
	}
	return printText(stdout, all)
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
		BytesPerAgent: honest.heapPerAgent, StatedBytesPerAgent: honest.statedPerAgent,
		Attacks: map[simulator.Kind]*tally{}, EWMAAttacks: map[simulator.Kind]*tally{}, ZScoreAttacks: map[simulator.Kind]*tally{},
	}
	r.Honest = rates(honest, honest.detector, nil)
	r.Attacked = rates(attacked, attacked.detector, attacked.labels)
	r.EWMA, r.ZScore = rates(honest, honest.ewma, nil), rates(honest, honest.zscore, nil)
	r.Changes, r.SettledChanges = nearChanges(honest)
	r.Severity = useOf(attacked)
	for _, l := range attacked.labels {
		credit(r.Attacks, l, attacked.detector, honest.detector)
		credit(r.EWMAAttacks, l, attacked.ewma, honest.ewma)
		credit(r.ZScoreAttacks, l, attacked.zscore, honest.zscore)
	}
	return r, nil
}

// sum adds seeds up.
func sum(seeds []report) report {
	s := report{
		Name: "all", Tails: seeds[0].Tails, Budget: seeds[0].Budget,
		Attacks: map[simulator.Kind]*tally{}, EWMAAttacks: map[simulator.Kind]*tally{}, ZScoreAttacks: map[simulator.Kind]*tally{},
	}
	for _, r := range seeds {
		s.Events += r.Events
		s.Seconds += r.Seconds
		s.BytesPerAgent += r.BytesPerAgent / float64(len(seeds))
		s.StatedBytesPerAgent += r.StatedBytesPerAgent / float64(len(seeds))
		s.Changes += r.Changes
		s.SettledChanges += r.SettledChanges
		s.Honest.add(r.Honest)
		s.Attacked.add(r.Attacked)
		s.EWMA.add(r.EWMA)
		s.ZScore.add(r.ZScore)
		s.Severity.plus(&r.Severity)
		for kind, t := range r.Attacks {
			s.Attacks[kind] = s.Attacks[kind].plus(t)
		}
		for kind, t := range r.EWMAAttacks {
			s.EWMAAttacks[kind] = s.EWMAAttacks[kind].plus(t)
		}
		for kind, t := range r.ZScoreAttacks {
			s.ZScoreAttacks[kind] = s.ZScoreAttacks[kind].plus(t)
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
