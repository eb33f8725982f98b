package main

import (
	"fmt"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// spread is what several rounds gave.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

func spreadOf(x []float64) spread {
	if len(x) == 0 {
		return spread{}
	}
	s := slices.Sorted(slices.Values(x))
	m := s[len(s)/2]
	if len(s)%2 == 0 {
		m = (m + s[len(s)/2-1]) / 2
	}
	return spread{Median: m, Min: s[0], Max: s[len(s)-1]}
}

// perSecond turns nanoseconds an event into events a second.
func (s spread) perSecond() spread {
	inverse := func(ns float64) float64 {
		if ns <= 0 {
			return 0
		}
		return 1e9 / ns
	}
	return spread{Median: inverse(s.Median), Min: inverse(s.Max), Max: inverse(s.Min)}
}

// speed is one stage on one core.
type speed struct {
	Name string `json:"name"`
	What string `json:"what"`
	Unit string `json:"unit"` // event, alert

	CPUNanos  spread  `json:"cpu_ns"` // of one unit
	MeanNanos float64 `json:"mean_cpu_ns"`
	// Uneven: some rounds have work that others have not (the turn of an hour), so
	// that the mean of all is what counts and not the median.
	Uneven    bool    `json:"uneven,omitempty"`
	PerSecond spread  `json:"per_second_per_core"`
	Allocs    float64 `json:"allocs"` // of one unit
	Bytes     float64 `json:"alloc_bytes"`

	// The decoding of the same bytes alone, in the same rounds, and how much of
	// its rate the stage reaches; zero where nothing is decoded.
	DecodeNanos   spread `json:"decode_only_cpu_ns"`
	ShareOfDecode spread `json:"share_of_decode_only_rate"`

	Rounds int `json:"rounds"`
	Units  int `json:"units_per_round"`
	// GCs is the number of collections that ended within the rounds; GCNanos is
	// what a unit would cost more if they came too rarely to show (see amortised).
	GCs     uint32  `json:"collections"`
	GCNanos float64 `json:"amortised_gc_ns,omitempty"`
}

// nanos is the CPU time of a unit that counts: collections that did not happen to
// fall into the rounds are paid for.
func (s *speed) nanos() float64 {
	if s.Uneven {
		return s.MeanNanos + s.GCNanos
	}
	return s.CPUNanos.Median + s.GCNanos
}

// rate is how many units a core does in a second.
func (s *speed) rate() float64 {
	if s.nanos() <= 0 {
		return 0
	}
	return 1e9 / s.nanos()
}

// cost is what a stretch of work took.
type cost struct {
	cpu           time.Duration
	allocs, bytes uint64
	gcs           uint32
}

// measure runs work and returns what it took of this process.
func measure(work func() error) (cost, error) {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	start := cpuTime()
	err := work()
	used := cpuTime() - start
	runtime.ReadMemStats(&after)
	return cost{
		cpu: used, allocs: after.Mallocs - before.Mallocs, bytes: after.TotalAlloc - before.TotalAlloc,
		gcs: after.NumGC - before.NumGC,
	}, err
}

// cpuTime is the CPU time of this process so far, user and system.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(fmt.Sprintf("getrusage of oneself: %v", err)) // it has no way to fail
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rounds collects the rounds of a stage.
type rounds struct {
	ns, limit, share, allocs, bytes []float64
	gcs                             uint32
	units                           int
}

// measure takes one round of work on n units, beside decoding alone.
func (r *rounds) measure(n int, decoding, work func() error) error {
	limit, err := measure(decoding)
	if err != nil {
		return err
	}
	used, err := measure(work)
	if err == nil {
		r.add(n, used, limit)
	}
	return err
}

// add takes one round; limit is what decoding alone took, zero cost for none.
func (r *rounds) add(units int, work, limit cost) {
	n := float64(units)
	r.units = units
	r.ns = append(r.ns, float64(work.cpu)/n)
	r.allocs = append(r.allocs, float64(work.allocs)/n)
	r.bytes = append(r.bytes, float64(work.bytes)/n)
	r.gcs += work.gcs
	if limit.cpu > 0 && work.cpu > 0 {
		r.limit = append(r.limit, float64(limit.cpu)/n)
		r.share = append(r.share, float64(limit.cpu)/float64(work.cpu))
	}
}

func (r *rounds) speed(name, unit, what string) speed {
	s := speed{
		Name: name, What: what, Unit: unit, CPUNanos: spreadOf(r.ns), Allocs: spreadOf(r.allocs).Median, Bytes: spreadOf(r.bytes).Median,
		DecodeNanos: spreadOf(r.limit), ShareOfDecode: spreadOf(r.share), Rounds: len(r.ns), Units: r.units, GCs: r.gcs,
	}
	s.PerSecond = s.CPUNanos.perSecond()
	for _, ns := range r.ns {
		s.MeanNanos += ns / float64(len(r.ns))
	}
	return s
}

// heapNow is the live heap after two collections, and what one collection takes.
func heapNow() (live uint64, collection time.Duration) {
	runtime.GC()
	start := cpuTime()
	runtime.GC()
	collection = cpuTime() - start
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc, collection
}

// onOneCore runs f with one thread for Go code.
func onOneCore(f func() error) error {
	before := runtime.GOMAXPROCS(1)
	defer runtime.GOMAXPROCS(before)
	return f()
}
