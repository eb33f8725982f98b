package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/internal/embedded/broker/brokertest"
	"github.com/plumbline-sec/plumbline/pipeline"
	"github.com/plumbline-sec/plumbline/pipeline/kafka"
	"github.com/plumbline-sec/plumbline/pipeline/replay"
)

func gzipped(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := io.WriteString(z, text)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.String()
}

func zstded(t *testing.T, text string) string {
	t.Helper()
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out)
	require.NoError(t, err)
	_, err = io.WriteString(z, text)
	require.NoError(t, err)
	require.NoError(t, z.Close())
	return out.String()
}

// fileCase is a file, and what each command that reads records says of it.
type fileCase struct {
	text    string
	taken   int    // events
	letters int    // records that are no events
	says    string // on standard error, among other things
	failed  bool   // nothing was taken, or it can't be read to its end
}

func fileCases(t *testing.T) map[string]fileCase {
	t.Helper()
	lines := strings.Join(events(3), "\n") + "\n"
	packed := gzipped(t, strings.Repeat(lines, 200))
	return map[string]fileCase{
		"lines":                    {text: lines, taken: 3},
		"lines with a mark":        {text: "\ufeff" + strings.ReplaceAll(lines, "\n", "\r\n"), taken: 3},
		"gzip":                     {text: gzipped(t, lines), taken: 3},
		"gzip joined":              {text: gzipped(t, lines) + gzipped(t, lines), taken: 6},
		"zstd":                     {text: zstded(t, lines), taken: 3},
		"a list":                   {text: "[" + strings.Join(events(3), ",\n") + "]", taken: 3},
		"objects over lines":       {text: strings.ReplaceAll(lines, ",", ",\n  "), taken: 3},
		"nothing":                  {},
		"blank lines":              {text: "\n\n"},
		"one of them is no event":  {text: lines + "{\"tool\":\"x\"}\n" + lines, taken: 6, letters: 1, says: ", line 4: no_agent_id (agent_id): absent or empty\n"},
		"one of them is no JSON":   {text: lines + "\nhello\n" + lines, taken: 6, letters: 1, says: ", line 5: not_json: "},
		"none is an event":         {text: "{\"tool\":\"x\"}\n{\"tool\":\"y\"\n", letters: 2, says: ": no event in any of its 2 records (no_agent_id 1, not_json 1); ", failed: true},
		"CSV":                      {text: "agent_id,tool\na,b\n", says: ", line 1: this looks like CSV, not JSON lines: the line is \"agent_id,tool\"; make it that", failed: true},
		"binary":                   {text: "\x00\x01\x02", says: ", line 1: this is binary, not JSON lines: it begins with", failed: true},
		"zip":                      {text: "PK\x03\x04\x00", says: ", line 1: this is a zip archive, not JSON lines; unpack it first: unzip -p FILE\n", failed: true},
		"gzip that is cut off":     {text: packed[:len(packed)-4], taken: 600, says: ", line 601: the gzip stream is cut off at byte " + strconv.Itoa(len(packed)-4) + " of the file", failed: true},
		"a list that is cut off":   {text: "[" + strings.Join(events(3), ","), taken: 3, says: ", line 1: the list that begins here never ends", failed: true},
		"gzip then something":      {text: gzipped(t, lines) + "x", taken: 3, says: ", line 4: what follows the gzip stream, at byte ", failed: true},
		"what a terminal may obey": {text: "\x1b]0;\x07\u202e\n", says: `it begins with "\x1b]0;\a\u202e\n"`, failed: true},
	}
}

func TestEveryCommandTakesAndRefusesTheSameOfAFile(t *testing.T) {
	_, config := newTopic(t, brokertest.Start(t), 3, nil)
	for name, c := range fileCases(t) {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file")
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
			for _, from := range []string{path, "-"} {
				file, stdin := from, ""
				if from == "-" {
					file, stdin = "standard input", c.text
				}
				want := exitGood
				if c.failed {
					want = exitFailed
				}

				code, out, stderr := fed(t, stdin, "replay", "--input", from, "--output", "json")
				require.Equal(t, want, code, stderr)
				var replayed replay.Summary
				if out != "" {
					require.NoError(t, json.Unmarshal([]byte(out), &replayed))
				}
				require.Equal(t, int64(c.taken), replayed.Events)
				require.Equal(t, int64(c.letters), replayed.DeadLetters)
				said(t, c, file, stderr)

				code, out, stderr = fed(t, stdin, "send", "--config", config, from, "--output", "json")
				require.Equal(t, want, code, stderr)
				var sent sendSummary
				require.NoError(t, json.Unmarshal([]byte(out), &sent))
				require.Equal(t, int64(c.taken+c.letters), sent.Sent)
				require.Equal(t, int64(c.letters), sent.DeadLetters)
				said(t, c, file, stderr)

				if c.letters > 0 {
					want = exitFailed // it is the check
				}
				code, out, stderr = fed(t, stdin, "decode", from, "--output", "json")
				require.Equal(t, want, code, stderr)
				require.Equal(t, c.taken, strings.Count(out, `"event":`))
				require.Equal(t, c.letters, strings.Count(out, `"refused":`))
				said(t, c, file, stderr)
			}
		})
	}
}

// said requires that a command said of a file what it should, in harmless characters.
func said(t *testing.T, c fileCase, file, stderr string) {
	t.Helper()
	if c.says != "" {
		if strings.HasPrefix(c.says, ",") || strings.HasPrefix(c.says, ":") {
			c.says = "plumbline: " + file + c.says
		}
		require.Contains(t, stderr, c.says)
	}
	require.NotContains(t, stderr, "\x1b")
	require.NotContains(t, stderr, "\u202e")
}

