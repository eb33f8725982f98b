package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
)

// engine is a ClickHouse with Plumbline's schema on it.
type engine struct {
	addr string
	db   *clickhouse.DB
}

// openEngine brings the schema of the ClickHouse at addr up to date.
func openEngine(ctx context.Context, addr string) (*engine, error) {
	db, err := clickhouse.Open(clickhouse.Config{Addrs: []string{addr}})
	if err != nil {
		return nil, err
	}
	if err := db.Migrate(ctx, nil); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &engine{addr: addr, db: db}, nil
}

// answer is what the engine says to a query, in its format JSON.
type answer struct {
	Data       []map[string]any `json:"data"`
	Statistics struct {
		Rows uint64 `json:"rows_read"`
	} `json:"statistics"`
	took time.Duration // until the last byte was here
}

// ask runs one statement.
func (e *engine) ask(ctx context.Context, sql string) (answer, error) {
	url := "http://" + e.addr + "/?database=plumbline&default_format=JSON"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(sql))
	if err != nil {
		return answer{}, fmt.Errorf("query: %w", err)
	}
	begin := time.Now()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, fmt.Errorf("query: %w", err)
	}
	defer res.Body.Close() //nolint:errcheck // it was only read
	body, err := io.ReadAll(res.Body)
	took := time.Since(begin)
	switch {
	case err != nil:
		return answer{}, fmt.Errorf("query: %w", err)
	case res.StatusCode != http.StatusOK:
		return answer{}, fmt.Errorf("query: %.500s", body)
	case len(bytes.TrimSpace(body)) == 0: // of a statement without rows
		return answer{took: took}, nil
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return answer{}, fmt.Errorf("query: %w: %.300s", err, body)
	}
	a.took = took
	return a, nil
}

// number runs a query for one number.
func (e *engine) number(ctx context.Context, sql string) (float64, error) {
	a, err := e.ask(ctx, "SELECT toFloat64(("+sql+")) AS n")
	if err != nil {
		return 0, err
	}
	n, ok := a.Data[0]["n"].(float64)
	if !ok {
		return 0, fmt.Errorf("no number: %v", a.Data)
	}
	return n, nil
}

// cpu is how much CPU time the engine's threads have taken since it started, in
// seconds: beside the clock it hardly depends on what else the machine does.
func (e *engine) cpu(ctx context.Context) (float64, error) {
	return e.number(ctx, "SELECT sum(value) / 1e6 FROM system.events WHERE event IN ('UserTimeMicroseconds', 'SystemTimeMicroseconds')")
}

// spent is how much of it something takes.
func (e *engine) spent(ctx context.Context, do func() error) (seconds float64, err error) {
	before, err := e.cpu(ctx)
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := e.cpu(ctx)
	return after - before, err
}

// mergeDays does at once what happens to every day after an hour without new rows.
// Today is left as it is.
func (e *engine) mergeDays(ctx context.Context) error {
	for _, table := range []string{"activity_rows", "window_rows"} {
		a, err := e.ask(ctx, "SELECT partition FROM system.parts WHERE active AND database = 'plumbline' AND table = '"+table+
			"' AND partition != toString(toYYYYMMDD(now('UTC')) % 40000) GROUP BY partition HAVING count() > 1")
		if err != nil {
			return err
		}
		for _, row := range a.Data {
			if _, err := e.ask(ctx, fmt.Sprintf("OPTIMIZE TABLE %s PARTITION %v FINAL", table, row["partition"])); err != nil {
				return err
			}
		}
	}
	return nil
}
