package chdb

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/plumbline-sec/plumbline/internal/embedded/browser"
)

// ServerName is the Server header of every answer: what tells the engine of a running
// service from another ClickHouse on the port that both have by default.
const ServerName = "plumbline"

// handler speaks ClickHouse's HTTP interface.
type handler struct {
	engine   *engine
	users    handover
	sessions *sessions
	running  *running
	slots    chan struct{} // one for each running request
	readers  chan struct{} // of them, those of the reader, who leaves some to the service
	parts    chan struct{} // one for each multipart body, whose files are held in memory
	log      zerolog.Logger
	handler  http.Handler
}

// maxRequests is a server's max_concurrent_queries. A request holds a thread
// while it is in the engine.
const maxRequests = 100

const (
	maxReaders = maxRequests / 2
	maxBodies  = 8
	// bodyPatience is how long a body may be silent: a server's http_receive_timeout.
	bodyPatience = 30 * time.Second
)

// enter takes a place, unless ctx ends before there is one.
func enter(ctx context.Context, places chan struct{}) (leave func(), ok bool) {
	select {
	case places <- struct{}{}:
		return func() { <-places }, true
	case <-ctx.Done():
		return nil, false
	}
}

func newHandler(e *engine, users handover, log zerolog.Logger) *handler {
	h := &handler{
		engine: e, users: users, sessions: newSessions(e), running: newRunning(e), slots: make(chan struct{}, maxRequests),
		readers: make(chan struct{}, maxReaders), parts: make(chan struct{}, maxBodies), log: log,
	}
	// Nobody asks for a password here, and pages in a browser reach this port.
	h.handler = browser.Guard(http.HandlerFunc(h.serve))
	return h
}

func (h *handler) serve(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server", ServerName)
	switch {
	case r.URL.Path == "/ping", r.URL.Path == "/replicas_status":
		_, _ = io.WriteString(w, "Ok.\n")
	case r.URL.Path == "/play" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		play(w, h.users.Database)
	case r.URL.Path != "/" && r.URL.Path != "/query":
		http.Error(w, "There is no handle "+r.URL.Path+"\n\nUse / or /ping for health checks.\nOr /play for an interactive UI for data exploration.\nSend queries from your program with POST method or GET /?query=...", http.StatusNotFound)
	case r.Method == http.MethodGet && !r.URL.Query().Has("query"), r.Method == http.MethodHead:
		_, _ = io.WriteString(w, "Ok.\n")
	case r.Method == http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
	case r.Method != http.MethodGet && r.Method != http.MethodPost:
		http.Error(w, "use GET or POST", http.StatusMethodNotAllowed)
	default:
		h.query(w, r)
	}
}

// query answers one statement.
func (h *handler) query(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	r.Body = &patientBody{ReadCloser: r.Body, of: http.NewResponseController(w), ctx: r.Context(), patience: bodyPatience}
	if multiparts(r) {
		leave, ok := enter(r.Context(), h.parts)
		if !ok {
			return
		}
		defer leave()
	}
	req, err := newRequest(r, h.users)
	if err != nil {
		h.fail(w, err)
		return
	}
	head := w.Header()
	head.Set("X-ClickHouse-Query-Id", req.id)
	head.Set("X-ClickHouse-Server-Display-Name", h.engine.name)
	head.Set("X-ClickHouse-Timezone", h.engine.timezone)
	if req.user == ReaderUser {
		leave, ok := enter(r.Context(), h.readers)
		if !ok {
			return
		}
		defer leave()
	}
	leave, ok := enter(r.Context(), h.slots)
	if !ok {
		return
	}
	defer leave()
	q, err := h.running.begin(r.Context(), req)
	if err != nil {
		h.fail(w, err)
		return
	}
	defer h.running.end(req, q)
	ctx, gone := context.WithCancel(r.Context())
	defer gone()
	live := &liveHead{ResponseWriter: w, gone: gone}
	out := newOutput(live, req, started)
	if err := h.run(ctx, req, q, out); err != nil {
		h.log.Debug().Err(err).Str("query_id", req.id).Msg("query failed")
		if !out.fail(h.message(asException(err))) {
			h.fail(w, err)
		}
	} else if err := out.close(); err != nil {
		h.log.Debug().Err(err).Str("query_id", req.id).Msg("answer not delivered")
	}
	live.end()
}

// drained waits until no request is in progress, and reports whether that came to be.
// There are no more requests after that.
func (h *handler) drained(patience time.Duration) bool {
	late := time.After(patience)
	for range maxRequests {
		select {
		case h.slots <- struct{}{}:
		case <-late:
			return false
		}
	}
	return true
}

// fail answers with an error; nothing was sent before.
func (h *handler) fail(w http.ResponseWriter, err error) {
	ex := asException(err)
	head := w.Header()
	for _, name := range []string{"Content-Encoding", "X-ClickHouse-Format", "X-ClickHouse-Summary", "X-ClickHouse-Exception-Tag"} {
		head.Del(name)
	}
	head.Set("Content-Type", "text/plain; charset=UTF-8")
	head.Set("X-ClickHouse-Exception-Code", strconv.Itoa(ex.Code))
	w.WriteHeader(httpStatus(ex.Code))
	_, _ = io.WriteString(w, h.message(ex)+"\n") //nolint:gosec // the answer is plain text
}

// message is the error's text as a server gives it, with the version.
func (h *handler) message(ex *Exception) string {
	return ex.Text + " (version " + h.engine.version + ")"
}

