package pipeline

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// Health is what a role knows about itself: whether it is a member of its group
// and whether its reads, writes and inserts succeed.
type Health struct {
	mu       sync.Mutex
	isJoined bool
	failures map[string]failure
	beats    map[TopicPartition]time.Time
	reported time.Time // the last failure: who reports one is alive
}

type failure struct {
	since time.Time
	err   error
}

// NewHealth returns the health of a role that has not joined yet.
func NewHealth() *Health {
	return &Health{failures: make(map[string]failure), beats: make(map[TopicPartition]time.Time)}
}

// Ready returns nil when the role does its work, else why it does not.
func (h *Health) Ready() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	if !h.isJoined {
		errs = append(errs, errors.New("not a member of its consumer group yet"))
	}
	for what, f := range h.failures {
		errs = append(errs, errors.New(what+" fails since "+f.since.UTC().Format(time.RFC3339)+": "+f.err.Error()))
	}
	return errors.Join(errs...)
}

// stuckAfter is how long the handling of one batch may take without a failure
// being reported. The largest batches take seconds.
const stuckAfter = 2 * time.Minute

// Alive returns nil unless a partition is stuck: its goroutine neither finishes a
// batch nor reports a failure that it retries. A restart is then the remedy.
func (h *Health) Alive() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	var errs []error
	for tp, at := range h.beats {
		last := at
		if h.reported.After(at) {
			last = h.reported
		}
		if time.Since(last) > stuckAfter {
			errs = append(errs, fmt.Errorf("%s: stuck since %s", tp, last.UTC().Format(time.RFC3339)))
		}
	}
	return errors.Join(errs...)
}

func (h *Health) beat(tp TopicPartition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beats[tp] = time.Now()
}

func (h *Health) ended(tp TopicPartition) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.beats, tp)
}

func (h *Health) joined() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isJoined = true
}

func (h *Health) left() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.isJoined = false
	clear(h.failures)
}

func (h *Health) failing(what string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, ok := h.failures[what]
	if !ok {
		f.since = time.Now()
	}
	f.err = err
	h.failures[what] = f
	h.reported = time.Now()
}

func (h *Health) working(what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.failures, what)
}
