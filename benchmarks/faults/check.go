package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"
	"github.com/plumbline-sec/plumbline/pipeline"
)

// settle is how long the last instance gets to catch up.
const settle = 90 * time.Second

// check lets one instance catch up, and compares.
func (w *world) check(ctx context.Context, c faultCase, r *result) {
	r.Sent = len(w.h.ids)
	events, alerts, err := w.expected(ctx)
	if err != nil {
		r.wrong("%v", err)
		return
	}
	alive := false
	for _, i := range w.running {
		alive = alive || i.alive()
	}
	if !alive {
		if _, err := w.start(launch{}); err != nil {
			r.wrong("%v", err)
			return
		}
	}
	if err := w.settled(ctx, events, len(alerts)); err != nil {
		r.wrong("%v", err)
	}
	// A last look after the farewell: nothing may come behind it.
	for _, i := range w.running {
		if i.alive() {
			if err := i.stop(); err != nil {
				r.wrong("%v", err)
			}
		}
	}
	for _, i := range w.running {
		r.PeakMiB = max(r.PeakMiB, i.peak)
	}
	if n, err := w.admitted(); err != nil || n != len(w.lost) {
		r.wrong("%d records were lost, the logs speak of %d (%v)", len(w.lost), n, err)
	}
	w.stored(ctx, events, len(alerts), r)
	w.alerted(ctx, c, alerts, r)
	state, behind, err := w.state(ctx)
	switch {
	case err != nil:
		r.wrong("state: %v", err)
	case behind != 0:
		r.wrong("the state is %d records behind after a stop", behind)
	case c.name == undisturbed:
		w.h.state = state
	case len(w.lost) == 0 && w.alerts == nil && w.h.state != "" && state != w.h.state:
		r.wrong("the state differs from that of the undisturbed run")
	}
	r.State = state
}

// settled waits until all events and alerts are stored, and everything is in a
// checkpoint.
func (w *world) settled(ctx context.Context, events, alerts int) error {
	deadline := time.Now().Add(settle)
	var last error
	for time.Now().Before(deadline) && ctx.Err() == nil {
		var n, k int
		_, n, last = w.count(ctx, "activity", "event_id")
		if last == nil {
			_, k, last = w.count(ctx, "alerts", "alert_id")
		}
		switch {
		case last != nil:
		case n < events || k < alerts:
			last = fmt.Errorf("%d of %d events and %d of %d alerts stored", n, events, k, alerts)
		default:
			_, behind, err := w.state(ctx)
			if err == nil && behind == 0 {
				return nil
			}
			last = errors.Join(err, fmt.Errorf("%d records behind", behind))
		}
		pause(ctx, 300*time.Millisecond)
	}
	return fmt.Errorf("did not catch up within %s: %w", settle, last)
}

// state returns the fingerprints of all partitions, and how far they are behind.
func (w *world) state(ctx context.Context) (state string, behind int64, err error) {
	out, err := w.command(ctx, "state", "show", "--config", w.config, "--output", "json")
	if err != nil {
		return "", 0, err
	}
	var rows []struct {
		State  string `json:"state"`
		Behind int64  `json:"behind"`
		Error  string `json:"error"`
	}
	if err := json.Unmarshal(out, &rows); err != nil {
		return "", 0, fmt.Errorf("%w in %q", err, out)
	}
	var all []string
	for _, p := range rows {
		if p.Error != "" {
			return "", 0, errors.New(p.Error)
		}
		all = append(all, p.State[:min(6, len(p.State))])
		behind += p.Behind
	}
	return strings.Join(all, "-"), behind, nil
}

// stored compares what the views show with what was sent. With a second database only
// ids count: what was not committed when its partition moved stands in both.
func (w *world) stored(ctx context.Context, events, alerts int, r *result) {
	count := func(view, id string, want int) int {
		rows, ids, err := w.count(ctx, view, id)
		switch {
		case err != nil:
			r.wrong("%v", err)
		case ids != want || w.other == "" && rows != ids:
			r.wrong("%d rows with %d ids under the view %s, %d expected", rows, ids, view, want)
		}
		return ids
	}
	r.Stored = count("activity", "event_id", events)
	count("alerts", "alert_id", alerts)
}

// published counts the alert ids in a topic; each, where set, is told of every alert.
func (w *world) published(ctx context.Context, topic string, each func(id string, value []byte)) (map[string]int, error) {
	seen := make(map[string]int)
	for p := range int32(partitions) {
		err := stack.Read(ctx, w.client, pipeline.TopicPartition{Topic: topic, Partition: p}, 0, func(rec *pipeline.Record) error {
			for _, h := range rec.Headers {
				if h.Key == pipeline.HeaderAlertID {
					seen[string(h.Value)]++
					if each != nil {
						each(string(h.Value), rec.Value)
					}
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return seen, nil
}

// alerted compares the alert topics with what replay says.
func (w *world) alerted(ctx context.Context, c faultCase, expected map[string]bool, r *result) {
	for _, topic := range []string{pipeline.TopicAlerts, "siem.ocsf"} {
		other := 0
		seen, err := w.published(ctx, topic, func(id string, value []byte) {
			if want, ok := w.values[id]; ok && topic == pipeline.TopicAlerts && string(value) != want {
				other++
			}
		})
		if err != nil {
			r.wrong("read %s: %v", topic, err)
			return
		}
		if other > 0 {
			r.wrong("%s: %d alerts are not as replay writes them", topic, other)
		}
		missing, foreign, doubled := 0, 0, 0
		for id := range expected {
			if seen[id] == 0 {
				missing++
			}
		}
		for id, n := range seen {
			if !expected[id] {
				foreign++
			}
			doubled += n - 1
		}
		if topic == pipeline.TopicAlerts {
			r.Alerts = len(seen)
		}
		r.Doubled += doubled
		if missing+foreign > 0 {
			r.wrong("%s: %d alerts are missing, %d are none that replay gives", topic, missing, foreign)
		}
		if doubled > 0 && !c.mayDouble {
			r.wrong("%s: %d alerts stand twice", topic, doubled)
		}
	}
}
