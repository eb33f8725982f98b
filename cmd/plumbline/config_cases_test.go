package main

import (
	"encoding/json"
	"encoding/xml"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	tuned = "../../deploy/tuning.yaml"
	cases = "../../deploy/tuning"
)

func TestTheCasesBesideTheConfigPassWithItAndNotWithAnother(t *testing.T) {
	r := inPlace(t, "config", "test", "--config", tuned, cases, cases+"/*.scenario")
	require.Equal(t, exitGood, r.code, r.stdout+r.stderr)
	require.Contains(t, r.stdout, "5 of 5 cases passed\n", "a file that is named twice is run once")

	file := filepath.Join(t.TempDir(), "results.xml")
	r = inPlace(t, "config", "test", "--junit", file, cases)
	require.Equal(t, exitFailed, r.code, r.stderr)
	require.Contains(t, r.stdout, "FAIL  ../../deploy/tuning/mail.scenario:18: a file of half a megabyte is nobody's business\n"+
		"      expected silence, got alert open of severity high about peer-4\n      alert: Agent peer-4 received 488.3 KiB")
	require.Contains(t, r.stdout, "3 of 5 cases passed\n", "those behind one that fails are run")
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	var suite junitSuite
	require.NoError(t, xml.Unmarshal(b, &suite))
	require.Equal(t, 5, suite.Tests)
	require.Equal(t, 2, suite.Failures)
	require.Contains(t, suite.Cases[2].Failure.Text, "mail.scenario:18: expected silence")

	r = inPlace(t, "config", "test", "--output", "json", filepath.Join(cases, "mail.scenario"))
	require.Equal(t, exitFailed, r.code)
	var passed []bool
	for line := range strings.Lines(r.stdout) {
		var one caseResult
		require.NoError(t, json.Unmarshal([]byte(line), &one))
		require.Equal(t, one.Passed, one.Problem == "")
		passed = append(passed, one.Passed)
	}
	require.Equal(t, []bool{true, true, false, true}, passed)
}

func TestWhatIsWrongWithCasesIsSaidWithItsLine(t *testing.T) {
	const peers = "peers 3 in crm\nhistory 1d 4\n"
	for text, want := range map[string]string{
		"event agent=a\n":                    ":1: the case expects nothing",
		"case a\nexpect silence\ncase a\n":   ":3: a case needs a name of its own",
		"case\n":                             ":1: a case needs a name of its own",
		"evnt agent=a\nexpect silence\n":     `:1: no step is called "evnt"`,
		"event agnt=a\nexpect silence\n":     `:1: event has no "agnt"`,
		"event sent=-1\nexpect silence\n":    ":1: sent is below 0",
		"event agent=\"a\nexpect silence\n":  ":1: quote: ",
		"expect\n":                           ":1: too few words behind expect: 1 needed",
		"event agent=a\nexpect score\n":      ":2: too few words behind expect score: 1 needed",
		"expect calm\n":                      `:1: nothing to expect is called "calm"`,
		"history 1d 4\nexpect silence\n":     ":1: history needs agents",
		"history 1d 0 a\nexpect silence\n":   ":1: history needs agents",
		"history 1d 1e9 a\nexpect silence\n": ":1: history needs agents",
		"at 2x\nexpect silence\n":            `:1: "2x" is no duration`,
		"config budget=1\nexpect silence\n":  ":1: a case is tested with the config as it is",
		peers + "event agent=peer-1 tool=mail access=send resource=email:drop@evil.example sent=432000000\nexpect alert severty=low\n": `:4: an alert has no "severty"`,
	} {
		t.Run(want, func(t *testing.T) {
			file := writeFile(t, "wrong.scenario", text)
			r := inPlace(t, "config", "test", file)
			require.Equal(t, exitUsage, r.code, r.stdout)
			require.True(t, strings.HasPrefix(r.stderr, "plumbline: "+file+want), r.stderr)
		})
	}
	for _, args := range [][]string{nil, {"gone.scenario"}, {"gone-*.scenario"}, {t.TempDir()}, {"--config", "gone.yaml", cases}} {
		r := inPlace(t, append([]string{"config", "test"}, args...)...)
		require.Equal(t, exitUsage, r.code, args)
		require.Equal(t, 1, strings.Count(r.stderr, "\n"), r.stderr)
	}
}

func TestWhatACaseExpectsCanFail(t *testing.T) {
	const before = "peers 6 in crm\nhistory 7d 6\nevent agent=peer-1 tool=mail access=send resource=email:drop@evil.example sent=432000000\n"
	for step, want := range map[string]string{
		"expect alert status=open agent=peer-1 group=crm tenant=acme severity>=high severity<=critical score>=50": "",
		"expect some signal=new_destination":   "",
		"expect silence agent=peer-2":          "",
		"expect alert severity<=low":           `expected alert severity<=low, got one whose severity is "critical"`,
		"expect alert score<=50":               "expected alert score<=50, got one whose score is ",
		"expect some agent=peer-2":             `expected some alert agent=peer-2, got 1 others, the first one's agent is "peer-1"`,
		"expect silence agent=peer-1":          "expected silence, got alert open of severity critical about peer-1",
		"expect alert\nexpect some":            "expected some alert , got none",
		"expect only":                          "expected no further alert, got 1",
		"expect alert\nexpect alert lead=late": "expected alert lead=late, got none (the last event has score 100.0 of 100",
	} {
		t.Run(step, func(t *testing.T) {
			r := inPlace(t, "config", "test", writeFile(t, "one.scenario", before+step+"\n"))
			if want == "" {
				require.Equal(t, exitGood, r.code, r.stdout+r.stderr)
				return
			}
			require.Equal(t, exitFailed, r.code, r.stdout+r.stderr)
			require.Contains(t, r.stdout, want)
		})
	}
}

// inPlace runs the program where its tests stand.
func inPlace(t *testing.T, args ...string) result {
	t.Helper()
	cmd := command(t, args...)
	cmd.Dir = ""
	return finish(t, cmd)
}
