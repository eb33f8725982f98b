package policy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/pipeline/policy/policytest"
	"github.com/plumbline-sec/plumbline/schemas"
)

func parse(text string) (*Set, error) {
	return Parse([]File{{"a.cedar", []byte(text)}}, Options{})
}

// Every mistake has its place and says what to write instead.
func TestMistakesAreNamedWithTheirPlace(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"no semicolon", "permit (principal, action, resource)", `a.cedar:1:37: not valid Cedar: expected ;; end the policy with a semicolon`},
		{"an unknown word", "\n\n  allow (principal, action, resource);", `a.cedar:3:9: not valid Cedar: "(": unexpected effect: allow; begin a policy with permit or forbid`},
		{"a text without end", "forbid (principal, action, resource) when {\n  context.tool == \"x };\n", `a.cedar:2:19: a text begins here and does not end on its line; write " behind it`},
		{"a comment without end", "/* no end", `a.cedar:1:1: a comment begins here and does not end; write */ behind it`},
		{
			"an unknown attribute", "@id(\"p\")\nforbid (principal, action, resource)\nwhen { context.toool == \"x\" };",
			`a.cedar:3:16: policy "p": attribute toool in context not found; a context has tool, bytes_sent, bytes_received, model, on_behalf_of, credential_type, hour, weekday, source_ip, version, outcome`,
		},
		{
			"an unknown attribute of an agent", "forbid (principal, action, resource) when { principal.ownr == \"x\" };",
			`a.cedar:1:55: attribute ownr on entity type Plumbline::Agent not found; an agent has owner, criticality, environment, status, vendor, registered, labels, risk, kind, id, site, leaves`,
		},
		{
			"an unknown action", "forbid (principal, action == Plumbline::Action::\"reed\", resource);",
			`a.cedar:1:30: unrecognized action Plumbline::Action::"reed"; write Plumbline::Action::"read", "write", "delete", "send", "execute", "message", "delegate", "model_call", "auth" or "other"`,
		},
		{
			"an unknown type", "forbid (principal in Plumbline::Group::\"x\", action, resource);",
			`a.cedar:1:22: unrecognized entity type Plumbline::Group; write Plumbline::Agent, Plumbline::PeerGroup, Plumbline::Tenant or Plumbline::Resource`,
		},
		{"a wrong type", "forbid (principal, action, resource) when { context.bytes_sent > \"1\" };", `a.cedar:1:1: unexpected type: expected Long but saw String; docs/policy.md lists the attributes and their types`},
		{
			"an address that may be absent", "forbid (principal, action, resource) when { context.source_ip.isLoopback() };",
			`a.cedar:1:53: unable to guarantee safety of access to optional attribute source_ip in context; write context has source_ip && in front: not every event has an address`,
		},
		{"a word that never comes", "forbid (principal, action, resource) when { context.weekday == \"Sunday\" };", `a.cedar:1:64: context.weekday is never "Sunday"; write one of sunday, monday, tuesday, wednesday, thursday, friday, saturday`},
		{"a word in a set", "forbid (principal, action, resource) when { [\"high\", \"huge\"].contains(principal.criticality) };", `a.cedar:1:54: principal.criticality is never "huge"; write one of low, normal, high`},
		{"what is not known of another agent", "forbid (principal, action, resource is Plumbline::Agent) when { resource.owner == \"\" };", `a.cedar:1:74: owner is known of the principal alone; write principal.owner; of another agent only its id is known`},
		{"an id twice", "@id(\"p\") permit (principal, action, resource);\n@id(\"p\") permit (principal, action, resource);", `a.cedar:2:1: policy "p": its @id is that of the policy at a.cedar:1; give each policy an @id of its own`},
		{"an id of a grant", "@id(\"grant:tools\") permit (principal, action, resource);", `a.cedar:1:1: "grant:tools" is no id; write up to 100 letters, digits, . _ / and -, such as no-mail-outside`},
		{"a severity", "@severity(\"bad\") permit (principal, action, resource);", `a.cedar:1:1: "bad" is no severity; write one of low, medium, high, critical`},
		{"a mode", "@mode(\"off\") permit (principal, action, resource);", `a.cedar:1:1: "off" is no mode of a policy; write @mode("observe"), or leave it out`},
		{"an annotation", "@owner(\"me\") permit (principal, action, resource);", `a.cedar:1:1: @owner means nothing here; write @id, @title, @severity, @tags, @runbook or @mode`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(c.text)
			require.EqualError(t, err, c.want)
		})
	}
}

func TestAllMistakesOfAllFilesAreNamedAtOnce(t *testing.T) {
	_, err := Parse([]File{
		{"a.cedar", []byte("permit (principal, action, resource) when { context.x };\nforbid (principal, action, resource) when { principal.y };\nallow;")},
		{"b.cedar", []byte("permit (who, action, resource);")},
	}, Options{})
	var e *Error
	require.ErrorAs(t, err, &e)
	var at []string
	for _, m := range e.Mistakes {
		at = append(at, fmt.Sprintf("%s:%d", m.File, m.Line))
	}
	require.Equal(t, []string{"a.cedar:1", "a.cedar:2", "a.cedar:3", "b.cedar:1"}, at)
}

