package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
)

// settled is when the promise about the budget begins to hold.
const settled = 14

// share is a number of alerts and the agent-days in which they came.
type share struct {
	Alerts    int `json:"alerts"`
	AgentDays int `json:"agent_days"`
}

func (s share) ratio(budget float64) float64 {
	if s.AgentDays == 0 {
		return 0
	}
	return float64(s.Alerts) / float64(s.AgentDays) / budget
}

// budgetUse says how the alert budget was used, on agents that are not attacked.
type budgetUse struct {
	All     share `json:"all"`
	Early   share `json:"first_14_days"`
	Settled share `json:"after_day_14"`
	// After day 14.
	Archetypes map[string]share `json:"archetypes_after_day_14"`
	Signals    map[string]int   `json:"strongest_signals"`
	// Likewise, by archetype, after day 14.
	Causes map[string]map[string]int `json:"strongest_signals_of_archetypes_after_day_14"`
}

func newBudgetUse() budgetUse {
	return budgetUse{Archetypes: map[string]share{}, Signals: map[string]int{}, Causes: map[string]map[string]int{}}
}

func (b *budgetUse) add(o budgetUse) {
	for _, p := range []struct{ to, from *share }{{&b.All, &o.All}, {&b.Early, &o.Early}, {&b.Settled, &o.Settled}} {
		p.to.Alerts += p.from.Alerts
		p.to.AgentDays += p.from.AgentDays
	}
	if b.Archetypes == nil {
		n := newBudgetUse()
		n.All, n.Early, n.Settled = b.All, b.Early, b.Settled
		*b = n
	}
	for k, causes := range o.Causes {
		for name, n := range causes {
			b.cause(k, name, n)
		}
	}
	for k, s := range o.Archetypes {
		t := b.Archetypes[k]
		b.Archetypes[k] = share{t.Alerts + s.Alerts, t.AgentDays + s.AgentDays}
	}
	for k, n := range o.Signals {
		b.Signals[k] += n
	}
}

func (b *budgetUse) cause(archetype, signal string, n int) {
	if b.Causes[archetype] == nil {
		b.Causes[archetype] = map[string]int{}
	}
	b.Causes[archetype][signal] += n
}

// tally says how attacks of one kind fared.
type tally struct {
	Attacks int `json:"attacks"`
	Found   int `json:"found"`
	// Luck counts those of Found that the honest run alerts on too.
	Luck    int            `json:"found_by_luck"`
	Events  []float64      `json:"attack_events_to_alert"`
	Hours   []float64      `json:"hours_to_alert"`
	Signals map[string]int `json:"strongest_signals"`
}

func (t *tally) plus(o *tally) *tally {
	if t == nil {
		t = &tally{Signals: map[string]int{}}
	}
	t.Attacks += o.Attacks
	t.Found += o.Found
	t.Luck += o.Luck
	t.Events = append(t.Events, o.Events...)
	t.Hours = append(t.Hours, o.Hours...)
	for k, n := range o.Signals {
		t.Signals[k] += n
	}
	return t
}

// report is one seed, or the sum of several.
type report struct {
	Name    string          `json:"name"`
	Tails   simulator.Tails `json:"tails"`
	Budget  float64         `json:"alerts_per_agent_day"`
	Events  uint64          `json:"events"`
	Seconds float64         `json:"detector_seconds"`
	// Growth of the heap, and what the detector says of itself.
	BytesPerAgent       float64 `json:"heap_bytes_per_agent"`
	StatedBytesPerAgent float64 `json:"stated_bytes_per_agent"`

	Honest   budgetUse `json:"honest"`
	Attacked budgetUse `json:"honest_agents_among_attacked"`
	// Changes counts honest alerts within two days of a legitimate change: a new
	// tool for the group, an agent that joined.
	Changes        int                       `json:"honest_alerts_near_changes"`
	SettledChanges int                       `json:"honest_alerts_near_changes_after_day_14"`
	Attacks        map[simulator.Kind]*tally `json:"attacks"`
	Severity       severityUse               `json:"severity"`

	ZScore        budgetUse                 `json:"z_score_honest"`
	ZScoreAttacks map[simulator.Kind]*tally `json:"z_score_attacks"`

	EWMA        budgetUse                 `json:"poisson_ewma_honest"`
	EWMAAttacks map[simulator.Kind]*tally `json:"poisson_ewma_attacks"`
}

