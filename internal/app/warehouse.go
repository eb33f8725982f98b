package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/embedded"
	"github.com/plumbline-sec/plumbline/internal/telemetry"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
)

const (
	lookEvery = 30 * time.Second
	// Each look reads back so many rows at most, about half a second of one core; a
	// million rows a day kept for 90 days are read in an hour and a half.
	lookRows = 1 << 19
	// alarmRows are read where an error of corrupt data says that something is there
	// to be found, once in alarmEvery: whoever sends broken requests makes such errors.
	alarmRows  = 8 * lookRows
	alarmEvery = 10 * time.Minute
	// readAgain is when a part that was read is due again: disks age.
	readAgain = 24 * time.Hour
)

// warehouse is what an instance that archives knows about its ClickHouse beyond its
// inserts, which need no old row to be readable and no view to be there.
//
//  1. It changes nothing there: it reads, and says what a person has to do.
//  2. No role waits for it.
//  3. What it reads is bounded, by rows a look.
type warehouse struct {
	db     *clickhouse.DB
	engine embedded.ClickHouse // nil: a server of somebody else
	every  time.Duration
	logger zerolog.Logger

	broken        *prometheus.GaugeVec
	read          prometheus.Counter
	detachedParts *prometheus.GaugeVec
	detachedRows  *prometheus.GaugeVec

	mu     sync.Mutex
	schema error // why inserts or queries can't work, until the next look
	parts  map[partKey]*partState

	// Of the goroutine that looks.
	detached map[partKey]bool // said already
	unseen   map[string]bool  // what the user may not see, said already
	errors   uint64
	counted  bool
	alarmed  time.Time
}

type partKey struct{ table, name string }

// partState is how far a part was read.
type partState struct {
	clickhouse.Part
	next  uint64    // row to read next
	whole time.Time // when it was read to its end
	err   error     // why it can't be read
	since time.Time
}

func newWarehouse(db *clickhouse.DB, engine embedded.ClickHouse, reg prometheus.Registerer, logger zerolog.Logger) *warehouse {
	gauge := func(name, help string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "plumbline", Name: name, Help: help}, []string{"table"})
		reg.MustRegister(g)
		return g
	}
	w := &warehouse{
		db: db, engine: engine, every: lookEvery, logger: logger,
		parts: make(map[partKey]*partState), detached: make(map[partKey]bool), unseen: make(map[string]bool),
		broken:        gauge("warehouse_broken_parts", "Parts of a table that ClickHouse can't read: queries over them fail."),
		detachedParts: gauge("warehouse_detached_parts", "Parts that ClickHouse found broken and set aside: their rows are missing, and no query says so."),
		detachedRows:  gauge("warehouse_detached_rows", "Rows of the parts set aside, as far as they can be told."),
		read: prometheus.NewCounter(prometheus.CounterOpts{
			Namespace: "plumbline", Name: "warehouse_read_back_rows_total", Help: "Stored rows read back to see that they can be.",
		}),
	}
	reg.MustRegister(w.read)
	return w
}

// addChecks makes readiness ask.
func (w *warehouse) addChecks(admin *telemetry.Admin) {
	admin.AddCheck("warehouse", w.answers)
	admin.AddCheck("warehouse_data", func(context.Context) error { return w.readable() })
}

// answers returns nil when ClickHouse runs statements and has our schema.
func (w *warehouse) answers(ctx context.Context) error {
	if w.engine != nil {
		if err := w.engine.Health(); err != nil {
			return err
		}
	}
	if err := w.db.Answers(ctx); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.schema
}

// schemaIs notes whether the schema is as it must be.
func (w *warehouse) schemaIs(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.schema = err
}

// maxNamed bounds how many parts an error names.
const maxNamed = 3

