package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
)

// halves is a stopped journal of three intents in each of two tables, the older first. What
// it knows of their address is in the older table.
func halves(t *testing.T) (w *world, older, newer []journal.ID) {
	t.Helper()
	w = setup(t)
	for range 3 {
		older = append(older, w.accept())
	}
	w.reopen()
	for range 3 {
		newer = append(newer, w.accept())
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	return w, older, newer
}

// goOn opens a journal with --accept-loss, and returns the intents that it says are gone.
func (w *world) goOn() (gone []journal.ID) {
	w.Helper()
	w.open(journal.Options{AcceptLoss: true, Hooks: journal.Hooks{
		Corrupt: func(c journal.Corrupt) { gone = append(gone, c.ID) },
		Warning: func(line string) { w.Log(line) },
	}})
	w.historyAdds()
	return gone
}

// holds fails the test unless the journal takes work, and is whole in the end.
func (w *world) holds() {
	w.Helper()
	h := w.hand1(w.accept())
	if got := w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack}); got.Err != nil {
		w.Fatalf("what is new is not taken: %v", got.Err)
	}
	w.whole()
	w.counted()
}

// A start that accepts the loss of a table goes on with what the others have, and says what
// is gone.
func TestAcceptLossOfATable(t *testing.T) {
	t.Parallel()
	for damage, f := range map[string]func(path string, b []byte) error{
		"it is gone":         func(path string, _ []byte) error { return os.Remove(path) },
		"it is another file": func(path string, b []byte) error { return os.WriteFile(path, bytes.Repeat([]byte{7}, len(b)), 0o600) },
	} {
		t.Run(damage, func(t *testing.T) {
			t.Parallel()
			w, older, newer := halves(t)
			path := filepath.Join(w.dir, "store", "000001.sst")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := f(path, b); err != nil {
				t.Fatal(err)
			}
			w.wantDamage("--accept-loss")
			w.goOn()
			if !w.j.Stats().Unclean {
				t.Error("it was compacted before it was read")
			}
			kept, err := filepath.Glob(filepath.Join(w.dir, "lost", "000001.sst-*", "000001.sst"))
			if damage != "it is gone" && len(kept) != 1 {
				t.Errorf("it is not kept: %v, %v", kept, err)
			}
			if said := w.j.Stats().Loss; !strings.Contains(said, "000001.sst") || !strings.Contains(said, "index due: 6 keys expected, 3 found") {
				t.Errorf("said to be lost: %q", said)
			}
			for _, id := range older {
				if _, err := w.j.Get(id); !errors.Is(err, journal.ErrNotFound) {
					t.Errorf("one of the lost table: %v", err)
				}
			}
			if got := len(w.due()); got != len(newer) {
				t.Errorf("%d are due, want %d", got, len(newer))
			}
			w.holds()
			w.open(journal.Options{}) // as if nothing had been
			if s := w.j.Stats(); s.Loss != "" || s.Identity.Epoch != 2 {
				t.Errorf("the next start says %q, in epoch %d", s.Loss, s.Identity.Epoch)
			}
		})
	}
}

