package journal_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// exhaust lets the one attempt of an intent fail at the holder; home waits for
// an operator.
func (p *pair) exhaust() journal.ID {
	p.Helper()
	e := envelope()
	e.MaxDeliveryAttempts, e.HoldWhenExhausted = 1, true
	got, err := p.home.j.Accept(context.Background(), []journal.Accept{{Envelope: e}})
	if err != nil {
		p.Fatal(err)
	}
	res, err := p.offer(time.Minute)
	if err != nil || res[0].Handed == nil {
		p.Fatalf("offer: %v %+v", err, res)
	}
	p.holder.settle(journal.Settle{ID: res[0].ID, Lease: res[0].Handed.Lease, Action: journal.Nack, Reason: "no"})
	if err := p.report(); err != nil {
		p.Fatal(err)
	}
	if s := p.home.status(got[0].ID); s != state.Waiting {
		p.Fatalf("home after the last attempt: %s, want WAITING", s)
	}
	return got[0].ID
}

// TestOperatorLetsItGoOn: resume offers the intent again, the holder that still
// has it hands it over again, and attempts are counted anew.
func TestOperatorLetsItGoOn(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.exhaust()
	if len(p.home.due()) != 0 {
		t.Fatal("it is offered while it waits for an operator")
	}
	a, err := p.home.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Start})
	if err != nil || a.Status != state.InProgress {
		t.Fatalf("resume: %v %+v", err, a)
	}
	if res, err := p.offer(0); err != nil || res[0].Err != nil || res[0].OfferNo != 2 {
		t.Fatalf("offer after resume: %v %+v", err, res)
	}
	got, err := p.holder.j.Lease(context.Background(), []journal.ID{id}, []journal.Terms{{For: time.Minute}})
	if err != nil || got[0].Err != nil {
		t.Fatalf("lease: %v %v", err, got[0].Err)
	}
	p.holder.settle(journal.Settle{ID: id, Lease: got[0].Lease, Action: journal.Ack})
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	if s := p.home.status(id); s != state.Completed {
		t.Fatalf("home: %s", s)
	}
	p.home.whole()
	p.holder.whole()
}

// TestWordAtHomeReachesTheHolder: an intent that another journal has goes on by
// a word at home. It is told at the reconcile, once, and under the offer it
// belongs to; what no app has seen yet stays to be handed over.
func TestWordAtHomeReachesTheHolder(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	ctx := context.Background()
	home := p.home.j.Identity().Journal
	seen, unseen := p.home.accept(), p.home.accept()
	if _, err := p.offer(0); err != nil {
		t.Fatal(err)
	}
	lease, err := p.holder.j.Lease(ctx, []journal.ID{seen}, []journal.Terms{{For: time.Minute}})
	if err != nil || lease[0].Err != nil {
		t.Fatal(err, lease[0].Err)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	say := func(on state.Trigger) {
		for _, id := range []journal.ID{seen, unseen} {
			if _, err := p.home.j.Answer(ctx, id, journal.Answer{Trigger: on}); err != nil {
				t.Fatalf("%s: %v", on, err)
			}
		}
	}
	missed := func() []journal.Continued {
		list, err := p.holder.j.Holding(home)
		if err != nil {
			t.Fatal(err)
		}
		verdicts, words, _, err := p.home.j.Reconcile(ctx, p.holder.j.Identity(), list)
		if err != nil || len(verdicts) > 0 {
			t.Fatal(verdicts, err)
		}
		return words
	}
	phase := func(id journal.ID) state.Phase {
		i, err := p.holder.j.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		return state.Phase(i.Handover.Phase)
	}
	if words := missed(); len(words) > 0 {
		t.Fatalf("words before anybody spoke: %v", words)
	}
	say(state.Start)
	words := missed()
	if len(words) != 2 {
		t.Fatalf("%d words, want 2", len(words))
	}
	for _, stale := range [][]journal.Continued{
		{{ID: seen, OfferNo: 9, No: 1, Trigger: state.Wait}},
		{{ID: seen, OfferNo: 1, No: 0, Trigger: state.Wait}},
	} {
		if err := p.holder.j.Continue(ctx, home, stale); err != nil || phase(seen) != state.Leased {
			t.Fatalf("%v made it %s (%v)", stale, phase(seen), err)
		}
	}
	if err := p.holder.j.Continue(ctx, journal.NewID(), words); err != nil || phase(seen) != state.Leased {
		t.Fatalf("the word of another home made it %s (%v)", phase(seen), err)
	}
	if err := p.holder.j.Continue(ctx, home, words); err != nil {
		t.Fatal(err)
	}
	if phase(seen) != state.Working || phase(unseen) != state.Ready {
		t.Errorf("after the word %s and %s, want working and ready", phase(seen), phase(unseen))
	}
	if words := missed(); len(words) > 0 {
		t.Errorf("told again: %v", words)
	}
	say(state.Wait)
	if err := p.holder.j.Continue(ctx, home, missed()); err != nil || phase(seen) != state.Parked {
		t.Errorf("told to wait it is %s (%v)", phase(seen), err)
	}
	if err := p.holder.j.Continue(ctx, home, words); err != nil || phase(seen) != state.Parked {
		t.Errorf("an old word made it %s (%v)", phase(seen), err)
	}
	p.home.whole()
	p.holder.whole()
}

// TestLostHolderDoesNotMoveWhatWaitsForAnOperator: it is offered to nobody
// before somebody has decided.
func TestLostHolderDoesNotMoveWhatWaitsForAnOperator(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.exhaust()
	lost := []journal.Requeue{{ID: id, Raise: true, Reason: state.ReasonHolderLost}}
	if err := p.home.j.Requeue(context.Background(), p.holder.j.Identity().Journal, lost); err != nil {
		t.Fatal(err)
	}
	if n := len(p.home.due()); n != 0 {
		t.Fatal("it is offered to another though nobody decided")
	}
	if _, err := p.home.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Start}); err != nil {
		t.Fatal(err)
	}
	if n := len(p.home.due()); n != 1 {
		t.Fatalf("%d are due after the decision, want 1", n)
	}
	p.home.whole()
}

