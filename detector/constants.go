package detector

import (
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Everything here changes verdicts or what is told of them: see "What may be tuned" in
// README.md. Times are milliseconds where nothing else is said.
const (
	hourMillis = 3_600_000
	dayMillis  = 24 * hourMillis
	weekHours  = 7 * 24
)

// Windows and clocks (window.go, clock.go).
const (
	grace          = 2 * 60 * 1000       // that a window stays open past its end, for producers a little behind each other
	closesPerEvent = 64                  // windows that one event closes: the turn of an hour must not hold up the stream
	maxTime        = 253_402_300_799_999 // the last millisecond of the year 9999
	follows        = hourMillis          // that a tenant's clock is moved by others behind the partition's; set 2026-11-30
	loading        = dayMillis           // lag from which it is not: it loads a history; likewise
	poisoned       = hourMillis          // that a clock is ahead of the arrival to be set back; chosen: brokers' clocks differ by seconds
	oldest         = 100 * dayMillis     // behind the tenant's clock, that a new agent's history may begin
	lateBy         = 10 * 60 * 1000      // that an event lies behind to be late; chosen: calls end out of order
	lateLeast      = signal.MinLate      // events that make an agent late
	lateOthers     = 3                   // late peers that excuse it; set 2026-11-30, as for silence
	othersPart     = 5                   // where they are one in so many of those at work; likewise
	promptLeast    = 6                   // hours reached promptly, more than not, of a tenant whose clock ticks move; chosen: what is sent once a day reaches one so
	closesPerTick  = 256                 // times closesPerEvent that a tick closes of a tenant; chosen: 20 MB of windows
	leapDays       = 60                  // by which calibration ages at most at once; chosen: four half-lives
)

// Newcomers and peers (vouch.go, swarm.go, agent.go).
const (
	establishedDays = 3   // active days from which an agent is evicted only after all younger ones
	vouchDays       = 7   // age that makes a peer, days; tuned: adversarial newcomers, 2026-11-30
	vouchLived      = 3   // and on how many it was at work without an alert; likewise
	moveDays        = 3   // for which an agent names another group to be moved; chosen: peers are not to be picked
	ownEpisodes     = 2   // newcomers of a tenant with episodes of their own at once; chosen: a third is a swarm
	floodNames      = 100 // names an hour without room; chosen: a few that come and go are no flood
	mostLearnt      = 48  // new things that an event teaches; chosen: more than can be on probation
)

// Silence (silence.go), hours where nothing else is said. Set with the signal, on outages and weekends of its tests, 2026-11-28.
const (
	silentHours  = 72
	silentLeast  = 5       // calls expected in that time, below which no silence says anything
	silentSeen   = 4 * 24  // history from which silence is observed
	silentKnown  = 14 * 24 // and from which it may alert: calibration has seen by then how such agents pause
	silentFaded  = 0.7     // what is left of the weight of two weeks' hours at their half-life
	silentAlert  = 3       // that it takes: who restarts an agent is not told of it
	silentMissed = 2       // decades, from which an agent counts as silent among its peers: a night counts for nobody
	silentOthers = 2       // silent peers that excuse it, where they are one in othersPart
	minSilentMu  = 1e-9    // calls; keeps a division finite
)

// Identity checks (identity.go).
const (
	believed      = hourMillis    // that an event may lie behind its tenant's clock and still have happened when it says; chosen, as follows
	expiredBy     = 5 * 60 * 1000 // that a credential may be used beyond its end; chosen: clocks differ, and calls take their time
	standingQuiet = 7 * dayMillis // without a failure, that ends what stays so until somebody changes it; chosen: an agent that works weekly
	ownStrangers  = 2             // agents of a tenant with episodes of their own at once, of checks that many may fail; chosen: as ownEpisodes
	ownBreaches   = 16            // and of those that each are an incident, policies included; chosen: what a shift can look at
)

// Calibration and budget (tenant.go, verdict.go).
const (
	defaultAlerts    = 0.01 // false alerts an agent-day that the budget is without a config; chosen: one in a hundred days
	contributes      = 1    // lambda from which a signal is named: a day's normal course
	outlierWeight    = 0.1  // of an hour a decade beyond the threshold; tuned: simulated fleets, 2026-11-29
	outlierPriorDays = 50   // agent-days of budget for such hours that a tenant starts with; tuned: simulated fleets, 2026-11-27
	grantedTimes     = 2    // episodes that the budget grants an agent are no repetition up to so many times
	steerAlerts      = 10   // pseudo-count of a tenant's alerts over budget; tuned: quality, 2026-11-30
	steerGain        = 4    // decades a decade over budget: what is left is a fifth of it; likewise
	steerMost        = 0.3  // decades: three points of score
	confidentDays    = 14   // own days of full confidence; chosen: a half-life
	confidentPeers   = 100  // agent-days of peers, which count half
	peersConfidence  = 0.5
)

// Alerts and severity (episode.go, explain.go, places.go).
const (
	urgent             = 2                        // the severity that is told of at once
	patience           = 5 * 60 * 1000            // between an alert and one that is only medium
	worseDecades       = 0.5                      // by which a crossing must be less likely than the worst of its episode to take its place
	strongWithin       = 1                        // decades of an alert, in which a signal is told of
	mediumScore        = 55                       // chosen: half a decade beyond the threshold
	highScore          = 75                       // chosen: two and a half decades
	bulkBytes          = 1 << 20                  // what is much, whoever sends it
	bulkTimes          = 100                      // and how many times what is usual
	toldFrom           = 64 << 10                 // bytes from which a place is news by how much went there
	siteFirst          = 100                      // decades: puts a new site before whatever is new at a known one
	maxTexts           = 3                        // signals that a summary tells of
	proofEach          = 6                        // resources of the last crossing, and of the places, among the first that prove an episode
	bisections         = 60                       // of a counterfactual
	minFused           = -3                       // decades, of a signal without evidence in a counterfactual: score.NoEvidence
	maxToldDays        = 1e6                      // new agents: beyond, "less than one in a million"
	noFused            = -100                     // fused evidence of an hour or day that showed none
	maxEpisodeItems    = schemas.MaxTotalSessions // destinations and sessions that are told apart
	maxEpisodeFamilies = 8
)
