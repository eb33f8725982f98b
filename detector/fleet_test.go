package detector_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"sort"

	"github.com/plumbline-sec/plumbline/schemas"
)

// The fleet that these tests run on: agents of five archetypes with over-dispersed
// counts, tools and resources of their own and of their group, and now and then
// something new.

const (
	hourMS = 3_600_000
	dayMS  = 24 * hourMS
	// fleetStart is a Monday.
	fleetStart = schemas.Millis(1_717_372_800_000)
)

type archetype string

const (
	steady  archetype = "steady"
	diurnal archetype = "diurnal"
	bursty  archetype = "bursty"
	batch   archetype = "batch"
	rare    archetype = "rare"
)

var archetypes = []archetype{steady, diurnal, bursty, batch, rare}

type simAgent struct {
	id, group string
	kind      archetype
	level     float64 // calls in a full hour
	over      float64
	phase     int
	tools     []string
	sources   []string
	dests     []string
	size      float64 // of log bytes
	novel     float64 // share of touches that are new
	session   int
	fresh     int
}

type fleet struct {
	rng    *rand.Rand
	agents []*simAgent
	events []schemas.Activity
}

func newFleet(seed uint64, agents int) *fleet {
	f := &fleet{rng: rand.New(rand.NewPCG(seed, 7))}
	for i := range agents {
		k := archetypes[i%len(archetypes)]
		a := &simAgent{
			id: fmt.Sprintf("agent-%03d", i), group: string(k), kind: k,
			phase: f.rng.IntN(24), size: 6 + 2*f.rng.Float64(), novel: 0.002 + 0.01*f.rng.Float64(),
		}
		switch k {
		case steady:
			a.level, a.over = 6+60*f.rng.Float64(), 0
		case diurnal:
			a.level, a.over = 5*math.Exp(f.rng.NormFloat64()*0.8), 0.2+0.3*f.rng.Float64()
		case bursty:
			a.level, a.over = 4*math.Exp(f.rng.NormFloat64()*0.8), 1+f.rng.Float64()
		case batch:
			a.level, a.over = 80*math.Exp(f.rng.NormFloat64()*0.7), 0.05+0.1*f.rng.Float64()
		case rare:
			a.level, a.over = 0.15*math.Exp(f.rng.NormFloat64()*0.5), 0.5
		}
		for j := range 3 + f.rng.IntN(5) {
			a.tools = append(a.tools, fmt.Sprintf("%s_tool_%d", k, (i+j*3)%9))
		}
		for j := range 8 + f.rng.IntN(20) {
			a.sources = append(a.sources, fmt.Sprintf("file:%s/%d", k, (i*5+j*7)%60))
		}
		for j := range 2 + f.rng.IntN(4) {
			a.dests = append(a.dests, fmt.Sprintf("email:%s-%d@example.org", k, (i*3+j)%25))
		}
		f.agents = append(f.agents, a)
	}
	return f
}

// rate is what the agent does in that hour on average.
func (a *simAgent) rate(day, hour int) float64 {
	weekend := day%7 >= 5
	local := (hour + a.phase) % 24
	switch a.kind {
	case steady:
		return a.level
	case diurnal:
		r := a.level * math.Exp(-math.Pow(float64(local-12)/4, 2)) * 2
		if weekend {
			r *= 0.25
		}
		return r
	case bursty, rare:
		return a.level
	case batch:
		if local == 2 {
			return a.level
		}
		return 0.02
	}
	return 0
}

// count draws a negative binomial as a Poisson with a gamma rate; a steady agent
// makes as good as the same number of calls every hour.
func (f *fleet) count(a *simAgent, mu float64) int {
	if a.kind == steady {
		return int(math.Round(mu + f.rng.NormFloat64()*0.4))
	}
	if a.over > 0 {
		mu *= f.gamma(1/a.over) * a.over
	}
	return f.poisson(mu)
}

func (f *fleet) poisson(mu float64) int {
	if mu > 500 {
		return max(0, int(math.Round(mu+f.rng.NormFloat64()*math.Sqrt(mu))))
	}
	n, p := 0, math.Exp(-mu)
	for u := f.rng.Float64(); u > p; n++ {
		u *= f.rng.Float64()
	}
	return n
}

// gamma draws with the given shape and scale 1 (Marsaglia and Tsang).
func (f *fleet) gamma(shape float64) float64 {
	if shape < 1 {
		return f.gamma(shape+1) * math.Pow(f.rng.Float64(), 1/shape)
	}
	d := shape - 1.0/3
	c := 1 / math.Sqrt(9*d)
	for {
		x := f.rng.NormFloat64()
		v := (1 + c*x) * (1 + c*x) * (1 + c*x)
		if v > 0 && math.Log(f.rng.Float64()) < 0.5*x*x+d-d*v+d*math.Log(v) {
			return d * v
		}
	}
}

func pick(f *fleet, list []string) string { return list[f.rng.IntN(len(list))] }

// day appends one day of benign events, in the order of time.
func (f *fleet) day(day int) []schemas.Activity {
	f.events = f.events[:0]
	for _, a := range f.agents {
		for hour := range 24 {
			n := f.count(a, a.rate(day, hour))
			at := make([]int, max(n, 0))
			for i := range at {
				at[i] = f.rng.IntN(hourMS)
			}
			sort.Ints(at)
			for i, ms := range at {
				if i%10 == 0 {
					a.session++
				}
				f.events = append(f.events, f.event(a, fleetStart+schemas.Millis(day*dayMS+hour*hourMS+ms)))
			}
		}
	}
	sort.SliceStable(f.events, func(i, j int) bool { return f.events[i].Time < f.events[j].Time })
	for i := range f.events {
		f.events[i].EventID = fmt.Sprintf("e-%d-%d", day, i)
	}
	return f.events
}

func (f *fleet) event(a *simAgent, at schemas.Millis) schemas.Activity {
	ev := schemas.Activity{
		Time: at, TenantID: schemas.DefaultTenant, AgentID: a.id, PeerGroup: a.group, Action: "tool_call",
		SessionID: fmt.Sprintf("%s-%d", a.id, a.session), Tool: pick(f, a.tools), Outcome: schemas.OutcomeSuccess,
		BytesSent:     uint64(math.Exp(a.size - 2 + 0.7*f.rng.NormFloat64())),
		BytesReceived: uint64(math.Exp(a.size + 0.9*f.rng.NormFloat64())),
	}
	if f.rng.Float64() < 0.03 {
		ev.Outcome = schemas.OutcomeFailure
	}
	send := f.rng.Float64() < 0.15
	var item string
	switch fresh := f.rng.Float64() < a.novel; {
	case fresh && send && f.rng.Float64() < 0.3:
		a.fresh++
		item = fmt.Sprintf("email:new-%s-%d@example.net", a.id, a.fresh)
		a.dests = append(a.dests, item)
	case fresh && !send:
		a.fresh++
		item = fmt.Sprintf("file:new-%s-%d", a.id, a.fresh)
		a.sources = append(a.sources, item)
	case send:
		item = pick(f, a.dests)
	default:
		item = pick(f, a.sources)
	}
	ev.Resources = []string{item}
	ev.Access = schemas.AccessRead
	if send {
		ev.Access = schemas.AccessSend
	}
	return ev
}
