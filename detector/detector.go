// Package detector scores what agents do against what they normally do.
//
// It is pure: no I/O, no clock, no randomness, no goroutines. The same events in
// the same order give the same verdicts, alerts and windows, byte for byte.
package detector

import "github.com/plumbline-sec/plumbline/schemas"

// Sink takes what the detector says beside the verdict of an event. What it is
// handed is the callee's to keep.
type Sink interface {
	Alert(*schemas.Alert)
	Window(*schemas.Window)
}

// Verdict is what the detector thinks of one event.
type Verdict struct {
	// Surprise is -log10 of the calibrated number of exceedances expected per
	// agent-day. Unbounded.
	Surprise float64
	// Score is 0-100; 50 is the budget's threshold.
	Score float64
	// Signals contributed, strongest first. Valid until the next Process.
	Signals []schemas.AlertSignal
	// Duplicate: the same event_id was seen a moment ago; it was not counted.
	Duplicate bool
	// Late: the event's window is closed; it was scored for novelty only.
	Late bool
}

// Detector holds the baselines of all agents of one partition.
//
// It is not safe for concurrent use: one goroutine owns it.
type Detector struct {
	cfg  Config
	sink Sink
}

// New returns a detector without history.
func New(cfg Config, sink Sink) (*Detector, error) {
	return &Detector{cfg: cfg, sink: sink}, nil
}

// Process scores one event, then learns from it. It keeps nothing of ev.
func (d *Detector) Process(ev *schemas.Activity) Verdict { return Verdict{} }

// Stats are the numbers that a service exports as metrics.
type Stats struct {
	Agents       int
	StateBytes   int64 // estimate, everything included
	Watermark    schemas.Millis
	OpenEpisodes int
	Evicted      uint64 // agents, since New
	Late         uint64 // events, since New
	Duplicates   uint64 // events, since New
}

// Stats returns the detector's numbers.
func (d *Detector) Stats() Stats { return Stats{} }
