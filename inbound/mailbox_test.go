package inbound_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
)

func TestPullTakesWhatIsReadyOldestFirst(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	ids := w.accept(10)
	w.ready(5) // a reader asks for five: so much may come
	if got := w.take(10); got != 5 {
		t.Fatalf("took %d into the mailbox, want the reader's limit of 5", got)
	}
	got := w.ready(5)
	if len(got) != 5 {
		t.Fatalf("pulled %d, want 5", len(got))
	}
	for i, h := range got {
		if h.ID != ids[i] {
			t.Errorf("hand-over %d is %s, want %s: oldest first", i, h.ID, ids[i])
		}
		if h.Attempt != 1 || h.Redelivered {
			t.Errorf("first hand-over of %s has attempt %d, redelivered %v", h.ID, h.Attempt, h.Redelivered)
		}
	}
	for _, s := range w.settle(journal.Ack, got...) {
		if s.Err != nil || s.Status != state.Completed {
			t.Errorf("ack: %s, %v, want COMPLETED", s.Status, s.Err)
		}
	}
	if more := w.ready(5); len(more) != 0 {
		t.Errorf("pulled %d of an empty mailbox", len(more))
	}
	if got := w.m.Leased(); got != 0 {
		t.Errorf("%d hand-overs are still under way", got)
	}
}

func TestWaitingPullIsLeasedInTheCommitThatHolds(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	id := w.accept(1)[0]
	pulled := make(chan []journal.Handed)
	go func() { pulled <- w.pull(3) }()
	until(t, "the pull waits", func() bool { return w.m.Window(agent) == 3 })
	before := w.j.Stats().Seq
	if w.take(1) != 1 {
		t.Fatal("the mailbox did not take it")
	}
	got := <-pulled
	if len(got) != 1 || got[0].ID != id {
		t.Fatalf("pulled %v, want %s", got, id)
	}
	if n := w.j.Stats().Seq - before; n != 1 {
		t.Errorf("held and lease were %d commits, want 1", n)
	}
}

func TestEachIntentGoesToOnePullInTurn(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	const readers, each = 4, 25
	w.accept(readers * each)
	var mu sync.Mutex
	seen, byReader := map[journal.ID]int{}, make([]int, readers)
	var all sync.WaitGroup
	for r := range readers {
		all.Go(func() {
			for {
				got, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 10, Wait: 500 * time.Millisecond, Lease: time.Minute})
				if err != nil {
					t.Errorf("pull: %v", err)
				}
				if len(got) == 0 {
					return
				}
				mu.Lock()
				for _, h := range got {
					seen[h.ID]++
				}
				byReader[r] += len(got)
				mu.Unlock()
				w.settle(journal.Ack, got...)
			}
		})
	}
	until(t, "all are taken", func() bool {
		w.take(20)
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == readers*each
	})
	all.Wait()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was handed over %d times", id, n)
		}
	}
	for r, n := range byReader {
		if n == 0 {
			t.Errorf("reader %d got nothing of %d: each in turn", r, readers*each)
		}
	}
}

func TestPullWhoseClientIsGoneCountsNoAttempt(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	id := w.accept(1)[0]
	ctx, hangUp := context.WithCancel(t.Context())
	type result struct {
		got []journal.Handed
		err error
	}
	ended := make(chan result)
	go func() {
		got, err := w.m.Pull(ctx, inbound.PullRequest{Agent: agent, Limit: 2, Wait: time.Minute})
		ended <- result{got, err}
	}()
	until(t, "the pull waits", func() bool { return w.m.Window(agent) == 2 })
	var taking sync.WaitGroup
	defer taking.Wait()
	halted, goOn := w.halt()
	defer goOn()
	no, _ := w.j.AgentNo(agent)
	offers, _, err := w.j.Due(no, time.Now(), 1, func(journal.ID) bool { return false })
	if err != nil || len(offers) != 1 {
		t.Fatalf("due: %v, %v", offers, err)
	}
	taking.Go(func() {
		if _, err := w.m.Take(t.Context(), agent, offers); err != nil {
			t.Errorf("take: %v", err)
		}
	})
	<-halted // the lease is durable, and the pull has not got it yet
	hangUp()
	select {
	case r := <-ended:
		t.Fatalf("the pull ended with %v, %v while a lease was on its way to it", r.got, r.err)
	case <-time.After(20 * time.Millisecond):
	}
	goOn()
	if r := <-ended; len(r.got) > 0 || r.err != nil {
		t.Fatalf("a pull whose client is gone returned %v, %v", r.got, r.err)
	}
	got := w.pull(1)
	if len(got) != 1 || got[0].ID != id || got[0].Attempt != 2 {
		t.Fatalf("the next pull got %+v, want %s in its second hand-over", got, id)
	}
	if n := w.get(id).Handover.Attempts; n != 0 {
		t.Errorf("%d attempts counted, want none", n)
	}
}

