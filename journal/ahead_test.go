package journal_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
)

// While a class is read, each of its tables is asked for before it is come to, none of
// another class is, none twice, and few at once.
func TestTablesOfAClassAreAskedForAhead(t *testing.T) {
	t.Parallel()
	var tables []badger.TableInfo
	for i := range 40 {
		from, to := []byte{'b' + byte(i/20), byte(i)}, []byte{'b' + byte(i/20), byte(i), 9}
		tables = append(tables, badger.TableInfo{ID: uint64(40 - i), Left: from, Right: to})
	}
	tables = append(tables,
		badger.TableInfo{ID: 100, Left: []byte{'a'}, Right: []byte{'b', 3}}, // all that is new, of several classes
		badger.TableInfo{ID: 101, Left: []byte{'a'}, Right: []byte{'a', 9}},
		badger.TableInfo{ID: 102, Left: []byte{'d'}, Right: []byte{'d', 9}})
	next := journal.ScanAhead(tables, 'b')
	asked := map[uint64]int{}
	for i := range 20 {
		now := next([]byte{'b', byte(i), 5})
		if len(now) > 4 {
			t.Errorf("%d are asked for at once", len(now))
		}
		for _, id := range now {
			asked[id]++
		}
		if want := uint64(40 - i); asked[want] != 1 {
			t.Errorf("table %d is come to, and was asked for %d times", want, asked[want])
		}
		if i == 0 && (asked[100] != 1 || len(asked) > 4) {
			t.Errorf("at the first key %v are asked for", asked)
		}
	}
	if len(asked) != 21 {
		t.Errorf("%v are asked for, want the 20 of the class and what is of several", asked)
	}
}

// What is asked for of a table before it is opened holds what there is to its end from the
// last key on.
func TestEndsOfATable(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	tables, err := filepath.Glob(filepath.Join(w.dir, "store", "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatal(tables, err)
	}
	for _, path := range tables {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		last, index, err := journal.TableEnds(path)
		if err != nil || last < 0 || last >= index || index >= info.Size() {
			t.Errorf("the last block of %s is at %d, its index at %d of %d bytes: %v", path, last, index, info.Size(), err)
		}
	}
}
