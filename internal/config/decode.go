package config

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder fills a Config from a syntax tree. It goes on after a mistake, so that
// one run names them all.
type decoder struct {
	file     string
	lines    []string
	mistakes []Mistake
	where    map[string]position // of what stands in the file, by dotted key
	wrong    map[string]bool     // keys that are reported already
	expanded map[string]expanded // values that came out of the environment, by dotted key

	unreadable bool
}

// expanded is a text with ${NAME} and what it became.
type expanded struct{ raw, value string }

func (d *decoder) add(at position, m Mistake) {
	m.File, m.Line, m.Column = d.file, at.line, at.column
	if m.Source == "" {
		m.Source = sourceLine(d.line(at))
	}
	if m.Key != "" {
		d.wrong[m.Key] = true
	}
	d.mistakes = append(d.mistakes, m)
}

// line returns the text of a line, empty where there is none: the lexer knows line
// ends that are not ours.
func (d *decoder) line(at position) string {
	if at.line < 1 || at.line > len(d.lines) {
		return ""
	}
	return d.lines[at.line-1]
}

// reported reports whether a key, or one above it, is known to be wrong: what is
// said about it then would be about a default.
func (d *decoder) reported(key string) bool {
	for key != "" && !d.wrong[key] {
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return key != ""
}

// find returns where a key stands, or the nearest key above it that does.
func (d *decoder) find(key string) position {
	for key != "" {
		if at, ok := d.where[key]; ok {
			return at
		}
		key = key[:max(0, strings.LastIndexAny(key, ".["))]
	}
	return position{}
}

func (d *decoder) decode(root ast.Node, cfg *Config) {
	d.value(root, reflect.ValueOf(cfg).Elem(), "")
}

// value decodes n into v, whose dotted key is key.
func (d *decoder) value(n ast.Node, v reflect.Value, key string) {
	at := positionOf(firstToken(n))
	if _, ok := d.where[key]; !ok {
		d.where[key] = at
	}
	switch n := n.(type) {
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.add(at, Mistake{Key: key, Problem: "anchors, aliases and tags are not read here", Fix: "write the value itself"})
		return
	case *ast.NullNode:
		d.null(at, v, key)
		return
	default:
		switch v.Interface().(type) {
		case Secret:
			d.secret(n, at, v, key)
			return
		case Endpoints:
			d.endpoints(n, at, v, key)
			return
		case Tree:
			d.tree(n, at, v, key)
			return
		}
		switch v.Kind() { //nolint:exhaustive // the rest are scalars
		case reflect.Struct:
			d.mapping(n, at, v, key)
		case reflect.Map:
			d.openMapping(n, at, v, key)
		case reflect.Slice:
			d.list(n, at, v, key)
		default:
			d.scalar(n, at, v, key)
		}
	}
}

// null is a key with nothing behind it. Over further keys that is what remains
// when all of them are commented out.
func (d *decoder) null(at position, v reflect.Value, key string) {
	if _, secret := reflect.TypeAssert[Secret](v); !secret && (v.Kind() == reflect.Struct || v.Kind() == reflect.Map) {
		return
	}
	fix := "write a value, or take the key out to keep the default"
	if v.Kind() == reflect.Slice {
		fix = "write [] for none, or take the key out to keep the default"
	}
	d.add(at, Mistake{Key: key, Problem: "has no value", Fix: fix})
}

func (d *decoder) mapping(n ast.Node, at position, v reflect.Value, key string) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.add(at, Mistake{Key: key, Problem: "needs keys below it, found " + kindOf(n), Fix: "keys are " + strings.Join(keysOf(v.Type()), ", ")})
		return
	}
	for name, kv := range d.entries(m, key) {
		field, ok := fieldOf(v, name)
		if !ok {
			d.unknown(kv.Key.GetToken(), v.Type(), key, name)
			continue
		}
		d.value(kv.Value, field, dotted(key, name))
	}
}

func (d *decoder) openMapping(n ast.Node, at position, v reflect.Value, key string) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.add(at, Mistake{Key: key, Problem: "needs keys below it, found " + kindOf(n)})
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for name, kv := range d.entries(m, key) {
		d.where[dotted(key, name)] = positionOf(kv.Key.GetToken())
		element := reflect.New(v.Type().Elem()).Elem()
		d.value(kv.Value, element, dotted(key, name))
		v.SetMapIndex(reflect.ValueOf(name), element)
	}
}

