package clickhouse

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/ClickHouse/ch-go/proto"
	driver "github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
)

// table says how the rows of type R become the columns of one table.
type table[R any] struct {
	name    string
	columns []spec[R]
}

// spec is one column: its name, its type as the server spells it, and how its
// buffer is made.
type spec[R any] struct {
	name, typ string
	buffer    func() buffer[R]
}

// buffer holds one column of one batch and is used again for the next.
type buffer[R any] interface {
	// fill takes the column out of rows.
	fill(rows []R, w *wire)
	// load moves it into the driver's column.
	load(dst column.Interface, n int, r *proto.Reader) error
	// forget lets go of the memory of the rows.
	forget()
}

// An encoder turns batches into the driver's columns, column by column. The
// driver's own Append goes through reflection and an interface value per row for
// everything that is not a plain number or string (0.1 µs a LowCardinality, 0.7 µs
// a Map); those columns are written here in the wire format of Native and read
// into the driver's column by its Decode, which copies blocks of memory.
//
// It is not safe for concurrent use.
type encoder[R any] struct {
	table   *table[R]
	buffers []buffer[R]
	wire    wire
	source  *bytes.Reader
	reader  *proto.Reader
}

func newEncoder[R any](t *table[R]) *encoder[R] {
	e := &encoder[R]{table: t, source: bytes.NewReader(nil)}
	e.reader = proto.NewReader(e.source)
	for i := range t.columns {
		e.buffers = append(e.buffers, t.columns[i].buffer())
	}
	return e
}

// fill encodes rows.
func (e *encoder[R]) fill(rows []R) {
	e.wire.b = e.wire.b[:0]
	for _, b := range e.buffers {
		b.fill(rows, &e.wire)
	}
}

// load moves what fill encoded into the columns of a batch. It checks all that
// would make the server store something else than the rows: the driver's HTTP
// batch, for one, sends an empty body where columns differ in length, and the
// server takes that as an insert of nothing.
func (e *encoder[R]) load(dst []column.Interface, n int) error {
	if len(dst) != len(e.buffers) {
		return fmt.Errorf("%s has %d columns where %d are inserted", e.table.name, len(dst), len(e.buffers))
	}
	e.source.Reset(e.wire.b)
	err := e.loadAll(dst, n)
	if err != nil || e.source.Len() > 0 {
		// The reader may stand in the middle of the bytes: it is not used again.
		e.reader = proto.NewReader(e.source)
	}
	if err == nil && e.source.Len() > 0 {
		err = fmt.Errorf("%s: %d bytes belong to no column", e.table.name, e.source.Len())
	}
	return err
}

func (e *encoder[R]) loadAll(dst []column.Interface, n int) error {
	for i, b := range e.buffers {
		s := &e.table.columns[i]
		if name := dst[i].Name(); name != s.name {
			return fmt.Errorf("%s: column %d is %s, not %s", e.table.name, i, name, s.name)
		}
		if typ := string(dst[i].Type()); !sameType(typ, s.typ) {
			return fmt.Errorf("%s: column %s is a %s, not a %s: it was altered", e.table.name, s.name, typ, s.typ)
		}
		if err := b.load(dst[i], n, e.reader); err != nil {
			return fmt.Errorf("%s: column %s: %w", e.table.name, s.name, err)
		}
		if got := dst[i].Rows(); got != n {
			return fmt.Errorf("%s: column %s holds %d of %d rows", e.table.name, s.name, got, n)
		}
	}
	return nil
}

// forget drops the references to the rows, so that an idle encoder does not keep
// the records alive that their strings share memory with.
func (e *encoder[R]) forget() {
	for _, b := range e.buffers {
		b.forget()
	}
	if cap(e.wire.b) > maxIdleWire {
		e.wire.b = nil
	}
}

// maxIdleWire is what an idle encoder may hold on to.
const maxIdleWire = 64 << 20

// sameType compares types apart from their layout.
func sameType(a, b string) bool {
	return a == b || strings.Join(strings.Fields(a), "") == strings.Join(strings.Fields(b), "")
}

// insertSQL is the INSERT with all columns named.
func (t *table[R]) insertSQL(database, name string) string {
	var b strings.Builder
	b.WriteString("INSERT INTO " + quoteIdent(database) + "." + quoteIdent(name) + " (")
	for i := range t.columns {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(quoteIdent(t.columns[i].name))
	}
	b.WriteString(")")
	return b.String()
}

// namesAndTypes saves the driver a DESCRIBE per batch over HTTP.
func (t *table[R]) namesAndTypes() []driver.ColumnNameAndType {
	out := make([]driver.ColumnNameAndType, len(t.columns))
	for i := range t.columns {
		out[i] = driver.ColumnNameAndType{Name: t.columns[i].name, Type: t.columns[i].typ}
	}
	return out
}

// The columns that the driver takes as a slice at once.

type number interface {
	~uint32 | ~uint64 | ~int32 | ~int64 | ~float64
}

type numberBuffer[R any, T number] struct {
	get    func(*R) T
	values []T
}

func numberColumn[R any, T number](name, typ string, get func(*R) T) spec[R] {
	return spec[R]{name, typ, func() buffer[R] { return &numberBuffer[R, T]{get: get} }}
}

func (b *numberBuffer[R, T]) fill(rows []R, _ *wire) {
	b.values = b.values[:0]
	for i := range rows {
		b.values = append(b.values, b.get(&rows[i]))
	}
}

func (b *numberBuffer[R, T]) load(dst column.Interface, _ int, _ *proto.Reader) error {
	_, err := dst.Append(b.values)
	return err
}

func (b *numberBuffer[R, T]) forget() {}

type stringBuffer[R any] struct {
	get    func(*R) string
	values []string
}

func stringColumn[R any](name string, get func(*R) string) spec[R] {
	return spec[R]{name, "String", func() buffer[R] { return &stringBuffer[R]{get: get} }}
}

func (b *stringBuffer[R]) fill(rows []R, _ *wire) {
	b.values = b.values[:0]
	for i := range rows {
		b.values = append(b.values, b.get(&rows[i]))
	}
}

func (b *stringBuffer[R]) load(dst column.Interface, _ int, _ *proto.Reader) error {
	_, err := dst.Append(b.values)
	return err
}

func (b *stringBuffer[R]) forget() { clear(b.values) }

// wireBuffer is a column that is written in wire format.
type wireBuffer[R any] struct {
	write func(rows []R, w *wire)
	clear func()
}

func (b *wireBuffer[R]) fill(rows []R, w *wire) { b.write(rows, w) }

func (b *wireBuffer[R]) load(dst column.Interface, n int, r *proto.Reader) error {
	return dst.Decode(r, n)
}

func (b *wireBuffer[R]) forget() {
	if b.clear != nil {
		b.clear()
	}
}
