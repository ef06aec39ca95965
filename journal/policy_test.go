package journal_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

func (w *world) change(id journal.ID, c *wire.Change) journal.Changed {
	w.Helper()
	got, err := w.j.Change(context.Background(), id, c)
	if err != nil {
		w.Fatalf("change: %v", err)
	}
	return got
}

// TestPolicyIsMerged: generations count from 0, patches are merged, a stale
// expectation changes nothing, a key is answered like the first time.
func TestPolicyIsMerged(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	key := make([]byte, 32)
	key[0] = 1
	first := &wire.Change{Controls: []byte(`{"a":1,"b":{"c":2,"d":null}}`), Expects: true, KeyHash: key, Fingerprint: key}
	if got := w.change(id, first); got != (journal.Changed{Generation: 1}) {
		t.Fatalf("first: %+v", got)
	}
	if got := w.change(id, &wire.Change{Controls: []byte(`{"a":null,"b":{"e":[1]}}`), Grants: []byte(`{"x":{"allow":["resume"]}}`)}); got.Generation != 2 {
		t.Fatalf("second: %+v", got)
	}
	if got := w.change(id, &wire.Change{Controls: []byte(`{"z":1}`), Expects: true, Expected: 1, MaxAttempts: 1}); !got.Stale || got.Generation != 2 {
		t.Fatalf("stale: %+v", got)
	}
	if got := w.change(id, first); got != (journal.Changed{Generation: 1, Replayed: true}) {
		t.Fatalf("the first again: %+v", got)
	}
	other := make([]byte, 32)
	if _, err := w.j.Change(context.Background(), id, &wire.Change{Controls: []byte(`{}`), KeyHash: key, Fingerprint: other}); !errors.Is(err, journal.ErrKeyConflict) {
		t.Errorf("the key with another body: %v", err)
	}
	large := &wire.Change{Controls: []byte(`{"big":"` + strings.Repeat("x", 16<<10) + `"}`)}
	if _, err := w.j.Change(context.Background(), id, large); !errors.Is(err, journal.ErrPolicyTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if _, err := w.j.Change(context.Background(), journal.NewID(), &wire.Change{}); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("of an unknown intent: %v", err)
	}
	w.reopen()
	i, err := w.j.Get(id)
	if err != nil || !sameJSON(`{"b":{"c":2,"e":[1]}}`, i.Policy.Controls) || !sameJSON(`{"x":{"allow":["resume"]}}`, i.Policy.Grants) {
		t.Fatalf("%v: %s %s", err, i.Policy.Controls, i.Policy.Grants)
	}
	if i.Head.PolicyGeneration != 2 || i.Head.MaxAttempts != 10 {
		t.Errorf("head: %+v", i.Head)
	}
	if _, err := w.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Cancel, Expects: true, Expected: 1}); err != nil || w.status(id) != state.Submitted {
		t.Errorf("a stale cancel: %v, %s", err, w.status(id))
	}
	if _, err := w.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Cancel, Expects: true, Expected: 2}); err != nil || w.status(id) != state.Canceled {
		t.Fatalf("cancel: %v, %s", err, w.status(id))
	}
	var ended *journal.EndedError
	if _, err := w.j.Change(context.Background(), id, &wire.Change{Controls: []byte(`{}`)}); !errors.As(err, &ended) {
		t.Errorf("after the end: %v", err)
	}
	w.whole()
}

// TestPolicyTakesEffectAtHome: on what waits, on what is in our own mailbox, and on
// the time that is left.
func TestPolicyTakesEffectAtHome(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	h := w.local(time.Minute)
	w.change(id, &wire.Change{Controls: []byte(`{}`), MaxAttempts: 1, WorkTimeoutMs: 90_000})
	until := w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Extend}).Until
	if left := time.Until(until); left > 90*time.Second || left < 80*time.Second {
		t.Errorf("an extend gives %v", left)
	}
	w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack})
	if got := w.status(id); got != state.Failed {
		t.Errorf("%s after the only attempt", got)
	}
	late := w.accept()
	w.change(late, &wire.Change{Controls: []byte(`{}`), DeadlineAtMs: time.Now().Add(-time.Second).UnixMilli()})
	wake, stop := w.j.Watch(late)
	defer stop()
	for w.status(late) != state.TimedOut {
		<-wake
	}
	longer := w.accept()
	w.change(longer, &wire.Change{Controls: []byte(`{}`), TtlMs: 60_000})
	i, err := w.j.Get(longer)
	if left := time.Until(time.UnixMilli(i.Head.DeadlineAtMs)); err != nil || left > time.Minute || left < 50*time.Second {
		t.Errorf("%v: %v are left", err, left)
	}
	w.whole()
}

