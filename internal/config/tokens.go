package config

import (
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// joinFlowScalars puts together what the lexer takes apart although YAML, or a
// reader, sees one text: in [kafka-1:9092] the address (the lexer sees a mapping),
// and in {password: ${NAME}} the reference (the lexer sees another mapping).
func joinFlowScalars(in token.Tokens) token.Tokens {
	var out token.Tokens
	var open []token.Type
	for i := 0; i < len(in); {
		tk := in[i]
		switch tk.Type { //nolint:exhaustive // only what opens and closes a flow collection matters
		case token.SequenceStartType, token.MappingStartType:
			open = append(open, tk.Type)
		case token.SequenceEndType, token.MappingEndType:
			if len(open) > 0 {
				open = open[:len(open)-1]
			}
		}
		n := 1
		if len(open) > 0 && isPlain(tk) {
			n = scalarLength(in[i:], open[len(open)-1] == token.SequenceStartType)
		}
		if n > 1 {
			tk = join(in[i : i+n])
		}
		out.Add(tk)
		i += n
	}
	return out
}

// scalarLength returns how many tokens from the first one on are one scalar.
func scalarLength(in token.Tokens, inSequence bool) int {
	n := 1
	for n < len(in) && touch(in[n-1], in[n]) {
		switch {
		case strings.HasSuffix(in[n-1].Value, "$") && isPlain(in[n-1]) && n+2 < len(in) &&
			in[n].Type == token.MappingStartType && isPlain(in[n+1]) && in[n+2].Type == token.MappingEndType &&
			touch(in[n], in[n+1]) && touch(in[n+1], in[n+2]):
			n += 3
		case in[n-1].Type == token.MappingEndType && isPlain(in[n]):
			n++ // what follows a reference: ${HOST}.internal
		case inSequence && in[n].Type == token.MappingValueType && n+1 < len(in) && isPlain(in[n+1]) && touch(in[n], in[n+1]):
			n += 2
		default:
			return n
		}
	}
	return n
}

func join(parts token.Tokens) *token.Token {
	var value, origin strings.Builder
	for _, p := range parts {
		value.WriteString(p.Value)
		origin.WriteString(p.Origin)
	}
	return token.String(value.String(), origin.String(), parts[0].Position)
}

// touch reports whether b follows a without white space.
func touch(a, b *token.Token) bool {
	return b.Origin != "" && !strings.ContainsAny(b.Origin[:1], " \t\r\n") &&
		a.Origin != "" && !strings.ContainsAny(a.Origin[len(a.Origin)-1:], " \t\r\n")
}

func isPlain(tk *token.Token) bool {
	switch tk.Type { //nolint:exhaustive // the scalars that stand without quotes
	case token.StringType, token.IntegerType, token.FloatType, token.HexIntegerType, token.OctetIntegerType, token.BinaryIntegerType, token.BoolType:
		return true
	}
	return false
}

// position is a place in the file; the zero value means: not in the file.
type position struct{ line, column int }

func positionOf(tk *token.Token) position {
	if tk == nil || tk.Position == nil {
		return position{}
	}
	return position{line: tk.Position.Line, column: tk.Position.Column}
}

// firstToken returns the token where a reader sees n begin: of a block mapping
// that is its first key, not the colon behind it.
func firstToken(n ast.Node) *token.Token {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return n.Values[0].Key.GetToken()
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return n.GetToken()
}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// isReference reports whether text names a secret instead of being one.
func isReference(text string) bool {
	if path, ok := strings.CutPrefix(text, "file:"); ok {
		return path != ""
	}
	name, ok := strings.CutPrefix(text, "${")
	if !ok {
		return false
	}
	name, ok = strings.CutSuffix(name, "}")
	return ok && envName.MatchString(name)
}
