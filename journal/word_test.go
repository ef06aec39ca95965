package journal_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// leased is an intent offered once and leased, with its delivery reported.
func (p *pair) leased(lease time.Duration) journal.Handed {
	p.Helper()
	p.home.accept()
	res, err := p.offer(lease)
	if err != nil || len(res) != 1 || res[0].Handed == nil {
		p.Fatalf("offer: %v %+v", err, res)
	}
	if err := p.report(); err != nil {
		p.Fatal(err)
	}
	return *res[0].Handed
}

func (w *world) hand(id journal.ID) (phase state.Phase, until time.Time) {
	w.Helper()
	i, err := w.j.Get(id)
	if err != nil {
		w.Fatal(err)
	}
	return state.Phase(i.Handover.Phase), time.UnixMilli(i.Handover.LeaseUntilMs)
}

func (w *world) say(id journal.ID, on state.Trigger) {
	w.Helper()
	if _, err := w.j.Answer(context.Background(), id, journal.Answer{Trigger: on, Body: []byte(`{}`)}); err != nil {
		w.Fatalf("%s: %v", on, err)
	}
}

// missed is what the holder has not heard of home's words.
func (p *pair) missed() []journal.Continued {
	p.Helper()
	list, err := p.holder.j.Holding(p.home.j.Identity().Journal)
	if err != nil {
		p.Fatal(err)
	}
	_, words, _, err := p.home.j.Reconcile(context.Background(), p.holder.j.Identity(), list)
	if err != nil {
		p.Fatal(err)
	}
	return words
}

func (p *pair) hear(words []journal.Continued) {
	p.Helper()
	if err := p.holder.j.Continue(context.Background(), p.home.j.Identity().Journal, words); err != nil {
		p.Fatal(err)
	}
}

// TestWordIsAboutOneHandOver: given before the holder could tell that the app
// had failed, it says nothing of the hand-over that follows.
func TestWordIsAboutOneHandOver(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	first := p.leased(time.Minute)
	p.home.say(first.ID, state.Start)
	p.holder.settle(journal.Settle{ID: first.ID, Lease: first.Lease, Action: journal.Nack, Reason: "no"})
	second, err := p.holder.j.Lease(context.Background(), []journal.ID{first.ID}, []journal.Terms{{For: time.Minute}})
	if err != nil || second[0].Err != nil {
		t.Fatal(err, second)
	}
	p.hear(p.missed())
	if phase, _ := p.holder.hand(first.ID); phase != state.Leased {
		t.Errorf("an old word made the second hand-over %s", phase)
	}
	if words := p.missed(); len(words) > 0 {
		t.Errorf("told again: %v", words)
	}
}

