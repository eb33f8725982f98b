package detector

// LadderStep says what a step of a Ladder means.
type LadderStep struct {
	Name   string `json:"name"`
	Means  string `json:"means"`
	Source string `json:"source"` // the file of the formula
}

// LadderSteps are the steps of a Ladder from bottom to top. Those up to StepShare are taken
// for each signal, the others for all of them together.
func LadderSteps() []LadderStep {
	return []LadderStep{
		{StepCounted, "what the signal looks at: the call, the hour or the day so far, or how many things of the call are new", "detector/verdict.go"},
		{StepExpected, "what was to be expected there, before this event was learnt, and whose history says so", "detector/baseline"},
		{StepTail, "how rare at least so much is by the signal's own model, in decades: 3 are one in a thousand", "detector/signal"},
		{StepCalibrated, "how often such agents really showed at least that evidence; beyond what was seen the tail goes on, and the model is asked too", "detector/score/calibration.go"},
		{StepShare, "each signal may use its part of the alert budget only: evidence is -log10(rate / part)", "detector/score/fusion.go"},
		{StepFused, "the signal that stands out most from its part counts, alone", "detector/score/fusion.go"},
		{StepWorth, "how often an agent-day really comes to that evidence, in any signal", "detector/score/calibration.go"},
		{StepSteered, "where a tenant has had more alerts than its budget, what lies near the threshold pays up to 0.3 decades", "detector/tenant.go"},
		{StepSurprise, "-log10 of how often a normal agent does something as odd in a day", "detector/verdict.go"},
		{StepScore, "50 + 10 x (surprise - threshold), from 0 to 100; the threshold is -log10 of the budget", "detector/score/budget.go"},
		{StepSeverity, "how bad it is if true: from the score, and from whether data leave", "detector/explain.go"},
		{StepAlert, "the first crossing opens an episode, later ones update it where they are worth another look", "detector/episode.go"},
	}
}

// Names of the steps.
const (
	StepCounted    = "counted"
	StepExpected   = "expected"
	StepTail       = "tail"
	StepCalibrated = "calibrated"
	StepShare      = "share"
	StepFused      = "fused"
	StepWorth      = "worth"
	StepSteered    = "steered"
	StepSurprise   = "surprise"
	StepScore      = "score"
	StepSeverity   = "severity"
	StepAlert      = "alert"
)