// A table that is left out gives up its number: what has it next, and is lost, too, is kept
// beside the first.
func TestAcceptLossKeepsEachTable(t *testing.T) {
	t.Parallel()
	w := setup(t)
	tables := func() (paths []string) {
		t.Helper()
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		paths, err := filepath.Glob(filepath.Join(w.dir, "store", "*.sst"))
		if err != nil {
			t.Fatal(err)
		}
		return paths
	}
	for range 2 {
		w.accept()
		for _, path := range tables() {
			if err := os.WriteFile(path, []byte("no table"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		w.goOn()
	}
	kept, err := filepath.Glob(filepath.Join(w.dir, "lost", "*", "000001.sst"))
	if err != nil || len(kept) != 2 {
		t.Errorf("kept: %v, %v; want two of that name", kept, err)
	}
}

// What cannot be kept is not left out, nor made anew of what can be read of it: the store would
// delete it.
func TestAcceptLossKeepsOrRefuses(t *testing.T) {
	t.Parallel()
	whole, _, _ := halves(t)
	elsewhere := otherVolume(t)
	for _, c := range []struct {
		name, file, lost string
		spoil            func(b []byte) []byte
	}{
		{"MANIFEST, on another volume", "MANIFEST", elsewhere, func(b []byte) []byte { b[len(b)-1] ^= 1; return b }},
		{"a table, on another volume", "000001.sst", elsewhere, func(b []byte) []byte { return b[:10] }},
		{"a table, where no directory can be made", "000001.sst", "/proc/self", func(b []byte) []byte { return b[:10] }},
		{"a part of a table, on another volume", "000001.sst", elsewhere, func(b []byte) []byte { b[10] ^= 1; return b }},
		{"a part of a table, where no directory can be made", "000001.sst", "/proc/self", func(b []byte) []byte { b[10] ^= 1; return b }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := whole.copied(t)
			path, lost := filepath.Join(w.dir, "store", c.file), filepath.Join(w.dir, "lost")
			was, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			was = c.spoil(was)
			if err := errors.Join(os.WriteFile(path, was, 0o600), os.Symlink(c.lost, lost)); err != nil {
				t.Fatal(err)
			}
			w.refusesLoss("it has left out what it could not keep")
			if is, err := os.ReadFile(path); !bytes.Equal(is, was) {
				t.Errorf("what was to be kept has %d bytes, and had %d: %v", len(is), len(was), err)
			}
			if err := os.Remove(lost); err != nil {
				t.Fatal(err)
			}
			w.goOn()
			if kept, err := filepath.Glob(filepath.Join(lost, "*", c.file)); err != nil || len(kept) != 1 {
				t.Errorf("kept: %v, %v", kept, err)
			}
			w.holds()
		})
	}
}

// Before it is on the disk that a loss is accepted nothing is changed: cut short, a start would be
// followed by one that goes on with what is half mended.
func TestAcceptLossIsSaidFirst(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*world){
		"a table": func(w *world) {
			if err := os.Truncate(filepath.Join(w.dir, "store", "000001.sst"), 10); err != nil {
				w.Fatal(err)
			}
		},
		"a record": func(w *world) {
			w.plant(func(txn *badger.Txn) error {
				return errors.Join(txn.Delete(firstKey(txn, 'i')), txn.Delete(firstKey(txn, 'o')))
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _, _ := halves(t)
			lose(w)
			inTheWay := filepath.Join(w.dir, "journal.loss.tmp")
			if err := os.Mkdir(inTheWay, 0o700); err != nil {
				t.Fatal(err)
			}
			w.refusesLoss("it has accepted a loss, and the next start would not know")
			if err := os.Remove(inTheWay); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(w.dir, "lost")); err == nil {
				t.Error("something was left out")
			}
			w.wantDamage("--accept-loss")
		})
	}
}

func (w *world) refusesLoss(why string) {
	w.Helper()
	if j, err := journaltest.Open(journal.Options{Dir: w.dir, AcceptLoss: true}); err == nil {
		j.Close()
		w.Error(why)
	}
}

// otherVolume is a directory on another volume than those of tests.
func otherVolume(t *testing.T) string {
	t.Helper()
	var here, there unix.Stat_t
	if err := unix.Stat(t.TempDir(), &here); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/dev/shm", "/tmp", "/var/tmp"} {
		if err := unix.Stat(dir, &there); err != nil || there.Dev == here.Dev {
			continue
		}
		dir, err := os.MkdirTemp(dir, "pannier-")
		if err != nil {
			continue
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		return dir
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("there is one volume only")
	}
	t.Skip("there is one volume only")
	return ""
}

// Files with nothing in them, which the store does not open beside where they are damaged,
// cost nothing.
func TestAcceptLossOfASpareFile(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(b []byte) []byte{
		"KEYREGISTRY": func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"000001.vlog": func(b []byte) []byte { b[7] ^= 1; return b },
		"DISCARD":     func([]byte) []byte { return []byte("x") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, older, newer := halves(t)
			path := filepath.Join(w.dir, "store", name)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, change(b), 0o600); err != nil {
				t.Fatal(err)
			}
			if name != "DISCARD" {
				w.wantDamage("--accept-loss")
			}
			if gone := w.goOn(); len(gone) > 0 || len(w.due()) != len(older)+len(newer) {
				t.Errorf("%v are gone: %s", gone, w.j.Stats().Loss)
			}
			w.holds()
		})
	}
}

