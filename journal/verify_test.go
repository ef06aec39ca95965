package journal_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
	"pannier/journal/wire"
)

// varied is a journal with something of everything that Verify compares, stopped.
func varied(t *testing.T) *world {
	t.Helper()
	w := setup(t)
	w.accept()
	h := w.local(time.Minute)
	w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
	w.accept()
	w.gated(journal.Accept{}, part(0, false, "a"))
	w.ask(nil)
	w.schedule(&wire.Schedule{})
	key := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{2}}
	if got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope(), Key: key}}); err != nil || got[0].Err != nil {
		t.Fatalf("accept: %v, %v", err, got)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

// rewrite puts another value behind the first key of a class.
func rewrite(class byte, f func(rec []byte) []byte) func(*badger.Txn) error {
	return func(txn *badger.Txn) error { return rewriteKey(txn, firstKey(txn, class), f) }
}

func rewriteKey(txn *badger.Txn, key []byte, f func(rec []byte) []byte) error {
	item, err := txn.Get(key)
	if err != nil {
		return err
	}
	rec, err := item.ValueCopy(nil)
	if err != nil {
		return err
	}
	return txn.Set(key, f(rec))
}

func remove(class byte) func(*badger.Txn) error {
	return func(txn *badger.Txn) error { return txn.Delete(firstKey(txn, class)) }
}

// Each kind of damage is called by its name, and says which intent it is about and what
// can be done.
func TestVerifyNamesDamage(t *testing.T) {
	t.Parallel()
	w := varied(t)
	for _, c := range []struct {
		damage string
		plant  func(*badger.Txn) error
		kind   journal.DamageKind
		words  string
		of     bool // an intent is named
	}{
		{"a bit of a head", rewrite('i', func(rec []byte) []byte { rec[len(rec)-1] ^= 1; return rec }), journal.DamagedRecord, "head of 0", true},
		{"a bit of an envelope", rewrite('v', func(rec []byte) []byte { rec[20] ^= 1; return rec }), journal.DamagedRecord, "envelope of 0", true},
		{"an entry of an index is gone", remove('o'), journal.MissingEntry, "index due of", true},
		{"an entry of an index came back", func(txn *badger.Txn) error {
			return txn.Set(bytes.Repeat([]byte{'x'}, 25), nil)
		}, journal.StrayEntry, "index expiry of", true},
		{"an index is not the one that was written", remove('w'), journal.WrongCount, "index parked: 3 keys expected, 2 found", false},
		{"events are gone", remove('t'), journal.BrokenLog, "has 0 events, its head says", true},
		{"an envelope is gone", removeBodies, journal.MissingRecord, "has no envelope", true},
		{"a head is gone", remove('i'), journal.MissingRecord, "is our own, and has no head", true},
		{"a record of what is not here", func(txn *badger.Txn) error {
			key := append([]byte{'c'}, bytes.Repeat([]byte{7}, 16)...)
			return txn.Set(key, journal.Seal(key, 1, nil))
		}, journal.StrayRecord, "policy of 07", true},
		{"a plan is gone", remove('j'), journal.MissingRecord, "has no plan", true},
		{"an outcome is gone", remove('a'), journal.MissingRecord, "has no outcome", true},
		{"a thread is gone", remove('T'), journal.MissingRecord, "has no thread", true},
		{"a thread is in no inbox", remove('V'), journal.MissingEntry, "index of inboxes of", true},
		{"an idempotency key is gone", remove('d'), journal.MissingRecord, "index of idempotency keys", false},
		{"a schedule is another", rewrite('S', func(rec []byte) []byte { return rec[:14] }), journal.DamagedRecord, "schedule", false},
		{"a schedule says that it is another", func(txn *badger.Txn) error {
			item, err := txn.Get(firstKey(txn, 'S'))
			if err != nil {
				return err
			}
			key := append([]byte{'S'}, bytes.Repeat([]byte{7}, 16)...)
			return item.Value(func(rec []byte) error {
				_, body, err := journal.Unseal(item.Key(), rec)
				return errors.Join(err, txn.Set(key, journal.Seal(key, 1, body)))
			})
		}, journal.Contradictions, "it says that it is", false},
		{"a key of no class", func(txn *badger.Txn) error { return txn.Set([]byte{0xfe, 1}, nil) }, journal.DamagedRecord, "no such class", false},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			v := w.copied(t)
			v.plant(c.plant)
			r, err := journal.Verify(v.dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range r.Damages {
				if d.Kind == c.kind && strings.Contains(d.What, c.words) && d.Intent.IsZero() != c.of && d.Do() != "" {
					return
				}
			}
			t.Errorf("found %q; want %s that says %q", r.Damages, c.kind, c.words)
		})
	}
}

