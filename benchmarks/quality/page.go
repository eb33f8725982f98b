package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plumbline-sec/plumbline/benchmarks/origin"
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

// writePage writes quality.md and its pictures.
func writePage(o options, all []report, progress io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# Detection quality\n\n%s. Command: `make quality ARGS='--seeds %d --days %d --tails both --out benchmarks/results'`. Default config: a budget of %v false alerts an "+
		"agent-day. Everything but AgentDojo is simulated, and the simulator is ours: real fleets are other ones. Intervals are 95 %%: Poisson's for numbers of alerts, Wilson's for shares.\n",
		origin.Line(context.Background()), o.seeds, o.days, all[0].Budget)
	for _, r := range all {
		if r.Name == "all" || o.seeds == 1 {
			writeFleets(&b, o, &r)
		}
	}
	writeDojo(&b, o)
	b.WriteString("\n## NAB\nSee [nab.md](nab.md).\n")
	if err := writeSweep(&b, o, progress); err != nil {
		return err
	}
	if err := writeAblation(&b, o, progress); err != nil {
		return err
	}
	if err := writeForest(&b, o, progress); err != nil {
		return err
	}
	if err := writeTimeline(&b, o); err != nil {
		return err
	}
	return save(o.out, "quality.md", b.String())
}

func save(dir, name, text string) error {
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // pages of the repository
		return fmt.Errorf("write: %w", err)
	}
	return nil
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

func writeFleets(b *strings.Builder, o options, r *report) {
	fmt.Fprintf(b, "\n## Fleets with tails %s\n%d seeds of %d agents and %d days. Alerts on honest traffic over what the budget expects: 1 is the budget.\n\n| | Plumbline | Poisson EWMA | z-score |\n|---|---|---|---|\n",
		r.Tails, o.seeds, o.agents, o.days)
	row := func(name string, of func(*budgetUse) share) {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, of(&r.Honest).within(r.Budget), of(&r.EWMA).within(r.Budget), of(&r.ZScore).within(r.Budget))
	}
	row("all days", func(u *budgetUse) share { return u.All })
	row("first 14 days", func(u *budgetUse) share { return u.Early })
	row("after day 14", func(u *budgetUse) share { return u.Settled })
	for _, a := range simulator.Archetypes() {
		row("after day 14: "+a.String(), func(u *budgetUse) share { return u.Archetypes[a.String()] })
	}
	fmt.Fprintf(b, "\nStrongest signals of these alerts: %s. %d alerts came within two days of a legitimate change (a new tool of the group, an agent that joined), %d of them after day 14.\n",
		names(r.Honest.Signals), r.Changes, r.SettledChanges)
	b.WriteString("\n| attack | found | events to alert (median) | hours to alert (median) | strongest signals | Poisson EWMA | z-score |\n|---|---|---|---|---|---|---|\n")
	total := [3]tally{}
	for _, kind := range simulator.Kinds() {
		t, e, z := r.Attacks[kind], r.EWMAAttacks[kind], r.ZScoreAttacks[kind]
		if t == nil {
			continue
		}
		for i, x := range []*tally{t, e, z} {
			total[i].Found += x.Found
			total[i].Attacks += x.Attacks
		}
		fmt.Fprintf(b, "| %s | %s | %.0f | %.2f | %s | %d of %d | %d of %d |\n", kind, wilson(t.Found, t.Attacks), median(t.Events), median(t.Hours), names(t.Signals), e.Found, e.Attacks, z.Found, z.Attacks)
	}
	fmt.Fprintf(b, "| **all** | %s | | | | %d of %d | %d of %d |\n", wilson(total[0].Found, total[0].Attacks), total[1].Found, total[1].Attacks, total[2].Found, total[2].Attacks)
	writeSeverity(b, r)
	fmt.Fprintf(b, "\n%.1f µs an event in the detector, on a machine that others use too.\n", 1e6*r.Seconds/float64(r.Events))
}

func writeDojo(b *strings.Builder, o options) {
	b.WriteString("\n## AgentDojo\n")
	d, err := runDojo(o.dojo, detector.DefaultConfig())
	if errors.Is(err, os.ErrNotExist) {
		fmt.Fprintf(b, "Left out: %v.\n", err)
		return
	}
	if err != nil {
		fmt.Fprintf(b, "Failed: %v.\n", err)
		return
	}
	fmt.Fprintf(b, "Sessions of real models, some of them hijacked by a prompt in what a tool returned. The detector learns from those of other models and judges %d hijacked, %d benign and %d resisted ones. "+
		"The weights of the signals were chosen with these models in view: the figures are no proof on others.\n\n"+
		"| | |\n|---|---|\n| area under the curve, hijacked against benign | %.4f |\n| against sessions that resisted | %.4f |\n| recall at 1 %% false positives | %s |\n| recall at 5 %% | %s |\n",
		d.Hijacked, d.Benign, d.Resisted, d.AUC, d.AUCResisted, wilson(d.At1, d.Hijacked), wilson(d.At5, d.Hijacked))
}

