package journal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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
	const many = 50_000 // of a small store all, and yet not worth it
	w.j.CountDeletes(many)
	w.j.CompactIfWorth()
	w.j.CountDeletes(-many)
	w.j.CompactAfter(1)
	w.j.CompactIfWorth()
	if w.j.Stats().Compactions != 0 {
		t.Errorf("compacted %v for %d deletes", before, w.j.Stats().Deletes)
	}
	w.j.CountDeletes(1 << 30)
	for _, row := range []struct {
		name                string
		free, inodes, bytes int64
		want                string
	}{
		{"little space", 9 * gib / 8, 1 << 20, 100 * gib, "its volume is too full"},
		{"few inodes", 90 * gib, 1100, 100 * gib, "its volume has too few inodes left"},
		{"who knows", 0, 0, 0, "the system does not say how full the volume is"},
	} {
		w.j.OnVolumeUnseen(row.free, row.inodes, row.bytes, 1<<20)
		w.j.CompactIfWorth()
		w.j.CompactIfWorth()
		if n := strings.Count(warned(), row.want); n != 1 || w.j.Stats().Compactions != 0 {
			t.Errorf("%s: it was said %d times that %s, and compacted %d times", row.name, n, row.want, w.j.Stats().Compactions)
		}
	}
	w.j.OnVolume(90*gib, 1<<20, 100*gib, 1<<20)
	w.j.CompactUpTo(w.j.Size() - 1)
	w.j.CompactIfWorth()
	if n := w.j.Stats().Compactions; n != 0 {
		t.Errorf("a store that is larger than one that can be waited for was compacted %d times", n)
	}
	w.j.CompactUpTo(w.j.Size())
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

// Keys of what is let go weigh a sixteenth of what they cover, whether nothing takes its
// place or a smaller record does; and the log that has them says so if one of them is
// damaged, since there is nothing in them that looks like what was never written.
func TestWeightOfWhatIsDeleted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, weighsWhatIsDeleted)
}

func weighsWhatIsDeleted(t *testing.T) {
	const (
		day  = 24 * time.Hour
		size = 600 << 10 // three chunks
	)
	w := setup(t)
	w.done(size)
	w.done(100)
	covered := 0
	for _, row := range []struct {
		after  time.Duration
		o      journal.Options
		covers int
	}{
		{0, journal.Options{}, 0},
		{day + time.Second, journal.Options{}, size},
		{7 * day, journal.Options{}, 0}, // of what was let go first there is little left
		{time.Minute, journal.Options{History: journal.History{HistoryBytes: 1}}, size},
	} {
		w.later(row.after, row.o)
		covered += row.covers
		if _, weight := w.j.Tombstones(); weight < covered/16 || weight > covered/16+covered/1000 {
			t.Errorf("%s later keys weigh %d bytes, want a sixteenth of %d", row.after, weight, covered)
		}
		if row.after == 7*day {
			w.done(size)
		}
	}
	log := w.newestLog()
	last := len(bytes.TrimRight(log, "\x00"))
	for at := last - size/20; at < last-1<<10; at += 1 << 10 { // what was let go last
		log[at] ^= 4
		if journal.CheckLog(log) == nil {
			t.Fatalf("a bit was wrong %d bytes before the end of the log, and it was said to be one that a crash has cut", last-at)
		}
		log[at] ^= 4
	}
	w.whole()
}

// newestLog is what the store writes to.
func (w *world) newestLog() []byte {
	w.Helper()
	logs, err := filepath.Glob(filepath.Join(w.dir, "store", "*.mem"))
	if err != nil || len(logs) == 0 {
		w.Fatalf("logs of the store: %v, %v", logs, err)
	}
	log, err := os.ReadFile(logs[len(logs)-1])
	if err != nil {
		w.Fatal(err)
	}
	return log
}

// TestCompactsWhileItIsQuiet: what is deleted goes by itself, and not while there is traffic.
func TestCompactsWhileItIsQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _ := gone(t)
		w.j.OnVolume(90<<30, 0, 100<<30, 0)
		w.j.CompactAfter(1)
		w.j.CountDeletes(1 << 30)
		for range 3 {
			for range 25 { // a batch each
				w.accept()
			}
			time.Sleep(10 * time.Second) // from one look to the next
		}
		if n := w.j.Stats().Compactions; n != 0 {
			t.Errorf("compacted %d times under traffic", n)
		}
		time.Sleep(30 * time.Second)
		if n := w.j.Stats().Compactions; n != 1 {
			t.Errorf("compacted %d times while it was quiet, want once", n)
		}
		w.whole()
	})
}

// TestCompactsWhereFilesAreLeft: a compaction that could not open its tables would lose them.
func TestCompactsWhereFilesAreLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const most = 10_000
		w, warned := gone(t)
		w.j.OnVolume(90<<30, 0, 100<<30, 0)
		w.j.CompactAfter(1)
		w.j.CountDeletes(1 << 30)
		w.j.OnFiles(most-journal.CompactFiles, most) // none for tables
		w.j.CompactIfWorth()
		if said := warned(); w.j.Stats().Compactions != 0 || !strings.Contains(said, "too few files left") {
			t.Errorf("compacted %d times with few files left, and said %q", w.j.Stats().Compactions, said)
		}
		w.j.OnFiles(0, most)
		w.j.CompactIfWorth()
		if w.j.Stats().Compactions != 1 {
			t.Error("not compacted with enough files")
		}
		w.whole()
	})
}
