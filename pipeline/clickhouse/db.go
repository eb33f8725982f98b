package clickhouse

import (
	"context"
	"errors"
	"fmt"
	"strings"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// DB is a ClickHouse database of Plumbline. Its methods may be called by several
// goroutines at once.
type DB struct {
	cfg  Config
	conn driver.Conn // in the configured database
	root driver.Conn // in no database: it works before there is one
}

var _ pipeline.Warehouse = (*DB)(nil)

// Open checks the config and returns a DB. It connects to nothing: a server that
// is down shows at the first use, or at Ping.
func Open(cfg Config) (*DB, error) {
	cfg.setDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	db := &DB{cfg: cfg}
	for _, c := range []struct {
		conn     *driver.Conn
		database string
	}{{&db.conn, cfg.Database}, {&db.root, ""}} {
		opt, err := cfg.options(c.database)
		if err != nil {
			return nil, err
		}
		if *c.conn, err = driver.Open(opt); err != nil {
			return nil, fmt.Errorf("open clickhouse: %w", err)
		}
	}
	return db, nil
}

// Close releases the connections. It may be called twice.
func (db *DB) Close() error {
	if err := errors.Join(db.conn.Close(), db.root.Close()); err != nil {
		return fmt.Errorf("close clickhouse: %w", err)
	}
	return nil
}

// Ping reports whether the server answers and knows the user and the database.
func (db *DB) Ping(ctx context.Context) error {
	return db.explain("ping", db.conn.Ping(ctx))
}

// Version returns the server's version.
func (db *DB) Version(ctx context.Context) (string, error) {
	var v string
	if err := db.root.QueryRow(ctx, "SELECT version()").Scan(&v); err != nil {
		return "", db.explain("read the server's version", err)
	}
	return v, nil
}

// quoteIdent quotes a name for SQL.
func quoteIdent(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}
