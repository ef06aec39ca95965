package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// memoryGroup is a control group (version 1) that bounds what its processes have in
// memory: their own pages, and those of the files they read and write. A process that
// needs more than there is to be reclaimed is killed.
type memoryGroup struct{ dir string }

// newMemoryGroup makes one that allows so many bytes. Whoever is to be in it must be
// started by command.
func newMemoryGroup(t testing.TB, name string, limit int) *memoryGroup {
	t.Helper()
	need(t, true)
	const root = "/sys/fs/cgroup/memory"
	if _, err := os.Stat(filepath.Join(root, "memory.limit_in_bytes")); err != nil {
		lacks(t, "a memory controller of control groups, version 1, at "+root)
	}
	dir, err := os.MkdirTemp(root, "pannier-"+name+"-") // the kernel makes what is in it
	if err != nil {
		t.Fatal(err)
	}
	g := &memoryGroup{dir: dir}
	t.Cleanup(func() {
		eventually(t, "the control group to be empty", func() error { return syscall.Rmdir(dir) })
	})
	if err := os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte(strconv.Itoa(limit)), 0); err != nil {
		t.Fatal(err)
	}
	return g
}

// command is how to run something in the group, of which it is from its first page on. The
// process stays the same, so that a signal to it is one to what it runs.
func (g *memoryGroup) command(name string, args []string) (string, []string) {
	if g == nil {
		return name, args
	}
	return "sh", append([]string{"-c", `echo 0 > "$0" && exec "$@"`, filepath.Join(g.dir, "cgroup.procs"), name}, args...)
}

// kills is how many processes of the group were killed for want of memory.
func (g *memoryGroup) kills(t testing.TB) int { return g.field(t, "memory.oom_control", "oom_kill") }

// most is the most that its processes have had in memory, files and all.
func (g *memoryGroup) most(t testing.TB) int { return g.field(t, "memory.max_usage_in_bytes", "") }

// pressed is how often pages had to be reclaimed before there was another.
func (g *memoryGroup) pressed(t testing.TB) int { return g.field(t, "memory.failcnt", "") }

// field reads a number of a file: that behind a name, or the only one.
func (g *memoryGroup) field(t testing.TB, file, name string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(g.dir, file))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, name); ok {
			var n int
			if _, err := fmt.Sscan(rest, &n); err == nil {
				return n
			}
		}
	}
	t.Fatalf("%s has no %s", file, name)
	return 0
}
