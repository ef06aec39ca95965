//go:build !race

package journal_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pannier/journal"
)

// taken is what a journal takes: of its disk, of memory (RssAnon) and of files; and how many
// keys of its store only say that one is deleted.
type taken struct{ disk, memory, files, goroutines, tombstones int }

func (w *world) taken() (t taken) {
	w.Helper()
	_ = filepath.Walk(w.dir, func(path string, _ os.FileInfo, err error) error {
		var s unix.Stat_t
		if err == nil && unix.Stat(path, &s) == nil { // else it has just gone
			t.disk += int(s.Blocks) * 512
		}
		return nil
	})
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		w.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if _, err := fmt.Sscanf(line, "RssAnon: %d", &t.memory); err == nil {
			t.memory <<= 10
		}
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		w.Fatal(err)
	}
	t.files, t.goroutines = len(open), runtime.NumGoroutine()
	t.tombstones, _ = w.j.Tombstones()
	return t
}

// soakDisk is what a journal may have on disk at once where so many bytes of history have
// been there at most: how fast the store compacts, and what has ended in the last second, is
// up to the machine, so it is what the store's own limits come to, and not what one sees.
func soakDisk(history int) int {
	const (
		memtable = 8 << 20 * 13 / 10 // with the batch that has filled it, in a log and then in a table
		logs     = 4 * memtable      // one is written to, two wait, one is being made a table
		level0   = 12 * memtable     // then writes wait
		level1   = 16 << 20          // then it is compacted
		covered  = 16 * level1       // by keys of what is deleted, which may be all of it: they weigh a sixteenth
		rest     = 4 << 20           // MANIFEST, the value log
	)
	tables := level0 + level1 + history
	return logs + 2*tables + covered + rest // a compaction has what it reads and what it has made
}

// soakTombstones is how many deletes a journal may have in its store: they are dropped once
// they have come down to the last level, so what may be full of them is the level above, of
// 16 MiB and at 30 bytes each; and once more as many for what is on its way there.
const soakTombstones = 2 * (16 << 20) / 30

// TestSoak: under traffic that never pauses a journal takes what its history may, and what
// the store needs to work with, however long that lasts, and garbage does not pile up.
// JOURNAL_SOAK=10m makes it as long: in its short form it writes less than the store may
// have on disk, and looks at the history alone. The figures are of the whole process.
func TestSoak(t *testing.T) {
	t.Parallel()
	long, _ := time.ParseDuration(os.Getenv("JOURNAL_SOAK"))
	const (
		budget, body = 4 << 20, 32 << 10
		round, least = 50, 3000 // intents; their bodies are 98 MB
		tell         = 30 * time.Second
	)
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{History: journal.History{HistoryBytes: budget}, Space: journal.Space{BallastBytes: -1}}) // which takes up disk
	history := budget
	payload := fmt.Appendf(nil, `{"x":"%s"}`, bytes.Repeat([]byte("x"), body))
	began, told, top := time.Now(), time.Now(), taken{}
	for n := 0; n < least || time.Since(began) < long; n += round {
		w.traffic(round, payload)
		if n%(10*round) != 0 {
			continue
		}
		now := w.taken()
		top.disk, top.tombstones = max(top.disk, now.disk), max(top.tombstones, now.tombstones)
		history = max(history, int(w.j.Stats().History))
		if most := soakDisk(history); now.disk > most {
			t.Fatalf("after %d intents it takes %d MiB of disk, and may %d with a history of %d at most", n+round, now.disk>>20, most>>20, history>>20)
		}
		if now.tombstones > soakTombstones {
			t.Fatalf("after %d intents %d keys of the store only say that one is deleted", n+round, now.tombstones)
		}
		if time.Since(told) > tell {
			told = time.Now()
			t.Logf("%s: %d intents, history %d MiB, disk %d MiB (most %d), %d tombstones (most %d), RssAnon %d MiB, %d files, %d goroutines", time.Since(began).Round(time.Second), n+round,
				w.j.Stats().History>>20, now.disk>>20, top.disk>>20, now.tombstones, top.tombstones, now.memory>>20, now.files, now.goroutines)
		}
	}
	s := w.j.Stats()
	for ended := time.Now(); s.History > budget && time.Since(ended) < time.Minute; s = w.j.Stats() {
		time.Sleep(10 * time.Millisecond) // what ended in the last second is not looked at yet
	}
	if s.History > budget || s.LetGo < least/2 {
		t.Errorf("the history takes %d bytes, of %d that it may, and of it %d intents were let go", s.History, s.HistoryMost, s.LetGo)
	}
	t.Logf("%d MiB of disk, %d of history and %d tombstones at most", top.disk>>20, history>>20, top.tombstones)
	w.whole()
}

// TestHistoryUnderTraffic: it is let go as fast as it comes, by a journal that is never
// idle, while nobody asks for it.
func TestHistoryUnderTraffic(t *testing.T) {
	t.Parallel()
	const budget, round = 512 << 10, 200
	w := &world{T: t, dir: t.TempDir()}
	w.open(journal.Options{History: journal.History{HistoryBytes: budget}})
	for n := 0; n < 600 && w.j.Stats().LetGo < 5*round; n++ {
		w.traffic(round, envelope().Payload)
	}
	if s := w.j.Stats(); s.LetGo < 5*round {
		t.Errorf("after 120,000 intents, of a history of %d bytes, where %d may be, %d intents were let go", s.History, s.HistoryMost, s.LetGo)
	}
	w.whole()
}
