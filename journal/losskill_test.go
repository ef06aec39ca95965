package journal_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pannier/journal"
	"pannier/journal/journaltest"
)

// TestAcceptLossKilledAtEachName: a start that accepts a loss and is killed at any of the names
// that it gives or takes away leaves what the next one needs: with that there is as much as without
// the kill, and it says all that was lost. A plain start between them is refused, or finds all done.
func TestAcceptLossKilledAtEachName(t *testing.T) {
	const env = "JOURNAL_TO_GO_ON_WITH"
	if dir := os.Getenv(env); dir != "" {
		runtime.LockOSThread() // strace counts calls by thread
		w := &world{T: t, dir: dir}
		w.goOn()
		return
	}
	strace := needsStrace(t)
	damaged, all := eachKindOfFileDamaged(t)
	ref := damaged.copied(t)
	ref.goOn()
	want := ref.left(all)
	killed := 0
	for _, call := range []string{"renameat", "linkat", "mkdirat", "unlinkat"} {
		for n := 1; ; n++ {
			w := &world{T: t, dir: t.TempDir()}
			if err := journal.CopyStopped(damaged.dir, w.dir); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command(strace, "-f", "-qq", "-o", "/dev/null", "-e", fmt.Sprintf("inject=%s:signal=KILL:when=%d", call, n), os.Args[0], "-test.run=^"+t.Name()+"$")
			cmd.Env = append(os.Environ(), env+"="+w.dir)
			out, err := cmd.CombinedOutput()
			if err == nil {
				break // it makes fewer of these calls
			}
			if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.Exited() {
				t.Fatalf("%v\n%s", err, out)
			}
			killed++
			w.goesOnAfterKill(fmt.Sprintf("killed at %s %d", call, n), all, want)
		}
	}
	if killed < 20 {
		t.Errorf("it was killed %d times", killed)
	}
}

// goesOnAfterKill starts a journal that was left so, and has it hold what is wanted.
func (w *world) goesOnAfterKill(at string, all []journal.ID, want string) {
	w.Helper()
	j, err := journaltest.Open(journal.Options{Dir: w.dir})
	if err == nil {
		w.j = j
		if got := w.left(all); got != want {
			w.Errorf("%s, a start that was not told to finds\n%swant\n%s", at, got, want)
		}
		w.whole()
		return
	}
	if !strings.Contains(err.Error(), "--accept-loss") {
		w.Errorf("%s, the next start says %v", at, err)
	}
	w.goOn()
	if got := w.left(all); got != want {
		w.Errorf("%s, there is left\n%swant\n%s", at, got, want)
	}
	for _, name := range []string{"MANIFEST", "table 000001.sst", "log 00001.mem"} {
		if said := w.j.Stats().Loss; !strings.Contains(said, name) {
			w.Errorf("%s, it is not said what was lost of %s: %q", at, name, said)
		}
	}
	w.holds()
	if left, _ := filepath.Glob(filepath.Join(w.dir, "store", "*.anew")); len(left) > 0 {
		w.Errorf("%s, %v are left", at, left)
	}
}

// eachKindOfFileDamaged is a journal that was killed, with a table and a log that have a wrong bit,
// and a MANIFEST that is cut short.
func eachKindOfFileDamaged(t *testing.T) (w *world, all []journal.ID) {
	t.Helper()
	live := setup(t)
	for range 2 {
		all = append(all, live.acceptMany(2, "some")...)
		live.reopen()
	}
	for range 3 {
		all = append(all, live.accept())
	}
	w = &world{T: t, dir: t.TempDir()}
	if err := journal.CopyStopped(live.dir, w.dir); err != nil {
		t.Fatal(err)
	}
	w.wrongBit("000001.sst", 100)
	w.wrongBit("00001.mem", 1500)
	if err := os.Truncate(filepath.Join(w.dir, "store", "MANIFEST"), 20); err != nil {
		t.Fatal(err)
	}
	w.wantDamage("log 00001.mem")
	return w, all
}
