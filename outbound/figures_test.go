package outbound_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pannier/outbound"
)

// ear hears what a dispatcher tells.
type ear struct {
	mu    sync.Mutex
	heard []string
}

func (e *ear) hear(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.heard = append(e.heard, fmt.Sprintf(format, args...))
}

// take returns what was heard since.
func (e *ear) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	heard := e.heard
	e.heard = nil
	return heard
}

func (e *ear) told() outbound.Told {
	return outbound.Told{
		Offers:   func(address, outcome string, n int) { e.hear("%s %s %d", address, outcome, n) },
		Answered: func(took time.Duration) { e.hear("answered in %s", took) },
		Breaker:  func(address, from, to string) { e.hear("%s %s to %s", address, from, to) },
	}
}

func TestTold(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var e ear
		w.told = e.told()
		w.restart()
		a := w.receiver(addrA)
		w.accept(billing, 1)
		o := a.expect(1)[0]
		w.after(20 * time.Millisecond)
		a.refuse(o, "busy", 1000)
		w.after(2 * time.Second)
		o = a.expect(1)[0]
		a.hold(o)
		w.after(time.Millisecond)
		heard := e.take()
		for _, want := range []string{addrA + " refused 1", addrA + " held 1", "answered in 20ms"} {
			if !slices.Contains(heard, want) {
				t.Errorf("not told %q, but %q", want, heard)
			}
		}
		f := w.d.Figures()
		if len(f.Peers) != 1 || f.Peers[0] != (outbound.PeerFigures{Address: addrA, Breaker: "closed", Connected: true, Held: 1}) {
			t.Errorf("figures: %+v", f.Peers)
		}
	})
}

// An address that refuses connections opens its breaker, and that is told once.
func TestToldOfBreakers(t *testing.T) {
	bubble(t, func(t *testing.T, w *world) {
		var e ear
		w.told = e.told()
		w.restart()
		w.peers.set(billing, addrB)
		w.accept(billing, 1)
		var heard []string
		for range 60 { // how soon it has failed often enough is chance
			w.after(time.Second)
			if heard = e.take(); len(heard) > 0 {
				break
			}
		}
		if len(heard) == 0 || heard[0] != addrB+" closed to open" {
			t.Errorf("told %q", heard)
		}
		if f := w.d.Figures(); len(f.Peers) != 1 || f.Peers[0].Breaker == "closed" || f.Peers[0].Connected {
			t.Errorf("figures: %+v", f.Peers)
		}
		if again := e.take(); len(again) != 0 {
			t.Errorf("a look at the figures was an act: %q", again)
		}
	})
}
