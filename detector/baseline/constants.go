package baseline

// Everything here changes verdicts: how to read the sources, and what to run, says "What may
// be tuned" in ../README.md. Bounds of memory stand beside what they bound.

// HalfLife is the time in which what is remembered loses half of its weight, hours.
type HalfLife float64

// Half-lives.
const (
	HalfLifeLevel   HalfLife = 14 * 24 // tuned: simulated fleets, 2026-11-24
	HalfLifeHour    HalfLife = 21 * 24 // likewise
	HalfLifeWeekday HalfLife = 42 * 24 // likewise
	halfLifeVolume  HalfLife = 14 * 24 // chosen: that of the level
	halfLifeNovelty HalfLife = 28 * 24 // tuned: simulated fleets, 2026-11-24
	halfLifeBreadth HalfLife = 14 * 24 // chosen: that of the level
	halfLifeLong    HalfLife = 12      // tuned: simulated fleets, 2026-11-24
	halfLifeMetric  HalfLife = 7 * 24  // tuned: NAB, 2026-11-28
	halfLifeRecent  HalfLife = 1       // of a metric's last values in a pause; chosen: minutes are what is recent
)

// What several statistics share.
const (
	clipSigmas      = 4              // standard deviations; winsorising; tuned: simulated fleets, 2026-11-24
	EpisodeWeight   = 0.1            // of an hour or an act in an episode; tuned: simulated fleets, 2026-11-24
	priorDailyFade  = 0.95           // of a group's sums, a day: two weeks; chosen: the half-life of the level
	leapDays        = 60             // by which evidence ages at most at once; chosen: two half-lives of what lasts longest
	scheduleDays    = 2              // in a row, after which what comes back is learnt in full; tuned: demo's fleets, 2026-11-27
	minCountVar     = 0.25           // variance of a count; chosen: half a call
	minMu           = 1e-6           // calls an hour; chosen: keeps divisions finite
	minFactor       = 0.01           // of an hour or weekday among the peers; chosen: as minMu
	YoungHours      = 8 * 24         // age below which an agent is held against the young; tuned: simulated fleets, 2026-11-24
	Probation       = 15 * 60 * 1000 // ms that a new item stays new: nothing vouches for itself; tuned: simulated fleets (an hour found less), 2026-11-24
	MaxIdleHours    = 14 * 24        // empty hours that are observed; those before only fade; chosen: a half-life of the level
	minSizeCalls    = 8              // calls with bytes, or values, before a sum is expected; chosen: fewer say nothing of a tail
	maxLogVar       = 5              // of a size, in a log-normal's mean: e^5; chosen: beyond, moments mean nothing
	priorBetweenVar = 0.05           // added to the variance between agents; chosen: peers are never all alike
)

// Call rates (rate.go).
const (
	startLevelVar    = 2    // relative variances before anything is known; tuned: simulated fleets, 2026-11-24
	startHourVar     = 1.5  // likewise
	startDayVar      = 0.15 // likewise
	startPhi         = 0.3  // likewise, overdispersion
	startClump       = 3    // likewise, variance over mean in quiet hours
	aloneLevelVar    = 20   // relative variance of the level of who has no peers yet; chosen: its own calls count at once
	minLevelVar      = 0.02 // bounds of what a group may come to; chosen: within what fleets show
	maxLevelVar      = 10
	minHourVar       = 0.01
	maxHourVar       = 5
	minDayVar        = 0.005
	maxDayVar        = 2
	minPhi           = -0.5
	maxPhi           = 5
	minClump         = 1
	maxClump         = 1000
	phiPseudoHours   = 20    // pseudo-count of the group's overdispersion; tuned: simulated fleets, 2026-11-24
	maxUnderdisp     = 0.9   // of the Poisson variance that a steady agent may lack; tuned: simulated fleets, 2026-11-24
	clumpPseudoCalls = 3     // pseudo-count of the group's clumping; tuned: simulated fleets, 2026-11-24
	dispersionFade   = 0.998 // an hour: a half-life of two weeks
	phiFromMu        = 0.1   // calls an hour, from which an hour says something of phi; chosen: fewer are nearly always 0
	clumpBelowMu     = 2     // calls an hour, under which it says something of clumping; chosen: above, phi has it
	clumpFromHours   = 24    // own hours; chosen: on the first day it would be what is not known yet
	episodeNoise     = 1 / EpisodeWeight
	weekdayFrom      = 7 * 24 // hours before weekdays are learnt: else the first days' would be off; tuned: simulated ramps, 2026-11-28
	nearFrom         = 3      // times an hour's expectation, of the hour beside it; tuned: simulated fleets, 2026-11-28
	minLongVar       = 0.25   // of the mean, variance of an hour in the long window; chosen: steady agents do not flood
)

