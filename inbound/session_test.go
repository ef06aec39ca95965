package inbound_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/journal/wire/peer"
)

func TestOfferIsHeldHandedOverAndReported(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	if h := home.mu.hello; h.Address != "here:1" || !slices.Contains(h.Agents, agent) || journal.ID(h.Identity.Journal) != w.j.Identity().Journal || h.NowMs == 0 {
		t.Errorf("hello %v, want our identity, address and agents", h)
	}
	if !home.mu.helloAlone {
		t.Error("the hello comes with other news; home has to know first who speaks")
	}
	id, env := envelope(1)
	home.offer(env, 3)
	if got := home.verdict(id); got != "held" {
		t.Fatalf("offer answered %s, want held", got)
	}
	got := w.pull(1)
	if len(got) != 1 || got[0].ID != id {
		t.Fatalf("pulled %v, want %s", got, id)
	}
	w.settle(journal.Ack, got...)
	facts := home.facts(2)
	if want := []state.Fact{state.FactDelivered, state.FactAnswered}; !slices.Equal(facts, want) {
		t.Errorf("reports %v, want %v", facts, want)
	}
	home.mu.Lock()
	for i, r := range home.mu.reports {
		if r.No != uint64(i+1) || r.OfferNo != 3 {
			t.Errorf("report %d has number %d and offer %d, want %d and 3", i, r.No, r.OfferNo, i+1)
		}
	}
	home.mu.Unlock()
	home.send(&peer.Frame{ReportAck: &peer.ReportAck{UpTo: 2, Acked: []*peer.Acked{{Id: id[:], Status: uint32(state.Completed), Events: []*wire.Event{{Type: uint32(state.EventCreated)}}}}}})
	until(t, "reports are forgotten once acked", func() bool {
		left, err := w.j.Reports(home.id.Journal, 0, 10)
		return err == nil && len(left) == 0
	})
	until(t, "the end is known here", func() bool { return w.get(id).Status() == state.Completed && w.get(id).Handover.EndedAtHome })
}

// A word of home reaches what is offered right before it, and gives the app time.
func TestWordOfHomeGivesTime(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	id := home.holds(1, 1)
	got, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 1, Wait: 5 * time.Second, Lease: 300 * time.Millisecond})
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	home.send(&peer.Frame{Updates: []*peer.Update{{Id: id[:], OfferNo: 1, Continued: 1, ContinuedBy: uint32(state.Start), ContinuedOn: 1}}})
	until(t, "it is worked on", func() bool { return state.Phase(w.get(id).Handover.Phase) == state.Working })
	if more, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 1, Wait: 600 * time.Millisecond}); len(more) > 0 || err != nil {
		t.Fatalf("handed over again though it goes on: %v %v", more, err)
	}
	w.settle(journal.Ack, got...)
	if phase := state.Phase(w.get(id).Handover.Phase); phase != state.Answered {
		t.Errorf("after the ack it is %s", phase)
	}
	home.send(&peer.Frame{Updates: []*peer.Update{{Id: id[:], OfferNo: 1, Continued: 2, ContinuedBy: uint32(state.Complete)}}})
	if err := home.ended(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a word that ends an intent: %v, want a breach", err)
	}
}

func TestCreditFollowsTheReader(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	a, envA := envelope(1)
	b, envB := envelope(2)
	home.offer(envA, 1)
	home.offer(envB, 1)
	if x, y := home.verdict(a), home.verdict(b); x != "held" || y != "busy" {
		t.Fatalf("two offers before any credit: %s, %s; want held, busy", x, y)
	}
	w.ready(32)
	home.window(32)
	home.forget(b)
	home.offer(envB, 1)
	if got := home.verdict(b); got != "held" {
		t.Errorf("offer within the window: %s, want held", got)
	}
	w.settle(journal.Nack, w.pull(2)...)
	w.m.Drain(t.Context())
	home.window(0)
	c, envC := envelope(3)
	home.offer(envC, 1)
	if got := home.verdict(c); got != "draining" {
		t.Errorf("offer while draining: %s, want draining", got)
	}
}

