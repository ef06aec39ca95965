package journal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
)

func (w *world) wantDamage(words string) {
	w.Helper()
	j, err := journaltest.Open(journal.Options{Dir: w.dir})
	if err == nil {
		j.Close()
		w.Fatalf("opened, want a refusal that says %q", words)
	}
	var damage *journal.DamageError
	if !errors.As(err, &damage) {
		w.Fatalf("open: %v, want a DamageError", err)
	}
	if !strings.Contains(err.Error(), words) {
		w.Fatalf("open: %v, want it to say %q", err, words)
	}
}

// plant writes to the store behind the journal's back.
func (w *world) plant(f func(txn *badger.Txn) error) {
	w.Helper()
	db, err := badger.Open(badger.DefaultOptions(filepath.Join(w.dir, "store")).WithLogger(nil).WithValueLogFileSize(1 << 20))
	if err != nil {
		w.Fatal(err)
	}
	if err := db.Update(f); err != nil {
		w.Fatal(err)
	}
	if err := db.Close(); err != nil {
		w.Fatal(err)
	}
}

func firstKey(txn *badger.Txn, class byte) []byte {
	it := txn.NewIterator(badger.DefaultIteratorOptions)
	defer it.Close()
	it.Seek([]byte{class})
	if !it.ValidForPrefix([]byte{class}) {
		return nil
	}
	return it.Item().KeyCopy(nil)
}

func TestOpenMendsALostIndexKey(t *testing.T) {
	t.Parallel()
	for name, unclean := range map[string]bool{"after a clean stop": false, "after a kill": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			w.accept()
			w.accept()
			if unclean {
				w.j.Abandon()
			} else if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			w.plant(func(txn *badger.Txn) error { return txn.Delete(firstKey(txn, 'o')) })
			r, err := journal.Verify(w.dir)
			if err != nil || len(r.Damages) < 2 {
				t.Fatalf("verify: %v, %q, want the fingerprint and the intent named", err, r.Damages)
			}
			w.open(journal.Options{})
			if n := len(w.due()); n != 2 || w.j.Stats().Rebuilt != 1 {
				t.Errorf("%d are due, %d entries built anew; want 2 and 1", n, w.j.Stats().Rebuilt)
			}
			w.whole()
		})
	}
}

// TestOpenCountsNoKeyForAnother: as many keys as there were, and not those.
func TestOpenCountsNoKeyForAnother(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.plant(func(txn *badger.Txn) error {
		key := firstKey(txn, 'o')
		other := bytes.Clone(key)
		other[len(other)-1] ^= 1
		return errors.Join(txn.Delete(key), txn.Set(other, nil))
	})
	w.open(journal.Options{})
	if n := len(w.due()); n != 1 || w.j.Stats().Rebuilt == 0 {
		t.Errorf("%d are due, %d entries built anew; want one, and that anew", n, w.j.Stats().Rebuilt)
	}
	w.whole()
}

func TestOpenMendsAKeyThatCameBack(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	var key []byte
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.plant(func(txn *badger.Txn) error { key = bytes.Clone(firstKey(txn, 'o')); return nil })
	w.open(journal.Options{})
	h := w.local(time.Minute)
	w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.plant(func(txn *badger.Txn) error { return txn.Set(key, []byte{}) })
	w.open(journal.Options{})
	if n := w.j.Stats().Rebuilt; n != 1 || len(w.due()) > 0 {
		t.Errorf("%d entries built anew, want 1", n)
	}
	w.whole()
	w.counted()
}

func TestOpenRefusesLostBatches(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.fallBack()
	if r, err := journal.Verify(w.dir); err != nil || !slices.ContainsFunc(r.Damages, func(d journal.Damage) bool {
		return d.Kind == journal.LostBatches && strings.Contains(d.What, "at least")
	}) {
		t.Errorf("verify: %v, %q, want it to say that batches are lost", err, r.Damages)
	}
	w.wantDamage("--accept-loss")
	w.wantDamage("batches but at least") // the mark may be a second old
	w.open(journal.Options{AcceptLoss: true})
	if got, want := w.j.Stats().Loss, "batches or more that were acknowledged are gone"; !strings.Contains(got, want) {
		t.Errorf("said to be lost: %q, want %q", got, want)
	}
	w.accept()
}

