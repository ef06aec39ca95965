package journal_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// A MANIFEST that is lost, or a part of it, costs nothing: nobody starts while it may be that
// Badger deletes what it does not name, and a start that accepts the loss names all there is.
func TestAcceptLossOfTheManifest(t *testing.T) {
	t.Parallel()
	whole := setup(t)
	whole.accept()
	whole.reopen()
	// What the newer table deletes and replaces does not come back.
	h := whole.local(time.Minute)
	whole.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
	for range 3 {
		whole.accept()
	}
	if err := whole.j.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(whole.dir, "store", "MANIFEST"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		damage string
		is     []byte // nil: it is gone
		words  string
	}{
		{"it is gone", nil, "MANIFEST is gone"},
		{"it is empty", make([]byte, 0, 1), "MANIFEST does not begin as one"},
		{"a bit of what it begins with", append([]byte{b[0] ^ 1}, b[1:]...), "MANIFEST does not begin as one"},
		{"a bit of its end", append(b[:len(b)-1:len(b)-1], b[len(b)-1]^1), "the checksum of a record in MANIFEST is wrong"},
		{"its last byte is gone", b[:len(b)-1], "MANIFEST is short"},
		{"all its records are gone", b[:8], "MANIFEST is short"},
		{"all but its first record are gone", b[:16], "MANIFEST is short"},
		{"it has a record twice", slices.Concat(b, b[16:]), "the store cannot use MANIFEST"},
		{"there is more behind it", append(b[:len(b):len(b)], "something else"...), "the store cannot use MANIFEST"},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			w := whole.copied(t)
			path := filepath.Join(w.dir, "store", "MANIFEST")
			err := os.WriteFile(path, c.is, 0o600)
			if c.is == nil {
				err = os.Remove(path)
			}
			if err != nil {
				t.Fatal(err)
			}
			before := contents(t, filepath.Join(w.dir, "store"))
			w.wantDamage(c.words)
			if after := contents(t, filepath.Join(w.dir, "store")); after != before {
				t.Fatalf("a start that was refused has changed\n%s\nto\n%s", before, after)
			}
			report, err := journal.Verify(w.dir)
			if err != nil || len(report.Damages) != 1 || !strings.Contains(report.Damages[0].What, c.words) || report.Intents != 4 || report.Live != 3 {
				t.Errorf("verify: %+v, %v; want one damage, %q, and 4 intents, 3 of them live", report, err, c.words)
			}
			// A start before has come as far as to put what it merged beside the rest, or not so far.
			table, err := os.ReadFile(filepath.Join(w.dir, "store", "000001.sst"))
			if err := errors.Join(err, os.WriteFile(filepath.Join(w.dir, "store", "000008.sst"), table, 0o600), os.WriteFile(filepath.Join(w.dir, "store", "000011.sst.anew"), table, 0o600)); err != nil {
				t.Fatal(err)
			}
			if gone := w.goOn(); len(gone) > 0 || len(w.due()) != 3 || w.status(h.ID) != state.Completed {
				t.Errorf("%v are gone, and %d are due: %s", gone, len(w.due()), w.j.Stats().Loss)
			}
			if said := w.j.Stats().Loss; !strings.Contains(said, c.words) || !strings.HasSuffix(said, ": made anew of all tables that are there") || strings.Contains(said, "; ") {
				t.Errorf("said to be lost: %q", said)
			}
			if left, _ := filepath.Glob(filepath.Join(w.dir, "store", "*.anew")); len(left) > 0 {
				t.Errorf("%v are left", left)
			}
			kept, _ := filepath.Glob(filepath.Join(w.dir, "lost", "MANIFEST-*", "MANIFEST"))
			if len(kept) != min(1, cap(c.is)) {
				t.Errorf("kept are %v", kept)
			}
			w.holds()
			w.reopen()
			w.holds()
		})
	}
}

