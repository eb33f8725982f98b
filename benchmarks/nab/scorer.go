package main

import (
	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/detector/baseline"
	"github.com/plumbline-sec/plumbline/detector/signal"
	"github.com/plumbline-sec/plumbline/schemas"
)

const hourMillis = 3_600_000

// scorer is a series: an agent and its baselines.
type scorer struct {
	signal signal.Signal
	ctx    signal.Context
	values [1]signal.MetricValue
	own    baseline.Profile
	peers  *baseline.Peers
	win    baseline.Window
	quiet  int64
	recent []scored // of the quiet time, falling
}

type scored struct {
	at       int64
	evidence float64
}

func newScorer() *scorer {
	fleet := baseline.NewPeers(nil)
	fleet.Metrics = make([]baseline.MetricPrior, 1)
	s := &scorer{
		signal: signal.Metric(0, "value", "", signal.TakeMean),
		own:    baseline.Profile{Metrics: make([]baseline.Metric, 1)}, peers: baseline.NewPeers(fleet),
		quiet: detector.DefaultConfig().QuietTime.Milliseconds(),
	}
	s.ctx = signal.Context{Ev: &schemas.Activity{}, Win: &s.win, Own: &s.own, Peers: s.peers, Metrics: s.values[:]}
	return s
}

// score returns what a value is worth, and learns it.
func (s *scorer) score(at int64, x float64) float64 {
	hour := at / hourMillis
	if !s.win.Open || hour > s.win.Hour {
		s.turn(hour)
	}
	m, prior := &s.own.Metrics[0], &s.peers.Metrics[0]
	s.win.Events++
	s.values[0] = signal.MetricValue{X: x, Has: true, At: m.At(prior, s.win.Hour)}
	evidence := s.signal.Score(&s.ctx)
	m.Learn(prior, s.values[0].At, x, 1/(1+s.values[0].At.Count/32))
	return s.news(at, evidence)
}

// turn closes the hour and opens another.
func (s *scorer) turn(hour int64) {
	if s.win.Open {
		s.own.Close(s.peers, &s.win, false, false)
		if hour/24 != s.win.Hour/24 {
			s.own.Contribute(s.peers)
		}
	} else {
		s.own.Born, s.own.At = hour, hour
	}
	s.own.Advance(s.peers, hour)
	s.peers.Advance(hour * hourMillis)
	s.win = baseline.Window{Open: true, Hour: hour}
	s.win.Expect(&s.own, s.peers)
}

// news returns evidence that is more than that of the quiet time before it.
func (s *scorer) news(at int64, evidence float64) float64 {
	for len(s.recent) > 0 && s.recent[0].at < at-s.quiet {
		s.recent = s.recent[1:]
	}
	news := evidence
	if len(s.recent) > 0 && s.recent[0].evidence >= evidence {
		news = 0
	}
	for n := len(s.recent); n > 0 && s.recent[n-1].evidence <= evidence; n-- {
		s.recent = s.recent[:n-1]
	}
	s.recent = append(s.recent, scored{at, evidence})
	return news
}
