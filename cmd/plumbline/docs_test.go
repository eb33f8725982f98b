package main

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/plumbline-sec/plumbline/schemas/decode"
)

var update = flag.Bool("update", false, "rewrite the outputs in docs/sources.md")

// The page of sources shows real outputs: each of its commands is run here.
func TestThePageOfSourcesShowsWhatItsCommandsPrint(t *testing.T) {
	t.Chdir("../..")
	const page = "docs/sources.md"
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
	require.Greater(t, commands, 8)
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(got), 0o644))
		return
	}
	require.Equal(t, string(text), got, "run `go test ./cmd/plumbline -run Page -update` and read the diff")
	for _, form := range decode.Forms() {
		require.Contains(t, got, "`"+form.Name+"`", "a form without its section")
	}
}
