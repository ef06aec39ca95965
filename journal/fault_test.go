package journal_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// pair is a home and a holder that talk through function calls: the protocol
// of the journals without wires.
type pair struct {
	*testing.T
	home, holder *world
}

func setupPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{T: t, home: setup(t), holder: setup(t)}
	return p
}

// left is what an offer says of a limit: one that has passed is not one that is none.
func left(limit time.Time) time.Duration {
	if limit.IsZero() {
		return 0
	}
	return max(time.Millisecond, time.Until(limit))
}

// offer lets the holder hold everything that is due at home.
func (p *pair) offer(lease time.Duration) ([]journal.HoldResult, error) {
	offers := p.home.due()
	reqs := make([]journal.HoldRequest, len(offers))
	for i, o := range offers {
		reqs[i] = journal.HoldRequest{Envelope: o.Envelope, OfferNo: o.OfferNo, DeliverBy: left(o.DeliverBy), Deadline: left(o.Deadline), Attempts: o.Attempts, Redelivered: o.Redelivered, Taken: o.Taken, Continued: o.Continued, Handovers: o.Handovers, Policy: o.Policy, Lease: journal.Terms{For: lease}}
	}
	type answer struct {
		res []journal.HoldResult
		err error
	}
	done := make(chan answer, 1)
	p.holder.j.Hold(p.home.j.Identity(), reqs, func(res []journal.HoldResult, err error) { done <- answer{res, err} })
	a := <-done
	return a.res, a.err
}

// report carries what the holder has to say home, and the ack back.
func (p *pair) report() error {
	home, holder := p.home.j.Identity(), p.holder.j.Identity()
	reports, err := p.holder.j.Reports(home.Journal, 0, 1000)
	if err != nil {
		return err
	}
	type answer struct {
		acked []journal.Acked
		upTo  uint64
		err   error
	}
	done := make(chan answer, 1)
	p.home.j.Apply(holder, reports, func(acked []journal.Acked, upTo uint64, err error) { done <- answer{acked, upTo, err} })
	a := <-done
	if a.err != nil {
		return a.err
	}
	return p.holder.j.AckReports(context.Background(), home.Journal, a.upTo, a.acked)
}

func TestPairCompletes(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	res, err := p.offer(time.Minute)
	if err != nil || res[0].Err != nil || res[0].Handed == nil {
		t.Fatalf("offer: %v, %+v", err, res)
	}
	if err := p.report(); err != nil {
		t.Fatalf("report: %v", err)
	}
	if got := p.home.status(id); got != state.Delivered {
		t.Fatalf("home after the lease: %s", got)
	}
	if got := p.holder.settle(journal.Settle{ID: id, Lease: res[0].Handed.Lease, Action: journal.Ack, Result: []byte(`{"n":1}`)}); got.Err != nil {
		t.Fatalf("ack: %v", got.Err)
	}
	if err := p.report(); err != nil {
		t.Fatalf("report: %v", err)
	}
	p.home.wantEvents(id, "created", "submitted", "delivered", "in_progress", "completed")
	p.holder.wantEvents(id, "created", "submitted", "delivered", "in_progress", "completed")
	if left, _ := p.holder.j.Reports(p.home.j.Identity().Journal, 0, 10); len(left) != 0 {
		t.Fatalf("%d reports are still unacked", len(left))
	}
	p.home.whole()
	p.holder.whole()
}

