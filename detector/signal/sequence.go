package signal

import (
	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// toolSequence: a known tool that follows another known one, or begins a session,
// where it never did: what an injected instruction adds to a run is often no more
// than that. The formula is that of the other novelties (novelty.go), the item a step
// from tool to tool. Where the step leads to a new destination, newDestination takes
// it up. Unit: new steps of the event.
type toolSequence struct{ novelty }

var novelStep = novelty{
	info: Info{
		Name: schemas.SignalToolSequence, Family: FamilyTool, Unit: "steps", Weight: weightToolSequence, TestsPerDay: testsOfCalls, Novelty: true,
		Title: "Tools in an order in which this agent has not used them before",
		Model: "incidence of steps from tool to tool that are this new, of a hundredth of a day",
		File:  "sequence.go",
	},
	verb:  "called",
	kinds: []baseline.ItemKind{baseline.ItemStep},
}

func (s *toolSequence) Explain(c *Context) Detail {
	d := s.explain(c)
	if len(d.FirstSeen) > 0 {
		d.FirstSeen[0] = "step:" + order(c)
	}
	return d
}

// offCourse reports whether a known tool was called out of its usual order.
func offCourse(c *Context) bool { return strongest(c, baseline.ItemStep) > 0 }

// order is the step in words.
func order(c *Context) string {
	switch {
	case c.Before == 0:
		return "begin > " + c.Ev.Tool
	case c.BeforeName == "":
		return "... > " + c.Ev.Tool
	}
	return c.BeforeName + " > " + c.Ev.Tool
}

// stepText says where in a session a tool was called.
func stepText(c *Context) string {
	switch {
	case c.Before == 0:
		return " at the beginning of a session"
	case c.BeforeName == "":
		return " after another one than ever"
	case c.BeforeName == c.Ev.Tool:
		return " twice in a row"
	}
	return " right after " + Quote(c.BeforeName)
}
