package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// fleetSize is one size at which detection is measured.
type fleetSize struct {
	agents int           // in the detector, about
	warm   int           // events before anything is measured
	events int           // of all rounds together: whole hours of the fleet
	rate   float64       // of the agents, relative to the ordinary
	mix    simulator.Mix // zero: the ordinary
}

// footprint is the memory of one detector.
type footprint struct {
	Agents         int     `json:"agents"`
	EventsPerAgent float64 `json:"events_per_agent"`
	HeapBytes      float64 `json:"heap_bytes_per_agent"`
	StatedBytes    float64 `json:"stated_bytes_per_agent"` // Stats().StateBytes
}

// restoring is what writing and restoring the state of a whole detector costs.
type restoring struct {
	Agents        int     `json:"agents"`
	BytesPerAgent float64 `json:"state_bytes_per_agent"`
	WriteSeconds  float64 `json:"write_cpu_seconds"`
	ReadSeconds   float64 `json:"restore_cpu_seconds"`
}

// counter is a sink that counts.
type counter struct{ alerts, windows int }

// Alert implements detector.Sink.
func (c *counter) Alert(*schemas.Alert) { c.alerts++ }

// Window implements detector.Sink.
func (c *counter) Window(*schemas.Window) { c.windows++ }

func (b *runner) detect(ctx context.Context) error {
	for _, size := range b.scale.fleets {
		if err := onOneCore(func() error { return b.detectAt(ctx, size) }); err != nil {
			return fmt.Errorf("%d agents: %w", size.agents, err)
		}
	}
	return b.detectRole(ctx)
}

// arena is one detector under measurement.
type arena struct {
	b    *runner
	size fleetSize
	feed *feed
	c    *corpus
	d    *detector.Detector
	dec  decode.Decoder
	sink counter
	base uint64 // heap before there was a detector
	name string
}

// chunk is how many events are read at once outside of the rounds.
const chunk = 200_000

