package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// Errors of a schema that this program must not work with. Migrating does not help
// with the first two.
var (
	ErrSchemaNewer   = errors.New("the database is newer than this program")
	ErrSchemaChanged = errors.New("an applied migration was changed")
	ErrSchemaPending = errors.New("the schema is not up to date: run `plumbline migrate`")
)

// Step is one thing that Migrate does.
type Step struct {
	Version uint32 // of a numbered migration; 0 for all else
	Name    string
	SQL     []string // statements, filled in
	Because []string // what is not as it should be, where the name does not say so
	Note    string   // what the step leaves to be done, for people

	table string // that it makes again
}

func (s Step) String() string {
	if s.Version > 0 {
		return fmt.Sprintf("%04d %s", s.Version, strings.ReplaceAll(s.Name, "_", " "))
	}
	if len(s.Because) > 0 {
		return s.Name + " (" + strings.Join(s.Because, ", ") + ")"
	}
	return s.Name
}

// Plan is what stands in the database and what is to do.
type Plan struct {
	Database string
	Current  uint32 // highest version applied, 0 for none
	Latest   uint32 // highest version that this program knows
	Steps    []Step // in order; empty: nothing to do

	lost []string // what no program and no config that was applied can have meant
}

const (
	stepDatabase   = "create database"
	stepRepeatable = "views and retention"
)

// Plan looks at the database and says what Migrate would do: migrations that are
// not applied yet, and what was lost of those that are. It changes nothing. While
// migrations are pending, only tables that are gone are looked for, since the
// others are compared with what all migrations come to.
func (db *DB) Plan(ctx context.Context) (*Plan, error) {
	s, err := loadSchema(sqlFiles)
	if err != nil {
		return nil, err
	}
	return db.plan(ctx, s)
}

func (db *DB) plan(ctx context.Context, s *schema) (*Plan, error) {
	p := &Plan{Database: db.cfg.Database, Latest: s.latest()}
	hasDatabase, hosts, err := db.existing(ctx, s)
	if err != nil {
		return nil, err
	}
	if first := s.logFirst(&db.cfg, hosts); first != nil {
		if !hasDatabase {
			p.Steps = append(p.Steps, Step{Name: stepDatabase, SQL: []string{db.createDatabase()}})
		}
		p.Steps, p.lost = append(p.Steps, *first), []string{first.Name}
		return p, nil
	}
	var done map[uint32][]applied
	if slices.ContainsFunc(hosts, func(h host) bool { return h.there[logTable] != nil }) {
		if done, err = db.applied(ctx); err != nil {
			return nil, err
		}
	}
	for v := range done {
		p.Current = max(p.Current, v)
	}
	if p.Current > p.Latest {
		return nil, fmt.Errorf("%w: database %s has schema version %d, this program knows %d; use the newer program, or another clickhouse.database",
			ErrSchemaNewer, quoteIdent(db.cfg.Database), p.Current, p.Latest)
	}
	if !hasDatabase {
		p.Steps = append(p.Steps, Step{Name: stepDatabase, SQL: []string{db.createDatabase()}})
	}
	pending, err := db.pending(s, done)
	if err != nil {
		return nil, err
	}
	d := s.compareAll(&db.cfg, hosts)
	if len(pending) > 0 {
		d = d.whilePending(pending)
	}
	if len(d.conflicts) > 0 {
		return nil, fmt.Errorf("%w, and healing it would cost rows; in database %s: %s", ErrSchemaConflict, quoteIdent(db.cfg.Database), strings.Join(d.conflicts, "; "))
	}
	p.Steps = slices.Concat(p.Steps, d.tables, pending, d.parts)
	repeatable, last := db.repeatable(s), done[0]
	ours := len(last) > 0 && last[len(last)-1].checksum == checksum(repeatable)
	if len(p.Steps) > 0 || len(d.gone)+len(d.other) > 0 || !ours {
		step := Step{Name: stepRepeatable, SQL: statements(repeatable)}
		if len(pending) == 0 {
			step.Because = slices.Concat(d.gone, d.other)
		}
		p.Steps = append(p.Steps, step)
	}
	for _, step := range slices.Concat(d.tables, d.parts) {
		p.lost = append(p.lost, step.Name)
	}
	p.lost = append(p.lost, d.gone...)
	if ours {
		p.lost = append(p.lost, d.other...)
	}
	return p, nil
}