func TestPullsAreServedInTurn(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	w.accept(6)
	pulled := make(chan int)
	for range 3 {
		go func() { pulled <- len(w.pull(10)) }()
	}
	until(t, "three pulls wait", func() bool { return w.m.Window(agent) == 30 })
	w.take(6)
	for range 3 {
		if n := <-pulled; n != 2 {
			t.Errorf("a pull of three got %d of six, want two each", n)
		}
	}
}

func TestOnePullTakesAllThatIsThere(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	const n = 600 // more than one commit leases
	w.accept(n)
	w.ready(n)
	if got := w.take(n); got != n {
		t.Fatalf("took %d, want %d", got, n)
	}
	got := w.ready(n)
	if len(got) != n {
		t.Fatalf("one pull got %d of %d", len(got), n)
	}
	for i := 1; i < n; i++ {
		if got[i].Seq <= got[i-1].Seq {
			t.Fatalf("hand-over %d has number %d after %d", i, got[i].Seq, got[i-1].Seq)
		}
	}
}

// A pull is given as much payload as it may hold, whatever went before it, and one that is
// larger alone. None is passed over for one that is smaller.
func TestPullIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	const most, n = 250 << 10, 12
	sizes := []int{100 << 10, 100 << 10, 400 << 10, 10 << 10}
	judge := func(t *testing.T, ids []journal.ID, pull func() []journal.Handed) {
		t.Helper()
		for at := 0; at < n; {
			got, bytes := pull(), 0
			for i, h := range got {
				if h.ID != ids[at+i] {
					t.Fatalf("number %d is %s, want %s", at+i, h.ID, ids[at+i])
				}
				bytes += len(h.Envelope.Payload)
			}
			if len(got) == 0 || len(got) > 1 && bytes > most {
				t.Fatalf("a pull got %d intents of %d bytes, want at most %d", len(got), bytes, most)
			}
			at += len(got)
		}
	}
	held := func(t *testing.T, read func(*world)) (*world, []journal.ID) {
		o := fast()
		o.MaxPullBytes = most
		w := setup(t, o)
		home := w.dialHome(journal.NewID(), 1)
		read(w)
		home.window(100)
		ids := make([]journal.ID, n)
		for i := range ids {
			ids[i] = home.burst(1, sizes[i%len(sizes)])[0]
			home.verdict(ids[i])
		}
		return w, ids
	}
	asked := func(w *world) { w.ready(100) } // so that so many may come

	t.Run("ready before", func(t *testing.T) {
		t.Parallel()
		w, ids := held(t, asked)
		judge(t, ids, func() []journal.Handed { return w.ready(100) })
	})
	t.Run("after a start", func(t *testing.T) {
		t.Parallel()
		w, ids := held(t, asked)
		w.stop()
		w.start()
		judge(t, ids, func() []journal.Handed { return w.ready(100) })
	})
	t.Run("pushed", func(t *testing.T) {
		t.Parallel()
		w, ids := held(t, asked)
		p := w.m.OpenPush(agent)
		t.Cleanup(p.Close)
		judge(t, ids, func() []journal.Handed { return next(t, p, 100) })
	})
	t.Run("as they come", func(t *testing.T) {
		t.Parallel()
		o := fast()
		o.MaxPullBytes = most
		w := setup(t, o)
		home := w.dialHome(journal.NewID(), 1)
		w.ready(100)
		home.window(100)
		pull := func() []journal.Handed {
			got, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 100, Lease: time.Minute, Wait: 10 * time.Second})
			if err != nil {
				t.Error(err)
			}
			return got
		}
		first := make(chan []journal.Handed)
		go func() { first <- pull() }()
		until(t, "it waits", func() bool { figures, _ := w.m.Figures(); return figures[0].Readers == 1 })
		ids := home.burst(n, 100<<10) // in one frame
		for _, id := range ids {
			home.verdict(id)
		}
		judge(t, ids, func() []journal.Handed {
			if first != nil {
				got := <-first
				first = nil
				return got
			}
			return pull()
		})
	})
}

