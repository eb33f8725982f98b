package clickhouse

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/schemas"
)

const rolesFile = "../../deploy/clickhouse/roles.sql"

var grantTo = regexp.MustCompile(`^(GRANT .*) TO (plumbline_\w+)$`)

// rolesOf returns the statements of the file, and the rights of its roles as the
// engine's configuration takes them.
func rolesOf(t *testing.T) (all []string, rights map[string][]string) {
	t.Helper()
	text, err := os.ReadFile(rolesFile)
	require.NoError(t, err)
	all = statements(string(text))
	rights = make(map[string][]string)
	for _, sql := range all {
		if !strings.HasPrefix(sql, "GRANT ") {
			continue
		}
		m := grantTo.FindStringSubmatch(sql)
		require.NotNil(t, m, sql)
		if role := strings.TrimPrefix(m[1], "GRANT "); rights[role] != nil {
			rights[m[2]] = append(rights[m[2]], rights[role]...)
			continue
		}
		rights[m[2]] = append(rights[m[2]], m[1])
	}
	require.Len(t, rights, 4)
	return all, rights
}

// may starts the engine for a user who has these rights and no others.
func may(t *testing.T, dir string, rights []string) (addr string) {
	t.Helper()
	return chdbtest.Start(t, chdbtest.WithDataDir(dir), func(c *chdb.Config) { c.Database = "elsewhere" }, chdbtest.WithExtension(chdb.Extension{Grants: rights}))
}