// pending are the migrations that are not applied; an applied one may not have
// changed.
func (db *DB) pending(s *schema, done map[uint32][]applied) ([]Step, error) {
	var out []Step
	for _, m := range s.migrations {
		for _, a := range done[m.version] {
			if a.checksum != m.checksum {
				return nil, fmt.Errorf("%w: %04d_%s.sql has checksum %.12s, %.12s was applied on %s; use the program that applied it, or set up another clickhouse.database",
					ErrSchemaChanged, m.version, m.name, m.checksum, a.checksum, a.at)
			}
		}
		if len(done[m.version]) == 0 {
			out = append(out, Step{Version: m.version, Name: m.name, SQL: statements(db.cfg.render(m.text))})
		}
	}
	return out, nil
}

// CheckLost returns nil unless the schema has lost something since it was migrated,
// by hand or by accident. What another release or config has made of it since is no
// loss: instances are upgraded one after the other.
func (db *DB) CheckLost(ctx context.Context) error {
	p, err := db.Plan(ctx)
	switch {
	case errors.Is(err, ErrSchemaNewer):
		return nil
	case err != nil:
		return err
	case len(p.lost) > 0:
		return fmt.Errorf("%w (database %s: %s)", ErrSchemaPending, quoteIdent(db.cfg.Database), strings.Join(p.lost, "; "))
	case p.Current < p.Latest:
		return fmt.Errorf("%w (database %s has version %d of %d)", ErrSchemaPending, quoteIdent(db.cfg.Database), p.Current, p.Latest)
	}
	return nil
}

// Migrate brings the schema up to date and heals what was lost of it, without
// touching a row; what it can't heal so is an ErrSchemaConflict, and then nothing is
// done. progress, where it is not nil, hears of each step before it is done. Several
// programs may migrate at the same time: every statement may be run again.
func (db *DB) Migrate(ctx context.Context, progress func(Step)) error {
	s, err := loadSchema(sqlFiles)
	if err != nil {
		return err
	}
	return db.migrate(ctx, s, progress)
}

func (db *DB) migrate(ctx context.Context, s *schema, progress func(Step)) error {
	p, err := db.plan(ctx, s)
	if err != nil {
		return err
	}
	if err := db.carryOut(ctx, s, p.Steps, progress); err != nil {
		return err
	}
	if p.Current == p.Latest {
		return nil
	}
	// Now that all migrations are applied, what they come to can be compared.
	if p, err = db.plan(ctx, s); err != nil {
		return err
	}
	return db.carryOut(ctx, s, p.Steps, progress)
}

func (db *DB) carryOut(ctx context.Context, s *schema, steps []Step, progress func(Step)) error {
	hasLog := false
	for _, step := range steps {
		if progress != nil {
			progress(step)
		}
		if step.Name != stepDatabase && !hasLog {
			if err := db.run(ctx, "create schema_migrations", statements(db.cfg.render(s.log))); err != nil {
				return err
			}
			hasLog = true
		}
		if err := db.run(ctx, "migrate: "+step.String(), step.SQL); err != nil {
			return err
		}
		if step.Version == 0 && step.Name != stepRepeatable {
			continue
		}
		if err := db.record(ctx, s, step); err != nil {
			return err
		}
	}
	return nil
}

