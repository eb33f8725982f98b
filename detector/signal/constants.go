package signal

// Everything here changes verdicts: see "What may be tuned" in ../README.md.

// Weights: parts of the alert budget. Tuned: quality and AgentDojo (ADR 0009), 2026-11-29, where
// nothing else is said.
const (
	weightCallRate       = 0.3
	weightCallRateLong   = 0.3
	weightDrift          = 1.5
	weightBytes          = 0.3
	weightNewTool        = 0.3
	weightNewResource    = 0.1
	weightNewDestination = 20
	weightToolSequence   = 0.3
	weightBreadth        = 0.2
	weightSilence        = 0.1
	weightFailed         = 0.05
	weightMalformed      = 0.1
	weightLate           = 0.1  // set with the signal, 2026-11-30
	weightFlood          = 0.01 // likewise
	weightMetric         = 0.3  // set with the signal, 2026-11-28
	weightOrigin         = 5    // set with the signals, on stolen tokens and rotations of their tests, 2026-11-30
)

// Tests a day for which a model alone stands, before calibration.
const (
	testsOfHours   = 24
	testsOfLong    = 2 // chosen: a window of 12 hours
	testsOfDays    = 1
	testsOfCalls   = 100 // chosen: an agent's calls, and a hundredth of a day for what is new
	testsOfSilence = 4   // chosen: silences do not follow each other by the hour
)

// Counts (callrate.go, callratelong.go, ratio.go, breadth.go, drift.go, silence.go).
const (
	peakRarity         = 1.38 // decades, log10(24): an hour as busy as the busiest so far comes once a day
	peakOverdispersion = 0.1  // by which the next differs from it; tuned: demo's fleets, 2026-11-27
	nearRarity         = 1.7  // decades: a run is an hour off once in fifty days; tuned: simulated fleets, 2026-11-28
	minCountVar        = 0.25 // variance of a count; chosen: half a call
	longHours          = 24   // own hours before the long window is scored; chosen: two half-lives
	driftLeast         = 1.0  // decades; chosen: less is every agent's
	minBreadth         = 3    // resources; chosen: two are no sweep
	minRatio           = 3    // calls; chosen: two are no series
	// MinLate is for who sends late for the first time, events; chosen: what was lost for a
	// moment and sent again is no more than that.
	MinLate               = 10
	silenceOverdispersion = 0.1 // at least: that of an agent that now and then pauses for no reason; set with the signal, 2026-11-28
	fewValues             = 3   // of a metric, in an hour whose mean is judged; chosen: two are two calls
	sumFrom               = 2   // times the expected sum of an hour, from which it is judged; chosen: less is no leak
)

// Novelty (novelty.go), decades where nothing else is said.
const (
	mostBorrowed = 1.5 // that a borrowed tool adds: it is always a new step too; tuned: AgentDojo (ADR 0007), 2026-11-29
	borrowedPart = 4   // a tool is borrowed where one in so many peers has it (ADR 0007)
	usualPart    = 2   // and usual where one in so many has it (ADR 0008)
	usualSize    = 1.5 // evidence of a size that is nothing to speak of; tuned: adversarial newcomers, 2026-11-30
	nearby       = 1   // less for a new address at a known site, or another agent of the house; tuned: AgentDojo, 2026-11-27
	originLeast  = 3   // from which a network or a credential is told of; set with the signals, on honest rotations, 2026-11-30
	tellPlace    = 1   // a new place is told of before how data went there, unless that is rarer by more; chosen: it is asked first
	tellSite     = 1.5 // and a new site before a new address
)

// What explanations say.
const (
	intervalDecades = 3   // the interval holds 99.9 % of what is normal
	quantileSteps   = 40  // bisections
	ownHistoryFrom  = 20  // observations from which the agent's own history leads; chosen: fewer are mostly its peers'
	maxQuoted       = 120 // bytes of a name from outside
)