func TestTakeBackMakesItReadyAgain(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	w.accept(1)
	w.ready(1)
	w.take(1)
	first := w.pull(1)
	if err := w.m.TakeBack(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	second := w.pull(1)
	if len(second) != 1 || second[0].Lease == first[0].Lease || !second[0].Redelivered {
		t.Fatalf("second hand-over %+v, want a new lease, redelivered", second)
	}
	if s := w.settle(journal.Ack, first...); !errors.Is(s[0].Err, journal.ErrLeaseLost) {
		t.Errorf("ack under the lease taken back: %v, want %v", s[0].Err, journal.ErrLeaseLost)
	}
	if n := w.get(second[0].ID).Handover.Attempts; n != 0 {
		t.Errorf("%d attempts counted, want none", n)
	}
}

func TestLapseIsAnAttemptAndComesAgain(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	id := w.accept(1)[0]
	w.ready(1)
	w.take(1)
	got, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 1, Lease: 20 * time.Millisecond})
	if err != nil || len(got) != 1 {
		t.Fatalf("pull: %v, %v", got, err)
	}
	again := w.pull(1)
	if len(again) != 1 || again[0].ID != id || again[0].Attempt != 2 || again[0].Seq <= got[0].Seq {
		t.Fatalf("after the lapse: %+v, want %s again, attempt 2, under a later number", again, id)
	}
	if n := w.get(id).Handover.Attempts; n != 1 {
		t.Errorf("%d attempts counted, want 1", n)
	}
}

// The door: an app that crashes with many in hand burns the attempts of five,
// and of those only one.
func TestLapsesBehindAShutDoorAreNoAttempts(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	ids := w.accept(20)
	w.ready(20)
	w.take(20)
	got, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 20, Lease: 20 * time.Millisecond})
	if err != nil || len(got) != 20 {
		t.Fatalf("pulled %d of 20, %v", len(got), err)
	}
	until(t, "all leases have lapsed", func() bool { return w.m.Leased() == 0 })
	counted := 0
	until(t, "the lapses are journaled", func() bool {
		counted = 0
		for _, id := range ids {
			h := w.get(id).Handover
			if h == nil { // released to our home meanwhile
				continue
			}
			if state.Phase(h.Phase) != state.Ready {
				return false
			}
			counted += int(h.Attempts)
		}
		return true
	})
	if d := w.m.Door(agent); d.Open || d.Reason != "failing" {
		t.Errorf("door %+v, want shut for failing", d)
	}
	if counted != 5 {
		t.Errorf("%d attempts counted, want 5: the door shut on the fifth", counted)
	}
}

func TestShutDoorProbesOneAtATime(t *testing.T) {
	t.Parallel()
	o := fast()
	o.ReleaseAfter = time.Hour
	w := setup(t, o)
	w.accept(12)
	w.ready(12)
	w.take(12)
	w.settle(journal.Nack, w.pull(5)...)
	if d := w.m.Door(agent); d.Open {
		t.Fatalf("door %+v, want shut after five nacks", d)
	}
	tried := map[journal.ID]bool{}
	for range 3 {
		got := w.pull(12)
		if len(got) != 1 {
			t.Fatalf("a shut door let %d pass, want one probe", len(got))
		}
		if tried[got[0].ID] {
			t.Errorf("probe %s again, while others wait", got[0].ID)
		}
		tried[got[0].ID] = true
		if s := w.settle(journal.Nack, got...); s[0].Err != nil {
			t.Fatalf("nack of a probe: %v", s[0].Err)
		}
		if n := w.get(got[0].ID).Handover.Attempts; n != 0 {
			t.Errorf("probe %s counted %d attempts, want none", got[0].ID, n)
		}
	}
	probe := w.pull(12)
	w.settle(journal.Ack, probe...)
	if d := w.m.Door(agent); !d.Open {
		t.Fatalf("door %+v, want open after a success", d)
	}
	for _, want := range []int{1, 2} {
		got := w.pull(12)
		if len(got) != want {
			t.Fatalf("got %d, want %d: it opens with one in flight and doubles", len(got), want)
		}
		w.settle(journal.Ack, got...)
	}
}

