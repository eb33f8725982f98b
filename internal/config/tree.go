package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// tree decodes keys that somebody else knows.
func (d *decoder) tree(n ast.Node, at position, v reflect.Value, key string) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.add(at, Mistake{Key: key, Problem: "needs keys below it, found " + kindOf(n)})
		return
	}
	if out := d.branches(m, key); len(out) > 0 {
		v.Set(reflect.ValueOf(Tree(out)))
	}
}

func (d *decoder) branches(m ast.MapNode, key string) map[string]any {
	out := make(map[string]any)
	for name, kv := range d.entries(m, key) {
		k := dotted(key, name)
		d.where[k] = positionOf(kv.Key.GetToken())
		if value, ok := d.branch(kv.Value, k); ok {
			out[name] = value
		}
	}
	return out
}

// branch returns a value of a tree, and false where it is reported as a mistake.
func (d *decoder) branch(n ast.Node, key string) (any, bool) {
	at := positionOf(firstToken(n))
	switch n := n.(type) {
	case ast.MapNode:
		return d.branches(n, key), true
	case *ast.SequenceNode:
		out := make([]any, 0, len(n.Values))
		for i, item := range n.Values {
			k := fmt.Sprintf("%s[%d]", key, i)
			d.where[k] = positionOf(firstToken(item))
			if value, ok := d.branch(item, k); ok {
				out = append(out, value)
			}
		}
		return out, true
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.add(at, Mistake{Key: key, Problem: "anchors, aliases and tags are not read here", Fix: "write the value itself"})
		return nil, false
	case *ast.NullNode:
		d.add(at, Mistake{Key: key, Problem: "has no value", Fix: "write a value, or take the key out to keep the default"})
		return nil, false
	}
	raw, plain, ok := scalarText(n)
	if !ok {
		d.add(at, Mistake{Key: key, Problem: "needs a value, found " + kindOf(n)})
		return nil, false
	}
	text, ok := d.expand(raw, at, key)
	if !ok {
		return nil, false
	}
	if plain {
		switch n.(type) {
		case *ast.BoolNode:
			return text == "true", true
		case *ast.IntegerNode, *ast.FloatNode:
			if f, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64); err == nil {
				return f, true
			}
		}
	}
	return text, true
}
