package clickhouse

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"time"

	driver "github.com/ClickHouse/clickhouse-go/v2"
)

// Part is a piece of a table on the server's disk. It never changes: merges make
// another one of it.
type Part struct {
	Table, Name string
	Rows, Bytes uint64
	Modified    time.Time
}

// DetachedPart is a part that the server set aside because it could not read it.
// Its rows are missing from every query, and no query says so.
type DetachedPart struct {
	Table, Name, Reason string
	Bytes               uint64
	Path                string // on the server's disk
}

// corruptCodes are the errors of files that are not what was written.
var corruptCodes = map[int32]bool{
	32:  true, // ATTEMPT_TO_READ_AFTER_EOF
	33:  true, // CANNOT_READ_ALL_DATA
	40:  true, // CHECKSUM_DOESNT_MATCH
	74:  true, // CANNOT_READ_FROM_FILE_DESCRIPTOR: the disk itself
	107: true, // FILE_DOESNT_EXIST
	226: true, // NO_FILE_IN_DATA_PART
	228: true, // BAD_SIZE_OF_FILE_IN_DATA_PART
	246: true, // CORRUPTED_DATA
	271: true, // CANNOT_DECOMPRESS
}

// busyCodes are refusals of a server that is short of something, whatever it was
// reading when it said so.
var busyCodes = map[int32]bool{
	159: true, // TIMEOUT_EXCEEDED
	202: true, // TOO_MANY_SIMULTANEOUS_QUERIES
	236: true, // ABORTED
	241: true, // MEMORY_LIMIT_EXCEEDED
	394: true, // QUERY_WAS_CANCELLED
	439: true, // CANNOT_SCHEDULE_TASK
}

// IsCorrupt reports whether err says that stored data can't be read back. What the
// server says of a part while it reads it counts whatever its code is: a wrong byte
// can be a wrong size, a wrong dictionary, a wrong number of rows.
func IsCorrupt(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Code == 0 || busyCodes[e.Code] {
		return false
	}
	return corruptCodes[e.Code] || strings.Contains(e.err.Error(), "while reading from part")
}

// Answers returns nil when the server runs a trivial statement. It does not wait
// for the connections of inserts.
func (db *DB) Answers(ctx context.Context) error {
	return db.explain("ask for 1", db.root.Ping(ctx))
}

// ownTables are those whose parts are looked at.
var ownTables = []string{activityTable.name, alertTable.name, windowTable.name, logTable}

func (db *DB) own() []any {
	return []any{driver.Named("db", db.cfg.Database), driver.Named("names", ownTables)}
}

// Parts lists the parts that queries read.
func (db *DB) Parts(ctx context.Context) ([]Part, error) {
	var (
		out []Part
		p   Part
	)
	err := db.each(ctx, "list parts", `SELECT table, name, rows, bytes_on_disk, modification_time
FROM system.parts WHERE active AND database = {db:String} AND table IN {names:Array(String)}`, db.own(),
		func() { out = append(out, p) }, &p.Table, &p.Name, &p.Rows, &p.Bytes, &p.Modified)
	return out, err
}

// DetachedParts lists the parts that the server found broken and set aside; not
// those that somebody detached.
func (db *DB) DetachedParts(ctx context.Context) ([]DetachedPart, error) {
	var (
		out []DetachedPart
		p   DetachedPart
	)
	err := db.each(ctx, "list detached parts", `SELECT table, name, ifNull(reason, ''), bytes_on_disk, path
FROM system.detached_parts WHERE database = {db:String} AND table IN {names:Array(String)} AND reason LIKE 'broken%' ORDER BY table, name`, db.own(),
		func() { out = append(out, p) }, &p.Table, &p.Name, &p.Reason, &p.Bytes, &p.Path)
	return out, err
}

// ReadPart makes the server read every column of the rows [from, to) of a part,
// checksums included, and with the first rows its indexes. IsCorrupt tells whether an
// error is about the part. A part that was merged away meanwhile has no rows, and no
// error.
func (db *DB) ReadPart(ctx context.Context, p Part, from, to uint64) error {
	conditions := []string{"_part_offset >= {from:UInt64} AND _part_offset < {to:UInt64} AND NOT ignore(*)"}
	if from == 0 {
		s, err := loadSchema(sqlFiles)
		if err != nil {
			return err
		}
		conditions = append(conditions, s.probes(p.Table)...)
	}
	for _, condition := range conditions {
		var n uint64
		row := db.root.QueryRow(ctx, `SELECT count() FROM `+quoteIdent(db.cfg.Database)+`.`+quoteIdent(p.Table)+`
WHERE _part = {part:String} AND `+condition+`
SETTINGS max_threads = 1`, // it is in nobody's way
			driver.Named("part", p.Name), driver.Named("from", from), driver.Named("to", to))
		if err := row.Scan(&n); err != nil {
			return db.explain("read part "+p.Name+" of "+p.Table, err)
		}
	}
	return nil
}

// probes are conditions that no row meets, each of which makes the server read an
// index of the table to find that out.
func (s *schema) probes(table string) []string {
	shape := s.expected[table]
	if shape == nil {
		return nil
	}
	var out []string
	for _, i := range shape.Indexes {
		switch c := shape.column(i.Expr); {
		case c != nil && strings.HasPrefix(c.Type, "Array("):
			out = append(out, "has("+i.Expr+", 'no such value')")
		case c != nil && strings.HasPrefix(c.Type, "DateTime64("):
			out = append(out, i.Expr+" = toDateTime64('1900-01-01 00:00:00', 3, 'UTC')")
		case c != nil && strings.HasPrefix(c.Type, "Int"):
			out = append(out, i.Expr+" = -2")
		default:
			out = append(out, i.Expr+" = 'no such value'")
		}
	}
	return out
}

// CorruptErrors says how many errors of corrupt data the server has counted since
// it started, whoever met them, and which of our parts the last ones name.
func (db *DB) CorruptErrors(ctx context.Context) (count uint64, parts []string, err error) {
	codes := make([]int32, 0, len(corruptCodes))
	for code := range corruptCodes {
		codes = append(codes, code)
	}
	var (
		n       uint64
		message string
	)
	err = db.each(ctx, "read system.errors", `SELECT value, last_error_message FROM system.errors WHERE code IN {codes:Array(Int32)}`,
		[]any{driver.Named("codes", codes)}, func() {
			count += n
			if m := partOfMessage.FindStringSubmatch(message); m != nil {
				parts = append(parts, m[1])
			}
		}, &n, &message)
	return count, parts, err
}

// partOfMessage finds the part in "... while reading from part /path/20261130_1_8_3/ in
// table plumbline.activity_rows ...".
var partOfMessage = regexp.MustCompile(`reading from part (?:\S*/)?([^/\s]+)/ in table`)

// Database is the name of the database, quoted for SQL that people run.
func (db *DB) Database() string { return quoteIdent(db.cfg.Database) }
