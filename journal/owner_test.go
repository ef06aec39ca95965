package journal_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/journaltest"
)

// A journal on a volume that another host has mounted, too, is not taken from a process
// that lives.
func TestOwnerThatLivesKeepsTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		err := journal.TakeFrom(w.dir, "another boot")
		if err == nil || !strings.Contains(err.Error(), "in use on host") {
			t.Fatalf("taken from who has it: %v", err)
		}
		time.Sleep(time.Minute)
		if err := w.j.Err(); err != nil {
			t.Errorf("who has it stopped: %v", err)
		}
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		if err := journal.TakeFrom(w.dir, "another boot"); err != nil || time.Since(began) > 0 {
			t.Errorf("taken %s after it was closed: %v, want at once", time.Since(began), err)
		}
	})
}

// One that is gone is waited for, and the journal then taken.
func TestOwnerThatIsGoneLosesTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		id := w.accept()
		w.j.Abandon()
		if err := journal.TakeFrom(w.dir, "another boot"); err != nil {
			t.Fatalf("taken from who is gone: %v", err)
		}
		w.open(journal.Options{})
		w.status(id)
		w.j.Abandon()
		began := time.Now()
		w.open(journal.Options{})
		if took := time.Since(began); took > 0 {
			t.Errorf("a restart on the same host took %s longer", took)
		}
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// One that is asked and stops meanwhile is not gone for sure: its file is, and nobody has the journal.
// Who finds its own file gone writes it again; and a stop does not mind that it is.
func TestOwnerWhoseFileIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		path := filepath.Join(w.dir, journal.OwnerName)
		remove := func() {
			t.Helper()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
		}
		remove()
		time.Sleep(2 * time.Second)
		if _, err := os.Stat(path); err != nil || w.j.Err() != nil {
			t.Errorf("who has it does not say so again: %v, %v", err, w.j.Err())
		}
		remove()
		if err := w.j.Close(); err != nil {
			t.Errorf("it cannot be closed: %v", err)
		}
		if err := os.WriteFile(path, []byte(`{"version":1,"instance":"other","boot_id":"elsewhere"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		taken := make(chan error)
		go func() { taken <- journal.TakeFrom(w.dir, "another boot") }()
		time.Sleep(2 * time.Second)
		remove()
		if err := <-taken; err == nil || !strings.Contains(err.Error(), "in use on host") {
			t.Errorf("taken from one that has just stopped: %v, want to be told to try again", err)
		}
	})
}

// A process that stood still while another took the journal stops when it wakes.
func TestOwnerThatWakesStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		path := filepath.Join(w.dir, journal.OwnerName)
		if err := os.WriteFile(path, []byte(`{"version":1,"instance":"other","hostname":"elsewhere"}`), 0o600); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if err := w.j.Err(); err == nil || !strings.Contains(err.Error(), `host "elsewhere"`) {
			t.Errorf("it goes on: %v", err)
		}
		w.j.Abandon()
		if _, err := os.Stat(path); err != nil {
			t.Errorf("the file of the other: %v", err)
		}
	})
}

// A file that cannot be read is somebody's, and a start that is refused leaves none.
func TestOwnerFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(w.dir, journal.OwnerName)
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		w.open(journal.Options{})
		if time.Since(began) == 0 {
			t.Error("nobody was asked")
		}
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(w.dir, "store")); err != nil {
			t.Fatal(err)
		}
		w.wantDamage("its store is gone")
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("after a refusal the file is there: %v", err)
		}
	})
}

// Who has a journal must be known, and known to others: where the file cannot be read, or written,
// it may be in use, or be taken while it is.
func TestOwnerFileThatFails(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(dir string) error{
		"it cannot be read": func(dir string) error {
			return os.Symlink(journal.OwnerName, filepath.Join(dir, journal.OwnerName)) // to itself
		},
		"it cannot be written": func(dir string) error { return os.Mkdir(filepath.Join(dir, journal.OwnerName+".tmp"), 0o700) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			j, err := journaltest.Open(journal.Options{Dir: dir})
			if err == nil {
				j.Close()
				t.Fatal("opened, and nobody can know")
			}
			if !strings.Contains(err.Error(), "who has the journal") {
				t.Errorf("refused with %v", err)
			}
		})
	}
}
