package journal_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dgraph-io/badger/v4"
	"google.golang.org/protobuf/proto"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// unreadable is where an intent of our own is, and what of it cannot be read.
type unreadable struct {
	put    func(p *pair) // where it is
	broken string        // classes of its records
	lose   string
	told   bool // its envelope says who is to be told, and can be read
}

var unreadables = map[string]unreadable{
	"its head, due":                      {func(*pair) {}, "i", "", true},
	"its head, held elsewhere":           {(*pair).heldAll, "i", "", true},
	"its head, here":                     {func(p *pair) { p.home.hold() }, "i", "", true},
	"its head, gone":                     {func(*pair) {}, "", "i", true},
	"its head, gone from a hand-over":    {func(p *pair) { p.home.hold() }, "", "i", true},
	"its events":                         {(*pair).heldAll, "t", "", true},
	"its envelope":                       {func(*pair) {}, "v", "", false},
	"its envelope, gone":                 {func(*pair) {}, "", "v", false},
	"its envelope, held elsewhere":       {(*pair).heldAll, "v", "", false},
	"its events, gone":                   {(*pair).heldAll, "", "t", true},
	"its head and envelope":              {func(*pair) {}, "iv", "", false},
	"its head and events":                {func(*pair) {}, "it", "", true},
	"its head and its hand-over":         {func(p *pair) { p.home.hold() }, "ih", "", true},
	"its events, here, and its envelope": {func(p *pair) { p.home.hold() }, "tv", "", false},
}

// Whatever of an intent of our own cannot be read, and wherever it is, it ends as a dead
// letter, and is in no index afterwards; who is to be told of its end is told. The one beside
// it goes on.
func TestUnreadableIntentEnds(t *testing.T) {
	t.Parallel()
	for name, c := range unreadables {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.ends(setupPair(t), func(*world) func() bool { return func() bool { return false } })
		})
	}
}

// So it does where the store cannot read just then, whatever it is that it is to read: what has
// come to nothing then is done by the next look.
func TestUnreadableIntentEndsWhereReadsFail(t *testing.T) {
	t.Parallel()
	for name, c := range unreadables {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachRead(t, func(t *testing.T, refuse func(*world) func() bool) { c.ends(setupPair(t), refuse) })
		})
	}
}

// eachRead runs f as often as there are reads of the committer's after refuse, of which it has one
// fail, each time another; the last time none.
func eachRead(t *testing.T, f func(t *testing.T, refuse func(*world) (refused func() bool))) {
	t.Helper()
	n, more := 1, true
	for ; more && n < 200; n++ {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			f(t, func(w *world) func() bool {
				refused := w.j.RefuseReadNo(n)
				t.Cleanup(func() { more = refused() })
				return refused
			})
		})
	}
	if n < 5 || n == 200 {
		t.Errorf("%d reads failed", n-1)
	}
}

// scrubbed looks for what is damaged until there is nothing, where a read may have failed.
func (w *world) scrubbed(refused func() bool) {
	w.Helper()
	if err := w.j.Scrub(w.Context()); err != nil && !refused() {
		w.Fatal(err)
	}
	w.j.AllowReads()
	for range 2 {
		if err := w.j.Scrub(w.Context()); err != nil || w.j.Err() != nil {
			w.Fatalf("scrub: %v, %v", err, w.j.Err())
		}
	}
}

// ends breaks an intent, and sees it end.
func (c unreadable) ends(p *pair, refuse func(*world) (refused func() bool)) {
	bad, good := p.home.asked(), p.home.accept()
	c.put(p)
	was := p.home.log(bad)
	if err := errors.Join(p.home.j.Break(bad, []byte(c.broken)...), p.home.j.Lose(bad, []byte(c.lose)...)); err != nil {
		p.Fatal(err)
	}
	p.home.scrubbed(refuse(p.home))
	p.home.wantAside(bad)
	now := p.home.log(bad)
	if len(now) != len(was)+1 && c.broken != "it" { // whoever follows them does so by their number
		p.Errorf("it has %d events, and had %d", len(now), len(was))
	}
	for n, e := range now[:min(len(now)-1, len(was))] {
		if logged := !strings.Contains(c.broken+c.lose, "t"); logged && !proto.Equal(e, was[n]) || n < 2 && e.Type != was[n].Type {
			p.Errorf("event %d is %v, and was %v", n, e, was[n])
		}
	}
	if got := p.home.get(bad).Envelope.ToAgent; got != billing {
		p.Errorf("it is to %q", got)
	}
	agent, _ := p.home.j.AgentNo(billing)
	if mail, err := p.home.j.MailAll(agent); err != nil || slices.ContainsFunc(mail, func(m journal.Mail) bool { return m.ID == bad }) {
		p.Errorf("it is in the mailbox: %v, %v", mail, err)
	}
	p.home.wantDead(journal.DeadFilter{}, bad)
	if got := p.home.status(good); !got.Open() {
		p.Errorf("the other is %s", got)
	}
	if got := len(p.home.completions()); c.told != (got == 1) {
		p.Errorf("%d are told of the end", got)
	}
	if got := p.home.j.Stats(); got.Aside != 1 || got.Faults != 1 {
		p.Errorf("%d records and %d intents set aside, want one each", got.Aside, got.Faults)
	}
	p.home.reopen()
	p.home.whole()
}

