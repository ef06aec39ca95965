package journal_test

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"pannier/journal"
	"pannier/journal/state"
)

// done accepts an intent with a payload of that size and has our own app finish it.
func (w *world) done(size int) journal.ID {
	w.Helper()
	e := envelope()
	e.Payload = fmt.Appendf(nil, `{"x":"%s"}`, bytes.Repeat([]byte("x"), size))
	got, err := w.j.Accept(w.Context(), []journal.Accept{{Envelope: e}})
	if err != nil || got[0].Err != nil {
		w.Fatalf("accept: %v, %v", err, got)
	}
	h := w.local(time.Minute)
	if s := w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack, Result: []byte(`{"paid":true}`)}); s.Err != nil {
		w.Fatal(s.Err)
	}
	return got[0].ID
}

// later closes the journal, lets time pass, and opens it again: nothing of it runs then,
// so it takes no time.
func (w *world) later(d time.Duration, o journal.Options) {
	w.Helper()
	if err := w.j.Close(); err != nil {
		w.Fatal(err)
	}
	time.Sleep(d)
	w.open(o)
	w.letGo()
}

func (w *world) letGo() {
	w.Helper()
	if err := w.j.LetGo(); err != nil {
		w.Fatal(err)
	}
	w.historyAdds()
}

func (w *world) historyAdds() {
	w.Helper()
	if records, counted := w.j.HistoryAdds(); records != counted {
		w.Errorf("the records of the history say that it takes %d bytes, %d are counted", records, counted)
	}
}

// body says what is left of an intent: whole, bare (its bodies are gone), or gone.
func (w *world) body(id journal.ID) string {
	w.Helper()
	i, err := w.j.Get(id)
	var letGo *journal.LetGoError
	switch {
	case errors.As(err, &letGo) && errors.Is(err, journal.ErrNotFound):
		return "gone"
	case err != nil:
		return err.Error()
	case string(i.Envelope.Payload) == "{}" && len(i.Outcome.GetBody()) == 0 && i.Envelope.IntentType != "":
		return "bare"
	}
	return "whole"
}

func (w *world) wantBody(id journal.ID, want string) {
	w.Helper()
	if got := w.body(id); got != want {
		w.Errorf("of %s is left: %s, want %s", id, got, want)
	}
}

// TestHistoryByAge: bodies go after a day, the rest after a week, dead letters after a
// month, and what is open never.
func TestHistoryByAge(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setupPair(t)
		w := p.home
		o := journal.Options{DeliverBy: 1000 * 24 * time.Hour, Deadline: 1000 * 24 * time.Hour}
		dead := p.die()
		p.holder.j.Close()
		w.later(0, o)
		ended := w.done(600 << 10) // three chunks
		open := w.accept()
		said := len(w.events(ended))
		day := 24 * time.Hour
		for _, at := range []struct {
			after             time.Duration
			ended, dead, open string
		}{
			{day - time.Second, "whole", "whole", "whole"},
			{2 * time.Second, "bare", "whole", "whole"},
			{6*day - 3*time.Second, "bare", "whole", "whole"},
			{4 * time.Second, "gone", "whole", "whole"},
			{23*day - 3*time.Second, "gone", "whole", "whole"},
			{4 * time.Second, "gone", "gone", "whole"},
		} {
			w.later(at.after, o)
			w.wantBody(ended, at.ended)
			if at.ended == "bare" && len(w.events(ended)) != said {
				t.Errorf("%d events are left, want %d", len(w.events(ended)), said)
			}
			if at.dead == "whole" {
				w.wantDead(journal.DeadFilter{}, dead)
			} else {
				w.wantDead(journal.DeadFilter{})
			}
			w.wantBody(open, at.open)
		}
		if s := w.j.Stats(); s.History != 0 {
			t.Errorf("with nothing left the history takes %d bytes", s.History)
		}
		w.whole()
	})
}

