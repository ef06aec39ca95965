package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// spent is a journal whose table has intents, each with its name as what was sent.
func spentTable(t *testing.T, names ...string) (w *world, ids map[string]journal.ID) {
	t.Helper()
	w, ids = setup(t), map[string]journal.ID{}
	for _, name := range names {
		e := envelope()
		e.Payload = []byte(`{"name":"` + name + `"}`)
		got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e}})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = got[0].ID
	}
	w.reopen()
	return w, ids
}

// spoil makes two bytes of a text wrong in the tables of a store, which may be in use.
func (w *world) spoil(text string) {
	w.Helper()
	for _, path := range tablesOf(w.T, w.dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			w.Fatal(err)
		}
		at := bytes.Index(b, []byte(text))
		if at < 0 {
			continue
		}
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			w.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt([]byte{b[at] ^ 0x15, b[at+1] ^ 0x60}, int64(at)); err != nil {
			w.Fatal(err)
		}
		return
	}
	w.Fatalf("no table has %q", text)
}

// scrub looks through all that is open.
func (w *world) scrub() {
	w.Helper()
	if err := w.j.Scrub(w.Context()); err != nil || w.j.Err() != nil {
		w.Fatalf("scrub: %v, %v", err, w.j.Err())
	}
}

// heals starts a stopped journal with a damaged table, which costs nothing.
func (w *world) heals() {
	w.Helper()
	if r, err := journal.Verify(w.dir); err != nil || len(r.Damages) == 0 || r.Damages[0].Kind != journal.SpentRecords {
		w.Errorf("verify finds %v, %v", r.Damages, err)
	}
	var said []string
	w.open(journal.Options{Hooks: journal.Hooks{Warning: func(text string) { said = append(said, text) }}})
	if !slices.ContainsFunc(said, func(s string) bool { return strings.Contains(s, "nothing is lost: table ") }) {
		w.Errorf("the start says %q", said)
	}
	if lost := w.j.Stats().Loss; lost != "" {
		w.Errorf("the start has lost %s", lost)
	}
}

// What the scrub has set aside costs no start: its table is made anew, whether what was written
// of it since is in a table, or in the log.
func TestWhatWasSetAsideCostsNoStart(t *testing.T) {
	t.Parallel()
	for name, ended := range map[string]func(*world) *world{
		"stopped": func(w *world) *world {
			if err := w.j.Close(); err != nil {
				w.Fatal(err)
			}
			return w
		},
		"killed": func(w *world) *world { return w.copied(w.T) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, ids := spentTable(t, "good", "bad", "other")
			w.spoil(`"bad"`)
			w.scrub()
			w.wantAside(ids["bad"])
			w = ended(w)
			w.heals()
			w.wantDead(journal.DeadFilter{}, ids["bad"])
			for _, name := range []string{"good", "other"} {
				if got := w.get(ids[name]); !got.Status().Open() || !strings.Contains(string(got.Envelope.Payload), name) {
					t.Errorf("%s is %s, with %s", name, got.Status(), got.Envelope.Payload)
				}
			}
			w.whole()
			w.open(journal.Options{}) // as if nothing had been
			w.whole()
		})
	}
}

// A dead letter stays one in the list without what was sent, and costs no start.
func TestLostBodyOfADeadLetterCostsNoStart(t *testing.T) {
	t.Parallel()
	w, ids := spentTable(t, "good", "dead")
	if err := w.j.Refuse(t.Context(), ids["dead"], 1, state.ReasonRejected, "no"); err != nil {
		t.Fatal(err)
	}
	w.spoil(`"dead"`)
	w.scrub()
	if got := w.j.Stats(); got.Aside != 1 || got.Faults != 0 {
		t.Fatalf("%d records and %d intents were set aside", got.Aside, got.Faults)
	}
	w.wantDead(journal.DeadFilter{}, ids["dead"])
	w.wantDead(journal.DeadFilter{Whole: true})
	if _, err := w.j.Redrive(t.Context(), journal.Redrive{ID: ids["dead"]}); !errors.Is(err, journal.ErrLost) {
		t.Errorf("redriven: %v", err)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.heals()
	w.wantDead(journal.DeadFilter{}, ids["dead"])
	w.whole()
}

// A holder has no copy any more of another's dead letter of which what was sent is lost: home has it.
func TestLostBodyOfACopyCostsNoStart(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	h := p.held(time.Minute)[0].Handed
	p.holder.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack, Reject: true})
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	p.holder.wantDead(journal.DeadFilter{}, id)
	p.holder.reopen()
	p.holder.spoil("ORD-1")
	p.holder.scrub()
	if got := p.holder.j.Stats(); got.Aside != 1 || got.Faults != 0 {
		t.Fatalf("%d records and %d intents were set aside", got.Aside, got.Faults)
	}
	p.holder.wantDead(journal.DeadFilter{})
	if i := p.holder.get(id); !i.SentLost() || i.Status() != state.Failed {
		t.Errorf("it is %s, and what was sent is said to be lost: %v", i.Status(), i.SentLost())
	}
	p.holder.historyAdds()
	if err := p.holder.j.Close(); err != nil {
		t.Fatal(err)
	}
	p.holder.heals()
	p.holder.whole()
}

