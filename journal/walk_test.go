package journal_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

var (
	walkSeed  = flag.Uint64("walk.seed", 0, "run only this walk; 0: several")
	walkSteps = flag.Int("walk.steps", 150, "steps of a walk")
)

// TestWalk takes random steps with a home and a holder, kills either between
// any two, and then lets everything come to its end. What was accepted must
// end, what an app finished must not be handed over again, and both journals
// must be whole.
func TestWalk(t *testing.T) {
	t.Parallel()
	seeds := []uint64{*walkSeed}
	if *walkSeed == 0 {
		seeds = seeds[:0]
		for range 12 {
			seeds = append(seeds, rand.Uint64())
		}
	}
	for _, seed := range seeds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := &walk{pair: setupPair(t), rand: rand.New(rand.NewPCG(seed, 1)), finished: map[journal.ID]bool{}, leases: map[journal.ID]journal.ID{}}
			for n := range *walkSteps {
				w.step = n
				w.any()
			}
			w.finish()
		})
	}
}

type walk struct {
	*pair
	rand     *rand.Rand
	step     int
	accepted []journal.ID
	finished map[journal.ID]bool       // the app has its 200 to an ack
	leases   map[journal.ID]journal.ID // what the app thinks it holds
}

func (w *walk) any() {
	w.Helper()
	steps := []func(){
		w.post, w.post, w.post, w.hold, w.hold, w.hold, w.take, w.take, w.ack, w.ack, w.nack, w.extend,
		w.lapse, w.release, w.tell, w.tell, w.loseAck, w.cancel, w.goOn, w.again, w.again, w.bury, w.lose, w.connect, w.killHome, w.killHolder,
	}
	steps[w.rand.IntN(len(steps))]()
}

func (w *walk) check(err error, what string) {
	w.Helper()
	if err != nil {
		w.Fatalf("step %d, %s: %v", w.step, what, err)
	}
}

func (w *walk) post() {
	e := envelope()
	e.MaxDeliveryAttempts = 3
	got, err := w.home.j.Accept(context.Background(), []journal.Accept{{Envelope: e}})
	w.check(err, "accept")
	w.accepted = append(w.accepted, got[0].ID)
}

func (w *walk) hold() {
	lease := time.Duration(0)
	if w.rand.IntN(2) == 0 {
		lease = time.Duration(1+w.rand.IntN(40)) * time.Millisecond
	}
	res, err := w.offer(lease)
	w.check(err, "offer")
	for _, r := range res {
		w.check(r.Err, "hold")
		if r.Handed != nil {
			w.handed(*r.Handed)
		}
	}
	if w.rand.IntN(2) == 0 { // else home is slow to note it
		ids, nos := []journal.ID{}, []uint64{}
		for _, r := range res {
			ids, nos = append(ids, r.ID), append(nos, r.OfferNo)
		}
		w.home.j.RecordHeld(w.holder.j.Identity(), ids, nos, false, func() {})
	}
}

func (w *walk) handed(h journal.Handed) {
	w.Helper()
	if w.finished[h.ID] {
		w.Fatalf("step %d: %s is handed over after its app finished it", w.step, h.ID)
	}
	w.leases[h.ID] = h.Lease
}

func (w *walk) mail() []journal.Mail {
	w.Helper()
	a, ok := w.holder.j.AgentNo(billing)
	if !ok {
		return nil
	}
	m, err := w.holder.j.MailAll(a)
	w.check(err, "mail")
	return m
}

func (w *walk) take() {
	for _, m := range w.mail() {
		if m.Phase != state.Ready {
			continue
		}
		got, err := w.holder.j.Lease(context.Background(), []journal.ID{m.ID}, []journal.Terms{{For: time.Minute}})
		w.check(err, "lease")
		if got[0].Err == nil {
			w.handed(got[0])
		}
		return
	}
}

