package chdb

import (
	"bufio"
	"bytes"
	"fmt"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	driver "github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// recode writes Native blocks for the client's revision. The library writes revision 0:
// no block information, no serialization kinds. The driver reads the blocks, to find
// where their columns are; the columns stay the engine's bytes.
func (o *output) recode(data []byte) error {
	b := &blocks{data: data, src: bytes.NewReader(data)}
	// proto.NewReader takes over a buffer of this size instead of making its own,
	// which is how its place in the data can be seen from here.
	b.in = bufio.NewReaderSize(b.src, 128<<10)
	b.reader = proto.NewReader(b.in)
	for b.at() < len(data) {
		if err := b.next(o.req.revision); err != nil {
			return newException(48, "NOT_IMPLEMENTED", "A column of this type is not served in the format Native: "+err.Error())
		}
		if err := o.raw(b.out.Buf); err != nil {
			return err
		}
	}
	return nil
}

// blocks goes over Native blocks.
type blocks struct {
	data   []byte
	src    *bytes.Reader
	in     *bufio.Reader
	reader *proto.Reader
	out    proto.Buffer // the block for the client
}

// at is the place in the data.
func (b *blocks) at() int { return len(b.data) - b.src.Len() - b.in.Buffered() }

func (b *blocks) next(revision uint64) error {
	b.out.Reset()
	// Of the information, the fields: 1, whether these are rows beyond a limit, 2, the
	// bucket of an aggregation, and the end.
	b.out.PutUVarInt(1)
	b.out.PutBool(false)
	b.out.PutUVarInt(2)
	b.out.PutInt32(-1)
	b.out.PutUVarInt(0)
	columns, err := b.reader.UVarInt()
	if err != nil {
		return err //nolint:wrapcheck // recode says what it means
	}
	rows, err := b.reader.UVarInt()
	if err != nil {
		return err //nolint:wrapcheck // the same
	}
	b.out.PutUVarInt(columns)
	b.out.PutUVarInt(rows)
	for range columns {
		if err := b.column(int(rows), revision); err != nil {
			return err
		}
	}
	return nil
}

// column copies one, with the kind of its serialization where the client expects it.
func (b *blocks) column(rows int, revision uint64) error {
	start := b.at()
	name, err := b.reader.Str()
	if err != nil {
		return err //nolint:wrapcheck // recode says what it means
	}
	typ, err := b.reader.Str()
	if err != nil {
		return err //nolint:wrapcheck // the same
	}
	b.out.PutRaw(b.data[start:b.at()])
	if revision >= driver.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION {
		b.out.PutBool(false)
	}
	if rows == 0 {
		return nil
	}
	start = b.at()
	c, err := column.Type(typ).Column(name, &column.ServerContext{})
	if err != nil {
		return fmt.Errorf("%s: %w", typ, err)
	}
	if c, ok := c.(column.CustomSerialization); ok {
		if err := c.ReadStatePrefix(b.reader); err != nil {
			return fmt.Errorf("%s: %w", typ, err)
		}
	}
	if err := c.Decode(b.reader, rows); err != nil {
		return fmt.Errorf("%s: %w", typ, err)
	}
	b.out.PutRaw(b.data[start:b.at()])
	return nil
}
