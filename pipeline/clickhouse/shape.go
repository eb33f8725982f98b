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
	create        string // the statement that makes it
	full          string // the engine with its arguments
	replicated    bool
	indexesHidden bool // the user may not see them
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

// host is a server and what there is on it of our tables and views.
type host struct {
	name  string
	there map[string]*tableShape
}

// shapes looks up what hosts have of these tables and views. It works in no database
// and needs no more than the right to see.
func (db *DB) shapes(ctx context.Context, names []string, hosts []host) error {
	const op = "look up the schema"
	by := make(map[string]map[string]*tableShape)
	for i := range hosts {
		hosts[i].there = make(map[string]*tableShape)
		by[hosts[i].name] = hosts[i].there
	}
	var on, name, engine, full, partition, order, selection, create string
	in := []any{driver.Named("db", db.cfg.Database), driver.Named("names", names)}
	from := func(table string) string {
		return " FROM " + db.cfg.system(table) + " WHERE database = {db:String} AND "
	}
	err := db.each(ctx, op, "SELECT "+db.cfg.hostName()+", name, engine, engine_full, partition_key, sorting_key, as_select, create_table_query"+
		from("tables")+"name IN {names:Array(String)}", in, func() {
		t := &tableShape{Partition: partition, Order: order, selection: selection, create: create, full: full}
		t.describe(engine, full)
		if there := by[on]; there != nil { // it answered before
			there[name] = t
		}
	}, &on, &name, &engine, &full, &partition, &order, &selection, &create)
	if err != nil {
		return err
	}
	var c columnShape
	err = db.each(ctx, op, "SELECT "+db.cfg.hostName()+" AS host, table, name, type, default_kind, default_expression, compression_codec"+
		from("columns")+"table IN {names:Array(String)} ORDER BY host, table, position", in, func() {
		if t := by[on][name]; t != nil {
			t.Columns = append(t.Columns, c)
		}
	}, &on, &name, &c.Name, &c.Type, &c.Kind, &c.Default, &c.Codec)
	if err != nil {
		return err
	}
	var i indexShape
	err = db.each(ctx, op, "SELECT "+db.cfg.hostName()+" AS host, table, name, expr, type_full, granularity"+
		from("data_skipping_indices")+"table IN {names:Array(String)} ORDER BY host, table, name", in, func() {
		if t := by[on][name]; t != nil {
			t.Indexes = append(t.Indexes, i)
		}
	}, &on, &name, &i.Name, &i.Expr, &i.Type, &i.Granularity)
	if !mayNotSee(err) {
		return err
	}
	for _, there := range by {
		for _, t := range there {
			t.indexesHidden = true
		}
	}
	return nil
}

// each runs a query and calls do after each row was read into dest.
func (db *DB) each(ctx context.Context, op, sql string, args []any, do func(), dest ...any) error {
	rows, err := db.root.Query(db.cfg.lookAround(ctx), sql, args...)
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
		if rest, ok := strings.CutPrefix(t.Engine, prefix); ok {
			t.Engine, t.replicated = rest, true
		}
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