// A report that is gone leaves a gap in the numbers of those for its home.
func TestVerifyNamesALostReport(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	p.home.accept()
	p.home.accept()
	res, err := p.offer(time.Minute)
	if err != nil || len(res) != 2 {
		t.Fatal(err, res)
	}
	h := p.holder
	for _, r := range res {
		h.settle(journal.Settle{ID: r.ID, Lease: r.Handed.Lease, Action: journal.Ack})
	}
	if err := h.j.Close(); err != nil {
		t.Fatal(err)
	}
	var gone []byte
	h.plant(func(txn *badger.Txn) error {
		first := firstKey(txn, 'q')
		gone = append(bytes.Clone(first[:len(first)-1]), first[len(first)-1]+1)
		_, err := txn.Get(append(bytes.Clone(gone[:len(gone)-1]), gone[len(gone)-1]+1)) // the third
		return errors.Join(err, txn.Delete(gone))
	})
	r, err := journal.Verify(h.dir)
	if err != nil || !slices.ContainsFunc(r.Damages, func(d journal.Damage) bool { return d.Kind == journal.BrokenReports }) {
		t.Errorf("%v: %q, want the gap in the reports named", err, r.Damages)
	}
}

// A file that cannot be used does not hide what else is wrong: each damage is named, and the
// directory is left as it is.
func TestVerifyGoesOnPastAFile(t *testing.T) {
	t.Parallel()
	w, older, newer := halves(t)
	w.plant(rewrite('v', func(rec []byte) []byte { rec[20] ^= 1; return rec })) // in a table of its own
	for name, change := range map[string]func(b []byte){
		"store/000001.sst": func(b []byte) { clear(b) },
		"journal.hwm":      func(b []byte) { b[0] = 'x' },
	} {
		b, err := os.ReadFile(filepath.Join(w.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		change(b)
		if err := os.WriteFile(filepath.Join(w.dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, w.dir)
	r, err := journal.Verify(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, d := range r.Damages {
		fmt.Fprintln(&all, d)
	}
	for _, want := range []string{
		"file: table 000001.sst: the checksum of its index is wrong",
		"file: the high-water mark",
		"record: envelope of " + older[0].String(),
		"fingerprint: index due: 6 keys expected, 3 found",
	} {
		if !strings.Contains(all.String(), want) {
			t.Errorf("not found: %q", want)
		}
	}
	if r.Live != len(newer) {
		t.Errorf("%d intents are open, want those of the other table, %d", r.Live, len(newer))
	}
	if t.Failed() {
		t.Log(all.String())
	}
	if after := contents(t, w.dir); after != before {
		t.Errorf("changed\n%s\nto\n%s", before, after)
	}
}

// What is wrong is named where the journal is, not where it was copied to be looked at.
func TestVerifyNamesThePlace(t *testing.T) {
	t.Parallel()
	w, _, _ := halves(t)
	path := filepath.Join(w.dir, "store", "000001.sst")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	r, err := journal.Verify(w.dir)
	if err != nil || len(r.Damages) == 0 || !strings.Contains(r.Damages[0].What, path) {
		t.Errorf("%+v, %v; want it to name %s", r.Damages, err, path)
	}
}

// removeBodies takes away the envelopes of all.
func removeBodies(txn *badger.Txn) error {
	for {
		key := firstKey(txn, 'v')
		if key == nil {
			return nil
		}
		if err := txn.Delete(key); err != nil {
			return err
		}
	}
}

// Verify changes nothing, whether a journal was stopped or killed.
func TestVerifyChangesNothing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	killed := t.TempDir()
	if err := os.CopyFS(killed, os.DirFS(w.dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"stopped": w.dir, "killed": killed} {
		before := contents(t, dir)
		r, err := journal.Verify(dir)
		if err != nil || len(r.Damages) > 0 || r.Live != 1 {
			t.Errorf("%s: %v, %+v, want one intent and no damage", name, err, r)
		}
		if after := contents(t, dir); after != before {
			t.Errorf("%s: changed\n%s\nto\n%s", name, before, after)
		}
	}
}

// contents is a line for each file below a directory: its size, time and checksum.
func contents(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		all, err := os.ReadFile(filepath.Join(dir, path))
		fmt.Fprintf(&b, "%s %d %s %x\n", path, info.Size(), info.ModTime(), sha256.Sum256(all))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}
