package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// fed runs a command with this standard input and returns its exit code and outputs.
func fed(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

const trailEvent = `{"eventID":"e1","eventTime":"2024-06-03T08:00:00Z","eventSource":"s3.amazonaws.com","eventName":"GetObject","readOnly":true,"userIdentity":{"arn":"arn:aws:iam::1:user/bot"},"requestParameters":{"bucketName":"b","key":"k"}}`

func TestDecodeShowsWhereEveryFieldCameFrom(t *testing.T) {
	code, out, _ := fed(t, trailEvent+"\n", "decode", "--as", "cloudtrail", "-", "--output", "json")
	require.Equal(t, exitGood, code)
	var got shown
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	require.Equal(t, []string{"userIdentity.arn"}, got.From["agent_id"])
	require.Equal(t, []string{"requestParameters.key"}, got.From["resources"])

	code, out, summary := fed(t, trailEvent, "decode", "--as", "cloudtrail", "-")
	require.Equal(t, exitGood, code)
	require.Contains(t, out, "agent_id           arn:aws:iam::1:user/bot   <- userIdentity.arn\n")
	require.Contains(t, out, "    requestParameters.bucketName = b\n")
	require.Contains(t, summary, "1 records: 1 events, 0 refused, 0 passed over\n")
	require.Contains(t, summary, "never filled: session_id, bytes_sent, bytes_received, credential_id, source_ip\n")
}

func TestDecodeFailsWhereSomethingIsRefusedAndSaysWhy(t *testing.T) {
	code, out, summary := fed(t, `{"tool":"x"}`+"\n"+`{"agent_id":"a"}`+"\nnot json\n", "decode", "-")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, "record 1, event 0\n  refused: no_agent_id agent_id absent or empty\n")
	require.Contains(t, summary, "3 records: 1 events, 2 refused, 0 passed over\nrefused: no_agent_id 1, not_json 1\n")
}

func TestDecodePrintsHostileValuesOnOneLineOfATerminal(t *testing.T) {
	_, out, _ := fed(t, `{"agent_id":"a","tool":"\u001b[2Jx\u202e","k\nx":"y\n  outcome success"}`, "decode", "-")
	require.NotContains(t, out, "\x1b")
	require.NotContains(t, out, "\u202e")
	require.Contains(t, out, `"k\nx" = "y\n  outcome success"`)
}

func TestDecodeReadsEveryKindOfFile(t *testing.T) {
	file := `{"Records":[` + trailEvent + "," + trailEvent + `]}`
	var pretty, packed bytes.Buffer
	require.NoError(t, json.Indent(&pretty, []byte(file), "", "  "))
	zip := gzip.NewWriter(&packed)
	_, err := zip.Write([]byte(file))
	require.NoError(t, err)
	require.NoError(t, zip.Close())
	for name, tc := range map[string]struct{ text, want string }{
		"lines":                      {trailEvent + "\n\n" + trailEvent + "\r\n", "2 records: 2 events, 0 refused"},
		"lines, the first is broken": {"{broken\n" + trailEvent + "\n", "2 records: 1 events, 1 refused"},
		"a log file":                 {file, "1 records: 2 events, 0 refused"},
		"pretty-printed":             {pretty.String(), "1 records: 2 events, 0 refused"},
		"an array":                   {"[\n" + trailEvent + "\n]", "1 records: 1 events, 0 refused"},
		"gzip":                       {packed.String(), "1 records: 2 events, 0 refused"},
		"empty":                      {"", "0 records: 0 events, 0 refused"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.WriteFile(path, []byte(tc.text), 0o600))
			_, _, summary := fed(t, "", "decode", "--as", "cloudtrail", path)
			require.Contains(t, summary, tc.want)
		})
	}
}

func TestDecodeTakesTheOptionsOfASource(t *testing.T) {
	path := filepath.Join(t.TempDir(), "plumbline.yaml")
	require.NoError(t, os.WriteFile(path, []byte("sources:\n  - {name: wrapped, topic: t, options: {cloudevents: true}}\n"), 0o600))
	code, out, _ := fed(t, `{"specversion":"1.0","id":"outer","data":{"agent_id":"a"}}`, "decode", "--config", path, "--source", "wrapped", "-")
	require.Equal(t, exitGood, code)
	require.Contains(t, out, "event_id           outer\n")

	for _, args := range [][]string{{"--source", "other"}, {"--as", "xml"}, {"--as", "activity", "--source", "wrapped"}} {
		code, _, stderr := fed(t, "", append([]string{"decode", "--config", path, "-"}, args...)...)
		require.Equal(t, exitUsage, code, stderr)
	}
}

func TestReplayReadsOtherFormsDirectly(t *testing.T) {
	code, out, stderr := fed(t, `{"Records":[`+trailEvent+`,{}]}`, "replay", "--as", "cloudtrail", "--input", "-", "--output", "json")
	require.Equal(t, exitGood, code, stderr)
	var sum struct {
		Events      int64 `json:"events"`
		DeadLetters int64 `json:"dead_letters"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &sum))
	require.Equal(t, int64(1), sum.Events)
	require.Equal(t, int64(1), sum.DeadLetters)
}
