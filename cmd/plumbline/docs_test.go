package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas/decode/forms"
)

var update = flag.Bool("update", false, "rewrite the outputs in docs/sources-*.md, docs/tuning.md and docs/siem")

// The pages of sources show real outputs: each of their commands is run here.
func TestThePagesOfSourcesShowWhatTheirCommandsPrint(t *testing.T) {
	t.Chdir("../..")
	pages := sourcePage(t, "docs/sources-forms.md", 5) + sourcePage(t, "docs/sources-mapping.md", 4) + sourcePage(t, "docs/identity.md", 1)
	index, err := os.ReadFile("docs/sources.md")
	require.NoError(t, err)
	for _, form := range forms.All() {
		require.Contains(t, string(index), "`"+form.Name+"`", "a form that the index does not name")
		require.Contains(t, pages, form.Name, "a form without its section")
	}
}

// sourcePage runs the commands of a page and returns the page with their outputs.
func sourcePage(t *testing.T, page string, want int) string {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	commands := 0
	block := regexp.MustCompile("(?s)```console\n\\$ plumbline ([^\n]*)\n.*?```")
	got := block.ReplaceAllStringFunc(string(text), func(old string) string {
		commands++
		line := block.FindStringSubmatch(old)[1]
		var out bytes.Buffer
		require.Equal(t, exitGood, run(t.Context(), strings.Fields(line), strings.NewReader(""), &out, &out), "%s\n%s", line, out.String())
		return "```console\n$ plumbline " + line + "\n" + out.String() + "```"
	})
	require.Equal(t, want, commands, page)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(got), 0o644))
		return got
	}
	require.Equal(t, string(text), got, "run `go test ./cmd/plumbline -run Page -update` and read the diff")
	return got
}

// The pages of the SIEMs show a real alert.
func TestThePagesOfSIEMsShowWhatTheirCommandsPrint(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join("..", "..", "docs", "siem", "*.md"))
	require.NoError(t, err)
	require.Len(t, pages, 6)
	got := runPages(t, pages, 2)
	id := regexp.MustCompile(`externalId=([0-9a-f]{32})`).FindStringSubmatch(strings.Join(got, ""))
	require.Len(t, id, 2)
	for _, page := range got {
		require.Contains(t, page, id[1], "the same alert in each form")
	}
}

func TestThePageOfTuningShowsWhatItsCommandsPrint(t *testing.T) {
	runPages(t, []string{filepath.Join("..", "..", "docs", "tuning.md")}, 9)
}

func TestThePageOfPoliciesShowsWhatItsCommandsPrint(t *testing.T) {
	runPages(t, []string{filepath.Join("..", "..", "docs", "policy.md")}, 3)
}

// runPages runs the commands of pages, as a shell runs them, but for jq, which not
// everybody has, and returns the pages with what was printed.
func runPages(t *testing.T, pages []string, want int) (texts []string) {
	t.Helper()
	bash, err := exec.LookPath("bash")
	if err != nil {
		t.Skipf("SKIPPED, the pages' commands need a shell: %v", err)
	}
	deploy, err := filepath.Abs("../../deploy")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Symlink(deploy, filepath.Join(dir, "deploy")))
	block := regexp.MustCompile("(?s)```console\n\\$ ([^\n]*)\n.*?```")
	for _, page := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		commands := 0
		got := block.ReplaceAllStringFunc(string(text), func(old string) string {
			commands++
			line := block.FindStringSubmatch(old)[1]
			shell, pretty := strings.CutSuffix(line, " | jq .")
			cmd := exec.CommandContext(t.Context(), bash, "-o", "pipefail", "-c", shell)
			cmd.Dir = dir
			cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"))
			out, err := cmd.Output()
			require.NoError(t, err, line)
			out = bytes.ReplaceAll(out, []byte("v1.2.3-test"), []byte("1.0.0")) // the version that the tests build
			if pretty {
				var b bytes.Buffer
				require.NoError(t, json.Indent(&b, out, "", "  "))
				out = b.Bytes()
			}
			return "```console\n$ " + line + "\n" + string(out) + "```"
		})
		require.Equal(t, want, commands, page)
		texts = append(texts, got)
		if *update {
			require.NoError(t, os.WriteFile(page, []byte(got), 0o644))
			continue
		}
		require.Equal(t, string(text), got, "run `go test ./cmd/plumbline -run Page -update` and read the diff")
	}
	return texts
}
