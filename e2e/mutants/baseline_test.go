package mutants_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// woven is the copy of the tree that has all mutants in it, and the programs
// built from it, each when it is first asked for.
type woven struct {
	dir, bin string

	shared map[string][]string // by package, the tests to be run together without a mutant

	again atomic.Int64 // mutants that were not caught by the first run

	mu     sync.Mutex
	once   map[string]*outcome
	passed map[string]map[string]bool // by package, those that were green so
}

type outcome struct {
	once sync.Once
	err  error
}

// first does what is named once.
func (w *woven) first(what string, do func() error) error {
	w.mu.Lock()
	o := w.once[what]
	if o == nil {
		o = &outcome{}
		w.once[what] = o
	}
	w.mu.Unlock()
	o.once.Do(func() { o.err = do() })
	return o.err
}

// tests returns the test binary of a package.
func (w *woven) tests(pkg string) (string, error) {
	out := filepath.Join(w.bin, filepath.Base(pkg)+".test")
	return out, w.first("build "+pkg, func() error {
		return goBuild(w.dir, "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", out, pkg)
	})
}

// prepare is for a run of all mutants. It builds all test binaries by one command, so that
// what several of them need is compiled once, and not by each at the same time; and has the
// tests of a package share one process where no mutant runs. Those of real processes keep
// theirs: they would be in each other's way.
func (w *woven) prepare(all []mutant) error {
	var packages []string
	w.shared = map[string][]string{}
	for _, m := range all {
		if !slices.Contains(packages, m.pkg) {
			packages = append(packages, m.pkg)
		}
		if m.pkg != inE2E && regexp.QuoteMeta(m.test) == m.test && !strings.Contains(m.test, "/") {
			w.shared[m.pkg] = append(w.shared[m.pkg], m.test)
		}
	}
	build := []string{"test", "-c", "-vet=off", "-ldflags=-s -w", "-o", w.bin + "/"}
	if err := goBuild(w.dir, append(build, packages...)...); err != nil {
		return err
	}
	for _, pkg := range packages {
		w.first("build "+pkg, func() error { return nil })
	}
	return nil
}

// sidecars builds the programs that the tests of real processes start.
func (w *woven) sidecars() error {
	return w.first("sidecars", func() error {
		return errors.Join(
			goBuild(w.dir, "build", "-o", filepath.Join(w.bin, "pannier"), "./cmd/pannier"),
			goBuild(w.dir, "build", "-tags", "failpoint,grpcnotrace", "-o", filepath.Join(w.bin, "pannier-failpoint"), "./cmd/pannier"))
	})
}

func goBuild(dir string, args ...string) error {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// green says whether the test of a mutant passes while no mutant runs: one that
// is red anyway would catch everything.
func (w *woven) green(m mutant) error {
	return w.first("green "+m.pkg+" "+m.test, func() error {
		if w.together(m.pkg)[m.test] {
			return nil
		}
		out, err := w.run(m, "")
		if err != nil && !errors.Is(err, errSkipped) {
			return fmt.Errorf("%s of %s is red without a mutant: %w\n%s", m.test, m.pkg, err, out)
		}
		return err
	})
}

// together runs the shared tests of a package in one process, and returns which of them
// passed. Whatever was red or skipped in part is asked again alone.
func (w *woven) together(pkg string) (passed map[string]bool) {
	w.first("together "+pkg, func() error {
		names := w.shared[pkg]
		if len(names) == 0 {
			return nil
		}
		out, _ := w.run(mutant{pkg: pkg, test: "(" + strings.Join(names, "|") + ")"}, "") // it says of each what came of it
		passed := map[string]bool{}
		for line := range strings.Lines(string(out)) { // a test's line comes before those of its parts
			verdict, name, _ := strings.Cut(strings.TrimSpace(line), ": ")
			name, _, _ = strings.Cut(name, " ")
			switch name, part, _ := strings.Cut(name, "/"); {
			case verdict == "--- PASS" && part == "":
				passed[name] = true
			case verdict == "--- SKIP":
				delete(passed, name)
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.passed[pkg] = passed
		return nil
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed[pkg]
}

// try wants the test of a mutant green without it and red with it, once.
func (w *woven) try(m mutant) error {
	return w.first("try "+m.guard, func() error {
		err := w.green(m)
		if err != nil {
			return err
		}
		for runs := range triesMost {
			if err = m.judge(w.run(m, m.guard)); !errors.Is(err, errSurvived) {
				w.again.Add(int64(min(runs, 1)))
				break
			}
		}
		return err
	})
}

// run runs the test of a mutant; guard is the mutant that is switched on.
func (w *woven) run(m mutant, guard string) ([]byte, error) {
	binary, err := w.tests(m.pkg)
	if err == nil && m.pkg == inE2E {
		err = w.sidecars()
	}
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(binary, m.flags("-test.")...)
	cmd.Dir = filepath.Join(w.dir, m.pkg)
	cmd.Env = append(os.Environ(), hurried...)
	cmd.Env = append(cmd.Env, switchName+"="+guard, "E2E_BIN="+w.bin)
	return m.ran(cmd)
}
