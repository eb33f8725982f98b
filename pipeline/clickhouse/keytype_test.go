//go:build unix

package clickhouse

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

var (
	keyRows   = flag.Int("keytype-rows", 0, "events to store, in millions, for what the type of agent_id costs; 0: it is not measured")
	keyAgents = flag.Int("keytype-agents", 1_000_000, "of how many agents")
	keyPage   = flag.String("keytype-out", "", "file for the results")
)

// keyVariant is a choice of types for the columns that differ from agent to agent.
type keyVariant struct {
	name    string
	strings []string // columns that are a String, not a LowCardinality(String)

	activity *encoder[pipeline.ActivityRow]
	windows  *encoder[pipeline.WindowRow]
	spent    [2][2]float64 // of activity and windows: seconds of CPU of this process and of the engine
	merged   float64
}

func asStrings[R any](t *table[R], suffix string, names []string) *table[R] {
	out := &table[R]{name: t.name + suffix, columns: slices.Clone(t.columns)}
	for i, c := range out.columns {
		if !slices.Contains(names, c.name) {
			continue
		}
		switch columns := any(out.columns).(type) {
		case []spec[pipeline.ActivityRow]:
			columns[i] = stringColumn(c.name, map[string]func(*pipeline.ActivityRow) string{
				"agent_id":   func(r *pipeline.ActivityRow) string { return r.Event.AgentID },
				"agent_name": func(r *pipeline.ActivityRow) string { return r.Event.AgentName },
			}[c.name])
		case []spec[pipeline.WindowRow]:
			columns[i] = stringColumn(c.name, func(r *pipeline.WindowRow) string { return r.Window.AgentID })
		}
	}
	return out
}

// engineCPU is what the engine's threads have used since it started, in seconds.
func engineCPU(tb testing.TB, db *DB) float64 {
	tb.Helper()
	var v float64
	scan(tb, db, "SELECT sum(value) / 1e6 FROM system.events WHERE event IN ('UserTimeMicroseconds', 'SystemTimeMicroseconds')", &v)
	return v
}

// keyEvents are a batch as archive has it: sessions of five events.
func keyEvents(rng *rand.Rand, n int, at schemas.Millis) []pipeline.ActivityRow {
	rows := typicalRows(n, *keyAgents, at)
	for i := range rows {
		e := &rows[i].Event
		if i%5 > 0 {
			before := &rows[i-1].Event
			e.AgentID, e.AgentName, e.SessionID, e.PeerGroup, e.OnBehalfOf, e.CredentialID, e.SourceIP =
				before.AgentID, before.AgentName, before.SessionID, before.PeerGroup, before.OnBehalfOf, before.CredentialID, before.SourceIP
			continue
		}
		a := rng.IntN(*keyAgents)
		e.AgentID, e.AgentName, e.SessionID = keyAgent(a), fmt.Sprintf("Support agent %d", a), fmt.Sprintf("s-%08x", rng.Uint32())
		e.CredentialID = fmt.Sprintf("cred-%d", a)
	}
	return rows
}

func keyAgent(a int) string { return fmt.Sprintf("support-triage-%06d", a) }

