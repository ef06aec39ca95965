package inbound_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

// passport is who the next home that connects is.
type passport struct {
	mu    sync.Mutex
	agent string // "": nobody
}

func (p *passport) is(agent string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.agent = agent
}

func (p *passport) of(context.Context) (inbound.Peer, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.agent == "" {
		return nil, errors.New("nobody knows you")
	}
	return bearer{p.agent}, nil
}

// bearer speaks for one agent, may send anybody anything but secrets, and tell
// one's org only.
type bearer struct{ agent string }

func (b bearer) SpeaksFor(agent string) error {
	if agent != b.agent {
		return fmt.Errorf("%s may not speak for %s", b.agent, agent)
	}
	return nil
}

func (b bearer) Foreign() bool { return b.agent == "stranger" }

func (b bearer) Grants() []string { return []string{b.agent} }

func (b bearer) MaySend(from, _, intentType string) error {
	if intentType == "secret.v1" {
		return errors.New("no secrets")
	}
	if intentType == "poison.v1" {
		panic("planted")
	}
	return b.SpeaksFor(from)
}

func (b bearer) MayTell(string) error {
	if b.agent == "stranger" {
		return errors.New("a stranger tells nothing")
	}
	return nil
}

// trusting is a holder that asks its homes who they are.
func trusting(t *testing.T) (*world, *passport) {
	w, p := setup(t, fast()), &passport{}
	w.s.SetTrust(p.of)
	return w, p
}

// from is an intent of an agent.
func from(sender, intentType string, completionOf []byte) (journal.ID, []byte) {
	id := journal.NewID()
	b, err := proto.Marshal(&wire.Envelope{
		Id: id[:], IntentType: intentType, FromAgent: sender, ToAgent: agent, Payload: []byte("{}"), CreatedAtMs: time.Now().UnixMilli(), CompletionOf: completionOf,
	})
	if err != nil {
		panic(err)
	}
	return id, b
}

func TestHomeMustBeKnown(t *testing.T) {
	t.Parallel()
	w, _ := trusting(t)
	conn := w.listen()
	h := w.dialOn(conn, journal.NewID(), 1)
	if err := h.ended(); status.Code(err) != codes.PermissionDenied || status.Convert(err).Message() != "nobody knows you" {
		t.Errorf("the stream of a stranger ends with %v", err)
	}
	id := journal.NewID()
	_, err := peer.NewPeerClient(conn).Knock(t.Context(), &peer.KnockRequest{Identity: &peer.Identity{Journal: id[:], Epoch: 1}, Address: "stranger:1"})
	if status.Code(err) != codes.PermissionDenied {
		t.Errorf("the knock of a stranger: %v", err)
	}
	select {
	case address := <-w.knocked:
		t.Errorf("it makes us dial %s", address)
	default:
	}
}

// An offer is refused for good where its home may not bring it; what is beside it
// in the frame is taken.
func TestOffersAreJudgedByTheirHome(t *testing.T) {
	t.Parallel()
	w, p := trusting(t)
	p.is("orders")
	h := w.dialHome(journal.NewID(), 1)
	w.ready(8) // its app reads: the window is not the floor
	good, env := from("orders", "charge.v1", nil)
	other, otherEnv := from("billing", "charge.v1", nil)
	secret, secretEnv := from("orders", "secret.v1", nil)
	told, toldEnv := from("billing", "completion", make([]byte, 16))
	h.send(&peer.Frame{Offers: []*peer.Offer{{Envelope: otherEnv, OfferNo: 1}, {Envelope: secretEnv, OfferNo: 1}, {Envelope: env, OfferNo: 1}, {Envelope: toldEnv, OfferNo: 1}}})
	for id, want := range map[journal.ID]string{good: "held", other: "policy_denied", secret: "policy_denied", told: "held"} {
		if got := h.verdict(id); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, id := range []journal.ID{other, secret} {
		if _, err := w.j.Get(id); !errors.Is(err, journal.ErrNotFound) {
			t.Errorf("a denied offer is in the journal: %v", err)
		}
	}
	h.mu.Lock()
	texts := strings.Join(h.mu.texts, "; ")
	h.mu.Unlock()
	if texts != "orders may not speak for billing; no secrets" {
		t.Errorf("the refusals say %q", texts)
	}
	h.close()
	p.is("stranger")
	h = w.dialHome(journal.NewID(), 1)
	told, toldEnv = from("billing", "completion", make([]byte, 16))
	h.offer(toldEnv, 1)
	if got := h.verdict(told); got != "policy_denied" {
		t.Errorf("a completion of a stranger: %s", got)
	}
}

// Whose trace an offer is of is kept with it: others' are not gone on with.
func TestForeignTraces(t *testing.T) {
	t.Parallel()
	w, p := trusting(t)
	for _, sender := range []string{"orders", "stranger"} {
		p.is(sender)
		h := w.dialHome(journal.NewID(), 1)
		_, env := from(sender, "charge.v1", nil)
		h.send(offer(env, 1, func(o *offerFields) { o.Traceparent = "00-a" }))
		got := w.pull(1)
		if len(got) != 1 || got[0].Trace.Offer != "00-a" || got[0].Trace.Foreign != (sender == "stranger") {
			t.Errorf("of %s: %+v", sender, got)
		}
		w.settle(journal.Ack, got...)
	}
}

// Whoever says the id of a home must speak for those it has sent for, as long as
// anything of them is here or is to be told.
func TestHomeIsWhoSentIt(t *testing.T) {
	t.Parallel()
	w, p := trusting(t)
	conn := w.listen()
	p.is("orders")
	id := journal.NewID()
	h := w.dialOn(conn, id, 1)
	one, env := from("orders", "charge.v1", nil)
	h.offer(env, 1)
	if got := h.verdict(one); got != "held" {
		t.Fatal(got)
	}
	p.is("billing")
	impostor := w.dialOn(conn, id, 2)
	if err := impostor.ended(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "has sent in the name of orders: billing may not speak for orders") {
		t.Errorf("another peer as the same home: %v", err)
	}
	impostor.mu.Lock()
	if impostor.mu.hello != nil || len(impostor.mu.holding) > 0 {
		t.Error("it is told what is held")
	}
	impostor.mu.Unlock()
	// The home itself was not disturbed. What is settled has a report not yet acked.
	w.settle(journal.Ack, w.pull(1)...)
	h.facts(1)
	h.close()
	p.is("billing")
	if err := w.dialOn(conn, id, 1).ended(); status.Code(err) != codes.PermissionDenied {
		t.Errorf("another peer could ack the report: %v", err)
	}
	p.is("orders")
	w.dialOn(conn, id, 1).facts(1)
}

// A home is its peer's also when nothing of it is here: who only says its id does
// not end its stream, nor come before it when it has ended.
func TestHomeStaysWithItsPeer(t *testing.T) {
	t.Parallel()
	w, p := trusting(t)
	conn := w.listen()
	id := journal.NewID()
	p.is("orders")
	h := w.dialOn(conn, id, 1)
	p.is("billing")
	refused := func(when string) {
		t.Helper()
		if err := w.dialOn(conn, id, 1<<63).ended(); status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "is another peer's: billing may not speak for orders") {
			t.Errorf("%s: %v", when, err)
		}
	}
	refused("its stream is open")
	p.is("orders")
	heard := func(h *home, no uint64) {
		t.Helper()
		one, env := from("orders", "secret.v1", nil) // leaves nothing here
		h.offer(env, no)
		if got := h.verdict(one); got != "policy_denied" {
			t.Fatal(got)
		}
	}
	heard(h, 1)
	h.close()
	p.is("billing")
	refused("its stream has just ended")
	p.is("orders")
	heard(w.dialOn(conn, id, 2), 2)
}