// TestWordAtHomeDoesNotReviveWhatIsSpent: it is home's to decide, and the
// decision must find it as it was.
func TestWordAtHomeDoesNotReviveWhatIsSpent(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	e := envelope()
	e.MaxDeliveryAttempts, e.HoldWhenExhausted = 1, true
	got, err := p.home.j.Accept(context.Background(), []journal.Accept{{Envelope: e}})
	if err != nil {
		t.Fatal(err)
	}
	id := got[0].ID
	res, err := p.offer(time.Minute)
	if err != nil || res[0].Handed == nil {
		t.Fatal(err, res)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	p.home.say(id, state.Start) // not yet told
	words := p.missed()
	p.holder.settle(journal.Settle{ID: id, Lease: res[0].Handed.Lease, Action: journal.Nack, Reason: "no"})
	p.hear(words)
	if phase, _ := p.holder.hand(id); phase != state.Spent {
		t.Fatalf("after the word it is %s, want spent", phase)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	if s := p.home.status(id); s != state.Waiting {
		t.Fatalf("home: %s, want WAITING", s)
	}
	p.home.say(id, state.Start)
	p.handsOverAgain(id)
}

// handsOverAgain: the next offer lets the holder hand it over, and attempts are
// counted anew.
func (p *pair) handsOverAgain(id journal.ID) {
	p.Helper()
	if res, err := p.offer(0); err != nil || len(res) != 1 || res[0].Err != nil || res[0].OfferNo != 2 {
		p.Fatalf("offer after resume: %v %+v", err, res)
	}
	again, err := p.holder.j.Lease(context.Background(), []journal.ID{id}, []journal.Terms{{For: time.Minute}})
	if err != nil || again[0].Err != nil {
		p.Fatal(err, again)
	}
	if i, err := p.holder.j.Get(id); err != nil || i.Handover.Attempts != 0 {
		p.Errorf("%d attempts after the resume, want 0 (%v)", i.Handover.Attempts, err)
	}
}

// TestOperatorMaySpeakAtTheHolder: a resume there is as good as one at home.
func TestOperatorMaySpeakAtTheHolder(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.exhaust()
	p.holder.say(id, state.Start)
	if phase, _ := p.holder.hand(id); phase != state.Spent {
		t.Errorf("before home has decided it is %s, want spent", phase)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	if s := p.home.status(id); s != state.InProgress {
		t.Errorf("home: %s, want IN_PROGRESS", s)
	}
	p.handsOverAgain(id)
	p.home.whole()
	p.holder.whole()
}

// TestWordAtTheHolderLeavesWhatNoAppHas: it is handed over like any other.
func TestWordAtTheHolderLeavesWhatNoAppHas(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	if _, err := p.offer(0); err != nil {
		t.Fatal(err)
	}
	p.holder.say(id, state.Start)
	if phase, _ := p.holder.hand(id); phase != state.Ready {
		t.Errorf("it is %s, want ready", phase)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	if s := p.home.status(id); s != state.InProgress {
		t.Errorf("home: %s, want IN_PROGRESS", s)
	}
}

// TestWordGivesTime: as long as an acknowledged intent has, never less than the
// app was told, and not beyond what one hand-over may last.
func TestWordGivesTime(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		timeout, most, lease time.Duration
		want                 time.Duration
	}{
		"the time of work":             {time.Hour, 24 * time.Hour, time.Minute, time.Hour},
		"never less than was told":     {time.Second, 24 * time.Hour, time.Minute, time.Minute},
		"no more than a hand-over has": {time.Hour, 10 * time.Minute, time.Minute, 10 * time.Minute},
		"but what was told holds":      {time.Hour, time.Second, time.Minute, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, local := range []bool{true, false} {
				p := setupPair(t)
				o := journal.Options{WorkTimeout: row.timeout, WorkMax: row.most}
				spoken := make(chan journal.Spoken, 9)
				o.Hooks.Spoken = func(s journal.Spoken) { spoken <- s }
				where, h := p.holder, journal.Handed{}
				if local {
					where = p.home
				}
				if err := where.j.Close(); err != nil {
					t.Fatal(err)
				}
				where.open(o)
				if local {
					where.accept()
					h = where.local(row.lease)
				} else {
					h = p.leased(row.lease)
				}
				from := h.Until.Add(-row.lease)
				where.say(h.ID, state.Start)
				phase, until := where.hand(h.ID)
				if got := until.Sub(from); phase != state.Working || got < row.want || got > row.want+time.Minute {
					t.Errorf("%s, until %v after the lease; want working, %v (local: %v)", phase, got, row.want, local)
				}
				if s := <-spoken; s.ID != h.ID || !s.Until.Equal(until) {
					t.Errorf("the mailbox was told %v, want %v", s, until)
				}
				out := where.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Extend, For: 48 * time.Hour})
				if out.Err != nil || out.Until.Before(until) {
					t.Errorf("extended to %v, want no less than %v (%v)", out.Until, until, out.Err)
				}
				where.say(h.ID, state.Complete)
				if s := <-spoken; s.ID != h.ID || !s.Until.IsZero() {
					t.Errorf("of the last word the mailbox was told %v", s)
				}
			}
		})
	}
}