// TestOlderCopyIsFoundOut: a journal that was put back without a new epoch has
// forgotten what it said; its new reports would be taken for repeats.
func TestOlderCopyIsFoundOut(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	ctx := context.Background()
	home := p.home.j.Identity()
	saw := func(applied uint64) error {
		_, err := p.holder.j.SawHome(ctx, home, "127.0.0.1:1", &applied)
		return err
	}
	if err := saw(0); err != nil {
		t.Fatalf("first hello: %v", err)
	}
	p.exhaust()
	applied := p.home.j.Applied(p.holder.j.Identity())
	if applied == 0 {
		t.Fatal("home has applied nothing")
	}
	if err := saw(applied); err != nil {
		t.Fatalf("hello of a home that is up to date: %v", err)
	}
	if err := saw(applied + 1); !errors.Is(err, journal.ErrOldCopy) {
		t.Errorf("home knows a report we never sent: %v, want an older copy", err)
	}
	if err := saw(applied - 1); !errors.Is(err, journal.ErrOldCopy) {
		t.Errorf("home has forgotten a report it acked: %v, want an older copy", err)
	}
	if err := p.holder.j.Close(); err != nil {
		t.Fatal(err)
	}
	p.holder.open(journal.Options{AcceptLoss: true})
	if err := saw(applied + 1); err != nil {
		t.Errorf("after --accept-loss: %v, want a new epoch to be counted from the start", err)
	}
}

// TestSettleNamesItsAgent: a settle meant for another agent's intent finds none.
func TestSettleNamesItsAgent(t *testing.T) {
	t.Parallel()
	w := setup(t)
	w.accept()
	h := w.local(time.Minute)
	other, err := w.j.Learn(context.Background(), "agent://acme/prod/other")
	if err != nil {
		t.Fatal(err)
	}
	if got := w.settle(journal.Settle{ID: h.ID, Lease: h.Lease, Agent: other, Action: journal.Ack}); !errors.Is(got.Err, journal.ErrNotFound) {
		t.Errorf("settle for another agent: %v", got.Err)
	}
}

// TestOnlyLostHoldersWaitForAnOperator: an intent that loses one holder after
// another may be what ends them. One that is given back again and again, which
// raises its offer number too, is not.
func TestOnlyLostHoldersWaitForAnOperator(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id, holder := w.accept(), journal.NewID()
	due := func() []journal.Offer { // whatever was read before
		w.j.Rewind(1, time.UnixMilli(0))
		return w.due()
	}
	again := func(why state.Reason, times int) {
		t.Helper()
		for range times {
			offers := due()
			if len(offers) == 0 {
				t.Fatalf("it is not due, but %s", w.status(id))
			}
			no := offers[0].OfferNo
			if err := w.j.Requeue(t.Context(), holder, []journal.Requeue{{ID: id, OfferNo: no, Raise: true, Reason: why}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	again(state.ReasonHolderReleased, 10)
	again(state.ReasonHolderLost, 4)
	if n := len(due()); n != 1 {
		t.Fatalf("%d due after four holders were lost, want 1", n)
	}
	again(state.ReasonHolderLost, 1)
	if s, n := w.status(id), len(due()); s != state.Waiting || n != 0 {
		t.Fatalf("after the fifth: %s, %d due; want WAITING, 0", s, n)
	}
	w.say(id, state.Start)
	again(state.ReasonHolderLost, 4)
	if n := len(due()); n != 1 {
		t.Errorf("%d due, want 1: losses are counted anew after an operator's word", n)
	}
	w.whole()
}