// writeSweep runs other budgets: is each of them kept, and what does it find?
func writeSweep(b *strings.Builder, o options, progress io.Writer) error {
	budgets := []float64{0.001, 0.003, 0.01, 0.03, 0.1, 0.3}
	var kept, settledKept, found, ewma []point
	for _, budget := range budgets {
		fmt.Fprintf(progress, "quality: budget %v\n", budget)
		cfg := detector.DefaultConfig()
		cfg.AlertsPerAgentDay = budget
		var seeds []report
		for i := range sweepSeeds {
			r, err := runSeed(o, uint64(otherSeeds+i), simulator.TailsNB, cfg)
			if err != nil {
				return err
			}
			seeds = append(seeds, r)
		}
		s := sum(seeds)
		rate := func(u share) float64 { return float64(u.Alerts) / float64(u.AgentDays) }
		kept = append(kept, point{budget, rate(s.Honest.All)})
		settledKept = append(settledKept, point{budget, rate(s.Honest.Settled)})
		found = append(found, point{rate(s.Honest.All), caught(s.Attacks)})
		ewma = append(ewma, point{rate(s.EWMA.All), caught(s.EWMAAttacks)})
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
	if err := save(o.out, "quality-budget.svg", c.svg()); err != nil {
		return err
	}
	d := chart{
		title: "What is found, at what price", x: "false alerts an agent-day, all days", y: "attacks found", xLog: true, xLow: 0.0005, xHigh: 10, yLow: 0, yHigh: 1,
		xTicks: append(slices.Clone(ticks), tick{10, "10"}), yTicks: []tick{{0, "0 %"}, {0.25, "25 %"}, {0.5, "50 %"}, {0.75, "75 %"}, {1, "100 %"}},
	}
	d.curve(chartBlue, "Plumbline", found)
	d.curve(chartOrange, "Poisson EWMA", ewma)
	if err := save(o.out, "quality-found.svg", d.svg()); err != nil {
		return err
	}
	fmt.Fprintf(b, "\n## Other budgets\n%d further seeds at each budget.\n\n![Realised against nominal](quality-budget.svg)\n\n![Detection against false alarms](quality-found.svg)\n", sweepSeeds)
	return nil
}

func caught(attacks map[simulator.Kind]*tally) float64 {
	found, all := 0, 0
	for _, t := range attacks {
		found += t.Found
		all += t.Attacks
	}
	return float64(found) / float64(all)
}

// writeAblation runs with each signal off.
func writeAblation(b *strings.Builder, o options, progress io.Writer) error {
	run := func(off string) (report, error) {
		fmt.Fprintf(progress, "quality: without %s\n", off)
		cfg := detector.DefaultConfig()
		cfg.Signals = map[string]detector.SignalConfig{off: {Off: true}}
		var seeds []report
		for i := range ablationSeeds {
			r, err := runSeed(o, uint64(otherSeeds+100+i), simulator.TailsNB, cfg)
			if err != nil {
				return report{}, err
			}
			seeds = append(seeds, r)
		}
		return sum(seeds), nil
	}
	fmt.Fprintf(b, "\n## Without one signal\n%d further seeds, the same for all. Attacks of a kind that are found no more, or anew, where there are any.\n\n| without | attacks found | alerts over budget, all days | found no more | found anew |\n|---|---|---|---|---|\n", ablationSeeds)
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
		found, all := 0, 0
		var less, more []string
		for _, kind := range slices.Sorted(maps.Keys(r.Attacks)) {
			t := r.Attacks[kind]
			found += t.Found
			all += t.Attacks
			if n := t.Found - base.Attacks[kind].Found; n < 0 {
				less = append(less, fmt.Sprintf("%s %d", kind, -n))
			} else if n > 0 {
				more = append(more, fmt.Sprintf("%s %d", kind, n))
			}
		}
		name := "nothing"
		if s != "" {
			name = "`" + s + "`"
		}
		fmt.Fprintf(b, "| %s | %d of %d | %.2f | %s | %s |\n", name, found, all, r.Honest.All.ratio(r.Budget), strings.Join(less, ", "), strings.Join(more, ", "))
	}
	return nil
}

// writeTimeline draws an attacked agent's hours.
func writeTimeline(b *strings.Builder, o options) error {
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
			x := float64(w.Start-begin) / float64(day)
			seen = append(seen, point{x, float64(w.Events)})
			high = append(high, point{x, w.Signals[schemas.SignalCallRate].High})
			most = math.Max(most, math.Max(float64(w.Events), w.Signals[schemas.SignalCallRate].High))
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
		if err := save(o.out, "quality-timeline.svg", c.svg()); err != nil {
			return err
		}
		fmt.Fprintf(b, "\n## What it looks like\n%s, a %s agent: each hour in which it was active, the band that was expected of that hour, and the alerts.\n\n![Hours and band](quality-timeline.svg)\n", l.AgentID, p.agents[id].Archetype)
		return nil
	}
	return nil
}