// An end that no batch has room for is taken without what it says: else the holder would
// repeat it for ever, and nothing after it would be heard.
func TestReportThatDoesNotFit(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	ids := []journal.ID{p.home.accept(), p.home.accept()}
	res, err := p.offer(time.Minute)
	if err != nil || len(res) != len(ids) {
		t.Fatalf("offer: %v, %+v", err, res)
	}
	for _, r := range res {
		if got := p.holder.settle(journal.Settle{ID: r.Handed.ID, Lease: r.Handed.Lease, Action: journal.Ack, Result: []byte(`{"n":1}`)}); got.Err != nil {
			t.Fatalf("ack: %v", got.Err)
		}
	}
	reports, err := p.holder.j.Reports(p.home.j.Identity().Journal, 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reports {
		if state.Fact(r.Fact) == state.FactAnswered {
			r.Body = []byte(`{"n":"` + strings.Repeat("x", 1_300_000) + `"}`)
			break
		}
	}
	done := make(chan uint64, 1)
	p.home.j.Apply(p.holder.j.Identity(), reports, func(_ []journal.Acked, upTo uint64, err error) {
		if err != nil {
			t.Errorf("apply: %v", err)
		}
		done <- upTo
	})
	if got, want := <-done, reports[len(reports)-1].No; got != want {
		t.Errorf("applied up to report %d, want %d", got, want)
	}
	said := map[string]bool{}
	for _, id := range ids {
		if got := p.home.status(id); got != state.Completed {
			t.Errorf("%s is %s", id, got)
			continue
		}
		said[string(p.home.get(id).Outcome.Body)] = true
	}
	if !said[`{"omitted":true,"bytes":1300008}`] || !said[`{"n":1}`] {
		t.Errorf("their results are %.300v", said)
	}
	p.home.whole()
}

// TestRepeatedReportsChangeNothing: home journaled the events and its ack was
// lost; the holder sends everything again.
func TestRepeatedReportsChangeNothing(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	id := p.home.accept()
	res, _ := p.offer(time.Minute)
	p.holder.settle(journal.Settle{ID: id, Lease: res[0].Handed.Lease, Action: journal.Ack})
	reports, err := p.holder.j.Reports(p.home.j.Identity().Journal, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		done := make(chan error, 1)
		p.home.j.Apply(p.holder.j.Identity(), reports, func(acked []journal.Acked, upTo uint64, err error) {
			if upTo != uint64(len(reports)) || len(acked) != len(reports) {
				err = errors.Join(err, fmt.Errorf("acked %d lines up to %d", len(acked), upTo))
			}
			done <- err
		})
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	p.home.wantEvents(id, "created", "submitted", "delivered", "in_progress", "completed")
	done := make(chan error, 1)
	gap := &wire.Report{No: uint64(len(reports)) + 2, Id: id[:]}
	p.home.j.Apply(p.holder.j.Identity(), []*wire.Report{gap}, func(_ []journal.Acked, _ uint64, err error) { done <- err })
	if err := <-done; err == nil {
		t.Fatal("a gap in the numbers was taken")
	}
	p.home.whole()
}

// TestAnswersOfTwoCopies: two copies of a holder both run, and each answers one of the intents
// that both held, in reports of the same numbers.
func TestAnswersOfTwoCopies(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	first, second := p.home.accept(), p.home.accept()
	held, err := p.offer(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	one := p.holder
	if err := one.j.Close(); err != nil {
		t.Fatal(err)
	}
	two := &world{T: t, dir: t.TempDir()}
	if err := journal.CopyStopped(one.dir, two.dir); err != nil {
		t.Fatal(err)
	}
	one.open(journal.Options{})
	two.open(journal.Options{})
	leases := map[journal.ID]journal.ID{}
	for _, h := range held {
		leases[h.Handed.ID] = h.Handed.Lease
	}
	answer := func(w *world, id journal.ID) {
		w.settle(journal.Settle{ID: id, Lease: leases[id], Action: journal.Ack})
		p.holder = w
		if err := p.report(); err != nil {
			t.Fatal(err)
		}
	}
	answer(one, first)
	answer(two, second)
	p.home.wantEvents(first, "created", "submitted", "delivered", "in_progress", "completed")
	p.home.wantEvents(second, "created", "submitted", "delivered", "in_progress", "completed")
	p.home.whole()
}

// TestFirstAnswerWins: the holder was thought lost, another answered first.
func TestFirstAnswerWins(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	second := setup(t)
	id := p.home.accept()
	res, _ := p.offer(time.Minute)
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	err := p.home.j.Requeue(context.Background(), p.holder.j.Identity().Journal, []journal.Requeue{{ID: id, Raise: true, Reason: state.ReasonHolderLost}})
	if err != nil {
		t.Fatal(err)
	}
	other := &pair{T: t, home: p.home, holder: second}
	res2, err := other.offer(time.Minute)
	if err != nil || res2[0].OfferNo != 2 || !res2[0].Handed.Redelivered {
		t.Fatalf("second offer: %v, %+v", err, res2)
	}
	if err := other.report(); err != nil {
		t.Fatal(err)
	}
	// The first holder's app fails an attempt: no longer on record, no event.
	p.holder.settle(journal.Settle{ID: id, Lease: res[0].Handed.Lease, Action: journal.Nack, Reason: "late"})
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	second.settle(journal.Settle{ID: id, Lease: res2[0].Handed.Lease, Action: journal.Ack, Result: []byte(`{"by":"second"}`)})
	if err := other.report(); err != nil {
		t.Fatal(err)
	}
	again, _ := p.holder.j.Lease(context.Background(), []journal.ID{id}, []journal.Terms{{For: time.Minute}})
	p.holder.settle(journal.Settle{ID: id, Lease: again[0].Lease, Action: journal.Ack, Result: []byte(`{"by":"first"}`)})
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	p.home.wantEvents(id, "created", "submitted", "delivered", "transfer", "delivered", "in_progress", "completed")
	i, err := p.home.j.Get(id)
	if err != nil || string(i.Outcome.Body) != `{"by":"second"}` || len(i.Head.LateAnswers) != 1 || p.home.j.Stats().LateAnswers != 1 {
		t.Fatalf("%v: outcome %s, %d late answers, %d counted", err, i.Outcome.Body, len(i.Head.LateAnswers), p.home.j.Stats().LateAnswers)
	}
	p.home.whole()
}

// script is everything a home and a holder write in the life of two intents;
// it stops at the first error, as a process would.
func (p *pair) script() error {
	ctx := context.Background()
	key := &journal.Key{Hash: [32]byte{7}, Fingerprint: [32]byte{7}}
	told := envelope()
	told.ReplyTo = desk
	got, err := p.home.j.Accept(ctx, []journal.Accept{{Envelope: told, Key: key}, {Envelope: envelope()}})
	if err != nil {
		return err
	}
	res, err := p.offer(time.Minute)
	if err != nil {
		return err
	}
	holder := p.holder.j.Identity()
	p.home.j.RecordHeld(holder, []journal.ID{got[0].ID, got[1].ID}, []uint64{1, 1}, false, func() {})
	if err := p.home.j.SawHolder(ctx, holder, "127.0.0.1:1", false, nil); err != nil {
		return err
	}
	if _, err := p.holder.j.SawHome(ctx, p.home.j.Identity(), "127.0.0.1:2", nil); err != nil {
		return err
	}
	if _, err := p.home.j.Change(ctx, got[1].ID, &wire.Change{Controls: []byte(`{"n":1}`), MaxAttempts: 4}); err != nil {
		return err
	}
	for _, r := range res {
		if r.Handed == nil {
			continue
		}
		action := journal.Ack
		if r.ID == got[1].ID {
			action = journal.Nack
		}
		if _, err := p.holder.j.Settle(ctx, []journal.Settle{{ID: r.ID, Lease: r.Handed.Lease, Action: action}}); err != nil {
			return err
		}
		if err := p.report(); err != nil {
			return err
		}
	}
	_, err = p.home.j.Answer(ctx, got[1].ID, journal.Answer{Trigger: state.Cancel, Reason: state.ReasonCanceled})
	return err
}

// TestEveryWriteFailsBothWays fails the n-th commit of either side, not
// persisted and persisted but reported failed, for every n there is; then both
// journals are opened again and read whole, and the script is run to its end.
func TestEveryWriteFailsBothWays(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]script{"two lives": (*pair).script, "dead letters": (*pair).deadScript, "steps": (*pair).stepsScript} {
		for _, side := range []string{"home", "holder"} {
			total := countCommits(t, side, script)
			if total < 3 {
				t.Fatalf("%s: %s commits only %d times", name, side, total)
			}
			for n := 1; n <= total; n++ {
				for _, persist := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/%s/commit %d/persisted %v", name, side, n, persist), func(t *testing.T) {
						t.Parallel()
						failNth(t, side, n, persist, script)
					})
				}
			}
		}
	}
}

