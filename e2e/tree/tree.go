// Package tree copies the source, for tests that build it at another place.
package tree

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Copy copies to a directory what git knows of the tree at another, and what it would
// be told of: files alone. It returns the directory, which it makes.
func Copy(t testing.TB, from, to string) string {
	t.Helper()
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = from
	out, err := list.Output()
	if err != nil {
		t.Fatalf("git ls-files: %v", err)
	}
	for _, name := range strings.Split(strings.Trim(string(out), "\x00"), "\x00") {
		was, is := filepath.Join(from, name), filepath.Join(to, name)
		info, err := os.Lstat(was)
		if os.IsNotExist(err) || err == nil && !info.Mode().IsRegular() {
			continue // deleted and not yet committed; a link
		}
		text, err := os.ReadFile(was)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(is), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(is, text, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	return to
}