// Homes are told why a door is shut, also where their window is what it was.
func TestCreditSaysWhatShutTheDoor(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	p := w.m.OpenPush(agent)
	defer p.Close()
	h := w.dialHome(journal.NewID(), 1)
	h.window(1)
	id, env := envelope(1)
	h.offer(env, 1)
	h.verdict(id)
	got := next(t, p, 1)
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	p.TurnedAway(id, inbound.Unreachable, 0)
	h.shut(state.CauseAppUnreachable)
	p.TurnedAway(next(t, p, 1)[0].ID, inbound.Gone, time.Hour)
	h.shut(state.CauseAppGone)
	w.m.LookAgain(agent)
	h.shut(state.NoCause)
	if err := w.m.SetKilled(t.Context(), agent, true, "somebody"); err != nil {
		t.Fatal(err)
	}
	h.shut(state.CauseKilled)
	if c := w.m.Shut(agent); c != state.CauseKilled {
		t.Errorf("here it is %q", c)
	}
}

// What an app holds or has put off does not keep it from getting more: each
// pull that finds nothing widens the window beyond it.
func TestCreditGrowsBeyondWhatTheAppHolds(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	for n := range 12 {
		id, env := envelope(n + 1)
		home.offer(env, 1)
		if got := home.verdict(id); got != "held" {
			t.Fatalf("offer %d: %s, want held", n, got)
		}
		got := w.pull(1)
		if n%3 == 0 {
			put := journal.Settle{ID: got[0].ID, Lease: got[0].Lease, Action: journal.Nack, Delay: time.Hour}
			if _, err := w.m.Settle(t.Context(), []journal.Settle{put}); err != nil {
				t.Fatal(err)
			}
		}
		if more := w.ready(1); len(more) > 0 {
			t.Fatalf("pull %d got %d more", n, len(more))
		}
		home.window(uint32(n + 2))
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	id := journal.NewID()
	env, err := proto.Marshal(&wire.Envelope{Id: id[:], ToAgent: "nobody", Payload: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	home.offer(env, 1)
	if got := home.verdict(id); got != "agent_unknown" {
		t.Errorf("offer for an agent not served: %s, want agent_unknown", got)
	}
	if _, err := w.j.Get(id); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("a refused offer is in the journal: %v", err)
	}

	// What was here and is not any more has no claim on a place.
	one, env := envelope(1)
	home.offer(env, 1)
	home.verdict(one)
	home.send(&peer.Frame{Revokes: []*peer.Revoke{{Id: one[:], OfferNo: 1, Why: peer.Revoke_SUPERSEDED}}})
	until(t, "it is revoked", func() bool { return state.Phase(w.get(one).Handover.Phase) == state.Revoked })
	w.m.Configure(nil, "local")
	home.forget(one)
	home.offer(env, 2)
	if got := home.verdict(one); got != "agent_unknown" {
		t.Errorf("an offer of what was revoked here, for an agent not served any more: %s, want agent_unknown", got)
	}
}

// A repeated offer is answered held again, whatever the window: home asks
// because it does not know.
func TestRepeatedOfferIsHeldAgainBeyondTheWindow(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	conn := w.listen()
	key := journal.NewID()
	home := w.dialOn(conn, key, 1)
	w.ready(5)
	home.window(5)
	var ids []journal.ID
	var envs [][]byte
	for n := range 5 {
		id, env := envelope(n)
		ids, envs = append(ids, id), append(envs, env)
		home.offer(env, 1)
		home.verdict(id)
	}
	for range 3 * len(ids) {
		home.forget(ids[4])
		home.offer(envs[4], 1)
		home.verdict(ids[4])
	}
	for _, h := range w.pull(5)[:4] {
		w.settle(journal.Ack, h)
	}
	for n := range 4 { // repeats have used up no credit
		id, env := envelope(10 + n)
		home.offer(env, 1)
		if got := home.verdict(id); got != "held" {
			t.Fatalf("offer %d within the window: %s, want held", n, got)
		}
	}
	for round := range 2 {
		if round == 1 {
			w.m.Drain(t.Context()) // and when nothing new is taken
		}
		home.forget(ids[4])
		home.offer(envs[4], 1)
		want := "held" // leased, so it stays
		if got := home.verdict(ids[4]); got != want {
			t.Errorf("round %d: repeated offer answered %s, want %s", round, got, want)
		}
	}
	if n := w.m.Window(agent); n != 0 {
		t.Errorf("window %d while draining", n)
	}
}

func TestReconnectListsWhatIsHeldAndRepeatsReports(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	conn := w.listen()
	key := journal.NewID()
	home := w.dialOn(conn, key, 1)
	w.ready(4)
	home.window(4)
	var ids []journal.ID
	for n := range 3 {
		id, env := envelope(n)
		ids = append(ids, id)
		home.offer(env, 7)
		home.verdict(id)
	}
	got := w.pull(1)
	home.facts(1)
	home.close()

	w.settle(journal.Ack, got...) // while home is away
	again := w.dialOn(conn, key, 1)
	again.mu.Lock()
	listed := map[journal.ID]state.Phase{}
	for _, h := range again.mu.holding {
		listed[journal.ID(h.Id)] = state.Phase(h.Phase)
		if h.OfferNo != 7 || h.HomeEpoch != 1 {
			t.Errorf("listed %v, want offer 7 under epoch 1", h)
		}
	}
	again.mu.Unlock()
	for _, id := range ids[1:] {
		if listed[id] != state.Ready {
			t.Errorf("%s is listed as %s, want ready", id, listed[id])
		}
	}
	again.facts(2)
	if got := again.numbers(); !slices.Equal(got, []uint64{1, 2}) {
		t.Errorf("reports after the reconnect are numbered %v, want all unacked from 1", got)
	}
}

func TestHigherEpochRenumbersReports(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	conn := w.listen()
	key := journal.NewID()
	home := w.dialOn(conn, key, 1)
	home.holds(1, 1)
	got := w.pull(1)
	home.facts(1)
	home.send(&peer.Frame{ReportAck: &peer.ReportAck{UpTo: 1}})
	until(t, "the first report is acked", func() bool { left, _ := w.j.Reports(key, 0, 1); return len(left) == 0 })
	home.close()
	w.settle(journal.Ack, got...)
	restored := w.dialOn(conn, key, 2)
	restored.facts(1)
	if got := restored.numbers(); !slices.Equal(got, []uint64{1}) {
		t.Errorf("reports to a restored home are numbered %v, want from 1", got)
	}
}

// A home whose journal was put back is told that it is its own, for as long as it comes with it.
func TestOlderCopyOfAHomeIsToldSo(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	conn := w.listen()
	key := journal.NewID()
	home := w.dialOn(conn, key, 1)
	home.holds(1, 1)
	w.pull(1)
	home.facts(1)
	home.send(&peer.Frame{ReportAck: &peer.ReportAck{UpTo: 1}})
	until(t, "the first report is acked", func() bool { left, _ := w.j.Reports(key, 0, 1); return len(left) == 0 })
	home.close()

	self := w.j.Identity()
	older := w.open(conn, key, 1)
	older.send(&peer.Frame{Hello: &peer.Hello{
		Identity: &peer.Identity{Journal: key[:], Epoch: 1}, VersionMin: 1, VersionMax: 1, Address: "home:1",
		Applied: 0, AppliedPair: &peer.Identity{Journal: self.Journal[:], Epoch: self.Epoch},
	}})
	var whose []byte
	for _, detail := range status.Convert(older.ended()).Details() {
		if p, ok := detail.(*peer.PutBack); ok {
			whose = p.Journal
		}
	}
	if !bytes.Equal(whose, key[:]) {
		t.Errorf("the journal put back is said to be %x, want home's, %x", whose, key)
	}
	if old := w.s.OldCopies()["home:1"]; old == nil || old.Journal != key {
		t.Errorf("older copies: %v", w.s.OldCopies())
	}
	w.dialOn(conn, key, 2)
	if old := w.s.OldCopies(); len(old) != 0 {
		t.Errorf("of a home with a new epoch it is still said: %v", old)
	}
}

func TestNewerHelloOfTheSameJournalWins(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	conn := w.listen()
	key := journal.NewID()
	old := w.dialOn(conn, key, 2)
	id, env := envelope(1)
	old.offer(env, 1)
	newer := w.dialOn(conn, key, 2)
	if err := old.ended(); status.Code(err) != codes.Aborted {
		t.Errorf("the older stream ended with %v, want aborted", err)
	}
	// What the old stream brought is committed or dropped before the list.
	_, err := w.j.Get(id)
	newer.mu.Lock()
	listed := len(newer.mu.holding) == 1
	newer.mu.Unlock()
	if held := err == nil; held != listed {
		t.Errorf("the offer on the old stream is held: %v, listed on the new one: %v", held, listed)
	}
	stale := w.open(conn, key, 1)
	stale.hello(1, 1)
	if err := stale.ended(); status.Code(err) != codes.FailedPrecondition {
		t.Errorf("a stream of an earlier epoch ended with %v, want failed precondition", err)
	}
}

func TestHelloIsChecked(t *testing.T) {
	t.Parallel()
	o := fast()
	o.HelloTimeout = 50 * time.Millisecond
	w := setup(t, o)
	conn := w.listen()
	for _, row := range []struct {
		rule string
		say  func(*home)
		code codes.Code
	}{
		{"no version in common", func(h *home) { h.hello(2, 9) }, codes.FailedPrecondition},
		{"no hello first", func(h *home) { h.send(&peer.Frame{Ping: 1}) }, codes.InvalidArgument},
		{"nothing at all", func(*home) {}, codes.DeadlineExceeded},
		{"no identity", func(h *home) { h.send(&peer.Frame{Hello: &peer.Hello{VersionMin: 1, VersionMax: 1}}) }, codes.InvalidArgument},
		{"our own identity", func(h *home) { h.id = w.j.Identity(); h.hello(1, 1) }, codes.InvalidArgument},
		{"a second hello", func(h *home) { h.hello(1, 1); h.hello(1, 1) }, codes.InvalidArgument},
	} {
		h := w.open(conn, journal.NewID(), 1)
		row.say(h)
		if err := h.ended(); status.Code(err) != row.code {
			t.Errorf("%s: ended with %v, want %s", row.rule, err, row.code)
		}
		if row.code == codes.FailedPrecondition && h.mu.verdicts[journal.ID{}] != "version" {
			t.Errorf("%s: refused %q, want version", row.rule, h.mu.verdicts[journal.ID{}])
		}
	}
}

func TestBreachOfTheProtocolEndsTheStream(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	conn := w.listen()
	id, env := envelope(1)
	for _, row := range []struct {
		rule  string
		frame *peer.Frame
	}{
		{"an envelope that is none", &peer.Frame{Offers: []*peer.Offer{{Envelope: []byte{0xff}, OfferNo: 1}}}},
		{"an offer without a number", &peer.Frame{Offers: []*peer.Offer{{Envelope: env}}}},
		{"an ack of half an id", &peer.Frame{ReportAck: &peer.ReportAck{Acked: []*peer.Acked{{Id: id[:3]}}}}},
		{"an ack with no such status", &peer.Frame{ReportAck: &peer.ReportAck{Acked: []*peer.Acked{{Id: id[:], Status: 99}}}}},
		{"a revoke without a reason", &peer.Frame{Revokes: []*peer.Revoke{{Id: id[:]}}}},
		{"a revoke of nothing", &peer.Frame{Revokes: []*peer.Revoke{{Why: peer.Revoke_ENDED}}}},
	} {
		h := w.dialOn(conn, journal.NewID(), 1)
		h.send(row.frame)
		if err := h.ended(); status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: ended with %v, want invalid argument", row.rule, err)
		}
	}
	if _, err := w.j.Get(id); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("something of it was journaled: %v", err)
	}
}

