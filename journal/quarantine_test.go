package journal_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// panicking is what is made to panic, and how often it has.
type panicking struct {
	id    journal.ID
	where []string
	count int
}

func (p *panicking) at(where string, id journal.ID) {
	if id == p.id && slices.Contains(p.where, where) {
		p.count++
		panic("planted at " + where)
	}
}

// breakAt makes work on an intent panic from now on; everywhere named.
func (w *world) breakAt(id journal.ID, where ...string) *panicking {
	p := &panicking{id: id, where: where}
	w.j.PlantPanics(p.at)
	return p
}

// wantAside checks that an intent has ended as a dead letter because we cannot work on it.
func (w *world) wantAside(id journal.ID) {
	w.Helper()
	i := w.get(id)
	if i.Status() != state.Failed || i.DeadReason() != state.ReasonSidecarFault {
		w.Errorf("it is %s, dead for %q; want FAILED for sidecar_fault", i.Status(), i.DeadReason())
	}
}

// What we do of ourselves and cannot, ends the intent the first time; the one beside it goes
// on, and nothing panics again.
func TestPanicCostsItsIntentAlone(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(w *world, bad, good journal.ID) // to both
		good state.Status
	}{
		"a limit passes": {func(w *world, _, _ journal.ID) { time.Sleep(2 * time.Minute) }, state.TimedOut},
		"it is held and leased": {func(w *world, bad, good journal.ID) {
			res, err := w.j.HoldLocal(w.Context(), w.due(), []journal.Terms{{For: time.Minute}, {For: time.Minute}})
			if err != nil || len(res) != 2 || !errors.Is(res[0].Err, journal.ErrFault) || res[1].Err != nil {
				w.Errorf("held: %v, %+v", err, res)
			}
		}, state.Delivered},
		"its lease runs out": {func(w *world, bad, good journal.ID) {
			w.breakAt(journal.ID{})
			if _, err := w.j.HoldLocal(w.Context(), w.due(), []journal.Terms{{For: time.Second}, {For: time.Second}}); err != nil {
				w.Error(err)
			}
			time.Sleep(time.Minute)
			w.breakAt(bad, "run")
			if err := w.j.Lapse(w.Context(), []journal.ID{bad, good}); err != nil {
				w.Errorf("lapse: %v, though the other has lapsed", err)
			}
		}, state.Delivered},
		"another number": {func(w *world, bad, good journal.ID) {
			if err := w.j.Raise(w.Context(), []journal.ID{bad, good}); err != nil {
				w.Error(err)
			}
		}, state.Submitted},
		"it is recorded as held": {func(w *world, bad, good journal.ID) {
			w.breakAt(bad, "held")
			recorded := make(chan struct{})
			w.j.RecordHeld(journal.Identity{Journal: journal.NewID(), Epoch: 1}, []journal.ID{bad, good}, []uint64{1, 1}, true, func() { close(recorded) })
			<-recorded
			synctest.Wait() // the batch that sets it aside
			if p := journal.Place(w.get(good).Head.Place); p != journal.PlaceHeld {
				w.Errorf("the other is at place %d, want held", p)
			}
		}, state.Submitted},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := setup(t)
				soon := time.Now().Add(90 * time.Second)
				got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: envelope(), DeliverBy: soon}, {Envelope: envelope(), DeliverBy: soon}})
				if err != nil {
					t.Fatal(err)
				}
				bad, good := got[0].ID, got[1].ID
				plant := w.breakAt(bad, "run")
				c.do(w, bad, good)
				w.wantAside(bad)
				if got := w.status(good); got != c.good {
					t.Errorf("the other is %s, want %s", got, c.good)
				}
				if plant.count > 1 {
					t.Errorf("it panicked %d times", plant.count)
				}
				if got := w.j.Stats().Faults; got != 1 {
					t.Errorf("%d set aside, want 1", got)
				}
				w.whole()
			})
		})
	}
}

// What is asked for may itself be at fault: the first two times it is only refused.
func TestAskedForThreeTimes(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	h := w.local(time.Minute)
	w.breakAt(id, "run")
	for n := range 3 {
		if got := w.status(id); got != state.Delivered {
			t.Fatalf("asked for %d times it is %s", n, got)
		}
		if got := w.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Ack}); !errors.Is(got.Err, journal.ErrFault) {
			t.Fatalf("settle: %v", got.Err)
		}
	}
	w.wantAside(id)
	w.whole()
}

