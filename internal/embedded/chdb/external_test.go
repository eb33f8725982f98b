package chdb_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/chdb"
	"github.com/plumbline-sec/plumbline/internal/embedded/chdb/chdbtest"
)

// parts are files (by a name that ends in "!") and fields of a multipart body.
func (w *web) parts(fields [][2]string, pairs ...string) answer {
	w.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for _, f := range fields {
		if name, file := strings.CutSuffix(f[0], "!"); file {
			part, err := form.CreateFormFile(name, "") // as clickhouse-go
			require.NoError(w.t, err)
			_, _ = part.Write([]byte(f[1]))
		} else {
			require.NoError(w.t, form.WriteField(f[0], f[1]))
		}
	}
	require.NoError(w.t, form.Close())
	return w.do(http.MethodPost, "/", body.String(), append(pairs, "header:Content-Type", form.FormDataContentType())...)
}

func TestATableComesWithItsStatement(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t, func(c *chdb.Config) { c.ReaderPassword, c.Database = readersPassword, "pl" }))
	w.must("CREATE DATABASE pl")
	for name, as := range map[string][]string{
		"default": nil, "a session": {"session_id", "s"}, "the reader": basic("reader", readersPassword), "read only": {"readonly", "1"},
		"the reader's session": append(basic("reader", readersPassword), "session_id", "r"), "a page": {"header:Sec-Fetch-Site", "same-origin"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &web{t: t, addr: w.addr, client: w.client}
			files := [][2]string{{"ext!", "1,x\n2,y\n"}, {"other!", "5\tz\n"}}
			a := w.parts(files, append(as, "query", "SELECT a, b, _1 FROM ext, other ORDER BY a", "ext_structure", "a UInt8, b LowCardinality(String)", "ext_format", "CSV", "other_types", "UInt16,String")...)
			assert.Equal(t, "1\tx\t5\n2\ty\t5\n", a.body)
			w.post("SELECT * FROM ext", as...).fails(t, "60", "it is gone")
			// All of it in the body.
			a = w.parts(append(files[:1:1], [][2]string{{"ext_structure", "a UInt8, b String"}, {"ext_format", "CSV"}, {"query", "SELECT max(a), {p:String} FROM ext"}, {"param_p", "q"}}...), as...)
			assert.Equal(t, "2\tq\n", a.body)
		})
	}
	reader := basic("reader", readersPassword)
	w.post("CREATE TEMPORARY TABLE x (a UInt8)", reader...).fails(t, "164")
	w.parts([][2]string{{"x!", "1\n"}}, append(reader, "query", "INSERT INTO x VALUES (1)", "x_types", "UInt8")...).fails(t, "164")
	for structure, code := range map[string]string{
		"": "36", "a": "62", "a UInt8) ENGINE = Memory AS SELECT (1": "62", "a UInt8; DROP TABLE t": "62", "a UInt8 -- ": "62", "a 'x": "62",
		"a String DEFAULT file('/etc/passwd')": "497", "a UInt8 DEFAULT getServerSetting('x')": "497", "a Nope": "50",
	} {
		w.parts([][2]string{{"x!", "1\n"}}, append(reader, "query", "SELECT * FROM x", "x_structure", structure)...).fails(t, code, structure)
	}
	w.parts([][2]string{{"x!", "no number\n"}}, "query", "SELECT 1", "x_types", "UInt8").fails(t, "27")
	w.parts([][2]string{{"x!", "1\n"}}, "query", "SELECT 1", "x_types", "UInt8", "x_format", "Template").fails(t, "497")
}

func TestTheRowsOfAnExternalTableAreNeverExpressions(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	w.must("CREATE TABLE t (x Int64) ENGINE = MergeTree ORDER BY x")
	for _, as := range [][]string{nil, {"session_id", "s"}} {
		w.parts([][2]string{{"ext!", "(length(file('users.xml')))"}}, append(as, "query", "INSERT INTO t VALUES ((SELECT max(x) FROM ext))", "ext_structure", "x Int64", "ext_format", "Values")...).fails(t, "344")
	}
	assert.Equal(t, "0\n", w.must("SELECT count() FROM t"))
}

func TestATableOfTheSessionOutlivesARequestThatBringsItsName(t *testing.T) {
	w := newWeb(t, chdbtest.Start(t))
	as := []string{"session_id", "s"}
	for _, sql := range []string{"CREATE TEMPORARY TABLE ext (x UInt8)", "INSERT INTO ext VALUES (42)"} {
		require.Equal(t, http.StatusOK, w.post(sql, as...).status)
	}
	bring := append(slices.Clip(as), "query", "SELECT 1", "ext_types", "UInt8")
	w.parts([][2]string{{"other!", "1\n"}, {"ext!", "1\n"}}, append(slices.Clip(bring), "other_types", "UInt8", "header:Sec-Fetch-Site", "same-origin")...).fails(t, "57")
	w.parts([][2]string{{"ext!", "1\n"}}, append(bring, "database", "nope")...).fails(t, "81")
	assert.Equal(t, "42\n", w.post("SELECT x FROM ext", as...).body)
	w.post("SELECT * FROM other", as...).fails(t, "60", "what was made is gone")
}
