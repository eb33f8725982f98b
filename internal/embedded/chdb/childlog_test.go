package chdb

import (
	"bytes"
	"testing"

	"github.com/rs/zerolog"
	"github.com/stretchr/testify/require"
)

func TestWhatTheChildLogsKeepsItsLevelAndFields(t *testing.T) {
	for name, c := range map[string]struct{ line, want string }{
		"somebody's mistake":     {`{"level":"debug","error":"Code: 62. \"x\"","query_id":"q","time":"now","message":"query failed"}`, ""},
		"a warning":              {`{"level":"warn","missing":"landlock","time":"now","message":"one wall less"}`, `{"level":"warn","missing":"landlock","message":"one wall less"}` + "\n"},
		"the end of the child":   {`{"level":"fatal","message":"gone"}`, `{"level":"error","message":"gone"}` + "\n"},
		"the library's own":      {"Logging trace to console", `{"level":"info","line":"Logging trace to console","message":"embedded clickhouse wrote"}` + "\n"},
		"an object of its own":   {`{"a":1}`, `{"level":"info","line":"{\"a\":1}","message":"embedded clickhouse wrote"}` + "\n"},
		"a level nobody defined": {`{"level":"loud","message":"x"}`, `{"level":"info","line":"{\"level\":\"loud\",\"message\":\"x\"}","message":"embedded clickhouse wrote"}` + "\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			tail := &tail{log: zerolog.New(&out).Level(zerolog.InfoLevel)}
			_, err := tail.Write([]byte(c.line + "\n"))
			require.NoError(t, err)
			require.Equal(t, c.want, out.String())
			require.Equal(t, c.line, tail.last(), "kept for the case that it ends")
		})
	}
}
