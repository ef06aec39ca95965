package outbound_test

import (
	"testing"
	"time"

	"pannier/journal/state"
	"pannier/outbound"
)

// destination returns the one that there is.
func (w *world) destination() outbound.DestinationStatus {
	w.t.Helper()
	list, of := w.d.Destinations()
	if len(list) != 1 || of != 1 {
		w.t.Fatalf("%d of %d destinations: %+v", len(list), of, list)
	}
	return list[0]
}

// wantDelays compares what waits, by its cause.
func (w *world) wantDelays(want map[state.Cause]int) {
	w.t.Helper()
	got := w.d.Delays()
	for _, c := range append(state.Causes(), state.NoCause) {
		if got[c] != want[c] {
			w.t.Errorf("%d wait because of %q, want %d", got[c], c, want[c])
		}
	}
}

// What waits for an agent says how much it is, since when, and why.
func TestDestinations(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		began := time.Now()
		w.accept(billing, 3)
		w.after(5 * time.Second)
		s := w.destination()
		if s.Agent != billing || s.Waiting != 3 || s.InFlight != 0 || s.Oldest == nil || s.Oldest.Before(began) || s.Oldest.After(began.Add(2*time.Second)) {
			t.Errorf("without an endpoint: %+v", s)
		}
		if len(s.Why) != 1 || s.Why[0].Code != "no_endpoint" || s.Why[0].Text == "" {
			t.Errorf("without an endpoint, the causes are %+v", s.Why)
		}
		w.wantDelays(map[state.Cause]int{state.CauseNoEndpoint: 3})

		w.peers.set(billing, addrB)
		w.after(5 * time.Second)
		for range 100 { // while it is dialed once more nobody knows until when it is out of reach
			if s = w.destination(); len(s.Why) == 1 && s.Why[0].Until != nil {
				break
			}
			w.after(100 * time.Millisecond)
		}
		if len(s.Why) != 1 || s.Why[0].Peer != addrB || s.Why[0].Until == nil {
			t.Errorf("out of reach: %+v", s)
		}

		a := w.receiver(addrA)
		o := a.expect(1)[0]
		w.after(time.Millisecond)
		if s = w.destination(); s.InFlight != 1 || len(s.Why) != 1 || s.Why[0].Code != "no_credit" {
			t.Errorf("one offered, and credit for no more: %+v", s)
		}
		w.wantDelays(map[state.Cause]int{state.CauseOffered: 1, state.CauseNoCredit: 2})
		a.hold(o)
		a.credit(billing, 10)
		for _, o := range a.expect(2) {
			a.hold(o)
		}
		w.after(time.Second)
		if list, of := w.d.Destinations(); of != 0 {
			t.Errorf("all held: %+v", list)
		}
		w.wantDelays(nil)
	})
}
