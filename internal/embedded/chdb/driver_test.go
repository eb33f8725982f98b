package chdb_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2"
	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

// open returns the driver's connection to addr.
func open(t *testing.T, addr string, change func(*clickhouse.Options)) driver.Conn {
	t.Helper()
	opts := &clickhouse.Options{
		Addr: []string{addr}, Protocol: clickhouse.HTTP, DialTimeout: 5 * time.Second, ReadTimeout: time.Minute, MaxOpenConns: 8,
	}
	if change != nil {
		change(opts)
	}
	conn, err := clickhouse.Open(opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, conn.Close()) })
	return conn
}

const richTable = `CREATE TABLE %s (
	id UInt64, at DateTime64(3, 'UTC'), day Date, kind LowCardinality(String), note String, maybe Nullable(Int32),
	tags Array(String), ranks Array(LowCardinality(String)), attributes Map(LowCardinality(String), String),
	price Decimal(18, 4), ratio Float64, key UUID, level Enum8('low' = 1, 'high' = 2), pair Tuple(a UInt8, b String), ok Bool
) ENGINE = ReplacingMergeTree PARTITION BY day ORDER BY (kind, id)`

type richRow struct {
	ID         uint64            `ch:"id"`
	At         time.Time         `ch:"at"`
	Day        time.Time         `ch:"day"`
	Kind       string            `ch:"kind"`
	Note       string            `ch:"note"`
	Maybe      *int32            `ch:"maybe"`
	Tags       []string          `ch:"tags"`
	Ranks      []string          `ch:"ranks"`
	Attributes map[string]string `ch:"attributes"`
	Ratio      float64           `ch:"ratio"`
	Key        uuid.UUID         `ch:"key"`
	Level      string            `ch:"level"`
	OK         bool              `ch:"ok"`
}

func richRows(n int) []richRow {
	rows := make([]richRow, n)
	for i := range rows {
		maybe := int32(-i)
		rows[i] = richRow{
			ID: uint64(i), At: time.UnixMilli(1_700_000_000_123 + int64(i)).UTC(), Day: time.Date(2023, 11, 14, 0, 0, 0, 0, time.UTC),
			Kind: fmt.Sprintf("kind-%d", i%3), Note: "a\x00b\n'\\\" é " + strings.Repeat("x", i%7),
			Tags: []string{"t", fmt.Sprint(i)}, Ranks: []string{"first", "first", fmt.Sprint(i % 2)},
			Attributes: map[string]string{"region": "eu", "n": fmt.Sprint(i)}, Ratio: float64(i) / 8,
			Key: uuid.NewSHA1(uuid.NameSpaceOID, []byte{byte(i)}), Level: []string{"low", "high"}[i%2], OK: i%2 == 0,
		}
		if i%2 == 0 {
			rows[i].Maybe = &maybe
		} else {
			rows[i].Tags, rows[i].Attributes = []string{}, map[string]string{}
		}
	}
	return rows
}

func insertRich(ctx context.Context, conn driver.Conn, table string, rows []richRow) error {
	batch, err := conn.PrepareBatch(ctx, "INSERT INTO "+table+" (id, at, day, kind, note, maybe, tags, ranks, attributes, ratio, key, level, ok)")
	if err != nil {
		return err
	}
	defer func() { _ = batch.Close() }()
	for i := range rows {
		if err := batch.AppendStruct(&rows[i]); err != nil {
			return err
		}
	}
	return batch.Send()
}

func TestWhatTheDriverInsertsItReadsBackUnderEveryCompression(t *testing.T) {
	addr := chdbtest.Start(t)
	admin := open(t, addr, nil)
	require.NoError(t, admin.Exec(t.Context(), "CREATE DATABASE warehouse"))
	for name, compression := range map[string]*clickhouse.Compression{
		"none":    nil,
		"lz4":     {Method: clickhouse.CompressionLZ4},
		"zstd":    {Method: clickhouse.CompressionZSTD, Level: 3},
		"gzip":    {Method: clickhouse.CompressionGZIP, Level: 3},
		"deflate": {Method: clickhouse.CompressionDeflate, Level: 3},
		"brotli":  {Method: clickhouse.CompressionBrotli, Level: 3},
	} {
		t.Run(name, func(t *testing.T) {
			conn := open(t, addr, func(o *clickhouse.Options) {
				o.Compression = compression
				o.Auth = clickhouse.Auth{Database: "warehouse", Username: "default", Password: "ignored"}
				o.Settings = clickhouse.Settings{"max_block_size": 1000}
			})
			table := "rich_" + name
			require.NoError(t, conn.Exec(t.Context(), fmt.Sprintf(richTable, table)))
			rows := richRows(5000)
			require.NoError(t, insertRich(t.Context(), conn, table, rows))

			var got []richRow
			require.NoError(t, conn.Select(t.Context(), &got, "SELECT id, at, day, kind, note, maybe, tags, ranks, attributes, ratio, key, level, ok FROM "+table+" ORDER BY id"))
			require.Equal(t, rows, got)

			var where string
			require.NoError(t, admin.QueryRow(t.Context(), "SELECT database FROM system.tables WHERE name = $1", table).Scan(&where))
			assert.Equal(t, "warehouse", where)
			var none []richRow
			require.NoError(t, conn.Select(t.Context(), &none, "SELECT id FROM "+table+" WHERE id > 1000000"))
			assert.Empty(t, none)
		})
	}
}