// Whatever records are lost, a start that accepts it makes the rest hold.
func TestAcceptLossOfRecords(t *testing.T) {
	t.Parallel()
	whole := varied(t)
	for _, c := range []struct {
		damage string
		plant  func(*badger.Txn) error
		gone   int // of the intents
		dead   int // -1: it is not looked at
	}{
		{"nothing", func(*badger.Txn) error { return nil }, 0, 0},
		{"a head", remove('i'), 1, 0},
		{"a bit of a head", rewrite('i', func(rec []byte) []byte { rec[len(rec)-1] ^= 1; return rec }), 1, 0},
		{"an entry of an index", remove('o'), 0, 0},
		{"all of an intent but its events", func(txn *badger.Txn) error {
			return errors.Join(txn.Delete(firstKey(txn, 'o')), txn.Delete(firstKey(txn, 'x')), txn.Delete(firstKey(txn, 'i')), txn.Delete(firstKey(txn, 'v')))
		}, 1, 0},
		{"the envelopes", removeBodies, 6, -1},
		{"a plan", remove('j'), 0, 2},
		{"an address", remove('u'), 0, 0},
		{"a schedule", rewrite('S', func(rec []byte) []byte { return rec[:14] }), 0, 0},
		{"a key of no class", put([]byte("Z"), nil), 0, 0},
		{"how far it had come", func(txn *badger.Txn) error { return txn.Delete([]byte("mm")) }, 0, 0},
		{"a bit of how far it had come", flipBit("mm"), 0, 0},
		{"a bit of who it is", flipBit("mb"), 0, 0},
		{"who it is", func(txn *badger.Txn) error { return txn.Delete([]byte("mb")) }, 0, 0},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			w := whole.copied(t)
			w.plant(c.plant)
			if words, ok := map[string]string{ // which are not made good unasked
				"who it is": "is that of journal", "a bit of who it is": "is damaged", "a bit of how far it had come": "is damaged",
			}[c.damage]; ok {
				w.wantDamage(words)
			}
			gone := w.goOn()
			if len(gone) != c.gone {
				t.Errorf("%v are said to be gone, want %d: %s", gone, c.gone, w.j.Stats().Loss)
			}
			if said := w.j.Stats().Loss; (said == "") != (c.damage == "nothing") {
				t.Errorf("said to be lost: %q", said)
			}
			if w.j.Identity().Journal != whole.j.Identity().Journal || w.j.Identity().Epoch != 2 {
				t.Errorf("it is %v, and was %v", w.j.Identity(), whole.j.Identity())
			}
			dead, _, err := w.j.DeadLetters(journal.DeadFilter{Limit: 100})
			if err != nil || c.dead >= 0 && len(dead) != c.dead {
				t.Errorf("%d dead letters, %v; want %d", len(dead), err, c.dead)
			}
			w.holds()
		})
	}
}

// Who leaves --accept-loss where it is hears of it at each start.
func TestAcceptLossOfNothing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	var said []string
	w.open(journal.Options{AcceptLoss: true, Hooks: journal.Hooks{Warning: func(line string) { said = append(said, line) }}})
	if len(said) != 1 || !strings.Contains(said[0], "--accept-loss: nothing is gone; start without it") || w.j.Stats().Loss != "" {
		t.Errorf("said: %q, lost: %q", said, w.j.Stats().Loss)
	}
}

// flipBit damages a record that there is one of.
func flipBit(key string) func(*badger.Txn) error {
	return func(txn *badger.Txn) error {
		return rewriteKey(txn, []byte(key), func(rec []byte) []byte { rec[len(rec)-1] ^= 1; return rec })
	}
}

