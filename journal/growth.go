package journal

import (
	"path/filepath"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// growth is what the store may yet write by itself, whatever becomes of the next batch: the
// tables of its logs, and those of a compaction, which makes all of its tables before the first
// of the old ones goes. It grows with the store, and on a small volume it is far more than a
// share of that: a journal that went by shares alone died of SIGBUS on one of 150 MiB, in
// its own compaction, with nobody else on it.
type growth struct {
	db     atomic.Pointer[badger.DB] // nil: it is not open
	store  string
	now    atomic.Int64 // bytes: with less the journal stops
	soon   atomic.Int64 // bytes: with less it takes nothing new, or it would come to that
	unseen int          // bytes committed since it was looked at; owned by the committer
}

const (
	// growthEvery is after how many bytes of batches it is looked at again. Others look every
	// 250 ms, in which a log may be filled.
	growthEvery = 1 << 20
	// growthTries is how often it is looked at before it stops the journal: a compaction that is
	// under way turns what is ahead into what is taken, between any two looks.
	growthTries = 3
	// deepMost is what a compaction below the base level makes: of one table there, and of the
	// ten times as large range below.
	deepMost = 12 * tableSize
	// finishing are two tables of what is under way while nothing new is taken.
	finishing = 2 * (memtableSize + batchBytes)
)

// look finds out how much it is. Logs are made into tables one after the other, and each goes
// when its table is there.
func (g *growth) look() {
	if db := g.db.Load(); db != nil {
		log, now, soon := g.measure(db.Levels())
		g.now.Store(log + now)
		g.soon.Store(log + soon)
	}
}

// lookClosely is look, less what has been written of tables that are being made. It looks at
// each file of the store.
func (g *growth) lookClosely() {
	if db := g.db.Load(); db != nil {
		levels := db.Levels()
		log, now, _ := g.measure(levels)
		made := taken(g.store, "*"+tableExt) - tablesIn(levels)
		g.now.Store(log + max(0, now-max(0, made)))
	}
}

func (g *growth) measure(levels []badger.LevelInfo) (log, now, soon int64) {
	now, soon = compactionOf(levels)
	return tablesBeside + largest(g.store, "*.mem")*9/8, now, soon
}

// committed looks again once that much more has been written.
func (g *growth) committed(bytes int) {
	if g.unseen += bytes; g.unseen >= growthEvery {
		g.unseen = 0
		g.look()
	}
}

// compactionOf is how much the next compaction makes: now, where it may begin at any time or
// with the next table, and soon, with what is yet written to finish what is under way.
func compactionOf(levels []badger.LevelInfo) (now, soon int64) {
	top, base, deep := levels[0], int64(0), int64(0)
	for i, l := range levels[1:] {
		if l.IsBaseLevel {
			base = l.Size
		}
		if i+2 < len(levels) && l.Size > l.TargetSize {
			deep = min(deepMost, l.Size+levels[i+2].Size)
		}
	}
	if top.NumTables >= levelZero-1 {
		now = top.Size + base
	}
	return now + deep, top.Size + base + deep + finishing
}

func tablesIn(levels []badger.LevelInfo) (bytes int64) {
	for _, l := range levels {
		bytes += l.Size
	}
	return bytes
}

// tablesOfLogs is how much room the tables take that the logs of a store are made into.
func tablesOfLogs(store string) int64 { return tablesOf(taken(store, "*.mem")) }

// tablesOf is the same of so many bytes of logs.
func tablesOf(logs int64) int64 { return tablesBeside + logs*9/8 }

// taken is how much room files take up together, and largest that which takes up most.
func taken(store, pattern string) (bytes int64) {
	for _, n := range rooms(store, pattern) {
		bytes += n
	}
	return bytes
}

func largest(store, pattern string) (bytes int64) {
	for _, n := range rooms(store, pattern) {
		bytes = max(bytes, n)
	}
	return bytes
}

func rooms(store, pattern string) (bytes []int64) {
	paths, _ := filepath.Glob(filepath.Join(store, pattern)) // the one error is of a bad pattern
	for _, path := range paths {
		var is unix.Stat_t
		if unix.Stat(path, &is) == nil { // it may have gone
			bytes = append(bytes, is.Blocks*512)
		}
	}
	return bytes
}