// entries yields the keys of m that stand there for the first time.
func (d *decoder) entries(m ast.MapNode, key string) func(func(string, *ast.MappingValueNode) bool) {
	return func(yield func(string, *ast.MappingValueNode) bool) {
		first := make(map[string]int)
		for it := m.MapRange(); it.Next(); {
			kv := it.KeyValue()
			tk := kv.Key.GetToken()
			at := positionOf(tk)
			if kv.Key.IsMergeKey() {
				d.add(at, Mistake{Key: key, Problem: "merge keys are not read here", Fix: "write the keys themselves"})
				continue
			}
			name := tk.Value
			if line, ok := first[name]; ok {
				d.add(at, Mistake{Key: dotted(key, name), Problem: fmt.Sprintf("stands here a second time, first on line %d", line), Fix: "keep one"})
				delete(d.wrong, dotted(key, name)) // what the first one says is checked all the same
				continue
			}
			first[name] = at.line
			if _, ok := kv.Value.(*ast.NullNode); ok {
				d.where[dotted(key, name)] = at // nothing stands behind it: point at the key
			}
			if !yield(name, kv) {
				return
			}
		}
	}
}

func (d *decoder) list(n ast.Node, at position, v reflect.Value, key string) {
	s, ok := n.(*ast.SequenceNode)
	if !ok {
		d.add(at, Mistake{Key: key, Problem: "needs a list, found " + kindOf(n), Fix: "begin each entry with -"})
		return
	}
	v.SetZero() // [] is nothing, as an absent list is
	if len(s.Values) > 0 {
		v.Set(reflect.MakeSlice(v.Type(), len(s.Values), len(s.Values)))
	}
	for i, item := range s.Values {
		element := v.Index(i)
		if e, ok := reflect.TypeAssert[interface{ setDefaults() }](element.Addr()); ok {
			e.setDefaults()
		}
		k := fmt.Sprintf("%s[%d]", key, i)
		if _, ok := item.(*ast.NullNode); ok {
			fix := "write a name"
			if element.Kind() == reflect.Struct {
				fix = "keys are " + strings.Join(keysOf(element.Type()), ", ")
			}
			d.add(positionOf(item.GetToken()), Mistake{Key: k, Problem: "is empty", Fix: fix})
			continue
		}
		d.value(item, element, k)
	}
}

func (d *decoder) endpoints(n ast.Node, at position, v reflect.Value, key string) {
	var items []ast.Node
	switch n := n.(type) {
	case *ast.SequenceNode:
		items = n.Values
	case *ast.StringNode:
		items = []ast.Node{n}
	default:
		d.add(at, Mistake{Key: key, Problem: "needs an address or a list of addresses, found " + kindOf(n), Fix: "write embedded, or host:port, or [host:port, host:port]"})
		return
	}
	out := make(Endpoints, len(items))
	for i, item := range items {
		k := key
		if len(items) > 1 {
			k = fmt.Sprintf("%s[%d]", key, i)
		}
		d.value(item, reflect.ValueOf(&out[i]).Elem(), k)
	}
	v.Set(reflect.ValueOf(out))
}

// scalar decodes a text, number or switch.
func (d *decoder) scalar(n ast.Node, at position, v reflect.Value, key string) {
	wrong := func(problem string) {
		d.add(at, Mistake{Key: key, Problem: problem})
	}
	raw, plain, ok := scalarText(n)
	if !ok {
		wrong("needs " + wanted(v) + ", found " + kindOf(n))
		return
	}
	text, ok := d.expand(raw, at, key)
	if !ok {
		return
	}
	// What came out of the environment is shown as it was written: the variable may
	// hold more than this key should have.
	shown := strconv.Quote(raw)
	fromEnv := text != raw
	if fromEnv {
		d.expanded[key] = expanded{raw: raw, value: text}
	}
	if p, ok := reflect.TypeAssert[interface{ parse(text string) error }](v.Addr()); ok {
		if err := p.parse(text); err != nil {
			wrong(shown + " " + err.Error())
		}
		return
	}
	if v.Kind() == reflect.String {
		if _, isText := n.(*ast.StringNode); !isText {
			if _, isText = n.(*ast.LiteralNode); !isText {
				d.add(at, Mistake{Key: key, Problem: "needs a text, found " + kindOf(n), Fix: "write " + strconv.Quote(raw) + ", with quotes"})
				return
			}
		}
		v.SetString(text)
		return
	}
	if !plain && !fromEnv {
		d.add(at, Mistake{Key: key, Problem: "needs " + wanted(v) + ", found a text", Fix: "write it without quotes"})
		return
	}
	if problem := setNumber(v, text); problem != "" {
		wrong(shown + " " + problem)
	}
}

