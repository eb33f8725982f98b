package demo

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/schemas"
)

// watch reads the alert topic as a SIEM would, and shows what comes.
type watch struct {
	client *kafka.Client
	screen *screen

	mu     sync.Mutex
	alerts []schemas.Alert
	opened int64 // episodes
	live   bool
}

func newWatch(client *kafka.Client, s *screen) *watch { return &watch{client: client, screen: s} }

// run reads until ctx ends.
func (w *watch) run(ctx context.Context) {
	tp := pipeline.TopicPartition{Topic: pipeline.TopicAlerts}
	var offset int64
	for ctx.Err() == nil {
		f, err := w.client.Fetch(ctx, tp, offset)
		if err != nil {
			select {
			case <-ctx.Done():
			case <-time.After(200 * time.Millisecond):
			}
			continue
		}
		offset = f.Next
		for i := range f.Records {
			var a schemas.Alert
			if json.Unmarshal(f.Records[i].Value, &a) == nil {
				w.take(&a)
			}
		}
	}
}

func (w *watch) take(a *schemas.Alert) {
	w.mu.Lock()
	w.alerts = append(w.alerts, *a)
	if a.Status == schemas.StatusOpen {
		w.opened++
	}
	live := w.live
	w.mu.Unlock()
	if live {
		w.screen.alert(a)
	}
}

// goLive makes the alerts that come from now on visible.
func (w *watch) goLive() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live = true
}

// count returns how many alerts there are.
func (w *watch) count() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.alerts))
}

// episodes returns how many of them opened one.
func (w *watch) episodes() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.opened
}

func (w *watch) all() []schemas.Alert {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]schemas.Alert(nil), w.alerts...)
}
