package bench

import (
	"encoding/json"
	"testing"
	"time"
)

func TestBodiesCarryTheirMarks(t *testing.T) {
	t.Parallel()
	for _, batch := range []int{1, 3} {
		b := newBody(200, batch)
		if len(b.marks) != batch {
			t.Fatalf("a body of %d has %d marks", batch, len(b.marks))
		}
		for i := range b.marks {
			b.mark(i, mark{slot: 7, n: 123_456 + i})
		}
		type intent struct {
			Payload json.RawMessage `json:"payload"`
		}
		var all struct {
			Intents []intent `json:"intents"`
			intent
		}
		if err := json.Unmarshal(b.text, &all); err != nil {
			t.Fatalf("a body of %d is not JSON: %v", batch, err)
		}
		if batch == 1 {
			all.Intents = []intent{all.intent}
		}
		for i, one := range all.Intents {
			got, ok := readMark(one.Payload)
			if want := (mark{7, 123_456 + i}); !ok || got != want || len(one.Payload) != 200 {
				t.Errorf("intent %d of %d: mark %v, %v in %d bytes; want %v in 200", i, batch, got, ok, len(one.Payload), want)
			}
		}
	}
}

func TestOnlyMarksAreRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", `{"bench":"0001-00000`, `{"bench":"x001-000000001"}`, `{"other":"0001-000000001"}`} {
		if m, ok := readMark([]byte(text)); ok {
			t.Errorf("%q is read as %v", text, m)
		}
	}
}

// An intent counts once, whatever comes twice, and not at all in another slot.
func TestLedgerCountsOnce(t *testing.T) {
	t.Parallel()
	l := newLedger(2, time.Millisecond, 1)
	l.begin = time.Now()
	l.room <- struct{}{}
	n, _ := l.draw(time.Now())
	for range 2 {
		l.see(mark{2, n})
		l.answer(mark{2, n})
	}
	if l.see(mark{1, n}) || l.see(mark{2, len(l.seen)}) {
		t.Error("an intent of another slot, or beyond this one, counts")
	}
	l.answer(mark{1, n})
	if l.delivered.Load() != 1 || l.again.Load() != 1 || l.settled.Load() != 1 || len(l.room) != 0 {
		t.Errorf("delivered %d, again %d, settled %d, open %d; want 1, 1, 1, 0", l.delivered.Load(), l.again.Load(), l.settled.Load(), len(l.room))
	}
}

func TestSampleThatDoesNotAddUp(t *testing.T) {
	t.Parallel()
	for _, s := range []Sample{
		{Accepted: 2, Delivered: 1, Settled: 2, Ended: 2},
		{Accepted: 2, Delivered: 2, Settled: 1, Ended: 2},
		{Accepted: 2, Delivered: 2, Settled: 2, Ended: 1},
	} {
		if s.consistent() == nil {
			t.Errorf("%+v is taken", s)
		}
	}
	if err := (&Sample{Accepted: 2, Delivered: 2, Settled: 2, Ended: 2}).consistent(); err != nil {
		t.Error(err)
	}
}

func TestBusyDiskIsDiscarded(t *testing.T) {
	t.Parallel()
	pair := func(before, after, rate float64) Pair {
		return Pair{Before: before, After: after, Echo: EchoSample{Rate: 1000}, Sample: Sample{EndRate: rate}}
	}
	r := Report{Items: []Item{
		{Pairs: []Pair{pair(100, 149, 500), pair(100, 151, 1), pair(120, 110, 700)}},
		{Pairs: []Pair{pair(400, 100, 300)}},
	}}
	r.summarize()
	if i := r.Items[0]; i.Discarded != 1 || !i.Pairs[1].Discarded || i.Noisy || i.EndToEnd != (Spread{600, 500, 700}) || i.OfEcho != (Spread{0.6, 0.5, 0.7}) {
		t.Errorf("of three pairs, one on a busy disk: %+v", i)
	}
	if i := r.Items[1]; i.Discarded != 1 || !i.Noisy || i.EndToEnd.Median != 300 {
		t.Errorf("of one pair on a busy disk: %+v", i)
	}
}
