package baseline_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/internal/seeded"
)

// metricAgent is an agent with one metric and peers of its own.
type metricAgent struct {
	own   baseline.Profile
	peers *baseline.Peers
	win   baseline.Window
}

func newMetricAgent() *metricAgent {
	fleet := baseline.NewPeers(nil)
	fleet.Metrics = make([]baseline.MetricPrior, 1)
	return &metricAgent{own: baseline.Profile{Metrics: make([]baseline.Metric, 1)}, peers: baseline.NewPeers(fleet)}
}

func (m *metricAgent) at(hour int64) baseline.MetricAt {
	return m.own.Metrics[0].At(&m.peers.Metrics[0], hour)
}

// hour lets n values of an hour pass.
func (m *metricAgent) hour(hour int64, n int, value func() float64, weight float64) {
	m.own.Advance(m.peers, hour)
	m.win = baseline.Window{Open: true, Hour: hour, Events: uint64(n)}
	m.win.Expect(&m.own, m.peers)
	for range n {
		x := value()
		m.own.Metrics[0].Count(x)
		m.own.Metrics[0].Learn(&m.peers.Metrics[0], m.at(hour), x, weight)
		m.own.Metrics[0].Present(true, weight)
	}
	m.own.Close(m.peers, &m.win, weight < 1, false)
	if hour%24 == 23 {
		m.own.Contribute(m.peers)
		m.peers.Advance(hour * 3_600_000)
	}
}

func TestAMetricKnowsLevelSpreadAndTheHoursOfTheDay(t *testing.T) {
	rng := seeded.Rand(t)
	m := newMetricAgent()
	const days = 21
	for hour := range int64(24 * days) {
		level := 100.0
		if hour%24 >= 8 && hour%24 < 18 {
			level = 150
		}
		m.hour(hour, 6, func() float64 { return level + 5*rng.NormFloat64() }, 1)
	}
	night, noon := m.at(24*days+2), m.at(24*days+12)
	assert.InDelta(t, 100, night.X(night.Mean), 7)
	assert.InDelta(t, 150, noon.X(noon.Mean), 7)
	// The standard deviation on the scale of y, told in values.
	sd := night.X(night.Mean+night.Scale) - night.X(night.Mean)
	assert.InDelta(t, 7, sd, 3)
	// A Gaussian stands out two deviations in 4.6 % of its values.
	assert.Less(t, night.Value.Part, 0.06)
}

func TestWhatOftenStandsOutIsWorthLess(t *testing.T) {
	rng := seeded.Rand(t)
	calm, wild := newMetricAgent(), newMetricAgent()
	for hour := range int64(24 * 14) {
		calm.hour(hour, 6, func() float64 { return math.Exp(0.2 * rng.NormFloat64()) }, 1)
		wild.hour(hour, 6, func() float64 {
			x := math.Exp(0.2 * rng.NormFloat64())
			if rng.IntN(50) == 0 {
				x *= 1 + 20*rng.ExpFloat64()
			}
			return x
		}, 1)
	}
	a, b := calm.at(24*14), wild.at(24*14)
	const z = 8
	assert.Greater(t, a.Value.Evidence(z), b.Value.Evidence(z)+0.5)
	for _, tail := range []baseline.Tail{a.Value, b.Value, a.Jump, b.Hour} {
		assert.InDelta(t, 3, tail.Evidence(tail.Quantile(3)), 1e-9)
	}
}

func TestOneHugeValueHidesNothing(t *testing.T) {
	rng := seeded.Rand(t)
	m := newMetricAgent()
	usual := func() float64 { return 100 + 5*rng.NormFloat64() }
	for hour := range int64(24 * 14) {
		m.hour(hour, 6, usual, 1)
	}
	evidence := func() float64 {
		a := m.at(24*14 + 1)
		return a.Value.Evidence((a.Of(5000) - a.Mean) / a.Scale)
	}
	before := evidence()
	m.hour(24*14, 1, func() float64 { return 1e6 }, 1)
	assert.Greater(t, evidence(), 0.6*before)
}

func TestALevelThatStaysIsLearntWithinTwoDaysInAnEpisodeToo(t *testing.T) {
	rng := seeded.Rand(t)
	m := newMetricAgent()
	for hour := range int64(24 * 14) {
		m.hour(hour, 6, func() float64 { return 100 + 5*rng.NormFloat64() }, 1)
	}
	for hour := int64(24 * 14); hour < 24*16; hour++ {
		m.hour(hour, 6, func() float64 { return 300 + 5*rng.NormFloat64() }, 0.1)
	}
	a := m.at(24 * 16)
	assert.InDelta(t, 300, a.X(a.Mean), 40)
}

func TestHostileValuesLeaveNumbers(t *testing.T) {
	rng := seeded.Rand(t)
	hostile := []float64{1e30, -1e30, 1e-300, 0, 5e-324, math.MaxFloat32, -1, 1}
	m := newMetricAgent()
	for hour := range int64(24 * 30) {
		m.hour(hour, 6, func() float64 { return hostile[rng.IntN(len(hostile))] }, 1)
		a := m.at(hour + 1)
		if a.Unit == 0 {
			continue
		}
		for _, v := range []float64{a.Mean, a.Scale, a.HourScale, a.JumpScale, a.Recent, a.Value.Evidence(9), a.X(a.Mean), m.own.Metrics[0].Sum(a, baseline.RateAt{Mu: 6}).Mean} {
			require.False(t, math.IsNaN(v) || math.IsInf(v, 0), "hour %d: %+v", hour, a)
		}
	}
}

func TestAMetricWithoutHistorySaysNothing(t *testing.T) {
	m := newMetricAgent()
	require.Zero(t, m.at(0).Unit)
	m.hour(0, 19, func() float64 { return 7 }, 1)
	require.Zero(t, m.at(1).Unit)
	m.hour(1, 1, func() float64 { return 7 }, 1)
	require.InDelta(t, 7, m.at(2).Unit, 1e-9)
}

func TestTheSumOfAnHour(t *testing.T) {
	rng := seeded.Rand(t)
	m := newMetricAgent()
	for hour := range int64(24 * 14) {
		m.hour(hour, 6, func() float64 { return 900 + 50*rng.NormFloat64() }, 1)
	}
	m.own.Advance(m.peers, 24*14)
	w := baseline.Window{Open: true, Hour: 24 * 14}
	w.Expect(&m.own, m.peers)
	sum := m.own.Metrics[0].Sum(m.at(24*14), w.Rate)
	assert.InEpsilon(t, 6*900, sum.Mean, 0.15)
}