// detectAt measures a fleet of one size. A quarter more agents are simulated than
// are counted: the rarest do not act in that time.
func (b *runner) detectAt(ctx context.Context, size fleetSize) error {
	a := &arena{b: b, size: size, dec: decode.NewCanonical(), name: thousands(size.agents) + " agents"}
	fleet := simulator.Options{Agents: size.agents + size.agents/4, Days: 28, Seed: 11, Rate: size.rate, Mix: size.mix}
	b.progress("detect: %s: building the fleet", a.name)
	var err error
	if a.feed, err = startFeed(ctx, b.exe, feedOptions{Fleet: fleet, Canonical: true}); err != nil {
		return err
	}
	defer a.feed.stop()
	if a.c, err = newCorpus(max(chunk, size.events/b.rounds)); err != nil {
		return err
	}
	defer a.c.free()
	a.base, _ = heapNow()
	if a.d, err = detector.New(detector.DefaultConfig(), &a.sink); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{a.warmUp, a.rounds, a.profile, a.state} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// pass is what is measured: every event of the corpus decoded and processed, as the
// role does it.
func (a *arena) pass() error {
	ahead := detector.Lead
	return a.c.decodeAll(a.dec, func(ev *schemas.Activity) {
		if ahead < a.c.len() {
			a.d.Ahead(a.c.key(ahead))
		}
		ahead++
		a.d.Process(ev)
	})
}

// warmUp lets the detector learn, and weighs it on the way.
func (a *arena) warmUp(context.Context) error {
	for done, weighed := 0, 0; done < a.size.warm; {
		if err := a.c.fill(a.feed, min(chunk, a.size.warm-done)); err != nil {
			return err
		}
		if err := a.pass(); err != nil {
			return err
		}
		done += a.c.len()
		a.b.progress("detect: %s: %s events learned, %s agents known", a.name, thousands(done), thousands(a.d.Stats().Agents))
		if done*4 >= a.size.warm*(weighed+1) {
			a.weigh()
			weighed = done * 4 / a.size.warm
		}
	}
	return nil
}

func (a *arena) weigh() (collection time.Duration, live float64) {
	heap, collection := heapNow()
	s := a.d.Stats()
	live = float64(heap) - float64(a.base)
	n := float64(s.Agents)
	a.b.page.Memory = append(a.b.page.Memory, footprint{
		Agents: s.Agents, EventsPerAgent: float64(a.feed.read) / n, HeapBytes: live / n, StatedBytes: float64(s.StateBytes) / n,
	})
	return collection, live
}

func (a *arena) rounds(context.Context) error {
	var r rounds
	before, sink := a.feed.read, a.sink
	for i := range a.b.rounds {
		a.b.progress("detect: %s: round %d of %d", a.name, i+1, a.b.rounds)
		if err := a.c.fill(a.feed, a.size.events/a.b.rounds); err != nil {
			return err
		}
		if err := r.measure(a.c.len(), func() error { return a.c.decodeAll(a.dec, nil) }, a.pass); err != nil {
			return err
		}
	}
	n, events := a.d.Stats().Agents, float64(a.feed.read-before)
	speed := r.speed("decode + detect, "+a.name, "event", fmt.Sprintf(
		"canonical form; %s agents known, with %.1f events each before; %.1f events for each window that closed and %s for each alert",
		thousands(n), float64(before)/float64(n), events/float64(max(1, a.sink.windows-sink.windows)), thousands(int(events)/max(1, a.sink.alerts-sink.alerts))))
	collection, live := a.weigh()
	speed.Uneven = true
	if speed.GCs == 0 {
		speed.GCNanos = amortised(collection, live, speed.Bytes)
	}
	a.b.page.add(speed)
	return nil
}

// amortised is what collections cost an event where one came too rarely to fall
// into a round: with GOGC=100 the next one comes when as much again as is live has
// been allocated.
func amortised(collection time.Duration, live, bytesPerEvent float64) float64 {
	if live <= 0 || bytesPerEvent <= 0 {
		return 0
	}
	return float64(collection) / (live / bytesPerEvent)
}

// enoughToProfile is the least CPU time under the profiler, which looks every 10 ms.
const enoughToProfile = time.Second

// profile is another few rounds under the CPU profiler.
func (a *arena) profile(ctx context.Context) error {
	path := filepath.Join(a.b.keep, fmt.Sprintf("detect-%d.pprof", a.size.agents))
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	defer f.Close() //nolint:errcheck // a short profile does not parse
	if err := pprof.StartCPUProfile(f); err != nil {
		return fmt.Errorf("profile: %w", err)
	}
	for start, i := cpuTime(), 0; i < 2 || cpuTime()-start < enoughToProfile; i++ {
		if err = a.c.fill(a.feed, a.size.events/a.b.rounds); err == nil {
			err = a.pass()
		}
		if err != nil {
			break
		}
	}
	pprof.StopCPUProfile()
	if err != nil {
		return err
	}
	return a.b.page.addProfile(ctx, "decode + detect, "+a.name, path, `\(\*arena\)\.pass$`)
}

// state measures writing and restoring the state, from memory to memory.
func (a *arena) state(context.Context) error {
	a.b.progress("detect: %s: state written and restored", a.name)
	agents := a.d.Stats().Agents
	var w written
	write, _ := measure(func() error {
		a.d.BeginCut(&w, func(string, string) bool { return true })
		a.d.ContinueCut(agents)
		return nil
	})
	a.d = nil
	runtime.GC()
	var back *detector.Detector
	read, err := measure(func() error {
		var err error
		back, err = detector.RestoreCuts(detector.DefaultConfig(), &a.sink, w.partition, slices.Values(w.agents))
		return err
	})
	if err != nil {
		return err
	}
	if n := back.Stats().Agents; n != agents {
		return fmt.Errorf("restore: %d of %d agents came back", n, agents)
	}
	size := len(w.partition)
	for _, record := range w.agents {
		size += len(record)
	}
	a.b.page.Restores = append(a.b.page.Restores, restoring{
		Agents: agents, BytesPerAgent: float64(size) / float64(agents),
		WriteSeconds: write.cpu.Seconds(), ReadSeconds: read.cpu.Seconds(),
	})
	return nil
}

// written keeps the records of a cut.
type written struct {
	partition []byte
	agents    [][]byte
}

// Partition implements detector.CutSink.
func (w *written) Partition(record []byte) { w.partition = bytes.Clone(record) }

// Gone implements detector.CutSink.
func (w *written) Gone(string, string) {}

// Agent implements detector.CutSink.
func (w *written) Agent(record []byte) { w.agents = append(w.agents, bytes.Clone(record)) }