// An offer that nobody could be handed, or on which the sidecar itself fails, is refused for
// good; what is beside it in the frame is taken, and the stream goes on.
func TestOfferThatCannotBeHeldIsRefused(t *testing.T) {
	t.Parallel()
	w, p := trusting(t)
	p.is("orders")
	h := w.dialHome(journal.NewID(), 1)
	w.ready(8)
	good, env := from("orders", "charge.v1", nil)
	poison, poisonEnv := from("orders", "poison.v1", nil)
	id := journal.NewID()
	listEnv, err := proto.Marshal(&wire.Envelope{Id: id[:], FromAgent: "orders", ToAgent: agent, Payload: []byte("[1]")})
	if err != nil {
		t.Fatal(err)
	}
	h.send(&peer.Frame{Offers: []*peer.Offer{{Envelope: listEnv, OfferNo: 1}, {Envelope: poisonEnv, OfferNo: 1}, {Envelope: env, OfferNo: 1}}})
	for id, want := range map[journal.ID]string{id: "schema_invalid", poison: "sidecar_fault", good: "held"} {
		if got := h.verdict(id); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A frame on which the sidecar fails costs its stream alone.
func TestFrameThatPanics(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	h := w.dialHome(journal.NewID(), 1)
	id := h.holds(1, 1)
	w.m.BeforeRead(func() { panic("planted") })
	h.send(&peer.Frame{Asks: []*peer.Ask{{No: 1, What: peer.Ask_WHY, Id: id[:]}}})
	if err := h.ended(); status.Code(err) != codes.Internal {
		t.Errorf("the stream ends with %v", err)
	}
}

// Nobody who asks for figures waits for the disk because an offer does.
func TestOffersReadWithoutTheLock(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	h := w.dialHome(journal.NewID(), 1)
	h.holds(1, 1)
	locked := make(chan bool, 1)
	w.m.BeforeRead(func() {
		free := false
		for n := 0; n < 1000 && !free; n++ { // others have it for a moment
			free = !w.m.Locked()
			runtime.Gosched()
		}
		locked <- !free
	})
	id, env := envelope(2)
	h.offer(env, 1)
	if got := h.verdict(id); got != "busy" {
		t.Fatalf("beyond the window it is %s, want busy", got)
	}
	if <-locked {
		t.Error("the journal is read under the lock")
	}
}

// What is wrong with one offer keeps no other away.
func TestRefusalOfOneOffer(t *testing.T) {
	t.Parallel()
	for want, err := range map[string]error{
		"sidecar_fault": fmt.Errorf("%w: index out of range", journal.ErrFault),
		"busy":          &journal.CorruptError{Key: []byte("h"), Why: "checksum mismatch"},
		"too_large":     journal.ErrTooLarge,
		"disk":          journal.ErrFull,
	} {
		if got := inbound.RefusalOf(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

// Where it is not known any more what is held, each home asks anew.
func TestRelist(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	h := w.dialHome(journal.NewID(), 1)
	h.holds(1, 1)
	w.s.Relist()
	if err := h.ended(); status.Code(err) != codes.Unavailable {
		t.Errorf("the stream ends with %v", err)
	}
}