func TestTheDriversParametersAndSettingsReachTheEngine(t *testing.T) {
	conn := open(t, chdbtest.Start(t), nil)
	var text string
	var number uint64
	ctx := clickhouse.Context(t.Context(), clickhouse.WithParameters(clickhouse.Parameters{"text": "it's", "number": "7"}))
	require.NoError(t, conn.QueryRow(ctx, "SELECT {text:String}, {number:UInt64}").Scan(&text, &number))
	assert.Equal(t, "it's 7", fmt.Sprint(text, " ", number))
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT @text", clickhouse.Named("text", "it's \\ a\ttab\n")).Scan(&text))
	assert.Equal(t, "it's \\ a\ttab\n", text)

	ctx = clickhouse.Context(t.Context(), clickhouse.WithSettings(clickhouse.Settings{"max_threads": 3}))
	require.NoError(t, conn.QueryRow(ctx, "SELECT toUInt64(getSetting('max_threads'))").Scan(&number))
	assert.Equal(t, uint64(3), number)
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT toUInt64(getSetting('max_threads'))").Scan(&number))
	assert.NotEqual(t, uint64(3), number, "a setting ends with its request")
}

func TestTheDriverSeesTheEnginesErrors(t *testing.T) {
	conn := open(t, chdbtest.Start(t), func(o *clickhouse.Options) {
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionLZ4}
	})
	require.NoError(t, conn.Exec(t.Context(), "CREATE TABLE numbers (n UInt64) ENGINE = MergeTree ORDER BY n"))
	code := func(err error) int32 {
		var ex *clickhouse.Exception
		if !errors.As(err, &ex) {
			return 0
		}
		return ex.Code
	}
	var n uint64
	assert.EqualValues(t, 60, code(conn.QueryRow(t.Context(), "SELECT * FROM nowhere").Scan(&n)))
	assert.EqualValues(t, 62, code(conn.Exec(t.Context(), "SELEC 1")))
	assert.EqualValues(t, 47, code(conn.Exec(t.Context(), "SELECT missing FROM numbers")))
	assert.EqualValues(t, 57, code(conn.Exec(t.Context(), "CREATE TABLE numbers (n UInt64) ENGINE = MergeTree ORDER BY n")))

	rows, err := conn.Query(t.Context(), "SELECT throwIf(number = 2900000) FROM numbers(3000000)")
	require.NoError(t, err, "the error comes after output was sent")
	seen := 0
	for rows.Next() {
		seen++
	}
	assert.EqualValues(t, 395, code(rows.Err()), "%v", rows.Err())
	assert.Positive(t, seen)
	assert.Less(t, seen, 3000000)
	require.Error(t, rows.Close(), "the same again")
}

func TestTypesThatNoTableHasAreReadToo(t *testing.T) {
	conn := open(t, chdbtest.Start(t), nil)
	var interval string
	var nothing any
	var n uint64
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT NULL, INTERVAL 5 DAY, toUInt64(7)").Scan(&nothing, &interval, &n))
	assert.Nil(t, nothing)
	assert.Equal(t, "5 Days", interval)
	assert.EqualValues(t, 7, n)
}

func TestASelectOfManyBlocksComesWhole(t *testing.T) {
	conn := open(t, chdbtest.Start(t), func(o *clickhouse.Options) {
		o.Compression = &clickhouse.Compression{Method: clickhouse.CompressionZSTD}
	})
	rows, err := conn.Query(t.Context(), "SELECT number, toLowCardinality(toString(number % 10)) FROM numbers(500000)")
	require.NoError(t, err)
	want := uint64(0)
	for ; rows.Next(); want++ {
		var n uint64
		var s string
		require.NoError(t, rows.Scan(&n, &s))
		require.Equal(t, want, n)
		require.Equal(t, fmt.Sprint(n%10), s)
	}
	require.NoError(t, rows.Err())
	require.NoError(t, rows.Close())
	assert.EqualValues(t, 500000, want)
}

func TestReadersSeeWholeInsertsWhileTheyGoOn(t *testing.T) {
	const inserts, rowsEach, readers = 30, 1000, 4
	conn := open(t, chdbtest.Start(t), nil)
	require.NoError(t, conn.Exec(t.Context(), strings.Replace(fmt.Sprintf(richTable, "busy"), "Replacing", "", 1)))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	reads := make([]int, readers)
	for i := range readers {
		wg.Go(func() {
			last := uint64(0)
			for ctx.Err() == nil {
				var n uint64
				if err := conn.QueryRow(context.WithoutCancel(ctx), "SELECT count() FROM busy").Scan(&n); err != nil {
					t.Errorf("read: %v", err)
					return
				}
				if n%rowsEach != 0 || n < last {
					t.Errorf("read %d rows after %d: an insert of %d rows showed in part, or went", n, last, rowsEach)
					return
				}
				last = n
				reads[i]++
			}
		})
	}
	for range inserts {
		require.NoError(t, insertRich(t.Context(), conn, "busy", richRows(rowsEach)))
	}
	cancel()
	wg.Wait()
	for i, n := range reads {
		assert.Positive(t, n, "reader %d", i)
	}
	var n uint64
	require.NoError(t, conn.QueryRow(t.Context(), "SELECT count() FROM busy").Scan(&n))
	assert.EqualValues(t, inserts*rowsEach, n)
}