// TestNoLeaseIsNoLease: what the app has without a lease is settled without one.
func TestNoLeaseIsNoLease(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	if _, err := p.offer(0); err != nil {
		t.Fatal(err)
	}
	p.holder.say(id, state.Wait)
	p.holder.say(id, state.Start)
	if phase, _ := p.holder.hand(id); phase != state.Working {
		t.Fatalf("it is %s, want working", phase)
	}
	for name, lease := range map[string]journal.ID{"zero": {}, "another": journal.NewID()} {
		if got := p.holder.settle(journal.Settle{ID: id, Lease: lease, Action: journal.Ack}); !errors.Is(got.Err, journal.ErrLeaseLost) {
			t.Errorf("%s lease: %v, want ErrLeaseLost", name, got.Err)
		}
	}
}

// TestHeartbeatsEnd: an app that says again and again that it works has what one hand-over
// may last, and no more.
func TestHeartbeatsEnd(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, dir: t.TempDir()}
		w.open(journal.Options{WorkMax: time.Hour})
		w.accept()
		h := w.local(10 * time.Minute)
		began := time.Now()
		for time.Since(began) < 55*time.Minute {
			time.Sleep(9 * time.Minute)
			s := w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Extend, For: 10 * time.Minute})
			if s.Err != nil {
				t.Fatalf("after %s: %v", time.Since(began), s.Err)
			}
		}
		if _, until := w.hand(h.ID); until.Sub(began).Round(time.Second) != time.Hour {
			t.Errorf("the hand-over lasts %s", until.Sub(began))
		}
	})
}

// TestWaitingIsNotWorking: the time an intent waits for somebody is not taken
// from the time its app has to work.
func TestWaitingIsNotWorking(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	if err := p.holder.j.Close(); err != nil {
		t.Fatal(err)
	}
	p.holder.open(journal.Options{WorkTimeout: time.Hour, WorkMax: 20 * time.Millisecond})
	h := p.leased(10 * time.Millisecond)
	p.holder.say(h.ID, state.Wait)
	for limit := h.Until.Add(20 * time.Millisecond); time.Now().Before(limit); {
		time.Sleep(time.Until(limit)) // the limit of the first hand-over passes
	}
	said := time.Now()
	p.holder.say(h.ID, state.Start)
	if phase, until := p.holder.hand(h.ID); phase != state.Working || !until.After(said) {
		t.Errorf("%s until %v after the word", phase, until.Sub(said))
	}
}

// TestPauseOutlivesARelease: what an app has put off is not offered sooner
// because its holder gives it back, nor does the count of hand-overs begin anew.
func TestPauseOutlivesARelease(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	h := p.leased(time.Minute)
	put := time.Now().Add(time.Hour)
	p.holder.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Nack, Delay: time.Hour})
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	given, err := p.holder.j.Release(context.Background(), []journal.ID{h.ID})
	if err != nil || len(given) != 1 || given[0].Due.Before(put.Add(-time.Second)) {
		t.Fatalf("released %+v, want not before %v (%v)", given, put, err)
	}
	again := journal.Requeue{ID: h.ID, OfferNo: 1, Raise: true, Reason: state.ReasonHolderReleased}
	if err := p.home.j.Requeue(context.Background(), p.holder.j.Identity().Journal, []journal.Requeue{again}); err != nil {
		t.Fatal(err)
	}
	offers := p.home.due()
	if len(offers) != 1 || offers[0].Handovers != 1 {
		t.Fatalf("offered again as %+v, want one hand-over behind it", offers)
	}
	p.home.j.Rewind(1, time.UnixMilli(0)) // for p.offer to find it, too
	res, err := p.offer(time.Minute)
	if err != nil || len(res) != 1 || res[0].Handed == nil || res[0].Handed.Attempt != 2 {
		t.Fatalf("delivery_attempt after a release: %+v, want 2 (%v)", res, err)
	}

	local := p.home
	local.accept()
	l := local.local(time.Minute)
	local.settle(journal.Settle{ID: l.ID, Lease: l.Lease, Action: journal.Nack, Delay: time.Hour})
	if _, err := local.j.Release(context.Background(), []journal.ID{l.ID}); err != nil {
		t.Fatal(err)
	}
	if n := len(local.due()); n != 0 {
		t.Errorf("%d are due at once, want the pause to hold", n)
	}
}