// Drift (drift.go), a CUSUM.
const (
	driftFrom       = 10    // days before there is a reference; tuned: simulated ramps, 2026-11-27
	driftDays       = 20    // the level's memory; likewise
	driftMost       = 30    // nats; the sum ends here: what is over can be seen to be over
	driftGrowth     = 1.01  // of the reference, a day; tuned: simulated ramps, 2026-11-27
	driftRise       = 1.6   // of the alternative; likewise
	driftVar        = 0.08  // relative variance of a day, before anything is known; likewise
	driftPseudoDays = 4     // pseudo-count of driftVar; likewise
	driftMinVar     = 0.005 // chosen: no day is exact
	driftFade       = 0.97  // of what days have shown of their variance, a day; tuned: simulated ramps, 2026-11-27
	driftClipVars   = 4     // squared deviation of a day, variances
	driftClipSigmas = 3     // a day's count
	driftRefSigmas  = 2     // by which the reference may lie over the level
	driftIdle       = 48    // hours of an agent's life that are not counted; chosen: its level is not known yet
)

// Sizes (volume.go, context.go).
const (
	sizeUnit          = 128       // bytes; below, a few characters more are no multiple; tuned: simulated fleets, 2026-11-24
	volumeStartVar    = 1.5 * 1.5 // within an agent, on the scale of Size; tuned: simulated fleets, 2026-11-24
	volumeBetween     = 1.2 * 1.2 // between agents; tuned: adversarial newcomers, 2026-11-30
	minVolumeScale    = 0.05      // standard deviation; chosen: a size that never changes may
	volumePseudoCalls = 6         // pseudo-count of the peers' variance; tuned: simulated fleets, 2026-11-24
	meanPseudoCalls   = 2         // of the model's mean beside the agent's own, and of the first variance in the group's
	maxDF             = 60        // score.StudentMax, where Student's t is quickest
	// Degrees of freedom of who has shown nothing: how its calls spread is known from its
	// peers. Few of them would give the tail no end. Each call of its own takes one, until
	// those of its own variance are more.
	newbornDF       = 40      // tuned: AgentDojo and simulated fleets, 2026-11-30
	maxLearntSize   = 40      // on the scale of Size: e^40 bytes
	toolPseudoCalls = 2       // of the peers' sizes beside a tool's own; tuned: simulated fleets, 2026-11-24
	toolMemory      = 1024    // calls
	statedSentBytes = 1 << 10 // what a call moves before anything is known; chosen: a request
	statedRecvBytes = 4 << 10 // and its answer
)

// Novelty (novelty.go, adoption.go, steps.go).
const (
	peerDiscount      = 20    // times weaker evidence is what all peers know; tuned: AgentDojo, 2026-11-27
	minIncidencesADay = 7     // to act seldom is no evidence; tuned: quality (ADR 0009, 0010), 2026-11-29
	freeNewADay       = 30    // things of a kind that teach in full, the k-th beyond 2^-k; tuned: adversarial floods, 2026-11-30
	minPriorNew       = 0.1   // new things that a prior brings: many incidences without one do not say never; tuned: simulated fleets, 2026-11-24
	minNewRate        = 0.01  // of incidences, by sessions alone; likewise
	minQuietShare     = 0.005 // what a quiet tool and a quiet agent count together at most; chosen: both are the same history
	fleetPseudo       = 10    // incidences of the rate at half as many sessions; tuned: simulated fleets, 2026-11-24
	groupPseudo       = 20    // incidences of the fleet's rate; likewise
	dfFleetPseudo     = 4     // new things, of a flat histogram; likewise
	dfGroupPseudo     = 20    // new things, of the fleet's histogram; likewise
	dailyPseudo       = 10    // incidences of a day before any has been seen; likewise
	adoptionLeastDays = 0.25  // a rate is not taken from minutes; tuned: simulated rollouts, 2026-11-28
	adoptionGapDays   = 10    // without another agent: it has been adopted (ADR 0007)
	rolloutPrior      = 0.5   // of new tools that go on to a second agent, before any has (ADR 0007)
	rolloutPseudo     = 2     // tools; tuned: quality (ADR 0007), 2026-11-28
	stepLiftPrior     = 3     // times likelier a new step is with a new place; tuned: AgentDojo, 2026-11-28
	stepLiftPseudo    = 5     // places; likewise
	minToolCalls      = 2     // that keep a tool in a full table
)

