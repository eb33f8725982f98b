package grafana

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/detector"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/internal/simulator"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/clickhouse"
	"github.com/plumbline-sec/plumbline/schemas"
	"github.com/plumbline-sec/plumbline/schemas/siem"
)

func TestMain(m *testing.M) { os.Exit(chdbtest.Main(m)) }

const (
	days     = 8
	password = "for reading"
	// hostile is an agent that tries to break out of a statement: Grafana's own
	// formats for SQL let the backslash through.
	hostile = `o'neil\' OR 1 = 1 -- ${tenant} 100%`
)

// fleet is what detect and archive make of a simulated fleet.
type fleet struct {
	until    schemas.Millis
	activity []pipeline.ActivityRow
	alerts   []pipeline.AlertRow
	windows  []pipeline.WindowRow
}

func (f *fleet) Alert(a *schemas.Alert) {
	b, err := siem.JSON.Append(nil, a)
	if err != nil {
		panic(err) // an alert of the detector can be encoded
	}
	f.alerts = append(f.alerts, pipeline.AlertRow{Alert: *a, JSON: b, RecordedAt: a.Time + 100})
}

func (f *fleet) Window(w *schemas.Window) {
	f.windows = append(f.windows, pipeline.WindowRow{Window: *w, RecordedAt: w.Start + 3_720_000})
}

// newFleet plays a fleet with attacks. Some of its events were mended, and some come
// hours late.
func newFleet(tb testing.TB) *fleet {
	tb.Helper()
	sim, err := simulator.New(simulator.Options{
		Agents: 40, Days: days, Seed: 3, Tenants: 2, Kinds: simulator.Kinds(), Count: 12, Strength: 3, Window: 7 * 24 * time.Hour, Settled: true,
	})
	require.NoError(tb, err)
	_, end := sim.Span()
	f := &fleet{until: end}
	d, err := detector.New(detector.DefaultConfig(), f)
	require.NoError(tb, err)
	var ev schemas.Activity
	for n := 0; sim.Next(&ev); n++ {
		ev.RecordedAt = ev.Time + 40
		if n%97 == 0 {
			ev.Flags.StringsCut = 1
		}
		if n%31 == 0 && ev.TenantID == f.tenant() {
			ev.AgentID = hostile
		}
		d.Process(&ev)
		f.store(ev)
		if n%211 == 0 {
			ev.EventID, ev.Time = fmt.Sprint("late-", n), ev.Time-schemas.Millis(5*time.Hour/time.Millisecond)
			d.Process(&ev)
			f.store(ev)
		}
	}
	return f
}

// tenant is that of the first event.
func (f *fleet) tenant() string {
	if len(f.activity) == 0 {
		return ""
	}
	return f.activity[0].Event.TenantID
}

func (f *fleet) store(ev schemas.Activity) {
	ev.Resources, ev.Attributes = slices.Clone(ev.Resources), slices.Clone(ev.Attributes)
	f.activity = append(f.activity, pipeline.ActivityRow{
		Event: ev, Version: 1, Origin: schemas.Origin{Source: "default", Incarnation: 1, Topic: "agent-activity", Offset: int64(len(f.activity))},
	})
}

// worst is the agent with the most alerts.
func (f *fleet) worst() (tenant, agent string) {
	counts := make(map[[2]string]int)
	var most [2]string
	for _, a := range f.alerts {
		k := [2]string{a.Alert.TenantID, a.Alert.Agent.ID}
		if counts[k]++; counts[k] > counts[most] && k[1] != hostile {
			most = k
		}
	}
	return most[0], most[1]
}

// reader asks as the plugin does: over HTTP, as a user who may only read.
type reader struct{ addr string }

type result struct {
	Meta []struct{ Name, Type string }
	Data [][]any
}

func (r reader) ask(sql string) (*result, error) {
	req, err := http.NewRequest(http.MethodPost, "http://"+r.addr+"/?database=plumbline&max_execution_time=60", strings.NewReader(sql+"\nFORMAT JSONCompact"))
	if err != nil {
		return nil, err
	}
	req.SetBasicAuth("reader", password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(resp.Body)
	if err = errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s", b)
	}
	out := &result{}
	return out, json.Unmarshal(b, out)
}