// setNumber sets a number or switch from its text, or says what is wrong with it.
func setNumber(v reflect.Value, text string) string {
	digits := strings.ReplaceAll(text, "_", "")
	switch v.Kind() { //nolint:exhaustive // the kinds that a config has
	case reflect.Bool:
		if text != "true" && text != "false" {
			return "is not a switch; write true or false"
		}
		v.SetBool(text == "true")
	case reflect.Float64:
		f, err := strconv.ParseFloat(digits, 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return "is not a number; write one such as 0.01"
		}
		v.SetFloat(f)
	case reflect.Uint32:
		u, err := strconv.ParseUint(digits, 10, v.Type().Bits())
		if err != nil {
			return "is not a whole number from 0 to " + strconv.FormatUint(math.MaxUint32, 10)
		}
		v.SetUint(u)
	default:
		i, err := strconv.ParseInt(digits, 10, v.Type().Bits())
		if err != nil {
			return "is not a whole number" + map[bool]string{true: " of this size"}[strings.Contains(err.Error(), "out of range")]
		}
		v.SetInt(i)
	}
	return ""
}

// scalarText returns the text of a scalar, and whether it stood without quotes.
func scalarText(n ast.Node) (text string, plain, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, n.Token.Type == token.StringType, true
	case *ast.LiteralNode:
		return strings.TrimRight(n.Value.Value, "\n"), false, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true, true
	}
	return "", false, false
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode, *ast.LiteralNode:
		return "a text"
	case *ast.BoolNode:
		return "a switch"
	case *ast.NullNode:
		return "nothing"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	}
	return n.Type().YAMLName()
}

func wanted(v reflect.Value) string {
	switch v.Interface().(type) {
	case Duration:
		return "a duration such as 30s or 6h"
	case Size:
		return "a size such as 64MiB"
	}
	switch v.Kind() { //nolint:exhaustive // the kinds that a config has
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float64:
		return "a number"
	}
	return "a whole number"
}

// unknown reports a key that does not exist here, and what was probably meant.
func (d *decoder) unknown(tk *token.Token, t reflect.Type, key, name string) {
	at := positionOf(tk)
	m := Mistake{Key: dotted(key, name), Problem: "unknown key"}
	known := keysOf(t)
	if meant := Closest(name, known); meant != "" {
		m.Fix = "write " + meant
		if f, _ := fieldOf(reflect.New(t).Elem(), meant); f.IsValid() {
			if _, secret := reflect.TypeAssert[Secret](f); secret {
				m.Source = d.lineUpTo(at, at.column+utf8.RuneCountInString(name)+2)
			}
		}
	} else if elsewhere := pathsTo(name); len(elsewhere) > 0 {
		m.Fix = "write it as " + strings.Join(elsewhere, " or ")
	} else {
		m.Fix = "known here: " + strings.Join(known, ", ")
	}
	d.add(at, m)
}

func dotted(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

// notInFile tags a field that no file has; it stands behind those that one may have.
const notInFile = "-"

func keysOf(t reflect.Type) []string {
	names := make([]string, 0, t.NumField())
	for f := range t.Fields() {
		if name := f.Tag.Get("yaml"); name != notInFile {
			names = append(names, name)
		}
	}
	return names
}

func fieldOf(v reflect.Value, name string) (reflect.Value, bool) {
	i := slices.Index(keysOf(v.Type()), name)
	if i < 0 {
		return reflect.Value{}, false
	}
	return v.Field(i), true
}

// pathsTo returns the dotted keys whose last part is name.
func pathsTo(name string) []string {
	var found []string
	var visit func(t reflect.Type, key string)
	visit = func(t reflect.Type, key string) {
		for f := range t.Fields() {
			k := dotted(key, f.Tag.Get("yaml"))
			if f.Tag.Get("yaml") == name {
				found = append(found, k)
			}
			ft := f.Type
			if ft.Kind() == reflect.Slice && ft != reflect.TypeFor[Endpoints]() {
				ft, k = ft.Elem(), k+"[]"
			}
			if ft.Kind() == reflect.Struct && ft != reflect.TypeFor[Secret]() {
				visit(ft, k)
			}
		}
	}
	visit(reflect.TypeFor[Config](), "")
	return found
}