// TestEpochOfAnOlderCopy: a copy of before the last epoch began does not begin that one again, nor
// give numbers of its batches again: the mark knows of both.
func TestEpochOfAnOlderCopy(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	older := w.copyStore()
	w.open(journal.Options{AcceptLoss: true})
	for range 20 {
		w.accept()
	}
	before := w.j.Stats()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.replaceStore(older)
	w.wantDamage("--accept-loss")
	w.open(journal.Options{AcceptLoss: true})
	if now := w.j.Stats(); now.Identity.Epoch <= before.Identity.Epoch || now.Seq <= before.Seq {
		t.Errorf("begins epoch %d with batch %d, after epoch %d that had come to %d", now.Identity.Epoch, now.Seq, before.Identity.Epoch, before.Seq)
	}
	w.whole()
}

func (w *world) copyStore() string {
	w.Helper()
	dir := w.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "store"), os.DirFS(filepath.Join(w.dir, "store"))); err != nil {
		w.Fatal(err)
	}
	return dir
}

func (w *world) replaceStore(from string) {
	w.Helper()
	if err := os.RemoveAll(filepath.Join(w.dir, "store")); err != nil {
		w.Fatal(err)
	}
	if err := os.Rename(filepath.Join(from, "store"), filepath.Join(w.dir, "store")); err != nil {
		w.Fatal(err)
	}
}

// fallBack has the store of a stopped journal lack what came last, which its mark knows of.
func (w *world) fallBack() {
	w.Helper()
	older := w.copyStore()
	w.open(journal.Options{})
	w.accept()
	if err := w.j.Close(); err != nil {
		w.Fatal(err)
	}
	w.replaceStore(older)
}

// There is a journal where one was opened, and nowhere else.
func TestExists(t *testing.T) {
	t.Parallel()
	w := setup(t)
	for dir, want := range map[string]bool{w.dir: true, t.TempDir(): false, filepath.Join(w.dir, "none"): false} {
		if got, err := journal.Exists(dir); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", dir, got, err, want)
		}
	}
}

func TestOpenNeverStartsEmpty(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(w.dir, "store")); err != nil {
		t.Fatal(err)
	}
	w.wantDamage("its store is gone")
	if r, err := journal.Verify(w.dir); err != nil || len(r.Damages) != 1 || !strings.Contains(r.Damages[0].What, "the store is gone") {
		t.Errorf("verify: %+v, %v", r, err)
	}
}

func TestJournalIsOpenOnce(t *testing.T) {
	t.Parallel()
	w := setup(t)
	owner, err := os.ReadFile(filepath.Join(w.dir, journal.OwnerName))
	if err != nil {
		t.Fatal(err)
	}
	if j, err := journal.Open(journal.Options{Dir: w.dir}); err == nil {
		j.Close()
		t.Fatal("opened twice")
	} else if !strings.Contains(err.Error(), "in use by another process") {
		t.Fatalf("second open: %v", err)
	}
	if is, err := os.ReadFile(filepath.Join(w.dir, journal.OwnerName)); !bytes.Equal(is, owner) {
		t.Errorf("who has it is %q, %v: it was taken from the first", is, err)
	}
}