// script stops at the first error.
type script func(*pair) error

func (p *pair) side(name string) *world {
	if name == "home" {
		return p.home
	}
	return p.holder
}

// A batch that could not be made durable is seen by nobody: the journal has failed before
// anybody can read again.
func TestFailsBeforeAnybodyReads(t *testing.T) {
	t.Parallel()
	w := setup(t)
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	readable := make(chan bool, 1)
	w.open(journal.Options{Hooks: journal.Hooks{Failed: func(error) { readable <- w.j.Readable() }}})
	w.j.FailCommit(1, true)
	if _, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope()}}); err == nil {
		t.Fatal("a commit that failed was acknowledged")
	}
	if <-readable {
		t.Error("it could be read before the journal failed")
	}
	w.j.Abandon()
}

func countCommits(t *testing.T, side string, run script) int {
	p := setupPair(t)
	n := 0
	p.side(side).j.Commits(&n)
	if err := run(p); err != nil {
		t.Fatalf("script without a fault: %v", err)
	}
	p.home.whole()
	p.holder.whole()
	return n
}

func failNth(t *testing.T, side string, n int, persist bool, run script) {
	p := setupPair(t)
	w := p.side(side)
	w.j.FailCommit(n, persist)
	if err := run(p); err == nil {
		return // batches form as they come: this run needed fewer commits
	}
	if w.j.Err() == nil {
		t.Fatal("a failed commit did not poison the journal")
	}
	if _, err := w.j.Accept(context.Background(), []journal.Accept{{Envelope: envelope()}}); !errors.Is(err, journal.ErrFailed) {
		t.Fatalf("accept after the failure: %v, want refused", err)
	}
	w.j.Abandon()
	w.open(journal.Options{})
	if !w.j.Stats().Unclean {
		t.Error("the start after a failure was not seen as unclean")
	}
	if err := run(p); err != nil {
		t.Fatalf("script after reopening: %v", err)
	}
	p.home.whole()
	p.holder.whole()
}

// TestLargeResultComesHome: a result may be as large as a payload.
func TestLargeResultComesHome(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	for _, n := range []int{100, 256 << 10, 512 << 10, 1<<20 - 10} {
		id := p.home.accept()
		res, err := p.offer(time.Minute)
		if err != nil || res[0].Handed == nil {
			t.Fatalf("offer: %v %+v", err, res)
		}
		result := []byte(`{"r":"` + strings.Repeat("x", n) + `"}`)
		if got := p.holder.settle(journal.Settle{ID: id, Lease: res[0].Handed.Lease, Action: journal.Ack, Result: result}); got.Err != nil {
			t.Fatalf("ack with a result of %d bytes: %v", len(result), got.Err)
		}
		if err := p.report(); err != nil {
			t.Fatal(err)
		}
		i, err := p.home.j.Get(id)
		if err != nil || i.Outcome == nil || string(i.Outcome.Body) != string(result) {
			t.Errorf("a result of %d bytes did not come home whole: %v", len(result), err)
		}
	}
	p.home.whole()
	p.holder.whole()
}
