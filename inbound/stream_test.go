package inbound_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
)

// reader is a response of the agent's stream on a connection of its own.
func (w *world) reader(since uint64) (*inbound.Stream, *inbound.Conn) {
	c := w.m.NewConn()
	return w.m.OpenStream(agent, since, c), c
}

// next reads n hand-overs off a stream.
func (w *world) next(s *inbound.Stream, n int) (got []journal.Handed) {
	w.t.Helper()
	until(w.t, fmt.Sprintf("%d hand-overs, of which came %d", n, len(got)), func() bool {
		more, err := s.Next(w.t.Context(), time.Second)
		if err != nil {
			w.t.Fatalf("next: %v", err)
		}
		got = append(got, more...)
		return len(got) >= n
	})
	return got
}

// nothing says that a stream has nothing to carry.
func (w *world) nothing(s *inbound.Stream, why string) {
	w.t.Helper()
	if got, err := s.Next(w.t.Context(), 0); len(got) > 0 || err != nil {
		w.t.Errorf("%s: got %v, %v", why, numbers(got), err)
	}
}

func numbers(got []journal.Handed) (out []uint64) {
	for _, h := range got {
		out = append(out, h.Seq)
	}
	return out
}

// carry lets the mailbox hold n intents of its own home while a stream asks.
func (w *world) carry(s *inbound.Stream, n int) []journal.Handed {
	w.t.Helper()
	w.accept(n)
	w.nothing(s, "before anything is held")
	w.take(n)
	return w.next(s, n)
}

func TestStreamTakesUpWhatALostConnectionCarried(t *testing.T) {
	bubble(t, streamTakesUpWhatALostConnectionCarried)
}

func streamTakesUpWhatALostConnectionCarried(t *testing.T) {
	w := setup(t, fast())
	a, conn := w.reader(0)
	first := w.carry(a, 3)
	if got := numbers(first); !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Fatalf("numbers %v", got)
	}
	b, connB := w.reader(0)
	w.nothing(b, "while the connection that carried them is open")
	if got := w.ready(10); len(got) > 0 {
		t.Errorf("a poll got %v", numbers(got))
	}
	waiting := make(chan []journal.Handed, 1)
	go func() {
		got, err := b.Next(t.Context(), 10*time.Second)
		if err != nil {
			t.Error(err)
		}
		waiting <- got
	}()
	synctest.Wait()
	conn.Close()
	got := <-waiting
	if len(got) != 3 {
		t.Fatalf("a stream that waits got %v, want all three", numbers(got))
	}
	for i, h := range got {
		if f := first[i]; h.ID != f.ID || h.Seq != f.Seq || h.Lease != f.Lease || h.Attempt != 1 || string(h.Envelope.Payload) != string(f.Envelope.Payload) {
			t.Errorf("place %d: got %+v, want what the first stream had: %+v", i, h, f)
		}
	}
	w.settle(journal.Ack, got[0])
	if _, err := w.j.Answer(t.Context(), got[1].ID, journal.Answer{Trigger: state.Wait}); err != nil {
		t.Fatal(err)
	}
	connB.Close()
	c, connC := w.reader(0)
	if got := w.next(c, 1); !slices.Equal(numbers(got), []uint64{3}) {
		t.Errorf("after one has ended and one waits: %v, want number 3", numbers(got))
	}
	connC.Close()
	d, _ := w.reader(3)
	w.nothing(d, "after its number")
}

// A poll's lease is the poll's, whatever becomes of its connection.
func TestStreamLeavesThePollersAlone(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	w.accept(2)
	w.ready(2)
	w.take(2)
	w.pull(1)
	s, _ := w.reader(0)
	if got := w.next(s, 1); got[0].Seq != 2 {
		t.Errorf("the stream got %v, want the one the poll has left", numbers(got))
	}
	w.nothing(s, "beside a poll")
}

