package e2e_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// scratch holds the built binaries; the tests' own files are in t.TempDir.
var scratch string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pannier-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	scratch = dir
	// Most tests wait for a process most of the time: more of them than cores
	// may do so side by side.
	flag.Parse()
	flag.Set("test.parallel", fmt.Sprint(4*runtime.NumCPU()))
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// The binaries are built once, when the first test asks, so that a run of the
// checker's own tests alone builds nothing. E2E_BIN is a directory that has them.
var (
	plainBinary     = sync.OnceValues(func() (string, error) { return build("pannier") })
	failpointBinary = sync.OnceValues(func() (string, error) { return build("pannier-failpoint", "-tags", "failpoint,grpcnotrace") })
)

func build(name string, flags ...string) (string, error) {
	if dir := os.Getenv("E2E_BIN"); dir != "" {
		return filepath.Join(dir, name), nil // built by the caller
	}
	out := filepath.Join(scratch, name)
	args := append([]string{"build", "-o", out}, flags...)
	cmd := exec.Command("go", append(args, "./cmd/pannier")...)
	cmd.Dir = ".."
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, text)
	}
	return out, nil
}

// binary is the program a user runs: no tag, no race detector, no flag of the
// test's own.
func binary(t testing.TB) string {
	t.Helper()
	path, err := plainBinary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// need stops a test that lacks what it needs: in CI that is a failure, since a
// proof that is quietly not made is no proof.
func need(t testing.TB, root bool, tools ...string) {
	t.Helper()
	var missing []string
	if root && os.Geteuid() != 0 {
		missing = append(missing, "root")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			missing = append(missing, tool)
		}
	}
	if len(missing) > 0 {
		lacks(t, strings.Join(missing, ", "))
	}
}

// lacks stops a test that lacks something else.
func lacks(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("needs %s", what)
}

// number is a setting of a test, by the environment.
func number(t testing.TB, env string, otherwise int) int {
	t.Helper()
	text := os.Getenv(env)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", env, err)
	}
	return n
}