// TestPartOfAJournalIsNone: who gives the directory of a store, or another one in a journal, is told
// what to give, and nothing is made there.
func TestPartOfAJournalIsNone(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	store, beside, away := filepath.Join(w.dir, "store"), filepath.Join(w.dir, "new"), filepath.Join(t.TempDir(), "copy")
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(away, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	for dir, words := range map[string]string{
		store:  "a part of the journal in " + w.dir + ": give that directory",
		beside: "a part of the journal in " + w.dir + ": give that directory",
		away:   "without the rest: give the directory that has it",
	} {
		if j, err := journal.Open(journal.Options{Dir: dir}); err == nil {
			j.Close()
			t.Errorf("%s: opened as a journal", dir)
		} else if !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v, want %q", dir, err, words)
		}
		if _, err := journal.Verify(dir); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("verify %s: %v, want %q", dir, err, words)
		}
		if _, err := os.Stat(filepath.Join(dir, "journal.owner")); err == nil {
			t.Errorf("%s: something was made in it", dir)
		}
	}
	if err := os.Remove(filepath.Join(w.dir, "journal.hwm")); err != nil { // as of one killed at its first start
		t.Fatal(err)
	}
	if j, err := journal.Open(journal.Options{Dir: store}); err == nil {
		j.Close()
		t.Error("a store without a mark beside it is opened as a journal")
	}
	w.open(journal.Options{})
	other := &world{T: t, dir: filepath.Join(t.TempDir(), "store")} // the name alone says nothing
	if err := os.Mkdir(other.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	other.open(journal.Options{})
}

// A start that cannot be marked is none: what it would acknowledge could be lost unseen.
func TestStartThatCannotBeMarked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "journal.hwm.tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	j, err := journaltest.Open(journal.Options{Dir: dir})
	if err == nil {
		j.Close()
		t.Fatal("opened without a mark")
	}
	if !strings.Contains(err.Error(), "high-water mark") {
		t.Errorf("refused with %v", err)
	}
}

func TestIdentitySurvives(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if w.j.Stats().Unclean {
		t.Error("a journal that is new was seen as unclean")
	}
	before := w.j.Identity()
	boot := w.j.Stats().Boot
	w.reopen()
	if after := w.j.Identity(); after != before {
		t.Errorf("identity: %v, then %v", before, after)
	}
	if got := w.j.Stats().Boot; got != boot+1 {
		t.Errorf("boot: %d, then %d", boot, got)
	}
	if w.j.Stats().Unclean {
		t.Error("a clean stop was seen as unclean")
	}
}

// One that is killed before its mark is written again was not closed.
func TestKilledAtOnceIsUnclean(t *testing.T) {
	t.Parallel()
	w := setup(t)
	killed := t.TempDir()
	if err := journal.CopyStopped(w.dir, killed); err != nil {
		t.Fatal(err)
	}
	after := &world{T: t, dir: killed}
	after.open(journal.Options{})
	if !after.j.Stats().Unclean {
		t.Error("the start after a kill was not seen as unclean")
	}
}

// TestUncleanWithoutAMark: a store that has no mark beside it says nothing of how it was stopped.
func TestUncleanWithoutAMark(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(w.dir, "journal.hwm")); err != nil {
		t.Fatal(err)
	}
	w.open(journal.Options{})
	if !w.j.Stats().Unclean {
		t.Error("it is taken for one that was closed")
	}
	w.whole()
}

// TestManyAcceptsAreFewCommits: group commit is the journal's own.
func TestManyAcceptsAreFewCommits(t *testing.T) {
	t.Parallel()
	w := setup(t)
	commits := 0
	w.j.Commits(&commits)
	const clients, each = 64, 20
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for range each {
				got, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: envelope()}})
				if err != nil || got[0].Err != nil {
					t.Errorf("accept: %v %v", err, got)
				}
			}
		})
	}
	group.Wait()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if commits > clients*each/2 {
		t.Errorf("%d commits for %d accepts by %d clients", commits, clients*each, clients)
	}
	t.Logf("figure: %d accepts by %d clients in %d commits", clients*each, clients, commits)
}

