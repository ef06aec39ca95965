package journal_test

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

func bodyKey(class byte, id journal.ID, n byte) []byte {
	return append(append([]byte{class}, id[:]...), 0, n)
}

// cutOff has a body lack its end: its first part is as long as one that others follow.
func cutOff(class byte, id journal.ID) func(*badger.Txn) error {
	return put(bodyKey(class, id, 0), append([]byte{1<<3 | 2, 0xff, 0xff, 0x7f}, make([]byte, journal.ChunkSize-4)...))
}

// headless has it lack its beginning.
func headless(class byte, id journal.ID) func(*badger.Txn) error {
	return all(without(id, string(class)), put(bodyKey(class, id, 1), []byte("the end")))
}

// What has ended stays, and can be read, where a part of what was sent or of how it ended is
// gone, and its key goes on meaning it: whoever sent it would have it done twice.
func TestAcceptLossOfABodyOfWhatHasEnded(t *testing.T) {
	t.Parallel()
	w := setupTied(t)
	for _, c := range []struct {
		damage string
		at     *world
		id     journal.ID
		class  byte
		plant  func(byte, journal.ID) func(*badger.Txn) error
		want   state.Status
	}{
		{"what was sent, cut off", w.home, w.done, 'v', cutOff, state.Completed},
		{"what was sent, but for its end", w.home, w.done, 'v', headless, state.Completed},
		{"a bit of what was sent", w.home, w.done, 'v', flipBody, state.Completed},
		{"two parts of what was sent", w.home, w.done, 'v', twoParts, state.Completed},
		{"all of what was sent", w.home, w.done, 'v', loseBody, state.Completed},
		{"how it ended, cut off", w.home, w.done, 'a', cutOff, state.Completed},
		{"how it ended, but for its end", w.home, w.done, 'a', headless, state.Completed},
		{"a bit of how it ended", w.home, w.done, 'a', flipBody, state.Completed},
		{"all of how it ended", w.home, w.done, 'a', loseBody, state.Completed},
		{"how a dead letter ended, cut off", w.home, w.dead, 'a', cutOff, state.Failed},
		{"what a dead letter was sent, cut off", w.home, w.dead, 'v', cutOff, state.Failed},
		{"what was sent and is answered here, cut off", w.holder, w.settled, 'v', cutOff, state.Completed},
		{"all of what was sent and is answered here", w.holder, w.settled, 'v', loseBody, state.Completed},
		{"what was answered here, cut off", w.holder, w.settled, 'a', cutOff, state.Completed},
		{"a bit of what was answered here", w.holder, w.settled, 'a', flipBody, state.Completed},
	} {
		t.Run(c.damage, func(t *testing.T) {
			t.Parallel()
			v := c.at.copied(t)
			v.plant(c.plant(c.class, c.id))
			if r, err := journal.Verify(v.dir); err != nil || !slices.ContainsFunc(r.Damages, func(d journal.Damage) bool { return d.Intent == c.id }) {
				t.Errorf("verify finds %v, %v", r.Damages, err)
			}
			gone := slices.DeleteFunc(v.goOn(), func(id journal.ID) bool { return id != c.id })
			words := "intents that have ended have lost what was sent: "
			switch {
			case c.class == 'a':
				words = "intents that have ended have lost how they ended: "
			case c.id == w.dead:
				words = "dead letters have lost what was sent: "
			}
			if said := v.j.Stats().Loss; said != words+c.id.String() || len(gone) != 1 {
				t.Errorf("said to be lost: %q; %d times in the log", said, len(gone))
			}
			i := v.get(c.id)
			if i.Status() != c.want {
				t.Errorf("it is %s, want %s", i.Status(), c.want)
			}
			if isOmitted := bytes.Contains(i.Outcome.GetBody(), []byte(`"omitted":true`)); isOmitted != (c.class == 'a') {
				t.Errorf("how it ended is %q", i.Outcome.GetBody())
			}
			v.counted()
			v.whole()
			v.goOn()
			if said := v.j.Stats().Loss; said != "" {
				t.Errorf("found once more: %q", said)
			}
		})
	}
}

func flipBody(class byte, id journal.ID) func(*badger.Txn) error {
	return rewriteAt(string(bodyKey(class, id, 0)))
}