// TestWhatTheTypeOfAgentIDCosts measures it; ADR 0014 says what follows.
func TestWhatTheTypeOfAgentIDCosts(t *testing.T) {
	if *keyRows == 0 {
		t.Skip("it takes minutes: -keytype-rows 10")
	}
	db := open(t, chdbtest.Start(t))
	require.NoError(t, db.Migrate(t.Context(), nil))
	variants := []*keyVariant{
		{name: "LowCardinality"},
		{name: "agent_id String", strings: []string{"agent_id"}},
		{name: "agent_id, agent_name String", strings: []string{"agent_id", "agent_name"}},
	}
	for i, v := range variants {
		suffix := fmt.Sprintf("_%d", i)
		v.activity, v.windows = newEncoder(asStrings(activityTable, suffix, v.strings)), newEncoder(asStrings(windowTable, suffix, v.strings))
		for _, name := range []string{"activity_rows", "window_rows"} {
			exec(t, db, "CREATE TABLE "+name+suffix+" AS "+name)
			for _, c := range v.strings {
				if name == "window_rows" && c != "agent_id" {
					continue
				}
				exec(t, db, "ALTER TABLE "+name+suffix+" MODIFY COLUMN "+c+" String CODEC(ZSTD(1))")
			}
		}
	}
	const batch = 50_000
	rng := rand.New(rand.NewPCG(3, 4))
	measure := func(into *[2]float64, do func() error) {
		own, engine := cpu(t), engineCPU(t, db)
		require.NoError(t, do())
		into[0] += cpu(t) - own
		into[1] += engineCPU(t, db) - engine
	}
	batches := *keyRows * 1_000_000 / batch
	for n := range batches {
		rows := keyEvents(rng, batch, now()-schemas.Millis(n%3)*day+schemas.Millis(n*batch))
		for i := range variants {
			v := variants[(i+n)%len(variants)]
			measure(&v.spent[0], func() error {
				v.activity.fill(rows)
				return send(t.Context(), db, v.activity.table, v.activity, len(rows))
			})
		}
	}
	windows := max(2**keyAgents, 10*batch)
	for n := range windows / batch { // hour by hour
		rows := make([]pipeline.WindowRow, batch)
		for i := range rows {
			a := (n*batch + i) % *keyAgents
			rows[i] = sampleWindow(i)
			w := &rows[i].Window
			w.AgentID, w.PeerGroup, w.Start, w.Score = keyAgent(a), fmt.Sprintf("group-%d", a%7), now()-hour*schemas.Millis(1 + (n*batch+i) / *keyAgents), float64(a%100)
			rows[i].RecordedAt = w.Start + hour
		}
		rng.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		for i := range variants {
			v := variants[(i+n)%len(variants)]
			measure(&v.spent[1], func() error {
				v.windows.fill(rows)
				return send(t.Context(), db, v.windows.table, v.windows, len(rows))
			})
		}
	}
	for i, v := range variants {
		var spent [2]float64
		for _, name := range []string{"activity_rows", "window_rows"} {
			measure(&spent, func() error { return db.conn.Exec(t.Context(), fmt.Sprintf("OPTIMIZE TABLE %s_%d FINAL", name, i)) })
		}
		v.merged = spent[1]
	}
	writeKeyPage(t, db, variants, float64(batches*batch), float64(windows))
}

const keySettings = " SETTINGS do_not_merge_across_partitions_select_final = 1, use_skip_indexes_if_final = 1, use_skip_indexes_if_final_exact_mode = 0"

var keyQueries = []struct{ name, sql string }{
	{"latest 100 events of an agent", "SELECT * FROM activity_rows FINAL WHERE tenant_id = 'default' AND agent_id = '" + "{agent}" + "' ORDER BY time DESC LIMIT 100"},
	{"latest 100 events of 100 agents", "SELECT * FROM activity_rows FINAL WHERE tenant_id = 'default' AND agent_id IN ({agents}) ORDER BY time DESC LIMIT 100"},
	{"busiest agents", "SELECT agent_id, count() AS n FROM activity_rows FINAL GROUP BY tenant_id, agent_id ORDER BY n DESC LIMIT 10"},
	{"agents a tool", "SELECT tool, uniqExact(tenant_id, agent_id) FROM activity_rows FINAL GROUP BY tool"},
	{"agents seen since a day", "SELECT count() FROM activity_rows FINAL WHERE recorded_at > now() - INTERVAL 1 DAY AND (tenant_id, agent_id) IN (SELECT tenant_id, agent_id FROM activity_rows FINAL GROUP BY tenant_id, agent_id HAVING min(recorded_at) > now() - INTERVAL 1 DAY)"},
	{"windows of an agent", "SELECT * FROM window_rows FINAL WHERE tenant_id = 'default' AND agent_id = '{agent}' ORDER BY start DESC LIMIT 48"},
	{"agents by worst window", "SELECT agent_id, max(score) AS worst FROM window_rows FINAL GROUP BY tenant_id, agent_id ORDER BY worst DESC LIMIT 25"},
}

