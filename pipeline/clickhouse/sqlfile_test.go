package clickhouse

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o600))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err, "run the test with -update to write it")
	require.Equal(t, string(want), string(got))
}

func TestStatementsAreSplitAtSemicolonsAlone(t *testing.T) {
	for _, c := range []struct {
		name string
		sql  string
		want []string
	}{
		{"nothing", " \n ; ;\n-- only a comment; really", nil},
		{"one without a semicolon", "SELECT 1", []string{"SELECT 1"}},
		{"two", "SELECT 1;\nSELECT 2;", []string{"SELECT 1", "SELECT 2"}},
		{"a semicolon in strings and names", "SELECT ';', \"a;b\", `c;d`; SELECT 2", []string{"SELECT ';', \"a;b\", `c;d`", "SELECT 2"}},
		{"quotes in quotes", `SELECT 'it''s; \'x\';', '\\'; SELECT 2`, []string{`SELECT 'it''s; \'x\';', '\\'`, "SELECT 2"}},
		{"a quote in a comment", "SELECT 1 -- don't; stop\n+ 1; SELECT 2", []string{"SELECT 1 \n+ 1", "SELECT 2"}},
		{"comment marks in a string", "SELECT '-- no', '/* no */'", []string{"SELECT '-- no', '/* no */'"}},
		{"a long comment", "SELECT/* ; ' */1; SELECT 2", []string{"SELECT 1", "SELECT 2"}},
		{"what never ends", "SELECT 'open; /*", []string{"SELECT 'open; /*"}},
		{"a comment that never ends", "SELECT 1 /* ; SELECT 2", []string{"SELECT 1"}},
		{"a minus", "SELECT 1 - -1", []string{"SELECT 1 - -1"}},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, statements(c.sql)) })
	}
}

func TestMigrationsAreNumberedWithoutGaps(t *testing.T) {
	file := &fstest.MapFile{Data: []byte("SELECT 1")}
	for _, c := range []struct {
		name  string
		files fstest.MapFS
		says  string
	}{
		{"a gap", fstest.MapFS{"sql/0001_a.sql": file, "sql/0003_c.sql": file}, "number 0002 is missing"},
		{"a number twice", fstest.MapFS{"sql/0001_a.sql": file, "sql/0001_b.sql": file}, "number 0002 is missing or stands twice"},
		{"no number", fstest.MapFS{"sql/first.sql": file}, "its name must be NNNN_what_it_does.sql"},
		{"a short number", fstest.MapFS{"sql/1_a.sql": file}, "its name must be NNNN_what_it_does.sql"},
		{"number zero", fstest.MapFS{"sql/0000_a.sql": file}, "its name must be NNNN_what_it_does.sql"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := loadSchema(c.files)
			require.ErrorContains(t, err, c.says)
		})
	}
}

func TestTheSchemaIsPrintedWithoutAServer(t *testing.T) {
	db, err := Open(Config{Addrs: []string{"192.0.2.1:8123"}, Database: "sec`ops", RetentionDays: 30, Password: "hunter2-secret", Fsync: true})
	require.NoError(t, err)
	defer func() { require.NoError(t, db.Close()) }()
	var out bytes.Buffer
	require.NoError(t, db.PrintSchema(&out))
	require.NotContains(t, out.String(), "{{", "every template variable is filled in")
	require.NotContains(t, out.String(), "hunter2")
	golden(t, "schema.golden.sql", out.Bytes())
}
