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
	session     *session
	busy        bool
	expire      *time.Timer
	expressions bool // expressionSettings are on
}

// expressionSettings run what stands among the rows of INSERT ... VALUES. The profile of
// the user has them off; they are on where the rows have been looked at.
var expressionSettings = []string{"input_format_values_interpret_expressions", "input_format_values_deduce_templates_of_expressions"}

// maxSessions bounds the kept sessions.
const maxSessions = 1000

func newSessions(e *engine) *sessions {
	return &sessions{engine: e, kept: map[string]*keptSession{}}
}

// take returns the request's connection and what gives it back.
func (p *sessions) take(req *request) (*session, func(), error) {
	if req.session == "" {
		settings := slices.Clone(req.settings)
		if req.expressions {
			for _, name := range expressionSettings {
				settings = append(settings, pair{name, "1"})
			}
		}
		if req.readonly {
			settings = append(settings, pair{"readonly", "2"})
		}
		s, err := p.engine.open(req.database, settings)
		if err != nil {
			return nil, nil, err
		}
		return s, s.close, nil
	}
	k, err := p.keep(req)
	if err != nil {
		return nil, nil, err
	}
	if err := k.prepare(req); err != nil {
		p.give(req, k)
		return nil, nil, err
	}
	return k.session, func() { p.give(req, k) }, nil
}

// prepare applies a request's database and settings to a kept session. They stay,
// as in a server's session SET does.
func (k *keptSession) prepare(req *request) error {
	s := k.session
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
	if len(req.settings) == 0 {
		return nil
	}
	sets := make([]string, len(req.settings))
	for i, setting := range req.settings {
		sets[i] = quoteIdentifier(setting.name) + " = " + quoteString(setting.value)
	}
	_, err := s.text("SET " + strings.Join(sets, ", "))
	return err
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
	case len(p.kept) >= maxSessions:
		return nil, newException(202, "TOO_MANY_SIMULTANEOUS_QUERIES", "Too many sessions")
	}
	s, err := p.engine.open("", nil)
	if err != nil {
		return nil, err
	}
	k = &keptSession{session: s, busy: true}
	k.expire = time.AfterFunc(time.Hour, func() { p.drop(req.session, k) })
	k.expire.Stop()
	p.kept[req.session] = k
	return k, nil
}

func (p *sessions) give(req *request, k *keptSession) {
	p.mu.Lock()
	defer p.mu.Unlock()
	k.busy = false
	if p.closed {
		k.session.close()
		return
	}
	k.expire.Reset(req.timeout)
}

// drop closes a session that nobody used for its timeout.
func (p *sessions) drop(id string, k *keptSession) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.busy || p.closed || p.kept[id] != k {
		return
	}
	delete(p.kept, id)
	k.session.close()
}

// close closes the kept sessions; a busy one goes when it is given back.
func (p *sessions) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, k := range p.kept {
		k.expire.Stop()
		if !k.busy {
			k.session.close()
		}
	}
}
