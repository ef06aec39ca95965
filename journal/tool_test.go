package journal_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"pannier/journal"
)

// A table that a tool of Badger's has packed is checked at a start, too, though not by us.
func TestOpenRefusesADamagedPackedTable(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	store := filepath.Join(w.dir, "store")
	db, err := badger.Open(journal.LookOptions(store).WithCompression(options.Snappy).WithBlockCacheSize(1 << 20))
	if err != nil {
		t.Fatal(err)
	}
	var rec []byte
	err = db.Update(func(txn *badger.Txn) error {
		key := bytes.Clone(firstKey(txn, 'i'))
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		if rec, err = item.ValueCopy(nil); err != nil {
			return err
		}
		return txn.Set(key, rec)
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	tables, _ := filepath.Glob(filepath.Join(store, "*.sst"))
	slices.Sort(tables)
	path := tables[1] // the journal has made one before it, and one after
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(b, rec[len(rec)-4:])
	if at < 0 {
		t.Fatalf("the record is not in %s", path)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	w.wantDamage("restore a backup")
}