// TestLimitLoweredToTheAttemptsMade: nobody gets the intent again, wherever it is, and
// the attempt that was told before fails once.
func TestLimitLoweredToTheAttemptsMade(t *testing.T) {
	t.Parallel()
	for _, hold := range []bool{false, true} {
		p := setupPair(t)
		id := p.home.acceptHeld(hold)
		ended, last := state.Failed, "failed"
		if hold {
			ended, last = state.Waiting, "waiting"
		}
		got, err := p.offer(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		p.holder.settle(journal.Settle{ID: id, Lease: got[0].Handed.Lease, Action: journal.Nack})
		if err := p.report(); err != nil {
			t.Fatal(err)
		}
		p.home.change(id, &wire.Change{Controls: []byte(`{}`), MaxAttempts: 1})
		i, err := p.home.j.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		p.adopt(journal.Update{Policy: journal.Policy{ID: id, Generation: 1, MaxAttempts: i.Head.MaxAttempts}, Left: time.Hour})
		if got, err := p.holder.j.Lease(context.Background(), []journal.ID{id}, []journal.Terms{{For: time.Minute}}); err != nil || !errors.Is(got[0].Err, journal.ErrIllegal) {
			t.Fatalf("leased: %v %+v", err, got)
		}
		no, _ := p.holder.j.AgentNo(billing)
		mail, _, err := p.holder.j.Mail(no, time.Now(), 10, none)
		if err != nil || len(mail) != 1 || !mail[0].OutOfAttempts {
			t.Fatalf("%v %+v, want it to come up as out of attempts", err, mail)
		}
		for range 2 { // the second changes nothing
			if err := p.holder.j.Exhaust(context.Background(), []journal.ID{id}); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.report(); err != nil {
			t.Fatal(err)
		}
		p.home.wantEvents(id, "created", "submitted", "delivered", "delivery_failed", last)
		if s := p.home.status(id); s != ended {
			t.Errorf("%s, want %s", s, ended)
		}
		p.home.whole()
		p.holder.whole()
	}
}

// acceptHeld accepts an intent that waits for an operator when it is out of attempts,
// or ends.
func (w *world) acceptHeld(hold bool) journal.ID {
	w.Helper()
	e := envelope()
	e.HoldWhenExhausted = hold
	got, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: e}})
	if err != nil {
		w.Fatal(err)
	}
	return got[0].ID
}

// TestLimitLoweredWhereNobodyHasIt: given back after an attempt, it ends, or waits,
// at home.
func TestLimitLoweredWhereNobodyHasIt(t *testing.T) {
	t.Parallel()
	for _, hold := range []bool{false, true} {
		w := setup(t)
		id := w.acceptHeld(hold)
		h := w.local(time.Minute)
		w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack})
		if _, err := w.j.Release(context.Background(), []journal.ID{id}); err != nil {
			t.Fatal(err)
		}
		w.change(id, &wire.Change{Controls: []byte(`{}`), MaxAttempts: 1})
		ended, last := state.Failed, "failed"
		if hold {
			ended, last = state.Waiting, "waiting"
		}
		w.wantEvents(id, "created", "submitted", "delivered", "delivery_failed", last)
		if s, n := w.status(id), len(w.due()); s != ended || n != 0 {
			t.Errorf("%s, and %d are due; want %s, 0", s, n, ended)
		}
		if hold {
			if _, err := w.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Start}); err != nil {
				t.Fatal(err)
			}
			if n := len(w.due()); n != 1 {
				t.Errorf("after an operator's word %d are due, want 1", n)
			}
		}
		w.whole()
	}
}