// asTheServiceDoes is everything that archive, migrate and the look at stored data ask of
// ClickHouse.
func asTheServiceDoes(ctx context.Context, db *DB) error {
	if err := db.Migrate(ctx, nil); err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	rows := typicalRows(20, 3, now())
	for _, do := range []func() error{
		func() error { return db.Ping(ctx) },
		func() error { return db.CheckLost(ctx) },
		func() error { return db.InsertActivity(ctx, rows) },
		func() error {
			return db.InsertRegistrations(ctx, []pipeline.RegistrationRow{registrationRow(1, schemas.Registration{AgentID: "a"})})
		},
		func() error {
			return db.LoggedRegistrations(ctx, 0, 1000, func(*pipeline.ActivityRow) error { return nil })
		},
		func() error { return db.InsertAlerts(ctx, []pipeline.AlertRow{sampleAlert(1)}) },
		func() error { return db.InsertWindows(ctx, []pipeline.WindowRow{sampleWindow(1)}) },
		func() error { _, err := db.LogSpan(ctx, 0); return err },
		func() error {
			return db.LoggedEvents(ctx, 0, 0, 1000, func(*pipeline.ActivityRow) error { return nil })
		},
		func() error { _, err := db.ConfigHashes(ctx, now()); return err },
		func() error {
			r, err := db.ReadActivity(ctx, now()-day, now()+day)
			if err != nil {
				return err
			}
			return r.Each(ctx, func(*pipeline.ActivityRow, schemas.Millis) error { return nil })
		},
		func() error { _, err := db.DetachedParts(ctx); return err },
		func() error { _, _, err := db.CorruptErrors(ctx); return err },
		func() error {
			parts, err := db.Parts(ctx)
			if err != nil || len(parts) == 0 {
				return fmt.Errorf("%d parts: %w", len(parts), err)
			}
			for _, p := range parts {
				if err := db.ReadPart(ctx, p, 0, p.Rows); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		if err := do(); err != nil {
			return err
		}
	}
	return nil
}

func TestTheStatementsOfTheRolesAreWhatAServerParses(t *testing.T) {
	db := open(t, chdbtest.Start(t, withClusters()))
	all, _ := rolesOf(t)
	for _, sql := range all {
		requireParses(t, db, sql)
	}
}

func TestTheWritersRightsAreEnoughAndNoMore(t *testing.T) {
	_, rights := rolesOf(t)
	dir := t.TempDir()
	db := open(t, may(t, dir, rights["plumbline_writer"]), func(c *Config) { c.Fsync = true })
	require.NoError(t, asTheServiceDoes(t.Context(), db))
	for _, sql := range []string{
		"DROP TABLE activity_rows", "TRUNCATE TABLE activity_rows", "ALTER TABLE activity_rows DELETE WHERE 1", "ALTER TABLE activity_rows UPDATE tool = 'x' WHERE 1",
		"ALTER TABLE activity_rows DROP COLUMN tool", "ALTER TABLE activity_rows DROP PARTITION 21130", "DROP DATABASE plumbline", "CREATE DATABASE other",
		"OPTIMIZE TABLE activity_rows FINAL", "DROP TABLE schema_migrations",
	} {
		require.ErrorContains(t, db.root.Exec(t.Context(), strings.Replace(sql, "TABLE ", "TABLE plumbline.", 1)), "ACCESS_DENIED", sql)
	}
}

func TestTheWriterPutsBackWhatWasLost(t *testing.T) {
	_, rights := rolesOf(t)
	dir := t.TempDir()
	s := chdbtest.StartServer(t, chdbtest.WithDataDir(dir))
	admin := open(t, s.Addr())
	require.NoError(t, admin.Migrate(t.Context(), nil))
	for _, sql := range []string{
		"DROP TABLE window_rows", "DROP VIEW alerts", "ALTER TABLE activity_rows DROP INDEX tool", "ALTER TABLE activity_rows DROP COLUMN model",
		"ALTER TABLE activity_rows RESET SETTING min_age_to_force_merge_seconds", "ALTER TABLE alert_rows REMOVE TTL",
	} {
		exec(t, admin, sql)
	}
	require.NoError(t, s.Stop(t.Context()))
	db := open(t, may(t, dir, rights["plumbline_writer"]))
	plan, err := db.Plan(t.Context())
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(plan.Steps), 5)
	require.NoError(t, asTheServiceDoes(t.Context(), db))
	require.NoError(t, checkSchema(t.Context(), db))
}

func TestTheWriterOfAClusterMayDoWhatTheServiceDoesThere(t *testing.T) {
	_, rights := rolesOf(t)
	x := clusterExtension()
	x.Grants = rights["plumbline_cluster_writer"]
	engine := chdbtest.Start(t, func(c *chdb.Config) { c.Database = "elsewhere" }, chdbtest.WithExtension(x))
	db := open(t, clusterProxy(t, engine), onCluster("one"))
	require.NoError(t, asTheServiceDoes(t.Context(), db))
	require.ErrorContains(t, db.root.Exec(t.Context(), "DROP TABLE plumbline.activity_rows"), "ACCESS_DENIED")
}

// Every right of the writer is one without which something fails.
func TestTheWriterHasNoRightThatItDoesNotNeed(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts the engine for each right")
	}
	_, rights := rolesOf(t)
	writer := rights["plumbline_writer"]
	for i, statement := range writer {
		rest, on, _ := strings.Cut(strings.TrimPrefix(statement, "GRANT "), " ON ")
		for right := range strings.SplitSeq(rest, ", ") {
			if strings.HasPrefix(on, "system.") || right == "TABLE ENGINE" {
				continue // servers may ask for it, this engine does not
			}
			t.Run(right+" ON "+on, func(t *testing.T) {
				less := slices.Clone(writer)
				others := slices.DeleteFunc(strings.Split(rest, ", "), func(s string) bool { return s == right })
				if less[i] = "GRANT " + strings.Join(others, ", ") + " ON " + on; len(others) == 0 {
					less = slices.Delete(less, i, i+1)
				}
				db := open(t, may(t, t.TempDir(), less), func(c *Config) { c.Fsync = true })
				require.ErrorContains(t, asTheServiceDoes(t.Context(), db), "ACCESS_DENIED")
			})
		}
	}
}

func TestAnalystsAndGrafanaReadAndDoNothingElse(t *testing.T) {
	_, rights := rolesOf(t)
	dir := t.TempDir()
	s := chdbtest.StartServer(t, chdbtest.WithDataDir(dir))
	admin := open(t, s.Addr())
	require.NoError(t, admin.Migrate(t.Context(), nil))
	tellStory(t, admin)
	require.NoError(t, s.Stop(t.Context()))
	for _, role := range []string{"plumbline_analyst", "plumbline_grafana"} {
		t.Run(role, func(t *testing.T) {
			db := open(t, may(t, dir, rights[role]))
			queries, _ := readPage(t, queriesPage)
			for _, q := range queries {
				require.NoError(t, db.Query(t.Context(), q.sql, FormatJSON, io.Discard, nil), q.heading)
			}
			for _, sql := range []string{
				"INSERT INTO activity_rows (tenant_id) VALUES ('x')", "DROP VIEW activity", "CREATE TABLE mine (a UInt8) ENGINE = Memory",
				"ALTER TABLE alert_rows DELETE WHERE 1",
			} {
				require.ErrorContains(t, db.conn.Exec(t.Context(), sql), "ACCESS_DENIED", sql)
			}
		})
	}
}
