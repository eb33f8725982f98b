package chdb

import (
	"context"
	"strings"
	"sync"
	"time"
)

// The library gives each statement an id of its own making and takes none from its
// caller. So a connection carries a tag, in a setting that shows in system.processes,
// and the ids that clients gave are put in where a statement asks for ids: in KILL
// QUERY, SHOW PROCESSLIST, system.processes and queryID().

// tagSetting has the tag. It does nothing: it belongs to a dialect that is not served,
// and no request may set it.
const tagSetting = "promql_table"

// running are the requests in progress, by the id of their statement.
type running struct {
	engine *engine
	mu     sync.Mutex
	byID   map[string]*runningQuery
}

type runningQuery struct {
	tag   string        // of its connection, "" while it has none
	ended chan struct{} // closed when it has ended
}

func newRunning(e *engine) *running { return &running{engine: e, byID: map[string]*runningQuery{}} }

// begin notes the request. An id is taken for as long as its statement runs; whoever
// asks for it with replace_running_query, and might KILL it, ends that one.
func (r *running) begin(ctx context.Context, req *request) (*runningQuery, error) {
	patience := time.NewTimer(req.replaceWait)
	defer patience.Stop()
	for {
		r.mu.Lock()
		other := r.byID[req.id]
		if other == nil {
			q := &runningQuery{ended: make(chan struct{})}
			r.byID[req.id] = q
			r.mu.Unlock()
			return q, nil
		}
		tag := other.tag
		r.mu.Unlock()
		if !req.replace || req.readonly {
			return nil, newException(216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", "Query with id = "+req.id+" is already running")
		}
		if tag != "" {
			if err := r.engine.kill(tag); err != nil {
				return nil, err
			}
		}
		select {
		case <-other.ended:
		case <-time.After(killEvery): // it may not have been in the engine yet
		case <-patience.C:
			return nil, newException(216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", "Query with id = "+req.id+" is already running and can't be stopped")
		case <-ctx.Done():
			return nil, ctx.Err() //nolint:wrapcheck // asException compares it
		}
	}
}

func (r *running) end(req *request, q *runningQuery) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, req.id)
	close(q.ended)
}

// runsOn notes the connection, until the caller calls what it returns.
func (r *running) runsOn(q *runningQuery, s *session) (leave func()) {
	set := func(tag string) {
		r.mu.Lock()
		defer r.mu.Unlock()
		q.tag = tag
	}
	set(s.tag)
	return func() { set("") }
}

// killEvery is how often a statement is killed until it ends: a kill that comes before
// the engine has the statement does nothing.
const killEvery = 50 * time.Millisecond

// killWithClient ends the connection's statement when ctx does. The caller calls what it
// returns when the statement has ended; no kill comes after that.
func (r *running) killWithClient(ctx context.Context, s *session, failed func(error)) (ended func()) {
	done, last := make(chan struct{}), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(last)
		for {
			if err := r.engine.kill(s.tag); err != nil {
				failed(err)
				return
			}
			select {
			case <-done:
				return
			case <-time.After(killEvery):
			}
		}
	})
	return func() {
		close(done)
		if !stop() {
			<-last
		}
	}
}

// idOf is an expression over a row of system.processes: the id that the client gave, in
// the place of the column's.
func (r *running) idOf(column string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	tags, ids := []string{}, []string{}
	for id, q := range r.byID {
		if q.tag != "" {
			tags, ids = append(tags, quoteString(q.tag)), append(ids, quoteString(id))
		}
	}
	return "transform(Settings['" + tagSetting + "'], [" + strings.Join(tags, ", ") + "], [" + strings.Join(ids, ", ") + "], " + column + ")"
}

// processes is the table system.processes with the clients' ids, without the tags, and
// with the text as it came of the statement that asks, whose id is given.
func (r *running) processes(source, id string) string {
	return "(SELECT * REPLACE (" + r.idOf("query_id") + " AS query_id, " + r.idOf("initial_query_id") + " AS initial_query_id, " +
		"if(" + r.idOf("query_id") + " = " + quoteString(id) + ", " + quoteString(source) + ", query) AS query, " +
		"mapFilter((name, value) -> name != '" + tagSetting + "', Settings) AS Settings) FROM system.processes)"
}

var (
	idColumns   = words("query_id initial_query_id")
	idFunctions = words("QUERYID QUERY_ID CURRENTQUERYID CURRENT_QUERY_ID INITIALQUERYID INITIAL_QUERY_ID")
	// behindTable are the words that may follow a table and are not its alias.
	behindTable = words(`ALL ANTI ANY ARRAY ASOF CROSS EXCEPT FETCH FINAL FORMAT FULL GLOBAL GROUP HAVING INNER INTERSECT INTO JOIN LEFT LIMIT NATURAL OFFSET ON ORDER
		PASTE PREWHERE QUALIFY RIGHT SAMPLE SELECT SEMI SETTINGS UNION USING WHERE WINDOW`)
)

// edit puts a text in the place of another.
type edit struct {
	start, end int
	text       string
}

// maxIDs bounds the text that ids add to a statement: each place that asks for them has
// those of all that run, and the statement's own text.
const maxIDs = 4 * maxMaxQuery

// withIDs is the statement, up to its end, with the clients' ids.
func (r *running) withIDs(source string, st statement, id string) (string, error) {
	source = source[:st.end]
	c := &checker{tokens: st.tokens}
	killed := c.at(0).word("KILL") && c.at(1).word("QUERY")
	var edits []edit
	added := 0
	put := func(start, end int, text string) {
		edits = append(edits, edit{start, end, text})
		added += len(text)
	}
	for i, tok := range c.tokens {
		if added > maxIDs {
			return "", newException(62, "SYNTAX_ERROR", "The statement asks too often for what runs")
		}
		before, after := c.at(i-1), c.at(i+1)
		end := tok.start + len(tok.text)
		switch {
		case !tok.names() || before.is("."):
		case killed && idColumns[tok.value] && !after.is("("):
			put(tok.start, end, r.idOf(tok.value))
		case tok.value == "system" && after.is(".") && c.at(i+2).value == "processes" && !c.at(i+3).is(".") && (before.word("FROM") || before.word("JOIN") || before.is(",")):
			put(tok.start, c.endOf(i+2), r.processes(source, id)+c.aliasBehind(i+3, " AS processes"))
		case i == 0 && tok.word("SHOW") && after.word("PROCESSLIST"):
			put(tok.start, c.endOf(i+1), "SELECT * FROM "+r.processes(source, id)+" ORDER BY elapsed DESC")
		case idFunctions[strings.ToUpper(tok.value)] && after.is("(") && c.at(i+2).is(")"):
			put(tok.start, c.endOf(i+2), "("+quoteString(id)+" AS "+quoteIdentifier(tok.value+"()")+")")
		}
	}
	var out strings.Builder
	at := 0
	for _, e := range edits {
		out.WriteString(source[at:e.start] + e.text)
		at = e.end
	}
	out.WriteString(source[at:])
	return out.String(), nil
}

func (c *checker) endOf(i int) int { return c.at(i).start + len(c.at(i).text) }

// aliasBehind is alias, or nothing where the statement gives one itself at i.
func (c *checker) aliasBehind(i int, alias string) string {
	tok := c.at(i)
	if tok.kind == quotedName || tok.kind == name && !behindTable[strings.ToUpper(tok.text)] {
		return ""
	}
	return alias
}
