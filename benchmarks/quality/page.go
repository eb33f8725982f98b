package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Seeds of what takes a run of its own, beside those of the tables.
const (
	sweepSeeds    = 4
	ablationSeeds = 6
	otherSeeds    = 9000 // they begin here
)

// newPage makes the page. With a directory it has everything, and its pictures are
// written; else it has the fleets alone.
func newPage(ctx context.Context, o options, all []report) (*bench.Page, error) {
	b := &bench.Page{}
	m := bench.ThisMachine(ctx, "go run ./benchmarks/quality", os.Args[1:])
	b.Line("# Detection quality\n\n%s. Command: `%s`. Default config: a budget of %v false alerts an "+
		"agent-day. Everything but AgentDojo is simulated, and the simulator is ours: real fleets are other ones. Intervals are 95 %%: Poisson's for numbers of alerts, Wilson's for shares.",
		&m, m.Command, all[0].Budget)
	for _, r := range all {
		if r.Name == "all" || o.seeds == 1 {
			writeFleets(b, o, &r)
		}
	}
	if o.out == "" {
		return b, nil
	}
	writeDojo(b, o)
	b.Line("\n## NAB\nSee [nab.md](nab.md).")
	for _, part := range []func(*bench.Page, options) error{writeSweep, writeAblation, writeForest, writeTimeline} {
		if err := part(b, o); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// within writes alerts over the budget with the interval of a Poisson count.
func (s share) within(budget float64) string {
	k, expected := float64(s.Alerts), float64(s.AgentDays)*budget
	low := 0.0
	if k > 0 {
		low = distuv.ChiSquared{K: 2 * k}.Quantile(0.025) / 2
	}
	high := distuv.ChiSquared{K: 2*k + 2}.Quantile(0.975) / 2
	return fmt.Sprintf("%.2f (%.2f to %.2f; %d in %d days)", k/expected, low/expected, high/expected, s.Alerts, s.AgentDays)
}

// wilson writes a share with its interval.
func wilson(k, n int) string {
	if n == 0 {
		return "-"
	}
	const z = 1.959964
	p, m := float64(k)/float64(n), float64(n)
	center := (p + z*z/(2*m)) / (1 + z*z/m)
	half := z / (1 + z*z/m) * math.Sqrt(p*(1-p)/m+z*z/(4*m*m))
	return fmt.Sprintf("%.1f %% (%.0f to %.0f; %d of %d)", 100*p, 100*math.Max(center-half, 0), 100*math.Min(center+half, 1), k, n)
}

func writeFleets(b *bench.Page, o options, r *report) {
	b.Line("\n## Fleets with tails %s\n%d seeds of %d agents and %d days. Alerts on honest traffic over what the budget expects: 1 is the budget.", r.Tails, o.seeds, o.agents, o.days)
	b.Table("", "Plumbline", "Poisson EWMA", "z-score")
	row := func(name string, of func(*budgetUse) share) {
		cells := []any{name}
		for _, x := range r.outcomes() {
			cells = append(cells, of(&x.Honest).within(r.Budget))
		}
		b.Row(cells...)
	}
	row("all days", func(u *budgetUse) share { return u.All })
	row("first 14 days", func(u *budgetUse) share { return u.Early })
	row("after day 14", func(u *budgetUse) share { return u.Settled })
	for _, a := range simulator.Archetypes() {
		row("after day 14: "+a.String(), func(u *budgetUse) share { return u.Archetypes[a.String()] })
	}
	b.Line("\nStrongest signals of these alerts: %s. %d alerts came within two days of a legitimate change (a new tool of the group, an agent that joined), %d of them after day 14. "+
		"On agents beside those under attack: %s.", names(r.Honest.Signals), r.Changes, r.SettledChanges, r.Attacked.All.within(r.Budget))
	b.Table("attack", "found", "events to alert (median)", "hours to alert (median)", "strongest signals", "Poisson EWMA", "z-score")
	found := func(t tally) string { return fmt.Sprintf("%d of %d", t.Found, t.Attacks) }
	for _, kind := range simulator.Kinds() {
		if t := r.Attacks[kind]; t != nil {
			b.Row(kind, t.share(), median(t.Events), fmt.Sprintf("%.2f", median(t.Hours)), names(t.Signals), found(*r.EWMA.Attacks[kind]), found(*r.ZScore.Attacks[kind]))
		}
	}
	total := r.Attacks.total()
	b.Row("**all**", total.share(), "", "", "", found(r.EWMA.Attacks.total()), found(r.ZScore.Attacks.total()))
	b.Line("\nFound by luck, since the same alert comes without the attack: %d.", total.Luck)
	writeSeverity(b, r)
	b.Line("\n%.1f µs an event in the detector, on a machine that others use too.", 1e6*r.Seconds/float64(r.Events))
}

func writeDojo(b *bench.Page, o options) {
	b.Line("\n## AgentDojo")
	d, err := runDojo(o.dojo, detector.DefaultConfig())
	if errors.Is(err, os.ErrNotExist) {
		b.Line("Left out: %v.", err)
		return
	}
	if err != nil {
		b.Line("Failed: %v.", err)
		return
	}
	b.Line("Sessions of real models, some of them hijacked by a prompt in what a tool returned. The detector learns from those of other models and judges %d hijacked, %d benign and %d resisted ones. "+
		"The weights of the signals were chosen with these models in view: the figures are no proof on others.", d.Hijacked, d.Benign, d.Resisted)
	b.Table("", "")
	b.Row("area under the curve, hijacked against benign", fmt.Sprintf("%.4f", d.AUC))
	b.Row("against sessions that resisted", fmt.Sprintf("%.4f", d.AUCResisted))
	b.Row("recall at 1 % false positives", wilson(d.At1, d.Hijacked))
	b.Row("recall at 5 %", wilson(d.At5, d.Hijacked))
}

// writeSweep runs other budgets: is each of them kept, and what does it find?
func writeSweep(b *bench.Page, o options) error {
	budgets := []float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3}
	var kept, settledKept, found, ewma []point
	for _, budget := range budgets {
		o.progress("budget %v", budget)
		cfg := detector.DefaultConfig()
		cfg.AlertsPerAgentDay = budget
		seeds, err := runSeeds(o, otherSeeds, sweepSeeds, simulator.TailsNB, cfg)
		if err != nil {
			return err
		}
		s := sum(seeds)
		rate := func(u share) float64 { return float64(u.Alerts) / float64(u.AgentDays) }
		caught := func(t tally) float64 { return float64(t.Found) / float64(t.Attacks) }
		kept = append(kept, point{budget, rate(s.Honest.All)})
		settledKept = append(settledKept, point{budget, rate(s.Honest.Settled)})
		found = append(found, point{rate(s.Honest.All), caught(s.Attacks.total())})
		ewma = append(ewma, point{rate(s.EWMA.Honest.All), caught(s.EWMA.Attacks.total())})
	}
	var ticks []tick
	for _, v := range []float64{0.001, 0.01, 0.1, 1} {
		ticks = append(ticks, tick{v, fmt.Sprint(v)})
	}
	c := chart{
		title: "Is the budget kept?", x: "alerts an agent-day that the budget allows", y: "alerts an agent-day that came",
		xLog: true, yLog: true, xLow: 0.0005, xHigh: 1, yLow: 0.0005, yHigh: 1, xTicks: ticks, yTicks: ticks,
	}
	c.line(chartGrey, "4 4", []point{{0.0005, 0.0005}, {1, 1}})
	c.explain(chartGrey, "exactly kept")
	c.curve(chartOrange, "all days", kept)
	c.curve(chartBlue, "after day 14", settledKept)
	if err := c.save(o.out, "quality-budget.svg"); err != nil {
		return err
	}
	d := chart{
		title: "What is found, at what price", x: "false alerts an agent-day, all days", y: "attacks found", xLog: true, xLow: 0.0005, xHigh: 10, yLow: 0, yHigh: 1,
		xTicks: append(slices.Clone(ticks), tick{10, "10"}), yTicks: []tick{{0, "0 %"}, {0.25, "25 %"}, {0.5, "50 %"}, {0.75, "75 %"}, {1, "100 %"}},
	}
	d.curve(chartBlue, "Plumbline", found)
	d.curve(chartOrange, "Poisson EWMA", ewma)
	if err := d.save(o.out, "quality-found.svg"); err != nil {
		return err
	}
	b.Line("\n## Other budgets\n%d further seeds at each budget.\n\n![Realised against nominal](quality-budget.svg)\n\n![Detection against false alarms](quality-found.svg)", sweepSeeds)
	return nil
}

// writeAblation runs with each signal off.
func writeAblation(b *bench.Page, o options) error {
	run := func(off string) (report, error) {
		o.progress("without %s", off)
		cfg := detector.DefaultConfig()
		cfg.Signals = map[string]detector.SignalConfig{off: {Off: true}}
		seeds, err := runSeeds(o, otherSeeds+100, ablationSeeds, simulator.TailsNB, cfg)
		if err != nil {
			return report{}, err
		}
		return sum(seeds), nil
	}
	b.Line("\n## Without one signal\n%d further seeds, the same for all. Attacks of a kind that are found no more, or anew, where there are any.", ablationSeeds)
	b.Table("without", "attacks found", "alerts over budget, all days", "found no more", "found anew")
	base, err := run("none")
	if err != nil {
		return err
	}
	for _, s := range append([]string{""}, signal.Names()...) {
		r := base
		if s != "" {
			if r, err = run(s); err != nil {
				return err
			}
		}
		total := r.Attacks.total()
		var less, more []string
		for _, kind := range slices.Sorted(maps.Keys(r.Attacks)) {
			if n := r.Attacks[kind].Found - base.Attacks[kind].Found; n < 0 {
				less = append(less, fmt.Sprintf("%s %d", kind, -n))
			} else if n > 0 {
				more = append(more, fmt.Sprintf("%s %d", kind, n))
			}
		}
		name := "nothing"
		if s != "" {
			name = "`" + s + "`"
		}
		b.Row(name, fmt.Sprintf("%d of %d", total.Found, total.Attacks), fmt.Sprintf("%.2f", r.Honest.All.ratio(r.Budget)), strings.Join(less, ", "), strings.Join(more, ", "))
	}
	return nil
}

// writeTimeline draws an attacked agent's hours.
func writeTimeline(b *bench.Page, o options) error {
	opt := simulator.Options{Agents: o.agents, Days: o.days, Seed: otherSeeds, Tails: simulator.TailsNB, Kinds: []simulator.Kind{simulator.KindBurst}, Count: 6}
	p, err := play(opt, detector.DefaultConfig(), true)
	if err != nil {
		return err
	}
	for _, l := range p.labels {
		id := who{l.TenantID, l.AgentID}
		begin := l.Start - 6*day
		if len(p.detector[id]) == 0 || p.agents[id].Archetype != simulator.Diurnal {
			continue
		}
		var seen, high []point
		most := 10.0
		for _, w := range p.windows[id] {
			if w.Start < begin || w.Start > l.End+day {
				continue
			}
			x, limit := float64(w.Start-begin)/float64(day), w.Signals[schemas.SignalCallRate].High
			seen, high = append(seen, point{x, float64(w.Events)}), append(high, point{x, limit})
			most = max(most, float64(w.Events), limit)
		}
		end := float64(l.End+day-begin) / float64(day)
		c := chart{title: "An agent's hours, and a burst", x: "days", y: "calls in the hour", xHigh: end, yHigh: most * 1.05}
		for d := range int(end) + 1 {
			c.xTicks = append(c.xTicks, tick{float64(d), strconv.Itoa(d)})
		}
		c.yTicks = steps(c.yHigh)
		c.band(chartBandBlue, 1.0/24, high)
		c.dots(chartBlue, 2.5, seen)
		for _, x := range p.detector[id] {
			if x.at >= begin {
				c.mark(chartOrange, float64(x.at-begin)/float64(day))
			}
		}
		c.explain(chartBandBlue, "99.9 % of such hours")
		c.explain(chartBlue, "calls")
		c.explain(chartOrange, "alert")
		if err := c.save(o.out, "quality-timeline.svg"); err != nil {
			return err
		}
		b.Line("\n## What it looks like\n%s, a %s agent: each hour in which it was active, the band that was expected of that hour, and the alerts.\n\n![Hours and band](quality-timeline.svg)", l.AgentID, p.agents[id].Archetype)
		return nil
	}
	return nil
}
