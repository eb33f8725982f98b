//nolint:gosec // a C interface is made of pointers; every one of them is pinned or freed here
package chdb

import (
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is libchdb's C interface. Strings go in with their length, so that
// they may hold any byte; what comes out belongs to a result until it is
// destroyed.
type library struct {
	setSignalHandlers func(enabled int32)
	connect           func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn         func(conn unsafe.Pointer)
	shutdown          func() int32

	query       func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) unsafe.Pointer
	streamQuery func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) unsafe.Pointer
	fetch       func(conn, stream unsafe.Pointer) unsafe.Pointer
	cancelQuery func(conn, stream unsafe.Pointer)

	insert        func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) unsafe.Pointer
	insertAppend  func(stream, data unsafe.Pointer, length uintptr) int32
	insertDone    func(stream unsafe.Pointer) unsafe.Pointer
	insertError   func(stream unsafe.Pointer) unsafe.Pointer
	destroyInsert func(stream unsafe.Pointer)

	classify func(conn, sql unsafe.Pointer, sqlLen uintptr, database unsafe.Pointer, databaseLen uintptr, out unsafe.Pointer) int32

	resultBuffer  func(result unsafe.Pointer) unsafe.Pointer
	resultLength  func(result unsafe.Pointer) uintptr
	resultError   func(result unsafe.Pointer) unsafe.Pointer
	rowsRead      func(result unsafe.Pointer) uint64
	storageRows   func(result unsafe.Pointer) uint64
	storageBytes  func(result unsafe.Pointer) uint64
	rowsWritten   func(result unsafe.Pointer) uint64
	bytesWritten  func(result unsafe.Pointer) uint64
	destroyResult func(result unsafe.Pointer)
}

func openLibrary(path string) (_ *library, err error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w", path, err)
	}
	// RegisterLibFunc panics where a symbol is missing: another library, then.
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("load %s: not the pinned libchdb: %v", path, r)
		}
	}()
	lib := &library{}
	for name, fn := range map[string]any{
		"chdb_set_signal_handlers_enabled": &lib.setSignalHandlers,
		"chdb_connect":                     &lib.connect,
		"chdb_close_conn":                  &lib.closeConn,
		"chdb_shutdown":                    &lib.shutdown,
		"chdb_query_with_params_n":         &lib.query,
		"chdb_stream_query_with_params_n":  &lib.streamQuery,
		"chdb_stream_fetch_result":         &lib.fetch,
		"chdb_stream_cancel_query":         &lib.cancelQuery,
		"chdb_stream_insert_with_params_n": &lib.insert,
		"chdb_stream_append":               &lib.insertAppend,
		"chdb_stream_done":                 &lib.insertDone,
		"chdb_stream_insert_error":         &lib.insertError,
		"chdb_destroy_insert_stream":       &lib.destroyInsert,
		"chdb_classify_query_n":            &lib.classify,
		"chdb_result_buffer":               &lib.resultBuffer,
		"chdb_result_length":               &lib.resultLength,
		"chdb_result_error":                &lib.resultError,
		"chdb_result_rows_read":            &lib.rowsRead,
		"chdb_result_storage_rows_read":    &lib.storageRows,
		"chdb_result_storage_bytes_read":   &lib.storageBytes,
		"chdb_result_rows_written":         &lib.rowsWritten,
		"chdb_result_bytes_written":        &lib.bytesWritten,
		"chdb_destroy_query_result":        &lib.destroyResult,
	} {
		purego.RegisterLibFunc(fn, handle, name)
	}
	return lib, nil
}

// engine is the running engine. There is one per process: chDB has one storage
// path for as long as a connection is open, and base stays open until close.
type engine struct {
	lib      *library
	path     string
	base     *session
	baseMu   sync.Mutex
	known    map[string]setting // the engine's settings, as a fresh connection has them
	version  string
	name     string
	timezone string
	signals  func() // puts the process's signal handlers back
}

// setting is what a connection begins with.
type setting struct {
	value   string
	changed bool // it is not the engine's default
}

// pair is a setting or a parameter.
type pair struct{ name, value string }

// startEngine boots the engine on path. It leaves the process's signal handlers
// as they were: chDB takes SIGSEGV and its kind for itself, and where it is told
// not to, sets them to their defaults instead.
func startEngine(libPath, path, configFile string) (*engine, error) {
	lib, err := openLibrary(libPath)
	if err != nil {
		return nil, err
	}
	e := &engine{lib: lib, path: path}
	e.signals = saveSignals()
	lib.setSignalHandlers(0)
	e.base = e.connect([]string{"--config-file=" + configFile})
	if e.base == nil {
		return nil, fmt.Errorf("the engine refuses %s; its log says why", path)
	}
	row, err := e.base.text("SELECT version(), displayName(), timezone()")
	if err != nil {
		e.close()
		return nil, fmt.Errorf("ask the engine for its version: %w", err)
	}
	fields := strings.Split(strings.TrimSuffix(row, "\n"), "\t")
	if len(fields) != 3 {
		e.close()
		return nil, fmt.Errorf("ask the engine for its version: got %q", row)
	}
	e.version, e.name, e.timezone = fields[0], fields[1], fields[2]
	if err := e.readSettings(); err != nil {
		e.close()
		return nil, fmt.Errorf("ask the engine for its settings: %w", err)
	}
	return e, nil
}

