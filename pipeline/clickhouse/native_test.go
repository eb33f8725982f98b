package clickhouse

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	chproto "github.com/ClickHouse/clickhouse-go/v2/lib/proto"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/pipeline"
)

// nativeRevision is what the bridge speaks: with query parameters, before what
// came after them.
const nativeRevision = 54459

// nativeBridge speaks ClickHouse's native protocol on one side and hands every
// statement and block to the engine's HTTP interface on the other. The wire, the
// handshake and the blocks are those of a server; so are the answers.
type nativeBridge struct {
	engine         string // host:port of the HTTP interface
	user, password string
}

// startNative returns the address of a native server in front of the engine.
func startNative(t *testing.T, engine, user, password string) string {
	t.Helper()
	b := &nativeBridge{engine: engine, user: user, password: password}
	return tcpFake(t, func(c net.Conn) {
		s := &nativeSession{bridge: b, conn: c, in: proto.NewReader(c)}
		if err := s.serve(); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
			t.Logf("native session: %v", err)
		}
	})
}

type nativeSession struct {
	bridge   *nativeBridge
	conn     net.Conn
	in       *proto.Reader
	out      proto.Buffer
	database string
	pack     *compress.Writer // nil: plain
}

func (s *nativeSession) flush() error {
	_, err := s.conn.Write(s.out.Buf)
	s.out.Reset()
	return err
}