// What cannot be read is not to blame on what was asked for: it ends the first time, and what was
// there of it is kept.
func TestUnreadableWhenAskedFor(t *testing.T) {
	t.Parallel()
	var corrupt, faulty []journal.ID
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{Hooks: journal.Hooks{
		Corrupt: func(c journal.Corrupt) { corrupt = append(corrupt, c.ID) },
		Faulty:  func(id journal.ID, _ error) { faulty = append(faulty, id) },
	}})
	id := w.accept()
	if err := w.j.Break(id, 't'); err != nil {
		t.Fatal(err)
	}
	if _, err := w.j.Answer(t.Context(), id, journal.Answer{Trigger: state.Cancel}); !errors.As(err, new(*journal.CorruptError)) {
		t.Fatalf("answer: %v", err)
	}
	w.wantAside(id)
	if want := []journal.ID{id}; !slices.Equal(corrupt, want) || !slices.Equal(faulty, want) {
		t.Errorf("corrupt: %v, faulty: %v; want both once", corrupt, faulty)
	}
	w.whole()
}

// What has ended is not ended again for what fails later.
func TestEndedStaysAsItEnded(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := w.accept()
	if err := w.j.Refuse(t.Context(), id, 1, state.ReasonRejected, "no"); err != nil {
		t.Fatal(err)
	}
	was, updated := w.events(id), w.get(id).Head.UpdatedMs
	w.breakAt(id, "run")
	time.Sleep(2 * time.Millisecond)
	if err := w.j.Refuse(t.Context(), id, 1, state.ReasonRejected, "no"); !errors.Is(err, journal.ErrFault) {
		t.Fatalf("refused again: %v", err)
	}
	if i := w.get(id); i.DeadReason() != state.ReasonRejected || !slices.Equal(w.events(id), was) || w.j.Stats().Faults != 0 {
		t.Errorf("dead for %q, with %v; %d set aside", i.DeadReason(), w.events(id), w.j.Stats().Faults)
	} else if i.Head.UpdatedMs != updated {
		t.Error("it was written again")
	}
	w.whole()
}

// Nothing is on record of what is not here, however often what is asked about it fails.
func TestFaultAboutNothing(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id := journal.NewID()
	w.breakAt(id, "run")
	for range 3 {
		if err := w.j.Refuse(t.Context(), id, 1, state.ReasonRejected, "no"); !errors.Is(err, journal.ErrFault) {
			t.Fatalf("refused: %v", err)
		}
	}
	if _, err := w.j.Get(id); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("it is here: %v", err)
	}
	w.whole()
}

// What we do of ourselves and no batch has room for would be tried for ever: its intent ends.
func TestNoBatchHasRoomForOurs(t *testing.T) {
	t.Parallel()
	w := setup(t)
	id, release := w.accept(), make(chan struct{})
	close(release)
	if err := w.j.Write(t.Context(), id, journal.OperationMost+1, release); !errors.Is(err, journal.ErrTooLarge) {
		t.Errorf("written: %v", err)
	}
	w.wantAside(id)
	w.whole()
}

// The end of an intent may be what panics: then it ends without what comes of an end, and so
// does the one that waits for it as for a step.
func TestEndThatPanics(t *testing.T) {
	t.Parallel()
	eachRead(t, func(t *testing.T, refuse func(*world) (refused func() bool)) {
		w := setup(t)
		whole := w.workflow(journal.Accept{}, step(agent, "a", 2, 0), step(agent, "b", 0, 0))
		bad, good := w.awaited(whole), w.accept()
		w.breakAt(bad, "run", "whole")
		refused := refuse(w)
		asked := 0
		for ; asked < 6 && w.get(bad).Status().Open(); asked++ {
			if err := w.said(whole, 'y'); !errors.Is(err, journal.ErrFault) && !refused() {
				t.Fatalf("answer %d: %v", asked, err)
			}
		}
		if asked != 3 && !refused() {
			t.Errorf("it was set aside after %d answers", asked)
		}
		w.wantAside(bad)
		w.wantAside(whole)
		if got := w.status(good); got != state.Submitted {
			t.Errorf("the other is %s", got)
		}
		w.whole()
	})
}

// Where even that panics, the intent stays where it is, and the others go on.
func TestNothingHelps(t *testing.T) {
	t.Parallel()
	var said strings.Builder
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{Hooks: journal.Hooks{Warning: func(text string) { said.WriteString(text) }}})
	bad, good := w.accept(), w.accept()
	w.breakAt(bad, "run", "whole", "bare")
	if err := w.j.Raise(t.Context(), []journal.ID{bad, good}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"panic in a journal operation: planted at run", "cannot even be set aside"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("nobody says %q", want)
		}
	}
	if i := w.get(bad); i.Status() != state.Submitted || i.Head.OfferNo != 1 || w.get(good).Head.OfferNo != 2 {
		t.Errorf("it is %s under %d, the other under %d", i.Status(), i.Head.OfferNo, w.get(good).Head.OfferNo)
	}
	w.whole()
}

