package clickhouse

import (
	"context"
	"errors"
	"slices"
	"strings"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// tableShape is what a table or view is made of, as the server shows it.
type tableShape struct {
	Engine    string            `json:"engine"`            // without Replicated or Shared: replicas change nothing here
	Version   string            `json:"version,omitempty"` // the column by which a ReplacingMergeTree chooses
	Partition string            `json:"partition_by,omitempty"`
	Order     string            `json:"order_by,omitempty"`
	Settings  map[string]string `json:"settings,omitempty"`
	Columns   []columnShape     `json:"columns"`
	Indexes   []indexShape      `json:"indexes,omitempty"`

	ttl           string // depends on the config
	selection     string // of a view; the text in sql/ is what is expected
	indexesHidden bool   // the user may not see them
}

type columnShape struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	Kind    string `json:"kind,omitempty"` // DEFAULT, MATERIALIZED, ALIAS, EPHEMERAL
	Default string `json:"default,omitempty"`
	Codec   string `json:"codec,omitempty"`
}

type indexShape struct {
	Name        string `json:"name"`
	Expr        string `json:"expr"`
	Type        string `json:"type"`
	Granularity uint64 `json:"granularity"`
}

func (t *tableShape) column(name string) *columnShape {
	i := slices.IndexFunc(t.Columns, func(c columnShape) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &t.Columns[i]
}

// shapes returns what there is of these tables and views. It works in no database
// and needs no more than the right to see.
func (db *DB) shapes(ctx context.Context, names []string) (map[string]*tableShape, error) {
	const op = "look up the schema"
	out := make(map[string]*tableShape)
	in := []any{driver.Named("db", db.cfg.Database), driver.Named("names", names)}
	var name, engine, full, partition, order, selection string
	err := db.each(ctx, op, `SELECT name, engine, engine_full, partition_key, sorting_key, as_select
FROM system.tables WHERE database = {db:String} AND name IN {names:Array(String)}`, in, func() {
		t := &tableShape{Partition: partition, Order: order, selection: selection}
		t.describe(engine, full)
		out[name] = t
	}, &name, &engine, &full, &partition, &order, &selection)
	if err != nil {
		return nil, err
	}
	var c columnShape
	err = db.each(ctx, op, `SELECT table, name, type, default_kind, default_expression, compression_codec
FROM system.columns WHERE database = {db:String} AND table IN {names:Array(String)} ORDER BY table, position`, in, func() {
		if t := out[name]; t != nil {
			t.Columns = append(t.Columns, c)
		}
	}, &name, &c.Name, &c.Type, &c.Kind, &c.Default, &c.Codec)
	if err != nil {
		return nil, err
	}
	var i indexShape
	err = db.each(ctx, op, `SELECT table, name, expr, type_full, granularity
FROM system.data_skipping_indices WHERE database = {db:String} AND table IN {names:Array(String)} ORDER BY table, name`, in, func() {
		if t := out[name]; t != nil {
			t.Indexes = append(t.Indexes, i)
		}
	}, &name, &i.Name, &i.Expr, &i.Type, &i.Granularity)
	if mayNotSee(err) {
		for _, t := range out {
			t.indexesHidden = true
		}
		return out, nil
	}
	return out, err
}

// each runs a query and calls do after each row was read into dest.
func (db *DB) each(ctx context.Context, op, sql string, args []any, do func(), dest ...any) error {
	rows, err := db.root.Query(ctx, sql, args...)
	if err != nil {
		return db.explain(op, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return db.explain(op, err)
		}
		do()
	}
	return db.explain(op, rows.Err())
}

// describe reads engine_full: "ReplacingMergeTree(version) PARTITION BY ... TTL ...
// SETTINGS a = 1, b = 2".
func (t *tableShape) describe(engine, full string) {
	t.Engine = engine
	for _, prefix := range []string{"Replicated", "Shared"} {
		t.Engine = strings.TrimPrefix(t.Engine, prefix)
	}
	if rest, ok := strings.CutPrefix(full, engine+"("); ok && strings.HasSuffix(t.Engine, "ReplacingMergeTree") {
		if args := split(rest[:closing(rest)]); len(args) > 0 { // of a replicated one the first two are its path and name
			t.Version = strings.Trim(args[len(args)-1], "`")
		}
	}
	clauses := full
	if i := strings.LastIndex(full, " SETTINGS "); i >= 0 {
		clauses = full[:i]
		t.Settings = make(map[string]string)
		for _, s := range split(full[i+len(" SETTINGS "):]) {
			name, value, _ := strings.Cut(s, " = ")
			t.Settings[name] = value
		}
	}
	if _, ttl, ok := strings.Cut(clauses, " TTL "); ok {
		t.ttl = ttl
	}
}

// closing is the index of the bracket that closes what was opened before s.
func closing(s string) int {
	depth := 1
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\'', '`', '"':
			i = quotedEnd(s, i) - 1
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(s)
}

// split cuts at the commas that stand in no bracket and no quotes.
func split(s string) []string {
	var out []string
	depth, from := 0, 0
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\'', '`', '"':
			i = quotedEnd(s, i) - 1
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				out = append(out, strings.TrimSpace(s[from:i]))
				from = i + 1
			}
		}
	}
	if last := strings.TrimSpace(s[from:]); last != "" {
		out = append(out, last)
	}
	return out
}

// bare is an expression without what servers of different releases write in
// different ways: blanks, brackets around what needs none, quotes around names.
func bare(expr string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\n()`\\", r) {
			return -1
		}
		return r
	}, expr)
}

// mayNotSee reports whether the server refuses to show something.
func mayNotSee(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == KindAccess
}
