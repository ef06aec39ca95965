package journal_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
)

// trace contexts as they come from elsewhere: the journal reads nothing in them.
const (
	ofOffer  = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-00000000000000f0-01"
	ofFirst  = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-0000000000000001-01"
	ofSecond = "00-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa-0000000000000002-01"
)

// The context of a hand-over is kept before the app is told of it, over a restart, to
// the report, the event and the next offer; each attempt is told of the one before.
func TestTraceContextsAreKept(t *testing.T) {
	p := setupPair(t)
	given, told := []string{ofFirst, ofSecond}, []journal.HandedOver{}
	traced := journal.Options{
		Trace: func(h *journal.Handed, _ time.Time) string {
			if h.Trace.Offer != ofOffer {
				t.Errorf("the offer's context is %q", h.Trace.Offer)
			}
			own := given[0]
			given = given[1:]
			return own
		},
		Hooks: journal.Hooks{HandedOver: func(h journal.HandedOver) { told = append(told, h) }},
	}
	p.holder.j.Close()
	p.holder.open(traced)
	id := p.home.accept()
	offer := p.home.due()[0]
	held := make(chan []journal.HoldResult, 1)
	p.holder.j.Hold(p.home.j.Identity(), []journal.HoldRequest{{
		Envelope: offer.Envelope, OfferNo: 1, DeliverBy: time.Hour, Deadline: time.Hour, Offered: 17,
		Waited: &wire.Wait{Cause: uint32(state.CauseBreakerOpen), FromMs: 3, UntilMs: 11},
		Trace:  journal.Trace{Offer: ofOffer}, Lease: journal.Terms{For: time.Minute, Stream: true},
	}}, func(r []journal.HoldResult, _ error) { held <- r })
	first := (<-held)[0].Handed
	if first.Traceparent != ofFirst || first.Trace.Previous != "" {
		t.Fatalf("handed over with %q after %q, want %q after none", first.Traceparent, first.Trace.Previous, ofFirst)
	}
	p.holder.j.Close()
	p.holder.open(traced)
	settle := func(h *journal.Handed, s journal.Settle) {
		t.Helper()
		s.ID, s.Lease = id, h.Lease
		if got := p.holder.settle(s); got.Err != nil {
			t.Fatal(got.Err)
		}
	}
	settle(first, journal.Settle{Action: journal.Nack})
	leased, err := p.holder.j.Lease(context.Background(), []journal.ID{id}, []journal.Terms{{For: time.Minute, Stream: true}})
	if err != nil || leased[0].Err != nil {
		t.Fatal(err, leased)
	}
	if h := leased[0]; h.Traceparent != ofSecond || h.Trace.Previous != ofFirst {
		t.Errorf("handed over with %q after %q, want %q after %q", h.Traceparent, h.Trace.Previous, ofSecond, ofFirst)
	}
	settle(&leased[0], journal.Settle{Action: journal.Nack})
	if len(told) != 2 || told[0].Trace.Own != ofFirst || told[1].Trace.Own != ofSecond || told[1].Trace.Previous != ofFirst || told[0].Move != state.FailTry || told[0].Began.IsZero() {
		t.Errorf("told of the ends of %+v", told)
	}
	// What is polled has the context of the poll, or none, and nobody is told of its end.
	given = append(given, "")
	plain, err := p.holder.j.Lease(context.Background(), []journal.ID{id}, []journal.Terms{{For: time.Minute, Stream: true}})
	if err != nil || plain[0].Err != nil || plain[0].Trace.Previous != ofSecond || plain[0].Trace.Own != "" {
		t.Fatal(err, plain)
	}
	settle(&plain[0], journal.Settle{Action: journal.Nack})
	polled, err := p.holder.j.Lease(context.Background(), []journal.ID{id}, []journal.Terms{{For: time.Minute, Trace: ofOffer}})
	if err != nil || polled[0].Err != nil || polled[0].Trace.Previous != ofSecond || polled[0].Trace.Own != ofOffer {
		t.Fatal(err, polled)
	}
	settle(&polled[0], journal.Settle{Action: journal.Nack})
	if len(told) != 2 {
		t.Errorf("told of %d ends", len(told))
	}
	if err := p.report(); err != nil {
		t.Fatal(err)
	}
	events, _, err := p.home.j.Events(id, 0)
	if err != nil {
		t.Fatal(err)
	}
	var contexts []string
	for i, e := range events[2:] {
		contexts = append(contexts, e.Traceparent)
		if e.OfferedMs != 17 || e.HeldMs == 0 || e.HandedMs == 0 {
			t.Errorf("event %d of attempt %d: offered %d, held %d, handed %d", e.Type, e.Attempt, e.OfferedMs, e.HeldMs, e.HandedMs)
		}
		// What had delayed the offer is said once.
		if w := e.Waited; (w != nil) != (i == 0) || w != nil && (w.Cause != uint32(state.CauseBreakerOpen) || w.FromMs != 3 || w.UntilMs != 11) {
			t.Errorf("event %d has waited %v", i, w)
		}
	}
	if want := []string{ofFirst, ofFirst, ofSecond, ofSecond, "", "", ofOffer, ofOffer}; !slices.Equal(contexts, want) {
		t.Errorf("the events are of %v, want %v", contexts, want)
	}
	if _, err := p.holder.j.Release(context.Background(), []journal.ID{id}); err != nil {
		t.Fatal(err)
	}
	if err := p.home.j.Requeue(context.Background(), p.holder.j.Identity().Journal, []journal.Requeue{{ID: id, OfferNo: 1, Raise: true}}); err != nil {
		t.Fatal(err)
	}
	if again := p.home.due(); len(again) != 1 || again[0].Previous != ofOffer {
		t.Errorf("offered again as %+v, want it after %q", again, ofOffer)
	}
}