// A key that names what is gone does not answer for it: whoever sends again is heard. That
// others have left the history before says nothing of one that came later.
func TestKeyOfALostIntent(t *testing.T) {
	t.Parallel()
	for _, letGo := range []bool{false, true} {
		t.Run(fmt.Sprintf("history let go %t", letGo), func(t *testing.T) {
			t.Parallel()
			w := &world{T: t, dir: t.TempDir()}
			w.open(journal.Options{History: journal.History{HistoryBodies: time.Nanosecond, HistoryFor: time.Nanosecond}})
			for letGo && w.j.Stats().LetGoUntil.IsZero() {
				h := w.hand1(w.accept())
				w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
				if err := w.j.LetGo(); err != nil {
					t.Fatal(err)
				}
			}
			for time.Now().UnixMilli() <= w.j.Stats().LetGoUntil.UnixMilli() {
				runtime.Gosched() // what was accepted in the millisecond that was let go may be gone with it
			}
			keyed := func() journal.Accepted {
				t.Helper()
				key := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{1}}
				got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope(), Key: key}})
				if err != nil || got[0].Err != nil {
					t.Fatal(got, err)
				}
				return got[0]
			}
			before := keyed()
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			w.plant(func(txn *badger.Txn) error {
				for _, class := range []byte("oxivt") {
					for key := firstKey(txn, class); key != nil; key = firstKey(txn, class) { // there is no other
						if err := txn.Delete(key); err != nil {
							return err
						}
					}
				}
				return nil
			})
			w.wantDamage("--accept-loss")
			w.goOn()
			if after := keyed(); after.ID == before.ID {
				t.Errorf("the answer is %s, which is gone", after.ID)
			}
			w.whole()
		})
	}
}

// What the mark does not know of is not lost: it may be older than the store, as of one that was
// killed, or be gone.
func TestAcceptLossWithAnOldMark(t *testing.T) {
	t.Parallel()
	for name, put := range map[string]func(path string, b []byte) error{
		"older": func(path string, b []byte) error { return os.WriteFile(path, b, 0o600) },
		"gone":  func(path string, _ []byte) error { return os.Remove(path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			w.reopen()
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(w.dir, "journal.hwm")
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			w.open(journal.Options{})
			for range 3 {
				w.accept()
			}
			before := w.j.Stats()
			if err := errors.Join(w.j.Close(), put(path, b)); err != nil {
				t.Fatal(err)
			}
			w.goOn()
			if after := w.j.Stats(); after.Loss != "" || after.Seq <= before.Seq || after.Identity.Epoch != before.Identity.Epoch+1 {
				t.Errorf("batch %d of epoch %d, then %d of %d; said to be lost: %q", before.Seq, before.Identity.Epoch, after.Seq, after.Identity.Epoch, after.Loss)
			}
			w.holds()
		})
	}
}

// An older copy of a whole directory looks like a journal that has done no more. Started
// with --accept-loss it gives no number again that it gave since.
func TestOlderCopyBeginsAnEpoch(t *testing.T) {
	t.Parallel()
	w := setup(t)
	give := func() journal.Handed {
		h := w.hand1(w.accept())
		w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
		return h
	}
	give()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	older := t.TempDir()
	if err := journal.CopyStopped(w.dir, older); err != nil {
		t.Fatal(err)
	}
	w.open(journal.Options{})
	var lastGiven journal.Handed
	for range 5 {
		lastGiven = give()
	}
	before, change := w.j.Stats(), w.j.LastChange()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.dir = older
	w.goOn()
	after := w.j.Stats()
	if after.Identity.Journal != before.Identity.Journal || after.Identity.Epoch != before.Identity.Epoch+1 {
		t.Errorf("it was %v, and is %v", before.Identity, after.Identity)
	}
	if after.Seq <= before.Seq || w.j.LastChange() <= change {
		t.Errorf("batch %d and change %d come after %d and %d", after.Seq, w.j.LastChange(), before.Seq, change)
	}
	if h := give(); h.Seq <= lastGiven.Seq || h.Lease == lastGiven.Lease {
		t.Errorf("hand-over %d under lease %s comes after %d under %s", h.Seq, h.Lease, lastGiven.Seq, lastGiven.Lease)
	}
	if after.Loss != "" {
		t.Errorf("said to be lost: %q", after.Loss) // nobody here can know
	}
	w.whole()
}