// TestPolicyReachesTheHolder: with the offer, at the reconcile that finds an older
// generation there, and as an update; never back to an older one.
func TestPolicyReachesTheHolder(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	p.home.change(id, &wire.Change{Controls: []byte(`{}`), MaxAttempts: 7})
	if _, err := p.offer(0); err != nil {
		t.Fatal(err)
	}
	at := func(generation uint64, attempts uint32) {
		t.Helper()
		i, err := p.holder.j.Get(id)
		if err != nil || i.Handover.PolicyGeneration != generation || i.Handover.MaxAttempts != attempts {
			t.Fatalf("%v: generation %d, %d attempts; want %d, %d", err, i.Handover.PolicyGeneration, i.Handover.MaxAttempts, generation, attempts)
		}
	}
	at(1, 7)
	p.home.change(id, &wire.Change{Controls: []byte(`{}`), MaxAttempts: 5, WorkTimeoutMs: 5000, TtlMs: 3_600_000})
	for range 2 { // the second finds nothing to say
		list, err := p.holder.j.Holding(p.home.j.Identity().Journal)
		if err != nil {
			t.Fatal(err)
		}
		_, _, policies, err := p.home.j.Reconcile(context.Background(), p.holder.j.Identity(), list)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range policies {
			p.adopt(journal.Update{Policy: x, Left: time.Until(x.Deadline)})
		}
		if i, _ := p.holder.j.Get(id); len(policies) > 1 || i.Handover.WorkTimeoutMs != 5000 || time.Until(time.UnixMilli(i.Handover.DeadlineAtMs)) > time.Hour {
			t.Fatalf("%d policies, %+v", len(policies), i.Handover)
		}
		at(2, 5)
	}
	p.adopt(journal.Update{Policy: journal.Policy{ID: id, Generation: 1, MaxAttempts: 9}})
	at(2, 5)
	// Out of time here, then given more of it.
	p.adopt(journal.Update{Policy: journal.Policy{ID: id, Generation: 3, MaxAttempts: 5}, Left: time.Nanosecond})
	if got, err := p.holder.j.Lease(context.Background(), []journal.ID{id}, []journal.Terms{{For: time.Minute}}); err != nil || !errors.Is(got[0].Err, journal.ErrExpired) {
		t.Fatalf("leased out of time: %v, %+v", err, got)
	}
	p.adopt(journal.Update{Policy: journal.Policy{ID: id, Generation: 4, MaxAttempts: 5}, Left: time.Hour})
	no, _ := p.holder.j.AgentNo(billing)
	if mail, _, err := p.holder.j.Mail(no, time.Now(), 10, none); err != nil || len(mail) != 1 {
		t.Errorf("with time again it does not come up: %v, %+v", err, mail)
	}
	p.home.whole()
	p.holder.whole()
}

func (p *pair) adopt(u journal.Update) {
	p.Helper()
	if err := p.holder.j.Adopt(context.Background(), p.home.j.Identity().Journal, []journal.Update{u}); err != nil {
		p.Fatal(err)
	}
}

// TestChangeFailsWhole fails the commit of a change, both ways: what is stored, what
// takes effect and the key are all there afterwards, or nothing is.
func TestChangeFailsWhole(t *testing.T) {
	t.Parallel()
	for _, persist := range []bool{false, true} {
		w := setup(t)
		id := w.accept()
		key := make([]byte, 32)
		c := &wire.Change{Controls: []byte(`{"a":1}`), MaxAttempts: 3, TtlMs: 60_000, KeyHash: key, Fingerprint: key}
		w.j.FailCommit(1, persist)
		if _, err := w.j.Change(context.Background(), id, c); err == nil {
			t.Fatal("the commit did not fail")
		}
		w.j.Abandon()
		w.open(journal.Options{})
		i, err := w.j.Get(id)
		if err != nil {
			t.Fatal(err)
		}
		if changed := i.Head.PolicyGeneration == 1 && i.Head.MaxAttempts == 3 && i.Policy != nil; changed != persist {
			t.Errorf("persisted %v: %+v", persist, i.Head)
		}
		if got := w.change(id, c); got.Generation != 1 || got.Replayed != persist {
			t.Errorf("persisted %v, repeated under its key: %+v", persist, got)
		}
		w.whole()
	}
}

// TestKindsOfRecordsAreApart: what is kept by id alone is found again as what it was.
func TestKindsOfRecordsAreApart(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	w.change(id, &wire.Change{Controls: []byte(`{"a":1}`)})
	w.reopen()
	if list := w.j.Accounts(); len(list) != 0 {
		t.Errorf("the options of an intent came back as service accounts: %v", list)
	}
}
