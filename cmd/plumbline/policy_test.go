package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// policyRun runs a command and returns its exit code and what it printed.
func policyRun(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func policyFile(t *testing.T, name, text string) string {
	t.Helper()
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

func TestPolicyCheckNamesEveryMistakeWithItsLine(t *testing.T) {
	dir := t.TempDir()
	bad := policyFile(t, filepath.Join(dir, "bad.cedar"), "permit (principal, action, resource)\nwhen { context.tol == \"x\" };\n\nallow;\n")
	code, _, stderr := policyRun(t, "policy", "check", bad)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, bad+":2:16: attribute tol in context not found; a context has tool,")
	require.Contains(t, stderr, "    2 | when { context.tol == \"x\" };\n")
	require.Contains(t, stderr, bad+":4:6: not valid Cedar: ")

	code, stdout, _ := policyRun(t, "policy", "check", "--output", "json", bad)
	require.Equal(t, exitUsage, code)
	var r policyCheck
	require.NoError(t, json.Unmarshal([]byte(stdout), &r))
	require.False(t, r.OK)
	require.Len(t, r.Mistakes, 2)
	require.Equal(t, 2, r.Mistakes[0].Line)

	// A config with that file has the same mistakes.
	cfg := policyFile(t, filepath.Join(dir, "plumbline.yaml"), "policy: {files: ["+bad+"]}\n")
	for _, args := range [][]string{{"config", "validate", cfg}, {"policy", "check", "--config", cfg}} {
		code, _, stderr = policyRun(t, args...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, bad+":2:16: policy.files: attribute tol in context not found")
	}
	none := policyFile(t, filepath.Join(dir, "none.yaml"), "policy: {files: ["+dir+"/no.cedar], default: yes, mode: loud}\n")
	code, _, stderr = policyRun(t, "config", "validate", none)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, none+":1:17: policy.files: \""+dir+"/no.cedar\" is no file, and no file's name is like it")
	require.Contains(t, stderr, "policy.mode: \"loud\" is not known; write one of alert, observe")
}

func TestPolicyCheckTakesWhatIsGood(t *testing.T) {
	t.Chdir("../..")
	code, stdout, stderr := policyRun(t, "policy", "check", "deploy/policies/*.cedar")
	require.Equal(t, exitGood, code, stderr)
	require.Regexp(t, `^good: 1 file, policies: \d+, policy_hash: [0-9a-f]{12}\n$`, stdout)
	code, stdout, _ = policyRun(t, "policy", "check", "--schema")
	require.Equal(t, exitGood, code)
	require.Contains(t, stdout, "namespace Plumbline {")
	code, _, stderr = policyRun(t, "policy", "check")
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "the config names no policy.files")
}

func TestPolicyTestSaysWhatDoesNotHold(t *testing.T) {
	dir := t.TempDir()
	policyFile(t, filepath.Join(dir, "p.cedar"), "@id(\"shell\") forbid (principal, action, resource) when { context.tool == \"shell\" };\n@mode(\"observe\") @id(\"mail\") forbid (principal, action, resource) when { context.tool == \"mail\" };")
	cases := policyFile(t, filepath.Join(dir, "cases.yaml"), `policies: [p.cedar]
default: permit
cases:
  - name: holds
    event: {tenant_id: t, agent_id: a, tool: shell}
    expect: deny
    by: [shell]
  - name: another verdict
    event: {tenant_id: t, agent_id: a, tool: mail}
    expect: permit
  - name: another policy
    event: {tenant_id: t, agent_id: a, tool: shell}
    expect: deny
    by: [mail]
  - name: another resource
    event: {tenant_id: t, agent_id: a, tool: shell, resources: ["file:a"]}
    resource: file:b
    expect: deny
`)
	junit := filepath.Join(dir, "junit.xml")
	code, stdout, _ := policyRun(t, "policy", "test", cases, "--junit", junit)
	require.Equal(t, exitFailed, code)
	require.Equal(t, `ok    `+cases+`: holds
FAIL  `+cases+`:8: another verdict
      expected permit, got observe of none by mail
FAIL  `+cases+`:11: another policy
      expected it by mail, got deny of none by shell
FAIL  `+cases+`:15: another resource
      no decision is of "file:b": there are decisions of file:a
1 of 4 cases passed
`, stdout)
	var suite junitSuite
	b, err := os.ReadFile(junit)
	require.NoError(t, err)
	require.NoError(t, xml.Unmarshal(b, &suite))
	require.Equal(t, "plumbline policy test", suite.Name)
	require.Equal(t, []int{4, 3}, []int{suite.Tests, suite.Failures})
	require.Equal(t, "expected permit, got observe of none by mail", suite.Cases[1].Failure.Message)

	code, stdout, _ = policyRun(t, "policy", "test", cases, "--output", "json")
	require.Equal(t, exitFailed, code)
	var one caseResult
	require.NoError(t, json.Unmarshal([]byte(strings.Split(stdout, "\n")[1]), &one))
	require.Equal(t, caseResult{File: cases, Line: 8, Name: "another verdict", Problem: "expected permit, got observe of none by mail", Seconds: one.Seconds}, one)
}

