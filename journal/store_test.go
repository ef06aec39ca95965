package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"

	"pannier/journal"
	"pannier/journal/journaltest"
)

// The store compacts by itself, wherever its journal is; but in a bubble of fake time, as tests
// open it there, it does not, and waits for no compaction either.
func TestStoreOfABubble(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, open func(journal.Options) (*journal.Journal, error), compacts bool) {
		t.Helper()
		j, err := open(journal.Options{Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		compactors, stalls := j.Compactors(), j.StallsAt() < 100
		if compactors > 0 != compacts || stalls != compacts {
			t.Errorf("%d compactors, stalls: %v; want both: %v", compactors, stalls, compacts)
		}
	}
	open(t, journal.Open, true)
	open(t, journaltest.Open, true)
	synctest.Test(t, func(t *testing.T) {
		open(t, journal.Open, true)
		open(t, journaltest.Open, false)
	})
}

// Badger's next memtable is found wherever one or more have come, and only there.
func TestMemtableAfter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, row := range []struct {
		add       []string
		was, want int
	}{
		{nil, 0, 0},
		{[]string{"00001.mem"}, 0, 1},
		{[]string{"00002.mem", "00003.mem"}, 1, 3},
		{[]string{"00003.sst", "000004.vlog"}, 3, 3},
		{[]string{"99999.mem", "100000.mem"}, 99998, 100000},
	} {
		for _, name := range row.add {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := journal.MemtableAfter(dir, row.was); err != nil || got != row.want {
			t.Errorf("after %v came: %d, %v; want %d", row.add, got, err, row.want)
		}
	}
}

// The log that commits go to is the newest one, whatever else is there.
func TestNewestMemtable(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, row := range []struct {
		name string
		want int
	}{
		{"MANIFEST", 0}, {"00007.mem", 7}, {"00003.mem", 7}, {"00009.sst", 7}, {"old.mem", 7}, {"100000.mem", 100000}, {"99999.mem", 100000},
	} {
		if err := os.WriteFile(filepath.Join(dir, row.name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := journal.NewestMemtable(dir); err != nil || got != row.want {
			t.Errorf("with %s: %d, %v; want %d", row.name, got, err, row.want)
		}
	}
	if _, err := journal.NewestMemtable(filepath.Join(dir, "none")); err == nil {
		t.Error("a directory that cannot be read has a newest log")
	}
}

// What Badger only logs of a disk that fails stops the journal; what else it logs is told.
func TestTripwire(t *testing.T) {
	t.Parallel()
	for line, stops := range map[string]bool{
		"Error while curlf sync: input/output error":                   true,
		"error flushing memtable to disk: no space left, retrying":     true,
		"[Compactor: 1] LOG Compact FAILED with error: too many files": true,
		"while deleting file: 000003.sst, error: permission denied":    true,
		"Got error: input/output error":                                true,
		"Block cache might be too small":                               false,
	} {
		var failed, told []string
		log := journal.Tripwire(func(err error) { failed = append(failed, err.Error()) }, func(s string) { told = append(told, s) })
		for level, say := range map[string]func(string, ...any){"an error": log.Errorf, "a warning": log.Warningf} { // a compaction that fails is the latter
			failed, told = nil, nil
			say("%s\n", line)
			if stops != (len(failed) == 1) || stops == (len(told) == 1) {
				t.Errorf("%s, %q: failed with %q, told %q", level, line, failed, told)
			}
		}
	}
}

// The store of a journal that is open logs to it.
func TestStoreLogsToTheJournal(t *testing.T) {
	t.Parallel()
	w := setup(t)
	before := w.j.Stats().Warnings
	w.j.StoreLogs("Block cache might be too small")
	if n := w.j.Stats().Warnings - before; n != 1 {
		t.Errorf("of one warning of the store %d are counted", n)
	}
	w.j.StoreLogs("while deleting file: 000003.sst, error: permission denied")
	if _, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope()}}); !errors.Is(err, journal.ErrFailed) {
		t.Errorf("accepted by a store that says that it has failed: %v", err)
	}
}

// An open that only looks compacts nothing: that would make a damage larger.
func TestLookCompactsNothing(t *testing.T) {
	t.Parallel()
	if n := journal.LookOptions(t.TempDir()).NumCompactors; n != 0 {
		t.Errorf("it has %d compactors", n)
	}
}