func writeKeyPage(t *testing.T, db *DB, variants []*keyVariant, n, windows float64) {
	t.Helper()
	var out strings.Builder
	line := func(name, format string, values func(v *keyVariant, i int) float64) {
		fmt.Fprintf(&out, "| %s |", name)
		first := 0.0
		for i, v := range variants {
			x := values(v, i)
			if i == 0 {
				first = x
			}
			fmt.Fprintf(&out, " "+format+" (%.2f) |", x, x/first)
		}
		out.WriteByte('\n')
	}
	out.WriteString("| |")
	for _, v := range variants {
		out.WriteString(" " + v.name + " |")
	}
	out.WriteString("\n|---|---|---|---|\n")
	line("insert of events, CPU µs a row, service", "%.2f", func(v *keyVariant, _ int) float64 { return v.spent[0][0] / n * 1e6 })
	line("insert of events, CPU µs a row, engine with its merges", "%.2f", func(v *keyVariant, _ int) float64 { return v.spent[0][1] / n * 1e6 })
	line("insert of windows, CPU µs a row, service", "%.2f", func(v *keyVariant, _ int) float64 { return v.spent[1][0] / windows * 1e6 })
	line("insert of windows, CPU µs a row, engine with its merges", "%.2f", func(v *keyVariant, _ int) float64 { return v.spent[1][1] / windows * 1e6 })
	line("merge of everything into a part a day, CPU s", "%.1f", func(v *keyVariant, _ int) float64 { return v.merged })
	for _, table := range []string{"activity_rows", "window_rows"} {
		disk := func(sql string) func(*keyVariant, int) float64 {
			return func(_ *keyVariant, i int) float64 {
				var b float64
				scan(t, db, fmt.Sprintf(sql, fmt.Sprintf("%s_%d", table, i)), &b)
				return b / (1 << 20)
			}
		}
		line("`"+table+"` on disk, MiB", "%.1f", disk("SELECT toFloat64(sum(bytes_on_disk)) FROM system.parts WHERE active AND table = '%s'"))
		line("`"+table+"`.`agent_id` on disk, MiB", "%.1f", disk("SELECT toFloat64(sum(column_bytes_on_disk)) FROM system.parts_columns WHERE active AND column = 'agent_id' AND table = '%s'"))
		line("primary key of `"+table+"` in memory, KiB", "%.0f", disk("SELECT toFloat64(sum(primary_key_bytes_in_memory)) * 1024 FROM system.parts WHERE active AND table = '%s'"))
	}
	var agents []string
	for i := range 100 {
		agents = append(agents, "'"+keyAgent(i*9973%*keyAgents)+"'")
	}
	for _, q := range keyQueries {
		sql := strings.NewReplacer("{agents}", strings.Join(agents, ","), "{agent}", keyAgent(*keyAgents/2-1)).Replace(q.sql) + keySettings
		least := make([]float64, len(variants))
		for round := range 7 {
			for i := range variants {
				k := (i + round) % len(variants)
				of := strings.NewReplacer("activity_rows", fmt.Sprintf("activity_rows_%d", k), "window_rows", fmt.Sprintf("window_rows_%d", k)).Replace(sql)
				before := engineCPU(t, db)
				var ignored strings.Builder
				require.NoError(t, db.Query(t.Context(), of, FormatJSON, &ignored, nil), of)
				spent := engineCPU(t, db) - before
				if round == 0 {
					least[k] = math.Inf(1)
				}
				least[k] = min(least[k], spent)
			}
		}
		line("query: "+q.name+", CPU ms", "%.1f", func(_ *keyVariant, i int) float64 { return least[i] * 1000 })
	}
	t.Logf("%s\n%s", time.Now().UTC().Format(time.DateOnly), out.String())
	if *keyPage != "" {
		require.NoError(t, os.WriteFile(*keyPage, []byte(out.String()), 0o600))
	}
}