func filled(tb testing.TB) (*fleet, reader) {
	tb.Helper()
	addr := chdbtest.Start(tb, func(c *chdb.Config) { c.Database, c.ReaderPassword = "plumbline", password })
	db, err := clickhouse.Open(clickhouse.Config{Addrs: []string{addr}, RetentionDays: clickhouse.MaxRetentionDays})
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	require.NoError(tb, db.Migrate(tb.Context(), nil))
	f := newFleet(tb)
	require.NoError(tb, db.InsertActivity(tb.Context(), f.activity))
	require.NoError(tb, db.InsertAlerts(tb.Context(), f.alerts))
	require.NoError(tb, db.InsertWindows(tb.Context(), f.windows))
	return f, reader{addr}
}

// expansion is what Grafana and its ClickHouse plugin put into a statement.
type expansion struct {
	from, to  time.Time
	interval  time.Duration
	variables map[string]string
}

var (
	inserted = regexp.MustCompile(`\$\{(\w+)(?::(\w+))?\}|\$[a-z]\w*|\[\[\w+`)
	safely   = regexp.MustCompile(`decodeURLComponent\('\$\{\w+:percentencode\}'\)`)
	linked   = regexp.MustCompile(`__data\.fields\.(\w+)`)
	macro    = regexp.MustCompile(`\$__(\w+)(?:\(([^()]*)\))?`)
)

// apply expands first the variables, as Grafana does, then the macros, as the plugin
// documents them. A variable stands in a statement in one way: nothing that is
// percent-encoded ends a string, whatever an agent is called.
func (e *expansion) apply(sql string) (string, error) {
	var err error
	fail := func(format string, args ...any) string {
		err = errors.Join(err, fmt.Errorf(format, args...))
		return ""
	}
	if n := len(inserted.FindAllString(sql, -1)); n != len(safely.FindAllString(sql, -1)) {
		return "", fmt.Errorf("a variable is not inserted as decodeURLComponent('${NAME:percentencode}'): %s", sql)
	}
	sql = inserted.ReplaceAllStringFunc(sql, func(s string) string {
		name := inserted.FindStringSubmatch(s)[1]
		value, ok := e.variables[name]
		if !ok {
			return fail("there is no variable %s", name)
		}
		// What Grafana leaves as it is beyond this (-_.~) ends no string either.
		return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
	})
	millis := func(t time.Time) string { return fmt.Sprintf("fromUnixTimestamp64Milli(%d)", t.UnixMilli()) }
	sql = macro.ReplaceAllStringFunc(sql, func(s string) string {
		m := macro.FindStringSubmatch(s)
		switch m[1] {
		case "fromTime_ms":
			return millis(e.from)
		case "toTime_ms":
			return millis(e.to)
		case "timeFilter_ms":
			return fmt.Sprintf("%s >= %s AND %s <= %s", m[2], millis(e.from), m[2], millis(e.to))
		case "interval_s":
			return strconv.Itoa(int(e.interval.Seconds()))
		}
		return fail("the plugin has no macro %s", s)
	})
	return sql, err
}

// seriesFormat is the plugin's number for a time series.
const seriesFormat = 0.0

func TestStatementsOnAFleetWithAttacks(t *testing.T) {
	f, db := filled(t)
	t.Run("every one returns rows", func(t *testing.T) { everyStatementReturnsRows(t, f, db) })
	t.Run("an agent's name ends none", func(t *testing.T) { noNameEndsAStatement(t, f, db) })
}

