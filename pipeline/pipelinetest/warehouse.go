package pipelinetest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// WindowKey is the identity of a window in storage.
type WindowKey struct {
	TenantID, AgentID string
	Start             schemas.Millis
	Seconds           int64
}

// Warehouse is a pipeline.Warehouse in memory. It stores a row once however often
// it is inserted: events by origin, alerts by id, windows by agent and hour; the
// last insert of a row is what it holds.
type Warehouse struct {
	mu       sync.Mutex
	activity map[schemas.Origin]pipeline.ActivityRow
	alerts   map[string]pipeline.AlertRow
	windows  map[WindowKey]pipeline.WindowRow
	inserted map[string]int
	before   func(ctx context.Context, table string, rows int) error
	after    func(ctx context.Context, table string, rows int) error
}

var _ pipeline.Warehouse = (*Warehouse)(nil)

// NewWarehouse returns an empty warehouse.
func NewWarehouse() *Warehouse {
	return &Warehouse{
		activity: make(map[schemas.Origin]pipeline.ActivityRow),
		alerts:   make(map[string]pipeline.AlertRow),
		windows:  make(map[WindowKey]pipeline.WindowRow),
		inserted: make(map[string]int),
	}
}

// SetHooks sets what is asked before and after each insert; a nil hook agrees. An
// error before leaves nothing stored, an error after leaves all stored, as a lost
// acknowledgement does. Tables are activity, alerts and windows.
func (w *Warehouse) SetHooks(before, after func(ctx context.Context, table string, rows int) error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.before, w.after = before, after
}

func (w *Warehouse) insert(ctx context.Context, table string, rows int, store func()) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w.mu.Lock()
	before, after := w.before, w.after
	w.mu.Unlock()
	if before != nil {
		if err := before(ctx, table, rows); err != nil {
			return err
		}
	}
	w.mu.Lock()
	store()
	w.inserted[table] += rows
	w.mu.Unlock()
	if after != nil {
		return after(ctx, table, rows)
	}
	return nil
}

// InsertActivity implements pipeline.Warehouse.
func (w *Warehouse) InsertActivity(ctx context.Context, rows []pipeline.ActivityRow) error {
	return w.insert(ctx, "activity", len(rows), func() {
		for _, r := range rows {
			// The caller decodes the next event into the same slices.
			r.Event.Resources = slices.Clone(r.Event.Resources)
			r.Event.Attributes = slices.Clone(r.Event.Attributes)
			r.Event.Flags.FieldsInvalid = slices.Clone(r.Event.Flags.FieldsInvalid)
			w.activity[r.Origin] = r
		}
	})
}

// InsertAlerts implements pipeline.Warehouse.
func (w *Warehouse) InsertAlerts(ctx context.Context, rows []pipeline.AlertRow) error {
	return w.insert(ctx, "alerts", len(rows), func() {
		for _, r := range rows {
			r.JSON = slices.Clone(r.JSON)
			w.alerts[r.Alert.AlertID] = r
		}
	})
}

// InsertWindows implements pipeline.Warehouse.
func (w *Warehouse) InsertWindows(ctx context.Context, rows []pipeline.WindowRow) error {
	return w.insert(ctx, "windows", len(rows), func() {
		for _, r := range rows {
			w.windows[WindowKey{r.Window.TenantID, r.Window.AgentID, r.Window.Start, r.Window.Seconds}] = r
		}
	})
}

// Inserted returns how many rows inserts have brought, repeated ones included.
func (w *Warehouse) Inserted(table string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inserted[table]
}

// Activity returns the events, by origin.
func (w *Warehouse) Activity() []pipeline.ActivityRow {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.activity), func(a, b pipeline.ActivityRow) int {
		x, y := a.Origin, b.Origin
		return cmp.Or(strings.Compare(x.Source, y.Source), cmp.Compare(x.Incarnation, y.Incarnation), strings.Compare(x.Topic, y.Topic),
			cmp.Compare(x.Partition, y.Partition), cmp.Compare(x.Offset, y.Offset), cmp.Compare(x.Index, y.Index))
	})
}

// Alerts returns the alerts, by time and id.
func (w *Warehouse) Alerts() []pipeline.AlertRow {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.alerts), func(a, b pipeline.AlertRow) int {
		return cmp.Or(cmp.Compare(a.Alert.Time, b.Alert.Time), strings.Compare(a.Alert.AlertID, b.Alert.AlertID))
	})
}

// Windows returns the windows, by agent and start.
func (w *Warehouse) Windows() []pipeline.WindowRow {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.SortedFunc(maps.Values(w.windows), func(a, b pipeline.WindowRow) int {
		x, y := a.Window, b.Window
		return cmp.Or(strings.Compare(x.TenantID, y.TenantID), strings.Compare(x.AgentID, y.AgentID), cmp.Compare(x.Start, y.Start), cmp.Compare(x.Seconds, y.Seconds))
	})
}