func (e *engine) readSettings() error {
	rows, err := e.base.text("SELECT changed, name, if(changed, base64Encode(value), '') FROM system.settings")
	if err != nil {
		return err
	}
	e.known = map[string]setting{}
	for row := range strings.Lines(rows) {
		fields := strings.Split(strings.TrimSuffix(row, "\n"), "\t")
		if len(fields) != 3 {
			return fmt.Errorf("got %q", row)
		}
		value, err := base64.StdEncoding.DecodeString(fields[2])
		if err != nil {
			return fmt.Errorf("got %q: %w", row, err)
		}
		e.known[fields[1]] = setting{value: string(value), changed: fields[0] == "1"}
	}
	return nil
}

// connect opens a connection; arguments that name a setting hold for it alone.
func (e *engine) connect(args []string) *session {
	argv := make([]unsafe.Pointer, 0, len(args)+2)
	texts := make([][]byte, 0, len(args)+2)
	for _, arg := range append([]string{"clickhouse", "--path=" + e.path}, args...) {
		text := append([]byte(arg), 0)
		texts = append(texts, text)
		argv = append(argv, unsafe.Pointer(&text[0]))
	}
	var pin runtime.Pinner
	defer pin.Unpin()
	for _, text := range texts {
		pin.Pin(&text[0])
	}
	handle := e.lib.connect(int32(len(argv)), unsafe.Pointer(&argv[0]))
	e.signals()
	runtime.KeepAlive(argv)
	if handle == nil {
		return nil
	}
	return &session{lib: e.lib, handle: handle}
}

// stands reports whether a reader's connection has the setting with this value.
func (e *engine) stands(s pair) bool {
	if s.name == "readonly" {
		return s.value == "1"
	}
	row, err := e.ask("SELECT count() FROM system.settings WHERE name = " + quoteString(s.name) + " AND value = " + quoteString(s.value))
	return err == nil && row == "1\n"
}

// open returns a connection of its own for one request, with the settings, in
// the database, with all roles or with the reader's. The caller closes it. A *Exception says what the engine objects to.
func (e *engine) open(database string, settings []pair, reader bool) (*session, error) {
	tag := nonce()
	args := append(make([]string, 0, len(settings)+1), "--"+tagSetting+"="+tag)
	for _, s := range settings {
		if _, ok := e.known[s.name]; !ok {
			return nil, newException(115, "UNKNOWN_SETTING", fmt.Sprintf("Setting %s is neither a builtin setting nor started with the prefix 'SQL_' registered for user-defined settings", s.name))
		}
		args = append(args, "--"+s.name+"="+s.value)
	}
	s := e.connect(args)
	if s == nil {
		return nil, e.explain(settings)
	}
	s.tag = tag
	if reader {
		if _, err := s.text("SET ROLE reader"); err != nil {
			s.close()
			return nil, err
		}
	}
	if database != "" && database != "default" {
		if _, err := s.text("USE " + quoteIdentifier(database)); err != nil {
			s.close()
			return nil, err
		}
	}
	return s, nil
}

// explain finds the setting for which a connection was refused: the library
// only says that it was.
func (e *engine) explain(settings []pair) error {
	s := e.connect(nil)
	if s == nil {
		return newException(1001, "STD_EXCEPTION", "the engine opens no more connections")
	}
	defer s.close()
	for _, setting := range settings {
		if _, err := s.text("SET " + setting.name + " = " + quoteString(setting.value)); err != nil {
			return err
		}
	}
	return newException(1001, "STD_EXCEPTION", "the engine refused the connection")
}

// kill ends what runs on the connection with this tag.
func (e *engine) kill(tag string) error {
	_, err := e.ask("KILL QUERY WHERE Settings['" + tagSetting + "'] = " + quoteString(tag) + " ASYNC")
	return err
}

// ask runs a statement of our own beside those of requests.
func (e *engine) ask(sql string) (string, error) {
	e.baseMu.Lock()
	defer e.baseMu.Unlock()
	return e.base.text(sql)
}

// close shuts the engine down. Every other session must be closed by then.
func (e *engine) close() {
	e.base.close()
	e.lib.shutdown()
}