// one settles one of the leases the app has; stale ones are refused.
func (w *walk) one(s journal.Settle) {
	for id, lease := range w.leases {
		s.ID, s.Lease = id, lease
		got := w.holder.settle(s)
		var ended *journal.EndedError
		switch {
		case got.Err == nil && s.Action == journal.Ack:
			w.finished[id] = true
			delete(w.leases, id)
		case got.Err == nil && s.Action == journal.Nack,
			errors.Is(got.Err, journal.ErrLeaseLost), errors.Is(got.Err, journal.ErrNotFound), errors.As(got.Err, &ended):
			delete(w.leases, id)
		default:
			w.check(got.Err, "settle")
		}
		return
	}
}

func (w *walk) ack()    { w.one(journal.Settle{Action: journal.Ack, Result: []byte(`{}`)}) }
func (w *walk) nack()   { w.one(journal.Settle{Action: journal.Nack, Reason: "no", Delay: -1}) }
func (w *walk) extend() { w.one(journal.Settle{Action: journal.Extend, For: time.Minute}) }

func (w *walk) lapse() {
	var ids []journal.ID
	for _, m := range w.mail() {
		ids = append(ids, m.ID)
	}
	w.check(w.holder.j.Lapse(context.Background(), ids), "lapse")
}

func (w *walk) release() {
	var ids []journal.ID
	for _, m := range w.mail() {
		if w.rand.IntN(2) == 0 {
			ids = append(ids, m.ID)
		}
	}
	given, err := w.holder.j.Release(context.Background(), ids)
	w.check(err, "release")
	for _, g := range given {
		if w.rand.IntN(3) == 0 {
			continue // the frame is lost; reconcile will tell
		}
		w.check(w.home.j.Requeue(context.Background(), w.holder.j.Identity().Journal,
			[]journal.Requeue{{ID: g.ID, OfferNo: g.OfferNo, Raise: true, Reason: state.ReasonHolderReleased}}), "requeue")
	}
}

func (w *walk) tell() { w.check(w.report(), "report") }

func (w *walk) loseAck() {
	reports, err := w.holder.j.Reports(w.home.j.Identity().Journal, 0, 5)
	w.check(err, "reports")
	done := make(chan error, 1)
	w.home.j.Apply(w.holder.j.Identity(), reports, func(_ []journal.Acked, _ uint64, err error) { done <- err })
	w.check(<-done, "apply")
}

func (w *walk) cancel() {
	if len(w.accepted) == 0 || w.rand.IntN(4) > 0 {
		return
	}
	id := w.accepted[w.rand.IntN(len(w.accepted))]
	_, err := w.home.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Cancel})
	var ended *journal.EndedError
	if !errors.As(err, &ended) {
		w.check(err, "cancel")
	}
}

// goOn lets an intent go on by a word at home, which the holder hears of at the
// next connect.
func (w *walk) goOn() {
	if len(w.accepted) == 0 {
		return
	}
	id := w.accepted[w.rand.IntN(len(w.accepted))]
	_, err := w.home.j.Answer(context.Background(), id, journal.Answer{Trigger: state.Start})
	var ended *journal.EndedError
	if !errors.As(err, &ended) && !errors.Is(err, journal.ErrIllegal) {
		w.check(err, "go on")
	}
}

// again redrives a dead letter, if there is one without a successor.
func (w *walk) again() {
	list, _, err := w.home.j.DeadLetters(journal.DeadFilter{Unredriven: true, Limit: 1})
	w.check(err, "dead letters")
	for _, d := range list {
		got, err := w.home.j.Redrive(context.Background(), journal.Redrive{ID: d.ID})
		w.check(err, "redrive")
		w.accepted = append(w.accepted, got.ID)
	}
}

// bury purges a dead letter at either end.
func (w *walk) bury() {
	side := w.home
	if w.rand.IntN(2) == 0 {
		side = w.holder
	}
	list, _, err := side.j.DeadLetters(journal.DeadFilter{Limit: 1})
	w.check(err, "dead letters")
	for _, d := range list {
		errs, err := side.j.Purge(context.Background(), []journal.ID{d.ID}, "walk")
		w.check(errors.Join(err, errs[0]), "purge")
		if side == w.home {
			w.accepted = slices.DeleteFunc(w.accepted, func(id journal.ID) bool { return id == d.ID })
		}
	}
}

