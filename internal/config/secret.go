package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

func (d *decoder) secret(n ast.Node, at position, v reflect.Value, key string) {
	const fix = "write ${NAME} for an environment variable, or file:PATH"
	s, ok := n.(*ast.StringNode)
	if !ok || (s.Value != "" && !isReference(s.Value)) {
		d.add(at, Mistake{Key: key, Problem: "is written out; secrets come only from files or the environment", Fix: fix, Source: d.lineUpTo(at, at.column)})
		return
	}
	value, ok := d.expand(s.Value, at, key)
	if !ok {
		return
	}
	if path, isFile := strings.CutPrefix(value, "file:"); isFile && strings.HasPrefix(s.Value, "file:") {
		b, err := readSecret(path)
		if err != nil {
			d.add(at, Mistake{Key: key, Problem: "the secret can't be read: " + err.Error(), Fix: "name a file that this user may read"})
			return
		}
		value = strings.TrimRight(string(b), "\r\n")
		if value == "" {
			d.add(at, Mistake{Key: key, Problem: "the file " + path + " is empty", Fix: "put the secret into it"})
			return
		}
	}
	v.Set(reflect.ValueOf(NewSecret(value)))
}

// readSecret reads at most 64 KiB: more than that is no secret but a wrong path.
func readSecret(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, 64<<10+1))
	if err == nil && len(b) > 64<<10 {
		err = fmt.Errorf("%s has more than 64 KiB", path)
	}
	return b, errors.Join(err, f.Close())
}

// lineUpTo returns the line without what stands from a column on, which may be a
// secret.
func (d *decoder) lineUpTo(at position, column int) string {
	line := []rune(d.line(at))
	return strings.TrimSuffix(sourceLine(string(line[:min(column-1, len(line))])), masked) + masked
}

// expand replaces ${NAME} by the environment variable, and $${ by ${.
func (d *decoder) expand(text string, at position, key string) (string, bool) {
	var b strings.Builder
	good := true
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), good
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1] + "${")
			text = text[i+2:]
			continue
		}
		b.WriteString(text[:i])
		name, rest, closed := strings.Cut(text[i+2:], "}")
		if !closed || !envName.MatchString(name) {
			d.add(at, Mistake{Key: key, Problem: "${ does not name an environment variable", Fix: "write ${NAME} with letters, digits and _, or $${ for the text ${"})
			return "", false
		}
		value, ok := os.LookupEnv(name)
		if !ok {
			d.add(at, Mistake{Key: key, Problem: "environment variable " + name + " is not set", Fix: "set it, or write the value here where it is no secret"})
			good = false
		}
		b.WriteString(value)
		text = rest
	}
}
