package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	"github.com/stretchr/testify/require"
)

// complaint is what a wrong command line gets on standard error.
func complaint(t *testing.T, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	require.Equal(t, exitUsage, run(t.Context(), args, strings.NewReader(""), &out, &errs), "%v: %s", args, out.String())
	require.Equal(t, 1, strings.Count(errs.String(), "\n"), errs.String())
	return errs.String()
}

// Every flag and command of the program, with its middle letter left out, leads to
// the right one.
func TestAMisspeltFlagOrCommandIsToldTheNearestOne(t *testing.T) {
	parser, err := kong.New(&cli{}, kong.Name("plumbline"))
	require.NoError(t, err)
	misspell := func(word string) string { return word[:len(word)/2] + word[len(word)/2+1:] }
	asked := 0
	var walk func(n *kong.Node, path []string)
	walk = func(n *kong.Node, path []string) {
		var names []string
		for _, group := range n.AllFlags(true) {
			for _, f := range group {
				names = append(names, f.Name)
			}
		}
		for _, name := range names {
			if wrong := misspell(name); len(name) > 3 && !slices.Contains(names, wrong) {
				require.Contains(t, complaint(t, slices.Concat(path, []string{"--" + wrong})...), "unknown flag --"+wrong+"; write --"+name+"; see plumbline ")
				asked++
			}
		}
		for _, c := range n.Children {
			if c.Hidden {
				continue
			}
			wrong := misspell(c.Name)
			require.Contains(t, complaint(t, slices.Concat(path, []string{wrong})...), "unknown command "+wrong+"; write "+c.Name+"; see plumbline ")
			asked++
			walk(c, slices.Concat(path, []string{c.Name}))
		}
	}
	walk(parser.Model.Node, nil)
	require.Greater(t, asked, 60)
}

func TestAWordThatIsNoFlagOrCommandIsToldWhatIsLikeIt(t *testing.T) {
	for _, c := range []struct{ line, says string }{
		{"validate", "unknown command validate; write config validate; see plumbline --help"},
		{"vers", "unknown command vers; write version; see plumbline --help"},
		{"query -o x", "unknown flag -o; write --output; see plumbline query --help"},
		{"query --dat x", "unknown flag --dat; write --data-dir; see plumbline query --help"},
		{"internal-clickhous", "unknown command internal-clickhous; see plumbline --help"},
		{"version now", "unexpected argument now; see plumbline version --help"},
	} {
		require.Equal(t, "plumbline: "+c.says+"\n", complaint(t, strings.Fields(c.line)...))
	}
}