// TestHistoryBudget: beyond it the oldest go, whole; what is open, and dead letters, never.
func TestHistoryBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setupPair(t)
		w := p.home
		dead := p.die()
		p.holder.j.Close()
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		const budget = 200 << 10
		w.open(journal.Options{History: journal.History{HistoryBytes: budget}})
		var ids []journal.ID
		for range 100 {
			ids = append(ids, w.done(4<<10))
			time.Sleep(time.Millisecond)
		}
		open := w.accept()
		time.Sleep(2 * time.Second) // the newest second is not looked at
		w.letGo()
		if s := w.j.Stats(); s.History > budget || s.History < budget/2 {
			t.Errorf("the history takes %d bytes, want at most %d and not much less", s.History, budget)
		}
		gone := 0
		for _, id := range ids {
			if w.body(id) == "gone" {
				gone++
			}
		}
		if gone < 50 || gone == len(ids) {
			t.Errorf("%d of %d are gone, want the older part", gone, len(ids))
		}
		for i, id := range ids {
			if got := w.body(id); got != map[bool]string{true: "gone", false: "whole"}[i < gone] {
				t.Errorf("intent %d of %d is %s, and %d are gone: want the oldest to be", i, len(ids), got, gone)
			}
		}
		w.wantBody(open, "whole")
		w.wantDead(journal.DeadFilter{}, dead)
		if s := w.j.Stats(); s.LetGo != uint64(gone) || s.LetGoUntil.IsZero() {
			t.Errorf("stats say %+v, want %d let go", s, gone)
		}
		w.reopen()
		w.wantBody(ids[0], "gone")
		w.whole()
	})
}

// TestHistoryOfAHolder: what home has not heard of stays, and ids stay a day.
func TestHistoryOfAHolder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := setupPair(t)
		w := p.holder
		finish := func() journal.ID {
			t.Helper()
			id := p.home.accept()
			res, err := p.offer(time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range res {
				if r.ID == id {
					if s := w.settle(journal.Settle{ID: id, Lease: r.Handed.Lease, Action: journal.Ack}); s.Err != nil {
						t.Fatal(s.Err)
					}
				}
			}
			return id
		}
		acked := finish()
		if err := p.report(); err != nil {
			t.Fatal(err)
		}
		unheard := finish()
		left := func(id journal.ID, want string) {
			t.Helper()
			i, err := w.j.Get(id)
			got := "whole"
			switch {
			case errors.Is(err, journal.ErrNotFound):
				got = "gone"
			case err != nil:
				got = err.Error()
			case string(i.Envelope.Payload) == "{}":
				got = "bare"
			}
			if got != want {
				t.Errorf("of %s is left: %s, want %s", id, got, want)
			}
		}
		later := func(d time.Duration) {
			t.Helper()
			p.home.j.Close()
			w.later(d, journal.Options{History: journal.History{HistoryBytes: 1}}) // no room at all
			p.home.open(journal.Options{})
		}
		later(time.Hour)
		left(acked, "bare")
		left(unheard, "whole")
		later(24 * time.Hour)
		left(acked, "gone")
		left(unheard, "whole")
		if err := p.report(); err != nil {
			t.Fatal(err)
		}
		later(25 * time.Hour)
		left(unheard, "gone")
		w.whole()
	})
}

// TestHistoryForgetsKeys: an idempotency key goes after its day, and its intent with the
// history, whichever is first; until then it answers as before.
func TestHistoryForgetsKeys(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		key := &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{1}}
		post := func() journal.Accepted {
			t.Helper()
			got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope(), Key: key}})
			if err != nil || got[0].Err != nil {
				t.Fatalf("accept: %v, %+v", err, got)
			}
			return got[0]
		}
		first := post()
		h := w.local(time.Minute)
		w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
		w.later(time.Hour, journal.Options{History: journal.History{HistoryBytes: 1}})
		w.wantBody(first.ID, "gone")
		if again := post(); !again.Replayed || again.ID != first.ID {
			t.Errorf("an hour later: %+v, want the first one, though it is gone", again)
		}
		w.later(24*time.Hour, journal.Options{})
		if n := w.j.Count('d') + w.j.Count('g'); n != 0 {
			t.Errorf("a day later %d records of keys are left", n)
		}
		w.whole()
	})
}