// Restart: a lease that lapsed while the holder was down is no attempt, and
// the windows know what is held.
func TestRestartKeepsLeasesAndCounts(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	const n = 7 // leases: more than shut a door
	ids := w.accept(n + 1)
	w.ready(n + 1)
	w.take(n + 1)
	got, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: n, Lease: time.Second})
	if err != nil || len(got) != n {
		t.Fatalf("pulled %d, %v", len(got), err)
	}
	long := w.pull(1)
	w.stop()
	time.Sleep(time.Until(got[0].Until)) // the leases end while we are down
	w.start()
	until(t, "the counts are rebuilt", func() bool { return w.m.Leased() > 0 })
	if n := w.m.Window(agent); n != 0 {
		t.Errorf("many are held and the window is at its start: %d more may come, want none", n)
	}
	if s := w.settle(journal.Ack, long...); s[0].Err != nil {
		t.Errorf("ack under a lease of before the restart: %v", s[0].Err)
	}
	seen := map[journal.ID]bool{}
	until(t, "the lapsed ones come again", func() bool {
		for _, h := range w.ready(n) {
			seen[h.ID] = true
		}
		return len(seen) == n
	})
	if d := w.m.Door(agent); !d.Open {
		t.Errorf("door %+v; the app could not answer while we were down", d)
	}
	for _, id := range ids[:n] {
		if h := w.get(id).Handover; h.Attempts != 0 || !h.Redelivered {
			t.Errorf("%s after the restart: %d attempts, redelivered %v; want 0, true", id, h.Attempts, h.Redelivered)
		}
	}
}

// What our own home offers at a start is counted once, however late the counts of what
// was here before are made.
func TestTakeWaitsForTheCounts(t *testing.T) { bubble(t, takeWaitsForTheCounts) }

