package clickhouse

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// ErrSchemaConflict is a difference that can't be healed without a decision about
// the rows that are there.
var ErrSchemaConflict = errors.New("the schema was changed by hand")

// drift is how what is there differs from what the migrations make. Numbers in
// schema_migrations say what was done once; a table can be dropped after that.
//
// Left alone is what changes neither the rows nor what queries find: other codecs,
// columns and indexes beside ours, a primary key that is another prefix of the
// order, defaults, settings of the operator, a TTL that keeps rows longer.
type drift struct {
	tables    []Step   // tables to make again
	parts     []Step   // columns, indexes and settings to put back
	gone      []string // views to make again
	other     []string // views and expiry that are not what this program and config make
	conflicts []string
}

// compare finds the differences.
func (s *schema) compare(cfg *Config, there map[string]*tableShape) *drift {
	d := &drift{}
	for _, name := range slices.Sorted(maps.Keys(s.expected)) {
		want := s.expected[name]
		have := there[name]
		switch {
		case have != nil:
			d.compareTable(cfg, name, want, have)
			continue
		case name == logTable:
			continue // without it everything is applied again
		}
		d.tables = append(d.tables, Step{
			Name: "create table " + name + ", which is gone", SQL: s.statementsOf(cfg, name), table: name,
			Note: "table " + name + " is there again and empty: docs/operations.md says how to fill it from Kafka",
		})
	}
	if c := cfg.otherKind(there); c != "" {
		d.conflicts = []string{c} // the rest follows from it
		return d
	}
	for _, v := range s.views(cfg) {
		have := there[v.name]
		switch {
		case have == nil:
			d.gone = append(d.gone, "view "+v.name+" is gone")
		case have.Engine != "View":
			d.conflicts = append(d.conflicts, fmt.Sprintf("%s is of engine %s, not a view: rename it (RENAME TABLE) and run `plumbline migrate`", v.name, have.Engine))
		case bare(have.selection) != bare(v.selection):
			d.other = append(d.other, "view "+v.name+" selects something else")
		}
	}
	s.compareDistributed(d, cfg, there)
	return d
}

// whilePending leaves what can be told before these migrations are applied: tables
// that none of them makes.
func (d *drift) whilePending(pending []Step) *drift {
	var out drift
	for _, t := range d.tables {
		if !slices.ContainsFunc(pending, func(p Step) bool {
			return slices.ContainsFunc(t.SQL, func(sql string) bool { return slices.Contains(p.SQL, sql) })
		}) {
			out.tables = append(out.tables, t)
		}
	}
	return &out
}

// names are those of all tables and views.
func (s *schema) names(cfg *Config) []string {
	out := append(slices.Sorted(maps.Keys(s.expected)), logTable)
	for _, v := range s.views(cfg) {
		out = append(out, v.name)
	}
	for _, t := range s.distributed(cfg) {
		out = append(out, t.name)
	}
	return slices.Compact(append(out, publicNames...))
}

func (d *drift) compareTable(cfg *Config, name string, want, have *tableShape) {
	table := quoteIdent(cfg.Database) + "." + quoteIdent(name)
	move := fmt.Sprintf("rename it (RENAME TABLE %s TO ...), run `plumbline migrate`, and copy the rows with INSERT ... SELECT", table)
	if cfg.Cluster != "" {
		move = "docs/clickhouse-cluster.md says how its rows move"
	}
	table += cfg.onCluster()
	if name != logTable { // how that one is kept changes nothing
		for _, c := range []struct{ what, want, have string }{
			{"engine", want.Engine, have.Engine},
			{"version column", want.Version, have.Version},
			{"PARTITION BY", want.Partition, have.Partition},
			{"ORDER BY", want.Order, have.Order},
		} {
			if bare(c.want) != bare(c.have) {
				d.conflicts = append(d.conflicts, fmt.Sprintf("table %s: its %s is %s, not %s: %s", name, c.what, cmp.Or(c.have, "empty"), cmp.Or(c.want, "empty"), move))
				if c.what == "engine" {
					return // the rest follows from it
				}
			}
		}
	}
	before := "FIRST"
	for _, c := range want.Columns {
		switch has := have.column(c.Name); {
		case has == nil:
			d.parts = append(d.parts, Step{
				Name: fmt.Sprintf("add column %s to %s, which is gone", c.Name, name),
				SQL:  []string{fmt.Sprintf("ALTER TABLE %s ADD COLUMN IF NOT EXISTS %s %s", table, c.definition(), before)},
				Note: "column " + c.Name + " of " + name + " is empty in the rows that were there: docs/operations.md says how to fill it from Kafka",
			})
		case bare(has.Type) != bare(c.Type) || (has.Kind != c.Kind && has.Kind != "DEFAULT"):
			d.conflicts = append(d.conflicts, fmt.Sprintf("table %s: column %s is %s, not %s: see whether its values fit, then ALTER TABLE %s MODIFY COLUMN %s",
				name, c.Name, strings.TrimSpace(has.Type+" "+has.Kind), strings.TrimSpace(c.Type+" "+c.Kind), table, c.definition()))
		}
		before = "AFTER " + quoteIdent(c.Name)
	}
	for _, i := range want.Indexes {
		if have.indexesHidden || slices.ContainsFunc(have.Indexes, func(h indexShape) bool { return h.Name == i.Name }) {
			continue
		}
		d.parts = append(d.parts, Step{
			Name: fmt.Sprintf("add index %s to %s, which is gone", i.Name, name),
			SQL: []string{fmt.Sprintf("ALTER TABLE %s ADD INDEX IF NOT EXISTS %s %s TYPE %s GRANULARITY %d",
				table, quoteIdent(i.Name), i.Expr, i.Type, i.Granularity)},
			Note: fmt.Sprintf("index %s works for new rows; for those that were there: ALTER TABLE %s MATERIALIZE INDEX %s", i.Name, table, quoteIdent(i.Name)),
		})
	}
	d.compareSettings(cfg, name, table, want, have)
}