// after is how long an alert may come after the last event of an attack: the
// turn of the hour closes its window.
const after = hour

// rates counts the alerts that opened on agents without a label.
func rates(p *played, found alarms, labels []simulator.Label) budgetUse {
	b := newBudgetUse()
	attacked := map[who]bool{}
	for _, l := range labels {
		attacked[who{l.TenantID, l.AgentID}] = true
	}
	for id, a := range p.agents {
		if attacked[id] {
			continue
		}
		kind := b.Archetypes[a.Archetype.String()]
		count := func(d schemas.Millis, days, alerts int) {
			b.All.AgentDays += days
			b.All.Alerts += alerts
			part := &b.Early
			if d >= settled {
				part = &b.Settled
				kind.AgentDays += days
				kind.Alerts += alerts
			}
			part.AgentDays += days
			part.Alerts += alerts
		}
		for _, d := range p.agentDays[id] {
			count(d, 1, 0)
		}
		for _, x := range found[id] {
			if x.open {
				count((x.at-p.from)/day, 0, 1)
				b.Signals[x.signal]++
				if (x.at-p.from)/day >= settled {
					b.cause(a.Archetype.String(), x.signal, 1)
				}
			}
		}
		b.Archetypes[a.Archetype.String()] = kind
	}
	return b
}

// nearChanges counts alerts within two days of a change to the agent's group or
// of the agent's arrival.
func nearChanges(p *played) (all, late int) {
	for id, list := range p.detector {
		for _, x := range list {
			near := func(c simulator.Change) bool {
				if c.What == "upgrade" {
					return false // nothing but the version changes
				}
				hits := c.AgentID == id.agent || c.AgentID == "" && c.PeerGroup == p.agents[id].PeerGroup
				return c.TenantID == id.tenant && hits && x.at >= c.At && x.at < c.At+2*day
			}
			if x.open && slices.ContainsFunc(p.changes, near) {
				all++
				if (x.at-p.from)/day >= settled {
					late++
				}
			}
		}
	}
	return all, late
}

// credit enters one attack into its kind.
func credit(into map[simulator.Kind]*tally, l simulator.Label, found, honest alarms) {
	id := who{l.TenantID, l.AgentID}
	in := func(x alarm) bool { return x.at >= l.Start && x.at <= l.End+after }
	t := &tally{Attacks: 1, Signals: map[string]int{}}
	if i := slices.IndexFunc(found[id], in); i >= 0 {
		x := found[id][i]
		t.Found = 1
		t.Events = []float64{float64(x.attacks)}
		t.Hours = []float64{float64(x.at-l.Start) / float64(hour)}
		t.Signals[x.signal]++
		if slices.ContainsFunc(honest[id], in) {
			t.Luck = 1
		}
	}
	into[l.Kind] = into[l.Kind].plus(t)
}

