package clickhouse

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

func stepNames(steps []Step) []string {
	out := []string{}
	for _, s := range steps {
		out = append(out, s.String())
	}
	return out
}

var allSteps = []string{"create database", "0001 activity rows", "0002 alert rows", "0003 window rows", "0004 lookups", "0005 log", "0006 registration rows", "views and retention"}

func TestMigrationsAreAppliedOnceAndInOrder(t *testing.T) {
	db := open(t, chdbtest.Start(t))
	ctx := t.Context()

	err := db.Ping(ctx)
	require.ErrorContains(t, err, "there is no database \"plumbline\" (clickhouse.database): run `plumbline migrate`")
	require.False(t, IsRetryable(err))
	require.ErrorIs(t, checkSchema(ctx, db), ErrSchemaPending)

	plan, err := db.Plan(ctx)
	require.NoError(t, err)
	require.Equal(t, allSteps, stepNames(plan.Steps))
	require.Equal(t, []uint32{0, 6}, []uint32{plan.Current, plan.Latest})
	for _, s := range plan.Steps {
		require.NotEmpty(t, s.SQL)
	}

	var heard []Step
	require.NoError(t, db.Migrate(ctx, func(s Step) { heard = append(heard, s) }))
	require.Equal(t, plan.Steps, heard, "what was planned is what was done")
	require.NoError(t, db.Ping(ctx))
	require.NoError(t, checkSchema(ctx, db))

	heard = nil
	require.NoError(t, db.Migrate(ctx, func(s Step) { heard = append(heard, s) }))
	require.Empty(t, heard, "nothing is left to do")
	require.Equal(t, 7, count(t, db, "schema_migrations"))
	plan, err = db.Plan(ctx)
	require.NoError(t, err)
	require.Equal(t, &Plan{Database: "plumbline", Current: 6, Latest: 6}, plan)
}

func TestSeveralProgramsMayMigrateAtOnce(t *testing.T) {
	addr := chdbtest.Start(t)
	var wg sync.WaitGroup
	for range 8 {
		db := open(t, addr)
		wg.Go(func() {
			if err := db.Migrate(t.Context(), nil); err != nil {
				t.Errorf("migrate: %v", err)
			}
		})
	}
	wg.Wait()
	db := open(t, addr)
	require.NoError(t, checkSchema(t.Context(), db))
	require.NoError(t, db.InsertActivity(t.Context(), typicalRows(3, 1, now())))
	require.Equal(t, 3, count(t, db, "activity"))
}

func TestAnAppliedMigrationMayNotChange(t *testing.T) {
	db := migrated(t)
	exec(t, db, "ALTER TABLE schema_migrations UPDATE checksum = 'feedfeedfeedfeed' WHERE version = 2 SETTINGS mutations_sync = 2")
	for name, err := range map[string]error{"migrate": db.Migrate(t.Context(), nil), "check": checkSchema(t.Context(), db)} {
		require.ErrorIs(t, err, ErrSchemaChanged, name)
		require.ErrorContains(t, err, "0002_alert_rows.sql has checksum")
		require.ErrorContains(t, err, "feedfeedfeed was applied on 2")
		require.ErrorContains(t, err, "use the program that applied it")
	}
}

func TestADatabaseThatIsNewerThanTheProgramIsLeftAlone(t *testing.T) {
	db := migrated(t)
	exec(t, db, "INSERT INTO schema_migrations VALUES (7, 'from_the_future', 'ab', now64())")
	for name, err := range map[string]error{"migrate": db.Migrate(t.Context(), nil), "check": checkSchema(t.Context(), db)} {
		require.ErrorIs(t, err, ErrSchemaNewer, name)
		require.ErrorContains(t, err, "has schema version 7, this program knows 6")
	}
}

