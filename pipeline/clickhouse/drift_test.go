package clickhouse

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/pipeline"
)

// TestTheExpectedShapeIsWhatTheMigrationsMake writes sql/expected.json, with
// -update, and fails where a migration was added without it.
func TestTheExpectedShapeIsWhatTheMigrationsMake(t *testing.T) {
	db := open(t, chdbtest.Start(t))
	s, err := loadSchema(sqlFiles)
	require.NoError(t, err)
	s.expected = nil // what is there may not be healed towards the old file
	require.NoError(t, db.migrate(t.Context(), s, nil))
	var (
		name  string
		names []string
	)
	require.NoError(t, db.each(t.Context(), "list", "SELECT name FROM system.tables WHERE database = 'plumbline' AND engine != 'View'", nil, func() { names = append(names, name) }, &name))
	hosts := []host{{}}
	require.NoError(t, db.shapes(t.Context(), names, hosts))
	got := hosts[0].there
	for _, shape := range got {
		delete(shape.Settings, "index_granularity") // the server's default, not ours
	}
	b, err := json.MarshalIndent(got, "", "  ")
	require.NoError(t, err)
	b = append(b, '\n')
	if *update {
		require.NoError(t, os.WriteFile(expectedFile, b, 0o600))
	}
	want, err := os.ReadFile(expectedFile)
	require.NoError(t, err)
	require.Equal(t, string(want), string(b), "run `go test ./pipeline/clickhouse -run Expected -update`")
}

// fingerprint is everything that system tables say about the schema.
func fingerprint(t *testing.T, db *DB) string {
	t.Helper()
	var out strings.Builder
	for _, sql := range []string{
		"SELECT name, engine_full, as_select FROM system.tables WHERE database = 'plumbline' ORDER BY name",
		"SELECT table, name, type, default_kind, default_expression, compression_codec FROM system.columns WHERE database = 'plumbline' ORDER BY table, position",
		"SELECT table, name, type_full, expr, granularity FROM system.data_skipping_indices WHERE database = 'plumbline' ORDER BY table, name",
	} {
		require.NoError(t, db.Query(t.Context(), sql, FormatJSON, &out, nil))
	}
	return out.String()
}