func TestOfAnInputThatIsCutOffTheAlertsOfWhatStoodBeforeAreWritten(t *testing.T) {
	fleet := plumbline(t, "simulate", "--agents", "10", "--days", "10", "--scenario", "exfil_fast", "--attacks", "1").stdout
	code, want, stderr := fed(t, fleet, "replay", "--input", "-", "--alerts", "-")
	require.Equal(t, exitGood, code, stderr)
	require.NotEmpty(t, want)
	code, got, stderr := fed(t, gzipped(t, fleet)+"\x1f\x8b\x08", "replay", "--input", "-", "--alerts", "-")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, "the gzip stream is cut off")
	require.Contains(t, stderr, "\nalerts ")
	require.Equal(t, want, got)
}

func TestAPackedOrPrettyPrintedFileGivesTheAlertsOfItsLines(t *testing.T) {
	fleet := plumbline(t, "simulate", "--agents", "10", "--days", "10", "--scenario", "exfil_fast", "--attacks", "1").stdout
	var pretty bytes.Buffer
	for l := range strings.Lines(fleet) {
		require.NoError(t, json.Indent(&pretty, []byte(l), "", "  "))
		pretty.WriteByte('\n')
	}
	_, want, _ := fed(t, fleet, "replay", "--input", "-", "--alerts", "-")
	require.NotEmpty(t, want)
	list := "[" + strings.ReplaceAll(strings.TrimSpace(fleet), "\n", ",\n") + "]\n"
	for name, text := range map[string]string{"gzip": gzipped(t, fleet), "zstd": zstded(t, fleet), "over lines": pretty.String(), "a list": list} {
		_, got, stderr := fed(t, text, "replay", "--input", "-", "--alerts", "-")
		require.Equal(t, want, got, "%s: %s", name, stderr)
	}
}

func TestAnInputThatFailsEndsTheCommand(t *testing.T) {
	good, bad := writeFile(t, "good.jsonl", event("a", 1)), writeFile(t, "bad.csv", "a,b\n1,2\n")
	code, out, stderr := fed(t, "", "replay", "--input", good, "--input", bad, "--input", good, "--output", "json")
	require.Equal(t, exitFailed, code)
	require.Contains(t, out, `{"events":1,`)
	require.Contains(t, stderr, "bad.csv, line 1: ")

	code, _, stderr = fed(t, "", "replay", "--input", good, "--input", good+".not", "--alerts", good+".alerts")
	require.Equal(t, exitUsage, code, "a name that is wrong shows before anything is read")
	require.Contains(t, stderr, "plumbline: input: open "+good+".not: no such file or directory\n")
	require.NoFileExists(t, good+".alerts")

	for _, args := range [][]string{{"send", "-", "-"}, {"decode", "-", "-"}, {"replay", "--input", "-", "--input", "-"}} {
		code, _, stderr = fed(t, "", args...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, "standard input can be read only once")
	}
}

// A FIFO gives what is written into it at once, as `tail -f` in front of a pipe does.
func TestWhatIsWrittenIntoAFIFOIsSentAtOnce(t *testing.T) {
	for name, pack := range map[string]func(w io.Writer) func(text string) error{
		"plain": func(w io.Writer) func(string) error {
			return func(text string) error { _, err := io.WriteString(w, text); return err }
		},
		"gzip": func(w io.Writer) func(string) error {
			z := gzip.NewWriter(w)
			return func(text string) error { _, _ = io.WriteString(z, text); return z.Flush() }
		},
	} {
		t.Run(name, func(t *testing.T) {
			client, config := newTopic(t, brokertest.Start(t), 1, nil)
			path := filepath.Join(t.TempDir(), "fifo")
			require.NoError(t, syscall.Mkfifo(path, 0o600))
			done := make(chan string, 1)
			go func() {
				_, out, stderr := fed(t, "", "send", path, "--config", config, "--output", "json")
				done <- out + stderr
			}()
			w, err := os.OpenFile(path, os.O_WRONLY, 0)
			require.NoError(t, err)
			write := pack(w)
			for n := range int64(3) {
				require.NoError(t, write(event("a", int(n))+"\n"))
				arrives(t, client, n+1)
			}
			require.NoError(t, w.Close())
			require.Contains(t, <-done, `{"sent":3,`)
		})
	}
}

func arrives(t *testing.T, client *kafka.Client, n int64) {
	t.Helper()
	require.Eventually(t, func() bool {
		_, end, err := client.Bounds(t.Context(), pipeline.TopicPartition{Topic: testTopic})
		return err == nil && end == n
	}, 20*time.Second, 10*time.Millisecond)
}

func TestFilesAreArgumentsOrThoseOfInput(t *testing.T) {
	events := writeFile(t, "events.jsonl", `{"tenant_id":"t","agent_id":"a","event_id":"1","time":"2026-11-01T00:00:00Z","tool":"x","action":"x"}`+"\n")
	for _, command := range []string{"replay", "decode"} {
		byArgument, byFlag := plumbline(t, command, "--output", "json", events), plumbline(t, command, "--output", "json", "--input", events)
		require.Zero(t, byArgument.code, byArgument.stderr)
		require.Zero(t, byFlag.code, byFlag.stderr)
		require.NotEmpty(t, byFlag.stdout)
	}
	for _, command := range []string{"replay", "decode", "send"} {
		none := plumbline(t, command)
		require.Equal(t, exitUsage, none.code)
		require.Contains(t, none.stderr, "no input: name a file, or - for standard input")
		both := plumbline(t, command, "--input", events, events)
		require.Equal(t, exitUsage, both.code)
		require.Contains(t, both.stderr, "either arguments or those of --input")
	}
}