func TestAnotherRetentionReachesTablesAndViews(t *testing.T) {
	addr := chdbtest.Start(t)
	for _, days := range []int{90, 30, MaxRetentionDays, 1, 30} {
		db := open(t, addr, func(c *Config) { c.RetentionDays = days })
		err := checkSchema(t.Context(), db)
		require.ErrorIs(t, err, ErrSchemaPending)
		require.ErrorContains(t, err, "views and retention")
		require.NoError(t, db.Migrate(t.Context(), nil))
		require.NoError(t, checkSchema(t.Context(), db))
		for _, name := range []string{"activity_rows", "alert_rows", "window_rows", "activity", "alerts", "windows"} {
			var sql string
			scan(t, db, "SELECT create_table_query FROM system.tables WHERE database = 'plumbline' AND name = '"+name+"'", &sql)
			want := fmt.Sprintf("toIntervalDay(%d", days) // and in tables a day more
			require.Contains(t, sql, want, name)
			require.Equal(t, 1, strings.Count(sql, "toIntervalDay"), name)
		}
	}
	db := open(t, addr, func(c *Config) { c.RetentionDays = 30 })
	require.NoError(t, db.InsertActivity(t.Context(), typicalRows(3, 1, now())))
	require.Equal(t, 3, count(t, db, "activity"))
}

func TestAMigrationThatFailedHalfwayIsRunAgain(t *testing.T) {
	db := open(t, chdbtest.Start(t))
	files := fstest.MapFS{
		"sql/schema_migrations.sql":   {Data: []byte("CREATE TABLE IF NOT EXISTS {{database}}.schema_migrations (version UInt32, name String, checksum String, applied_at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY version")},
		"sql/0001_first.sql":          {Data: []byte("CREATE TABLE IF NOT EXISTS {{database}}.a (x UInt8) ENGINE = MergeTree ORDER BY x")},
		"sql/0002_two_things.sql":     {Data: []byte("CREATE TABLE IF NOT EXISTS {{database}}.b (x UInt8) ENGINE = MergeTree ORDER BY x; CREATE TABLE {{database}}.c (x NoSuchType) ENGINE = Memory")},
		"sql/views_and_retention.sql": {Data: []byte("CREATE OR REPLACE VIEW {{database}}.activity AS SELECT 1; CREATE OR REPLACE VIEW {{database}}.alerts AS SELECT 1; CREATE OR REPLACE VIEW {{database}}.windows AS SELECT 1")},
	}
	broken, err := loadSchema(files)
	require.NoError(t, err)
	err = db.migrate(t.Context(), broken, nil)
	require.ErrorContains(t, err, "migrate: 0002 two things")
	require.ErrorContains(t, err, "NoSuchType")

	files["sql/0002_two_things.sql"] = &fstest.MapFile{Data: []byte("CREATE TABLE IF NOT EXISTS {{database}}.b (x UInt8) ENGINE = MergeTree ORDER BY x; CREATE TABLE {{database}}.c (x UInt8) ENGINE = Memory")}
	fixed, err := loadSchema(files)
	require.NoError(t, err)
	plan, err := db.plan(t.Context(), fixed)
	require.NoError(t, err)
	require.Equal(t, []string{"0002 two things", "views and retention"}, stepNames(plan.Steps), "the first is not applied again")
	require.NoError(t, db.migrate(t.Context(), fixed, nil))
	require.Zero(t, count(t, db, "c"))
}

func TestADatabaseMayHaveAnyName(t *testing.T) {
	addr := chdbtest.Start(t)
	for _, name := range []string{"sec-ops", "with`tick", `back\slash`, "Ünïcode", "select"} {
		t.Run(name, func(t *testing.T) {
			db := open(t, addr, func(c *Config) { c.Database = name })
			require.NoError(t, db.Migrate(t.Context(), nil))
			require.NoError(t, checkSchema(t.Context(), db))
			require.NoError(t, db.InsertActivity(t.Context(), typicalRows(3, 1, now())))
			require.Equal(t, 3, count(t, db, "activity"))
		})
	}
}

func TestFsyncIsSetOnTheTablesWhereAskedFor(t *testing.T) {
	addr := chdbtest.Start(t)
	for _, fsync := range []bool{false, true} {
		db := open(t, addr, func(c *Config) { c.Fsync = fsync })
		require.NoError(t, db.Migrate(t.Context(), nil))
		want := 0
		if fsync {
			want = 4
		}
		require.Equal(t, want, count(t, db, "system.tables WHERE database = 'plumbline' AND create_table_query LIKE '%fsync_after_insert = 1%'"))
		require.NoError(t, db.InsertActivity(t.Context(), typicalRows(3, 1, now())))
	}
}

// checkSchema returns nil where a migration would do nothing.
func checkSchema(ctx context.Context, db *DB) error {
	p, err := db.Plan(ctx)
	if err == nil && len(p.Steps) > 0 {
		err = fmt.Errorf("%w: %v", ErrSchemaPending, p.Steps)
	}
	return err
}