// TestBatchesFitTheStore: what is asked for at once, and is more than one transaction of the
// store takes, is several.
func TestBatchesFitTheStore(t *testing.T) {
	t.Parallel()
	w := setup(t)
	commits := 0
	w.j.Commits(&commits)
	in := make([]journal.Accept, 100)
	for i := range in {
		in[i].Envelope = envelope()
		in[i].Envelope.Payload = []byte(`"` + strings.Repeat("x", 32<<10) + `"`)
	}
	got, err := w.j.Accept(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range got {
		if a.Err != nil {
			t.Error(a.Err)
		}
	}
	w.whole()
	if commits < 3 {
		t.Errorf("3 MiB were %d commits", commits)
	}
}

// TestBodiesOfEverySize: up to 1 MiB, chunk borders included, byte for byte.
func TestBodiesOfEverySize(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const overhead = 300
	sizes := []int{2, 1000, 256<<10 - overhead, 256 << 10, 512<<10 - 1, 512 << 10, 1 << 20}
	want := map[journal.ID][]byte{}
	for _, n := range sizes {
		e := envelope()
		e.Payload = []byte(`"` + strings.Repeat("x", n-2) + `"`)
		got, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: e}})
		if err != nil || got[0].Err != nil {
			t.Fatalf("body of %d bytes: %v %v", n, err, got)
		}
		want[got[0].ID] = e.Payload
	}
	w.reopen()
	for id, payload := range want {
		i, err := w.j.Get(id)
		if err != nil || !bytes.Equal(i.Envelope.Payload, payload) {
			t.Errorf("body of %d bytes is not what was accepted: %v", len(payload), err)
		}
	}
	e := envelope()
	e.Payload = []byte(strings.Repeat("x", 2<<20))
	got, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: e}})
	if err != nil || !errors.Is(got[0].Err, journal.ErrTooLarge) {
		t.Errorf("2 MiB: %v %v, want too large", err, got)
	}
	w.whole()
}

func TestExpiryEndsWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	w := setup(t)
	got, err := w.j.Accept(context.Background(), []journal.Accept{
		{Envelope: envelope(), DeliverBy: time.Now().Add(20 * time.Millisecond)},
		{Envelope: envelope(), DeliverBy: time.Now().Add(time.Minute)},
	})
	if err != nil {
		t.Fatal(err)
	}
	wake, stop := w.j.Watch(got[0].ID)
	defer stop()
	// The second is taken before its time, the first never.
	a, err := w.j.Answer(context.Background(), got[1].ID, journal.Answer{Trigger: state.Start})
	if err != nil || a.Status != state.InProgress {
		t.Fatalf("continue: %v %+v", err, a)
	}
	select {
	case <-wake:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing happened at deliver_by")
	}
	w.wantEvents(got[0].ID, "created", "submitted", "timed_out")
	i, err := w.j.Get(got[0].ID)
	if err != nil || i.Outcome == nil || !strings.Contains(string(i.Outcome.Body), "deliver_by_passed") {
		t.Fatalf("%v: outcome %v, want the reason", err, i.Outcome)
	}
	if s := w.status(got[1].ID); s != state.InProgress {
		t.Errorf("the one that was taken is %s", s)
	}
	w.whole()
}

func TestListIsNewestFirst(t *testing.T) {
	t.Parallel()
	w := setup(t)
	var ids []journal.ID
	for range 5 {
		ids = append(ids, w.accept())
	}
	page, next, err := w.j.List(journal.Filter{Limit: 3})
	if err != nil || len(page) != 3 {
		t.Fatalf("first page: %v, %d", err, len(page))
	}
	rest, next, err := w.j.List(journal.Filter{Limit: 3, Before: next})
	if err != nil || len(rest) != 2 || !next.IsZero() {
		t.Fatalf("second page: %v, %d, and next %s", err, len(rest), next)
	}
	for i, got := range append(page, rest...) {
		if want := ids[len(ids)-1-i]; got.ID != want {
			t.Errorf("place %d: got %s, want %s", i, got.ID, want)
		}
	}
	if none, _, err := w.j.List(journal.Filter{Limit: 3, Status: state.Completed}); err != nil || len(none) != 0 {
		t.Errorf("completed: %v, %d", err, len(none))
	}
}