func takeWaitsForTheCounts(t *testing.T) {
	w := setup(t, fast())
	w.accept(1)
	late := inbound.NewMailbox(w.o, w.j, slog.New(slog.DiscardHandler))
	late.Configure([]string{agent}, "local")
	no, _ := w.j.AgentNo(agent)
	offers, _, err := w.j.Due(no, time.Now(), 1, func(journal.ID) bool { return false })
	if err != nil || len(offers) != 1 {
		t.Fatalf("%d due, %v", len(offers), err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	taken := make(chan error, 1)
	all.Go(func() {
		_, err := late.Take(ctx, agent, offers)
		taken <- err
	})
	synctest.Wait()
	all.Go(func() { _ = late.Run(ctx) })
	if err := <-taken; err != nil {
		t.Fatalf("take: %v", err)
	}
	synctest.Wait() // until the counts are made
	figures, _ := late.Figures()
	if len(figures) != 1 || figures[0].Unsettled != 1 {
		t.Errorf("of one intent that is here there count %+v", figures)
	}
}

func TestNoReaderReleasesAndTheNextPullIsServed(t *testing.T) {
	t.Parallel()
	o := fast()
	o.NoReaderAfter = 50 * time.Millisecond
	w := setup(t, o)
	ids := w.accept(3)
	w.ready(3)
	w.take(3)
	until(t, "the unleased are released", func() bool { return w.due(ids) == 3 })
	if d := w.m.Door(agent); d.Open || d.Reason != "no_reader" {
		t.Errorf("door %+v, want shut for want of a reader", d)
	}
	if n := w.m.Window(agent); n != 0 {
		t.Errorf("behind the door %d more may come; want none, they would only be released", n)
	}
	pulled := make(chan []journal.Handed)
	go func() { pulled <- w.pull(3) }()
	until(t, "the window is open again", func() bool { return w.m.Window(agent) == 3 })
	w.take(3)
	if got := <-pulled; len(got) == 0 {
		t.Error("the pull got nothing")
	}
}

func TestReceiverDurabilityStaysBehindAShutDoor(t *testing.T) {
	t.Parallel()
	o := fast()
	o.NoReaderAfter = 30 * time.Millisecond
	w := setup(t, o)
	home := w.dialHome(journal.NewID(), 1)
	defer home.close()
	id, env := receiverEnvelope(1)
	home.offer(env, 1)
	if got := home.verdict(id); got != "held" {
		t.Fatalf("offer answered %s, want held", got)
	}
	other, env := envelope(2)
	until(t, "the door is shut", func() bool { return !w.m.Door(agent).Open })
	home.offer(env, 1)
	if got := home.verdict(other); got != "busy" {
		t.Fatalf("second offer behind the floor answered %s, want busy", got)
	}
	time.Sleep(3 * o.ReleaseAfter)
	if h := w.get(id).Handover; state.Phase(h.Phase) != state.Ready {
		t.Errorf("durability receiver: %s, want it kept", state.Phase(h.Phase))
	}
}

func TestPastItsLimitsNothingIsHandedOver(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	home := w.dialHome(journal.NewID(), 1)
	defer home.close()
	w.ready(10)
	late, env := envelope(1)
	home.send(offer(env, 1, func(o *offerFields) { o.DeliverByLeftMs = -5 }))
	home.verdict(late)
	ended, env := envelope(2)
	home.send(offer(env, 1, func(o *offerFields) { o.Taken, o.DeliverByLeftMs, o.DeadlineLeftMs = true, 1, 1 }))
	home.verdict(ended)
	good, env := envelope(3)
	home.send(offer(env, 1, func(o *offerFields) { o.DeliverByLeftMs, o.DeadlineLeftMs = 60_000, 60_000 }))
	home.verdict(good)
	time.Sleep(5 * time.Millisecond)
	if got := w.pull(10); len(got) != 1 || got[0].ID != good {
		t.Fatalf("pulled %v, want only %s", got, good)
	}
	for _, id := range []journal.ID{late, ended} {
		if p := state.Phase(w.get(id).Handover.Phase); p != state.Ready {
			t.Errorf("%s is %s; the holder ends nothing", id, p)
		}
	}
}

func TestWhoIsServed(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	pull := func(name string) error {
		_, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: name, Limit: 1, Wait: 20 * time.Millisecond})
		return err
	}
	if err := pull("learned"); err != nil || !w.m.Serves("learned") {
		t.Errorf("first pull of an unknown address: %v, served %v; want it learned", err, w.m.Serves("learned"))
	}
	w.m.SetElsewhere(func(name string) (bool, bool) { return name != "pending", name != "pending" })
	for _, name := range []string{"other", "pending"} {
		if err := pull(name); err != nil || w.m.Serves(name) {
			t.Errorf("pull of %s: %v, served %v; want neither error nor learning", name, err, w.m.Serves(name))
		}
	}
	if w.m.Serves("learned") {
		t.Error("a learned agent that discovery finds elsewhere is served here")
	}
	if !w.m.Serves(agent) {
		t.Error("a configured agent is not served: configured beats discovered")
	}
	w.m.SetElsewhere(func(string) (bool, bool) { return false, true })
	w.m.Configure([]string{agent}, "off")
	if err := pull("never"); !errors.Is(err, inbound.ErrNotServed) {
		t.Errorf("pull with learning off: %v, want %v", err, inbound.ErrNotServed)
	}
	w.stop()
	w.start()
	until(t, "the learned agent is known after a restart", func() bool { return w.m.Serves("learned") })
}

func TestPullWaitsForDiscovery(t *testing.T) { bubble(t, pullWaitsForDiscovery) }

func pullWaitsForDiscovery(t *testing.T) {
	w := setup(t, fast())
	var known sync.Map
	w.m.SetElsewhere(func(string) (bool, bool) { _, ok := known.Load("yes"); return false, ok })
	ended := make(chan error, 1)
	go func() {
		_, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: "x", Limit: 1, Wait: 20 * time.Second})
		ended <- err
	}()
	synctest.Wait()
	known.Store("yes", true)
	w.m.Discovered()
	until(t, "it is learned", func() bool { return w.m.Serves("x") })
	w.m.Drain(t.Context())
	if err := <-ended; err != nil {
		t.Errorf("pull: %v", err)
	}
}

