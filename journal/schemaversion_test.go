package journal_test

import (
	"os"
	"path/filepath"
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
