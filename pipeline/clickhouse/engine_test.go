package clickhouse

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

func TestMain(m *testing.M) { os.Exit(chdbtest.Main(m)) }

// open returns a DB on the server at addr.
func open(tb testing.TB, addr string, change ...func(*Config)) *DB {
	tb.Helper()
	cfg := Config{Addrs: []string{addr}, RetentionDays: MaxRetentionDays}
	for _, f := range change {
		f(&cfg)
	}
	db, err := Open(cfg)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, db.Close()) })
	return db
}

// migrated returns a DB with its schema on a server of its own.
func migrated(tb testing.TB, change ...func(*Config)) *DB {
	tb.Helper()
	db := open(tb, chdbtest.Start(tb), change...)
	require.NoError(tb, db.Migrate(tb.Context(), nil))
	return db
}

// scan reads one row.
func scan(tb testing.TB, db *DB, sql string, dest ...any) {
	tb.Helper()
	require.NoError(tb, db.conn.QueryRow(context.Background(), sql).Scan(dest...), sql)
}

func count(tb testing.TB, db *DB, sql string) int {
	tb.Helper()
	var n uint64
	scan(tb, db, "SELECT count() FROM "+sql, &n)
	return int(n)
}

func exec(tb testing.TB, db *DB, sql string) {
	tb.Helper()
	require.NoError(tb, db.conn.Exec(tb.Context(), sql), sql)
}

// now is the present hour, so that rows of tests lie within any retention.
func now() schemas.Millis {
	return schemas.Millis(time.Now().Truncate(time.Hour).UnixMilli())
}

func TestWhatIsReadBackIsWhatWasInserted(t *testing.T) {
	for _, method := range []string{CompressionNone, CompressionLZ4, CompressionZSTD} {
		t.Run("compression "+method, func(t *testing.T) {
			db := migrated(t, func(c *Config) { c.Compression = method })
			rng := rand.New(rand.NewPCG(11, 13))
			rows := randomRows(rng, 700, now())
			require.NoError(t, db.InsertActivity(t.Context(), rows))
			got := readActivity(t, db)
			require.Len(t, got, len(rows))
			for _, want := range rows {
				key := want.Origin
				have, ok := got[key]
				require.True(t, ok, "%+v", key)
				if diff := cmp.Diff(asRead(want), have); diff != "" {
					t.Fatalf("row %d (-inserted +read):\n%s", key.Index, diff)
				}
			}
		})
	}
}

// asRead is a row as the view shows it: equal keys of attributes and empty lists
// apart, it is the row.
func asRead(r pipeline.ActivityRow) readRow {
	e := r.Event
	out := readRow{Event: e, Origin: r.Origin, Log: r.Log, LogTime: r.LogTime, ResourceCount: uint32(e.ResourceCount()), Attributes: map[string]string{}}
	for _, a := range e.Attributes {
		out.Attributes[a.Key] = a.Value
	}
	for word, says := range e.Flags.Each {
		if says != "" {
			word += ":" + says
		}
		out.Flags = append(out.Flags, word)
	}
	out.Event.Attributes, out.Event.Flags = nil, schemas.Flags{}
	if len(e.Resources) == 0 {
		out.Event.Resources = nil
	}
	return out
}

type readRow struct {
	Event         schemas.Activity
	Origin        schemas.Origin
	Log           pipeline.Place
	LogTime       schemas.Millis
	ResourceCount uint32
	Attributes    map[string]string
	Flags         []string
}

func readActivity(tb testing.TB, db *DB) map[schemas.Origin]readRow {
	tb.Helper()
	rows, err := db.conn.Query(tb.Context(), "SELECT * FROM activity")
	require.NoError(tb, err)
	defer func() { require.NoError(tb, rows.Close()) }()
	require.Equal(tb, []string{
		"event_id", "time", "tenant_id", "agent_id", "agent_name", "agent_version", "peer_group", "session_id", "on_behalf_of", "action", "tool", "access",
		"resources", "resource_count", "target_agent_id", "bytes_sent", "bytes_received", "tokens_in", "tokens_out", "outcome", "duration_ms", "model",
		"credential_id", "credential_type", "credential_expires", "source_ip", "attributes", "recorded_at", "flags", "origin_source", "origin_incarnation",
		"origin_topic", "origin_partition", "origin_offset", "origin_index", "log_partition", "log_offset", "log_time",
	}, rows.Columns())
	out := make(map[schemas.Origin]readRow)
	for rows.Next() {
		var (
			r                    readRow
			at, recorded, logged time.Time
			expires              *time.Time
			e, o                 = &r.Event, &r.Origin
		)
		require.NoError(tb, rows.Scan(&e.EventID, &at, &e.TenantID, &e.AgentID, &e.AgentName, &e.AgentVersion, &e.PeerGroup, &e.SessionID, &e.OnBehalfOf,
			&e.Action, &e.Tool, &e.Access, &e.Resources, &r.ResourceCount, &e.TargetAgentID, &e.BytesSent, &e.BytesReceived, &e.TokensIn, &e.TokensOut,
			&e.Outcome, &e.DurationMS, &e.Model, &e.CredentialID, &e.CredentialType, &expires, &e.SourceIP, &r.Attributes, &recorded, &r.Flags,
			&o.Source, &o.Incarnation, &o.Topic, &o.Partition, &o.Offset, &o.Index, &r.Log.Partition, &r.Log.Offset, &logged))
		e.Time, e.RecordedAt, r.LogTime = schemas.Millis(at.UnixMilli()), schemas.Millis(recorded.UnixMilli()), schemas.Millis(logged.UnixMilli())
		if expires != nil {
			e.CredentialExpires = schemas.Millis(expires.UnixMilli())
		}
		if len(e.Resources) == 0 {
			e.Resources = nil
		}
		if len(r.Flags) == 0 {
			r.Flags = nil
		}
		_, twice := out[r.Origin]
		require.False(tb, twice, "the view shows %+v twice", r.Origin)
		out[r.Origin] = r
	}
	require.NoError(tb, rows.Err())
	return out
}

