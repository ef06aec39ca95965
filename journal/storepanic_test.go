package journal_test

import (
	"errors"
	"os"
	"strings"
	"testing"

	"pannier/journal"
)

// A table of which a sector is zero while it is in use stops the journal, whoever comes by, and the
// next start says which it is. An intent is not to blame.
func TestTableThatGoesBadInUse(t *testing.T) {
	t.Parallel()
	for name, read := range map[string]func(*world) error{
		"a reader":  func(w *world) error { _, _, err := w.j.List(journal.Filter{Limit: 100}); return err },
		"the scrub": func(w *world) error { return w.j.Scrub(w.Context()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			w.acceptMany(50, `{}`)
			w.reopen()
			f, err := os.OpenFile(tablesOf(t, w.dir)[0], os.O_WRONLY, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.WriteAt(make([]byte, 16<<10), 0); err != nil {
				t.Fatal(err)
			}
			if err := read(w); err == nil {
				t.Error("it is read all the same")
			}
			var damage *journal.DamageError
			if err := w.j.Err(); !errors.As(err, &damage) || !strings.Contains(err.Error(), "in its store") {
				t.Errorf("the journal goes on, or stops for %v", err)
			}
			if got := w.j.Stats(); got.Faults != 0 {
				t.Errorf("%d intents are to blame", got.Faults)
			}
			w.j.Abandon()
			w.wantDamage("table 000001.sst: the checksum of block 0 is wrong")
		})
	}
}

// A panic of ours while something is read is none of the store's.
func TestPanicOfOursIsNotTheStores(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	func() {
		defer func() {
			if recover() != "ours" {
				t.Error("it was taken for the store's")
			}
		}()
		_, _, _ = w.j.List(journal.Filter{Limit: 1, Keep: func(*journal.Intent) bool { panic("ours") }})
	}()
	if err := w.j.Err(); err != nil {
		t.Errorf("the journal stops for it: %v", err)
	}
	w.whole()
}
