package journal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// die makes a dead letter of an intent to billing: the app rejects it at the holder.
func (p *pair) die() journal.ID {
	p.Helper()
	id := p.home.accept()
	p.refuse(id)
	return id
}

// refuse hands over what is due at home, and has the app reject it.
func (p *pair) refuse(id journal.ID) {
	p.Helper()
	res, err := p.offer(time.Minute)
	if err != nil {
		p.Fatal(err)
	}
	for _, r := range res {
		if r.ID != id || r.Handed == nil {
			continue
		}
		if s := p.holder.settle(journal.Settle{ID: id, Lease: r.Handed.Lease, Action: journal.Nack, Reject: true, Reason: "no such order"}); s.Err != nil {
			p.Fatal(s.Err)
		}
	}
	if err := p.report(); err != nil {
		p.Fatal(err)
	}
}

// dead lists dead letters by their ids, newest first.
func (w *world) dead(f journal.DeadFilter) (ids []journal.ID) {
	w.Helper()
	if f.Limit == 0 {
		f.Limit = 100
	}
	list, _, err := w.j.DeadLetters(f)
	if err != nil {
		w.Fatalf("dead letters: %v", err)
	}
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	return ids
}

func (w *world) wantDead(f journal.DeadFilter, want ...journal.ID) {
	w.Helper()
	if got := w.dead(f); fmt.Sprint(got) != fmt.Sprint(want) {
		w.Errorf("dead letters of %+v:\ngot  %v\nwant %v", f, got, want)
	}
}

func (w *world) redrive(r journal.Redrive) journal.ID {
	w.Helper()
	got, err := w.j.Redrive(context.Background(), r)
	if err != nil {
		w.Fatalf("redrive %s: %v", r.ID, err)
	}
	return got.ID
}

func (w *world) get(id journal.ID) *journal.Intent {
	w.Helper()
	i, err := w.j.Get(id)
	if err != nil {
		w.Fatalf("get %s: %v", id, err)
	}
	return i
}

func TestDeadLetterIsAtBothEnds(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.die()
	for _, w := range []*world{p.home, p.holder} {
		d, err := w.j.DeadLetter(id)
		if err != nil {
			t.Fatal(err)
		}
		if d.DeadReason() != state.ReasonRejected || d.Envelope == nil || len(d.Events) == 0 || d.At.IsZero() {
			t.Errorf("reason %s, %d events, at %v", d.DeadReason(), len(d.Events), d.At)
		}
		w.wantDead(journal.DeadFilter{}, id)
		w.reopen()
		w.wantDead(journal.DeadFilter{}, id)
	}
	p.home.whole()
	p.holder.whole()
}

// TestWhatIsADeadLetter: an end for a reason of delivery is one, an end somebody
// chose is none.
func TestWhatIsADeadLetter(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, row := range []struct {
		name string
		end  func(t *testing.T, p *pair, id journal.ID)
		want state.Reason // NoReason: none
		copy bool         // the holder has one
	}{
		{"rejected by the app", func(_ *testing.T, p *pair, id journal.ID) { p.refuse(id) }, state.ReasonRejected, true},
		{"out of attempts", func(t *testing.T, p *pair, id journal.ID) {
			res, _ := p.offer(time.Minute)
			p.holder.settle(journal.Settle{ID: id, Lease: res[0].Handed.Lease, Action: journal.Nack})
			if err := p.report(); err != nil {
				t.Fatal(err)
			}
		}, state.ReasonExhausted, true},
		{"refused by every sidecar", func(t *testing.T, p *pair, id journal.ID) {
			if err := p.home.j.Refuse(ctx, id, 1, state.ReasonTooLarge, "larger than 1 MiB"); err != nil {
				t.Fatal(err)
			}
		}, state.ReasonTooLarge, false},
		{"the app failed it", func(t *testing.T, p *pair, id journal.ID) {
			if _, err := p.home.j.Answer(ctx, id, journal.Answer{Trigger: state.Fail, Reason: state.ReasonApp}); err != nil {
				t.Fatal(err)
			}
		}, state.NoReason, false},
		{"canceled after a failed attempt", func(t *testing.T, p *pair, id journal.ID) {
			if _, err := p.home.j.Answer(ctx, id, journal.Answer{Trigger: state.Cancel, Reason: state.ReasonCanceled}); err != nil {
				t.Fatal(err)
			}
		}, state.NoReason, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			p := setupPair(t)
			e := envelope()
			e.MaxDeliveryAttempts = 1
			got, err := p.home.j.Accept(ctx, []journal.Accept{{Envelope: e}})
			if err != nil {
				t.Fatal(err)
			}
			id := got[0].ID
			row.end(t, p, id)
			d, err := p.home.j.DeadLetter(id)
			if row.want == state.NoReason {
				if !errors.Is(err, journal.ErrNotDead) {
					t.Errorf("got %v, want ErrNotDead", err)
				}
				p.home.wantDead(journal.DeadFilter{})
			} else if err != nil || d.DeadReason() != row.want {
				t.Errorf("got %v, want a dead letter for %s", err, row.want)
			}
			if _, err := p.holder.j.DeadLetter(id); (err == nil) != row.copy {
				t.Errorf("at the holder: %v, want a copy: %v", err, row.copy)
			}
			p.home.whole()
			p.holder.whole()
		})
	}
}

