package clickhouse

import (
	"context"
	"fmt"
	"sync"

	driver "github.com/ClickHouse/clickhouse-go/v2"

	"github.com/plumbline-sec/plumbline/pipeline"
)

// rowFormat is the version of how this package turns records into columns. Raise
// it when the same record comes to other columns than before: of two forms of one
// row the higher stays, so that an old program that is still running can't undo
// what a new one stored.
const rowFormat = 2

// InsertActivity stores events. It returns when the server acknowledged them all.
func (db *DB) InsertActivity(ctx context.Context, rows []pipeline.ActivityRow) error {
	return insert(ctx, db, activityTable, &activityEncoders, rows)
}

// InsertRegistrations stores registrations. It returns when the server acknowledged them all.
func (db *DB) InsertRegistrations(ctx context.Context, rows []pipeline.RegistrationRow) error {
	return insert(ctx, db, registrationTable, &registrationEncoders, rows)
}

// InsertAlerts stores alerts. It returns when the server acknowledged them all.
func (db *DB) InsertAlerts(ctx context.Context, rows []pipeline.AlertRow) error {
	return insert(ctx, db, alertTable, &alertEncoders, rows)
}

// InsertWindows stores windows. It returns when the server acknowledged them all.
func (db *DB) InsertWindows(ctx context.Context, rows []pipeline.WindowRow) error {
	return insert(ctx, db, windowTable, &windowEncoders, rows)
}

// The encoders are kept from batch to batch for their buffers.
var activityEncoders, registrationEncoders, alertEncoders, windowEncoders sync.Pool

func insert[R any](ctx context.Context, db *DB, t *table[R], pool *sync.Pool, rows []R) error {
	if len(rows) == 0 {
		return nil
	}
	e, ok := pool.Get().(*encoder[R])
	if !ok {
		e = newEncoder(t)
	}
	e.fill(rows)
	err := send(ctx, db, t, e, len(rows))
	e.forget()
	pool.Put(e)
	return err
}

func send[R any](ctx context.Context, db *DB, t *table[R], e *encoder[R], n int) error {
	op := "insert into " + t.name
	ctx, cancel := context.WithTimeout(ctx, db.cfg.InsertTimeout)
	defer cancel()
	ctx = driver.Context(ctx, driver.WithSettings(db.insertSettings()), driver.WithColumnNamesAndTypes(t.namesAndTypes()))
	batch, err := db.conn.PrepareBatch(ctx, t.insertSQL(db.cfg.Database, db.cfg.written(t.name)))
	if err != nil {
		return db.explainInsert(op, err)
	}
	defer batch.Close() //nolint:errcheck // after Send it does nothing, before Send there is another error
	if err := e.load(batch.Columns(), n); err != nil {
		return &Error{Op: op, Kind: KindSchema, msg: db.clean(err), err: err}
	}
	return db.explainInsert(op, batch.Send())
}

func (db *DB) insertSettings() driver.Settings {
	s := driver.Settings{
		// The acknowledgement means that the rows are stored, not that they wait in a
		// buffer of the server.
		"async_insert": 0,
		// The default of 100 refuses a batch that catches up over many days.
		"max_partitions_per_insert_block": 0,
	}
	if db.cfg.Protocol == ProtocolHTTP {
		// A failure after the first byte of the answer becomes a status, not a text
		// behind "200 OK".
		s["wait_end_of_query"] = 1
	}
	if db.cfg.InsertQuorum != "" {
		s["insert_quorum"] = db.cfg.InsertQuorum
	}
	if db.cfg.Cluster != "" {
		// The acknowledgement means that every shard has its rows.
		s["distributed_foreground_insert"] = 1
		// Replicated tables drop a block that they had lately, though its rows may be gone
		// since: a refill from Kafka would be acknowledged and not stored. Rows that stand
		// twice are hidden by their identity.
		s["insert_deduplicate"] = 0
	}
	return s
}

// explainInsert knows that the statement is right, so that what the server misses
// must be the schema.
func (db *DB) explainInsert(op string, err error) error {
	err = db.explain(op, err)
	e, ok := err.(*Error) //nolint:errorlint // explain returns it unwrapped
	if !ok {
		return err
	}
	switch e.Code {
	case codeUnknownTable, codeNoSuchColumn, codeUnknownIdentifier, codeNoColumn:
		e.Kind = KindSchema
		e.msg = fmt.Sprintf("the schema is not there or is older than this program: run `plumbline migrate` (%s)", e.msg)
	}
	return e
}

// Codes of a column that is missing.
const (
	codeNoColumn          = 8
	codeNoSuchColumn      = 16
	codeUnknownIdentifier = 47
)
