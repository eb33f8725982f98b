package main

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plumbline-sec/plumbline/schemas"
)

const (
	ewmaHalfLife = 7 * 24.0 // hours
	warmUp       = 24.0     // hours
	quietTime    = 6 * hour
)

// baseline is what is usually built first, to be compared with: it counts the events
// of each agent by the hour, and alerts when the count of the open hour is above a
// limit.
type baseline struct {
	name   string
	learn  func(*counts)         // from an hour that is over
	limit  func(*counts) float64 // of the hour that begins
	agents map[who]*counts
	passed map[who]int // events of attacks
	found  alarms
}

// counts is what a baseline knows of an agent.
type counts struct {
	hours, mean, m2 float64
	hour            schemas.Millis
	count, limit    float64
	quiet           schemas.Millis // no new alert before
}

// newEWMA keeps an exponentially weighted mean of the hourly count. It alerts when a
// count is too rare for a Poisson distribution with that mean.
func newEWMA(perAgentDay float64) *baseline {
	return &baseline{
		name: "ewma", agents: map[who]*counts{}, passed: map[who]int{}, found: alarms{},
		learn: func(a *counts) {
			a.mean += math.Max(1/a.hours, 1-math.Exp2(-1/ewmaHalfLife)) * (a.count - a.mean)
		},
		limit: func(a *counts) float64 {
			dist := distuv.Poisson{Lambda: math.Max(a.mean, .01)}
			k := math.Floor(dist.Lambda)
			for dist.Survival(k) >= perAgentDay/24 {
				k++
			}
			return k
		},
	}
}

// newZScore keeps mean and standard deviation of the hourly count, and alerts at so
// many deviations.
func newZScore(perAgentDay float64) *baseline {
	deviations := distuv.UnitNormal.Quantile(1 - perAgentDay/24)
	return &baseline{
		name: "z", agents: map[who]*counts{}, passed: map[who]int{}, found: alarms{},
		learn: func(a *counts) {
			d := a.count - a.mean
			a.mean += d / a.hours
			a.m2 += d * (a.count - a.mean)
		},
		limit: func(a *counts) float64 { return a.mean + deviations*math.Max(math.Sqrt(a.m2/a.hours), 1) },
	}
}

// see counts an event and notes an alert where one opens.
func (b *baseline) see(id who, at schemas.Millis, attack bool) {
	if attack {
		b.passed[id]++
	}
	a := b.agents[id]
	if a == nil {
		a = &counts{hour: at / hour}
		b.agents[id] = a
	}
	for a.hour < at/hour {
		a.hours++
		b.learn(a)
		a.hour++
		a.count = 0
	}
	if a.count == 0 {
		if a.limit = math.Inf(1); a.hours >= warmUp {
			a.limit = b.limit(a)
		}
	}
	if a.count++; a.count <= a.limit {
		return
	}
	if at >= a.quiet {
		b.found[id] = append(b.found[id], alarm{at: at, open: true, signal: b.name, attacks: b.passed[id]})
	}
	a.quiet = at + quietTime
}
