package mutants_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
)

// woven is the copy of the tree that has all mutants in it, and the programs
// built from it, each when it is first asked for.
type woven struct {
	dir, bin string

	mu   sync.Mutex
	once map[string]*outcome
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
	out := filepath.Join(w.bin, strings.ReplaceAll(filepath.Base(pkg), "/", "-")+".test")
	return out, w.first("build "+pkg, func() error {
		return goBuild(w.dir, "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", out, pkg)
	})
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
		out, err := w.run(m, "")
		if err != nil && !errors.Is(err, errSkipped) {
			return fmt.Errorf("%s of %s is red without a mutant: %w\n%s", m.test, m.pkg, err, out)
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
