package journal_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
)

func (w *world) wantSchema(when string, want uint32) {
	w.Helper()
	if got, err := w.j.SchemaNumber(); err != nil || got != want {
		w.Errorf("%s: the journal says that it is of schema %d, %v; want %d", when, got, err, want)
	}
}

// TestSchemaOfABase: a program that knows of no base would send a home reports under wrong
// numbers. It refuses a journal from the first base on, and no other; what has one of before that
// was written down is found at the next start.
func TestSchemaOfABase(t *testing.T) {
	t.Parallel()
	w := setup(t)
	ctx := t.Context()
	home := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	saw := func() {
		t.Helper()
		if _, err := w.j.SawHome(ctx, home, "127.0.0.1:1", nil); err != nil {
			t.Fatal(err)
		}
	}
	saw()
	home.Epoch++
	saw()
	w.wantSchema("with a home of a new epoch that has acked nothing", 2)
	w.held(home, "orders", time.Hour, nil)
	if err := w.j.AckReports(ctx, home.Journal, 1, nil); err != nil {
		t.Fatal(err)
	}
	w.wantSchema("with an ack", 2)
	home.Epoch++
	saw()
	w.wantSchema("with a base", 3)
	w.reopen()
	w.wantSchema("after a start", 3)
	if err := w.j.WriteSchema(2); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	w.wantSchema("with a base of before the schema", 3)
	if err := w.j.WriteSchema(4); err != nil {
		t.Fatal(err)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.wantDamage("written by a newer version (schema 4, this program knows 3)")
}

// TestMarkOfAnotherJournal: a mark says nothing about a store that it was not written beside.
func TestMarkOfAnotherJournal(t *testing.T) {
	t.Parallel()
	other, w := setup(t), setup(t)
	w.accept()
	for _, one := range []*world{other, w} {
		if err := one.j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	mark, err := os.ReadFile(filepath.Join(other.dir, "journal.hwm"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "journal.hwm"), mark, 0o600); err != nil {
		t.Fatal(err)
	}
	w.wantDamage("is that of journal")
}

// TestStoreOfAnotherHistory: a copy that went on elsewhere may have come to the same batch, and have
// in it what was never acknowledged here. A mark of before it said what lives is read all the same.
func TestStoreOfAnotherHistory(t *testing.T) {
	t.Parallel()
	w, copied := setup(t), &world{T: t, dir: t.TempDir()}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := journal.CopyStopped(w.dir, copied.dir); err != nil {
		t.Fatal(err)
	}
	for _, one := range []*world{w, copied} {
		one.open(journal.Options{})
		one.accept()
		if err := one.j.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := w.j.Stats().Seq, copied.j.Stats().Seq; a != b {
		t.Fatalf("they have come to batches %d and %d", a, b)
	}
	path := filepath.Join(w.dir, "journal.hwm")
	mark, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	w.replaceStore(copied.dir)
	w.wantDamage("another live set than was acknowledged")
	if r, err := journal.Verify(w.dir); err != nil || !slices.ContainsFunc(r.Damages, func(d journal.Damage) bool { return d.Kind == journal.LostBatches }) {
		t.Errorf("verify: %v, %q, want it to say that batches are lost", err, r.Damages)
	}
	for of, row := range map[string]struct {
		mark []byte
		o    journal.Options
	}{
		"of before":          {regexp.MustCompile(`,"live":"[^"]*"`).ReplaceAll(mark, nil), journal.Options{}},
		"with loss accepted": {mark, journal.Options{AcceptLoss: true}},
	} {
		other := &world{T: t, dir: t.TempDir()}
		if err := journal.CopyStopped(w.dir, other.dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(other.dir, "journal.hwm"), row.mark, 0o600); err != nil {
			t.Fatal(err)
		}
		other.open(row.o)
		if other.accept(); of == "of before" == (other.j.Stats().Identity.Epoch != w.j.Stats().Identity.Epoch) {
			t.Errorf("a mark %s begins epoch %d", of, other.j.Stats().Identity.Epoch)
		}
		other.whole()
	}
	wrong := regexp.MustCompile(`("live":"[^"]*)."`).ReplaceAll(mark, []byte(`${1}x"`))
	if err := os.WriteFile(path, wrong, 0o600); err != nil {
		t.Fatal(err)
	}
	w.wantDamage("the high-water mark")
}

// TestOwnersOfUnknownBoot: where neither kernel says which it is they are not taken for one.
func TestOwnersOfUnknownBoot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		for _, asks := range []bool{false, true} {
			began := time.Now()
			if err := journal.TakeFrom(dir, ""); err != nil {
				t.Fatal(err)
			}
			if asked := time.Since(began) > 0; asked != asks {
				t.Errorf("who had the journal was asked: %t, want %t", asked, asks)
			}
		}
	})
}