// A pair of which one is put back, directory and all: it is found out when they meet, and
// once it was started with --accept-loss what is new is done as ever.
func TestPairWithAnOlderCopy(t *testing.T) {
	t.Parallel()
	for _, side := range []string{"home", "holder"} {
		t.Run(side, func(t *testing.T) {
			t.Parallel()
			p := setupPair(t)
			meet := func() error {
				applied := p.home.j.Applied(p.holder.j.Identity())
				_, err := p.holder.j.SawHome(t.Context(), p.home.j.Identity(), "127.0.0.1:1", &applied)
				return err
			}
			check := func() error {
				last, acked, err := p.holder.j.Told(t.Context(), p.home.j.Identity().Journal)
				return errors.Join(err, p.home.j.CheckHolder(p.holder.j.Identity(), last, acked))
			}
			once := func() {
				t.Helper()
				if err := errors.Join(meet(), check()); err != nil {
					t.Fatal(err)
				}
				id := p.home.accept()
				res, err := p.offer(time.Minute)
				if err != nil || len(res) != 1 || res[0].Handed == nil {
					t.Fatalf("offer: %+v, %v", res, err)
				}
				p.holder.settle(journal.Settle{ID: id, Lease: res[0].Handed.Lease, Action: journal.Ack})
				if err := p.report(); err != nil {
					t.Fatal(err)
				}
				if got := p.home.status(id); got != state.Completed {
					t.Errorf("it is %s", got)
				}
			}
			once()
			w := p.side(side)
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			older := t.TempDir()
			if err := journal.CopyStopped(w.dir, older); err != nil {
				t.Fatal(err)
			}
			w.open(journal.Options{})
			once()
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			w.dir = older
			w.open(journal.Options{})
			if err := meet(); !errors.Is(err, journal.ErrOldCopy) {
				t.Errorf("they meet: %v, want an older copy found out", err)
			}
			if err := check(); !errors.Is(err, journal.ErrOldCopy) {
				t.Errorf("home looks: %v, want an older copy found out", err)
			}
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			w.goOn()
			once()
			p.home.whole()
			p.holder.whole()
		})
	}
}

// A start that accepts a loss and is cut short has mended what a start looks at, and may not
// have found what is gone: no other goes on, until one like it has come to its end.
func TestAcceptLossCutShort(t *testing.T) {
	t.Parallel()
	cutShort := func(t *testing.T, w *world) {
		t.Helper()
		w.wantDamage("was cut short")
		r, err := journal.Verify(w.dir)
		if err != nil || !slices.ContainsFunc(r.Damages, func(d journal.Damage) bool { return d.Kind == journal.LostBatches }) {
			t.Errorf("verify: %v, %v", r.Damages, err)
		}
		w.goOn()
		w.holds()
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		w.open(journal.Options{})
	}
	t.Run("with all mended", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		w.accept()
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		w.plant(remove('v'))
		then := &world{T: t, dir: t.TempDir()}
		w.open(journal.Options{AcceptLoss: true, Hooks: journal.Hooks{Corrupt: func(journal.Corrupt) {
			if err := journal.CopyStopped(w.dir, then.dir); err != nil { // as a kill would leave it: nothing moves before this has returned
				t.Error(err)
			}
		}}})
		cutShort(t, then)
	})
	t.Run("with a file left out", func(t *testing.T) {
		t.Parallel()
		w, _, _ := halves(t)
		tables, err := filepath.Glob(filepath.Join(w.dir, "store", "*.sst"))
		if err != nil || len(tables) == 0 {
			t.Fatal(tables, err)
		}
		if err := os.Truncate(tables[0], 10); err != nil {
			t.Fatal(err)
		}
		inTheWay := filepath.Join(w.dir, "lost")
		if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if j, err := journaltest.Open(journal.Options{Dir: w.dir, AcceptLoss: true}); err == nil {
			j.Close()
			t.Fatal("it has left out what it could not keep")
		}
		if err := os.Remove(inTheWay); err != nil {
			t.Fatal(err)
		}
		cutShort(t, w)
	})
}

// What is open when a loss is accepted may have been with an app: what is on record of it may be
// older than that. What comes later has not.
func TestAfterALossIsRedelivered(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	w.hold()
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.plant(remove('m'))
	w.goOn()
	no, _ := w.j.AgentNo(billing)
	mail, err := w.j.MailAll(no)
	if err != nil || len(mail) != 1 {
		t.Fatal(mail, err)
	}
	if !w.peek(mail[0].ID).Redelivered {
		t.Error("what was here is pushed as if it were new")
	}
	for _, redelivered := range []bool{true, false} {
		if h := w.local(time.Minute); h.Redelivered != redelivered {
			t.Errorf("what was due is redelivered: %t, want %t", h.Redelivered, redelivered)
		}
		w.accept()
	}
	got, err := w.j.Lease(t.Context(), []journal.ID{mail[0].ID}, []journal.Terms{{For: time.Minute}})
	if err != nil || !got[0].Redelivered {
		t.Errorf("what was here is leased as if it were new: %+v, %v", got, err)
	}
	w.whole()
}