// twoParts has two parts of a body be unreadable.
func twoParts(class byte, id journal.ID) func(*badger.Txn) error {
	return func(txn *badger.Txn) error {
		return errors.Join(txn.Set(bodyKey(class, id, 0), []byte("broken")), txn.Set(bodyKey(class, id, 1), []byte("broken")))
	}
}

func loseBody(class byte, id journal.ID) func(*badger.Txn) error { return without(id, string(class)) }

// However many parts of a body are there, what is wrong with it is said once.
func TestVerifyOfABodyInParts(t *testing.T) {
	t.Parallel()
	w := setupTied(t)
	v := w.home.copied(t)
	v.plant(all(cutOff('v', w.done), put(bodyKey('v', w.done, 2), []byte("x")), without(w.dead, "v"), put(bodyKey('v', w.dead, 1), []byte("x")), put(bodyKey('v', w.dead, 2), []byte("x"))))
	r, err := journal.Verify(v.dir)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []journal.DamageKind
	for _, d := range r.Damages {
		kinds = append(kinds, d.Kind)
	}
	slices.Sort(kinds)
	if !slices.Equal(kinds, []journal.DamageKind{journal.MissingRecord, journal.DamagedRecord, journal.DamagedRecord}) {
		t.Errorf("found %q", r.Damages)
	}
}

// What was answered here and has lost its answer is not done again: home hears that it was, and
// what is left of the answer.
func TestLostAnswerIsToldHome(t *testing.T) {
	t.Parallel()
	w := setupTied(t)
	v := w.holder.copied(t)
	v.plant(cutOff('a', w.settled))
	v.goOn()
	p := &pair{T: t, home: w.home.copied(t), holder: v}
	p.home.open(journal.Options{})
	if _, err := v.j.SawHome(t.Context(), p.home.j.Identity(), "", nil); err != nil {
		t.Fatal(err)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	if i := p.home.get(w.settled); i.Status() != state.Completed || !bytes.Contains(i.Outcome.GetBody(), []byte(`"omitted":true`)) {
		t.Errorf("home has %s, %q", i.Status(), i.Outcome.GetBody())
	}
	p.home.whole()
	v.whole()
}

// What has ended and goes bad while the journal runs is found by whoever reads it, and then can be
// read without that, in lists too.
func TestEndedIsReadWithoutWhatCannotBe(t *testing.T) {
	t.Parallel()
	type ended struct {
		home, holder *world
		done, dead   journal.ID
		unheard      journal.ID // by home
	}
	both := func(t *testing.T) ended {
		p := setupPair(t)
		e := ended{p.home, p.holder, p.home.accept(), p.home.accept(), p.home.accept()}
		var last journal.Settle
		for _, r := range p.held(time.Minute) {
			s := journal.Settle{ID: r.ID, Lease: r.Handed.Lease, Action: journal.Ack, Result: []byte(`{"paid":true}`)}
			switch r.ID {
			case e.dead:
				s = journal.Settle{ID: r.ID, Lease: r.Handed.Lease, Action: journal.Nack, Reject: true}
			case e.unheard:
				last = s
				continue
			}
			p.holder.settle(s)
		}
		if err := p.report(); err != nil {
			t.Fatal(err)
		}
		p.holder.settle(last)
		return e
	}
	done := func(e ended) (*world, journal.ID) { return e.home, e.done }
	dead := func(e ended) (*world, journal.ID) { return e.home, e.dead }
	held := func(e ended) (*world, journal.ID) { return e.holder, e.done }
	unheard := func(e ended) (*world, journal.ID) { return e.holder, e.unheard }
	copied := func(e ended) (*world, journal.ID) { return e.holder, e.dead }
	for name, c := range map[string]struct {
		of    func(ended) (*world, journal.ID)
		class byte
		want  state.Status
	}{
		"what was sent":                      {done, 'v', state.Completed},
		"how it ended":                       {done, 'a', state.Completed},
		"what a dead letter was sent":        {dead, 'v', state.Failed},
		"how a dead letter ended":            {dead, 'a', state.Failed},
		"what was sent and is answered here": {held, 'v', state.Completed},
		"what was answered here":             {held, 'a', state.Completed},
		"what was sent, its answer unheard":  {unheard, 'v', state.Completed},
		"what was sent of a copy":            {copied, 'v', state.Failed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, id := c.of(both(t))
			if err := w.j.Break(id, c.class); err != nil {
				t.Fatal(err)
			}
			if _, err := w.j.Get(id); !errors.As(err, new(*journal.CorruptError)) {
				t.Fatalf("read all the same, %v", err)
			}
			i, err := w.readAgain(id)
			if err != nil {
				t.Fatalf("it stays unreadable: %v", err)
			}
			if i.Status() != c.want || w.j.Stats().Aside != 1 {
				t.Errorf("it is %s, and %d records were set aside", i.Status(), w.j.Stats().Aside)
			}
			if isOmitted := bytes.Contains(i.Outcome.GetBody(), []byte(`"omitted":true`)); isOmitted != (c.class == 'a') {
				t.Errorf("how it ended is %q", i.Outcome.GetBody())
			}
			if wasSent := bytes.Contains(i.Envelope.GetPayload(), []byte("ORD-1")); wasSent != (c.class == 'a') {
				t.Errorf("what was sent is %q", i.Envelope.GetPayload())
			}
			list, _, err := w.j.List(journal.Filter{Limit: 10})
			if err != nil || !slices.ContainsFunc(list, func(i *journal.Intent) bool { return i.ID == id }) {
				t.Errorf("it is in no list, %v", err)
			}
			w.counted()
			w.whole()
		})
	}
}