func (p *pair) heldAll() { p.held(0) }

// held has the holder hold what is due at home, and home know.
func (p *pair) held(lease time.Duration) (res []journal.HoldResult) {
	p.Helper()
	res, err := p.offer(lease)
	if err != nil {
		p.Fatal(err)
	}
	noted := make(chan struct{})
	ids, nos := []journal.ID{}, []uint64{}
	for _, r := range res {
		ids, nos = append(ids, r.ID), append(nos, r.OfferNo)
	}
	p.home.j.RecordHeld(p.holder.j.Identity(), ids, nos, true, func() { close(noted) })
	<-noted
	return res
}

// log is what an intent's log says.
func (w *world) log(id journal.ID) []*wire.Event {
	w.Helper()
	log, _, err := w.j.Events(id, 0)
	if err != nil {
		w.Fatalf("events of %s: %v", id, err)
	}
	return log
}

// What another journal has whole goes on there where nobody is told of its end, and of what
// has to end the other one is told.
func TestUnreadableIntentHeldElsewhere(t *testing.T) {
	t.Parallel()
	eachRead(t, func(t *testing.T, refuse func(*world) (refused func() bool)) {
		p := setupPair(t)
		ended := make(chan journal.Ended, 8)
		p.home.j.Close()
		p.home.open(journal.Options{Hooks: journal.Hooks{
			Ended: func(e journal.Ended) { ended <- e },
			Moved: func(m journal.Moved) { t.Errorf("out of our own mailbox: %+v", m) },
		}})
		bad, good := p.home.accept(), p.home.accept()
		res := p.held(time.Minute)
		if err := errors.Join(p.home.j.Break(bad, 'i'), p.home.j.Break(good, 'v')); err != nil {
			t.Fatal(err)
		}
		p.home.scrubbed(refuse(p.home))
		p.home.wantAside(bad)
		if e := <-ended; e.ID != bad || e.Holder != p.holder.j.Identity().Journal {
			t.Errorf("told of the end of %s, held by %s", e.ID, e.Holder)
		}
		last := func() state.Status { log := p.home.log(good); return state.Status(log[len(log)-1].Status) }
		if got := last(); !got.Open() {
			t.Fatalf("that of which only the envelope is lost here is %s", got)
		}
		for _, r := range res {
			if r.ID == good {
				p.holder.settle(journal.Settle{ID: good, Lease: r.Handed.Lease, Action: journal.Ack})
			}
		}
		if err := p.report(); err != nil {
			t.Fatal(err)
		}
		if got := last(); got != state.Completed {
			t.Errorf("it is %s when the other has completed it", got)
		}
		if i := p.home.get(good); !i.SentLost() || i.Envelope != nil || i.Outcome == nil {
			t.Errorf("it is read with %v, %v", i.Envelope, i.Outcome)
		}
		p.home.reopen()
		p.home.whole()
	})
}

// What was sent and is lost here while another journal has it can be read meanwhile, and is offered to
// nobody else: should that journal be lost it is a dead letter.
func TestSentLostIsNotOffered(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	p.heldAll()
	if err := p.home.j.Break(id, 'v'); err != nil {
		t.Fatal(err)
	}
	p.home.scrub()
	if i := p.home.get(id); i.Status() != state.Submitted || !i.SentLost() {
		t.Errorf("it is %s, and what was sent is said to be lost: %v", i.Status(), i.SentLost())
	}
	if err := p.home.j.Requeue(t.Context(), p.holder.j.Identity().Journal, []journal.Requeue{{ID: id, Raise: true, Reason: state.ReasonHolderLost}}); err != nil {
		t.Fatal(err)
	}
	if offers := p.home.due(); len(offers) > 0 {
		t.Errorf("offered: %+v", offers)
	}
	p.home.until("it has ended", func() bool { return !p.home.status(id).Open() })
	p.home.wantDead(journal.DeadFilter{}, id)
	p.home.whole()
}

