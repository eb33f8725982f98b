package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"github.com/plumbline-sec/plumbline/benchmarks/internal/bench"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/decode"
)

// dojo is how well sessions of real agents that were hijacked stand out.
type dojo struct {
	Hijacked, Benign, Resisted int
	AUC, AUCResisted           float64
	At1, At5                   int            // hijacked sessions above 1 % and 5 % of the benign ones
	Alerted                    map[string]int // sessions with an alert, by label
}

// sessions is a sink that notes which sessions alerts are about.
type sessions map[string]bool

func (s sessions) Alert(a *schemas.Alert) {
	if a.Status != schemas.StatusClose {
		s[a.SessionID] = true
	}
}

func (s sessions) Window(*schemas.Window) {}

// checkDojo says what a directory of AgentDojo's traces must hold, where it does not.
func checkDojo(dir string) error {
	for _, name := range []string{"labels.jsonl", "train.jsonl", "test-*.jsonl"} {
		if found, err := filepath.Glob(filepath.Join(dir, name)); err != nil || len(found) == 0 {
			return fmt.Errorf("no %s in %s: it must hold train.jsonl and test-MODEL.jsonl, events a line, and labels.jsonl, a session_id with its label "+
				"(hijacked, benign or resisted) a line: %w", name, dir, errors.Join(err, os.ErrNotExist))
		}
	}
	return nil
}

// runDojo runs AgentDojo's traces: those to learn from, then each test model alone.
// A session's score is its events' highest surprise.
func runDojo(dir string, cfg detector.Config) (*dojo, error) {
	if err := checkDojo(dir); err != nil {
		return nil, err
	}
	labels := map[string]string{}
	err := bench.EachLine(filepath.Join(dir, "labels.jsonl"), func(b []byte) error {
		var l struct {
			Session string `json:"session_id"`
			Label   string `json:"label"`
		}
		err := json.Unmarshal(b, &l)
		labels[l.Session] = l.Label
		return err //nolint:wrapcheck // EachLine says where
	})
	if err != nil {
		return nil, err
	}
	tests, err := filepath.Glob(filepath.Join(dir, "test-*.jsonl"))
	if err != nil {
		return nil, fmt.Errorf("traces: %w", err)
	}
	best, alerted := map[string]float64{}, map[string]int{}
	for _, test := range tests {
		seen := sessions{}
		d, err := detector.New(cfg, seen)
		if err != nil {
			return nil, err //nolint:wrapcheck // it says what
		}
		dec := decode.NewActivity()
		for _, file := range []string{filepath.Join(dir, "train.jsonl"), test} {
			err := bench.EachLine(file, func(b []byte) error {
				dec.Decode(&decode.Record{Value: b}, func(_ int32, ev *schemas.Activity, refused *decode.Refusal) {
					if refused != nil {
						return
					}
					v := d.Process(ev)
					if _, ok := labels[ev.SessionID]; ok && file == test {
						old, seen := best[ev.SessionID]
						if !seen {
							old = math.Inf(-1)
						}
						best[string([]byte(ev.SessionID))] = math.Max(old, v.Surprise)
					}
				})
				return nil
			})
			if err != nil {
				return nil, err
			}
		}
		for s := range seen {
			if l := labels[s]; l != "" {
				alerted[l]++
			}
		}
	}
	by := map[string][]float64{}
	for session, s := range best {
		by[labels[session]] = append(by[labels[session]], s)
	}
	hijacked, benign := by["hijacked"], by["benign"]
	return &dojo{
		Hijacked: len(hijacked), Benign: len(benign), Resisted: len(by["resisted"]),
		AUC: auc(hijacked, benign), AUCResisted: auc(hijacked, by["resisted"]),
		Alerted: alerted,
		At1:     above(hijacked, benign, 0.01), At5: above(hijacked, benign, 0.05),
	}, nil
}

// auc is the chance that a positive scores above a negative, ties half.
func auc(pos, neg []float64) float64 {
	sum := 0.0
	for _, p := range pos {
		for _, n := range neg {
			switch {
			case p > n:
				sum++
			case p == n:
				sum += 0.5
			}
		}
	}
	return sum / float64(len(pos)*len(neg))
}

// above counts the positives above the level that a share of the negatives reaches;
// ties count against the detector.
func above(pos, neg []float64, share float64) int {
	sorted := slices.Sorted(slices.Values(neg))
	slices.Reverse(sorted)
	level, n := sorted[int(share*float64(len(neg)))], 0
	for _, p := range pos {
		if p > level {
			n++
		}
	}
	return n
}
