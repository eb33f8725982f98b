package siem

import (
	"math"

	"github.com/plumbline-sec/plumbline/schemas"
)

// analysisOf is the kind of analysis behind a signal and the pattern that stands
// out, in the words that OCSF suggests.
func analysisOf(s *schemas.AlertSignal) (analysis, pattern string) {
	more := func(above, below string) string {
		if s.Observed < s.Expected {
			return below
		}
		return above
	}
	switch s.Name {
	case schemas.SignalCallRate, schemas.SignalCallRateLong, schemas.SignalSilence:
		return "Frequency Analysis", more("FREQUENT", "INFREQUENT")
	case schemas.SignalDrift:
		return "Velocity Analysis", more("RISING", "FALLING")
	case schemas.SignalBytesSent, schemas.SignalBytesReceived:
		return "Volume Analysis", more("SURGE", "LOW_VOLUME")
	case schemas.SignalNewTool, schemas.SignalNewResource, schemas.SignalNewDestination:
		return "Association Analysis", "UNSEEN"
	case schemas.SignalResourceBreadth:
		return "Distribution Analysis", more("BROAD", "NARROW")
	case schemas.SignalToolSequence:
		return "Sequence Analysis", "RARE"
	}
	return "Deviation Analysis", more("HIGH", "LOW")
}

func (w *writer) anomalies(a *schemas.Alert) {
	signals := a.Signals[:min(len(a.Signals), maxSignals)]
	if len(signals) == 0 {
		return
	}
	w.array("anomaly_analyses", func() {
		w.object("", func() {
			w.array("analysis_targets", func() {
				w.object("", func() {
					w.id("name", a.Agent.ID)
					w.text("type", "AI Agent")
				})
			})
			w.array("anomalies", func() {
				for i := range signals {
					w.object("", func() { w.anomaly(&signals[i]) })
				}
			})
			w.array("baselines", func() {
				for i := range signals {
					w.object("", func() { w.baseline(&signals[i]) })
				}
			})
		})
	})
}

func (w *writer) anomaly(s *schemas.AlertSignal) {
	analysis, pattern := analysisOf(s)
	w.text("observation_parameter", s.Name)
	w.text("observation_type", analysis)
	w.text("observed_pattern", pattern)
	w.array("observations", func() {
		w.object("", func() {
			w.text("value", decimal(s.Observed))
			w.object("timespan", func() {
				w.caption("type_id", "type", caption{timespanRange, "Time Interval"})
				w.integer("start_time", int64(s.WindowStart))
				w.integer("end_time", windowEnd(s))
			})
		})
		for _, item := range s.FirstSeen[:min(len(s.FirstSeen), schemas.MaxEvidence)] {
			w.object("", func() { w.text("value", item) })
		}
	})
}

func (w *writer) baseline(s *schemas.AlertSignal) {
	analysis, _ := analysisOf(s)
	w.text("observation_parameter", s.Name)
	w.text("observation_type", analysis)
	w.text("observed_pattern", "NORMAL")
	value := "expected=" + decimal(s.Expected) +
		" low=" + decimal(s.Low) + " high=" + decimal(s.High)
	if s.Unit != "" {
		value += " unit=" + s.Unit
	}
	w.array("observations", func() {
		w.object("", func() {
			w.text("value", value)
			w.integer("count", integer32(s.BaselineSamples))
		})
	})
}

// windowEnd saturates where a window reaches beyond what an integer holds.
func windowEnd(s *schemas.AlertSignal) int64 {
	const most = math.MaxInt64 / 4000
	return int64(min(max(s.WindowStart, -most), most)) + 1000*min(max(s.WindowSeconds, 0), most/1000)
}

// decimal is a number in a field of text.
func decimal(v float64) string { return string(appendFloat(make([]byte, 0, 24), v)) }
