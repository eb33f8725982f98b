package detector_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// bareFloats lists the float literals of a file that no constant names. Plain arithmetic
// needs no name.
func bareFloats(t *testing.T, name string, src any) (bare []string) {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, name, src, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		if decl, ok := n.(*ast.GenDecl); ok && decl.Tok == token.CONST {
			return false
		}
		if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.FLOAT && !slices.Contains([]string{"0.0", "0.5", "1.0"}, lit.Value) {
			bare = append(bare, fset.Position(lit.Pos()).String()+": "+lit.Value)
		}
		return true
	})
	return bare
}

func TestEveryFloatIsANamedConstant(t *testing.T) {
	require.Len(t, bareFloats(t, "x.go", "package x\nconst a = 0.3\nfunc f(x float64) float64 { const b = 0.7; return 0.5*x + 0.25 }"), 1)
	files := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			files++
			require.Empty(t, bareFloats(t, path, nil), "give it a name, a unit and a source in constants.go of its package")
		}
		return err
	}))
	require.Greater(t, files, 50)
}