func TestWhatIsGoneFromTheSchemaIsNamedAndPutBack(t *testing.T) {
	db := migrated(t, func(c *Config) { c.RetentionDays, c.Fsync = 30, true })
	want := fingerprint(t, db)
	require.NoError(t, db.InsertActivity(t.Context(), typicalRows(50, 3, now())))
	require.NoError(t, db.InsertAlerts(t.Context(), []pipeline.AlertRow{sampleAlert(1), sampleAlert(2)}))
	require.NoError(t, checkSchema(t.Context(), db))

	for _, c := range []struct {
		damage []string
		said   []string
	}{
		{[]string{"DROP TABLE window_rows"}, []string{"create table window_rows, which is gone", "views and retention"}},
		{[]string{"DROP TABLE alert_rows", "DROP VIEW alerts"}, []string{"create table alert_rows, which is gone", "views and retention (view alerts is gone)"}},
		{[]string{"DROP VIEW activity", "DROP VIEW windows"}, []string{"views and retention (view activity is gone, view windows is gone)"}},
		{[]string{"CREATE OR REPLACE VIEW activity AS SELECT * FROM activity_rows WHERE agent_id != 'evil'"}, []string{"views and retention (view activity selects something else)"}},
		{[]string{"ALTER TABLE activity_rows DROP COLUMN model"}, []string{"add column model to activity_rows, which is gone", "views and retention"}},
		{[]string{"ALTER TABLE activity_rows DROP COLUMN tokens_in, DROP COLUMN attributes", "ALTER TABLE window_rows DROP COLUMN signals"}, []string{
			"add column tokens_in to activity_rows, which is gone", "add column attributes to activity_rows, which is gone",
			"add column signals to window_rows, which is gone", "views and retention",
		}},
		{[]string{"ALTER TABLE activity_rows DROP INDEX session_id", "ALTER TABLE activity_rows DROP COLUMN session_id"}, []string{
			"add column session_id to activity_rows, which is gone", "add index session_id to activity_rows, which is gone", "views and retention",
		}},
		{[]string{"ALTER TABLE alert_rows DROP COLUMN `signals.p`"}, []string{"add column signals.p to alert_rows, which is gone", "views and retention"}},
		{[]string{"ALTER TABLE activity_rows DROP INDEX resources"}, []string{"add index resources to activity_rows, which is gone", "views and retention"}},
		{[]string{"ALTER TABLE activity_rows RESET SETTING materialize_ttl_recalculate_only"}, []string{"set materialize_ttl_recalculate_only of activity_rows back to 1", "views and retention"}},
		{[]string{"ALTER TABLE window_rows RESET SETTING min_age_to_force_merge_seconds"}, []string{"set min_age_to_force_merge_seconds of window_rows back to 3600", "views and retention"}},
		{[]string{"ALTER TABLE alert_rows RESET SETTING fsync_after_insert"}, []string{"views and retention (table alert_rows does not fsync)"}},
		{[]string{"ALTER TABLE activity_rows REMOVE TTL"}, []string{"views and retention (table activity_rows has no TTL)"}},
		{[]string{"ALTER TABLE activity_rows MODIFY TTL toDateTime(recorded_at) + INTERVAL 2 DAY"}, []string{"views and retention (table activity_rows keeps rows for 2 days, not 30)"}},
		{[]string{"ALTER TABLE schema_migrations DROP COLUMN name"}, []string{"add column name to schema_migrations, which is gone", "views and retention"}},
		{[]string{"DROP TABLE schema_migrations"}, []string{"0001 activity rows", "0002 alert rows", "0003 window rows", "0004 lookups", "0005 log", "0006 registration rows", "views and retention"}},
	} {
		t.Run(strings.Join(c.damage, "; "), func(t *testing.T) {
			for _, sql := range c.damage {
				exec(t, db, sql)
			}
			err := checkSchema(t.Context(), db)
			require.ErrorIs(t, err, ErrSchemaPending)
			plan, err := db.Plan(t.Context())
			require.NoError(t, err)
			require.Equal(t, c.said, stepNames(plan.Steps))
			require.NoError(t, db.Migrate(t.Context(), nil))
			require.NoError(t, checkSchema(t.Context(), db))
			require.ElementsMatch(t, sortedFields(want), sortedFields(fingerprint(t, db)), "what was lost is back as it was")
			require.Equal(t, 50, count(t, db, "activity"), "no row was lost")
		})
	}
	require.NoError(t, db.InsertActivity(t.Context(), typicalRows(60, 3, now())))
	require.NoError(t, db.InsertAlerts(t.Context(), []pipeline.AlertRow{sampleAlert(3)}))
	var all strings.Builder
	require.NoError(t, db.Query(t.Context(), "SELECT * FROM alerts", FormatJSON, &all, nil))
}

// sortedFields is a text in pieces that do not depend on the order of settings.
func sortedFields(text string) []string {
	out := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' })
	for i := range out {
		out[i] = strings.Trim(out[i], `"}{`)
	}
	slices.Sort(out)
	return out
}

