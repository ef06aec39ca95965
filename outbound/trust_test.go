package outbound_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	grpcpeer "google.golang.org/grpc/peer"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire/peer"
)

const shipping = "agent://acme/prod/shipping"

// passports say for whom the holder at an address speaks.
type passports struct {
	mu     sync.Mutex
	agents map[string]string // by address; "": nobody knows it
}

func (p *passports) give(address, agent string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.agents[address] = agent
}

// of is the dispatcher's Trust.
func (p *passports) of(ctx context.Context) (func(string) error, error) {
	from, ok := grpcpeer.FromContext(ctx)
	if !ok {
		return nil, errors.New("the stream has no peer")
	}
	address := from.Addr.String()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.agents[address] == "" {
		return nil, fmt.Errorf("nobody knows %s", address)
	}
	return func(agent string) error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.agents[address] == agent {
			return nil
		}
		return fmt.Errorf("%s may not speak for %s", address, agent)
	}, nil
}

// trusting is a world that asks its holders who they are.
func trusting(t *testing.T, f func(t *testing.T, w *world, p *passports)) {
	t.Helper()
	bubble(t, func(t *testing.T, w *world) {
		p := &passports{agents: map[string]string{}}
		w.trust = p.of
		w.restart()
		f(t, w, p)
	})
}

// A stranger's stream comes to nothing, and an operator sees why.
func TestStrangerIsGivenNothing(t *testing.T) {
	trusting(t, func(t *testing.T, w *world, p *passports) {
		a := w.receiver(addrA)
		w.accept(billing, 1)
		a.expect(0)
		if got := w.peer(addrA); got.LastError != "nobody knows "+addrA {
			t.Errorf("last error %q", got.LastError)
		}
		if why := w.d.Why(journal.ID{}, billing, false); len(why) != 1 || !strings.HasSuffix(why[0].Detail(), " Last error: nobody knows "+addrA) {
			t.Errorf("it waits for %v", why)
		}
		p.give(addrA, billing)
		w.after(2 * time.Minute) // the breaker's gate
		a.expect(1)
	})
}

// The directory is only a hint: what answers at an address must speak for the
// agent, or gets none of its intents.
func TestOffersGoToWhoSpeaksForTheAgent(t *testing.T) {
	trusting(t, func(t *testing.T, w *world, p *passports) {
		a, b := w.holder(addrA), w.holder(addrB)
		p.give(addrA, shipping)
		p.give(addrB, billing)
		w.peers.set(billing, addrA)
		w.peers.set(shipping, addrA)
		id := w.accept(billing, 1)[0]
		w.accept(shipping, 1)
		got := a.expect(1)
		if offerID(got[0]) == id {
			t.Fatal("it is offered what is for another agent")
		}
		if got := w.peer(addrA).LastError; !strings.Contains(got, addrA+" may not speak for "+billing) {
			t.Errorf("last error %q", got)
		}
		if why := w.d.Why(id, billing, false); len(why) != 1 || why[0].Cause != state.CauseUntrusted || why[0].Said != addrA+" may not speak for "+billing {
			t.Errorf("it waits for %v", why)
		}
		w.peers.set(billing, addrA, addrB)
		b.expect(1)
		a.expect(0)
	})
}

// One endpoint refuses for good, and the only other one may not be asked: nobody
// is left.
func TestUntrustedEndpointIsNobodyToAsk(t *testing.T) {
	trusting(t, func(t *testing.T, w *world, p *passports) {
		a, b := w.holder(addrA), w.holder(addrB)
		p.give(addrA, billing)
		p.give(addrB, shipping)
		w.peers.set(billing, addrA, addrB)
		id := w.accept(billing, 1)[0]
		a.refuse(a.expect(1)[0], "policy_denied", 0)
		w.after(time.Second)
		b.expect(0)
		if got := w.status(id); got != state.Failed {
			t.Errorf("it is %v, want a dead letter", got)
		}
	})
}