// readable returns nil while no part is known that can't be read.
func (w *warehouse) readable() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var broken []*partState
	for _, p := range w.parts {
		if p.err != nil {
			broken = append(broken, p)
		}
	}
	if len(broken) == 0 {
		return nil
	}
	slices.SortFunc(broken, func(a, b *partState) int { return cmp.Or(a.since.Compare(b.since), cmp.Compare(a.Name, b.Name)) })
	var names []string
	for _, p := range broken[:min(len(broken), maxNamed)] {
		names = append(names, fmt.Sprintf("part %s of %s (%d rows, since %s): %s; %s",
			p.Name, p.Table, p.Rows, p.since.UTC().Format(time.RFC3339), shortened(p.err), w.advice(p)))
	}
	return fmt.Errorf("queries fail over parts that can't be read (%d): %s", len(broken), strings.Join(names, "; "))
}

func (w *warehouse) advice(p *partState) string {
	return fmt.Sprintf("ALTER TABLE %s.%s DETACH PART '%s' sets it aside, docs/operations.md says how its rows come back", w.db.Database(), p.Table, p.Name)
}

// shortened is an error as one clause; the log has all of it.
func shortened(err error) string {
	text := strings.TrimPrefix(err.Error(), "clickhouse: ")
	if len(text) > 240 {
		text = strings.ToValidUTF8(text[:240], "") + "…"
	}
	return text
}

// watch looks every while until the returned function is called.
func (w *warehouse) watch(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var done sync.WaitGroup
	done.Go(func() {
		for ctx.Err() == nil {
			w.look(ctx)
			sleep(ctx, w.every)
		}
	})
	return func() { cancel(); done.Wait() }
}

// look asks for everything once. A server that does not answer is said by others.
func (w *warehouse) look(ctx context.Context) {
	if err := w.db.CheckLost(ctx); ctx.Err() == nil && !clickhouse.IsRetryable(err) {
		w.mu.Lock()
		if err != nil && w.schema == nil {
			w.logger.Error().Err(err).Msg("the schema in ClickHouse is not what it must be")
		}
		w.schema = err
		w.mu.Unlock()
	}
	w.lookAtDetached(ctx)
	rows := uint64(lookRows)
	if w.alarm(ctx) {
		rows = alarmRows
	}
	w.readBack(ctx, rows)
}

// mayNot says once that a right is missing, where err is that.
func (w *warehouse) mayNot(what string, err error) {
	var e *clickhouse.Error
	if errors.As(err, &e) && e.Kind == clickhouse.KindAccess && !w.unseen[what] {
		w.unseen[what] = true
		w.logger.Warn().Err(err).Msg("the service can't see whether stored data can be read: grant SELECT ON system." + what)
	}
}

// lookAtDetached says what the server set aside, loudly once and in the metrics as
// long as it lies there.
func (w *warehouse) lookAtDetached(ctx context.Context) {
	parts, err := w.db.DetachedParts(ctx)
	if err != nil {
		w.mayNot("detached_parts", err)
		return
	}
	w.detachedParts.Reset()
	w.detachedRows.Reset()
	for _, p := range parts {
		rows, known := w.rowsOf(p)
		w.detachedParts.WithLabelValues(p.Table).Inc()
		w.detachedRows.WithLabelValues(p.Table).Add(float64(rows))
		key := partKey{p.Table, p.Name}
		if w.detached[key] {
			continue
		}
		w.detached[key] = true
		event := w.logger.Error().Str("table", p.Table).Str("part", p.Name).Str("reason", p.Reason).Uint64("bytes", p.Bytes).Str("path", p.Path)
		if known {
			event = event.Uint64("rows", rows)
		}
		event.Msgf("ClickHouse found a part broken and set it aside: its rows are missing from every query. docs/operations.md says how they come back from Kafka; "+
			"then ALTER TABLE %s.%s DROP DETACHED PART '%s' SETTINGS allow_drop_detached = 1", w.db.Database(), p.Table, p.Name)
	}
}

// rowsOf reads how many rows a part had. Only the embedded engine's disk is ours.
func (w *warehouse) rowsOf(p clickhouse.DetachedPart) (rows uint64, known bool) {
	if w.engine == nil {
		return 0, false
	}
	b, err := os.ReadFile(filepath.Join(p.Path, "count.txt"))
	if err != nil {
		return 0, false
	}
	rows, err = strconv.ParseUint(strings.TrimSpace(string(b)), 10, 64)
	return rows, err == nil
}
