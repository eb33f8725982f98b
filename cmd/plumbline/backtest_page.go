package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"github.com/plumbline-sec/plumbline/internal/backtest"
	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

//go:embed backtest.html
var pageText string

// pageFuncs are what the page calls. Every text of others goes through one of them:
// html/template escapes markup, and terminal.Escape what would turn text around.
var pageFuncs = template.FuncMap{
	"say":    terminal.Escape,
	"who":    func(tenant, agent string) string { return terminal.Escape(agentName(tenant, agent)) },
	"minute": minute,
	"change": changeText,
	"shown":  func(of []backtest.Incident) []backtest.Incident { return of[:min(len(of), shownIncidents)] },
	"days":   dayBars,
	"listed": listed, "mostAgents": func() int { return backtest.MostAgents },
	"most": func(rows []backtest.Count) int {
		most := 1
		for _, r := range rows {
			most = max(most, r.Lost, r.Gained)
		}
		return most
	},
	"halves": func(c backtest.Count, most int) bar {
		lost := 98 * float64(c.Lost) / float64(most)
		return bar{X: 100 - lost, W: lost, H1: 98 * float64(c.Gained) / float64(most)}
	},
}

// bar is a bar of a picture, or two of them side by side.
type bar struct {
	Name                     string
	X, X2, W, Y1, H1, Y2, H2 float64
}

// bars are those of a picture; Top is what its height stands for.
type bars struct {
	Top  int
	Bars []bar
}

// The size of the picture, in its units.
const barsWide, barsHigh = 720.0, 160.0

// dayBars draws the alerts of each day.
func dayBars(days []backtest.Count) bars {
	out := bars{Top: 1}
	for _, d := range days {
		out.Top = max(out.Top, d.Old, d.New)
	}
	step := barsWide / float64(max(1, len(days)))
	for i, d := range days {
		b := bar{Name: fmt.Sprintf("%s: %d old, %d new", d.Name, d.Old, d.New), X: (float64(i) + 0.1) * step, W: step * 0.4}
		b.X2 = b.X + b.W
		b.H1, b.H2 = barsHigh*float64(d.Old)/float64(out.Top), barsHigh*float64(d.New)/float64(out.Top)
		b.Y1, b.Y2 = barsHigh-b.H1, barsHigh-b.H2
		out.Bars = append(out.Bars, b)
	}
	return out
}

// LostIncidents are those of the result, where there are any.
func (r *backtestResult) LostIncidents() []backtest.Incident {
	if r.Incidents == nil {
		return nil
	}
	return r.Incidents.Lost
}

// writePage writes the result as one page that asks nobody for anything.
func writePage(w io.Writer, r *backtestResult) error {
	t, err := template.New("page").Funcs(pageFuncs).Parse(pageText)
	if err == nil {
		err = t.Execute(w, r)
	}
	if err != nil {
		return fmt.Errorf("print the page: %w", err)
	}
	return nil
}