// TestExpiredAtHolder: home ended it while another had it, and says why with the revoke.
func TestExpiredAtHolder(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	if _, err := p.offer(0); err != nil {
		t.Fatal(err)
	}
	home := p.home.j.Identity().Journal
	verdict := []journal.Verdict{{ID: id, OfferNo: 1, Ended: true, Status: state.TimedOut, Reason: state.ReasonDeliverBy}}
	for range 2 { // a repeat changes nothing
		if err := p.holder.j.Revoke(context.Background(), home, verdict); err != nil {
			t.Fatal(err)
		}
	}
	p.holder.wantDead(journal.DeadFilter{Class: "expired"}, id)
	p.holder.whole()
}

// TestCopyShowsAttempts: a dead letter that home ended by itself has its attempts at
// the holder, too, whether that hears of the end at once or when it lists the intent.
func TestCopyShowsAttempts(t *testing.T) {
	t.Parallel()
	for _, listed := range []bool{false, true} {
		p := setupPair(t)
		if err := p.home.j.Close(); err != nil {
			t.Fatal(err)
		}
		ends := make(chan journal.Ended, 1)
		p.home.open(journal.Options{Hooks: journal.Hooks{Ended: func(e journal.Ended) { ends <- e }}})
		id := p.home.accept()
		got, err := p.offer(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		p.holder.settle(journal.Settle{ID: id, Lease: got[0].Handed.Lease, Action: journal.Nack, Reason: "no stock"})
		if err := p.report(); err != nil {
			t.Fatal(err)
		}
		p.home.change(id, &wire.Change{Controls: []byte(`{}`), DeadlineAtMs: time.Now().UnixMilli()})
		e := <-ends
		verdicts := []journal.Verdict{{ID: id, OfferNo: e.OfferNo, Ended: true, Status: e.Status, Reason: e.Reason, Events: e.Events}}
		if listed {
			list, err := p.holder.j.Holding(p.home.j.Identity().Journal)
			if err != nil {
				t.Fatal(err)
			}
			if verdicts, _, _, err = p.home.j.Reconcile(context.Background(), p.holder.j.Identity(), list); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.holder.j.Revoke(context.Background(), p.home.j.Identity().Journal, verdicts); err != nil {
			t.Fatal(err)
		}
		d, err := p.holder.j.DeadLetter(id)
		if err != nil || len(d.Events) != 5 || d.Events[3].Text != "no stock" || d.Events[4].Type != uint32(state.EventTimedOut) {
			t.Errorf("listed %t: %v, %+v; want five events", listed, err, d)
		}
		p.holder.whole()
	}
}

func TestRedrive(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p := setupPair(t)
	first := p.die()
	second := p.home.redrive(journal.Redrive{ID: first, Actor: "operator"})
	i := p.home.get(second)
	e := i.Envelope
	if journal.ID(e.FirstId) != first || journal.ID(e.RedriveOf) != first || string(e.Payload) != string(envelope().Payload) || i.Status() != state.Submitted {
		t.Errorf("successor: %v", i)
	}
	if as, ok := p.home.get(first).RedrivenAs(); !ok || as != second {
		t.Errorf("the original shows %s as its successor, want %s", as, second)
	}
	if span := e.DeliverByMs - e.CreatedAtMs; span != p.home.get(first).Envelope.DeliverByMs-p.home.get(first).Envelope.CreatedAtMs {
		t.Errorf("deliver_by is %d ms after accept: not as long as the sender gave", span)
	}
	var redriven *journal.RedrivenError
	if _, err := p.home.j.Redrive(ctx, journal.Redrive{ID: first}); !errors.As(err, &redriven) || redriven.As != second {
		t.Errorf("a second redrive: got %v, want refused by the name of %s", err, second)
	}
	if _, err := p.home.j.Redrive(ctx, journal.Redrive{ID: second}); !errors.Is(err, journal.ErrNotDead) {
		t.Errorf("redrive of an open intent: got %v", err)
	}
	if _, err := p.holder.j.Redrive(ctx, journal.Redrive{ID: first}); !errors.Is(err, journal.ErrNotHome) {
		t.Errorf("redrive at the holder: got %v", err)
	}

	p.refuse(second)
	if as, ok := p.holder.get(first).RedrivenAs(); !ok || as != second {
		t.Error("the holder's copy does not show the successor it was given")
	}
	if _, err := p.home.j.Redrive(ctx, journal.Redrive{ID: first}); !errors.As(err, &redriven) {
		t.Errorf("redrive of one whose successor has died: got %v, want refused: the successor is the one to redrive", err)
	}
	p.home.wantDead(journal.DeadFilter{Unredriven: true}, second)
	third := p.home.redrive(journal.Redrive{ID: second})
	if e := p.home.get(third).Envelope; journal.ID(e.FirstId) != first || journal.ID(e.RedriveOf) != second {
		t.Error("the third of the chain does not carry the id of the first")
	}
	p.home.whole()
	p.holder.whole()
}

func TestRedriveEdited(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.die()
	by := time.Now().Add(100 * 24 * time.Hour)
	next := p.home.redrive(journal.Redrive{ID: id, Payload: []byte(`{"order_id":"ORD-2"}`), ToAgent: "agent://acme/prod/other", DeliverBy: by})
	i := p.home.get(next)
	if len(i.Envelope.FirstId) != 0 || string(i.Envelope.Payload) != `{"order_id":"ORD-2"}` || i.Envelope.ToAgent != "agent://acme/prod/other" {
		t.Errorf("edited: %v", i.Envelope)
	}
	if i.Head.DeliverByMs != by.UnixMilli() || i.Head.DeadlineAtMs < i.Head.DeliverByMs {
		t.Errorf("deliver_by %d, deadline %d, want %d and no earlier", i.Head.DeliverByMs, i.Head.DeadlineAtMs, by.UnixMilli())
	}
	p.home.whole()
}

// TestRedriveKeepsOptions: what was changed of the original holds for its successor,
// at home and with the offer.
func TestRedriveKeepsOptions(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	first := p.home.accept()
	p.home.change(first, &wire.Change{Controls: []byte(`{"note":"x"}`), MaxAttempts: 3, WorkTimeoutMs: 90_000, TtlMs: 3_600_000})
	p.home.change(first, &wire.Change{Grants: []byte(`{"who":"ann"}`)})
	p.refuse(first)
	next := p.home.redrive(journal.Redrive{ID: first, DeliverBy: time.Now().Add(time.Minute)})
	h := p.home.get(next)
	if h.Head.MaxAttempts != 3 || h.Head.WorkTimeoutMs != 90_000 || h.Head.PolicyGeneration != 1 || string(h.Policy.GetControls()) != `{"note":"x"}` || string(h.Policy.GetGrants()) != `{"who":"ann"}` {
		t.Errorf("successor: %v %v", h.Head, h.Policy)
	}
	if left := time.Until(time.UnixMilli(h.Head.DeadlineAtMs)); left > time.Hour+time.Second || left < time.Hour-time.Minute {
		t.Errorf("its deadline is in %v, want an hour, as was said of the original", left)
	}
	p.refuse(next)
	if at := p.holder.get(next).Handover; at.MaxAttempts != 3 || at.WorkTimeoutMs != 90_000 {
		t.Errorf("at the holder: %v", at)
	}
	p.home.whole()
	p.holder.whole()
}

// TestRedriveKey: a key makes one successor of repeated calls.
func TestRedriveKey(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	r := journal.Redrive{ID: p.die(), Key: &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{1}}}
	next := p.home.redrive(r)
	got, err := p.home.j.Redrive(context.Background(), r)
	if err != nil || got.ID != next || !got.Replayed {
		t.Errorf("repeated: %v %+v, want %s replayed", err, got, next)
	}
	r.Key = &journal.Key{Hash: [32]byte{1}, Fingerprint: [32]byte{2}}
	if _, err := p.home.j.Redrive(context.Background(), r); !errors.Is(err, journal.ErrKeyConflict) {
		t.Errorf("another request under the key: %v", err)
	}
	p.home.whole()
}

func TestDeadLettersArePagedAndFiltered(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	var all []journal.ID
	for range 5 {
		all = append([]journal.ID{p.die()}, all...)
	}
	open := p.home.accept()
	var got []journal.ID
	f := journal.DeadFilter{Limit: 2}
	for range 4 {
		page, next, err := p.home.j.DeadLetters(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range page {
			got = append(got, d.ID)
		}
		if next.IsZero() {
			break
		}
		back, err := journal.ParseDeadCursor(next.String())
		if err != nil || back != next {
			t.Fatalf("cursor %s is read back as %v: %v", next, back, err)
		}
		f.After = back
	}
	if len(got) != len(all) {
		t.Errorf("in pages: got %d, want %d", len(got), len(all))
	}
	seen := map[journal.ID]bool{}
	for _, id := range got {
		if seen[id] || id == open {
			t.Errorf("%s comes twice, or is open", id)
		}
		seen[id] = true
	}
	newest, err := p.home.j.DeadLetter(all[0])
	if err != nil {
		t.Fatal(err)
	}
	whole := len(p.home.dead(journal.DeadFilter{}))
	for _, row := range []struct {
		name string
		f    journal.DeadFilter
		want int
	}{
		{"agent", journal.DeadFilter{To: billing}, whole},
		{"another agent", journal.DeadFilter{To: "orders"}, 0},
		{"type", journal.DeadFilter{Type: "order.process.v1"}, whole},
		{"another type", journal.DeadFilter{Type: "order.cancel.v1"}, 0},
		{"class", journal.DeadFilter{Class: "rejected"}, whole},
		{"another class", journal.DeadFilter{Class: "exhausted"}, 0},
		{"reason", journal.DeadFilter{Reason: state.ReasonRejected}, whole},
		{"another reason", journal.DeadFilter{Reason: state.ReasonDeadline}, 0},
		{"until the newest ended", journal.DeadFilter{Until: newest.At.Add(time.Millisecond)}, whole},
		{"before any ended", journal.DeadFilter{Until: newest.At.Add(-time.Hour)}, 0},
		{"since later", journal.DeadFilter{Since: newest.At.Add(time.Millisecond)}, 0},
		{"since earlier", journal.DeadFilter{Since: newest.At.Add(-time.Hour)}, whole},
	} {
		if got := len(p.home.dead(row.f)); got != row.want {
			t.Errorf("%s: got %d, want %d", row.name, got, row.want)
		}
	}
}

func TestPurge(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p := setupPair(t)
	key := &journal.Key{Hash: [32]byte{3}, Fingerprint: [32]byte{3}}
	keyed, err := p.home.j.Accept(ctx, []journal.Accept{{Envelope: envelope(), Key: key}})
	if err != nil {
		t.Fatal(err)
	}
	id := keyed[0].ID
	p.refuse(id)
	open, other := p.home.accept(), journal.NewID()
	next := p.home.redrive(journal.Redrive{ID: id})
	for _, w := range []*world{p.home, p.holder} {
		errs, err := w.j.Purge(ctx, []journal.ID{open, id, other}, "operator")
		if err != nil || errs[1] != nil || !errors.Is(errs[2], journal.ErrNotFound) {
			t.Fatalf("purge: %v, %v", err, errs)
		}
		if w == p.home && !errors.Is(errs[0], journal.ErrNotDead) {
			t.Errorf("purge of an open intent: %v", errs[0])
		}
		if _, err := w.j.Get(id); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("after the purge: %v", err)
		}
		if _, _, err := w.j.Events(id, 0); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("events after the purge: %v", err)
		}
		w.wantDead(journal.DeadFilter{})
	}
	if p.home.status(open) != state.Submitted || p.home.status(next) != state.Submitted {
		t.Error("what is open has changed")
	}
	again, err := p.home.j.Accept(ctx, []journal.Accept{{Envelope: envelope(), Key: key}})
	if err != nil || again[0].ID != id || !again[0].Replayed {
		t.Errorf("the key of a purged intent makes another one: %v %+v", err, again)
	}
	p.home.whole()
	p.holder.whole()
}