func TestAlertsAndWindowsReadBackAsTheyWere(t *testing.T) {
	db := migrated(t)
	var (
		alerts  []pipeline.AlertRow
		windows []pipeline.WindowRow
	)
	for i := range 200 {
		alerts = append(alerts, sampleAlert(i))
		windows = append(windows, sampleWindow(i))
	}
	require.NoError(t, db.InsertAlerts(t.Context(), alerts))
	require.NoError(t, db.InsertWindows(t.Context(), windows))

	wantJSON := func(v any) string { // each byte that is no UTF-8 becomes U+FFFD
		b, err := json.Marshal(v)
		require.NoError(t, err)
		return string(b)
	}
	got := ask(t, db, "SELECT * FROM alerts ORDER BY alert_id")
	require.Len(t, got, len(alerts))
	for i, m := range got {
		a := alerts[i].Alert
		var names, units []string
		var observed, high, p []float64
		var starts []schemas.Millis
		var first [][]string
		for _, s := range a.Signals {
			names, units, observed, high = append(names, s.Name), append(units, s.Unit), append(observed, s.Observed), append(high, s.High)
			p, starts, first = append(p, s.P), append(starts, s.WindowStart), append(first, s.FirstSeen)
		}
		for name, want := range map[string]any{
			"alert_id": a.AlertID, "episode_id": a.EpisodeID, "status": a.Status, "kind": a.Kind, "tenant_id": a.TenantID, "agent_id": a.Agent.ID,
			"agent_name": a.Agent.Name, "agent_version": a.Agent.Version, "peer_group": a.Agent.PeerGroup, "agent_owner": a.Agent.Owner,
			"session_id": a.SessionID, "on_behalf_of": a.OnBehalfOf, "time": a.Time, "first_seen": a.FirstSeen, "last_seen": a.LastSeen,
			"severity": a.Severity, "score": a.Score, "confidence": a.Confidence, "title": a.Title, "summary": a.Summary,
			"signals.name": names, "signals.observed": observed, "signals.unit": units, "signals.window_start": starts, "signals.first_seen": first,
			"signals.high": high, "signals.p": p,
			"evidence_event_ids": a.Evidence.EventIDs, "evidence_resources": a.Evidence.Resources, "evidence_tools": a.Evidence.Tools,
			"event_count": a.Evidence.EventCount, "tags_owasp_asi": a.Tags.OwaspASI, "tags_atlas": a.Tags.ATLAS, "tags_attack": a.Tags.Attack,
			"counterfactual": a.Counterfactual, "query": a.Query, "runbook": a.Runbook, "suppressed": a.Suppressed,
			"detector_version": a.Detector.Version, "config_hash": a.Detector.ConfigHash, "recorded_at": alerts[i].RecordedAt, "alert": string(alerts[i].JSON),
		} {
			expected := strings.ReplaceAll(wantJSON(want), "null", "[]")
			require.JSONEq(t, expected, wantJSON(m[name]), "%s of alert %d", name, i)
		}
	}
	var raw string
	scan(t, db, "SELECT alert FROM alerts WHERE alert_id = 'alert-000014'", &raw)
	require.Equal(t, string(alerts[14].JSON), raw, "the alert itself is kept byte for byte")

	got = ask(t, db, "SELECT * FROM windows ORDER BY start, agent_id")
	require.Len(t, got, len(windows))
	for i, m := range got {
		w := windows[i].Window
		for name, want := range map[string]any{
			"tenant_id": w.TenantID, "agent_id": w.AgentID, "peer_group": w.PeerGroup, "start": w.Start, "seconds": w.Seconds, "events": w.Events,
			"late": w.Late, "failures": w.Failures, "denied": w.Denied, "bytes_sent": w.BytesSent, "bytes_received": w.BytesReceived, "tools": w.Tools,
			"resources": w.Resources, "new_resources": w.NewResources, "new_destinations": w.NewDestinations, "sessions": w.Sessions, "score": w.Score,
			"baseline_samples": w.BaselineSamples, "config_hash": w.ConfigHash, "recorded_at": windows[i].RecordedAt,
		} {
			require.JSONEq(t, wantJSON(want), wantJSON(m[name]), "%s of window %d", name, i)
		}
	}
	var p, absent float64
	scan(t, db, "SELECT signals['call_rate'].p, signals['drift'].p FROM windows WHERE agent_id = 'agent-1' ORDER BY start LIMIT 1", &p, &absent)
	require.Equal(t, []float64{5e-200, 0}, []float64{p, absent})
	require.Equal(t, 200-67, count(t, db, "windows WHERE mapContains(signals, 'call_rate')"))
}

