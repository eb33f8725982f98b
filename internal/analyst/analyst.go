// Package analyst answers what an analyst asks first of the warehouse: which alerts
// there are, what one of them says, who an agent is.
//
// Invariants:
//  1. What a person or an agent wrote goes into a statement as a parameter, never as
//     text.
//  2. Every answer is bounded.
//  3. Text is returned as it was stored: who prints it makes it harmless.
package analyst

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/schemas"
)

//go:embed sql/*.sql
var files embed.FS

// statement returns a file of sql/.
func statement(name string) string {
	b, err := files.ReadFile("sql/" + name + ".sql")
	if err != nil {
		panic(err) // it is part of the program
	}
	return string(b)
}

// Store is what is asked.
type Store interface {
	Show(ctx context.Context, sql string, d clickhouse.Display) error
}

// read returns the rows of a statement.
func read[T any](ctx context.Context, db Store, name string, parameters map[string]string) ([]T, error) {
	var out bytes.Buffer
	if err := db.Show(ctx, statement(name), clickhouse.Display{Format: clickhouse.FormatJSON, Rows: &out, Parameters: parameters}); err != nil {
		return nil, err
	}
	rows := []T{}
	decoder := json.NewDecoder(&out)
	for {
		var row T
		switch err := decoder.Decode(&row); {
		case err == io.EOF:
			return rows, nil
		case err != nil:
			return nil, fmt.Errorf("read the answer to %s.sql: %w", name, err)
		}
		rows = append(rows, row)
	}
}

// Filter says which episodes are wanted; what is empty does not matter.
type Filter struct {
	Tenant, Agent string
	State         string // open, closed
	Severity      string // at its worst, at least
	Since         time.Time
	Limit         int
}

func (f *Filter) parameters() map[string]string {
	return map[string]string{
		"tenant": f.Tenant, "agent": f.Agent, "state": f.State, "severity": strconv.Itoa(Rank(f.Severity)),
		"since": millis(f.Since), "limit": strconv.Itoa(f.Limit),
	}
}

// Rank is 1 for the mildest severity, and 0 for what is none.
func Rank(severity string) int {
	return 1 + slices.Index([]string{schemas.SeverityLow, schemas.SeverityMedium, schemas.SeverityHigh, schemas.SeverityCritical}, severity)
}

func millis(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// Episode is all steps of an alert.
type Episode struct {
	EpisodeID string    `json:"episode_id"`
	State     string    `json:"state"`
	Severity  string    `json:"severity"` // at its worst
	Score     float64   `json:"score"`    // at its worst
	Updates   int       `json:"updates"`
	Opened    time.Time `json:"opened"`
	LastSeen  time.Time `json:"last_seen"` // its latest crossing
	TenantID  string    `json:"tenant_id"`
	AgentID   string    `json:"agent_id"`
	PeerGroup string    `json:"peer_group"`
	Title     string    `json:"title"`
	Summary   string    `json:"summary"`
}

// Episodes returns those that are open first, of each the latest first.
func Episodes(ctx context.Context, db Store, f Filter) ([]Episode, error) {
	return read[Episode](ctx, db, "episodes", f.parameters())
}

// ShowEpisodes prints the same rows.
func ShowEpisodes(ctx context.Context, db Store, f Filter, d clickhouse.Display) error {
	d.Parameters = f.parameters()
	return db.Show(ctx, statement("episodes"), d)
}

// Step is one step of an episode.
type Step struct {
	schemas.Alert
	Published string         // the canonical JSON
	Log       pipeline.Place // of Stored alone
}

// Steps returns the steps of the episodes of which an id, or that of one of their
// alerts, begins so: all of one episode behind each other, in order.
func Steps(ctx context.Context, db Store, id string) ([]Step, error) {
	return steps(ctx, db, "steps", id)
}

// Stored returns the alerts of which the id, or that of their episode, begins so, with
// where they were raised.
func Stored(ctx context.Context, db Store, id string) ([]Step, error) {
	return steps(ctx, db, "stored", id)
}

func steps(ctx context.Context, db Store, name, id string) ([]Step, error) {
	rows, err := read[struct {
		Alert     string `json:"alert"`
		Partition int32  `json:"log_partition"`
		Offset    int64  `json:"log_offset"`
	}](ctx, db, name, stepsOf(id))
	if err != nil {
		return nil, err
	}
	steps := make([]Step, len(rows))
	for i, r := range rows {
		steps[i].Published, steps[i].Log = r.Alert, pipeline.Place{Partition: r.Partition, Offset: r.Offset}
		if err := json.Unmarshal([]byte(r.Alert), &steps[i].Alert); err != nil {
			return nil, fmt.Errorf("read an alert: %w", err)
		}
	}
	return steps, nil
}

// ShowSteps prints the columns of the same alerts.
func ShowSteps(ctx context.Context, db Store, id string, d clickhouse.Display) error {
	d.Parameters = stepsOf(id)
	return db.Show(ctx, strings.Replace(statement("steps"), "SELECT alert\n", "SELECT * EXCEPT (alert)\n", 1), d)
}

// stepsOf is the parameter of steps.sql: ids are written in small letters.
func stepsOf(id string) map[string]string { return map[string]string{"id": strings.ToLower(id)} }
