package main

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/plumbline-sec/plumbline/schemas"
)

// zscore is the other thing that is usually built first: mean and standard deviation
// of an agent's hourly counts, and an alert at so many deviations. It is here to be
// compared with.
type zscore struct {
	deviations float64
	agents     map[who]*zAgent
	passed     map[who]int
}

type zAgent struct {
	n, mean, m2 float64
	hour        schemas.Millis
	count       float64
	quiet       schemas.Millis
}

func newZScore(perAgentDay float64) *zscore {
	return &zscore{deviations: distuv.UnitNormal.Quantile(1 - perAgentDay/24), agents: map[who]*zAgent{}, passed: map[who]int{}}
}

// see counts an event and reports whether an alert opens.
func (z *zscore) see(id who, at schemas.Millis) bool {
	a := z.agents[id]
	if a == nil {
		a = &zAgent{hour: at / hour}
		z.agents[id] = a
	}
	for a.hour < at/hour {
		a.n++
		d := a.count - a.mean
		a.mean += d / a.n
		a.m2 += d * (a.count - a.mean)
		a.hour++
		a.count = 0
	}
	a.count++
	if a.n < ewmaWarmUp || a.count <= a.mean+z.deviations*math.Max(math.Sqrt(a.m2/a.n), 1) {
		return false
	}
	opens := at >= a.quiet
	a.quiet = at + ewmaQuiet
	return opens
}