// Where a part is what cannot be read, what waits for it does so no more.
func TestUnreadablePartEndsTheWhole(t *testing.T) {
	t.Parallel()
	eachRead(t, func(t *testing.T, refuse func(*world) (refused func() bool)) {
		w := setup(t)
		whole := w.workflow(journal.Accept{}, step(agent, "a", 0, 0), step(agent, "b", 0, 0))
		part := w.awaited(whole)
		if err := w.j.Break(part, 'i'); err != nil {
			t.Fatal(err)
		}
		w.scrubbed(refuse(w))
		w.wantAside(part)
		if got := w.status(whole); got.Open() && w.awaited(whole) == part {
			t.Errorf("the whole is %s, and waits for it", got)
		}
		w.whole()
	})
}

// A log that is older than its head is none: what is missing in it stands there as such.
func TestLogIsOlderThanItsHead(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	key := append([]byte{'t'}, id[:]...)
	var older []byte
	if err := w.j.Behind(func(txn *badger.Txn) (err error) {
		item, err := txn.Get(key)
		if err == nil {
			older, err = item.ValueCopy(nil)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	w.local(time.Minute)
	was := len(w.log(id))
	if err := errors.Join(w.j.Behind(func(txn *badger.Txn) error { return txn.Set(key, older) }), w.j.Scrub(t.Context())); err != nil {
		t.Fatal(err)
	}
	w.wantAside(id)
	if got := len(w.log(id)); got != was+1 {
		t.Errorf("it has %d events, and had %d", got, was)
	}
	w.whole()
}

// The thread of a task that ends so is closed with it.
func TestUnreadableTaskLeavesItsInbox(t *testing.T) {
	t.Parallel()
	eachRead(t, func(t *testing.T, refuse func(*world) (refused func() bool)) {
		w := setup(t)
		task := w.ask(nil)
		was, err := w.j.Thread(task)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.j.Break(task, 'i'); err != nil {
			t.Fatal(err)
		}
		w.scrubbed(refuse(w))
		w.wantAside(task)
		is, err := w.j.Thread(task)
		if err != nil || is.Change <= was.Change {
			t.Errorf("its thread does not say so: %+v, %v", is, err)
		}
		w.whole()
	})
}

// A dead letter of our own whose hand-over cannot be read is one still.
func TestUnreadableHandoverOfADeadLetter(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	h := w.local(time.Minute)
	w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack, Reject: true})
	if err := errors.Join(w.j.Break(id, 'h'), w.j.Scrub(t.Context())); err != nil {
		t.Fatal(err)
	}
	if got := w.get(id); got.Status() != state.Failed || got.DeadReason() != state.ReasonRejected || len(w.due()) > 0 {
		t.Errorf("it is %s, dead for %q, and %d are due", got.Status(), got.DeadReason(), len(w.due()))
	}
	w.whole()
}

// A reader that comes by has it looked into at once: it does not wait for the scrub. What those
// that come after it say may be of what has come right.
func TestUnreadableIntentIsLookedInto(t *testing.T) {
	for reader, read := range map[string]func(w *world, good journal.ID){
		"what is due": func(w *world, good journal.ID) {
			if offers := w.due(); len(offers) != 1 || offers[0].ID != good {
				w.Fatalf("%d are due, want the other one", len(offers))
			}
		},
		"lists": func(w *world, _ journal.ID) {
			for range 8 {
				if _, _, err := w.j.List(journal.Filter{Limit: 10}); err != nil {
					w.Fatal(err)
				}
			}
		},
	} {
		t.Run(reader, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := setup(t)
				bad, good := w.accept(), w.accept()
				if err := w.j.Break(bad, 'i'); err != nil {
					t.Fatal(err)
				}
				read(w, good)
				time.Sleep(time.Second)
				w.wantAside(bad)
				list, _, err := w.j.List(journal.Filter{Limit: 10})
				if err != nil || len(list) != 2 {
					t.Errorf("%d listed, %v", len(list), err)
				}
				w.whole()
			})
		})
	}
}