// lose makes home think its holder lost, once in a while.
func (w *walk) lose() {
	if w.rand.IntN(6) > 0 {
		return
	}
	holder := w.holder.j.Identity().Journal
	ids, err := w.home.j.HeldAt(holder, journal.ID{}, 2)
	w.check(err, "held")
	for _, id := range ids {
		w.check(w.home.j.Requeue(context.Background(), holder, []journal.Requeue{{ID: id, Raise: true, Reason: state.ReasonHolderLost}}), "requeue")
	}
}

// connect is what both ends do when a stream opens.
func (w *walk) connect() {
	holder, home := w.holder.j.Identity(), w.home.j.Identity()
	list, err := w.holder.j.Holding(home.Journal)
	w.check(err, "holding")
	verdicts, words, _, err := w.home.j.Reconcile(context.Background(), holder, list)
	w.check(err, "reconcile")
	w.check(w.holder.j.Continue(context.Background(), home.Journal, words), "continue")
	w.check(w.holder.j.Revoke(context.Background(), home.Journal, verdicts), "revoke")
	listed := map[journal.ID]bool{}
	for _, h := range list {
		listed[h.ID] = true
	}
	ids, err := w.home.j.HeldAt(holder.Journal, journal.ID{}, 1000)
	w.check(err, "held")
	for _, id := range ids {
		if !listed[id] {
			w.check(w.home.j.Requeue(context.Background(), holder.Journal, []journal.Requeue{{ID: id, Raise: true}}), "requeue")
		}
	}
	// What was offered on the former stream and is not listed is offered again.
	if a, ok := w.home.j.AgentNo(billing); ok {
		w.home.j.Rewind(a, time.UnixMilli(0))
	}
}

func (w *walk) killHome()   { w.kill(w.home) }
func (w *walk) killHolder() { w.kill(w.holder) }

func (w *walk) kill(side *world) {
	if w.rand.IntN(4) > 0 {
		return
	}
	side.j.Abandon()
	side.open(journal.Options{})
	w.connect()
}

// finish lets everything come to its end, in a bounded number of rounds.
func (w *walk) finish() {
	w.Helper()
	for range 60 {
		w.connect()
		w.hold()
		w.lapse()
		for range w.mail() {
			w.take()
		}
		for id, lease := range w.leases {
			got := w.holder.settle(journal.Settle{ID: id, Lease: lease, Action: journal.Ack})
			if got.Err == nil {
				w.finished[id] = true
			}
			delete(w.leases, id)
		}
		w.tell()
		if w.allEnded() {
			w.wantWhole()
			return
		}
	}
	for _, id := range w.accepted {
		if s := w.home.status(id); !s.Terminal() {
			i, _ := w.home.j.Get(id)
			w.Errorf("%s never ended: %s, place %d, offer %d, events %v", id, s, i.Head.Place, i.Head.OfferNo, w.home.events(id))
		}
	}
}

func (w *walk) allEnded() bool {
	for _, id := range w.accepted {
		if s := w.home.status(id); !s.Terminal() && s != state.Waiting {
			return false
		}
	}
	return true
}

func (w *walk) wantWhole() {
	w.Helper()
	for _, id := range w.accepted {
		evs, first, err := w.home.j.Events(id, 0)
		w.check(err, "events")
		w.legal(id, evs, first)
		i, err := w.home.j.Get(id)
		w.check(err, "get")
		if w.finished[id] && i.Status() != state.Completed && i.Status() != state.Canceled && len(i.Head.LateAnswers) == 0 {
			w.Errorf("%s was finished by its app but is %s", id, i.Status())
		}
	}
	w.home.whole()
	w.holder.whole()
}

// legal checks that the events are a path through the table.
func (w *walk) legal(id journal.ID, evs []*wire.Event, first uint32) {
	w.Helper()
	if first != 1 {
		w.Errorf("%s: events begin at %d", id, first)
	}
	at := state.None
	for i, e := range evs {
		to := state.Status(e.Status)
		ok := false
		for _, on := range state.Triggers() {
			row, found := state.Next(at, on)
			ok = ok || found && row.To == to && row.Event == state.EventType(e.Type)
		}
		if !ok {
			w.Errorf("%s: event %d takes %s to %s by %s, which no row does", id, i+1, at, to, state.EventType(e.Type))
		}
		at = to
	}
}
