package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// damagedEngine serves a migrated database until the test ends, in the place of a
// service, and returns its data directory and how to run SQL on it.
func damagedEngine(t *testing.T) (dir string, sql func(string)) {
	t.Helper()
	dir = t.TempDir()
	serveEngine(t, dir)
	good(t, "migrate", "--data-dir", dir)
	return dir, func(text string) {
		t.Helper()
		good(t, "query", "--data-dir", dir, text)
	}
}

func TestMigrateSeesWhatIsGoneSaysWhatItWouldDoAndDoesIt(t *testing.T) {
	dir, sql := damagedEngine(t)
	r := good(t, "migrate", "--dry-run", "--data-dir", dir)
	require.Equal(t, "-- database plumbline is up to date (version 6): nothing would be done\n", r.stdout)

	sql("DROP TABLE plumbline.window_rows")
	sql("DROP VIEW plumbline.alerts")
	sql("ALTER TABLE plumbline.activity_rows DROP COLUMN bytes_sent")
	r = good(t, "migrate", "--dry-run", "--data-dir", dir)
	for _, want := range []string{
		"-- database plumbline is at version 6 of 6; `plumbline migrate` would do this:\n\n-- ---- create table window_rows, which is gone\n\nCREATE TABLE IF NOT EXISTS `plumbline`.window_rows",
		"-- ---- add column bytes_sent to activity_rows, which is gone\n\nALTER TABLE `plumbline`.`activity_rows` ADD COLUMN IF NOT EXISTS `bytes_sent` UInt64 CODEC(T64, ZSTD(1)) AFTER `target_agent_id`;\n",
		"-- ---- views and retention (view alerts is gone)\n",
	} {
		require.Contains(t, r.stdout, want)
	}
	again := plumbline(t, "migrate", "--dry-run", "--data-dir", dir)
	require.Equal(t, r.stdout, again.stdout, "nothing was done")

	r = good(t, "migrate", "--data-dir", dir)
	require.Equal(t, ` 1/3  create table window_rows, which is gone
 2/3  add column bytes_sent to activity_rows, which is gone
 3/3  views and retention (view alerts is gone)
database plumbline is at version 6
note: table window_rows is there again and empty: docs/operations.md says how to fill it from Kafka
note: column bytes_sent of activity_rows is empty in the rows that were there: docs/operations.md says how to fill it from Kafka
`, r.stdout)
	for _, view := range []string{"activity", "alerts", "windows"} {
		sql("SELECT * FROM plumbline." + view)
	}
	r = plumbline(t, "migrate", "--data-dir", dir)
	require.Equal(t, "database plumbline is up to date (version 6)\n", r.stdout)
}

func TestMigrateRefusesWhatItCannotHealWithOneLineAndExitCode1(t *testing.T) {
	dir, sql := damagedEngine(t)
	sql("ALTER TABLE plumbline.activity_rows MODIFY COLUMN tokens_in UInt16")
	for _, args := range [][]string{{"migrate"}, {"migrate", "--dry-run"}} {
		r := plumbline(t, append(args, "--data-dir", dir)...)
		require.Equal(t, 1, r.code)
		require.Empty(t, r.stdout)
		require.Equal(t, "plumbline: the schema was changed by hand, and healing it would cost rows; in database `plumbline`: table activity_rows: column tokens_in is UInt16, not UInt64: "+
			"see whether its values fit, then ALTER TABLE `plumbline`.`activity_rows` MODIFY COLUMN `tokens_in` UInt64 CODEC(T64, ZSTD(1))\n", r.stderr)
	}
	sql("ALTER TABLE `plumbline`.`activity_rows` MODIFY COLUMN `tokens_in` UInt64 CODEC(T64, ZSTD(1))")
	r := plumbline(t, "migrate", "--data-dir", dir)
	require.Equal(t, "database plumbline is up to date (version 6)\n", r.stdout)
}

func TestADryRunWhereNothingIsYetPrintsAllOfItAndMakesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	r := good(t, "migrate", "--dry-run", "--data-dir", dir)
	require.Contains(t, r.stdout, "CREATE TABLE IF NOT EXISTS `plumbline`.activity_rows")
	_, err := os.Stat(dir)
	require.ErrorIs(t, err, os.ErrNotExist)
	r = plumbline(t, "migrate", "--dry-run", "--print-schema")
	require.Equal(t, 2, r.code)
}