// TestHistoryOfThreadsAndParts: a thread goes with its intent, and what approves an intent
// stays until that has ended.
func TestHistoryOfThreadsAndParts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		o := journal.Options{History: journal.History{HistoryBodies: time.Hour, HistoryFor: time.Hour}}
		asked := w.ask(nil)
		if _, err := w.j.Answer(t.Context(), asked, journal.Answer{Trigger: state.Complete, Actor: "ann"}); err != nil {
			t.Fatal(err)
		}
		if w.j.Count('V') == 0 {
			t.Fatal("it has no thread")
		}
		parent := w.gated(journal.Accept{}, part(1, false, "ann"), part(2, false, "bob"))
		if err := w.decide(parent, 0, true); err != nil {
			t.Fatal(err)
		}
		first := journal.PartID(parent, 0)
		w.later(2*time.Hour, o)
		w.wantBody(first, "whole")
		if err := w.decide(parent, 1, false); err != nil {
			t.Fatal(err)
		}
		for range 3 { // parts are looked at again when they are as old once more
			w.later(2*time.Hour, o)
		}
		for _, id := range []journal.ID{asked, parent, first, journal.PartID(parent, 1)} {
			w.wantBody(id, "gone")
			if _, err := w.j.Thread(id); !errors.Is(err, journal.ErrNoThread) {
				t.Errorf("the thread of %s: %v", id, err)
			}
		}
		if n := w.j.Count('V') + w.j.Count('j') + w.j.Count('T'); n != 0 {
			t.Errorf("%d records of threads and plans are left", n)
		}
		w.whole()
	})
}

// TestHistoryOfSteps: the intents of a workflow stay until that has ended, also those that
// were tried again, and then all of it goes.
func TestHistoryOfSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		o := journal.Options{History: journal.History{HistoryBodies: time.Hour, HistoryFor: time.Hour}}
		tried := step(agent, "a", 2, 0)
		tried.Step.Retries = 1
		parent := w.workflow(journal.Accept{}, tried, step(journal.StepReminder, "carl", 3, 0), step(person, "b", 0, 0))
		first := w.awaited(parent)
		for _, how := range []byte("ny") {
			if err := w.said(parent, how); err != nil {
				t.Fatal(err)
			}
		}
		w.later(2*time.Hour, o)
		w.wantBody(first, "whole")
		w.wantBody(journal.ID(w.get(parent).Plan.Parts[0].Id), "whole")
		if err := w.said(parent, 'x'); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			w.later(2*time.Hour, o)
		}
		w.wantNothing()
	})
}

// TestHistoryOfPurged: people see of a dead letter that was purged what had become of it, as
// long as it is known that there was one.
func TestHistoryOfPurged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		e := envelope()
		e.HumanTask = []byte(`{"title":"?"}`)
		got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Deadline: time.Now().Add(time.Second)}})
		if err != nil || got[0].Err != nil {
			t.Fatal(err, got)
		}
		id := got[0].ID
		w.later(time.Minute, journal.Options{})
		synctest.Wait()
		w.wantDead(journal.DeadFilter{}, id)
		if errs, err := w.j.Purge(t.Context(), []journal.ID{id}, "ann"); err != nil || errs[0] != nil {
			t.Fatal(err, errs)
		}
		w.later(6*24*time.Hour, journal.Options{})
		if _, err := w.j.Thread(id); err != nil {
			t.Errorf("its thread, after six days: %v", err)
		}
		w.later(2*24*time.Hour, journal.Options{})
		w.wantNothing()
	})
}