// A holder tells home of what it cannot work on, whatever was done with it there.
func TestHolderTellsWhatItCannotWorkOn(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		lease time.Duration
		do    func(p *pair, h *journal.Handed, id journal.ID)
	}{
		"it is to be leased": {0, func(p *pair, _ *journal.Handed, id journal.ID) {
			got, err := p.holder.j.Lease(p.Context(), []journal.ID{id}, []journal.Terms{{For: time.Minute}})
			if err != nil || !errors.Is(got[0].Err, journal.ErrFault) {
				p.Errorf("lease: %v, %+v", err, got)
			}
		}},
		"it is out of attempts": {time.Minute, func(p *pair, h *journal.Handed, id journal.ID) {
			p.holder.breakAt(journal.ID{})
			p.holder.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Nack})
			p.holder.breakAt(id, "run")
			if err := p.holder.j.Exhaust(p.Context(), []journal.ID{id}); err != nil {
				p.Error(err)
			}
		}},
		"it is worked on": {time.Minute, func(p *pair, h *journal.Handed, id journal.ID) {
			p.holder.breakAt(journal.ID{})
			p.holder.settle(journal.Settle{ID: id, Lease: h.Lease, Action: journal.Extend})
			p.holder.breakAt(id, "run")
			if err := p.holder.j.Recover(p.Context(), []journal.ID{id}, []journal.ID{h.Lease}); err != nil {
				p.Error(err)
			}
		}},
		"somebody waits": {time.Minute, func(p *pair, h *journal.Handed, id journal.ID) {
			p.holder.breakAt(journal.ID{})
			if _, err := p.holder.j.Answer(p.Context(), id, journal.Answer{Trigger: state.Wait}); err != nil {
				p.Fatal(err)
			}
			p.holder.breakAt(id, "run")
			if _, err := p.holder.j.Release(p.Context(), []journal.ID{id}); err != nil {
				p.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := setupPair(t)
			e := envelope()
			e.MaxDeliveryAttempts, e.HoldWhenExhausted = 1, true
			got, err := p.home.j.Accept(t.Context(), []journal.Accept{{Envelope: e}})
			if err != nil {
				t.Fatal(err)
			}
			id := got[0].ID
			res, err := p.offer(c.lease)
			if err != nil || res[0].Err != nil {
				t.Fatalf("offer: %v %+v", err, res)
			}
			p.holder.breakAt(id, "run")
			c.do(p, res[0].Handed, id)
			p.holder.breakAt(journal.ID{})
			if err := p.report(); err != nil {
				t.Fatal(err)
			}
			p.home.wantAside(id)
			p.holder.wantAside(id)
			if n := p.holder.j.Stats().Faults; n != 1 {
				t.Errorf("%d set aside at the holder, want 1", n)
			}
			if phase, _ := p.holder.hand(id); phase != state.Rejected {
				t.Errorf("at the holder it is %s", phase)
			}
			p.home.whole()
			p.holder.whole()
		})
	}
}

// An offer on which the holder's journal panics is not held, and not said to be; the one
// beside it is.
func TestOfferThatPanicsIsNotHeld(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	bad, good := p.home.accept(), p.home.accept()
	p.holder.breakAt(bad, "run")
	res, err := p.offer(time.Minute)
	if err != nil || !errors.Is(res[0].Err, journal.ErrFault) || res[0].Handed != nil || res[1].Err != nil {
		t.Fatalf("offer: %v %+v", err, res)
	}
	if _, err := p.holder.j.Get(bad); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("get of it: %v", err)
	}
	if phase, _ := p.holder.hand(good); phase != state.Leased {
		t.Errorf("the other is %s", phase)
	}
	p.holder.whole()
}