func TestRevokeTakesItFromTheMailbox(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	w.ready(10)
	home.window(10)
	for n := range 5 {
		// In one go: the revoke must not overtake its offer on the way to disk.
		id, env := envelope(n)
		home.send(&peer.Frame{Offers: []*peer.Offer{{Envelope: env, OfferNo: 1}}})
		home.send(&peer.Frame{Revokes: []*peer.Revoke{{Id: id[:], OfferNo: 1, Why: peer.Revoke_ENDED, Status: uint32(state.Canceled)}}})
		home.verdict(id)
		until(t, "it is revoked", func() bool { return state.Phase(w.get(id).Handover.Phase) == state.Revoked })
		until(t, "its credit is free", func() bool { return w.m.Window(agent) == 10 })
	}
	if got := w.ready(10); len(got) != 0 {
		t.Errorf("revoked intents were handed over: %v", got)
	}
}

// burst offers n intents of that size in one frame.
func (h *home) burst(n, size int) (ids []journal.ID) {
	f := &peer.Frame{}
	for i := range n {
		id, env := sized(i, size)
		ids = append(ids, id)
		f.Offers = append(f.Offers, &peer.Offer{Envelope: env, OfferNo: 1})
	}
	h.send(f)
	return ids
}

// The journal takes endings before offers: a revoke must not overtake the
// offer it is about.
func TestRevokeDoesNotOvertakeItsOffer(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	w.ready(400)
	home.window(400)
	for range 5 {
		ids := home.burst(300, 10)
		f := &peer.Frame{}
		for _, id := range ids {
			f.Revokes = append(f.Revokes, &peer.Revoke{Id: id[:], OfferNo: 1, Why: peer.Revoke_ENDED, Status: uint32(state.Canceled)})
		}
		home.send(f)
		home.send(&peer.Frame{Ping: 5})
		until(t, "the revokes are journaled", func() bool {
			home.mu.Lock()
			defer home.mu.Unlock()
			if home.mu.pong != 5 {
				return false
			}
			home.mu.pong = 0
			return true
		})
		for _, id := range ids {
			home.verdict(id)
		}
		if got := w.ready(400); len(got) > 0 {
			t.Fatalf("%d of %d intents were handed over after their end", len(got), len(ids))
		}
	}
}

