package main

import (
	"errors"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/plumbline-sec/plumbline/internal/config"
)

// usage says what is wrong with a command line: the word, what was probably meant,
// and where to read on.
func usage(err error) string {
	text, _, _ := strings.Cut(err.Error(), ", did you mean") // one voice: ours also knows the words of other commands
	var parse *kong.ParseError
	if !errors.As(err, &parse) || parse.Context == nil {
		return text + "; see plumbline --help"
	}
	node, command := parse.Context.Model.Node, ""
	if selected := parse.Context.Selected(); selected != nil {
		node, command = selected, strings.TrimPrefix(selected.Path(), "plumbline ")+" "
	}
	meant := meantBy(node, text)
	if word, ok := strings.CutPrefix(text, "unexpected argument "); ok && !node.Leaf() {
		text = "unknown command " + word
	}
	if meant != "" {
		text += "; write " + meant
	}
	return text + "; see plumbline " + command + "--help"
}

// meantBy returns the flag or command of node that an error's unknown word is
// closest to, or "".
func meantBy(node *kong.Node, text string) string {
	word, isFlag := strings.CutPrefix(text, "unknown flag ")
	if isFlag {
		flags := make(map[string]string)
		for _, group := range node.AllFlags(true) {
			for _, f := range group {
				flags[f.Name] = "--" + f.Name
			}
		}
		return nearest(strings.TrimLeft(word, "-"), flags)
	}
	word, isArgument := strings.CutPrefix(text, "unexpected argument ")
	if !isArgument || node.Leaf() {
		return ""
	}
	commands := make(map[string]string)
	for _, c := range node.Children {
		for _, below := range c.Children { // their own words first: the shorter command wins
			commands[below.Name] = c.Name + " " + below.Name
		}
	}
	for _, c := range node.Children {
		if !c.Hidden {
			commands[c.Name] = c.Name
		}
	}
	return nearest(word, commands)
}

// nearest returns what stands under the key that word is, begins, or is closest to.
func nearest(word string, meant map[string]string) string {
	word = strings.ToLower(word)
	var all, begun []string
	for key := range meant {
		all = append(all, key)
		if word != "" && strings.HasPrefix(key, word) {
			begun = append(begun, key)
		}
	}
	if len(begun) == 1 {
		return meant[begun[0]]
	}
	return meant[config.Closest(word, all)]
}