// printText prints everything as tables.
func printText(w io.Writer, all []report) error {
	tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	row := func(cells ...any) {
		for _, c := range cells {
			fmt.Fprintf(tab, "%v\t", c)
		}
		fmt.Fprintln(tab)
	}
	fmt.Fprintf(w, "Budget: alerts opened over the budget of %v an agent-day, 1.00 is the budget; in brackets the alerts.\n"+
		"Archetypes from day 14; near changes: alerts within two days of a legitimate change, all days and from day 14.\n", all[0].Budget)
	head := []any{"", "tails", "all days", "days 0-13", "from day 14"}
	for _, a := range simulator.Archetypes() {
		head = append(head, a.String())
	}
	row(append(head, "beside attacks", "near changes", "ev/s", "B/agent", "stated", "EWMA")...)
	for _, r := range all {
		use := func(s share) string { return fmt.Sprintf("%.2f (%d)", s.ratio(r.Budget), s.Alerts) }
		cells := []any{r.Name, r.Tails, use(r.Honest.All), use(r.Honest.Early), use(r.Honest.Settled)}
		for _, a := range simulator.Archetypes() {
			cells = append(cells, use(r.Honest.Archetypes[a.String()]))
		}
		row(append(cells, use(r.Attacked.All), fmt.Sprintf("%d, %d", r.Changes, r.SettledChanges), fmt.Sprintf("%.0fk", float64(r.Events)/r.Seconds/1e3),
			fmt.Sprintf("%.0f", r.BytesPerAgent), fmt.Sprintf("%.0f", r.StatedBytesPerAgent), use(r.EWMA.All))...)
	}
	if err := tab.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	for _, tails := range []simulator.Tails{simulator.TailsNB, simulator.TailsHeavy} {
		var part []report
		for _, r := range all {
			if r.Tails == tails {
				part = append(part, r)
			}
		}
		if len(part) > 0 {
			printAttacks(w, part)
		}
	}
	return nil
}

// printAttacks prints what was found, seed by seed; the last report is the sum.
func printAttacks(w io.Writer, reports []report) {
	tab := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	last := reports[len(reports)-1]
	fmt.Fprintf(w, "\nAttacks, tails %s: found of all; luck: found without the attack too; medians over those found.\n", last.Tails)
	fmt.Fprint(tab, "kind")
	for _, r := range reports {
		fmt.Fprintf(tab, "\t%s", r.Name)
	}
	fmt.Fprintln(tab, "\tluck\tevents to alert\thours to alert\tstrongest signals\tEWMA")
	total := make([]tally, len(reports)+1)
	for _, kind := range simulator.Kinds() {
		if last.Attacks[kind] == nil {
			continue
		}
		fmt.Fprint(tab, kind)
		for i, r := range reports {
			t := r.Attacks[kind]
			if t == nil {
				t = &tally{}
			}
			total[i].Found += t.Found
			total[i].Attacks += t.Attacks
			fmt.Fprintf(tab, "\t%d/%d", t.Found, t.Attacks)
		}
		t, e := last.Attacks[kind], last.EWMAAttacks[kind]
		total[0].Luck += t.Luck
		total[len(reports)].Found += e.Found
		fmt.Fprintf(tab, "\t%d\t%.0f\t%.2f\t%s\t%d/%d\n", t.Luck, median(t.Events), median(t.Hours), names(t.Signals), e.Found, e.Attacks)
	}
	fmt.Fprint(tab, "all")
	for i := range reports {
		fmt.Fprintf(tab, "\t%d/%d", total[i].Found, total[i].Attacks)
	}
	fmt.Fprintf(tab, "\t%d\t\t\t\t%d/%d\n", total[0].Luck, total[len(reports)].Found, total[len(reports)-1].Attacks)
	for i, name := range severities {
		fmt.Fprintf(tab, "%s: alerts %s of attacks, episodes %s\n", name, last.Severity.Alerts[i].share(), last.Severity.Episodes[i].share())
	}
	fmt.Fprintf(tab, "attacks that move data out, by their highest severity: %v\n", last.Severity.Worst)
	fmt.Fprintf(tab, "false alerts by signal: %s\n", names(last.Honest.Signals))
	for _, a := range simulator.Archetypes() {
		fmt.Fprintf(tab, "  %s, after day 14: %s\n", a, names(last.Honest.Causes[a.String()]))
	}
	tab.Flush() //nolint:errcheck // like fmt.Fprint; the table before would have failed
}

// names lists counts by name, the largest first.
func names(m map[string]int) string {
	keys := slices.SortedFunc(maps.Keys(m), func(a, b string) int {
		return cmp.Or(cmp.Compare(m[b], m[a]), cmp.Compare(a, b))
	})
	parts := make([]string, 0, len(keys))
	for _, k := range keys {
		parts = append(parts, fmt.Sprintf("%s %d", k, m[k]))
	}
	return strings.Join(parts, ", ")
}