// What the former stream brought is committed or dropped before the list that
// opens the next one: home offers elsewhere what is not in it.
func TestListWaitsForWhatTheFormerStreamBrought(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	conn := w.listen()
	key := journal.NewID()
	old := w.dialOn(conn, key, 1)
	w.ready(200)
	old.window(200)
	halted, goOn := w.halt()
	defer goOn()
	ids := old.burst(1, 10)
	<-halted
	for range 3 { // more than one commit takes
		ids = append(ids, old.burst(40, 20<<10)...)
	}
	old.send(&peer.Frame{Ping: 1})
	until(t, "all has been read", func() bool { old.mu.Lock(); defer old.mu.Unlock(); return old.mu.pong == 1 })

	newer := w.open(conn, key, 1)
	newer.hello(1, 1)
	time.Sleep(50 * time.Millisecond)
	goOn()
	until(t, "the list is complete", func() bool { newer.mu.Lock(); defer newer.mu.Unlock(); return newer.mu.done })
	newer.mu.Lock()
	defer newer.mu.Unlock()
	if len(newer.mu.holding) != len(ids) {
		t.Errorf("%d are listed of %d that the former stream brought", len(newer.mu.holding), len(ids))
	}
}

// What offers are in memory for the journal to take is bounded over all homes: however many
// send at once, a home is read no further while others fill it.
func TestOffersOfAllHomesAreBounded(t *testing.T) {
	t.Parallel()
	o := fast()
	o.MaxUnheld = 256 << 10
	w := setup(t, o)
	conn := w.listen()
	first, second := w.dialOn(conn, journal.NewID(), 1), w.dialOn(conn, journal.NewID(), 1)
	w.ready(200)
	first.window(200)
	second.window(200)
	halted, goOn := w.halt()
	defer goOn()
	first.burst(1, 10)
	<-halted
	first.burst(10, 20<<10)
	first.send(&peer.Frame{Ping: 1})
	pong := func(h *home) bool { h.mu.Lock(); defer h.mu.Unlock(); return h.mu.pong == 1 }
	until(t, "the first has been read", func() bool { return pong(first) })
	second.burst(10, 20<<10)
	second.send(&peer.Frame{Ping: 1})
	time.Sleep(50 * time.Millisecond)
	if pong(second) {
		t.Error("the second home was read on, though what the first had brought was not in the journal")
	}
	goOn()
	until(t, "the second has been read", func() bool { return pong(second) })
	first.burst(1, o.MaxUnheld+1)
	first.send(&peer.Frame{Ping: 2})
	until(t, "one that is larger than all may be is read", func() bool { first.mu.Lock(); defer first.mu.Unlock(); return first.mu.pong == 2 })
}

