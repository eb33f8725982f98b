package score

// Everything here changes verdicts: see "What may be tuned" in ../README.md.
const (
	// MaxEvidence is the end of every tail, in decades: below 1e-300 numbers end.
	MaxEvidence = 300
	minTail     = 1e-300 // probability: the same
	// NoEvidence is the lambda of what shows nothing unusual, in exceedances per agent-day.
	NoEvidence = 1000
	// HalfLife is how long calibration remembers, days; tuned: simulated fleets, 2026-11-24.
	HalfLife = 14
	// StudentMax is the most degrees of freedom that a baseline's predictive distribution
	// has: that of every agent but the young; chosen: it is all but normal.
	StudentMax = 60
)

// Tails (tails.go).
const (
	steadyBelow     = 1e-3              // overdispersion times mean, under which a count is as good as Poisson; chosen: the binomial's size runs out of digits
	steadySigma     = 0.04              // of the mean: a perfectly steady agent does not alarm on one call more; tuned: simulated fleets, 2026-11-24
	minCountVar     = 0.25              // variance of a count; chosen: half a call
	minSurvival     = 1e-290            // probability, from which the binomial's tail is continued by its last ratio; chosen: over the smallest numbers
	minLogVar       = 1e-4              // of a log-normal; chosen: 1 % is no tail
	studentSumBelow = 4                 // t, under which the sum keeps its digits
	maxDoublings    = 80                // of Quantile's upper end
	z999            = 3.090232306167813 // exceeded with a probability of 10^-3: the interval of every window, not looked up each time
)

// Calibration (calibration.go, curve.go).
const (
	groupPriorDays = 20   // agent-days that the fleet counts for in a group; tuned: simulated fleets, 2026-11-24
	fleetPriorDays = 50   // agent-days that the model counts for in a fleet; likewise (5 was 3.3 times the budget)
	bootstrapDays  = 25   // agent-days over which a new service's models are believed a decade less; tuned: simulated fleets, 2026-11-24
	matureDays     = 200  // of the mature, after which what the young have shown is taken as it is; tuned: fleets that grow up at once, 2026-11-28
	youngPart      = 3    // or a third of the days of the young, where that is less; likewise
	maxSharpening  = 30   // times that calibration makes a model's evidence count at most; tuned: simulated fleets, 2026-11-24
	maxPriorDays   = 1e12 // chosen: however small the fleet's lambda is, their product is a number
	fusedShift     = 2    // decades: lets the curve of the fusion, of rates and not of tails, begin below one exceedance a day
	curveBins      = 120
	binWidth       = 0.1 // decades
	firstBin       = 0.5 // decades; evidence below is not recorded
	tailFrom       = 8   // the exponential tail starts at the 8th-largest exceedance; tuned: simulated fleets, 2026-11-24
	slopeFrom      = 40  // and takes its slope from the 40 largest; likewise
	slopePseudo    = 10  // observations of the nominal slope; likewise
	minSlope       = 0.2 // decades a decade; chosen: what was seen once does not go on for ever
)
