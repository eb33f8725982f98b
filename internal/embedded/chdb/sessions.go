package chdb

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// sessions hands out connections: a fresh one for every request, which costs a
// tenth of a millisecond and leaves nothing behind, and one that is kept for
// requests that name the same session_id (temporary tables, SET).
type sessions struct {
	engine *engine
	mu     sync.Mutex
	kept   map[string]*keptSession
	closed bool
}

type keptSession struct {
	session     *session          // nil: the reader's, in whose session nothing stays
	database    string            // that USE chose
	settings    map[string]string // that SET changed
	busy        bool
	expire      *time.Timer
	expressions bool // expressionSettings are on
}

func (k *keptSession) end() {
	if k.session != nil {
		k.session.close()
	}
}

// expressionSettings run what stands among the rows of INSERT ... VALUES. The profile of
// the user has them off; they are on where the rows have been looked at.
var expressionSettings = []string{"input_format_values_interpret_expressions", "input_format_values_deduce_templates_of_expressions"}

// maxSessions bounds the kept sessions.
const maxSessions = 1000

func newSessions(e *engine) *sessions {
	return &sessions{engine: e, kept: map[string]*keptSession{}}
}

// take returns the request's connection for its statement, and what gives it back and is
// told whether the statement was run without an error.
func (p *sessions) take(req *request, st statement) (_ *session, give func(ran bool), _ error) {
	if req.session == "" {
		s, err := p.fresh(req)
		if err != nil {
			return nil, nil, err
		}
		return s, func(bool) { s.close() }, nil
	}
	k, err := p.keep(req)
	if err != nil {
		return nil, nil, err
	}
	if k.session == nil {
		s, err := p.fresh(req)
		if err != nil {
			p.give(req, k, nil)
			return nil, nil, err
		}
		return s, func(bool) { s.close(); p.give(req, k, nil) }, nil
	}
	give = func(ran bool) {
		if !ran {
			st = statement{}
		}
		p.give(req, k, k.restore(p.engine, req, st))
	}
	if err := k.prepare(req); err != nil {
		give(false)
		return nil, nil, err
	}
	return k.session, give, nil
}

