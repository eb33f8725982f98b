package app

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
)

// alarm reports whether somebody, a query or a merge, has met corrupt data since the
// last look, so that it is worth to look for it at once. A part that the server names
// comes first.
func (w *warehouse) alarm(ctx context.Context) bool {
	n, names, err := w.db.CorruptErrors(ctx)
	if err != nil {
		w.mayNot("errors", err)
		return false
	}
	rose := w.counted && n > w.errors // the errors from before the start are not of now
	w.errors, w.counted = n, true
	if !rose || w.readable() != nil || time.Since(w.alarmed) < alarmEvery {
		return false // a part that is known to be broken makes errors for as long as it is there
	}
	w.alarmed = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for key, p := range w.parts {
		p.next, p.whole = 0, p.Modified
		if slices.Contains(names, key.name) {
			p.whole = time.Time{}
		}
	}
	return true
}

// readBack reads rows of the parts that are due, those that waited longest first, and
// the broken ones again: they may be well again, or gone.
func (w *warehouse) readBack(ctx context.Context, budget uint64) {
	parts, err := w.db.Parts(ctx)
	if err != nil {
		w.mayNot("parts", err)
		return
	}
	for _, p := range w.due(parts) {
		for p.next < p.Rows && budget > 0 {
			// In blocks of a granule: no row is read twice.
			to := min(p.Rows, p.next+max(budget/8192, 1)*8192)
			err := w.db.ReadPart(ctx, p.Part, p.next, to)
			if err != nil && !clickhouse.IsCorrupt(err) {
				w.mayNot("parts", err)
				return // the server is away or busy; it goes on from here
			}
			if w.found(p, to, err); err != nil {
				budget -= min(budget, 8192) // many broken parts are a load too
				break
			}
			budget -= min(budget, to-p.next)
			w.read.Add(float64(to - p.next))
			w.reached(p, to)
		}
	}
	// What was met here is no reason for an alarm.
	if n, _, err := w.db.CorruptErrors(ctx); err == nil {
		w.errors = n
	}
}

// due brings the parts up to date with what is there and returns those to read, in
// order.
func (w *warehouse) due(parts []clickhouse.Part) []*partState {
	w.mu.Lock()
	defer w.mu.Unlock()
	there := make(map[partKey]bool, len(parts))
	var out []*partState
	for _, part := range parts {
		key := partKey{part.Table, part.Name}
		there[key] = true
		p := w.parts[key]
		if p == nil {
			p = &partState{Part: part, whole: part.Modified}
			w.parts[key] = p
		}
		if p.next >= p.Rows && time.Since(p.whole) > readAgain {
			p.next = 0
		}
		if p.next < p.Rows {
			out = append(out, p)
		}
	}
	for key, p := range w.parts {
		if !there[key] {
			if p.err != nil {
				w.logger.Info().Str("table", p.Table).Str("part", p.Name).Msg("the part that could not be read is gone")
				w.broken.WithLabelValues(p.Table).Dec()
			}
			delete(w.parts, key)
		}
	}
	slices.SortFunc(out, func(a, b *partState) int {
		first := func(p *partState) int {
			if p.err != nil {
				return 0
			}
			return 1
		}
		return cmp.Or(cmp.Compare(first(a), first(b)), a.whole.Compare(b.whole), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// found notes what reading a piece of a part came to, and says it when that changed.
func (w *warehouse) found(p *partState, to uint64, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case err != nil && p.err == nil:
		p.since = time.Now()
		w.broken.WithLabelValues(p.Table).Inc()
		w.logger.Error().Err(err).Str("table", p.Table).Str("part", p.Name).Uint64("rows", p.Rows).
			Msg("a part can't be read, queries over it fail: " + w.advice(p))
		p.err = err
	case err != nil:
		p.err = err
	case p.err != nil && to >= p.Rows:
		w.broken.WithLabelValues(p.Table).Dec()
		w.logger.Info().Str("table", p.Table).Str("part", p.Name).Msg("the part that could not be read can be read again")
		p.err = nil
	}
}

// reached notes how far a part was read.
func (w *warehouse) reached(p *partState, to uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.next = to
	if to >= p.Rows {
		p.whole = time.Now()
	}
}