// So it is where what it reads makes a reader panic, which the scrub would never find: that is
// no damage, and ends the intent all the same.
func TestReaderThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		bad, good := w.accept(), w.accept()
		w.hold()
		if err := w.j.Behind(edit('h', bad, func(h *wire.Handover) { h.LeaseId = []byte{1} })); err != nil {
			t.Fatal(err)
		}
		no, _ := w.j.AgentNo(billing)
		mail, _, err := w.j.Mail(no, time.Now(), 10, none)
		if err != nil || len(mail) != 1 || mail[0].ID != good {
			t.Errorf("in the mailbox are %v, %v; want the other one", mail, err)
		}
		time.Sleep(time.Second)
		w.wantAside(bad)
		w.whole()
	})
}

// So does what is to be pushed; the one beside it is.
func TestPeekThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := setup(t)
		bad, good := w.accept(), w.accept()
		w.hold()
		w.breakAt(bad, "peek")
		got, err := w.j.Peek(t.Context(), []journal.ID{bad, good}, nil)
		if err != nil || !errors.Is(got[0].Err, journal.ErrFault) || got[1].Err != nil || got[1].Envelope == nil {
			t.Fatalf("%v, %+v", err, got)
		}
		time.Sleep(time.Second)
		w.wantAside(bad)
		w.whole()
	})
}

// Lists leave out what cannot be read.
func TestListsLeaveOutWhatCannotBeRead(t *testing.T) {
	t.Parallel()
	w := setup(t)
	bad, good := w.accept(), w.accept()
	for _, id := range []journal.ID{bad, good} {
		if err := w.j.Refuse(t.Context(), id, 1, state.ReasonRejected, "no"); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.j.Break(bad, 'v'); err != nil {
		t.Fatal(err)
	}
	w.wantDead(journal.DeadFilter{}, good)
	list, _, err := w.j.List(journal.Filter{Limit: 10})
	if err != nil || len(list) != 1 || list[0].ID != good {
		t.Errorf("listed %v, %v", list, err)
	}
}

// What a holder cannot read of an intent of another home that home hears of: as a dead letter,
// or, where even whose it is cannot be read, because it is not there any more when home asks.
func TestUnreadableAtHolder(t *testing.T) {
	t.Parallel()
	t.Run("its envelope", func(t *testing.T) {
		t.Parallel()
		p := setupPair(t)
		id := p.home.accept()
		if res, err := p.offer(0); err != nil || res[0].Err != nil {
			t.Fatalf("offer: %v %+v", err, res)
		}
		if err := p.holder.j.Break(id, 'v'); err != nil {
			t.Fatal(err)
		}
		if err := p.holder.j.Scrub(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.report(); err != nil {
			t.Fatal(err)
		}
		p.home.wantAside(id)
		p.home.whole()
	})
	for _, how := range []string{"broken", "gone"} {
		t.Run("its hand-over, "+how, func(t *testing.T) {
			t.Parallel()
			eachRead(t, func(t *testing.T, refuse func(*world) (refused func() bool)) {
				p := setupPair(t)
				lost, left := []journal.ID{}, []journal.ID{}
				p.holder.j.Close()
				p.holder.open(journal.Options{Hooks: journal.Hooks{
					Lost: func(id journal.ID) { lost = append(lost, id) },
					Moved: func(m journal.Moved) {
						if m.Left {
							left = append(left, m.ID)
						}
					},
				}})
				id := p.home.accept()
				res, err := p.offer(time.Minute)
				if err != nil || res[0].Err != nil {
					t.Fatalf("offer: %v %+v", err, res)
				}
				if err := p.report(); err != nil {
					t.Fatal(err)
				}
				if how == "gone" {
					err = p.holder.j.Lose(id, 'h')
				} else {
					err = p.holder.j.Break(id, 'h')
				}
				if err != nil {
					t.Fatal(err)
				}
				if list, err := p.holder.j.Holding(p.home.j.Identity().Journal); err != nil || len(list) != 0 {
					t.Errorf("it lists %v, %v", list, err)
				}
				p.holder.scrubbed(refuse(p.holder))
				if len(lost) != 1 || lost[0] != id {
					t.Errorf("told to have home ask for %v", lost)
				}
				if len(left) != 1 || left[0] != id {
					t.Errorf("%v have left the mailbox", left)
				}
				if err := p.home.j.Requeue(context.Background(), p.holder.j.Identity().Journal, []journal.Requeue{{ID: id, OfferNo: 1, Raise: true}}); err != nil {
					t.Fatal(err)
				}
				res, err = p.offer(time.Minute)
				if err != nil || res[0].Err != nil || res[0].Handed == nil || !res[0].Handed.Redelivered {
					t.Fatalf("offered again: %v %+v", err, res)
				}
				p.holder.settle(journal.Settle{ID: id, Lease: res[0].Handed.Lease, Action: journal.Ack})
				if err := p.report(); err != nil {
					t.Fatal(err)
				}
				if got := p.home.status(id); got != state.Completed {
					t.Errorf("home has it as %s", got)
				}
				p.home.whole()
				p.holder.whole()
			})
		})
	}
}

// A hand-over of our own that cannot be read is forgotten, and the intent offered again.
func TestUnreadableHandoverOfOurOwn(t *testing.T) {
	t.Parallel()
	eachRead(t, func(t *testing.T, refuse func(*world) (refused func() bool)) {
		w := setup(t)
		id := w.accept()
		w.hold()
		if err := w.j.Break(id, 'h'); err != nil {
			t.Fatal(err)
		}
		w.scrubbed(refuse(w))
		if h := w.local(time.Minute); h.ID != id || !h.Redelivered {
			t.Errorf("handed over: %+v", h)
		}
		w.whole()
	})
}

// Where nothing is left of an intent but an entry of an index, that goes, and it is said.
func TestNothingIsLeftOfIt(t *testing.T) {
	t.Parallel()
	var told []journal.Corrupt
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{Hooks: journal.Hooks{Corrupt: func(c journal.Corrupt) { told = append(told, c) }}})
	bad, good := w.accept(), w.accept()
	if err := w.j.Lose(bad, 'i', 't', 'v'); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := w.j.Scrub(t.Context()); err != nil || w.j.Err() != nil {
			t.Fatalf("scrub: %v, %v", err, w.j.Err())
		}
	}
	if offers := w.due(); len(offers) != 1 || offers[0].ID != good || len(told) != 1 || told[0].ID != bad {
		t.Errorf("%d are due, told of %+v", len(offers), told)
	}
	if got, err := w.j.Get(bad); err == nil {
		t.Errorf("it is %s", got.Status())
	}
	w.wantBacklog(journal.BacklogOpen, 1, 0)
	w.whole()
}