// lostThread is a stopped journal with a thread that cannot be read, and in which nothing is written in
// its place: it is set aside, and known to be lost.
func lostThread(t *testing.T) *world {
	t.Helper()
	w := setup(t)
	e := envelope()
	e.IntentType, e.HumanTask = "only.thread.v1", []byte(`{"title":"?"}`)
	second := envelope()
	second.Payload = []byte(`{"name":"second"}`)
	if _, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e}, {Envelope: second}}); err != nil {
		t.Fatal(err)
	}
	w.reopen()
	w.spoil("only.thread") // of the first record that says so
	w.scrub()
	if got := w.j.Stats(); got.Aside != 1 || got.Faults != 0 {
		t.Fatalf("%d records and %d intents were set aside", got.Aside, got.Faults)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	return w
}

func TestLostThreadCostsNoStart(t *testing.T) {
	t.Parallel()
	w := lostThread(t)
	other := w.copied(t) // what was sent is wrong, too, and nobody has said so
	other.spoil("only.thread")
	other.wantDamage("--accept-loss")
	w.heals()
	w.reopen()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := journal.Verify(w.dir); err != nil || len(r.Damages) == 0 || r.Damages[0].Kind != journal.DamagedRecord {
		t.Errorf("verify finds %v, %v", r.Damages, err)
	}
}

// What is wrong in tables refuses a start as long as one record may be needed, and nothing is
// changed then.
func TestWhatMayBeNeededRefusesAStart(t *testing.T) {
	t.Parallel()
	w, ids := spentTable(t, "good", "bad")
	w.spoil(`"bad"`)
	w.scrub()
	w.wantAside(ids["bad"])
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.spoil(`"good"`)
	was := w.copied(t)
	w.wantDamage("--accept-loss")
	for _, path := range tablesOf(t, was.dir) {
		before, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if now, err := os.ReadFile(filepath.Join(w.dir, "store", filepath.Base(path))); err != nil || !bytes.Equal(now, before) {
			t.Errorf("%s was changed, %v", path, err)
		}
	}
}

// What was set aside is known by what it said: with another bit wrong it may be another.
func TestWhatGoesWrongAgainRefusesAStart(t *testing.T) {
	t.Parallel()
	w := lostThread(t)
	w.spoil("orders") // who has sent it
	w.wantDamage("--accept-loss")
}

// A table that has healed heals again, however many of its records have gone wrong.
func TestTableHealsAgain(t *testing.T) {
	t.Parallel()
	var names []string
	for n := range 20 {
		names = append(names, fmt.Sprintf("bad%02d", n))
	}
	w, ids := spentTable(t, names...)
	for some := range slices.Chunk(names, 10) {
		for _, name := range some {
			w.spoil(`"` + name + `"`)
		}
		w.scrub()
		for _, name := range some {
			w.wantAside(ids[name])
		}
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		w.heals()
	}
	w.whole()
}

// So does one in which a record stays wrong.
func TestTableHealsBesideWhatStaysWrong(t *testing.T) {
	t.Parallel()
	w := lostThread(t)
	w.heals()
	w.spoil(`"second"`)
	w.scrub()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.heals()
}

// A table that Badger panics over tells of nothing newer, and ends no start.
func TestSpentBesideATableThatTheStorePanicsOver(t *testing.T) {
	t.Parallel()
	w, ids := spentTable(t, "bad")
	w.spoil(`"bad"`)
	w.scrub()
	w.wantAside(ids["bad"])
	w.acceptMany(10, strings.Repeat("x", 64<<10))
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	tables := tablesOf(t, w.dir)
	if err := journal.SpoilBlock(tables[len(tables)-1]); err != nil {
		t.Fatal(err)
	}
	w.wantDamage("table 000001.sst: the checksum of block 0 is wrong")
}

// Where the disk does not let a table be made anew the start says so, and the next one does it.
func TestSpentTableThatCannotBeMadeAnew(t *testing.T) {
	t.Parallel()
	w, ids := spentTable(t, "bad")
	w.spoil(`"bad"`)
	w.scrub()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	inTheWay := filepath.Join(w.dir, "store", "000001.sst.anew", "x")
	if err := os.MkdirAll(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	if j, err := journal.Open(journal.Options{Dir: w.dir}); err == nil || !strings.Contains(err.Error(), "make 000001.sst anew, of which nothing is lost") {
		t.Fatalf("opened all the same: %v, %v", j, err)
	}
	if err := os.RemoveAll(filepath.Dir(inTheWay)); err != nil {
		t.Fatal(err)
	}
	w.heals()
	w.wantDead(journal.DeadFilter{}, ids["bad"])
	w.whole()
}

// The reserve is given back where a table that is made anew may take it.
func TestReserveIsForASpentTable(t *testing.T) {
	needsRoot(t)
	t.Parallel()
	const reserve = 512 << 10
	small := journal.Options{Space: journal.Space{BallastBytes: reserve}}
	v := newTightVolume(t)
	w := &world{T: t, dir: filepath.Join(v.dir, "journal")}
	w.open(small)
	ids := w.acceptMany(20, strings.Repeat("x", 200<<10))
	bad := w.accept()
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(small)
	w.spoil("ORD-1")
	w.scrub()
	w.wantAside(bad)
	w.untilBallast(true)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	table, err := os.Stat(tablesOf(t, w.dir)[0])
	if err != nil {
		t.Fatal(err)
	}
	used, _ := v.used()
	v.resize(used+table.Size()-reserve/2, 2000)
	w.open(small)
	for _, id := range ids {
		w.status(id)
	}
	w.whole()
}

// What a start that was killed has written in part takes up no room for ever.
func TestPartOfATableIsSwept(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(w.dir, "store", "000002.sst.anew")
	if err := os.WriteFile(part, []byte("a part"), 0o600); err != nil {
		t.Fatal(err)
	}
	w.open(journal.Options{})
	if _, err := os.Stat(part); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("it is there still: %v", err)
	}
	w.whole()
}