func asException(err error) *Exception {
	var ex *Exception
	switch {
	case errors.As(err, &ex):
		return ex
	case errors.Is(err, context.Canceled):
		return newException(394, "QUERY_WAS_CANCELLED", "Query was cancelled: the client is gone")
	}
	return newException(1001, "STD_EXCEPTION", err.Error())
}

// run gives the statement to the engine and its output to out.
func (h *handler) run(ctx context.Context, req *request, q *runningQuery, out *output) (err error) {
	source, st, err := req.statement()
	if err != nil {
		return err
	}
	format := st.format
	if format == "" {
		format = req.format
	}
	if err := h.permitted(req, st, source, format); err != nil {
		return err
	}
	streams := st.kind == selects && !st.totals && !req.whole && joinable[strings.ToLower(format)]
	if !streams && st.kind != insertRows {
		req.boundResult()
	}
	s, release, err := h.sessions.take(req, st)
	if err != nil {
		return err
	}
	defer func() { release(err == nil) }()
	defer h.running.runsOn(q, s)()
	count, readOnly := 1, false
	if st.kind != insertRows {
		count, readOnly = s.analyse(source)
	}
	// Before anything else is said of it: what is refused is refused for what it is.
	if err := st.check(req.readonly, count > 0); err != nil {
		return err
	}
	switch {
	case count > 1:
		return newException(62, "SYNTAX_ERROR", "Syntax error (Multi-statements are not allowed)")
	case count == 1 && req.readonly && req.session != "" && !readOnly:
		return newException(164, "READONLY", "Cannot execute query in readonly mode: "+onlyReads)
	case req.frozen && req.session != "" && st.hasSettings():
		return newException(164, "READONLY", "Cannot modify settings in readonly mode")
	case st.kind == insertRows:
		return h.insert(ctx, s, st, source, req, out)
	}
	out.begin(format)
	ended := h.running.killWithClient(ctx, s, func(err error) {
		h.log.Warn().Err(err).Str("query_id", req.id).Msg("query of a client that is gone not killed")
	})
	defer ended()
	if req.progress > 0 {
		defer h.tell(out.w, s, req.progress)()
	}
	sql, err := h.running.withIDs(source, st, req.id)
	if err != nil {
		return err
	}
	return h.answer(ctx, s, sql, format, streams, req, out)
}

// permitted refuses what a request asks for beside its statement: settings, formats,
// names as parameters, expressions among rows.
func (h *handler) permitted(req *request, st statement, source, format string) error {
	for _, s := range req.settings {
		if err := checkSetting(s.name); err != nil {
			return err
		}
		if req.user == ReaderUser && !readerMay[s.name] && !h.engine.stands(s) {
			return newException(164, "READONLY", "Cannot modify '"+s.name+"' setting in readonly mode")
		}
	}
	if err := st.checkParameters(req.params); err != nil {
		return err
	}
	if req.user == ReaderUser {
		if err := st.checkReader(req.params); err != nil {
			return err
		}
	}
	for _, t := range req.externals {
		if err := t.check(); err != nil {
			return err
		}
	}
	if st.kind != insertRows {
		return checkFormat(format)
	}
	if format = req.rowsFormat(st); !strings.EqualFold(format, "Values") {
		return checkFormat(format)
	}
	return req.readExpressions(source[st.data:])
}

// answer runs a statement without rows and sends its output.
func (h *handler) answer(ctx context.Context, s *session, sql, format string, streams bool, req *request, out *output) error {
	if streams {
		rows, err := s.stream(sql, format, req.params)
		if !notStreamed(err) {
			return h.stream(ctx, rows, err, out)
		}
	}
	res, err := s.query(sql, format, req.params)
	if err != nil {
		return err
	}
	defer res.destroy()
	out.summary(res.stats())
	return out.write(res.bytes())
}

// notStreamed reports whether the library refuses to give the output of this
// statement in pieces. It says so before the statement runs.
func notStreamed(err error) bool {
	var ex *Exception
	return errors.As(err, &ex) && ex.Code == 36 && strings.Contains(ex.Text, "Streaming query is not supported")
}

// stream sends a SELECT's output as it comes; err is what starting it gave.
func (h *handler) stream(ctx context.Context, rows *stream, err error, out *output) error {
	if err != nil {
		return err
	}
	defer rows.close()
	var sum stats
	for {
		part, err := rows.next()
		if part == nil || err != nil {
			return err
		}
		sum = sum.and(part.stats())
		out.summary(sum)
		err = out.write(part.bytes())
		part.destroy()
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err //nolint:wrapcheck // asException compares it
		}
	}
}

// insertPiece is how much of a body is handed to the engine at once. The library
// queues up to 16 pieces.
const insertPiece = 256 << 10

// insert gives the rows that follow the statement to the engine.
func (h *handler) insert(ctx context.Context, s *session, st statement, source string, req *request, out *output) error {
	in, err := s.insert(st.text, req.rowsFormat(st), req.params)
	if err != nil {
		return err
	}
	defer in.close()
	more := in.append([]byte(source[st.data:]))
	buf := make([]byte, insertPiece)
	for more {
		n, err := fill(req.body, buf)
		more = in.append(buf[:n]) && err == nil
		if err == nil {
			err = ctx.Err()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			// A body that breaks off is not an insert of what came of it.
			return fmt.Errorf("read rows: %w", err)
		}
	}
	done, err := in.done()
	if err != nil {
		return err
	}
	out.summary(done)
	return nil
}

// fill reads until buf is full; io.EOF is the proper end, and nothing else is.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		var m int
		m, err = r.Read(buf[n:])
		n += m
	}
	return n, err //nolint:wrapcheck // io.EOF must stay io.EOF
}

// nonce is a random name.
func nonce() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}
