package mutants_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"pannier/e2e/tree"
)

// mutant is one guard switched off.
type mutant struct {
	guard    string // the subtest's name
	file     string
	old, new string
	pkg      string // where the test is
	test     string // the test that must go red; parts of a subtest's name after /
	hangs    bool   // without the guard the test waits until it is out of patience
}

// root is the top of the repository.
var root = filepath.Join("..", "..")

// errSkipped: the named test needs something that is not here. errSurvived: it is green
// with the mutant.
var (
	errSkipped  = errors.New("its test is skipped here")
	errSurvived = errors.New("survived")
)

// triesMost is how often a mutant that survives is run. Some guards are missed only by
// who is in time, on a busy machine not in each run; the last line says how many.
const triesMost = 3

// TestMutants runs every mutant: those that could be woven in from one build, each
// of the others from a build of its own.
func TestMutants(t *testing.T) {
	w := &woven{dir: tree.Copy(t, root, t.TempDir()), bin: t.TempDir(), once: map[string]*outcome{}, passed: map[string]map[string]bool{}}
	alone, err := weave(w.dir, all)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(flag.Lookup("test.run").Value.String(), "/") { // all of them, not some
		if err := w.prepare(all); err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			// It takes next to nothing but time: begun in its turn, it would be waited for when all
			// others are done. Its own subtest waits for it.
			if m.hangs && !slices.Contains(alone, m) {
				go w.try(m)
			}
		}
	}
	spoil := make(chan string, 1)
	spoil <- tree.Copy(t, root, t.TempDir())
	var caught, skipped atomic.Int64
	t.Run("each", func(t *testing.T) {
		for _, m := range all {
			t.Run(m.guard, func(t *testing.T) {
				t.Parallel()
				var err error
				if slices.Contains(alone, m) {
					if err = w.green(m); err == nil {
						err = m.aloneIn(spoil)
					}
				} else {
					err = w.try(m)
				}
				switch {
				case errors.Is(err, errSkipped) && os.Getenv("CI") != "true":
					skipped.Add(1)
					t.Skip(err)
				case err != nil:
					t.Fatal(err)
				}
				caught.Add(1)
			})
		}
	})
	if n := skipped.Load(); n > 0 {
		t.Logf("%d mutants were not tried: their tests are skipped here", n)
	}
	fmt.Printf("%d of %d mutants caught, %d of them not by the first run\n", caught.Load(), int64(len(all))-skipped.Load(), w.again.Load())
}

// place finds the text of the mutant.
func (m mutant) place(text string) (int, error) {
	if n := strings.Count(text, m.old); n != 1 {
		return 0, fmt.Errorf("%s has the text of this mutant %d times, want once: has the guard moved?\n%s", m.file, n, m.old)
	}
	return strings.Index(text, m.old), nil
}

// aloneIn applies the mutant to a copy of the tree, wants its test red, and takes the
// mutant back.
func (m mutant) aloneIn(copies chan string) (err error) {
	dir := <-copies
	defer func() { copies <- dir }()
	path := filepath.Join(dir, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if _, err := m.place(string(text)); err != nil {
		return err
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		return err
	}
	defer func() {
		if back := os.WriteFile(path, text, 0o600); err == nil {
			err = back
		}
	}()
	cmd := exec.Command("go", append(append([]string{"test", "-vet=off", "-ldflags=-s -w"}, m.flags("-")...), m.pkg)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), hurried...)
	return m.judge(m.ran(cmd))
}

// judge wants the test red.
func (m mutant) judge(out []byte, err error) error {
	switch {
	case err == nil:
		return fmt.Errorf("%w: %s of %s is green without the guard", errSurvived, m.test, m.pkg)
	// A mutant that does not compile would be red for nothing: no test of it says so.
	case !bytes.Contains(out, []byte("--- FAIL")) && !bytes.Contains(out, []byte("panic: ")):
		return fmt.Errorf("%s of %s did not run: %w\n%s", m.test, m.pkg, err, out)
	}
	return nil
}

// hurried: one round is enough, and so is less patience: a mutant that makes a
// test wait in vain is caught as well.
var hurried = []string{"E2E_ROUNDS=1", "E2E_PATIENCE=20"}

// flags are those of a run of the mutant's test.
func (m mutant) flags(prefix string) []string {
	var pattern []string
	for _, part := range strings.Split(m.test, "/") {
		pattern = append(pattern, "^"+part+"$")
	}
	patience := "90s" // of a test that hangs with its mutant
	if m.pkg == inE2E || m.guard == "" {
		patience = "5m"
	}
	return []string{prefix + "v", prefix + "count=1", prefix + "failfast", prefix + "timeout=" + patience, prefix + "run=" + strings.Join(pattern, "/")}
}

// ran runs a test and says what became of it.
func (m mutant) ran(cmd *exec.Cmd) ([]byte, error) {
	out, err := cmd.CombinedOutput()
	switch {
	case err == nil && bytes.Contains(out, []byte("no tests to run")):
		return out, fmt.Errorf("there is no test %s in %s", m.test, m.pkg)
	case err == nil && bytes.Contains(out, []byte("--- SKIP")):
		return out, errSkipped
	}
	return out, err
}