// A report that cannot be applied is passed over: the ones after it are heard, and its intent
// is a dead letter.
func TestReportThatCannotBeApplied(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		plant func(p *pair, r *wire.Report)
		stays bool // what it was about cannot be ended either, or is not known
	}{
		"it panics": {plant: func(p *pair, r *wire.Report) { p.home.breakAt(journal.ID(r.Id), "report") }},
		"so does the end of it": {plant: func(p *pair, r *wire.Report) {
			p.home.breakAt(journal.ID(r.Id), "report", "whole")
		}},
		"whatever is done": {plant: func(p *pair, r *wire.Report) {
			p.home.breakAt(journal.ID(r.Id), "report", "whole", "bare")
		}, stays: true},
		"it says nothing that there is": {plant: func(_ *pair, r *wire.Report) { r.Answer = uint32(state.Assign) }},
		"it is about nothing":           {plant: func(_ *pair, r *wire.Report) { r.Id = r.Id[:3] }, stays: true},
		"its text is no text":           {plant: func(_ *pair, r *wire.Report) { r.Text = "\xff" }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := setupPair(t)
			bad, good := p.home.accept(), p.home.accept()
			res, err := p.offer(time.Minute)
			if err != nil || len(res) != 2 {
				t.Fatalf("offer: %v, %+v", err, res)
			}
			for _, r := range res {
				p.holder.settle(journal.Settle{ID: r.Handed.ID, Lease: r.Handed.Lease, Action: journal.Ack})
			}
			reports, err := p.holder.j.Reports(p.home.j.Identity().Journal, 0, 1000)
			if err != nil {
				t.Fatal(err)
			}
			at := slices.IndexFunc(reports, func(r *wire.Report) bool {
				return journal.ID(r.Id) == bad && state.Fact(r.Fact) == state.FactAnswered
			})
			c.plant(p, reports[at])
			done := make(chan error, 1)
			p.home.j.Apply(p.holder.j.Identity(), reports, func(acked []journal.Acked, upTo uint64, err error) {
				if upTo != reports[len(reports)-1].No || len(acked) != len(reports) {
					err = errors.Join(err, fmt.Errorf("%d acked up to %d, of %d", len(acked), upTo, len(reports)))
				}
				if a := acked[at]; !c.stays && (a.ID != bad || a.Status != state.Failed || len(a.Events) == 0) {
					err = errors.Join(err, fmt.Errorf("acked as %+v", a))
				}
				done <- err
			})
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if got := p.home.status(good); got != state.Completed {
				t.Errorf("the other is %s", got)
			}
			if got := p.home.j.Stats().ReportsAside; got == 0 {
				t.Error("it is not counted")
			}
			if !c.stays {
				p.home.wantAside(bad)
			} else if got := p.home.status(bad); got.Terminal() {
				t.Errorf("it is %s", got)
			}
			p.home.breakAt(journal.ID{})
			p.home.whole()
		})
	}
}

// One that cannot even be read at the holder is told of by its number alone. What it said is
// said again when home offers again what it finds missing.
func TestReportThatCannotBeRead(t *testing.T) {
	t.Parallel()
	p := setupPair(t)
	lost := false
	p.holder.j.Close()
	p.holder.open(journal.Options{Hooks: journal.Hooks{Lost: func(journal.ID) { lost = true }}})
	id := p.home.accept()
	res, err := p.offer(time.Minute)
	if err != nil || res[0].Err != nil {
		t.Fatalf("offer: %v, %+v", err, res)
	}
	p.holder.settle(journal.Settle{ID: id, Lease: res[0].Handed.Lease, Action: journal.Ack, Result: []byte(`{"n":1}`)})
	home, holder := p.home.j.Identity(), p.holder.j.Identity()
	if err := p.holder.j.BreakReport(home.Journal, 2); err != nil {
		t.Fatal(err)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	if !lost {
		t.Error("nobody is told to have home ask again")
	}
	if got := p.home.status(id); got != state.Delivered {
		t.Fatalf("home has it as %s", got)
	}
	list, err := p.holder.j.Holding(home.Journal)
	if err != nil || len(list) != 0 {
		t.Fatalf("the holder lists %v, %v", list, err)
	}
	if err := p.home.j.Requeue(t.Context(), holder.Journal, []journal.Requeue{{ID: id, OfferNo: 1, Raise: true}}); err != nil {
		t.Fatal(err)
	}
	if res, err := p.offer(time.Minute); err != nil || res[0].Err != nil || res[0].Handed != nil {
		t.Fatalf("offered again: %v %+v", err, res)
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	if i := p.home.get(id); i.Status() != state.Completed || string(i.Outcome.Body) != `{"n":1}` {
		t.Errorf("home has it as %s with %s", i.Status(), i.Outcome.GetBody())
	}
	p.home.whole()
	p.holder.whole()
}

// One that says no intent is passed over, too, but only in its turn.
func TestReportOfNothingMakesNoGap(t *testing.T) {
	t.Parallel()
	w := setup(t)
	done := make(chan error, 1)
	from := journal.Identity{Journal: journal.NewID(), Epoch: 1}
	w.j.Apply(from, []*wire.Report{{No: 2, Id: []byte("x")}}, func(_ []journal.Acked, upTo uint64, err error) {
		if upTo != 0 {
			err = nil
		}
		done <- err
	})
	if err := <-done; err == nil || w.j.Applied(from) != 0 {
		t.Errorf("report 2 before 1: %v, applied up to %d", err, w.j.Applied(from))
	}
}