func TestRevokedWhileLeased(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	id := home.holds(1, 1)
	got := w.pull(1)
	home.send(&peer.Frame{Revokes: []*peer.Revoke{{Id: id[:], OfferNo: 1, Why: peer.Revoke_ENDED, Status: uint32(state.Canceled)}}})
	until(t, "it is revoked", func() bool { return state.Phase(w.get(id).Handover.Phase) == state.Revoked })
	s := w.settle(journal.Ack, got...)
	var ended *journal.EndedError
	if !errors.As(s[0].Err, &ended) || ended.Status != state.Canceled {
		t.Errorf("ack after the end: %v, want ended CANCELED", s[0].Err)
	}
	if n := w.m.Leased(); n != 0 {
		t.Errorf("%d leased, want none", n)
	}
}

func TestReleaseIsToldHome(t *testing.T) {
	t.Parallel()
	o := fast()
	o.NoReaderAfter = 30 * time.Millisecond
	w := setup(t, o)
	home := w.dialHome(journal.NewID(), 1)
	id := home.holds(1, 1)
	until(t, "it is released", func() bool { return home.verdict(id) == "released" })
	if _, err := w.j.Get(id); !errors.Is(err, journal.ErrNotFound) {
		t.Errorf("what was released is still here: %v", err)
	}
}

