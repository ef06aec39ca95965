package journal_test

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
)

// What is wrong in a table costs what it hits: a bit one entry, or two where it says where one
// ends, and a sector those in it. All others are as they were, and what was let go is gone.
func TestDamageOfATableCostsWhatItHits(t *testing.T) {
	t.Parallel()
	const most = 60 // of 240 intents: a sector has heads of so many
	w := &world{T: t, dir: t.TempDir()}
	before := map[journal.ID]state.Status{}
	note := func(gone bool) {
		t.Helper()
		list, _, err := w.j.List(journal.Filter{Limit: 1000})
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range list {
			if before[i.ID] = i.Status(); gone {
				before[i.ID] = state.None
			}
		}
	}
	payload := []byte(`{"x":"` + strings.Repeat("x", 3000) + `"}`)
	space := journal.Space{BallastBytes: -1}
	w.open(journal.Options{Space: space})
	w.traffic(60, payload)
	note(true)
	w.later(2*time.Second, journal.Options{Space: space, History: journal.History{HistoryBytes: 1}})
	w.later(0, journal.Options{Space: space})
	for range 120 {
		w.accept()
	}
	w.traffic(120, payload)
	note(false)
	if err := w.j.Close(); err != nil || len(before) != 300 {
		t.Fatal(len(before), err)
	}
	random := rand.New(rand.NewPCG(1, 7))
	for _, table := range tablesOf(t, w.dir) {
		whole, err := os.ReadFile(table)
		if err != nil {
			t.Fatal(err)
		}
		blocks := len(whole) * 9 / 10 // behind them is the index
		if blocks < 8<<10 {           // those of the start
			continue
		}
		for range 4 {
			at := random.IntN(blocks)
			w.damaged(table, func(b []byte) []byte { b[at] ^= 1 << random.IntN(8); return b }, before, 2)
		}
		at := random.IntN(blocks - 4096)
		w.damaged(table, func(b []byte) []byte { clear(b[at : at+4096]); return b }, before, most)
		w.damaged(table, func(b []byte) []byte { copy(b[at:], bytes.Repeat([]byte{0xa5}, 4096)); return b }, before, most)
		_, index, err := journal.TableEnds(table)
		if err != nil {
			t.Fatal(err)
		}
		at = int(index) + random.IntN(len(whole)-int(index))
		w.damaged(table, func(b []byte) []byte { b[at] ^= 1 << random.IntN(8); return b }, before, 0)
		w.damaged(table, func(b []byte) []byte { return b[:at] }, before, 0)
	}
}

func tablesOf(t *testing.T, dir string) []string {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "store", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("tables: %v, %v", tables, err)
	}
	return tables
}

// damaged goes on with a copy of a journal in which a table or a log is damaged, and wants all
// but so many of its intents to be as they were.
func (w *world) damaged(table string, damage func([]byte) []byte, before map[journal.ID]state.Status, most int) {
	w.Helper()
	c := &world{T: w.T, dir: w.TempDir()}
	if err := os.CopyFS(c.dir, os.DirFS(w.dir)); err != nil {
		w.Fatal(err)
	}
	path := filepath.Join(c.dir, "store", filepath.Base(table))
	b, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	if err := os.WriteFile(path, damage(b), 0o600); err != nil {
		w.Fatal(err)
	}
	if j, err := journaltest.Open(journal.Options{Dir: c.dir}); err == nil {
		if c.j = j; c.notAs(before) > 0 { // what was hit has been written again since
			w.Errorf("%d intents are not as they were", c.notAs(before))
		}
		c.whole()
		return
	}
	c.wantDamage("--accept-loss")
	c.goOn()
	lost := c.notAs(before)
	said := c.j.Stats().Loss
	if lost > most || !strings.Contains(said, "made anew") {
		w.Errorf("%d of %d intents are not as they were, want at most %d: %s", lost, len(before), most, said)
	}
	kept, err := filepath.Glob(filepath.Join(c.dir, "lost", "*", filepath.Base(table)))
	if err != nil || len(kept) != 1 {
		w.Errorf("the file that was damaged is kept as %v, %v", kept, err)
	}
	c.whole()
	c.counted()
	c.open(journal.Options{}) // as if nothing had been
	if err := c.j.Close(); err != nil {
		w.Error(err)
	}
}

// notAs is how many intents are not as they were.
func (w *world) notAs(before map[journal.ID]state.Status) (n int) {
	for id, was := range before {
		is := state.None
		if i, err := w.j.Get(id); err == nil {
			is = i.Status()
		}
		if is != was {
			n++
		}
	}
	return n
}

// wrongBit damages a file of a stopped journal's store, and returns its path.
func (w *world) wrongBit(name string, at int) (path string) {
	w.Helper()
	path = filepath.Join(w.dir, "store", name)
	b, err := os.ReadFile(path)
	if err != nil {
		w.Fatal(err)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		w.Fatal(err)
	}
	return path
}

// TestTableThatCannotBeMadeAnew: where the disk does not let a damaged table be made anew the
// start fails, and all that can be read of it is there for the next one.
func TestTableThatCannotBeMadeAnew(t *testing.T) {
	t.Parallel()
	w, older, newer := halves(t)
	path := w.wrongBit("000001.sst", 100)
	inTheWay := filepath.Join(path+".anew", "x")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	if j, err := journal.Open(journal.Options{Dir: w.dir, AcceptLoss: true}); err == nil || !strings.Contains(err.Error(), "make 000001.sst anew") {
		t.Fatalf("opened all the same: %v, %v", j, err)
	}
	if err := os.RemoveAll(path + ".anew"); err != nil {
		t.Fatal(err)
	}
	w.goOn()
	kept := 0
	for _, id := range append(older, newer...) {
		if _, err := w.j.Get(id); err == nil {
			kept++
		}
	}
	if kept < len(older)+len(newer)-1 {
		t.Errorf("of %d intents %d are left: %s", len(older)+len(newer), kept, w.j.Stats().Loss)
	}
	w.whole()
}