// What the store cannot read just now is no damage: nothing takes its place, and what it belongs to
// is as it was when it can be read again.
func TestReadThatFailsLosesNothing(t *testing.T) {
	t.Parallel()
	t.Run("of what cannot be worked on", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		id := w.accept()
		was := w.get(id)
		w.j.RefuseRead(id, 'v')
		w.breakAt(id, "run")
		if err := w.j.Raise(t.Context(), []journal.ID{id}); err == nil {
			t.Error("another number for what cannot be worked on")
		}
		if is := w.get(id); !is.Status().Open() || !proto.Equal(is.Envelope, was.Envelope) {
			t.Errorf("it is %s, with %v", is.Status(), is.Envelope)
		}
		w.whole()
	})
	t.Run("of what has lost its head", func(t *testing.T) {
		t.Parallel()
		w := setup(t)
		id := w.asked()
		w.j.RefuseRead(id, 'v')
		if err := errors.Join(w.j.Break(id, 'i'), w.j.Scrub(t.Context())); err == nil || w.j.Err() != nil {
			t.Fatalf("scrub: %v, and the journal %v", err, w.j.Err())
		}
		if err := w.j.Scrub(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.wantAside(id)
		if got := len(w.completions()); got != 1 {
			t.Errorf("%d are told of the end, want the one that its envelope names", got)
		}
		w.whole()
	})
	t.Run("of what a report is about", func(t *testing.T) {
		t.Parallel()
		p := setupPair(t)
		h := p.leased(time.Minute)
		p.holder.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack})
		p.home.j.RefuseRead(h.ID, 'i')
		if err := p.report(); err == nil {
			t.Error("a report of what cannot be read has been applied")
		}
		if err := p.report(); err != nil || p.home.status(h.ID) != state.Completed {
			t.Errorf("said again: %v, and it is %s", err, p.home.status(h.ID))
		}
		p.home.whole()
	})
}