// A report about an intent of another agent is acked, tells nothing and changes
// nothing, an app's final answer too; a list that names it and questions about it
// fare no better.
func TestReportsOfStrangersDoNotCount(t *testing.T) {
	trusting(t, func(t *testing.T, w *world, p *passports) {
		b, a := w.holder(addrB), w.holder(addrA)
		p.give(addrB, billing)
		p.give(addrA, shipping)
		w.peers.set(billing, addrB)
		open, ended, due := w.accept(billing, 1)[0], journal.ID{}, journal.ID{}
		held := b.expect(1)[0]
		b.hold(held)
		b.credit(billing, 3)
		ended = w.accept(billing, 1)[0]
		last := b.expect(1)[0]
		b.hold(last)
		b.report(report(1, last, state.FactAnswered))
		w.after(2 * time.Second)
		if got := w.status(ended); got != state.Completed {
			t.Fatalf("it is %v", got)
		}
		b.credit(billing, 0)
		due = w.accept(billing, 1)[0]
		w.after(time.Second)

		a.set(func() { a.mu.holdings = []*peer.Holding{holding(open, 1), holding(due, 1)} })
		w.peers.set(shipping, addrA)
		w.accept(shipping, 1)
		mine := a.expect(1)[0]
		a.hold(mine)
		if revoked := a.revokes(); len(revoked) > 0 {
			t.Errorf("it is told of %d intents of another agent", len(revoked))
		}
		if place, _, _ := w.where(due); place != journal.PlaceDue {
			t.Errorf("its list has moved an intent of another agent to place %d", place)
		}
		lie := report(2, held, state.FactAnswered)
		a.report(report(1, mine, state.FactDelivered), lie, report(3, last, state.FactAnswered), report(4, mine, state.FactAnswered))
		w.after(2 * time.Second)
		if got := w.status(open); got != state.Submitted {
			t.Errorf("a stranger's answer counts: the intent is %v", got)
		}
		if got := w.status(offerID(mine)); got != state.Completed {
			t.Errorf("its own answer does not: %v", got)
		}
		acks := a.acks()
		if len(acks) == 0 || acks[len(acks)-1].UpTo != 4 {
			t.Fatalf("acks %v, want one up to 4", acks)
		}
		for _, ack := range acks {
			for _, of := range ack.Acked {
				if id := journal.ID(of.Id); id != offerID(mine) && (of.Status != 0 || len(of.Events) > 0) {
					t.Errorf("the ack tells of another agent's intent: %v", of)
				}
			}
		}

		a.send(&peer.Frame{Asks: []*peer.Ask{{No: 1, What: peer.Ask_EVENTS, Id: ended[:]}, {No: 2, What: peer.Ask_STATUS, Id: mine.Envelope[:0]}}})
		w.after(time.Second)
		l := a.line()
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.mu.answers) == 0 || l.mu.answers[0].Error != "not_found" || len(l.mu.answers[0].Events) > 0 {
			t.Errorf("asked about another agent's intent: %v", l.mu.answers)
		}
	})
}

// Whoever says a journal's id must speak for the agents of what is on record
// there: else it could have it all offered anew.
func TestJournalAnswersThroughItsOwnPeer(t *testing.T) {
	trusting(t, func(t *testing.T, w *world, p *passports) {
		b := w.holder(addrB)
		p.give(addrB, billing)
		w.peers.set(billing, addrB)
		id := w.accept(billing, 1)[0]
		b.hold(b.expect(1)[0])
		w.after(2 * time.Second)
		w.net.unplug(addrB)
		b.cut()
		w.after(time.Second)

		a := w.holder(addrA)
		a.set(func() { a.mu.id = b.identity() })
		p.give(addrA, shipping)
		w.peers.set(shipping, addrA)
		w.accept(shipping, 1)
		a.expect(0)
		if got := w.peer(addrA).LastError; !strings.Contains(got, "has intents of ours and answers through another peer: "+addrA+" may not speak for "+billing) {
			t.Errorf("last error %q", got)
		}
		if place, holder, no := w.where(id); place != journal.PlaceHeld || holder != b.identity().Journal || no != 1 {
			t.Errorf("what is held is at place %d, at %v, under %d", place, holder, no)
		}
	})
}

// A journal is its peer's also while it has nothing of ours: an insider that says
// its id neither ends its stream nor keeps it out, before and after a restart of
// home. What an operator has given up may be another's.
func TestJournalStaysWithItsPeer(t *testing.T) {
	trusting(t, func(t *testing.T, w *world, p *passports) {
		b, a := w.holder(addrB), w.holder(addrA)
		p.give(addrB, billing)
		p.give(addrA, shipping)
		b.set(func() { b.mu.agents = []string{billing} })
		// finish has the only offer of a holder done, as its no-th report, once the
		// breaker lets it be dialed.
		finish := func(f *fake, no uint64) {
			t.Helper()
			for tries := 0; !f.connected() && tries < 600; tries++ {
				w.after(time.Second)
			}
			o := f.expect(1)[0]
			f.hold(o)
			f.report(report(no, o, state.FactAnswered))
			w.after(2 * time.Second)
		}
		w.peers.set(billing, addrB)
		w.accept(billing, 1)
		finish(b, 1)

		a.set(func() {
			a.mu.id = b.mu.id
			a.mu.id.Epoch, a.mu.agents = 1<<63, []string{billing, shipping}
		})
		w.peers.set(shipping, addrA)
		w.accept(shipping, 1)
		refused := func(when string) {
			t.Helper()
			w.after(time.Minute)
			a.expect(0)
			if got := w.peer(addrA).LastError; !strings.Contains(got, "is another peer's: "+addrA+" may not speak for "+billing) {
				t.Errorf("%s: last error %q", when, got)
			}
		}
		refused("its stream is open")
		b.set(func() {
			if b.mu.streams != 1 {
				t.Errorf("its peer had to connect %d times", b.mu.streams)
			}
		})
		w.accept(billing, 1)
		finish(b, 2)

		w.restart(func() { w.net.unplug(addrB) })
		w.after(2 * time.Minute)
		refused("its peer is away")
		w.plug(b)
		w.accept(billing, 1)
		finish(b, 3)

		w.net.unplug(addrB)
		b.cut()
		if err := w.d.Forget(t.Context(), b.identity().Journal); err != nil {
			t.Fatal(err)
		}
		finish(a, 1)
		w.net.unplug(addrA)
		a.cut()
		w.plug(b)
		w.accept(billing, 1)
		w.after(time.Minute)
		if b.connected() {
			t.Error("what was given up and is another's is nobody else's")
		}
		if err := w.d.Forget(t.Context(), b.identity().Journal); err != nil {
			t.Fatal(err)
		}
		finish(b, 4)
	})
}
