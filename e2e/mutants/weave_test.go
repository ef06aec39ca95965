package mutants_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// switchName is the environment variable that says which mutant runs.
const switchName = "MUTANT"

// weave puts mutants into the copy of the tree at dir, beside the code they
// spoil: a function with a mutant is there once more, spoiled, and the first
// line of the original asks which of the two is to run. So all of them are
// compiled at once. It returns those that are in no function, or in one
// that cannot be called from its own first line.
func weave(dir string, all []mutant) (alone []mutant, err error) {
	files := map[string][]int{}
	for i, m := range all {
		files[m.file] = append(files[m.file], i)
	}
	packages := map[string]string{} // directory to name
	for name, mutants := range files {
		if path.Ext(name) != ".go" {
			for _, i := range mutants {
				alone = append(alone, all[i])
			}
			continue
		}
		f, err := openSource(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		for _, i := range mutants {
			switch woven, err := f.add(i, all[i]); {
			case err != nil:
				return nil, fmt.Errorf("%s: %w", all[i].guard, err)
			case !woven:
				alone = append(alone, all[i])
			}
		}
		if len(f.inserts) == 0 {
			continue
		}
		packages[path.Dir(name)] = f.tree.Name.Name
		if err := f.save(); err != nil {
			return nil, err
		}
	}
	for at, name := range packages {
		text := fmt.Sprintf("package %s\n\nimport \"os\"\n\nvar mutant__ = os.Getenv(%q)\n", name, switchName)
		if err := os.WriteFile(filepath.Join(dir, at, "mutant__.go"), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return alone, nil
}

// source is a file that mutants are woven into.
type source struct {
	path    string
	text    string
	tree    *ast.File
	at      func(token.Pos) int
	inserts []insert
	twins   strings.Builder // the spoiled functions
}

type insert struct {
	at   int
	text string
}

func openSource(path string) (*source, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	tree, err := parser.ParseFile(set, path, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	return &source{path: path, text: string(text), tree: tree, at: func(p token.Pos) int { return set.Position(p).Offset }}, nil
}

// add weaves one mutant in, if it can be.
func (f *source) add(number int, m mutant) (woven bool, err error) {
	from, err := m.place(f.text)
	if err != nil {
		return false, err
	}
	to := from + len(m.old)
	for _, d := range f.tree.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil || from <= f.at(fn.Body.Lbrace) || to > f.at(fn.End()) {
			continue
		}
		suffix := fmt.Sprintf("__%d", number)
		call, ok := callOf(fn, suffix)
		if !ok {
			return false, nil
		}
		f.inserts = append(f.inserts, insert{f.at(fn.Body.Lbrace) + 1, fmt.Sprintf(" if mutant__ == %q { %s };", m.guard, call)})
		name := f.at(fn.Name.End())
		f.twins.WriteString("\n" + f.text[f.at(fn.Pos()):name] + suffix + f.text[name:from] + m.new + f.text[to:f.at(fn.End())] + "\n")
		return true, nil
	}
	return false, nil
}

// callOf calls the spoiled twin of a function with what the function was called
// with.
func callOf(fn *ast.FuncDecl, suffix string) (call string, ok bool) {
	name := fn.Name.Name + suffix
	if fn.Type.TypeParams != nil {
		return "", false
	}
	if fn.Recv != nil {
		receiver := fn.Recv.List[0].Names
		if len(receiver) == 0 || receiver[0].Name == "_" {
			return "", false
		}
		name = receiver[0].Name + "." + name
	}
	var args []string
	for _, p := range fn.Type.Params.List {
		dots := ""
		if _, variadic := p.Type.(*ast.Ellipsis); variadic {
			dots = "..."
		}
		if len(p.Names) == 0 {
			return "", false
		}
		for _, n := range p.Names {
			if n.Name == "_" {
				return "", false
			}
			args = append(args, n.Name+dots)
		}
	}
	call = name + "(" + strings.Join(args, ", ") + ")"
	if fn.Type.Results == nil {
		return call + "; return", true
	}
	return "return " + call, true
}

func (f *source) save() error {
	slices.SortStableFunc(f.inserts, func(a, b insert) int { return b.at - a.at }) // from the end: places stay true
	text := f.text
	for _, in := range f.inserts {
		text = text[:in.at] + in.text + text[in.at:]
	}
	return os.WriteFile(f.path, []byte(text+f.twins.String()), 0o600)
}
