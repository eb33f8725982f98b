package main

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// ewma is what is usually built first: per agent an exponentially weighted mean
// of the hourly count, and an alert when the count of the open hour is too rare
// for a Poisson distribution with that mean. It is here to be compared with.
type ewma struct {
	threshold float64 // probability per hour
	agents    map[who]*ewmaAgent
	passed    map[who]int
}

type ewmaAgent struct {
	mean, hours float64
	hour        schemas.Millis
	count       int
	limit       int            // counts above it alert
	quiet       schemas.Millis // no new alert before
}

const (
	ewmaHalfLife = 7 * 24.0 // hours
	ewmaWarmUp   = 24.0     // hours
	ewmaQuiet    = 6 * hour
)

func newEWMA(perAgentDay float64) *ewma {
	return &ewma{threshold: perAgentDay / 24, agents: map[who]*ewmaAgent{}, passed: map[who]int{}}
}

// see counts an event and reports whether an alert opens.
func (e *ewma) see(id who, at schemas.Millis) bool {
	a := e.agents[id]
	if a == nil {
		a = &ewmaAgent{hour: at / hour, limit: math.MaxInt}
		e.agents[id] = a
	}
	for a.hour < at/hour {
		a.hours++
		weight := math.Max(1/a.hours, 1-math.Exp2(-1/ewmaHalfLife))
		a.mean += weight * (float64(a.count) - a.mean)
		a.hour++
		a.count = 0
		a.limit = math.MaxInt
	}
	if a.count == 0 && a.hours >= ewmaWarmUp {
		a.limit = poissonLimit(math.Max(a.mean, .01), e.threshold)
	}
	a.count++
	if a.count <= a.limit {
		return false
	}
	opens := at >= a.quiet
	a.quiet = at + ewmaQuiet
	return opens
}

// poissonLimit returns the smallest count whose survival is below p.
func poissonLimit(mean, p float64) int {
	dist := distuv.Poisson{Lambda: mean}
	k := int(mean)
	for dist.Survival(float64(k)) >= p {
		k++
	}
	return k
}
