package journal_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pannier/journal"
)

// TestNamesAreSynced: a power cut takes back the name of a file whose directory was not synced.
// So the mark, once it is renamed, is followed by a sync of its directory, and the first commit to
// a log, before anybody hears of it, by one of the store's.
func TestNamesAreSynced(t *testing.T) {
	const env = "JOURNAL_UNDER_TRACE"
	if dir := os.Getenv(env); dir != "" {
		w := &world{T: t, dir: dir}
		w.open(journal.Options{})
		w.accept()
		return
	}
	t.Parallel()
	strace, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("needs strace")
		}
		t.Skip("needs strace")
	}
	dir := filepath.Join(t.TempDir(), "journal")
	cmd := exec.Command(strace, "-f", "-y", "-qq", "-e", "trace=openat,fsync,fdatasync,/^rename", os.Args[0], "-test.run=^TestNamesAreSynced$")
	cmd.Env = append(os.Environ(), env+"="+dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	trace, synced := string(out), `fsync\(\d+<%s>`
	for _, row := range []struct{ what, from, until, dir string }{
		{"the mark", `rename.*"` + dir + `/journal.hwm"`, `rename|\z`, dir},
		{"the log", `openat\(.*00001.mem>`, `fdatasync\(\d+<.*00001.mem>`, filepath.Join(dir, "store")},
	} {
		n := 0
		for _, at := range regexp.MustCompile(row.from).FindAllStringIndex(trace, -1) {
			rest := trace[at[1]:]
			if end := regexp.MustCompile(row.until).FindStringIndex(rest); end != nil {
				rest = rest[:end[0]]
			}
			if n++; !regexp.MustCompile(fmt.Sprintf(synced, row.dir)).MatchString(rest) {
				t.Errorf("%s: no sync of %s in\n%s", row.what, row.dir, rest[:min(len(rest), 2000)])
			}
		}
		if n == 0 {
			t.Errorf("%s: nothing of it in\n%s", row.what, strings.Join(strings.SplitAfter(trace, "\n")[:50], ""))
		}
	}
}
