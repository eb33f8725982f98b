package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"
	"github.com/plumbline-sec/plumbline/benchmarks/internal/stack"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// The config that every instance ends with, and the two that make the checkpoint of the
// change the only one: an instance dies in that one and in no other.
var (
	reloadedConfig = strings.Replace(common, "alerts_per_agent_day: 0.3", "alerts_per_agent_day: 3", 1)
	rarely         = strings.NewReplacer("checkpoint_every: 1s", "checkpoint_every: 10m")
)

// configure rewrites the part of the config that decides about alerts.
func (w *world) configure(from, to string) error {
	text, err := os.ReadFile(w.config)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	line, _, _ := strings.Cut(from, "\n")
	then, _, _ := strings.Cut(to, "\n")
	if !strings.Contains(string(text), line) {
		return fmt.Errorf("config: %s is not in it", line)
	}
	if err := os.WriteFile(w.config, []byte(strings.Replace(string(text), line, then, 1)), 0o600); err != nil { //nolint:gosec // in the case's directory
		return fmt.Errorf("config: %w", err)
	}
	return nil
}

// reload has an instance find its file changed, and die on the way to the new config;
// then another one, which is started with it, at the same place.
func reload(at string) func(context.Context, *world) error {
	return func(ctx context.Context, w *world) error {
		first, err := beginOver(ctx, w, 2*loadTime+4*sessionTimeout(w.h.o), nil)
		if err != nil {
			return err
		}
		pause(ctx, 2*time.Second)
		first.signal(syscall.SIGKILL)
		<-first.ended
		if err := w.configure(common, rarely.Replace(common)); err != nil {
			return err
		}
		i, err := w.start(launch{at: at})
		if err != nil {
			return err
		}
		pause(ctx, 2*sessionTimeout(w.h.o)+time.Second) // it works, in the place of the dead one
		if !i.alive() {
			return errors.New("it died before its config was changed")
		}
		if err := w.configure(rarely.Replace(common), rarely.Replace(reloadedConfig)); err != nil {
			return err
		}
		select {
		case <-i.ended:
		case <-time.After(20 * time.Second):
			return errors.New("its config was changed, and it did not come by for 20 s")
		}
		if i, err = w.start(launch{at: at}); err != nil {
			return err
		}
		select {
		case <-i.ended:
		case <-time.After(2*sessionTimeout(w.h.o) + 3*time.Second): // all had been done
			i.signal(syscall.SIGKILL)
			<-i.ended
		}
		if err := w.configure(rarely.Replace(reloadedConfig), reloadedConfig); err != nil {
			return err
		}
		if _, err := w.start(launch{}); err != nil {
			return err
		}
		if err := w.during(ctx, nap(ctx)); err != nil {
			return err
		}
		return w.replaySwitched(ctx)
	}
}

// replaySwitched asks replay for the alerts of the old config up to where the state says
// that the new one took over, and of the new one from there.
func (w *world) replaySwitched(ctx context.Context) error {
	var rows []struct {
		Partition int32  `json:"partition"`
		Hash      string `json:"config_hash"`
		Since     int64  `json:"config_since"`
	}
	var valid struct {
		Hash string `json:"config_hash"`
	}
	out, err := w.command(ctx, "config", "validate", w.config, "--output", "json")
	if err == nil {
		err = json.Unmarshal(out, &valid)
	}
	for done := false; !done; pause(ctx, 100*time.Millisecond) {
		if err == nil {
			out, err = w.command(ctx, "state", "show", "--config", w.config, "--output", "json")
		}
		if err == nil {
			err = json.Unmarshal(out, &rows)
		}
		if err = errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("where the config changed: %w", err)
		}
		done = true
		for _, r := range rows {
			done = done && r.Hash == valid.Hash
		}
	}
	next := filepath.Join(w.dir, "next.yaml")
	if err := os.WriteFile(next, []byte(reloadedConfig), 0o600); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	var args []string
	for _, r := range rows {
		n, err := w.eventsBefore(ctx, r.Partition, r.Since)
		if err != nil {
			return err
		}
		args = append(args, "--switch-at", fmt.Sprintf("%d:%d=%s", r.Partition, n, next))
	}
	events := filepath.Join(w.h.dir, "events.jsonl")
	if w.alerts, err = w.h.replay(ctx, events, args...); err != nil {
		return err
	}
	w.values = make(map[string]string)
	hashes := make(map[string]int)
	err = bench.EachLine(events+".alerts", func(line []byte) error {
		var a schemas.Alert
		err := json.Unmarshal(line, &a)
		w.values[a.AlertID] = string(line)
		hashes[a.Detector.ConfigHash]++
		return err
	})
	if err == nil && len(hashes) != 2 {
		err = fmt.Errorf("alerts by config: %v: the change shows nothing", hashes)
	}
	return err
}

// eventsBefore counts the events of a partition before an offset; what route wrote twice
// is one.
func (w *world) eventsBefore(ctx context.Context, p int32, offset int64) (int, error) {
	origins := make(map[string]bool)
	err := stack.Read(ctx, w.client, pipeline.TopicPartition{Topic: pipeline.TopicActivity, Partition: p}, 0, func(rec *pipeline.Record) error {
		if rec.Offset < offset && rec.Header(schemas.RecordHeader) == nil {
			origins[string(rec.Header(schemas.OriginHeader))] = true
		}
		return nil
	})
	return len(origins), err
}