func TestHomeAsks(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	id := home.holds(1, 1)
	unknown := journal.NewID()
	home.send(&peer.Frame{Ping: 9, Asks: []*peer.Ask{
		{No: 1, What: peer.Ask_STATUS, Id: id[:]}, {No: 2, What: peer.Ask_WHY, Id: id[:]},
		{No: 3, What: peer.Ask_STATUS, Id: unknown[:]}, {No: 4, What: peer.Ask_EVENTS, Id: id[:]}, {No: 5, Id: []byte("short")},
	}})
	until(t, "five answers and a pong", func() bool {
		home.mu.Lock()
		defer home.mu.Unlock()
		return len(home.mu.answers) == 5 && home.mu.pong == 9
	})
	home.mu.Lock()
	a := home.mu.answers
	home.mu.Unlock()
	if a[0].Status != uint32(state.Submitted) || a[0].Phase != uint32(state.Ready) || a[0].Error != "" {
		t.Errorf("status: %v", a[0])
	}
	if a[1].Text != state.CauseWaitingForApp.String() {
		t.Errorf("why: %q, want %s", a[1].Text, state.CauseWaitingForApp)
	}
	if a[2].Error != "intent_not_found" || a[3].Error != "not_home" || a[4].Error != "intent_not_found" {
		t.Errorf("errors %q, %q, %q", a[2].Error, a[3].Error, a[4].Error)
	}
}