func TestWhatCannotBeHealedIsRefusedByNameAndNothingIsDone(t *testing.T) {
	for _, c := range []struct {
		name   string
		damage []string
		said   []string
	}{
		{"a column of another type", []string{"ALTER TABLE activity_rows MODIFY COLUMN bytes_sent UInt32"}, []string{
			"table activity_rows: column bytes_sent is UInt32, not UInt64: see whether its values fit, then ALTER TABLE `plumbline`.`activity_rows` MODIFY COLUMN `bytes_sent` UInt64 CODEC(T64, ZSTD(1))",
		}},
		{"a column that is computed", []string{"ALTER TABLE activity_rows MODIFY COLUMN tool LowCardinality(String) MATERIALIZED 'x'"}, []string{
			"column tool is LowCardinality(String) MATERIALIZED, not LowCardinality(String)",
		}},
		{"another order", []string{
			"CREATE TABLE other AS plumbline.window_rows ENGINE = ReplacingMergeTree(version) PARTITION BY seconds PRIMARY KEY agent_id ORDER BY agent_id",
			"DROP TABLE window_rows", "RENAME TABLE other TO window_rows",
		}, []string{
			"table window_rows: its PARTITION BY is seconds, not toYYYYMMDD(start, 'UTC') % 40000: rename it (RENAME TABLE `plumbline`.`window_rows` TO ...)",
			"its ORDER BY is agent_id, not tenant_id, agent_id, start, seconds",
		}},
		{"another engine", []string{"DROP TABLE alert_rows", "CREATE TABLE alert_rows (a UInt8) ENGINE = Memory"}, []string{"table alert_rows: its engine is Memory, not ReplacingMergeTree"}},
		{"no version column", []string{
			"CREATE TABLE other AS plumbline.alert_rows ENGINE = ReplacingMergeTree ORDER BY (tenant_id, agent_id, alert_id)",
			"DROP TABLE alert_rows", "RENAME TABLE other TO alert_rows",
		}, []string{"table alert_rows: its version column is empty, not version"}},
		{"a table in the place of a view", []string{"DROP VIEW windows", "CREATE TABLE windows (a UInt8) ENGINE = MergeTree ORDER BY a"}, []string{"windows is of engine MergeTree, not a view: rename it"}},
		{"several at once", []string{"ALTER TABLE activity_rows MODIFY COLUMN tokens_in UInt32", "ALTER TABLE window_rows MODIFY COLUMN late UInt8", "DROP VIEW alerts"}, []string{"column tokens_in is UInt32", "column late is UInt8"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := migrated(t)
			for _, sql := range c.damage {
				exec(t, db, sql)
			}
			before := fingerprint(t, db)
			for name, err := range map[string]error{"migrate": db.Migrate(t.Context(), nil), "check": checkSchema(t.Context(), db)} {
				require.ErrorIs(t, err, ErrSchemaConflict, name)
				require.False(t, IsRetryable(err))
				for _, said := range c.said {
					require.ErrorContains(t, err, said, name)
				}
			}
			require.Equal(t, before, fingerprint(t, db))
		})
	}
}

func TestWhatTheOperatorMayChangeIsLeftAlone(t *testing.T) {
	db := migrated(t, func(c *Config) { c.RetentionDays = 30 })
	for _, sql := range []string{
		"ALTER TABLE activity_rows MODIFY COLUMN event_id CODEC(ZSTD(3))",
		"ALTER TABLE activity_rows ADD COLUMN team String DEFAULT 'x', ADD INDEX tools tool TYPE set(100) GRANULARITY 4",
		"ALTER TABLE activity_rows MODIFY COLUMN tool LowCardinality(String) DEFAULT 'none'",
		"ALTER TABLE activity_rows MODIFY SETTING merge_with_ttl_timeout = 3600",
		"ALTER TABLE alert_rows MODIFY TTL toDateTime(recorded_at) + INTERVAL 400 DAY",
		"CREATE TABLE notes (a UInt8) ENGINE = MergeTree ORDER BY a",
	} {
		exec(t, db, sql)
	}
	plan, err := db.Plan(t.Context())
	require.NoError(t, err)
	require.Empty(t, plan.Steps)
	require.NoError(t, db.InsertActivity(t.Context(), typicalRows(5, 3, now())))
	require.Equal(t, 5, count(t, db, "activity_rows WHERE team = 'x'"))
}