// TestLimitsCountFromReceipt: an offer that waited for a slow disk has no more time for it.
func TestLimitsCountFromReceipt(t *testing.T) {
	t.Parallel()
	for name, limit := range map[string]func(*journal.HoldRequest){
		"deliver_by":  func(r *journal.HoldRequest) { r.DeliverBy = time.Minute },
		"deadline_at": func(r *journal.HoldRequest) { r.Deadline = time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := setupPair(t)
			id := p.home.accept()
			late := journal.HoldRequest{Envelope: p.home.due()[0].Envelope, OfferNo: 1, Received: time.Now().Add(-time.Hour)}
			limit(&late)
			held := make(chan error, 1)
			p.holder.j.Hold(p.home.j.Identity(), []journal.HoldRequest{late}, func(_ []journal.HoldResult, err error) { held <- err })
			if err := <-held; err != nil {
				t.Fatal(err)
			}
			h, err := p.holder.j.Lease(t.Context(), []journal.ID{id}, []journal.Terms{{For: time.Minute}})
			if err != nil || !errors.Is(h[0].Err, journal.ErrExpired) {
				t.Errorf("lease: %v %v, want ErrExpired", err, h)
			}
		})
	}
}

// TestWordTakesForBoth: home lets deliver_by bind an intent no longer once it goes
// on by a word, so its holder hands it over after that time as well, also where it
// has been found out of time before.
func TestWordTakesForBoth(t *testing.T) {
	t.Parallel()
	for name, speak := range map[string]func(p *pair, id journal.ID){
		"at home":       func(p *pair, id journal.ID) { p.home.say(id, state.Start); p.hear(p.missed()) },
		"at the holder": func(p *pair, id journal.ID) { p.holder.say(id, state.Start) },
	} {
		for _, found := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				p := setupPair(t)
				id := p.home.accept()
				late := journal.HoldRequest{Envelope: p.home.due()[0].Envelope, OfferNo: 1, DeliverBy: time.Nanosecond}
				held := make(chan error, 1)
				p.holder.j.Hold(p.home.j.Identity(), []journal.HoldRequest{late}, func(_ []journal.HoldResult, err error) { held <- err })
				if err := <-held; err != nil {
					t.Fatal(err)
				}
				terms := []journal.Terms{{For: time.Minute}}
				if found {
					if h, err := p.holder.j.Lease(t.Context(), []journal.ID{id}, terms); err != nil || !errors.Is(h[0].Err, journal.ErrExpired) {
						t.Fatalf("out of time: %v %v, want ErrExpired", err, h)
					}
				}
				speak(p, id)
				no, _ := p.holder.j.AgentNo(billing)
				mail, _, err := p.holder.j.Mail(no, time.Now(), 9, none)
				if err != nil || len(mail) != 1 {
					t.Fatalf("%d intents may be handed over (%v), want the one", len(mail), err)
				}
				if h, err := p.holder.j.Lease(t.Context(), []journal.ID{id}, terms); err != nil || h[0].Err != nil {
					t.Errorf("after the word: %v %v, want it handed over", err, h[0].Err)
				}
				p.home.whole()
				p.holder.whole()
			})
		}
	}
}

// TestWordTakesOfOurOwnMailbox: both records of one journal agree.
func TestWordTakesOfOurOwnMailbox(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	p.home.hold()
	p.home.say(id, state.Start)
	i, err := p.home.j.Get(id)
	if err != nil || !i.Head.Taken || !i.Handover.Taken {
		t.Errorf("taken: %v at home, %v in the mailbox (%v), want both", i.Head.Taken, i.Handover.Taken, err)
	}
}

// TestOperatorsWordTakes: wherever an operator lets an intent go on that has used up
// its attempts, deliver_by binds it no longer.
func TestOperatorsWordTakes(t *testing.T) {
	t.Parallel()
	for _, elsewhere := range []bool{false, true} {
		p := setupPair(t)
		id := p.exhaust()
		if elsewhere {
			p.holder.say(id, state.Start)
			if err := p.report(); err != nil {
				t.Fatal(err)
			}
		} else {
			p.home.say(id, state.Start)
		}
		if offers := p.home.due(); len(offers) != 1 || !offers[0].Taken {
			t.Errorf("offered again: %+v, want it taken", offers)
		}
	}
}