func (s *nativeSession) serve() error {
	if code, err := s.in.ReadByte(); err != nil || code != byte(proto.ClientCodeHello) {
		return fmt.Errorf("hello: %d %w", code, err)
	}
	var hello proto.ClientHello
	if err := hello.Decode(s.in); err != nil {
		return err
	}
	s.database = hello.Database
	if hello.User != s.bridge.user || hello.Password != s.bridge.password {
		s.exception(516, hello.User+": Authentication failed: password is incorrect, or there is no user with such name. (AUTHENTICATION_FAILED)")
		return s.flush()
	}
	if _, err := s.bridge.post(s.database, "SELECT 1", nil, nil); err != nil {
		s.failed(err) // the database of the hello does not exist
		return s.flush()
	}
	server := proto.ServerHello{Name: "ClickHouse", Major: 26, Minor: 7, Revision: nativeRevision, Timezone: "UTC", DisplayName: "bridge", Patch: 2}
	server.EncodeAware(&s.out, nativeRevision)
	if err := s.flush(); err != nil {
		return err
	}
	if _, err := s.in.Str(); err != nil { // the addendum: a quota key
		return err
	}
	for {
		code, err := s.in.ReadByte()
		if err != nil {
			return err
		}
		switch proto.ClientCode(code) { //nolint:exhaustive // nothing else is sent
		case proto.ClientCodePing:
			s.out.PutByte(byte(proto.ServerCodePong))
		case proto.ClientCodeQuery:
			if err := s.query(); err != nil {
				return err
			}
		default:
			return fmt.Errorf("unexpected packet %d", code)
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

var insertInto = regexp.MustCompile(`(?is)^\s*INSERT\s+INTO\s+(\S+)\s*\((.*)\)\s*FORMAT\s+Native\s*$`)

func (s *nativeSession) query() error {
	var q proto.Query
	if err := q.DecodeAware(s.in, nativeRevision); err != nil {
		return err
	}
	s.pack = nil
	if q.Compression == proto.CompressionEnabled {
		s.pack = compress.NewWriter(0, compress.LZ4)
	}
	if _, err := s.readBlock(); err != nil { // no external tables
		return err
	}
	params := url.Values{}
	for _, set := range q.Settings {
		params.Set(set.Key, set.Value)
	}
	for _, p := range q.Parameters {
		v := strings.TrimSuffix(strings.TrimPrefix(p.Value, "'"), "'")
		params.Set("param_"+p.Key, strings.NewReplacer(`\\`, `\`, `\'`, `'`).Replace(v))
	}
	if m := insertInto.FindStringSubmatch(q.Body); m != nil {
		return s.insert(q.Body, m[1], m[2], params)
	}
	body, err := s.bridge.post(s.database, q.Body, params, nil)
	if err != nil {
		s.failed(err)
		return nil
	}
	blocks := proto.NewReader(bytes.NewReader(body))
	for {
		b := newServerBlock()
		if err := b.Decode(blocks, 0); err != nil {
			s.out.PutByte(byte(proto.ServerCodeEndOfStream))
			return nil //nolint:nilerr // the end of the answer
		}
		if err := s.data(b); err != nil {
			return err
		}
	}
}

func newServerBlock() *chproto.Block {
	return &chproto.Block{ServerContext: &column.ServerContext{Revision: nativeRevision, VersionMajor: 26, VersionMinor: 7, Timezone: time.UTC}}
}

func (s *nativeSession) insert(sql, table, columns string, params url.Values) error {
	types, err := s.bridge.post(s.database, "DESCRIBE (SELECT "+columns+" FROM "+table+") SETTINGS print_pretty_type_names = 0 FORMAT TSVRaw", nil, nil)
	if err != nil {
		s.failed(err)
		return nil
	}
	sample := newServerBlock()
	for line := range strings.Lines(string(types)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if err := sample.AddColumn(f[0], column.Type(f[1])); err != nil {
			return err
		}
	}
	if err := s.data(sample); err != nil {
		return err
	}
	if err := s.flush(); err != nil {
		return err
	}
	var body proto.Buffer
	for {
		if code, err := s.in.ReadByte(); err != nil || code != byte(proto.ClientCodeData) {
			return fmt.Errorf("insert: packet %d %w", code, err)
		}
		b, err := s.block()
		if err != nil {
			return err
		}
		if len(b.Columns) == 0 {
			break
		}
		if err := b.Encode(&body, 0); err != nil {
			return err
		}
	}
	if len(body.Buf) > 0 {
		if _, err := s.bridge.post(s.database, sql, params, body.Buf); err != nil {
			s.failed(err)
			return nil
		}
	}
	s.out.PutByte(byte(proto.ServerCodeEndOfStream))
	return nil
}

// readBlock reads a whole data packet.
func (s *nativeSession) readBlock() (*chproto.Block, error) {
	if code, err := s.in.ReadByte(); err != nil || code != byte(proto.ClientCodeData) {
		return nil, fmt.Errorf("data: packet %d %w", code, err)
	}
	return s.block()
}

func (s *nativeSession) block() (*chproto.Block, error) {
	if _, err := s.in.Str(); err != nil { // of a temporary table
		return nil, err
	}
	if s.pack != nil {
		s.in.EnableCompression()
		defer s.in.DisableCompression()
	}
	b := newServerBlock()
	return b, b.Decode(s.in, nativeRevision)
}

func (s *nativeSession) data(b *chproto.Block) error {
	var raw proto.Buffer
	if b.Rows() > 0 {
		if err := b.Encode(&raw, nativeRevision); err != nil {
			return err
		}
	} else {
		// A server writes nothing but names and types; the driver's Encode adds the
		// prefixes of LowCardinality columns.
		if err := b.EncodeHeader(&raw, nativeRevision); err != nil {
			return err
		}
		for _, c := range b.Columns {
			raw.PutString(c.Name())
			raw.PutString(string(c.Type()))
			raw.PutBool(false)
		}
	}
	s.out.PutByte(byte(proto.ServerCodeData))
	s.out.PutString("")
	if s.pack == nil {
		s.out.PutRaw(raw.Buf)
		return nil
	}
	if err := s.pack.Compress(raw.Buf); err != nil {
		return err
	}
	s.out.PutRaw(s.pack.Data)
	return nil
}

// serverError is what the engine answered.
type serverError struct {
	code int
	text string
}

func (e *serverError) Error() string { return e.text }

func (s *nativeSession) failed(err error) {
	var e *serverError
	if !errors.As(err, &e) {
		e = &serverError{210, err.Error()}
	}
	s.exception(e.code, e.text)
}

func (s *nativeSession) exception(code int, text string) {
	s.out.PutByte(byte(proto.ServerCodeException))
	(&proto.Exception{Code: proto.Error(code), Name: "DB::Exception", Message: "DB::Exception: " + text}).EncodeAware(&s.out, nativeRevision)
}

func (b *nativeBridge) post(database, sql string, params url.Values, body []byte) ([]byte, error) {
	// The whole answer or an error: no error text behind the blocks.
	u := url.Values{"default_format": {"Native"}, "wait_end_of_query": {"1"}}
	maps.Copy(u, params)
	if database != "" {
		u.Set("database", database)
	}
	content := io.Reader(strings.NewReader(sql))
	if body != nil {
		u.Set("query", sql)
		content = bytes.NewReader(body)
	}
	res, err := http.Post("http://"+b.engine+"/?"+u.Encode(), "application/octet-stream", content) //nolint:noctx // ends with the test
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // it is read to its end
	out, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		code, _ := strconv.Atoi(res.Header.Get("X-ClickHouse-Exception-Code"))
		return nil, &serverError{code, string(out)}
	}
	return out, nil
}

func TestEverythingWorksOverTheNativeProtocolToo(t *testing.T) {
	engine := chdbtest.Start(t)
	for _, method := range []string{CompressionNone, CompressionLZ4, CompressionZSTD} {
		t.Run("compression "+method, func(t *testing.T) {
			native := func(c *Config) {
				c.Protocol, c.Compression, c.Database = ProtocolNative, method, "native_"+method
				c.Username, c.Password = "plumb", secret
			}
			db := open(t, startNative(t, engine, "plumb", secret), native)
			require.ErrorContains(t, db.Ping(t.Context()), "run `plumbline migrate`")
			require.NoError(t, db.Migrate(t.Context(), nil))
			require.NoError(t, checkSchema(t.Context(), db))
			require.NoError(t, db.Ping(t.Context()))

			rows := typicalRows(20000, 300, now())
			require.NoError(t, db.InsertActivity(t.Context(), rows))
			require.NoError(t, db.InsertActivity(t.Context(), rows[:5000]), "again")
			require.NoError(t, db.InsertAlerts(t.Context(), []pipeline.AlertRow{sampleAlert(3), sampleAlert(6), sampleAlert(3)}))
			require.NoError(t, db.InsertWindows(t.Context(), []pipeline.WindowRow{sampleWindow(4), sampleWindow(5)}))
			require.Equal(t, []int{20000, 2, 2}, []int{count(t, db, "activity"), count(t, db, "alerts"), count(t, db, "windows")})
			got := readActivity(t, db)
			for i := range rows {
				require.Equal(t, asRead(rows[i]), got[rows[i].Origin])
			}
			var out, notes bytes.Buffer
			require.NoError(t, db.Query(t.Context(), "SELECT agent_id, signals.name FROM alerts ORDER BY alert_id", FormatText, &out, &notes))
			require.Contains(t, out.String(), "['call_rate','bytes_sent','new_tool']")
			require.Contains(t, notes.String(), "2 rows in ")

			parametersStay(t, db)
			require.ErrorContains(t, db.Show(t.Context(), "SELECT 1 FORMAT CSV", Display{Format: FormatText, Rows: &out}), "FORMAT CSV is made by ClickHouse over HTTP alone: leave it out and use --output")

			exec(t, db, "DROP TABLE window_rows")
			err := db.InsertWindows(t.Context(), []pipeline.WindowRow{sampleWindow(4)})
			require.ErrorContains(t, err, "run `plumbline migrate`")
			require.NoError(t, db.Ping(t.Context()), "the connection is usable")
		})
	}
	t.Run("a column that somebody altered", func(t *testing.T) {
		db := open(t, startNative(t, engine, "plumb", secret), func(c *Config) {
			c.Protocol, c.Database, c.Username, c.Password = ProtocolNative, "altered", "plumb", secret
		})
		require.NoError(t, db.Migrate(t.Context(), nil))
		exec(t, db, "ALTER TABLE activity_rows MODIFY COLUMN tool String SETTINGS mutations_sync = 2")
		err := db.InsertActivity(t.Context(), typicalRows(3, 1, now()))
		require.ErrorContains(t, err, "column tool is a String, not a LowCardinality(String): it was altered")
		require.False(t, IsRetryable(err))
	})
	t.Run("a wrong password", func(t *testing.T) {
		db := open(t, startNative(t, engine, "plumb", "another"), func(c *Config) {
			c.Protocol, c.Username, c.Password = ProtocolNative, "plumb", secret
		})
		require.ErrorContains(t, db.Ping(t.Context()), `refuses user "plumb"`)
	})
}
