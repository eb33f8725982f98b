package chdb

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/plumbline-sec/plumbline/internal/embedded/browser"
)

// request is what a request asks for.
type request struct {
	id        string
	user      string
	text      string // the statement of the URL
	database  string
	format    string
	formatSet bool
	revision  uint64 // client_protocol_version
	compress  bool   // the body is in ClickHouse's own compressed blocks
	method    string // of those: LZ4, ZSTD
	level     int
	encoding  string // Content-Encoding of the answer
	whole     bool   // wait_end_of_query
	buffer    int    // buffer_size: what is kept back of an answer
	session   string
	// session_check: the session must be there. close_session: it ends with the request.
	sessionCheck, sessionClose bool
	timeout                    time.Duration
	progress                   time.Duration // how often it is told in headers; 0: not at all
	replace                    bool          // replace_running_query
	replaceWait                time.Duration
	settings                   []pair
	params                     []pair
	maxQuery                   int
	bounded                    bool // the client sets max_result_bytes itself
	readonly                   bool
	frozen                     bool // readonly = 1 or the like: settings stay as they are too
	expressions                bool // of INSERT ... VALUES: they are run
	body                       io.Reader
	externals                  []external
}

// defaultMaxQuery is max_query_size of a server.
const defaultMaxQuery = 256 << 10

// defaultBuffer is buffer_size of a server, and maxBuffer bounds what a client may make
// of it.
const (
	defaultBuffer = 1 << 20
	maxBuffer     = 16 << 20
)

// maxMaxQuery bounds what a client may make of it: a statement is held in memory as
// tokens too.
const maxMaxQuery = 8 << 20

// maxWhole bounds the output that has to be held in memory, that of a statement
// whose format cannot be sent in pieces: its size as columns, of which JSON makes
// several times as much.
const maxWhole = 128 << 20

func newRequest(r *http.Request, users handover) (*request, error) {
	query := r.URL.Query()
	body, err := decodeBody(r.Body, r.Header.Get("Content-Encoding"), query.Get("decompress") == "1")
	if err != nil {
		return nil, err
	}
	var tables []external
	if multiparts(r) {
		if tables, err = readParts(r, body, query); err != nil {
			return nil, err
		}
		body = http.NoBody
	}
	req := &request{
		body: body, externals: tables,
		id: query.Get("query_id"), text: query.Get("query"), database: query.Get("database"),
		format: "TabSeparated", session: query.Get("session_id"), timeout: time.Minute,
		method: "LZ4", maxQuery: defaultMaxQuery, buffer: defaultBuffer, replaceWait: 5 * time.Second,
		sessionCheck: query.Get("session_check") == "1", sessionClose: query.Get("close_session") == "1",
	}
	if req.id == "" {
		req.id = r.Header.Get("X-ClickHouse-Query-Id")
	}
	if req.id == "" {
		id := nonce()
		req.id = id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:]
	}
	if len(req.id) > maxID {
		return nil, newException(36, "BAD_ARGUMENTS", "A query_id of more than "+strconv.Itoa(maxID)+" bytes is not served by the embedded ClickHouse")
	}
	if req.database == "" {
		req.database = r.Header.Get("X-ClickHouse-Database")
	}
	if f := r.Header.Get("X-ClickHouse-Format"); f != "" {
		req.format, req.formatSet = f, true
	}
	if req.user, err = users.user(r, query); err != nil {
		return req, err
	}
	if role := query.Get("role"); role != "" {
		return req, newException(511, "UNKNOWN_ROLE", "There is no role `"+shortened(role)+"` in user directories")
	}
	if req.session != "" {
		req.session = req.user + "/" + req.session
	}
	if err := req.readURL(query); err != nil {
		return req, err
	}
	req.frozen = req.frozen || req.user == ReaderUser
	// As a server has it, a GET changes nothing; and nothing that a page in a browser sends does.
	req.readonly = req.readonly || req.frozen || r.Method == http.MethodGet || browser.IsPage(r)
	req.encoding = chooseEncoding(r.Header.Get("Accept-Encoding"), query.Get("enable_http_compression"))
	if on := query.Get("send_progress_in_http_headers"); (on == "1" || on == "true") && r.ProtoAtLeast(1, 1) {
		req.progress = 100 * time.Millisecond // a server's http_headers_progress_interval_ms
		if n, err := strconv.Atoi(query.Get("http_headers_progress_interval_ms")); err == nil && n > 0 {
			req.progress = max(time.Duration(n)*time.Millisecond, minProgress)
		}
	}
	return req, nil
}

// maxID bounds a query_id: statements that ask for ids hold those of all that run.
const maxID = 256

// minProgress bounds how often the engine is asked for it.
const minProgress = 20 * time.Millisecond

