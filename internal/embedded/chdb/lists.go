package chdb

import (
	"embed"
	"strings"
	"sync"
)

// The lists hold what the pinned engine has: every function, table function, table
// engine, type, format, setting and system table, each with a decision. What an engine of a later
// version adds stands in none of them and is refused, until somebody has decided; a
// test compares them with the engine.
//
//go:embed lists/*.txt
var listFiles embed.FS

// list says of names whether they are permitted. Names are in lower case, since some
// are known in any.
type list struct {
	permitted  []string // as they are written
	names      map[string]bool
	aggregates map[string]bool
}

// decided reports whether the name stands in the list, and whether it is permitted.
func (l *list) decided(name string) (permitted, known bool) {
	permitted, known = l.names[strings.ToLower(name)]
	return permitted, known
}

func (l *list) permits(name string) bool { return l.names[strings.ToLower(name)] }

func (l *list) refuses(name string) bool {
	permitted, known := l.decided(name)
	return known && !permitted
}

// lists are the lists, by what they are about.
type lists struct {
	functions, tableFunctions, engines, types, formats, settings, systemTables *list
}

var readLists = sync.OnceValue(func() *lists {
	return &lists{
		functions: readList("functions"), tableFunctions: readList("table_functions"), engines: readList("engines"),
		types: readList("types"), formats: readList("formats"), settings: readList("settings"),
		systemTables: readList("system_tables"),
	}
})

func readList(file string) *list {
	l := &list{names: map[string]bool{}, aggregates: map[string]bool{}}
	b, err := listFiles.ReadFile("lists/" + file + ".txt")
	if err != nil {
		panic(err) // it is part of the program
	}
	for line := range strings.Lines(string(b)) {
		mark, written, _ := strings.Cut(strings.TrimSpace(line), " ")
		name := strings.ToLower(written)
		if mark == "+" || mark == "a" {
			l.permitted = append(l.permitted, written)
		}
		switch mark {
		case "a":
			l.aggregates[name] = true
			l.names[name] = true
		case "+", "-":
			l.names[name] = mark == "+"
		}
	}
	return l
}

// combinators turn an aggregate function into another: sumIf, uniqStateForEach.
var combinators = []string{
	"if", "array", "map", "simplestate", "state", "merge", "mergestate", "foreach", "distinct", "ordefault", "ornull", "resample", "argmin", "argmax", "null",
}

// combined reports whether the name is that of an aggregate function with combinators.
func (l *lists) combined(name string) bool {
	name = strings.ToLower(name)
	if l.functions.aggregates[name] {
		return true
	}
	for _, c := range combinators {
		if rest, ok := strings.CutSuffix(name, c); ok && rest != "" && l.combined(rest) {
			return true
		}
	}
	return false
}
