package mutants_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
)

// mutant is one guard switched off.
type mutant struct {
	guard    string // the subtest's name
	file     string
	old, new string
	pkg      string // where the test is
	test     string // the test that must go red; parts of a subtest's name after /
}

// errSkipped: the named test needs something that is not here.
var errSkipped = errors.New("its test is skipped here")

// TestMutants applies every mutant to a copy of the tree.
func TestMutants(t *testing.T) {
	copies := make(chan string, runtime.NumCPU())
	for range cap(copies) {
		copies <- copyTree(t)
	}
	green := &baseline{copies: copies, seen: map[string]*verdict{}}
	var caught, skipped atomic.Int64
	t.Run("each", func(t *testing.T) {
		for _, m := range all {
			t.Run(m.guard, func(t *testing.T) {
				t.Parallel()
				switch err := green.check(m); {
				case errors.Is(err, errSkipped):
					skipped.Add(1)
					t.Skip(err)
				case err != nil:
					t.Fatal(err)
				}
				dir := <-copies
				defer func() { copies <- dir }()
				if err := m.run(dir); err != nil {
					t.Fatal(err)
				}
				caught.Add(1)
			})
		}
	})
	if n := skipped.Load(); n > 0 {
		t.Logf("%d mutants were not tried: their tests are skipped here", n)
	}
	fmt.Printf("%d of %d mutants caught\n", caught.Load(), int64(len(all))-skipped.Load())
}

// run applies the mutant, wants its test red, and takes the mutant back.
func (m mutant) run(dir string) (err error) {
	path := filepath.Join(dir, m.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := strings.Count(string(text), m.old); n != 1 {
		return fmt.Errorf("%s has the text of this mutant %d times, want once: has the guard moved?\n%s", m.file, n, m.old)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		return err
	}
	defer func() {
		if back := os.WriteFile(path, text, 0o600); err == nil {
			err = back
		}
	}()
	out, err := m.runTest(dir)
	switch {
	case err == nil:
		return fmt.Errorf("survived: %s of %s is green without the guard", m.test, m.pkg)
	// A mutant that does not compile would be red for nothing: no test of it says so.
	case !bytes.Contains(out, []byte("--- FAIL")) && !bytes.Contains(out, []byte("panic: ")):
		return fmt.Errorf("%s of %s did not run: %w\n%s", m.test, m.pkg, err, out)
	}
	return nil
}

func (m mutant) runTest(dir string) ([]byte, error) {
	var pattern []string
	for _, part := range strings.Split(m.test, "/") {
		pattern = append(pattern, "^"+part+"$")
	}
	out, err := goTool(dir, "test", "-v", "-vet=off", "-ldflags=-s -w", "-count=1", "-failfast", "-timeout", "5m", "-run", strings.Join(pattern, "/"), m.pkg)
	switch {
	case err == nil && bytes.Contains(out, []byte("no tests to run")):
		return out, fmt.Errorf("there is no test %s in %s", m.test, m.pkg)
	case err == nil && bytes.Contains(out, []byte("--- SKIP")):
		return out, errSkipped
	}
	return out, err
}

func goTool(dir string, args ...string) ([]byte, error) {
	cmd := exec.Command("go", args...)
	cmd.Dir = dir
	// One round is enough, and so is less patience: a mutant that makes a test
	// wait in vain is caught as well.
	cmd.Env = append(os.Environ(), "E2E_ROUNDS=1", "E2E_PATIENCE=20")
	return cmd.CombinedOutput()
}

// copyTree copies what git knows of the tree, and what it would be told of.
func copyTree(t *testing.T) string {
	t.Helper()
	root := filepath.Join("..", "..")
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = root
	out, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	dir := t.TempDir()
	for _, name := range strings.Split(strings.Trim(string(out), "\x00"), "\x00") {
		from, to := filepath.Join(root, name), filepath.Join(dir, name)
		info, err := os.Lstat(from)
		if os.IsNotExist(err) || err == nil && !info.Mode().IsRegular() {
			continue // deleted and not yet committed; a link
		}
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, text, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
