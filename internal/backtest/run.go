// Package backtest runs several configs side by side over one pass of recorded events, and
// says how their alerts differ.
//
// Invariants:
//  1. Every side sees the same events in the same order, and judges them as the service with
//     its config would, but for the state, which begins empty.
//  2. Memory is bounded by the detectors' own bounds, batches of events, a number an
//     agent-day and MaxEpisodes episodes a side.
//
// It imports the detector and schemas, never an adapter.
package backtest

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
)

// Side is one config.
type Side struct {
	Detector   detector.Config
	Partitions int32 // of plumbline.activity
}

// MaxEpisodes bounds the episodes that are kept of a side.
const MaxEpisodes = 1_000_000

// The size of a batch, and how many there are: the reader may be so far ahead of the slowest side.
const (
	batchEvents = 1024
	batchBytes  = 8 << 20
	batches     = 4
)

// Run is one pass. Its methods are for one goroutine.
type Run struct {
	sides   []*side
	free    chan *batch
	current *batch
	workers sync.WaitGroup

	seed   maphash.Seed
	agents map[uint64]*agentDays
	days   map[int64]int // agents that were active, by UTC day
	perDay map[agentDay]struct{}
	events int64
	latest schemas.Millis
}

type agentDay struct {
	agent uint64
	day   int64
}

// agentDays counts the days on which an agent was active.
type agentDays struct {
	last int64
	days []int64
}

// event is an event that has memory of its own for all but its strings.
type event struct {
	schemas.Activity
	resources  []string
	attributes []schemas.Attribute
	invalid    []string
	arrived    schemas.Millis
	key        []byte

	tick                  schemas.Millis // where it is none but a tick; else 0
	partition, partitions int32          // in which that stands, of so many
}

type batch struct {
	events []event
	n      int
	bytes  int
	left   atomic.Int32 // sides that have not seen it
}

// New starts a pass; Finish ends it, whatever happened.
func New(sides []Side) (*Run, error) {
	r := &Run{
		free: make(chan *batch, batches), seed: maphash.MakeSeed(),
		agents: make(map[uint64]*agentDays), days: make(map[int64]int), perDay: make(map[agentDay]struct{}),
	}
	for i := range sides {
		s := &side{batches: make(chan *batch, batches), open: make(map[string]*Episode)}
		for range sides[i].Partitions {
			d, err := detector.New(sides[i].Detector, s)
			if err != nil {
				return nil, fmt.Errorf("backtest: %w", err)
			}
			s.shards = append(s.shards, d)
		}
		r.sides = append(r.sides, s)
	}
	for range batches {
		r.free <- &batch{events: make([]event, batchEvents)}
	}
	r.current = <-r.free
	for _, s := range r.sides {
		r.workers.Go(func() { s.work(r.free) })
	}
	return r, nil
}

// Add takes an event of a record of that size, which arrived then. It keeps the event's
// strings for a while, and nothing else of it.
func (r *Run) Add(ev *schemas.Activity, arrived schemas.Millis, size int) {
	e := r.next()
	e.tick, e.Activity = 0, *ev
	e.resources = append(e.resources[:0], ev.Resources...)
	e.attributes = append(e.attributes[:0], ev.Attributes...)
	e.invalid = append(e.invalid[:0], ev.Flags.FieldsInvalid...)
	e.Resources, e.Attributes, e.Flags.FieldsInvalid = e.resources, e.attributes, e.invalid
	e.arrived, e.key = arrived, schemas.AppendKey(e.key[:0], ev.TenantID, ev.AgentID)
	r.count(e.key, min(ev.Time, arrived))
	r.took(size)
}

// Tick takes a tick that stands in one of so many partitions of plumbline.activity. A side
// with another number of them has none to which it belongs.
func (r *Run) Tick(at, arrived schemas.Millis, partition, partitions int32) {
	e := r.next()
	e.tick, e.arrived, e.partition, e.partitions = at, arrived, partition, partitions
	e.key = e.key[:0]
	r.took(0)
}

// next is where the next event of the batch belongs.
func (r *Run) next() *event { return &r.current.events[r.current.n] }

// took counts it, and hands on a batch that is full.
func (r *Run) took(size int) {
	b := r.current
	b.n++
	if b.bytes += size; b.n == batchEvents || b.bytes > batchBytes {
		r.hand()
		r.current = <-r.free
	}
}

// hand gives the batch to all sides.
func (r *Run) hand() {
	r.current.left.Store(int32(len(r.sides)))
	for _, s := range r.sides {
		s.batches <- r.current
	}
}

const dayMillis = 24 * 3600 * 1000