// TestHolderHearsOfPurged: home purged it before the holder heard of the end.
func TestHolderHearsOfPurged(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	p := setupPair(t)
	e := envelope()
	e.MaxDeliveryAttempts = 1
	got, err := p.home.j.Accept(ctx, []journal.Accept{{Envelope: e}})
	if err != nil {
		t.Fatal(err)
	}
	id := got[0].ID
	res, _ := p.offer(time.Minute)
	p.holder.settle(journal.Settle{ID: id, Lease: res[0].Handed.Lease, Action: journal.Nack})
	reports, err := p.holder.j.Reports(p.home.j.Identity().Journal, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	p.home.j.Apply(p.holder.j.Identity(), reports, func(_ []journal.Acked, _ uint64, err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if errs, err := p.home.j.Purge(ctx, []journal.ID{id}, ""); err != nil || errs[0] != nil {
		t.Fatal(err, errs)
	}
	verdicts, _, _, err := p.home.j.Reconcile(ctx, p.holder.j.Identity(), []journal.Holding{{ID: id, OfferNo: 1, Phase: state.Spent, HomeEpoch: 1}})
	if err != nil || len(verdicts) != 1 || !verdicts[0].Ended || verdicts[0].Status != state.Failed || verdicts[0].Reason != state.ReasonExhausted {
		t.Errorf("reconcile: %v %+v", err, verdicts)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	if i := p.holder.get(id); state.Phase(i.Handover.Phase).Open() || i.Status() != state.Failed {
		t.Errorf("the holder has it %s, %s", state.Phase(i.Handover.Phase), i.Status())
	}
	p.home.whole()
	p.holder.whole()
}

// TestOldJournalGainsIndex: dead letters of the schema before this one are listed
// after one start, those that a start has listed before it was killed once, and an older
// program refuses what it would not understand.
func TestOldJournalGainsIndex(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	late, err := p.home.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope(), DeliverBy: time.Now().Add(20 * time.Millisecond)}})
	if err != nil || late[0].Err != nil {
		t.Fatal(err, late)
	}
	wake, stop := p.home.j.Watch(late[0].ID)
	defer stop()
	for p.home.status(late[0].ID) != state.TimedOut {
		<-wake
	}
	a, b, listed, open := p.die(), p.die(), p.die(), p.home.accept()
	failed := p.home.accept()
	if _, err := p.home.j.Answer(t.Context(), failed, journal.Answer{Trigger: state.Fail, Reason: state.ReasonApp}); err != nil {
		t.Fatal(err)
	}
	want := p.home.dead(journal.DeadFilter{})
	if len(want) != 4 || !slices.Contains(want, listed) {
		t.Fatalf("%d dead letters, want 4", len(want))
	}
	at := p.home.get(b).Head.DeadMs
	if err := p.home.j.MakeOld(a, b, late[0].ID); err != nil {
		t.Fatal(err)
	}
	p.home.whole() // the old form is whole too
	for range 2 {
		p.home.open(journal.Options{})
		p.home.wantSchema("of before", 2)
		p.home.wantDead(journal.DeadFilter{}, want...)
		if got := p.home.get(b).Head.DeadMs; got != at {
			t.Errorf("it ended at %d, want %d", got, at)
		}
		for _, id := range []journal.ID{open, failed} {
			if p.home.get(id).Head.DeadMs != 0 {
				t.Errorf("what is %s is among the dead letters", p.home.status(id))
			}
		}
		p.home.whole()
	}
}

// deadScript is everything a home and a holder write for a dead letter: its end,
// its successor and that one's end, its removal.
func (p *pair) deadScript() error {
	ctx := context.Background()
	e := envelope()
	got, err := p.home.j.Accept(ctx, []journal.Accept{{Envelope: e}})
	if err != nil {
		return err
	}
	for id, n := got[0].ID, 0; n < 2; n++ {
		res, err := p.offer(time.Minute)
		if err != nil {
			return err
		}
		for _, r := range res {
			if r.Handed == nil {
				continue
			}
			if _, err := p.holder.j.Settle(ctx, []journal.Settle{{ID: r.ID, Lease: r.Handed.Lease, Action: journal.Nack, Reject: true}}); err != nil {
				return err
			}
		}
		if err := p.report(); err != nil {
			return err
		}
		next, err := p.home.j.Redrive(ctx, journal.Redrive{ID: id, Key: &journal.Key{Hash: [32]byte(append(id[:], id[:]...))}})
		if err != nil {
			return err
		}
		if err := p.holder.j.NoteRedriven(ctx, p.home.j.Identity().Journal, id, next.ID); err != nil {
			return err
		}
		id = next.ID
	}
	for _, w := range []*world{p.home, p.holder} {
		errs, err := w.j.Purge(ctx, []journal.ID{got[0].ID}, "operator")
		if err = errors.Join(append(errs, err)...); err != nil {
			return err
		}
	}
	return nil
}