// wantNothing wants no record of any intent.
func (w *world) wantNothing() {
	w.Helper()
	for class := range journal.ClassesOfIntents() {
		if n := w.j.Count(class); n != 0 {
			w.Errorf("%d records of class %c are left", n, class)
		}
	}
	w.whole()
}

// TestHistoryCut: a commit of the sweep that fails, whether it has happened or not, leaves
// a whole journal, and the next start goes on.
func TestHistoryCut(t *testing.T) {
	t.Parallel()
	for _, persist := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := setup(t)
			id := w.done(600 << 10)
			w.later(25*time.Hour, journal.Options{History: journal.History{HistoryBodies: 48 * time.Hour}})
			w.wantBody(id, "whole")
			w.j.FailCommit(1, persist)
			w.j.KeepBodies(24 * time.Hour)
			if err := w.j.LetGo(); !errors.Is(err, journal.ErrFailed) {
				t.Errorf("the commit fails: %v, want %v", err, journal.ErrFailed)
			}
			w.j.Abandon()
			w.open(journal.Options{})
			w.letGo()
			w.wantBody(id, "bare")
			w.whole()
		})
	}
}

// TestHistoryGoesByItself: what is over the budget at a start is let go without anybody's doing.
func TestHistoryGoesByItself(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		id := w.done(10)
		w.wantBody(id, "whole")
		if err := w.j.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		w.open(journal.Options{History: journal.History{HistoryBytes: 1}})
		time.Sleep(3 * time.Minute) // until the clock has held
		if got := w.body(id); got == "whole" {
			t.Error("it is whole, where there is no room for it")
		}
	})
}

// What is over the budget again goes at once, as long as what went before has made room: only where
// all that is left has to stay it is looked at later.
func TestHistoryBudgetOnceMore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const budget = 400 << 10
		w := &world{T: t, dir: t.TempDir()}
		w.open(journal.Options{History: journal.History{HistoryBytes: budget}})
		for range 100 {
			w.done(4 << 10)
			time.Sleep(time.Millisecond)
		}
		time.Sleep(2500 * time.Millisecond)
		before := w.j.Stats()
		for range 30 {
			w.done(4 << 10)
		}
		time.Sleep(time.Millisecond)
		if now := w.j.Stats(); before.LetGo == 0 || now.LetGo == before.LetGo || now.History > budget {
			t.Errorf("the history takes %d bytes, want at most %d; %d are gone, %d were before", now.History, budget, now.LetGo, before.LetGo)
		}
		w.historyAdds()
		w.whole()
	})
}

// TestHistoryDefault: it takes a quarter of the volume, and of the files that may be open.
func TestHistoryDefault(t *testing.T) {
	t.Parallel()
	const mib, gib = 1 << 20, 1 << 30
	for _, row := range []struct{ volume, files, want int }{
		{100 * gib, 1 << 20, 4 * gib},
		{8 * gib, 1 << 20, 2 * gib},
		{32 * mib, 1 << 20, 16 * mib},
		{100 * gib, 1024, 512 * mib},
		{100 * gib, 16, 16 * mib},
	} {
		if got := journal.HistoryBytes(row.volume, row.files); got != row.want {
			t.Errorf("on %d MiB, with %d files: %d MiB, want %d", row.volume/mib, row.files, got/mib, row.want/mib)
		}
	}
	if got := journal.DefaultHistoryAt("/proc").HistoryBytes; got != 16*mib { // a volume of no bytes
		t.Errorf("on a volume without room it is %d MiB", got/mib)
	}
}

// TestHistoryDefaultOfOpenFiles has few files for the whole process, so nothing runs beside it.
func TestHistoryDefaultOfOpenFiles(t *testing.T) {
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	const few = 128
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: few, Max: was.Max}); err != nil {
		t.Fatal(err)
	}
	got := journal.DefaultHistoryAt(t.TempDir()).HistoryBytes
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	if want := journal.HistoryBytes(math.MaxInt, few); got != want {
		t.Errorf("where %d files may be open it takes %d bytes, want %d", few, got, want)
	}
}
