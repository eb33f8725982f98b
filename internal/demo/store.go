package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/plumbline-sec/plumbline/internal/app"
	"github.com/plumbline-sec/plumbline/internal/config"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
)

// store asks ClickHouse what has arrived.
type store struct{ db *clickhouse.DB }

func openStore(cfg *config.Config, addrs []string) (*store, error) {
	ch, err := app.ClickHouseConfig(cfg)
	if err != nil {
		return nil, err
	}
	ch.Addrs = addrs
	db, err := clickhouse.Open(ch)
	if err != nil {
		return nil, err
	}
	return &store{db}, nil
}

func (s *store) close() { _ = s.db.Close() } // it was only read from

// counts returns the events and alerts under the views.
func (s *store) counts(ctx context.Context) (events, alerts int64, err error) {
	var out bytes.Buffer
	sql := `SELECT toInt64((SELECT count() FROM activity)) AS events, toInt64((SELECT count() FROM alerts)) AS alerts`
	if err := s.db.Query(ctx, sql, clickhouse.FormatJSON, &out, io.Discard); err != nil {
		return 0, 0, fmt.Errorf("demo: %w", err)
	}
	var row struct {
		Events json.Number `json:"events"`
		Alerts json.Number `json:"alerts"`
	}
	if err := json.Unmarshal(out.Bytes(), &row); err != nil {
		return 0, 0, fmt.Errorf("demo: counts %q: %w", out.String(), err)
	}
	if events, err = row.Events.Int64(); err == nil {
		alerts, err = row.Alerts.Int64()
	}
	return events, alerts, err
}