func TestDrainEndsPullsAndReleases(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	ids := w.accept(4)
	w.ready(4)
	w.take(4)
	leased := w.pull(1)
	w.m.Drain(t.Context())
	if due := w.due(ids); due != 3 {
		t.Errorf("%d of 3 unleased intents are due again", due)
	}
	began := time.Now()
	if got := w.pull(4); len(got) != 0 {
		t.Errorf("a pull while draining got %d", len(got))
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("a pull while draining took %s", d)
	}
	if n := w.take(4); n != 0 {
		t.Errorf("took %d while draining", n)
	}
	if s := w.settle(journal.Ack, leased...); s[0].Err != nil || s[0].Status != state.Completed {
		t.Errorf("settle while draining: %+v, want it taken", s[0])
	}
}

func TestExtendKeepsTheLeaseAndCountsAsAlive(t *testing.T) {
	bubble(t, extendKeepsTheLeaseAndCountsAsAlive)
}

func extendKeepsTheLeaseAndCountsAsAlive(t *testing.T) {
	w := setup(t, fast())
	w.accept(1)
	w.ready(1)
	w.take(1)
	got, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: agent, Limit: 1, Lease: 60 * time.Millisecond})
	if err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	s := w.settle(journal.Extend, got...)
	if s[0].Err != nil || time.Until(s[0].Until) < 50*time.Minute {
		t.Fatalf("extend without a time: until %s, %v; want the work timeout", s[0].Until, s[0].Err)
	}
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
	if n := w.m.Leased(); n != 1 {
		t.Errorf("%d leased after the first end of the lease, want 1", n)
	}
	if s := w.settle(journal.Ack, got...); s[0].Err != nil {
		t.Errorf("ack after extend: %v", s[0].Err)
	}
}

func TestWhyNamesTheNearestCause(t *testing.T) {
	t.Parallel()
	o := fast()
	o.ReleaseAfter = time.Hour
	w := setup(t, o)
	ids := w.accept(7)
	w.ready(7)
	w.take(7)
	want := func(id journal.ID, cause state.Cause) {
		t.Helper()
		got := w.m.Why(id)
		if len(got) == 0 || got[0].Cause != cause {
			t.Errorf("why: %+v, want %s", got, cause)
		}
	}
	want(ids[0], state.CauseWaitingForApp)
	first := w.pull(6)
	want(ids[0], state.CauseLeased)
	w.settle(journal.Extend, first[5])
	want(ids[5], state.CauseWorking)
	w.settle(journal.Nack, first[:5]...)
	want(ids[6], state.CauseDoorShut)
	if got := w.m.Why(journal.NewID()); got != nil {
		t.Errorf("why of what is not here: %v", got)
	}
}

func TestWindowGrowsToItsBase(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	const n = 600
	w.accept(n)
	for done := 0; done < n; {
		got := w.ready(50)
		w.take(300)
		got = append(got, w.ready(50)...)
		for _, s := range w.settle(journal.Ack, got...) {
			if s.Err != nil {
				t.Fatal(s.Err)
			}
		}
		done += len(got)
	}
	if got := w.m.Window(agent); got != 256 {
		t.Errorf("after %d successes %d more may come, want the base of 256", n, got)
	}
}

// Behind a door shut for failures a reader still gets probes: the window is
// above the floor, or home would offer nothing to a mailbox that has given all
// back.
func TestShutDoorStillGetsProbesFromHome(t *testing.T) {
	t.Parallel()
	o := fast()
	o.ProbeMin, o.ProbeMax = 20*time.Millisecond, 20*time.Millisecond
	w := setup(t, o)
	ids := w.accept(6)
	w.ready(6)
	w.take(6)
	w.settle(journal.Nack, w.pull(5)...)
	until(t, "all is given back", func() bool { return w.due(ids) == 6 })
	if n := w.m.Window(agent); n != 0 {
		t.Errorf("%d more may come behind the door, want none", n)
	}
	probe := make(chan []journal.Handed)
	go func() { probe <- w.pull(10) }()
	until(t, "the window is above the floor", func() bool { return w.m.Window(agent) > 1 })
	w.take(10)
	got := <-probe
	if len(got) != 1 {
		t.Fatalf("the probe is %d intents, want 1", len(got))
	}
	w.settle(journal.Ack, got...)
	if d := w.m.Door(agent); !d.Open {
		t.Errorf("door %+v, want open after the probe succeeded", d)
	}
}