// readURL sorts the URL's parameters into ours, the statement's and settings.
func (req *request) readURL(query url.Values) error {
	for name, values := range query {
		value := values[len(values)-1]
		if param, ok := strings.CutPrefix(name, "param_"); ok {
			req.params = append(req.params, pair{param, value})
			continue
		}
		switch name {
		case "query", "query_id", "database", "session_id", "session_check", "decompress", "user", "password",
			"quota_key", "stacktrace", "role", "http_write_exception_in_output_format", "close_session":
		case "default_format":
			req.format, req.formatSet = value, true
		case "compress":
			req.compress = value == "1"
		case "wait_end_of_query":
			req.whole = value == "1"
		case "buffer_size":
			n, err := strconv.Atoi(value)
			if err != nil || n < 0 {
				return newException(72, "CANNOT_PARSE_NUMBER", "buffer_size: not a number: '"+value+"'")
			}
			req.buffer = min(n, maxBuffer)
		case "session_timeout":
			seconds, err := strconv.Atoi(value)
			if err != nil || seconds <= 0 || seconds > 3600 {
				return newException(374, "INVALID_SESSION_TIMEOUT", "Invalid session timeout: '"+value+"'")
			}
			req.timeout = time.Duration(seconds) * time.Second
		case "client_protocol_version":
			revision, err := strconv.ParseUint(value, 10, 32)
			if err != nil {
				return newException(36, "BAD_ARGUMENTS", "client_protocol_version: not a number: '"+value+"'")
			}
			req.revision = revision
		default:
			req.setting(name, value)
		}
	}
	return nil
}

// setting keeps a setting for the engine, and reads those that concern this side.
func (req *request) setting(name, value string) {
	switch name {
	case "network_compression_method":
		req.method = strings.ToUpper(value)
	case "network_zstd_compression_level":
		req.level, _ = strconv.Atoi(value) // the engine judges it
	case "async_insert", "wait_for_async_insert":
		return // an answer here always means that the rows are stored
	case "max_result_bytes":
		req.bounded = true
	case "readonly":
		req.readonly = value != "0"
		req.frozen = req.readonly && value != "2"
	case "replace_running_query":
		req.replace = value == "1" || value == "true"
	case "replace_running_query_max_wait_ms":
		if n, err := strconv.Atoi(value); err == nil && n >= 0 {
			req.replaceWait = time.Duration(n) * time.Millisecond
		}
	case "max_query_size":
		if n, err := strconv.Atoi(value); err == nil && n >= 0 {
			req.maxQuery = n
		}
	}
	req.settings = append(req.settings, pair{name, value})
}

// rowsFormat is the format of an INSERT's rows, where it names none too.
func (req *request) rowsFormat(st statement) string {
	switch {
	case st.format != "":
		return st.format
	case req.formatSet:
		return req.format
	}
	return "Values"
}

// maxExpressions bounds the rows of INSERT ... VALUES in which expressions may stand.
// They are looked at as a whole, and more is not held in memory.
const maxExpressions = 1 << 20

// readExpressions looks at the rows in the format Values: those that stand behind the
// statement, and the body. It refuses them for what they call. Where there are too many,
// or they are not understood, they are taken as values: no expression is then run.
func (req *request) readExpressions(rows string) error {
	var head bytes.Buffer
	n, err := io.Copy(&head, io.LimitReader(req.body, maxExpressions+1))
	if err != nil {
		return fmt.Errorf("read rows: %w", err)
	}
	req.body = io.MultiReader(bytes.NewReader(head.Bytes()), req.body)
	if n > maxExpressions {
		return nil
	}
	understood, err := checkRows(rows + head.String())
	// The rows of external tables are not looked at, and are read on the same connection.
	req.expressions = understood && len(req.externals) == 0
	return err
}

// boundResult limits an output that is held in memory as a whole.
func (req *request) boundResult() {
	if !req.bounded {
		req.settings = append(req.settings, pair{"max_result_bytes", strconv.Itoa(maxWhole)})
	}
}

// statement reads the statement: the URL's text, a line end, the body, as a
// server joins them. Of an INSERT's rows it takes at most those that stand in
// the first piece; the rest stays in the body.
func (req *request) statement() (string, statement, error) {
	source := ""
	if req.text != "" {
		source = req.text + "\n"
		if st := parseStatement(source); st.kind == insertRows {
			return st.source, st, st.refusal()
		}
	}
	limit := req.maxQuery
	if limit == 0 || limit > maxMaxQuery {
		limit = maxMaxQuery
	}
	var body bytes.Buffer
	n, err := io.Copy(&body, io.LimitReader(req.body, int64(max(limit-len(source), 0))+1))
	if err != nil {
		return "", statement{}, fmt.Errorf("read statement: %w", err)
	}
	source += body.String()
	if strings.TrimSpace(source) == "" {
		return "", statement{}, newException(62, "SYNTAX_ERROR", "Syntax error: Empty query")
	}
	st := parseStatement(source)
	if n > 0 && len(source) > limit && (st.kind != insertRows || st.data == len(source)) {
		return "", statement{}, newException(62, "SYNTAX_ERROR", fmt.Sprintf("Max query size exceeded (limit is %d bytes; the setting max_query_size changes it)", limit))
	}
	return st.source, st, st.refusal()
}
