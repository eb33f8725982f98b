package detector

import (
	"fmt"
	"strings"

	"github.com/plumbline-sec/plumbline/detector/internal/wire"
)

// DumpAgent returns the fields of an agent's record as text: names and
// values, in the order of the record. What others have named is quoted, and what a
// terminal would obey is escaped.
func DumpAgent(record []byte) (string, error) {
	return dump(record, func(c *wire.Coder) error {
		var tenantName, groupName string
		codeAgent(c, &agent{}, &tenantName, &groupName)
		return finished(c)
	})
}

// dump has a line for every field, and one for each element of a list of several.
func dump(record []byte, read func(*wire.Coder) error) (string, error) {
	var out []byte
	last := ""
	err := read(wire.Tracer(record, func(f wire.Field) {
		element := strings.HasSuffix(f.Scope, "]")
		switch {
		case element && f.Scope == last:
			out = append(append(out[:len(out)-1], ", "...), f.Name...)
		case f.Scope == "" || f.Name == "":
			out = append(append(out, f.Scope...), f.Name...)
		case element:
			out = append(append(append(out, f.Scope...), ": "...), f.Name...)
		default:
			out = append(append(append(out, f.Scope...), '.'), f.Name...)
		}
		out = append(append(append(out, ' '), f.Text()...), '\n')
		last = f.Scope
	}))
	if err != nil {
		return "", fmt.Errorf("dump record: %w", err)
	}
	return string(out), nil
}
