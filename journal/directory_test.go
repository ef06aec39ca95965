package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pannier/journal"
)

// A directory in place of a file is named as such by a start and by verify, and is kept like what
// is damaged.
func TestDirectoryInPlaceOfAFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"000001.sst", "00001.mem"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _, _ := halves(t)
			path := filepath.Join(w.dir, "store", name)
			if err := os.RemoveAll(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			const words = "it is a directory: move that away, and bring the file back"
			w.wantDamage(name + ": " + words)
			r, err := journal.Verify(w.dir)
			if err != nil || len(r.Damages) == 0 || !strings.HasSuffix(r.Damages[0].What, name+": "+words) {
				t.Errorf("verify: %v, %v", r.Damages, err)
			}
			w.goOn()
			if kept, _ := filepath.Glob(filepath.Join(w.dir, "lost", name+"-*", name)); len(kept) != 1 {
				t.Errorf("kept are %v", kept)
			}
			w.holds()
		})
	}
}

// One in place of a file on which nothing rests is said to be that, and costs nothing: not where it is
// moved away, nor where its loss is accepted. That of who has the journal is named by verify, too.
func TestDirectoryInPlaceOfASpareFile(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"store/DISCARD", "store/LOCK", "store/KEYREGISTRY", "store/000001.vlog", journal.OwnerName} {
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			w, older, newer := halves(t)
			path := filepath.Join(w.dir, name)
			if err := errors.Join(os.RemoveAll(path), os.Mkdir(path, 0o700)); err != nil {
				t.Fatal(err)
			}
			r, err := journal.Verify(w.dir)
			if err != nil || len(r.Damages) != 1 || r.Damages[0].Kind != journal.SpareFile || !strings.Contains(r.Damages[0].What, filepath.Base(name)) || r.Live != len(older)+len(newer) {
				t.Errorf("verify: %v, %+v; want it named, and the rest read", err, r)
			}
			if j, err := journal.Open(journal.Options{Dir: w.dir}); err == nil || !strings.Contains(err.Error(), filepath.Base(name)) || !strings.Contains(err.Error(), "is a directory") {
				t.Fatalf("opened: %v, %v; want what is a directory named", j, err)
			}
			if name == journal.OwnerName {
				if err := os.Remove(path); err != nil {
					t.Fatal(err)
				}
				w.open(journal.Options{})
			} else if gone := w.goOn(); len(gone) > 0 {
				t.Errorf("%v are gone", gone)
			}
			for _, id := range append(older, newer...) {
				w.status(id)
			}
			w.holds()
		})
	}
}

// One in place of the mark is to be removed, and no loss need be accepted for it.
func TestDirectoryInPlaceOfTheMark(t *testing.T) {
	t.Parallel()
	w, older, newer := halves(t)
	path := filepath.Join(w.dir, "journal.hwm")
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if r, err := journal.Verify(w.dir); err != nil || len(r.Damages) != 1 || r.Damages[0].Kind != journal.MarkGone || !strings.Contains(r.Damages[0].What, "is a directory: remove that") {
		t.Errorf("verify: %v, %+v; want to hear what to remove", err, r.Damages)
	}
	if j, err := journal.Open(journal.Options{Dir: w.dir}); err == nil || !strings.Contains(err.Error(), "is a directory: remove that") {
		t.Fatalf("opened: %v, %v; want to hear what to remove", j, err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	w.open(journal.Options{})
	for _, id := range append(older, newer...) {
		w.status(id)
	}
}