func TestLookingForDriftChangesNothingAndTakesMilliseconds(t *testing.T) {
	db := migrated(t)
	before := fingerprint(t, db)
	begin := time.Now()
	for range 20 {
		require.NoError(t, checkSchema(t.Context(), db))
	}
	took := time.Since(begin) / 20
	t.Logf("one look takes %s", took)
	require.Less(t, took, time.Second)
	require.Equal(t, before, fingerprint(t, db))
	require.Zero(t, count(t, db, "system.databases WHERE name LIKE 'plumbline%' AND name != 'plumbline'"))
}

func TestTablesThatAreReplicatedAreTheSameTables(t *testing.T) {
	for full, want := range map[string]tableShape{
		"ReplicatedReplacingMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}', version) PARTITION BY a ORDER BY b TTL x + toIntervalDay(90 + 1) SETTINGS index_granularity = 8192": {
			Engine: "ReplacingMergeTree", Version: "version", ttl: "x + toIntervalDay(90 + 1)", replicated: true, Settings: map[string]string{"index_granularity": "8192"},
		},
		"SharedReplacingMergeTree('/c/t(1)', '{r,}', version) ORDER BY b": {Engine: "ReplacingMergeTree", Version: "version", replicated: true},
		"ReplacingMergeTree(`version`) ORDER BY b":                        {Engine: "ReplacingMergeTree", Version: "version"},
		"ReplacingMergeTree ORDER BY b":                                   {Engine: "ReplacingMergeTree"},
		"ReplicatedMergeTree('/p', 'r') ORDER BY (version, applied_at)":   {Engine: "MergeTree", replicated: true},
	} {
		var got tableShape
		got.describe(full[:strings.IndexAny(full, "( ")], full)
		assert.Equal(t, want, got, full)
	}
}

func TestATTLDeletesWhenItsLeastRuleDoes(t *testing.T) {
	for ttl, days := range map[string]int{
		"": -1,
		"toStartOfDay(toDateTime(least(recorded_at + toIntervalDay(90 + 1), toDateTime64('2106-01-01 00:00:00', 3, 'UTC')), 'UTC'), 'UTC')": 90,
		"a + toIntervalDay((30 + 1))":                                      30,
		"a + toIntervalDay(7) TO VOLUME 'cold', a + toIntervalDay(90)":     90,
		"a + toIntervalDay(7) RECOMPRESS CODEC(ZSTD(9)), toDateTime(b)":    -1,
		"a + toIntervalDay(90), b + toIntervalDay(2) DELETE WHERE c = ','": 2,
	} {
		assert.Equal(t, days, expiry(ttl), ttl)
	}
}

func TestAnInstanceOfAnotherReleaseOrConfigIsNoLoss(t *testing.T) {
	addr := chdbtest.Start(t)
	db := open(t, addr, func(c *Config) { c.RetentionDays = 90 })
	require.ErrorIs(t, db.CheckLost(t.Context()), ErrSchemaPending, "nothing is there yet")
	require.NoError(t, db.Migrate(t.Context(), nil))
	require.NoError(t, db.CheckLost(t.Context()))
	exec(t, db, "ALTER TABLE alert_rows REMOVE TTL")
	require.ErrorContains(t, db.CheckLost(t.Context()), "table alert_rows has no TTL")

	other := open(t, addr, func(c *Config) { c.RetentionDays = 30 })
	require.NoError(t, other.Migrate(t.Context(), nil))
	require.ErrorIs(t, checkSchema(t.Context(), db), ErrSchemaPending)
	require.NoError(t, db.CheckLost(t.Context()), "the newer config is applied, the older instance works")
	exec(t, db, "DROP VIEW alerts")
	require.ErrorContains(t, db.CheckLost(t.Context()), "view alerts is gone")

	require.NoError(t, other.Migrate(t.Context(), nil))
	exec(t, db, "INSERT INTO schema_migrations VALUES (7, 'from_the_future', 'ab', now64())")
	require.NoError(t, db.CheckLost(t.Context()))
}
