package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline/terminal"
)

// hostile has what terminals obey or hide: C0, DEL, C1, bidirectional controls, line
// separators, zero-width and tag characters, a byte order mark.
const hostile = "a\x1b[2J\x07\x7f\u0085\u009b31m\u00ad\u200b\u200e\u202e\u2028\u2029\u2066\ufeff\U000e0041z"

// requireHarmless says that nothing of it is in what a command printed.
func requireHarmless(t *testing.T, text string) {
	t.Helper()
	require.True(t, utf8.ValidString(text), "UTF-8: %q", text)
	for _, r := range text {
		require.False(t, r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp)), "%U in %q", r, text)
	}
}

func TestWhatIsWrittenIsVisibleWhereverItIsCutAndSaysTheSameToWhoReadsJSON(t *testing.T) {
	encoded, err := json.Marshal(map[string]string{"name": hostile, "plain": "é 漢 \U0001f600 ok"})
	require.NoError(t, err)
	for cut := range len(encoded) {
		var out bytes.Buffer
		v := &visible{w: &out}
		for _, part := range [][]byte{encoded[:cut], encoded[cut:]} {
			n, err := v.Write(part)
			require.NoError(t, err)
			require.Equal(t, len(part), n)
		}
		v.flush()
		requireHarmless(t, out.String())
		require.Contains(t, out.String(), "é 漢 \U0001f600 ok")
		var a, b map[string]string
		require.NoError(t, json.Unmarshal(encoded, &a))
		require.NoError(t, json.Unmarshal(out.Bytes(), &b))
		require.Equal(t, a, b)
	}
}

func TestWhatIsNoTextBecomesAReplacementCharacter(t *testing.T) {
	var out bytes.Buffer
	v := &visible{w: &out}
	_, err := v.Write([]byte("a\x9b31m b\xff c\xe2\x80"))
	require.NoError(t, err)
	v.flush()
	require.Equal(t, "a\ufffd31m b\ufffd c\ufffd", out.String())
	require.Equal(t, `\u001b[2J\xff é`, terminal.Escape("\x1b[2J\xff é"))
}

func TestEveryCommandPrintsHostileTextWithoutWhatATerminalObeys(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "plumbline.yaml")
	name, err := json.Marshal(hostile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(config, []byte(`clickhouse: {username: "n\u0085\u009b\u202e\ufeffm"}`+"\n"), 0o600))
	event := `{"agent_id":"a","tool":` + string(name) + `,"attr` + strings.Trim(string(name), `"`) + `":` + string(name) + "}\n"
	raw := `{"agent_id":"a","tool":"` + strings.NewReplacer("\x1b", "", "\x07", "").Replace(hostile) + `"}` + "\n"
	for what, tc := range map[string]struct {
		stdin string
		args  []string
	}{
		"decode as JSON":              {event + raw, []string{"decode", "-", "--output", "json"}},
		"decode as text":              {event + raw, []string{"decode", "-"}},
		"decode of what is refused":   {`{"tool":` + string(name) + "}\n", []string{"decode", "-", "--output", "json"}},
		"a source that is not there":  {"", []string{"decode", "--source", hostile, "-"}},
		"a file that is not there":    {"", []string{"replay", "--input", "x" + hostile}},
		"a form that is not there":    {"", []string{"decode", "--as", hostile, "-"}},
		"a command that is not there": {"", []string{hostile}},
		"config print":                {"", []string{"config", "print", "--config", config}},
		"config print as JSON":        {"", []string{"config", "print", "--config", config, "--output", "json"}},
		"config validate":             {"", []string{"config", "validate", "--config", filepath.Join(dir, hostile)}},
		"config validate as JSON":     {"", []string{"config", "validate", "--config", filepath.Join(dir, hostile), "--output", "json"}},
		"replay as JSON":              {event, []string{"replay", "--input", "-", "--output", "json"}},
		"send of a missing file":      {"", []string{"send", hostile}},
		"query of a missing place":    {"", []string{"query", "--data-dir", filepath.Join(dir, hostile), "SELECT 1"}},
	} {
		t.Run(what, func(t *testing.T) {
			_, out, errs := fed(t, tc.stdin, tc.args...)
			require.NotEmpty(t, out+errs)
			requireHarmless(t, out)
			requireHarmless(t, errs)
		})
	}
	_, out, _ := fed(t, event, "decode", "-", "--output", "json")
	var got struct {
		Event struct {
			Tool string `json:"tool"`
		} `json:"event"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &got))
	require.Contains(t, got.Event.Tool, "\u202e", "who reads the JSON has what was there")
}

func TestTheMistakesOfAConfigAreShownWithoutWhatATerminalObeys(t *testing.T) {
	config := filepath.Join(t.TempDir(), "plumbline.yaml")
	require.NoError(t, os.WriteFile(config, []byte("sources: [{name: \"x\\e[2J\\u009b\\u202e\", topic: t, decoder: \"no\\u0085\\e\", incarnation: 1}]\nnonsense\u009b: 1\n"), 0o600))
	for _, args := range [][]string{{"config", "validate", "--config", config}, {"config", "validate", "--config", config, "--output", "json"}, {"run", "--config", config}} {
		code, out, errs := fed(t, "", args...)
		require.Equal(t, exitUsage, code)
		requireHarmless(t, out)
		requireHarmless(t, errs)
	}
}

func TestTheStateIsShownWithoutWhatATerminalObeys(t *testing.T) {
	var out bytes.Buffer
	rows := []partitionState{{Partition: 1, DetectorVersion: hostile, ConfigHash: hostile}, {Partition: 2, Error: hostile}}
	require.NoError(t, printStates(&Globals{Stdout: &out}, rows))
	requireHarmless(t, out.String())
	out.Reset()
	require.NoError(t, (&Globals{Stdout: &out}).printJSON(rows))
	requireHarmless(t, out.String())
}

func TestAConsoleShowsNothingThatATerminalObeysButItsOwn(t *testing.T) {
	var out bytes.Buffer
	c := newConsole(&out)
	c.line("file " + hostile)
	c.say("topic", hostile)
	c.progress(hostile)
	requireHarmless(t, out.String())
}

func TestRowsOfAQueryAreShownWithoutWhatATerminalObeys(t *testing.T) {
	engine(t)
	dir := filepath.Join(t.TempDir(), "data")
	r := good(t, "migrate", "--data-dir", dir)
	sql := `SELECT 'a\u001b[2J' || char(0xC2, 0x85, 0xC2, 0x9B, 0xE2, 0x80, 0xAE, 0xEF, 0xBB, 0xBF) || 'z' AS name`
	for _, output := range []string{"json", "text"} {
		r = good(t, "query", "--data-dir", dir, "--output", output, sql)
		require.Contains(t, r.stdout, "202e")
		requireHarmless(t, r.stdout)
	}
	// The engine keeps what it is given for its owner alone.
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.Type()&os.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err == nil && path != dir {
			assert.Zero(t, info.Mode().Perm()&0o077, "%s has the mode %o", path, info.Mode().Perm())
		}
		return err
	}))
}

func TestAFileThatSomebodyAskedForHasTheModeThatTheyAskedFor(t *testing.T) {
	old := syscall.Umask(0o022)
	defer syscall.Umask(old)
	name := filepath.Join(t.TempDir(), "alerts.jsonl")
	code, _, errs := fed(t, `{"agent_id":"a"}`, "replay", "--input", "-", "--alerts", name)
	require.Equal(t, exitGood, code, errs)
	info, err := os.Stat(name)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o644), info.Mode().Perm())
}
