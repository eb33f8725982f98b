// Package signal says what is scored: one signal, one file.
//
// A signal reads the baselines of an agent and of its peers and says how much
// evidence (-log10 of a tail probability, package score) an event or an hour is
// that something is out of true. It keeps no state: what is remembered is package
// baseline's. Adding a signal is one file here, one line in All, one scenario.
//
//  1. Score is called on every event and allocates nothing.
//  2. Evidence does not fall while an hour is open: what is scored on the open hour
//     only grows, so the hour is one test, however many events it has. (The ratios
//     fall once more calls have come than were expected: their highest counts.)
//  3. Tail does not fall as the value grows: counterfactuals and intervals are found
//     by bisection on it.
package signal

import (
	"math"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/score"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Context is what a signal may look at.
type Context struct {
	Ev    *schemas.Activity // nil when an hour closes
	At    schemas.Millis    // when it happened, as far as its time is believed
	Born  schemas.Millis    // when the agent was first seen
	Win   *baseline.Window  // the open hour, the event in it; nil for a repeated event
	Own   *baseline.Profile
	Peers *baseline.Peers
	Young bool // the agent is in its first days

	Tool                   *baseline.Tool // of the event, nil where the group does not know it
	Sent, Received         baseline.VolumeAt
	SentCall, ReceivedCall baseline.Call // what the event moves
	Flood                  Flood         // where names are given up
	Silence                Silence       // where an hour has ended without a call
	Metrics                []MetricValue // of the event, by the config's order
	NewItems               []NewItem     // what the event touches for the first time
	NewOrigin              bool          // among them is from where, or by what, the agent acts
	LeavesHouse            bool          // the event touches a destination
	Late                   bool          // the agent's own windows are past the event
	LateTogether           bool          // and many of its peers' events are: it is the source that brings them late
	Irregular              bool          // something of it was cut, replaced or dropped, or its id is another event's
	StepChance             float64       // that a call is a new step; 0 where nothing is fresh
	Before                 uint32        // baseline.ToolTag of the tool before it in the session; 0: none
	BeforeName             string        // and its name, for Explain, where it is still known
	Target                 string        // what the event is most about, for Explain; empty where it touches nothing
	TargetNamed            bool          // the text before has named it, for Explain
}

// NewItem is an item that is new to the agent.
type NewItem struct {
	Item   baseline.Item
	Rarity baseline.Rarity
	X      float64        // evidence
	Since  schemas.Millis // when it was first touched, where that is a while ago: it is still new; 0: now
}

// Info describes a signal.
type Info struct {
	Name         string
	Family       string  // signals of one family share their causes
	Unit         string  // of Observed, Expected, Low and High
	Counted      string  // the same in words, where that says more
	Weight       float64 // default weight in the alert budget
	Beside       bool    // its part comes on top of the others': it says nothing where events do not carry what it looks at
	TestsPerDay  float64 // how many tests a day the model alone stands for, before calibration
	Daily        bool    // calibrated on the day's maximum, not on the hour's
	Uncalibrated bool    // the model is believed: its evidence is not calibrated by rank
	Leaves       bool    // it shows data on its way out
	Novelty      bool    // it shows something new
	Title        string  // of an alert that it leads; one line without values
	Model        string  // the formula of its evidence, in words
	File         string  // where that stands, in this package
}

// Detail explains a score.
type Detail struct {
	Observed, Expected, Low, High float64
	Start                         schemas.Millis
	Seconds                       int64
	Samples                       float64 // how many observations stand behind Expected
	Baseline                      string  // whose history that is: schemas.BaselineAgent, ...
	FirstSeen                     []string
	LedBy                         string // schemas.LedByTool, ...: the kind of the new thing that leads
	Title                         string // in place of the signal's, where what leads says more
	Text                          string // one plain sentence without subject and stop
	NamesTarget                   bool   // Text names Context.Target
	// Subject is what Text is about, where another signal's may be about the same, and Also
	// what it says beside: an alert says each once.
	Subject, Also Subject
}

// Subject is what several signals may tell of.
type Subject uint8

// The subjects.
const (
	SubjectTool Subject = 1 << iota // the event's new tool, or new use of one
	SubjectStep                     // its step from tool to tool
)

// A Signal is one thing that is scored.
type Signal interface {
	Info() Info
	// Score returns the evidence of the event, of the open hour after it, or both.
	Score(c *Context) float64
	// Observe says what stands behind Score: value, expectation, window. It
	// allocates nothing.
	Observe(c *Context) Detail
	// Explain is Observe with the interval, the first-seen things and the text.
	Explain(c *Context) Detail
}

// Tailed is a Signal whose evidence is the tail probability of one value.
type Tailed interface {
	Signal
	// Tail returns the evidence had the observed value been v.
	Tail(c *Context, v float64) float64
}

// Hourly is a Signal that every closed hour has, whether it stands out or not.
type Hourly interface {
	Signal
	// Close describes the closing hour; false where there is nothing to say.
	Close(c *Context) (Detail, bool)
}

// Names are the names of All.
func Names() []string {
	var names []string
	for _, s := range All() {
		names = append(names, s.Info().Name)
	}
	return names
}

// All is the list of signals. The records know them by name: the order may change.
func All() []Signal {
	return []Signal{
		callRate{},
		callRateLong{},
		drift{},
		volume{out: true},
		volume{},
		&newTool,
		&newResource{novelResource},
		&newDestination{novelDestination},
		&toolSequence{novelStep},
		resourceBreadth{},
		silence{},
		ratio{of: ofFailed},
		ratio{of: ofMalformed},
		ratio{of: ofLate},
		nameFlood{},
		&foreignAddress, // these two stand together
		&unknownCredential,
	}
}

// Families of signals.
const (
	FamilyRate     = "rate"
	FamilyVolume   = "volume"
	FamilyTool     = "tool"
	FamilyResource = "resource"
	FamilyFailure  = "failure"
	FamilyInput    = "input"
	FamilyMetric   = "metric"
	FamilyIdentity = "identity"
)

const (
	hourSeconds = 3600
	hourMillis  = 3_600_000
)

// hourly is what stands behind a score of the open hour.
func (c *Context) hourly(observed, expected, samples float64) Detail {
	return Detail{
		Observed: observed, Expected: expected, Start: c.hour(), Seconds: hourSeconds, Samples: samples, Baseline: c.whose(samples),
	}
}

// highOf is the value up to which a count is nothing unusual.
func highOf(c *Context, s Tailed, expected float64) float64 {
	return math.Ceil(score.Quantile(func(v float64) float64 { return s.Tail(c, v) }, intervalDecades, expected, quantileSteps))
}

func (c *Context) hour() schemas.Millis { return schemas.Millis(c.Win.Hour * hourMillis) }