func TestRowsThatAreInsertedAgainStandOnceUnderTheViews(t *testing.T) {
	db := migrated(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	rows := randomRows(rng, 900, now())
	// Spread over days, so that the parts lie in several partitions.
	for i := range rows {
		rows[i].Event.RecordedAt -= schemas.Millis(rng.IntN(4)) * 24 * 3600 * 1000
	}

	// Everything several times: in other cuts, overlapping, in any order, by several
	// writers at once; and an older decoding of some records after the newer one.
	var wg sync.WaitGroup
	for writer := range 3 {
		own := rand.New(rand.NewPCG(seed, uint64(writer)))
		wg.Go(func() {
			for from := 0; from < len(rows); {
				size := 1 + own.IntN(300)
				a, b := max(0, from-own.IntN(60)), min(from+size, len(rows))
				if err := db.InsertActivity(t.Context(), rows[a:b]); err != nil {
					t.Errorf("insert: %v", err)
					return
				}
				from = b
			}
		})
	}
	wg.Wait()
	var older []pipeline.ActivityRow
	for _, r := range rows[:300] {
		if r.Version > 0 {
			r.Version--
			r.Event.Tool, r.Event.BytesSent = "as an older decoder saw it", 0
			older = append(older, r)
		}
	}
	require.NoError(t, db.InsertActivity(t.Context(), older))

	check := func() {
		t.Helper()
		got := readActivity(t, db)
		require.Len(t, got, len(rows))
		for _, want := range rows {
			require.Empty(t, cmp.Diff(asRead(want), got[want.Origin]))
		}
		require.Equal(t, len(rows), count(t, db, "activity"))
	}
	require.Greater(t, count(t, db, "activity_rows"), len(rows), "the doubles are there, the view hides them")
	check()
	exec(t, db, "OPTIMIZE TABLE activity_rows FINAL")
	require.Equal(t, len(rows), count(t, db, "activity_rows"))
	check()

	// A newer decoding wins, though it comes before the old one is written again.
	newer := rows[5]
	newer.Version++
	newer.Event.Tool = "as a newer decoder sees it"
	if newer.Version > rows[5].Version { // not where it wrapped around
		require.NoError(t, db.InsertActivity(t.Context(), []pipeline.ActivityRow{newer}))
		require.NoError(t, db.InsertActivity(t.Context(), rows[:10]))
		require.Equal(t, newer.Event.Tool, readActivity(t, db)[newer.Origin].Event.Tool)
	}
}

func TestAnEventIDThatIsUsedTwiceOverwritesNothing(t *testing.T) {
	db := migrated(t)
	rows := typicalRows(2, 1, now())
	rows[1].Event.EventID, rows[1].Event.Time = rows[0].Event.EventID, rows[0].Event.Time
	rows[1].Event.Tool = "what hides the other"
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	require.Equal(t, 2, count(t, db, "activity WHERE event_id = '"+rows[0].Event.EventID+"'"))
}

func TestAnAlertThatIsPublishedAgainOnAnotherDayStandsOnce(t *testing.T) {
	const day = 24 * 3600 * 1000
	for _, order := range []string{"in order", "the later first", "in one batch"} {
		t.Run(order, func(t *testing.T) {
			db := migrated(t)
			first := sampleAlert(3)
			first.RecordedAt = now() - now()%day - 1 // the last millisecond of a day
			again := first
			again.RecordedAt += 2
			batches := [][]pipeline.AlertRow{{first}, {again}}
			switch order {
			case "the later first":
				batches = [][]pipeline.AlertRow{{again}, {first}}
			case "in one batch":
				batches = [][]pipeline.AlertRow{{again, first, again}}
			}
			for _, b := range batches {
				require.NoError(t, db.InsertAlerts(t.Context(), b))
			}
			for range 2 {
				require.Equal(t, 1, count(t, db, "alerts"))
				var at time.Time
				scan(t, db, "SELECT recorded_at FROM alerts", &at)
				require.Equal(t, first.RecordedAt.Time(), at, "the first record counts")
				exec(t, db, "OPTIMIZE TABLE alert_rows FINAL")
			}
		})
	}
}

func TestAWindowThatIsPublishedAgainStandsOnceAsItWasLast(t *testing.T) {
	const day = 24 * 3600 * 1000
	for _, lastFirst := range []bool{false, true} {
		db := migrated(t)
		old, last := sampleWindow(4), sampleWindow(4)
		last.RecordedAt += day
		last.Window.Events += 1000
		other := sampleWindow(4)
		other.Window.Seconds = 60 // another window
		order := []pipeline.WindowRow{old, last, other}
		if lastFirst {
			order = []pipeline.WindowRow{last, old, other}
		}
		for _, w := range order {
			require.NoError(t, db.InsertWindows(t.Context(), []pipeline.WindowRow{w}))
		}
		require.Equal(t, 2, count(t, db, "windows"))
		var events uint64
		scan(t, db, "SELECT events FROM windows WHERE seconds = 3600", &events)
		require.Equal(t, last.Window.Events, events)
	}
}

func TestTheViewsHideWhatIsOlderThanTheRetention(t *testing.T) {
	const day = 24 * 3600 * 1000
	db := migrated(t, func(c *Config) { c.RetentionDays = 30 })
	for _, table := range []string{"activity_rows", "alert_rows", "window_rows"} {
		exec(t, db, "SYSTEM STOP TTL MERGES "+table) // the rows stay, so that it is the view that hides them
	}
	present := schemas.Millis(time.Now().UnixMilli())
	rows := typicalRows(3, 1, now())
	var alerts []pipeline.AlertRow
	var windows []pipeline.WindowRow
	for i, age := range []schemas.Millis{31 * day, 30*day - 60000, 0} {
		rows[i].Event.RecordedAt = present - age
		rows[i].Event.Time = present - 400*day // an old event is shown as long as its record is young
		alerts, windows = append(alerts, sampleAlert(i)), append(windows, sampleWindow(i))
		alerts[i].RecordedAt, windows[i].RecordedAt = present-age, present-age
	}
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	require.NoError(t, db.InsertAlerts(t.Context(), alerts))
	require.NoError(t, db.InsertWindows(t.Context(), windows))
	for view, table := range map[string]string{"activity": "activity_rows", "alerts": "alert_rows", "windows": "window_rows"} {
		require.Equal(t, 2, count(t, db, view), view)
		require.Equal(t, 3, count(t, db, table), table)
	}
}

func TestTimesAtTheEdgeOfTheRangeAreStored(t *testing.T) {
	db := migrated(t)
	rows := typicalRows(4, 1, now())
	for i, at := range []schemas.Millis{-1 << 62, minMillis, maxMillis, 1 << 62} {
		rows[i].Event.Time = at
	}
	rows[2].Event.RecordedAt = 1 << 62
	require.NoError(t, db.InsertActivity(t.Context(), rows))
	var low, high, recorded time.Time
	scan(t, db, "SELECT min(time), max(time), max(recorded_at) FROM activity", &low, &high, &recorded)
	require.Equal(t, int64(minMillis), low.UnixMilli())
	require.Equal(t, int64(maxMillis), high.UnixMilli())
	require.Equal(t, int64(maxMillis), recorded.UnixMilli())
	exec(t, db, "OPTIMIZE TABLE activity_rows FINAL")
	require.Equal(t, 4, count(t, db, "activity"), "no overflow of the expiry removes a row")
}

func TestConditionsReachTheKeyAndTheDaysThroughTheViews(t *testing.T) {
	db := migrated(t)
	require.NoError(t, db.InsertActivity(t.Context(), typicalRows(60000, 50, now())))
	require.Equal(t, 60000, count(t, db, "activity_rows"))
	got := explain(t, db, "SELECT count() FROM activity WHERE tenant_id = 'default' AND agent_id = 'agent-00007' AND time >= '2026-01-01'")
	require.Contains(t, got, "FINAL: 1")
	require.Regexp(t, `(?s)PrimaryKey.*tenant_id.*agent_id.*time.*Condition.*agent-00007`, got)
	require.Regexp(t, `(?s)PrimaryKey.*Granules: [12]/\d`, got, "a few granules of all")

	got = explain(t, db, "SELECT * FROM activity WHERE recorded_at > '2200-01-01'")
	require.Regexp(t, `(?s)Min-Max.*recorded_at.*Parts: 0/`, got)
}