// Nor does one hide for ever of which the log cannot be read: who follows it gets as many events.
func TestEndedIsReadWithoutItsLog(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	if err := w.j.Refuse(t.Context(), id, 1, state.ReasonRejected, "no"); err != nil {
		t.Fatal(err)
	}
	was := w.log(id)
	if err := w.j.Break(id, 't'); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.j.Events(id, 0); !errors.As(err, new(*journal.CorruptError)) {
		t.Fatalf("read all the same, %v", err)
	}
	w.until("its log can be read", func() bool { _, _, err := w.j.Events(id, 0); return err == nil })
	w.wantDead(journal.DeadFilter{}, id)
	if now := w.log(id); len(now) != len(was) || now[len(now)-1].Status != was[len(was)-1].Status {
		t.Errorf("its events are %v, and were %v", now, was)
	}
	w.whole()
}

// What is left of an end stands for it: whatever is lost of what has ended with its head, it does not
// end once more, what tells of its end is what it was, and it goes from the history in its time.
func TestEndedDoesNotEndAgain(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{"head": "i", "head and log": "it", "head, log and what was sent": "itv", "head, log and hand-over": "ith"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			id := w.asked()
			h := w.local(time.Minute)
			w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack, Result: []byte(`{"paid":true}`)})
			said := w.get(journal.CompletionID(id))
			counted := w.j.Stats().History
			if err := w.j.Break(id, []byte(broken)...); err != nil {
				t.Fatal(err)
			}
			if _, err := w.j.Get(id); !errors.As(err, new(*journal.CorruptError)) {
				t.Fatalf("read all the same, %v", err)
			}
			i, err := w.readAgain(id)
			if err != nil {
				t.Fatalf("it stays unreadable: %v", err)
			}
			if i.Status() != state.Completed || string(i.Outcome.GetBody()) != `{"paid":true}` || i.DeadReason() != state.NoReason || i.Head.MaxAttempts == 0 {
				t.Errorf("it is %s with %q, dead for %q, after at most %d attempts", i.Status(), i.Outcome.GetBody(), i.DeadReason(), i.Head.MaxAttempts)
			}
			if again := w.get(journal.CompletionID(id)); !bytes.Equal(again.Envelope.Payload, said.Envelope.Payload) || again.Head.CreatedMs != said.Head.CreatedMs {
				t.Errorf("who is told hears %s, and heard %s", again.Envelope.Payload, said.Envelope.Payload)
			}
			if log := w.log(id); state.Status(log[len(log)-1].Status) != state.Completed {
				t.Errorf("its log ends with %v", log[len(log)-1])
			}
			w.whole()
			if broken != "i" {
				return // what it was counted for is lost with its head
			}
			w.open(journal.Options{})
			if now := w.j.Stats().History; now != counted {
				t.Errorf("%d bytes of history are counted, and were %d", now, counted)
			}
			w.later(2*time.Second, journal.Options{History: journal.History{HistoryBytes: 1}})
			w.later(0, journal.Options{})
			if _, err := w.j.Get(id); err == nil {
				t.Error("it is not let go")
			}
		})
	}
}