func TestPolicyTestRefusesWhatIsNoCase(t *testing.T) {
	dir := t.TempDir()
	policyFile(t, filepath.Join(dir, "p.cedar"), "permit (principal, action, resource);")
	event := "event: {tenant_id: t, agent_id: a}, expect: permit"
	for _, c := range []struct{ text, want string }{
		{"cases:\n  - {" + event + "}\n", "names no policies, and the config has none"},
		{"policies: [p.cedar]\ncases: []\n", "cases.yaml: has no case"},
		{"policies: [p.cedar]\ncases:\n  - {event: {tenant_id: t, agent_id: a}}\n", "cases.yaml:3: expect: \"\": write permit, deny or observe"},
		{"policies: [p.cedar]\ncases:\n\n  - {event: {tenant_id: t, agent_id: a, tol: x}, expect: deny}\n", "cases.yaml:4: event: \"tol\" is no field of an event"},
		{"policies: [p.cedar]\ncases:\n  - {event: {agent_id: ''}, expect: deny}\n", "cases.yaml:3: event: decode activity: "},
		{"policies: [p.cedar]\ncases:\n  - {event: {tenant_id: t, agent_id: a, bytes_sent: x}, expect: deny}\n", "cases.yaml:3: event: a field is of the wrong form, or too long"},
		{"policies: [p.cedar]\ncases:\n  - {" + event + ", risk: bad}\n", "cases.yaml:3: risk: \"bad\": write one of none, low"},
		{"policies: [p.cedar]\ncases:\n  - {" + event + ", registration: {status: gone}}\n", "cases.yaml:3: registration: status: \"gone\": write one of active"},
		{"policies: [p.cedar]\ncases:\n  - {" + event + ", rsk: low}\n", "unknown field"},
		{"policies: [p.cedar]\ncase:\n  - {" + event + "}\n", "cases.yaml:2: \"case\" is unknown"},
		{"policies: [q.cedar]\ncases:\n  - {" + event + "}\n", "q.cedar: is no file"},
		{"policies: [p.cedar\n", "cases.yaml:1: "},
		{"", "cases.yaml: "},
		{"a", "is no mapping"},
		{"policies: [p.cedar]\ndefault: no\ncases:\n  - {" + event + "}\n", "cases.yaml:2: "},
	} {
		cases := policyFile(t, filepath.Join(dir, "cases.yaml"), c.text)
		code, stdout, stderr := policyRun(t, "policy", "test", cases)
		require.Equal(t, exitUsage, code, c.text)
		require.Empty(t, stdout, c.text)
		require.Contains(t, stderr, c.want, c.text)
	}
}

func TestTheExamplePoliciesPassTheirCases(t *testing.T) {
	code, stdout, _ := policyRun(t, "policy", "test", "../../deploy/policies/agents.yaml")
	require.Equal(t, exitGood, code, stdout)
}

// What is suggested is the same from files, the topic and ClickHouse, it is good, and all of
// it is used by the events that it was made of.
func TestSuggestedPoliciesAreThoseThatAreUsed(t *testing.T) {
	events := filepath.Join(t.TempDir(), "events.jsonl")
	lines := good(t, "simulate", "--agents", "12", "--days", "2").stdout
	hostile := `{"tenant_id":"default","agent_id":"x","peer_group":"a\nforbid\u202e\"","tool":"t\n\"};","access":"read","resources":["file:a"],"time":"2026-03-03T00:00:00Z"}` + "\n"
	require.NoError(t, os.WriteFile(events, []byte(lines+hostile), 0o600))
	s := newSite(t, 2)
	s.start()
	good(t, "send", "--config", s.config, events)
	n := strings.Count(lines, "\n") + 1
	require.Eventually(t, func() bool {
		return strings.Contains(plumbline(t, "query", "--config", s.config, "SELECT count() AS n FROM activity FORMAT CSV").stdout, strconv.Itoa(n))
	}, 2*time.Minute, time.Second)

	first := ""
	for _, from := range [][]string{{"--input", events}, {"--topic", "plumbline.activity"}, {"--from", "2026-03-01"}} {
		got := good(t, append([]string{"policy", "suggest", "--config", s.config}, from...)...).stdout
		if first == "" {
			first = got
		}
		require.Equal(t, first, got, from)
	}
	suggested := policyFile(t, filepath.Join(t.TempDir(), "suggested.cedar"), first)
	require.Contains(t, good(t, "policy", "check", suggested).stdout, "good: 1 file, ")
	var uses policyUses
	require.NoError(t, json.Unmarshal([]byte(good(t, "policy", "unused", "--config", s.config, "--policies", suggested, "--from", "2026-03-01", "--all", "--output", "json").stdout), &uses))
	require.Equal(t, int64(n), uses.Events)
	require.Zero(t, uses.Unused)
	require.Len(t, uses.List, uses.Policies)
	require.Positive(t, uses.Policies)

	other := policyFile(t, filepath.Join(t.TempDir(), "other.cedar"), "@id(\"nobody\") permit (principal == Plumbline::Agent::\"default/nobody\", action, resource);\n@id(\"all\") forbid (principal, action, resource);")
	require.Equal(t, fmt.Sprintf("1 of 2 policies applied to none of %d events\n\nPOLICY  EFFECT  DECISIONS  PLACE\nnobody  permit  0          %s:1\n", n, other),
		good(t, "policy", "unused", "--policies", other, "--input", events).stdout)
}