// session is one connection: it runs one statement at a time.
type session struct {
	lib    *library
	handle unsafe.Pointer
	tag    string // tells its statements from others (queryid.go)
}

func (s *session) conn() unsafe.Pointer { return *(*unsafe.Pointer)(s.handle) }

func (s *session) close() {
	s.lib.closeConn(s.handle)
	s.handle = nil
}

// text runs a statement of our own.
func (s *session) text(sql string) (string, error) {
	return s.whole(sql, "TabSeparated")
}

// value is that of an expression, as it is.
func (s *session) value(expression string) (string, error) {
	return s.whole("SELECT "+expression, "RawBLOB")
}

func (s *session) whole(sql, format string) (string, error) {
	r, err := s.query(sql, format, nil)
	if err != nil {
		return "", err
	}
	defer r.destroy()
	return string(r.bytes()), nil
}

// database is the one that USE chose, or the one before where the engine does not say.
func (s *session) database(before string) string {
	name, err := s.value("currentDatabase()")
	if err != nil {
		return before
	}
	return name
}

type call = func(conn, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, count uintptr) unsafe.Pointer

func (s *session) call(fn call, sql, format string, params []pair) unsafe.Pointer {
	var pin runtime.Pinner
	defer pin.Unpin()
	names, nameLens := make([]unsafe.Pointer, len(params)), make([]uintptr, len(params))
	values, valueLens := make([]unsafe.Pointer, len(params)), make([]uintptr, len(params))
	for i, p := range params {
		names[i], nameLens[i] = pinned(&pin, p.name), uintptr(len(p.name))
		values[i], valueLens[i] = pinned(&pin, p.value), uintptr(len(p.value))
	}
	result := fn(s.conn(), pinned(&pin, sql), uintptr(len(sql)), pinned(&pin, format), uintptr(len(format)),
		first(names), first(nameLens), first(values), first(valueLens), uintptr(len(params)))
	runtime.KeepAlive(names)
	runtime.KeepAlive(nameLens)
	runtime.KeepAlive(values)
	runtime.KeepAlive(valueLens)
	return result
}

// pinned is the address of the text; a valid one for the empty text too.
func pinned(pin *runtime.Pinner, text string) unsafe.Pointer {
	if text == "" {
		text = "\x00"
	}
	data := unsafe.StringData(text)
	pin.Pin(data)
	return unsafe.Pointer(data)
}

func first[T any](s []T) unsafe.Pointer {
	if len(s) == 0 {
		return nil
	}
	return unsafe.Pointer(&s[0])
}

// query runs a statement and holds its whole output.
func (s *session) query(sql, format string, params []pair) (*result, error) {
	return newResult(s.lib, s.call(s.lib.query, sql, format, params))
}

// stream starts a SELECT whose output comes in pieces.
func (s *session) stream(sql, format string, params []pair) (*stream, error) {
	r, err := newResult(s.lib, s.call(s.lib.streamQuery, sql, format, params))
	if err != nil {
		return nil, err
	}
	return &stream{session: s, handle: r.handle}, nil
}

// insert starts an INSERT whose rows come in pieces.
func (s *session) insert(sql, format string, params []pair) (*inserter, error) {
	handle := s.call(s.lib.insert, sql, format, params)
	if text := goString(s.lib.insertError(handle)); text != "" {
		s.lib.destroyInsert(handle)
		return nil, parseException(text)
	}
	return &inserter{lib: s.lib, handle: handle}, nil
}

// analyse counts the statements in sql and reports whether they change nothing;
// none where the parser does not get through.
func (s *session) analyse(sql string) (count int, readOnly bool) {
	report := struct{ size, count, flags, class uint32 }{size: 16}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&report)
	if s.lib.classify(s.conn(), pinned(&pin, sql), uintptr(len(sql)), nil, 0, unsafe.Pointer(&report)) != 0 {
		return 0, false
	}
	return int(report.count), report.class == 0
}

func goString(p unsafe.Pointer) string {
	if p == nil {
		return ""
	}
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

// quoteIdentifier writes a name for SQL.
func quoteIdentifier(name string) string {
	return "`" + strings.NewReplacer("\\", "\\\\", "`", "\\`").Replace(name) + "`"
}

// quoteString writes a string literal for SQL.
func quoteString(s string) string {
	return "'" + strings.NewReplacer("\\", "\\\\", "'", "\\'").Replace(s) + "'"
}

// guarded are the signals whose handlers libchdb resets.
var guarded = []syscall.Signal{
	syscall.SIGABRT, syscall.SIGSEGV, syscall.SIGILL, syscall.SIGBUS,
	syscall.SIGSYS, syscall.SIGFPE, syscall.SIGTSTP, syscall.SIGTRAP,
}