// PrintSchema prints all statements of the whole schema, filled in. It asks no
// server.
func (db *DB) PrintSchema(w io.Writer) error {
	s, err := loadSchema(sqlFiles)
	if err != nil {
		return err
	}
	var b strings.Builder
	part := func(title, text string) {
		fmt.Fprintf(&b, "-- ---- %s\n\n%s\n\n", title, strings.TrimSpace(text))
	}
	fmt.Fprintf(&b, "-- Schema version %d for database %s, retention %d days.\n\n", s.latest(), quoteIdent(db.cfg.Database), db.cfg.RetentionDays)
	part(stepDatabase, db.createDatabase()+";")
	part("schema_migrations", db.cfg.render(s.log))
	for _, m := range s.migrations {
		part(Step{Version: m.version, Name: m.name}.String(), db.cfg.render(m.text))
	}
	part(stepRepeatable, db.repeatable(s))
	if _, err := io.WriteString(w, strings.TrimRight(b.String(), "\n")+"\n"); err != nil {
		return fmt.Errorf("print the schema: %w", err)
	}
	return nil
}

func (db *DB) createDatabase() string {
	return "CREATE DATABASE IF NOT EXISTS " + quoteIdent(db.cfg.Database) + db.cfg.onCluster()
}

func (db *DB) repeatable(s *schema) string {
	text := s.repeatable
	if db.cfg.Fsync {
		text += "\n" + s.fsync
	}
	if db.cfg.Cluster != "" {
		text += "\n" + s.cluster
	}
	return db.cfg.render(text)
}

// existing looks up what is there, on every host of a cluster that answers. It works in
// no database, so that it works before there is one, and needs no more than the right to
// see. database: every host has it.
func (db *DB) existing(ctx context.Context, s *schema) (database bool, hosts []host, err error) {
	var (
		name string
		n    uint64
	)
	some := false
	database = true
	err = db.each(ctx, "look up the schema", "SELECT "+db.cfg.hostName()+" AS host, countIf(name = {db:String}) FROM "+db.cfg.system("databases")+" GROUP BY host ORDER BY host",
		[]any{driver.Named("db", db.cfg.Database)}, func() {
			hosts = append(hosts, host{name: name})
			some, database = some || n > 0, database && n > 0
		}, &name, &n)
	if err != nil {
		return false, nil, err
	}
	if !some {
		return false, []host{{}}, nil
	}
	return database, hosts, db.shapes(ctx, s.names(&db.cfg), hosts)
}

type applied struct{ checksum, at string }

// applied returns what schema_migrations says, by version, oldest first.
func (db *DB) applied(ctx context.Context) (map[uint32][]applied, error) {
	rows, err := db.root.Query(db.cfg.lookAround(ctx), "SELECT version, checksum, toString(applied_at) FROM "+db.cfg.everywhere(quoteIdent(db.cfg.Database)+"."+logTable)+" ORDER BY version, applied_at")
	if err != nil {
		return nil, db.explain("read schema_migrations", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err has it
	out := make(map[uint32][]applied)
	for rows.Next() {
		var (
			v uint32
			a applied
		)
		if err := rows.Scan(&v, &a.checksum, &a.at); err != nil {
			return nil, db.explain("read schema_migrations", err)
		}
		out[v] = append(out[v], a)
	}
	if err := rows.Err(); err != nil {
		return nil, db.explain("read schema_migrations", err)
	}
	return out, nil
}

func (db *DB) run(ctx context.Context, op string, sql []string) error {
	ctx = db.cfg.waitForHosts(ctx)
	for _, stmt := range sql {
		if err := db.root.Exec(ctx, stmt); err != nil {
			return db.explain(op, err)
		}
	}
	return nil
}

func (db *DB) record(ctx context.Context, s *schema, step Step) error {
	sum := checksum(db.repeatable(s))
	if step.Version > 0 {
		sum = s.migrations[step.Version-1].checksum
	}
	stmt := fmt.Sprintf("INSERT INTO %s.schema_migrations SELECT %d, '%s', '%s', now64(3, 'UTC') SETTINGS async_insert = 0",
		quoteIdent(db.cfg.Database), step.Version, strings.ReplaceAll(step.Name, " ", "_"), sum)
	return db.run(ctx, "record migration "+step.String(), []string{stmt})
}