// Without MANIFEST each table that is there is looked at, and made anew where it is damaged.
func TestManifestBesideADamagedTable(t *testing.T) {
	t.Parallel()
	w, _, _ := halves(t)
	w.wrongBit("000001.sst", 100)
	if err := os.Remove(filepath.Join(w.dir, "store", "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	w.wantDamage("MANIFEST is gone, and tables or logs are there; table 000001.sst: the checksum of block 0 is wrong")
	w.goOn()
	if said := w.j.Stats().Loss; !strings.Contains(said, "table 000001.sst: the checksum of block 0 is wrong: made anew without 1 of its keys") {
		t.Errorf("said to be lost: %q", said)
	}
	w.holds()
}

// Tables that nobody names are what a crash leaves, or what a MANIFEST that has lost its end
// named: then each start that would delete them is refused.
func TestTablesThatNobodyNames(t *testing.T) {
	t.Parallel()
	w, _, _ := halves(t)
	w.open(journal.Options{})
	w.accept()
	killed := t.TempDir()
	if err := journal.CopyStopped(w.dir, killed); err != nil {
		t.Fatal(err)
	}
	flushed := filepath.Join(t.TempDir(), "flushed")
	if err := journal.Flushed(killed, flushed); err != nil {
		t.Fatal(err)
	}
	read := func(path string) []byte {
		t.Helper()
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	table := read(flushed)
	first := read(filepath.Join(killed, "store", "000001.sst"))
	for _, c := range []struct {
		what   string
		change func(store string) error
		words  string // that a start is refused with; empty: it is not
	}{
		{"one that was about to be named", func(store string) error { return os.WriteFile(filepath.Join(store, "000009.sst"), table, 0o600) }, ""},
		{"a half of one", func(store string) error {
			return os.WriteFile(filepath.Join(store, "000009.sst"), table[:len(table)/2], 0o600)
		}, ""},
		{"one that was replaced", func(store string) error { return os.WriteFile(filepath.Join(store, "000009.sst"), first, 0o600) }, ""},
		{"one that was replaced, beside a damaged one", func(store string) error {
			return errors.Join(removeLogs(store), os.WriteFile(filepath.Join(store, "000009.sst"), table, 0o600),
				os.WriteFile(filepath.Join(store, "000002.sst"), first[:len(first)/2], 0o600))
		}, "is damaged: table 000002.sst"},
		{"one whose log is gone", func(store string) error {
			return errors.Join(removeLogs(store), os.WriteFile(filepath.Join(store, "000009.sst"), table, 0o600))
		}, "it does not name 000009.sst"},
		{"one after those that are gone", func(store string) error {
			b := read(filepath.Join(store, "MANIFEST"))
			return errors.Join(removeLogs(store), os.Remove(filepath.Join(store, "000001.sst")),
				os.WriteFile(filepath.Join(store, "MANIFEST"), b[:8+8+8+binary.BigEndian.Uint32(b[16:])], 0o600))
		}, "it does not name 000002.sst, and names 000001.sst, which is not there"},
		{"one of an older time after those that are gone", func(store string) error {
			return os.Rename(filepath.Join(store, "000001.sst"), filepath.Join(store, "000009.sst"))
		}, "it does not name 000009.sst, and names 000001.sst, which is not there"},
		{"one before the log", func(store string) error {
			b := read(filepath.Join(store, "MANIFEST"))
			return os.WriteFile(filepath.Join(store, "MANIFEST"), b[:8+8+8+binary.BigEndian.Uint32(b[16:])], 0o600)
		}, "it does not name 000002.sst"},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			w := &world{T: t, dir: t.TempDir()}
			if err := journal.CopyStopped(killed, w.dir); err != nil {
				t.Fatal(err)
			}
			if err := c.change(filepath.Join(w.dir, "store")); err != nil {
				t.Fatal(err)
			}
			if c.words != "" {
				w.wantDamage(c.words)
				return
			}
			w.open(journal.Options{})
			if got := len(w.due()); got != 7 {
				t.Errorf("%d are due, want 7", got)
			}
			w.holds()
		})
	}
}

func removeLogs(store string) error {
	logs, err := filepath.Glob(filepath.Join(store, "*.mem"))
	for _, l := range logs {
		err = errors.Join(err, os.Remove(l))
	}
	return err
}
