package signal

import (
	"github.com/plumbline-sec/plumbline/schemas"
)

// nameFlood is so many new names that agents had to be forgotten for them, or that there
// was no room for tenants: a hundred in an hour, and every doubling of that. It is not scored by events:
// the detector raises it when it makes room. Unit: names.
type nameFlood struct{}

// Flood is for how many names there was no room in the hour.
type Flood struct {
	What  string // "agents", "tenants"; empty: there is no flood
	Names float64
	From  int64 // the hour
}

func (nameFlood) Info() Info {
	return Info{
		Name: schemas.SignalNameFlood, Family: FamilyInput, Unit: "names", Weight: weightFlood, TestsPerDay: testsOfHours, Uncalibrated: true,
		Title: "Flood of names that were never seen before",
		Model: "no model: a hundred names, and every doubling of them",
		File:  "flood.go",
	}
}

func (nameFlood) Score(*Context) float64 { return 0 }

func (nameFlood) Observe(c *Context) Detail {
	return Detail{Observed: c.Flood.Names, Start: schemas.Millis(c.Flood.From * hourMillis), Seconds: hourSeconds}
}

func (s nameFlood) Explain(c *Context) Detail {
	d := s.Observe(c)
	d.Text = "came in numbers: since " + d.Start.Time().Format("15:04") + " UTC there was no room for " + Count(d.Observed) + " " + c.Flood.What +
		" that were never seen before"
	return d
}
