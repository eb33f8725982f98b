package pipelinetest

import (
	"context"
	"sync"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

// windowKey is the identity of a window in storage.
type windowKey struct {
	tenantID, agentID string
	start             schemas.Millis
	seconds           int64
}

// Warehouse is a pipeline.Warehouse in memory. It stores a row once however often
// it is inserted: events by origin, alerts by id, windows by agent and hour.
type Warehouse struct {
	mu            sync.Mutex
	activity      map[schemas.Origin]bool
	registrations map[schemas.Origin]bool
	alerts        map[string]bool
	windows       map[windowKey]bool
	inserted      map[string]int
	before        func(ctx context.Context, table string, rows int) error
	after         func(ctx context.Context, table string, rows int) error
}

var _ pipeline.Warehouse = (*Warehouse)(nil)

// NewWarehouse returns an empty warehouse.
func NewWarehouse() *Warehouse {
	return &Warehouse{
		activity:      make(map[schemas.Origin]bool),
		registrations: make(map[schemas.Origin]bool),
		alerts:        make(map[string]bool),
		windows:       make(map[windowKey]bool),
		inserted:      make(map[string]int),
	}
}

// SetHooks sets what is asked before and after each insert; a nil hook agrees. An
// error before leaves nothing stored, an error after leaves all stored, as a lost
// acknowledgement does. Tables are activity, registrations, alerts and windows.
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
			w.activity[r.Origin] = true
		}
	})
}

// InsertRegistrations implements pipeline.Warehouse.
func (w *Warehouse) InsertRegistrations(ctx context.Context, rows []pipeline.RegistrationRow) error {
	return w.insert(ctx, "registrations", len(rows), func() {
		for _, r := range rows {
			w.registrations[r.Origin] = true
		}
	})
}

// InsertAlerts implements pipeline.Warehouse.
func (w *Warehouse) InsertAlerts(ctx context.Context, rows []pipeline.AlertRow) error {
	return w.insert(ctx, "alerts", len(rows), func() {
		for _, r := range rows {
			w.alerts[r.Alert.AlertID] = true
		}
	})
}

// InsertWindows implements pipeline.Warehouse.
func (w *Warehouse) InsertWindows(ctx context.Context, rows []pipeline.WindowRow) error {
	return w.insert(ctx, "windows", len(rows), func() {
		for _, r := range rows {
			w.windows[windowKey{r.Window.TenantID, r.Window.AgentID, r.Window.Start, r.Window.Seconds}] = true
		}
	})
}

// Inserted returns how many rows inserts have brought, repeated ones included.
func (w *Warehouse) Inserted(table string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inserted[table]
}

// Stored returns how many rows there are of a table.
func (w *Warehouse) Stored(table string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return map[string]int{"activity": len(w.activity), "registrations": len(w.registrations), "alerts": len(w.alerts), "windows": len(w.windows)}[table]
}
