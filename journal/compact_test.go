package journal_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pannier/journal"
	"pannier/journal/state"
)

// traffic accepts so many intents and has them answered, all at once.
func (w *world) traffic(n int, payload []byte) {
	w.Helper()
	in := make([]journal.Accept, n)
	for i := range in {
		in[i].Envelope = envelope()
		in[i].Envelope.Payload = payload
	}
	got, err := w.j.Accept(w.Context(), in)
	if err != nil {
		w.Fatal(err)
	}
	var group sync.WaitGroup
	for _, one := range got {
		group.Go(func() {
			if _, err := w.j.Answer(w.Context(), one.ID, journal.Answer{Trigger: state.Complete, Actor: "ann"}); err != nil {
				w.Error(err)
			}
		})
	}
	group.Wait()
}

// gone makes a store most of which is deleted: tables of intents that are there no more,
// and above them what deletes them.
func gone(t *testing.T) (w *world, warned func() string) {
	t.Helper()
	var mu sync.Mutex
	var said []string
	w = &world{T: t, dir: t.TempDir()}
	o := journal.Options{History: journal.History{HistoryBytes: 1}, Hooks: journal.Hooks{Warning: func(line string) {
		mu.Lock()
		defer mu.Unlock()
		said = append(said, line)
	}}}
	w.open(o)
	for n := range 6 { // five tables are compacted, and one is left
		w.traffic(100, envelope().Payload)
		w.later(time.Hour, o)
		if n == 4 {
			if err := w.j.Compact(); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.open(o)
	return w, func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(said, "\n")
	}
}

// What is deleted goes from the store once it is much, where there is room to work.
func TestCompactsWhatIsDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, compactsWhatIsDeleted)
}

func compactsWhatIsDeleted(t *testing.T) {
	const gib = 1 << 30
	w, warned := gone(t)
	before := w.j.Keys()
	if len(before) < 2 {
		t.Fatalf("all keys are in one level: %v", before)
	}
	w.j.CompactIfWorth()
	if got := fmt.Sprint(w.j.Keys()); got != fmt.Sprint(before) || w.j.Stats().Compactions != 0 {
		t.Fatalf("compacted for next to nothing: %v are now %s", before, got)
	}
	w.traffic(20, envelope().Payload)
	if got := w.j.Stats().Deletes; got < 20 {
		t.Errorf("%d deletes were counted, of 20 intents that have ended", got)
	}
	w.j.CompactAfter(1)
	for _, row := range []struct {
		name         string
		free, inodes int64
		want         string
	}{
		{"little space", 9 * gib / 8, 1 << 20, "its volume is too full"},
		{"few inodes", 90 * gib, 1100, "its volume has too few inodes left"},
	} {
		w.j.OnVolume(row.free, row.inodes, 100*gib, 1<<20)
		w.j.CompactIfWorth()
		w.j.CompactIfWorth()
		if n := strings.Count(warned(), row.want); n != 1 || w.j.Stats().Compactions != 0 {
			t.Errorf("%s: it was said %d times that %s, and compacted %d times", row.name, n, row.want, w.j.Stats().Compactions)
		}
	}
	w.j.OnVolume(90*gib, 1<<20, 100*gib, 1<<20)
	w.j.CompactIfWorth()
	after := w.j.Keys()
	if len(after) > 1 || total(after)*2 > total(before) || w.j.Stats().Compactions != 1 {
		t.Errorf("of keys by level %v, most of them deleted, %v are left", before, after)
	}
	w.whole()
}

func total(by map[int]int) (n int) {
	for _, v := range by {
		n += v
	}
	return n
}