func TestStreamCarriesSixtyFourAtOnce(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	w.ready(100)
	w.accept(70)
	w.take(70)
	s, _ := w.reader(0)
	got := w.next(s, 64)
	if len(got) != 64 {
		t.Fatalf("carries %d", len(got))
	}
	if more, err := s.Next(t.Context(), 30*time.Millisecond); len(more) > 0 || err != nil {
		t.Fatalf("with 64 unsettled came %v, %v", numbers(more), err)
	}
	waiting := make(chan []journal.Handed, 1)
	go func() {
		more, err := s.Next(t.Context(), 10*time.Second)
		if err != nil {
			t.Error(err)
		}
		waiting <- more
	}()
	w.settle(journal.Ack, got[:2]...)
	more := <-waiting
	if len(more) == 0 || len(more) > 2 {
		t.Errorf("after two were settled came %v", numbers(more))
	}
	other, _ := w.reader(0)
	if rest := w.next(other, 70-64-len(more)); rest[0].Seq != more[len(more)-1].Seq+1 {
		t.Errorf("another response got %v", numbers(rest))
	}
}

// An app works one by one: what it settles gives the rest of the response as
// long again.
func TestSettleRestartsTheClockOfTheResponse(t *testing.T) {
	bubble(t, settleRestartsTheClock)
}

func settleRestartsTheClock(t *testing.T) {
	o := fast()
	o.StreamLease = time.Second
	w := setup(t, o)
	s, _ := w.reader(0)
	got := w.carry(s, 3)
	other, _ := w.reader(0)
	w.accept(1)
	w.take(1)
	w.next(other, 1)
	time.Sleep(600 * time.Millisecond)
	w.settle(journal.Ack, got[0])
	again := w.next(other, 1)
	if again[0].Seq != 5 || again[0].Attempt != 2 {
		t.Errorf("of the other response came %+v again, want number 5 and attempt 2", again[0])
	}
	for _, h := range got[1:] {
		if rec := w.get(h.ID).Handover; state.Phase(rec.Phase) != state.Leased || rec.Attempts != 0 {
			t.Errorf("number %d is %s with %d attempts though its response is worked on", h.Seq, state.Phase(rec.Phase), rec.Attempts)
		}
	}
	if late := w.next(s, 2); numbers(late)[0] <= 5 {
		t.Errorf("lapsed in the end, and came again as %v", numbers(late))
	}
}

// What a connection left behind is read in the same measure as what is new: how
// much of it there is may be up to the app.
func TestWhatIsTakenUpIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	o := fast()
	o.MaxPullBytes = 200 << 10
	w := setup(t, o)
	home := w.dialHome(journal.NewID(), 1)
	w.ready(100)
	home.window(100)
	for _, id := range home.burst(50, 20<<10) {
		home.verdict(id)
	}
	lost, conn := w.reader(0)
	first := w.next(lost, 50)
	conn.Close()
	again, _ := w.reader(0)
	var all []uint64
	for len(all) < 50 {
		got, bytes := w.next(again, 1), 0
		for _, h := range got {
			bytes += len(h.Envelope.Payload)
		}
		if bytes > 2*o.MaxPullBytes {
			t.Fatalf("%d of them are %d bytes; about %d are the bound", len(got), bytes, o.MaxPullBytes)
		}
		all = append(all, numbers(got)...)
	}
	if !slices.Equal(all, numbers(first)) {
		t.Errorf("taken up: %v, want what was left behind: %v", all, numbers(first))
	}
}

func TestRestartKeepsTheLogOfHandovers(t *testing.T) {
	t.Parallel()
	w := setup(t, fast())
	s, _ := w.reader(0)
	first := w.carry(s, 3)
	w.stop()
	w.start()
	until(t, "the counts are rebuilt", func() bool { return w.m.Leased() == 3 })
	again, _ := w.reader(1)
	got := w.next(again, 2)
	if !slices.Equal(numbers(got), []uint64{2, 3}) || got[0].Lease != first[1].Lease {
		t.Errorf("after the restart from number 1 on: %v", numbers(got))
	}
	if s := w.settle(journal.Ack, got...); s[0].Err != nil || s[1].Err != nil {
		t.Errorf("ack: %v", s)
	}
}