// readAgain reads an intent until it can be read.
func (w *world) readAgain(id journal.ID) (i *journal.Intent, err error) {
	w.Helper()
	w.until("it can be read", func() bool {
		i, err = w.j.Get(id)
		return !errors.As(err, new(*journal.CorruptError))
	})
	return i, err
}

// until waits for what another goroutine of the journal does.
func (w *world) until(what string, done func() bool) {
	w.Helper()
	for end := time.Now().Add(10 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("it does not come about that %s", what)
		}
	}
}

// One that has lost its plan, or its policy, is read without that.
func TestEndedIsReadWithoutItsPlan(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.workflow(journal.Accept{}, step(agent, "a", 0, 0), step(agent, "b", 0, 0))
	w.change(id, &wire.Change{Controls: []byte(`{"note":"x"}`)})
	w.cancelMany(id)
	for _, class := range []byte{'j', 'c'} {
		if err := w.j.Break(id, class); err != nil {
			t.Fatal(err)
		}
	}
	i, err := w.readAgain(id)
	if err != nil || i.Status() != state.Canceled || i.Plan != nil || i.Policy != nil {
		t.Fatalf("it is %+v, %v", i, err)
	}
	w.whole()
}

// A thread that cannot be read hides no other, and somebody hears of it.
func TestUnreadableThreadHidesNoOther(t *testing.T) {
	t.Parallel()
	w := setup(t)
	bad, good := w.ask(nil), w.ask(nil)
	if err := w.j.Break(bad, 'T'); err != nil {
		t.Fatal(err)
	}
	threads := func() (ids []journal.ID) {
		list, _, err := w.j.Threads(journal.ThreadFilter{Owner: w.get(good).Envelope.ToAgent, Limit: 10}, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, th := range list {
			ids = append(ids, th.ID)
		}
		return ids
	}
	if got := threads(); !slices.Equal(got, []journal.ID{good}) {
		t.Errorf("the inbox has %v, want %v", got, good)
	}
	w.until("it is set aside", func() bool { return w.j.Stats().Aside > 0 })
	if got := w.j.Stats().Aside; got != 1 {
		t.Errorf("%d records were set aside", got)
	}
	w.scrub()
	if got := threads(); !slices.Equal(got, []journal.ID{good}) || !w.status(bad).Open() {
		t.Errorf("the inbox has %v, want %v; the other is %s", got, good, w.status(bad))
	}
}

// Nothing that is open ends for a plan, or a policy, that it may do without.
func TestOpenGoesOnWithoutItsPolicy(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	w.change(id, &wire.Change{Controls: []byte(`{"note":"x"}`)})
	h := w.local(time.Minute)
	if err := w.j.Break(id, 'c'); err != nil {
		t.Fatal(err)
	}
	w.scrub()
	if got := w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Ack}); got.Err != nil || w.j.Stats().Faults != 0 {
		t.Errorf("its answer is not taken: %+v", got)
	}
}

// Who is told of an end is told once, also where nothing is left that says that it was an end.
func TestCompletionIsNotWrittenOver(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.asked()
	h := w.local(time.Minute)
	w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
	said := w.get(journal.CompletionID(id))
	err := errors.Join(w.j.Break(id, 'i', 't'), w.j.Lose(id, 'a', 'h'), w.j.Behind(func(txn *badger.Txn) error {
		return txn.Delete(firstKey(txn, 'r')) // of the history, in which the completion is not
	}))
	if err != nil {
		t.Fatal(err)
	}
	if i, err := w.readAgain(id); err != nil || i.Status() != state.Failed {
		t.Errorf("it is %+v, %v", i, err)
	}
	if again := w.get(journal.CompletionID(id)); !bytes.Equal(again.Envelope.Payload, said.Envelope.Payload) {
		t.Errorf("who is told hears %s, and heard %s", again.Envelope.Payload, said.Envelope.Payload)
	}
}

