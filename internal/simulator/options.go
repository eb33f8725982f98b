package simulator

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/schemas"
)

// Tails says from which family counts and sizes are drawn.
type Tails string

// The families.
const (
	TailsNB    Tails = "nb"    // gamma-mixed Poisson by the clock hour, log-normal sizes
	TailsHeavy Tails = "heavy" // log-normal mixing with memory, Pareto bursts and sizes, outages, failure storms
)

// Kind is a kind of attack.
type Kind string

// The kinds of attack.
const (
	KindBurst          Kind = "burst"           // many times its normal work for minutes
	KindRunaway        Kind = "runaway"         // the same call on the same thing, again and again
	KindSweep          Kind = "sweep"           // walks through resources that it never touched
	KindExfilFast      Kind = "exfil_fast"      // reads and sends much in minutes
	KindExfilSlow      Kind = "exfil_slow"      // sends several times the normal size for days, a few calls at a time
	KindNewDestination Kind = "new_destination" // a few sends of normal size to where it never sent
	KindNewborn        Kind = "newborn"         // an agent appears and works at 100 times its peers' rate
	KindInjection      Kind = "injection"       // one to three odd calls once the job of a session is done
	KindRamp           Kind = "ramp"            // grows a few percent a day, to teach the baseline
)

// Kinds returns all kinds of attack.
func Kinds() []Kind {
	return []Kind{
		KindBurst, KindRunaway, KindSweep, KindExfilFast, KindExfilSlow,
		KindNewDestination, KindNewborn, KindInjection, KindRamp,
	}
}

// ParseScenario reads "benign", "attacks" (every kind) or a list of kinds with
// commas.
func ParseScenario(s string) ([]Kind, error) {
	switch s {
	case "", "benign":
		return nil, nil
	case "attacks":
		return Kinds(), nil
	}
	var kinds []Kind
	for name := range strings.SplitSeq(s, ",") {
		k := Kind(strings.TrimSpace(name))
		if !slices.Contains(Kinds(), k) {
			return nil, fmt.Errorf("scenario %q: no attack is called %q; there are benign, attacks and %s", s, name, joinKinds())
		}
		kinds = append(kinds, k)
	}
	return kinds, nil
}

func joinKinds() string {
	names := make([]string, 0, len(Kinds()))
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return strings.Join(names, ", ")
}

// Mix is how the archetypes share the fleet; the parts need not add up to 1.
// The zero value means DefaultMix.
type Mix struct{ Steady, Diurnal, Bursty, Batch, Rare float64 }

// DefaultMix is a fleet that mostly works with people.
func DefaultMix() Mix { return Mix{Steady: .16, Diurnal: .42, Bursty: .16, Batch: .14, Rare: .12} }

func (m Mix) parts() [archetypes]float64 {
	return [archetypes]float64{m.Steady, m.Diurnal, m.Bursty, m.Batch, m.Rare}
}

// Options describe a fleet. The zero value of a field means its default.
type Options struct {
	Agents  int           // 100
	Days    int           // 28
	Start   time.Time     // 2026-03-02 00:00 UTC, a Monday
	Seed    uint64        //
	Tenants int           // 1
	Mix     Mix           // DefaultMix
	Tails   Tails         // TailsNB
	Rate    float64       // multiplies every agent's rate; 1
	Joins   float64       // part of the agents that join later; .04, below 0: none
	Still   bool          // no rollouts of tools, no new versions
	Kinds   []Kind        // attacks to spread at random over distinct agents
	Count   int           // how many of them: a quarter of Agents, at least one
	Window  time.Duration // attacks begin in this last part of the time: a quarter, at most 7 days; a ramp as early as lets it last three weeks
	// Strength scales how far attacks stick out; 1. Rates, sizes and numbers of
	// things touched are multiplied by it, and so is the chance, a third, that
	// an injection passes things on with a tool that is not the agent's.
	Strength float64
	// Settled keeps attacks at random to agents with habits that they break with: who act
	// at least once in two hours, and for whom what is done to them is no everyday matter.
	Settled bool
}

// groups is how many peer groups there are: one for every 12 agents.
func (o Options) groups() int { return max(1, min(len(roles), o.Agents/max(1, 12*o.Tenants))) }

// withDefaults fills in what is absent and refuses what makes no sense.
func (o Options) withDefaults() (Options, error) {
	set := func(v *float64, def float64) {
		if *v == 0 {
			*v = def
		}
	}
	setInt := func(v *int, def int) {
		if *v == 0 {
			*v = def
		}
	}
	setInt(&o.Agents, 100)
	setInt(&o.Days, 28)
	setInt(&o.Tenants, 1)
	set(&o.Rate, 1)
	set(&o.Joins, .04)
	set(&o.Strength, 1)
	if o.Mix == (Mix{}) {
		o.Mix = DefaultMix()
	}
	if o.Tails == "" {
		o.Tails = TailsNB
	}
	if o.Start.IsZero() {
		o.Start = time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)
	}
	if o.Window == 0 {
		o.Window = min(7*24*time.Hour, time.Duration(o.Days)*6*time.Hour)
	}
	if len(o.Kinds) == 0 {
		o.Count = 0
	} else {
		setInt(&o.Count, max(1, o.Agents/4))
	}
	return o, o.check()
}

func (o Options) check() error {
	bad := func(format string, args ...any) error { return fmt.Errorf("simulate: "+format, args...) }
	var sum float64
	for _, p := range o.Mix.parts() {
		if p < 0 || math.IsNaN(p) || math.IsInf(p, 0) {
			return bad("the archetype mix has a part of %v", p)
		}
		sum += p
	}
	switch {
	case o.Agents < 1 || o.Agents > 10_000_000:
		return bad("%d agents: from 1 to 10,000,000", o.Agents)
	case o.Days < 1 || o.Days > 3660:
		return bad("%d days: from 1 to 3660", o.Days)
	case o.Tenants < 1 || o.Tenants > o.Agents:
		return bad("%d tenants: from 1 to the number of agents", o.Tenants)
	case sum <= 0:
		return bad("the archetype mix is empty")
	case o.Tails != TailsNB && o.Tails != TailsHeavy:
		return bad("tails %q: nb or heavy", o.Tails)
	case !(o.Rate > 0 && o.Rate <= 1e6):
		return bad("rate %v: above 0", o.Rate)
	case !(o.Joins <= 1):
		return bad("joins %v: a part of the agents, at most 1", o.Joins)
	case !(o.Strength > 0 && o.Strength <= 1e3):
		return bad("strength %v: above 0", o.Strength)
	case o.Count < 0:
		return bad("%d attacks", o.Count)
	case o.Window < 0 || o.Window > time.Duration(o.Days)*24*time.Hour:
		return bad("attacks begin in the last %v of %d days", o.Window, o.Days)
	case o.Start.UnixMilli() <= 0:
		return bad("a start before 1970")
	}
	for _, k := range o.Kinds {
		if !slices.Contains(Kinds(), k) {
			return bad("no attack is called %q", k)
		}
	}
	return nil
}

// errCrowded is returned where attacks would leave no honest majority.
var errCrowded = errors.New("simulate: more than half of the agents would be attacked: fewer attacks or more agents")

func (o Options) start() schemas.Millis { return schemas.Millis(o.Start.UnixMilli()) }

func (o Options) end() schemas.Millis { return o.start() + schemas.Millis(o.Days)*day }

// Durations in milliseconds of event time.
const (
	second schemas.Millis = 1000
	minute                = 60 * second
	hour                  = 60 * minute
	day                   = 24 * hour
)