func (d *drift) compareSettings(cfg *Config, name, table string, want, have *tableShape) {
	for _, setting := range slices.Sorted(maps.Keys(want.Settings)) {
		if value := want.Settings[setting]; have.Settings[setting] != value {
			d.parts = append(d.parts, Step{
				Name: fmt.Sprintf("set %s of %s back to %s", setting, name, value),
				SQL:  []string{fmt.Sprintf("ALTER TABLE %s MODIFY SETTING %s = %s", table, setting, value)},
			})
		}
	}
	if name == logTable {
		return
	}
	if cfg.Fsync && have.Settings["fsync_after_insert"] != "1" {
		d.other = append(d.other, "table "+name+" does not fsync")
	}
	if name == registrationTable.name {
		return // kept for good: an agent is registered however long ago that was
	}
	if days := expiry(have.ttl); days < 0 {
		d.other = append(d.other, "table "+name+" has no TTL")
	} else if days < cfg.RetentionDays {
		d.other = append(d.other, fmt.Sprintf("table %s keeps rows for %d days, not %d", name, days, cfg.RetentionDays))
	}
}

var intervalDays = regexp.MustCompile(`toIntervalDay(\d+)`)

// expiry is after how many days a TTL deletes, the day added for its granularity
// left out; -1 where it deletes nothing that we know of. Where rows move to or how
// they are compressed in the meantime is the operator's.
func expiry(ttl string) int {
	days := -1
	for _, rule := range split(ttl) {
		if strings.Contains(rule, " TO ") || strings.Contains(rule, " RECOMPRESS ") {
			continue
		}
		for _, m := range intervalDays.FindAllStringSubmatch(bare(rule), -1) {
			if n, err := strconv.Atoi(m[1]); err == nil && (days < 0 || n < days) {
				days = n
			}
		}
	}
	return days
}

// definition is the column as ALTER TABLE takes it.
func (c *columnShape) definition() string {
	out := quoteIdent(c.Name) + " " + c.Type
	if c.Kind != "" {
		out += " " + c.Kind + " " + c.Default
	}
	if c.Codec != "" {
		out += " " + c.Codec
	}
	return out
}

// statementsOf are the statements of all migrations about a table, in order: run
// again (each may be) they bring it to its final state.
func (s *schema) statementsOf(cfg *Config, table string) []string {
	names := regexp.MustCompile(regexp.QuoteMeta(quoteIdent(cfg.Database)+"."+table) + `\b`)
	var out []string
	for _, text := range append([]string{s.log}, s.texts()...) {
		for _, stmt := range statements(cfg.render(text)) {
			if names.MatchString(stmt) {
				out = append(out, stmt)
			}
		}
	}
	return out
}

func (s *schema) texts() []string {
	out := make([]string, len(s.migrations))
	for i, m := range s.migrations {
		out[i] = m.text
	}
	return out
}

// view is a view as sql/ defines it.
type view struct{ name, selection string }

var createView = regexp.MustCompile(`(?s)^CREATE OR REPLACE VIEW \{\{database\}\}\.(\w+) AS\s(.*)$`)

func (s *schema) views(cfg *Config) []view {
	var out []view
	for _, stmt := range statements(s.repeatable) {
		if m := createView.FindStringSubmatch(stmt); m != nil {
			v := view{m[1], cfg.render(m[2])}
			if cfg.Cluster != "" {
				v.name += shardSuffix
			}
			out = append(out, v)
		}
	}
	return out
}