// What an app has answered goes home though the hand-over is lost before home has heard; of a large
// answer, that there was one.
func TestAnswerOfALostHandover(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ answer, want string }{
		"small": {`{"paid":true}`, `{"paid":true}`},
		"large": {`{"x":"` + strings.Repeat("x", 200<<10) + `"}`, `{"omitted":true,"bytes":0}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := setupPair(t)
			id := p.home.accept()
			h := p.held(time.Minute)[0].Handed
			p.holder.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Ack, Result: []byte(c.answer)})
			if err := p.holder.j.Break(id, 'h'); err != nil {
				t.Fatal(err)
			}
			if i, err := p.holder.readAgain(id); !errors.Is(err, journal.ErrNotFound) {
				t.Fatalf("the holder has %+v, %v", i, err)
			}
			if err := p.report(); err != nil {
				t.Fatal(err)
			}
			if i := p.home.get(id); i.Status() != state.Completed || string(i.Outcome.GetBody()) != c.want {
				t.Errorf("it is %s with %.40q, want %.40q", i.Status(), i.Outcome.GetBody(), c.want)
			}
			p.home.whole()
			p.holder.whole()
		})
	}
}

// Nothing is left of what has ended and loses its hand-over.
func TestEndedWithoutItsHandover(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]journal.Settle{"done": {Action: journal.Ack}, "dead": {Action: journal.Nack, Reject: true}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := setupPair(t)
			s.ID = p.home.accept()
			s.Lease = p.held(time.Minute)[0].Handed.Lease
			p.holder.settle(s)
			if err := p.report(); err != nil {
				t.Fatal(err)
			}
			if err := p.holder.j.Break(s.ID, 'h'); err != nil {
				t.Fatal(err)
			}
			if i, err := p.holder.readAgain(s.ID); !errors.Is(err, journal.ErrNotFound) {
				t.Errorf("it is %+v, %v", i, err)
			}
			p.holder.whole()
		})
	}
}

// A copy of a dead letter is in its list without its log, too.
func TestCopyIsReadWithoutItsLog(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	h := p.held(time.Minute)[0].Handed
	p.holder.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack, Reject: true})
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	if err := p.holder.j.Break(id, 't'); err != nil {
		t.Fatal(err)
	}
	p.holder.until("it is in the list", func() bool { return len(p.holder.dead(journal.DeadFilter{})) > 0 })
	p.holder.wantDead(journal.DeadFilter{}, id)
	p.holder.whole()
}

// What has ended and cannot be read, and nobody has read, is let go all the same, and nothing is left
// of what was set aside.
func TestUnreadIsLetGo(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	h := w.local(time.Minute)
	w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
	if err := w.j.Break(h.ID, 't'); err != nil {
		t.Fatal(err)
	}
	none := journal.Options{History: journal.History{HistoryBytes: 1}}
	w.later(2*time.Second, none)
	w.until("it is set aside", func() bool { return w.j.Stats().Aside > 0 })
	w.later(0, none)
	if i, err := w.j.Get(h.ID); !errors.As(err, new(*journal.LetGoError)) {
		t.Errorf("it is %+v, %v", i, err)
	}
	err := w.j.Behind(func(txn *badger.Txn) error { _, err := txn.Get(append([]byte{'Q'}, h.ID[:]...)); return err })
	if !errors.Is(err, badger.ErrKeyNotFound) {
		t.Errorf("what was set aside of it is there still: %v", err)
	}
	w.whole()
}

// A dead letter that has lost its head and its log is one, as far as anybody can tell for our fault.
func TestDeadLetterWithoutItsHead(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]string{"head": "i", "head and log": "it", "head, log and what was sent": "itv"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			id := w.accept()
			if err := w.j.Refuse(t.Context(), id, 1, state.ReasonRejected, "no"); err != nil {
				t.Fatal(err)
			}
			if err := w.j.Break(id, []byte(broken)...); err != nil {
				t.Fatal(err)
			}
			w.scrub()
			w.wantDead(journal.DeadFilter{}, id)
			if i, err := w.readAgain(id); err != nil || i.Status() != state.Failed {
				t.Errorf("it is %+v, %v", i, err)
			}
			w.whole()
		})
	}
}