// fresh opens a connection for a request alone.
func (p *sessions) fresh(req *request) (*session, error) {
	settings := slices.Clone(req.settings)
	if req.expressions {
		for _, name := range expressionSettings {
			settings = append(settings, pair{name, "1"})
		}
	}
	switch {
	case req.user == ReaderUser:
		settings = append(takenBack(settings), pair{"readonly", "1"})
	case req.readonly && !req.frozen:
		settings = append(settings, pair{"readonly", "2"})
	}
	if len(req.externals) == 0 {
		return p.engine.open(req.database, settings, req.user == ReaderUser)
	}
	// The tables are made before the connection only reads.
	level := slices.DeleteFunc(slices.Clone(settings), func(s pair) bool { return s.name != "readonly" })
	s, err := p.engine.open(req.database, takenBack(settings), req.user == ReaderUser)
	if err != nil {
		return nil, err
	}
	_, err = s.addExternals(req.externals)
	if err == nil && len(level) > 0 {
		_, err = s.text("SET readonly = " + quoteString(level[len(level)-1].value))
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// takenBack are a request's settings without readonly, which a session could not take back:
// check.go and the engine's parser hold it in one.
func takenBack(settings []pair) []pair {
	return slices.DeleteFunc(slices.Clone(settings), func(s pair) bool { return s.name == "readonly" })
}

// prepare applies a request's database and settings to a kept session.
func (k *keptSession) prepare(req *request) error {
	s, tables := k.session, req.externals
	req.externals = nil // none is made, and so none is dropped, until all else is well
	if k.expressions != req.expressions {
		value := map[bool]string{false: "0", true: "1"}[req.expressions]
		if _, err := s.text("SET " + strings.Join(expressionSettings, " = "+value+", ") + " = " + value); err != nil {
			return err
		}
		k.expressions = req.expressions
	}
	if req.database != "" {
		if _, err := s.text("USE " + quoteIdentifier(req.database)); err != nil {
			return err
		}
	}
	var sets []string
	for _, setting := range takenBack(req.settings) {
		sets = append(sets, quoteIdentifier(setting.name)+" = "+quoteString(setting.value))
	}
	if err := k.set(sets); err != nil {
		return err
	}
	made, err := s.addExternals(tables)
	req.externals = tables[:made]
	return err
}

func (k *keptSession) set(sets []string) error {
	if len(sets) == 0 {
		return nil
	}
	_, err := k.session.text("SET " + strings.Join(sets, ", "))
	return err
}

// restore takes back what prepare did: a request's settings and database are the
// request's alone. What its statement says with SET or USE stays.
func (k *keptSession) restore(e *engine, req *request, st statement) error {
	if err := k.session.dropExternals(req.externals); err != nil {
		return err
	}
	said := st.settingsSet()
	for _, name := range said {
		value, err := k.session.value("toString(getSetting(" + quoteString(name) + "))")
		if err != nil {
			return err
		}
		k.settings[name] = value
	}
	switch {
	case st.begins("USE"):
		k.database = k.session.database(k.database)
	case req.database != "":
		if _, err := k.session.text("USE " + quoteIdentifier(k.database)); err != nil {
			return err
		}
	}
	var sets []string
	for _, s := range takenBack(req.settings) {
		if slices.Contains(said, s.name) {
			continue
		}
		value := "DEFAULT"
		if before, ok := k.settings[s.name]; ok {
			value = quoteString(before)
		} else if first := e.known[s.name]; first.changed {
			value = quoteString(first.value)
		}
		sets = append(sets, quoteIdentifier(s.name)+" = "+value)
	}
	return k.set(sets)
}

func (p *sessions) keep(req *request) (*keptSession, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k, ok := p.kept[req.session]
	switch {
	case p.closed:
		return nil, newException(210, "NETWORK_ERROR", "The service is stopping")
	case ok && k.busy:
		return nil, newException(373, "SESSION_IS_LOCKED", "Session "+req.session+" is locked by a concurrent client")
	case ok:
		k.busy = true
		k.expire.Stop()
		return k, nil
	case req.sessionCheck:
		return nil, newException(372, "SESSION_NOT_FOUND", "Session "+req.session+" not found")
	case len(p.kept) >= maxSessions, req.user == ReaderUser && p.readers() >= maxSessions/2:
		return nil, newException(202, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many sessions")
	}
	var s *session
	if req.user != ReaderUser {
		var err error
		if s, err = p.engine.open("", nil, false); err != nil {
			return nil, err
		}
	}
	k = &keptSession{session: s, busy: true, database: "default", settings: map[string]string{}}
	k.expire = time.AfterFunc(time.Hour, func() { p.drop(req.session, k) })
	k.expire.Stop()
	p.kept[req.session] = k
	return k, nil
}

// readers are the kept sessions of the reader, which leave some to the others.
func (p *sessions) readers() (n int) {
	for _, k := range p.kept {
		if k.session == nil {
			n++
		}
	}
	return n
}

// give ends a request's use of a session. One that keeps what it should not (a limit that
// stands in its own way, as max_query_size = 1) is closed, and so is one whose client is
// done with it.
func (p *sessions) give(req *request, k *keptSession, restored error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k.busy = false
	switch {
	case p.closed:
		k.end()
	case restored != nil, req.sessionClose:
		delete(p.kept, req.session)
		k.end()
	default:
		k.expire.Reset(req.timeout)
	}
}

// drop closes a session that nobody used for its timeout.
func (p *sessions) drop(id string, k *keptSession) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.busy || p.closed || p.kept[id] != k {
		return
	}
	delete(p.kept, id)
	k.end()
}

// close closes the kept sessions; a busy one goes when it is given back.
func (p *sessions) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, k := range p.kept {
		k.expire.Stop()
		if !k.busy {
			k.end()
		}
	}
}
