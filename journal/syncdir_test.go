package journal_test

import (
	"bytes"
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
// a log, before anybody hears of it, by one of the store's. The mark that says that all was closed
// is the last, after the table of what was in the log.
func TestNamesAreSynced(t *testing.T) {
	const env = "JOURNAL_UNDER_TRACE"
	if dir := os.Getenv(env); dir != "" {
		w := &world{T: t, dir: dir}
		w.open(journal.Options{})
		w.accept()
		return
	}
	dir := filepath.Join(t.TempDir(), "journal")
	trace, synced := traced(t, env+"="+dir), `fsync\(\d+<%s>`
	if table, mark := strings.LastIndex(trace, "000001.sst"), strings.LastIndex(trace, `/journal.hwm"`); table < 0 || mark < table {
		t.Error("the journal says that it is closed before its store is")
	}
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

// needsStrace is for tests that run again under it.
func needsStrace(t *testing.T) (path string) {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err == nil {
		return path
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("needs strace")
	}
	t.Skip("needs strace")
	return ""
}

// traced runs a test again, with a variable set, and returns what it has opened, synced and renamed.
func traced(t *testing.T, env string) string {
	t.Helper()
	strace := needsStrace(t)
	cmd := exec.Command(strace, "-f", "-y", "-qq", "-e", "trace=openat,fsync,fdatasync,/^rename", os.Args[0], "-test.run=^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), env)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil { // before others run: a process that is forked has their locks for a moment
		t.Fatal(err)
	}
	t.Parallel()
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	return out.String()
}

// TestOriginalIsKeptBeforeItIsReplaced: a power cut leaves a damaged table in its place, or among
// what is kept: its name there is durable before the one that is made anew takes it over.
func TestOriginalIsKeptBeforeItIsReplaced(t *testing.T) {
	const env = "JOURNAL_TO_MEND"
	if dir := os.Getenv(env); dir != "" {
		w := &world{T: t, dir: dir}
		w.goOn()
		return
	}
	w, _, _ := halves(t)
	path := w.wrongBit("000001.sst", 100)
	trace := traced(t, env+"="+w.dir)
	renamed := regexp.MustCompile(`rename.*"` + path + `.anew"`).FindStringIndex(trace)
	if renamed == nil {
		t.Fatalf("nothing was made anew in\n%s", trace)
	}
	for _, dir := range []string{`/lost/000001\.sst-\d+`, "/lost"} {
		if !regexp.MustCompile(`fsync\(\d+<` + w.dir + dir + `>`).MatchString(trace[:renamed[0]]) {
			t.Errorf("%s is not synced before what is made anew is renamed", dir)
		}
	}
	// That there is a lost is synced, too, once for more than the file that says that a loss is accepted.
	noted := strings.Index(trace, `/journal.loss"`)
	if n := len(regexp.MustCompile(`fsync\(\d+<`+w.dir+`>`).FindAllString(trace[noted:renamed[0]], -1)); n < 2 {
		t.Errorf("the directory of the journal is synced %d times before what is made anew is renamed, want 2", n)
	}
}