func everyStatementReturnsRows(t *testing.T, f *fleet, db reader) {
	t.Helper()
	tenant, agent := f.worst()
	e := &expansion{from: f.until.Time().Add(-days * 24 * time.Hour), to: f.until.Time(), interval: time.Hour}
	for uid, d := range load(t) {
		t.Run(uid, func(t *testing.T) {
			e.variables = map[string]string{"tenant": tenant, "agent": agent, "signal": schemas.SignalFailureRatio, "budget": "0.01"}
			if uid == "plumbline-soc" {
				e.variables["tenant"] = "*"
			}
			for name := range e.variables {
				if !has(d, name) {
					delete(e.variables, name)
				}
			}
			for _, v := range d.Templating.List {
				if v.sql() == "" {
					continue
				}
				r := run(t, db, e, v.Name, v.sql())
				require.Len(t, r.Meta, 1, v.Name)
				values := make([]string, len(r.Data))
				for i := range r.Data {
					values[i], _ = r.Data[i][0].(string)
				}
				if value := e.variables[v.Name]; value == "*" {
					require.Equal(t, "*", v.AllValue)
				} else {
					require.Contains(t, values, value, v.Name)
				}
			}
			for _, a := range d.Annotations.List {
				r := run(t, db, e, a.Name, a.Target.RawSQL)
				require.NotEmpty(t, r.Data, a.Name)
				require.Equal(t, []string{"time", "title", "text", "tags"}, r.columns())
			}
			for _, p := range d.Panels {
				for _, q := range p.Targets {
					if q.RawSQL == "" {
						continue
					}
					r := run(t, db, e, p.Title, q.RawSQL)
					require.NotEmpty(t, r.Data, p.Title)
					if q.Format == seriesFormat {
						checkSeries(t, p.Title, r)
					}
					for _, o := range p.FieldConfig.Overrides {
						require.Equal(t, "byName", o.Matcher.ID)
						require.Contains(t, r.columns(), o.Matcher.Options, "%s: an override for a column that is not there", p.Title)
						for _, field := range linked.FindAllSubmatch(o.Properties, -1) {
							require.Contains(t, r.columns(), string(field[1]), "%s: a link with a column that is not there", p.Title)
						}
					}
				}
			}
		})
	}
}

func run(t *testing.T, db reader, e *expansion, what, sql string) *result {
	t.Helper()
	expanded, err := e.apply(sql)
	require.NoError(t, err, what)
	r, err := db.ask(expanded)
	require.NoError(t, err, "%s:\n%s", what, expanded)
	return r
}

func (r *result) columns() []string {
	out := make([]string, len(r.Meta))
	for i, m := range r.Meta {
		out[i] = m.Name
	}
	return out
}

// checkSeries holds a result to what a graph needs: a time, in order, and numbers.
func checkSeries(t *testing.T, what string, r *result) {
	t.Helper()
	require.Equal(t, "time", r.Meta[0].Name, what)
	require.True(t, strings.HasPrefix(r.Meta[0].Type, "DateTime"), what)
	for _, m := range r.Meta[1:] {
		require.Regexp(t, `^(U?Int|Float)\d+$`, m.Type, "%s: %s", what, m.Name)
	}
	times := make([]string, len(r.Data))
	for i := range r.Data {
		times[i], _ = r.Data[i][0].(string)
	}
	require.True(t, slices.IsSorted(times), what)
}

// An agent chooses its name, and the dashboards are where it is looked up.
func noNameEndsAStatement(t *testing.T, f *fleet, db reader) {
	t.Helper()
	e := &expansion{from: f.until.Time().Add(-days * 24 * time.Hour), to: f.until.Time(), interval: time.Hour}
	for _, agent := range []string{hostile, `'`, `\`, `\'`, `' OR 1 = 1 --`, `\' OR 1 = 1 --`, `%27 OR 1 = 1 --`} {
		e.variables = map[string]string{"tenant": f.tenant(), "agent": agent, "signal": "call_rate"}
		for _, p := range load(t)["plumbline-agent"].Panels {
			if p.Title != "Events" || len(p.Targets) == 0 {
				continue
			}
			r := run(t, db, e, p.Title, p.Targets[0].RawSQL)
			if agent == hostile {
				require.NotEmpty(t, r.Data)
			} else {
				require.Empty(t, r.Data, agent)
			}
		}
	}
}