func TestAskHome(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	id := journal.NewID()
	type result struct {
		a   *peer.Answer
		err error
	}
	answers := make(chan result)
	for n := range 2 {
		go func() {
			a, err := w.s.Ask(t.Context(), home.id.Journal, &peer.Ask{What: peer.Ask_EVENTS, Id: id[:], Since: uint32(n)})
			answers <- result{a, err}
		}()
	}
	until(t, "two questions", func() bool { home.mu.Lock(); defer home.mu.Unlock(); return len(home.mu.asks) == 2 })
	home.mu.Lock()
	for _, q := range slices.Backward(home.mu.asks) {
		home.send(&peer.Frame{Answers: []*peer.Answer{{No: q.No, Status: 100 + q.Since}, {No: 99}}})
	}
	home.mu.Unlock()
	got := map[uint32]bool{}
	for range 2 {
		r := <-answers
		if r.err != nil {
			t.Fatalf("ask: %v", r.err)
		}
		got[r.a.Status] = true
	}
	if !got[100] || !got[101] {
		t.Errorf("answers %v, want one for each question", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := w.s.Ask(ctx, journal.NewID(), &peer.Ask{}); !errors.Is(err, inbound.ErrHomeUnreachable) {
		t.Errorf("ask of a home without a stream: %v, want %v", err, inbound.ErrHomeUnreachable)
	}
	go home.close()
	// It may find the stream gone and knock; then ctx ends it.
	ctx, cancel = context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if _, err := w.s.Ask(ctx, home.id.Journal, &peer.Ask{}); !errors.Is(err, inbound.ErrHomeUnreachable) {
		t.Errorf("ask of a home that hangs up: %v, want %v", err, inbound.ErrHomeUnreachable)
	}
}

func TestDrainFlushesReportsAndSaysGoodbye(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	id := home.holds(1, 1)
	w.settle(journal.Ack, w.pull(1)...)
	drained := make(chan struct{})
	go func() { w.s.Drain(t.Context()); close(drained) }()
	home.facts(2)
	select {
	case <-drained:
		t.Fatal("goodbye before the reports are acked")
	case <-time.After(20 * time.Millisecond):
	}
	home.send(&peer.Frame{ReportAck: &peer.ReportAck{UpTo: 2, Acked: []*peer.Acked{{Id: id[:], Status: uint32(state.Completed)}}}})
	<-drained
	if err := home.ended(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v, want a plain end", err)
	}
	home.mu.Lock()
	defer home.mu.Unlock()
	if home.mu.goodbye == nil || !home.mu.goodbye.Empty {
		t.Errorf("goodbye %v, want one with nothing held", home.mu.goodbye)
	}
}

func TestDrainDoesNotWaitForADeadHome(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	home.holds(1, 1)
	w.pull(1)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	w.s.Drain(ctx)
	home.ended()
	home.mu.Lock()
	defer home.mu.Unlock()
	if home.mu.goodbye == nil || home.mu.goodbye.Empty {
		t.Errorf("goodbye %v, want one that says something is held", home.mu.goodbye)
	}
}

func TestFramesStayWithinTheLimit(t *testing.T) {
	t.Parallel()
	o := fast()
	o.MaxFrame = 4 << 10
	w := setup(t, o)
	home := w.dialHome(journal.NewID(), 1)
	w.ready(200)
	home.window(200)
	const n = 100
	for i := range n {
		id, env := envelope(i)
		home.offer(env, 1)
		_ = id
	}
	until(t, "all are held", func() bool {
		home.mu.Lock()
		defer home.mu.Unlock()
		return len(home.mu.verdicts) == n
	})
	var got []journal.Handed
	for len(got) < n {
		got = append(got, w.pull(200)...)
	}
	items := make([]journal.Settle, n)
	for i, h := range got {
		body := fmt.Sprintf(`{"text":%q}`, make([]byte, 100))
		if i == 50 {
			body = fmt.Sprintf(`{"text":%q}`, make([]byte, 2000)) // alone larger than a frame
		}
		items[i] = journal.Settle{ID: h.ID, Lease: h.Lease, Action: journal.Ack, Result: []byte(body)}
	}
	if _, err := w.m.Settle(t.Context(), items); err != nil {
		t.Fatal(err)
	}
	home.facts(2 * n)
	if got := home.numbers(); !slices.IsSorted(got) || len(got) != 2*n || got[2*n-1] != 2*n {
		t.Errorf("reports %v, want 1 to %d in order, each once", got, 2*n)
	}
	home.mu.Lock()
	defer home.mu.Unlock()
	for _, f := range home.mu.frames {
		if f.size > o.MaxFrame && f.reports != 1 {
			t.Errorf("a frame of %d bytes carries %d reports; the limit is %d, and only one that is larger alone may pass it", f.size, f.reports, o.MaxFrame)
		}
	}
}

func TestManyOffersManyReaders(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	conn := w.listen()
	const homes, each = 3, 200
	var offering sync.WaitGroup
	defer offering.Wait()
	for range homes {
		h := w.dialOn(conn, journal.NewID(), 1)
		offering.Go(func() {
			for n := range each {
				id, env := envelope(n)
				for {
					h.forget(id)
					h.offer(env, 1)
					if h.verdict(id) == "held" {
						break
					}
				}
			}
		})
	}
	seen := map[journal.ID]bool{}
	for len(seen) < homes*each {
		got := w.pull(50)
		if len(got) == 0 {
			t.Fatalf("stuck at %d of %d", len(seen), homes*each)
		}
		for _, h := range got {
			if seen[h.ID] {
				t.Fatalf("%s was handed over twice", h.ID)
			}
			seen[h.ID] = true
		}
		w.settle(journal.Ack, got...)
	}
}

func TestKnockAtAHomeThatDoesNotDial(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	other := &knockedHome{knocks: make(chan *peer.KnockRequest, 10)}
	server := grpc.NewServer()
	peer.RegisterPeerServer(server, other)
	go func() { _ = server.Serve(l) }()
	defer server.Stop()

	conn := w.listen()
	key := journal.NewID()
	home := w.open(conn, key, 1)
	home.send(&peer.Frame{Hello: &peer.Hello{Identity: &peer.Identity{Journal: key[:], Epoch: 1}, VersionMin: 1, VersionMax: 1, Address: l.Addr().String()}})
	home.holds(1, 1)
	w.pull(1)
	home.facts(1)
	select {
	case <-other.knocks:
		t.Fatal("knocked at a home that is connected")
	case <-time.After(30 * time.Millisecond):
	}
	home.close() // with a report unacked
	select {
	case k := <-other.knocks:
		if journal.ID(k.Identity.Journal) != w.j.Identity().Journal || k.Address != "here:1" {
			t.Errorf("knock %v, want who and where we are", k)
		}
	case <-time.After(5 * time.Second):
		t.Fatal("no knock")
	}
	// And the other way round: a holder knocks at us.
	if _, err := peer.NewPeerClient(conn).Knock(t.Context(), &peer.KnockRequest{Identity: &peer.Identity{Journal: key[:]}, Address: "there:2"}); err != nil {
		t.Fatal(err)
	}
	if got := <-w.knocked; got != "there:2" {
		t.Errorf("told of a knock from %s, want there:2", got)
	}
	if _, err := peer.NewPeerClient(conn).Knock(t.Context(), &peer.KnockRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("an empty knock: %v, want invalid argument", err)
	}
}

type knockedHome struct {
	peer.UnimplementedPeerServer
	knocks chan *peer.KnockRequest
}

func (k *knockedHome) Knock(_ context.Context, r *peer.KnockRequest) (*peer.KnockResponse, error) {
	select {
	case k.knocks <- r:
	default:
	}
	return &peer.KnockResponse{}, nil
}
