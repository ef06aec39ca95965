package e2e

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// askedFor are tests that run only where somebody asks for them, which e2e/run does:
// what they lack is a wish, not a tool.
var askedFor = []string{"TestScale"}

// TestNothingIsSkippedInCI: a function that can skip a test asks whether this is CI,
// and fails there. A proof that is quietly not made is no proof.
func TestNothingIsSkippedInCI(t *testing.T) {
	t.Parallel()
	seen := 0
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && (name == "node_modules" || name == ".git"):
			return fs.SkipDir
		case entry.IsDir() || filepath.Ext(path) != ".go":
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		names, err := skipping(path, text)
		seen += len(names.all)
		for _, name := range names.quietly {
			if !slices.Contains(askedFor, name) {
				t.Errorf("%s: %s skips a test without asking for CI=true", path, name)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen == 0 {
		t.Error("no function that skips was found")
	}
	planted, err := skipping("planted.go", []byte("package p\nfunc f(t *testing.T) { t.Skipf(\"no\") }\n"))
	if err != nil || len(planted.quietly) != 1 {
		t.Errorf("a planted skip was not found: %v, %v", planted.quietly, err)
	}
}

// skips are names of functions that can skip a test, and of those that do it in CI too.
type skips struct{ all, quietly []string }

func skipping(path string, text []byte) (names skips, err error) {
	tree, err := parser.ParseFile(token.NewFileSet(), path, text, parser.SkipObjectResolution)
	if err != nil {
		return names, err
	}
	for _, d := range tree.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Body == nil || !callsSkip(f.Body) {
			continue
		}
		names.all = append(names.all, f.Name.Name)
		if !bytes.Contains(text[f.Pos()-tree.FileStart:f.End()-tree.FileStart], []byte(`os.Getenv("CI")`)) {
			names.quietly = append(names.quietly, f.Name.Name)
		}
	}
	return names, nil
}

// callsSkip reports whether a method Skip, Skipf or SkipNow is called.
func callsSkip(body ast.Node) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			method, ok := call.Fun.(*ast.SelectorExpr)
			found = found || ok && slices.Contains([]string{"Skip", "Skipf", "SkipNow"}, method.Sel.Name)
		}
		return !found
	})
	return found
}