// TestListOfAFilterThatMatchesLittle: a page may be short, or empty, with more
// behind it.
func TestListOfAFilterThatMatchesLittle(t *testing.T) {
	t.Parallel()
	w := setup(t)
	oldest := w.accept()
	if _, err := w.j.Answer(context.Background(), oldest, journal.Answer{Trigger: state.Cancel}); err != nil {
		t.Fatal(err)
	}
	many := make([]journal.Accept, 10_000)
	for i := range many {
		many[i].Envelope = envelope()
	}
	if _, err := w.j.Accept(context.Background(), many); err != nil {
		t.Fatal(err)
	}
	f := journal.Filter{Limit: 3, Status: state.Canceled}
	none, next, err := w.j.List(f)
	if err != nil || len(none) != 0 || next.IsZero() {
		t.Fatalf("first page: %v, %d, next %s; want none yet, and where to go on", err, len(none), next)
	}
	f.Before = next
	got, next, err := w.j.List(f)
	if err != nil || len(got) != 1 || got[0].ID != oldest || !next.IsZero() {
		t.Errorf("second page: %v, %v, next %s; want the oldest, and the end", err, got, next)
	}
}

// TestCursorMissesNothing inserts while another claims.
func TestCursorMissesNothing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	const n = 500
	seen := map[journal.ID]int{}
	accepted := make(chan journal.ID, n)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range n / 4 {
				got, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: envelope()}})
				if err != nil {
					t.Errorf("accept: %v", err)
					return
				}
				accepted <- got[0].ID
			}
		})
	}
	deadline := time.Now().Add(30 * time.Second)
	for len(seen) < n && time.Now().Before(deadline) {
		a, _ := w.j.AgentNo(billing)
		offers, _, err := w.j.Due(a, time.Now(), 7, func(id journal.ID) bool { return seen[id] > 0 })
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range offers {
			seen[o.ID]++
		}
	}
	group.Wait()
	close(accepted)
	for id := range accepted {
		if seen[id] != 1 {
			t.Errorf("intent %s was claimed %d times", id, seen[id])
		}
	}
}

func ExampleParseID() {
	_, err := journal.ParseID("{0193a7f2-5b0e-7c3a-9d6e-0f1a2b3c4d5e}")
	fmt.Println(err)
	// Output: "{0193a7f2-5b0e-7c3a-9d6e-0f1a2b3c4d5e}" is not a UUID
}

// TestCorruptRecordBlocksNobody: one head is damaged; the next intent of the
// same destination is found all the same, and the damage is said.
func TestCorruptRecordBlocksNobody(t *testing.T) {
	t.Parallel()
	w := setup(t)
	bad, good := w.accept(), w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.plant(func(txn *badger.Txn) error {
		key := append([]byte{'i'}, bad[:]...)
		item, err := txn.Get(key)
		if err != nil {
			return err
		}
		rec, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		rec[len(rec)-1] ^= 1
		return txn.Set(key, rec)
	})
	var said []string
	w.open(journal.Options{Hooks: journal.Hooks{Warning: func(line string) { said = append(said, line) }}})
	if _, err := w.j.Get(bad); err == nil || errors.Is(err, journal.ErrNotFound) {
		t.Fatalf("get of the damaged one: %v, want its damage", err)
	}
	offers := w.due() // it is looked into from here on
	if len(offers) != 1 || offers[0].ID != good {
		t.Fatalf("%d offers, want the one that is whole", len(offers))
	}
	if len(said) == 0 || !strings.Contains(said[0], "corrupt") {
		t.Fatalf("warnings: %q, want the corrupt record named", said)
	}
}

// TestFileWithoutContentsIsSwept: killed between creating a file and giving it
// its size, which Badger itself does not get over.
func TestFileWithoutContentsIsSwept(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	w.j.Abandon()
	for _, name := range []string{"00099.mem", "000099.vlog"} {
		if err := os.WriteFile(filepath.Join(w.dir, "store", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.open(journal.Options{})
	if s := w.status(id); s != state.Submitted {
		t.Errorf("status %s", s)
	}
	w.whole()
}