// What is huge or deep is refused before anything recurses over it.
func TestHostileFilesAreRefused(t *testing.T) {
	const head = "permit (principal, action, resource) when { "
	chain := func(s, with string, n int) string { return head + strings.Repeat(s+with, n) + s + " };" }
	for _, c := range []struct{ name, text, want string }{
		{"deep brackets", head + strings.Repeat("(", 1_000_000), "nested deeper than 64"},
		{"deep sets", head + strings.Repeat("[", 1_000_000), "nested deeper than 64"},
		{"deep records", head + strings.Repeat("{a:", 1_000_000), "nested deeper than 64"},
		{"many !", head + strings.Repeat("!", 30_000) + "true };", "over 4000 characters of operators"},
		{"many -", head + strings.Repeat("- ", 30_000) + "1 == 1 };", "over 4000 characters of operators"},
		{"many &&", chain("true", "&&", 9000), "over 4000 characters of operators"},
		{"many .", head + "context" + strings.Repeat(".a", 9000) + " };", "over 4000 characters of operators"},
		{"many if", head + strings.Repeat("if true then ", 2500), "a.cedar:1:"},
		{"many else", head + strings.Repeat("if true then true else ", 2500) + "true };", ""},
		{"many tags", head + strings.Repeat("principal.labels.hasTag(\"x\") && ", 650) + "true };", "asks 650 times whether something is there"},
		{"a long policy", head + "context.tool == \"" + strings.Repeat("a", MaxPolicyBytes) + "\" };", "more than 65536 bytes"},
		{"many policies", strings.Repeat("permit (principal, action, resource);\n", MaxPolicies+1), "write at most 10000"},
		{"many mistakes", strings.Repeat("allow;\n", 200_000), "begin a policy with permit"},
		{"a byte of zero", "permit (principal, action, resource)\x00;", "invalid character NUL"},
		{"no UTF-8", "permit (principal, action, resource)\xff;", "invalid UTF-8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			start := time.Now()
			_, err := parse(c.text)
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.want)
				require.Less(t, len(err.Error()), 100_000)
			}
			require.Less(t, time.Since(start), time.Minute)
		})
	}
}

func TestTenThousandPoliciesAreASet(t *testing.T) {
	if testing.Short() {
		t.Skip("SKIPPED in short mode: some seconds")
	}
	set, err := parse(string(policytest.Fleet(MaxPolicies)))
	require.NoError(t, err)
	require.Equal(t, MaxPolicies, set.Len())
}

func TestFilesAreBounded(t *testing.T) {
	dir := t.TempDir()
	big := filepath.Join(dir, "big.cedar")
	require.NoError(t, os.WriteFile(big, make([]byte, MaxFileBytes+1), 0o600))
	for _, c := range []struct{ name, want string }{
		{big, "has over 4194304 bytes; split it"},
		{dir, "is a directory; write " + filepath.Join(dir, "*.cedar")},
		{filepath.Join(dir, "no.cedar"), "is no file, and no file's name is like it"},
		{filepath.Join(dir, "[.cedar"), "is no pattern of file names"},
		{os.DevNull, "is no regular file"},
	} {
		_, err := Load([]string{c.name}, Options{})
		var e *Error
		require.ErrorAs(t, err, &e, c.name)
		require.ErrorContains(t, err, c.want)
	}
}

func TestTheHashIsThatOfWhatDecides(t *testing.T) {
	hash := func(text string, opt Options) string {
		set, err := Parse([]File{{"a.cedar", []byte(text)}}, opt)
		require.NoError(t, err)
		return set.Hash()
	}
	one := hash("@id(\"a\") permit (principal, action, resource);\n@id(\"b\") forbid (principal, action, resource) when { context.tool == \"x\" };", Options{})
	require.Equal(t, hash("permit (principal, action, resource);", Options{}), hash("// why\npermit (principal, action, resource);", Options{}), "neither does where one without an id stands")
	require.Equal(t, one, hash("// why\n@id(\"b\")\nforbid (principal,action,resource)\nwhen { context.tool==\"x\" };\n@id(\"a\") permit (principal, action, resource);", Options{}), "layout, comments and order say nothing")
	require.NotEqual(t, one, hash("@id(\"a\") permit (principal, action, resource);\n@id(\"b\") forbid (principal, action, resource) when { context.tool == \"y\" };", Options{}))
	require.NotEqual(t, one, hash("@id(\"a\") permit (principal, action, resource);\n@id(\"b\") forbid (principal, action, resource) when { context.tool == \"x\" };", Options{DefaultDeny: true}))
}

func TestAnnotationsAreWhatAlertsSay(t *testing.T) {
	set, err := parse(`@id("no-mail") @title("Mail goes nowhere") @severity("critical") @tags("ASI02, T1567.002") @runbook("https://wiki.example.com/mail") @mode("observe")
forbid (principal, action, resource) when { resource.kind == "email" };`)
	require.NoError(t, err)
	require.Equal(t, &schemas.Policy{
		ID: "no-mail", Title: "Mail goes nowhere", Severity: "critical", Tags: []string{"ASI02", "T1567.002"}, Runbook: "https://wiki.example.com/mail",
		Observe: true, Forbids: true, Place: "a.cedar:1",
	}, set.Policies()[0])
}

// FuzzParse: whatever a file is, it is read or refused.
func FuzzParse(f *testing.F) {
	f.Add([]byte("permit (principal, action, resource);"))
	f.Add(policytest.Fleet(14))
	f.Add([]byte("@id(\"a\") forbid (principal is Plumbline::Agent in Plumbline::Tenant::\"x\", action, resource) unless { context has source_ip };"))
	f.Fuzz(func(t *testing.T, text []byte) {
		set, err := parse(string(text))
		if err != nil {
			return
		}
		ev := &schemas.Activity{TenantID: "t", AgentID: "a", Resources: []string{"url:https://example.com"}, TargetAgentID: "b"}
		require.Len(t, NewEngine(set).Decide(nil, ev, nil, ""), 2)
	})
}