func (r *Run) count(key []byte, at schemas.Millis) {
	r.events++
	r.latest = at
	day := int64(at) / dayMillis
	id := maphash.Bytes(r.seed, key)
	a := r.agents[id]
	if a == nil {
		a = &agentDays{last: -1}
		r.agents[id] = a
	}
	if day == a.last {
		return
	}
	a.last = day
	if _, seen := r.perDay[agentDay{id, day}]; !seen {
		r.perDay[agentDay{id, day}] = struct{}{}
		r.days[day]++
		a.days = append(a.days, day)
	}
}

// Events returns how many events were added, and the time of the last one.
func (r *Run) Events() (n int64, latest schemas.Millis) { return r.events, r.latest }

// TooMany reports whether a side has more episodes than are kept: what is said of it would
// be wrong.
func (r *Run) TooMany() bool {
	return slices.ContainsFunc(r.sides, func(s *side) bool { return s.full.Load() })
}

// Finish waits until all sides have seen all events.
func (r *Run) Finish() {
	r.hand()
	for _, s := range r.sides {
		close(s.batches)
	}
	r.workers.Wait()
}

// side is one config at work.
type side struct {
	shards   []*detector.Detector
	batches  chan *batch
	open     map[string]*Episode // by id
	episodes []*Episode
	full     atomic.Bool
}

func (s *side) work(free chan<- *batch) {
	for b := range s.batches {
		for i := range b.events[:b.n] {
			if ahead := i + detector.Lead; ahead < b.n {
				s.shard(&b.events[ahead]).Ahead(b.events[ahead].key)
			}
			e := &b.events[i]
			if e.tick != 0 {
				s.tick(e)
				continue
			}
			d := s.shard(e)
			d.Arrived(e.arrived)
			d.Process(&e.Activity)
		}
		if b.left.Add(-1) == 0 {
			b.forget()
			free <- b
		}
	}
}

func (s *side) tick(e *event) {
	if int(e.partitions) == len(s.shards) {
		d := s.shards[e.partition]
		d.Arrived(e.arrived)
		d.Tick(e.tick)
	}
}

func (s *side) shard(e *event) *detector.Detector {
	if len(s.shards) == 1 {
		return s.shards[0]
	}
	return s.shards[schemas.Partition(e.key, int32(len(s.shards)))]
}

// forget lets go of the records that the strings stand in.
func (b *batch) forget() {
	for i := range b.events[:b.n] {
		e := &b.events[i]
		e.Activity = schemas.Activity{}
		clear(e.resources)
		clear(e.attributes)
		clear(e.invalid)
	}
	b.n, b.bytes = 0, 0
}

// Episode is what is kept of an episode.
type Episode struct {
	ID        string         `json:"episode_id"`
	Kind      string         `json:"kind"`
	Tenant    string         `json:"tenant_id"`
	Agent     string         `json:"agent_id"`
	PeerGroup string         `json:"peer_group"`
	Opened    schemas.Millis `json:"opened"`
	First     schemas.Millis `json:"first_seen"`
	Last      schemas.Millis `json:"last_seen"`
	Alerts    int            `json:"alerts"`
	Severity  string         `json:"severity"` // the highest
	Score     float64        `json:"score"`    // likewise
	Signals   []string       `json:"signals"`  // the one that led when it opened first
	Title     string         `json:"title"`
	Summary   string         `json:"summary"` // of the highest severity
}

// Signal is the one that led when the episode opened.
func (e *Episode) Signal() string {
	if len(e.Signals) == 0 {
		return "none"
	}
	return e.Signals[0]
}

// Alert implements detector.Sink.
func (s *side) Alert(a *schemas.Alert) {
	e := s.open[a.EpisodeID]
	if e == nil {
		if len(s.episodes) == MaxEpisodes {
			s.full.Store(true)
			return
		}
		e = &Episode{
			ID: strings.Clone(a.EpisodeID), Kind: strings.Clone(a.Kind), Tenant: strings.Clone(a.TenantID), Agent: strings.Clone(a.Agent.ID),
			PeerGroup: strings.Clone(a.Agent.PeerGroup), Opened: a.Time, First: a.FirstSeen,
		}
		s.open[e.ID] = e
		s.episodes = append(s.episodes, e)
	}
	e.First, e.Last = min(e.First, a.FirstSeen), max(e.Last, a.LastSeen)
	if a.Status == schemas.StatusClose {
		delete(s.open, a.EpisodeID)
		return
	}
	e.Alerts++
	for i := range a.Signals {
		if name := a.Signals[i].Name; !slices.Contains(e.Signals, name) {
			e.Signals = append(e.Signals, strings.Clone(name))
		}
	}
	e.Score = max(e.Score, a.Score)
	if schemas.Risk(a.Severity) > schemas.Risk(e.Severity) {
		e.Severity, e.Title, e.Summary = a.Severity, strings.Clone(a.Title), strings.Clone(a.Summary)
	}
}

// Window implements detector.Sink.
func (s *side) Window(*schemas.Window) {}