// Breadth (breadth.go) and ratios (ratio.go).
const (
	breadthPseudoHours = 12   // of the peers' mean; tuned: simulated fleets, 2026-11-24
	breadthStart       = 2.0  // new things an hour, and their overdispersion, before anything is known; likewise
	breadthStartHours  = 2    // pseudo-count of breadthStart in a group
	minBreadthOver     = 0.5  // overdispersion of a group; chosen: no work is as even as Poisson
	maxBreadthOver     = 20   // chosen: one agent is not the group
	maxOwnBreadthOver  = 60   // of an agent that does all of it in one hour of the day; tuned: nightly sweeps, 2026-11-28
	breadthOwnHours    = 100  // after which its own variance counts as much as its peers'; likewise
	breadthMemory      = 500  // hours
	minBreadth         = 0.05 // new things an hour
	ratioPseudoCalls   = 100  // of the peers' ratio; set with the signal, 2026-11-28
	ratioStart         = 0.02 // before anything is known; likewise
	ratioStartOver     = 2    // likewise, overdispersion
	ratioOverPseudo    = 10   // its pseudo-count, squared means
	minRatioOver       = 1    // chosen: what fails fails again
	maxRatioOver       = 30
	minRatioMu         = 0.2    // an hour: so many are normal for anybody; set with the signal, 2026-11-28
	ratioMemory        = 20_000 // calls; chosen: an agent of millions still learns within hours
)

// Metrics (metric.go); all tuned on NAB, 2026-11-28, where nothing else is said.
const (
	effectPseudoHours = 2    // of no offset, hours of the same place in the week
	metricPseudo      = 6    // values, of the peers' variance
	metricStartVar    = 0.25 // within an agent, before anything is known
	metricBetweenVar  = 4    // between agents, likewise
	minMetricScale    = 0.01 // standard deviation on the scale of y
	metricMeanPart    = 0.25 // of the variance of a value that the mean of an hour, or a jump, is taken to have at first
	meanPseudo        = 4    // hours, of that
	metricClipSigmas  = 8    // of a value in the mean of its hour
	shiftSigmas       = 3    // from which an hour stands out on a side
	metricSettleHours = 24   // after which a new level is taken for one
	metricQuick       = 50   // values that it then stands for
	unitFrom          = 20   // values from which there is a unit
	recentPart        = 0.5  // of a value in what is recent
	sparseHour        = 2    // values, pseudo-count: a few in an hour say little of it
	weekdayPart       = 6    // by which an hour says less of its weekday than of itself
	tailFromSigmas    = 2    // where a tail begins
	tailPseudo        = 40   // values, of the tail that is taken before anything is known
	hillPseudo        = tailPseudo / 4
	tailStartPart     = 0.05          // of values beyond tailFromSigmas; that of a normal distribution
	tailStartHill     = 0.25          // mean logarithm of the excess (Hill 1975)
	maxTailSigmas     = 1e6           // chosen: keeps logarithms in a float32
	maxMeanRaw        = 1e30          // chosen: likewise
	minUnit, maxUnit  = 1e-100, 1e100 // chosen: keeps x/unit finite
	maxScaled         = 300           // of y: e^300
	minSumUnits       = 100           // an hour's sum is expected to be a hundredth of a unit at least
)
