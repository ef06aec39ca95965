package journal

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// storeOptions are the only ones Badger is ever opened with here. Each departs
// from a default for a measured reason: without compression a damaged block
// costs one value, not a range of keys; nothing reaches the value log, whose
// sync errors are only logged. Checksums of tables are our own affair (checksums).
// Badger syncs no commit: the committer does, see wal.
//
// What makes a table takes twice its size of memory and, where a value does not fit a block,
// three times the value; Badger keeps eight of these for the next tables, each as large as
// what it was last used for. So tables are small at all levels, and a block has room for a
// chunk of a body (chunkSize). At 30 MB/s of bodies of 32 KiB, in a process that is to keep
// within 80 MiB, RssAnon is 70 MiB; with tables of 4 MiB and blocks of 4 KiB it was 190, and
// half of the time went into collecting garbage.
func storeOptions(dir string, log badger.Logger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.TableSizeMultiplier = 1
	return o.
		WithSyncWrites(false).
		WithMemTableSize(memtableSize).
		WithNumMemtables(2).
		WithNumLevelZeroTables(levelZero).WithNumLevelZeroTablesStall(12).
		WithNumCompactors(2).
		WithBaseTableSize(tableSize).WithBaseLevelSize(16 << 20).
		WithBlockSize(blockSize).WithBloomFalsePositive(bloomFalsePositive).
		WithValueThreshold(1 << 20).
		WithValueLogFileSize(1 << 20).
		WithCompression(options.None).
		WithBlockCacheSize(0).WithIndexCacheSize(0).
		WithChecksumVerificationMode(checksums(dir)).
		WithDetectConflicts(false).WithNumVersionsToKeep(1).WithNumGoroutines(2).
		WithMetricsEnabled(false).
		WithLogger(log)
}

const (
	memtableSize       = 8 << 20
	levelZero          = 4       // tables at level 0, with which a compaction of all of them begins
	tableSize          = 2 << 20 // each is a file that is open
	blockSize          = chunkSize + 1<<10
	bloomFalsePositive = 0.01 // as Badger has it
)

// checksums says whether Badger is to read the checksums of a table that it opens. We have
// done that already (checkFiles), and it does so with each that it has just made, too, and
// loses that if it finds one wrong. What a tool of its own has written it alone can read.
func checksums(store string) options.ChecksumVerificationMode {
	tables, _, err := readManifest(filepath.Join(store, badger.ManifestFilename))
	if err != nil {
		return options.OnTableRead
	}
	for _, plain := range tables {
		if !plain {
			return options.OnTableRead
		}
	}
	return options.NoVerification
}

// lookOptions are those of an open that only looks. It compacts nothing, since a
// compaction of what is damaged makes the damage larger; so what a crash has left in
// the logs must find room at level 0, however full that is: nobody would ever make some.
// A test that lets days pass has its store opened so, too.
func lookOptions(dir string, log badger.Logger) badger.Options {
	return storeOptions(dir, log).WithNumCompactors(0).WithNumLevelZeroTablesStall(math.MaxInt32)
}

// tripwire is Badger's logger: Badger hides failures of the disk in its log,
// so some lines mean that the journal must stop.
type tripwire struct {
	fail    func(error)
	warning func(string)
}

var fatalLines = []string{
	"Error while curlf sync", "error flushing memtable", "LOG Compact FAILED", "while deleting file", "Got error:",
}

func (w tripwire) see(format string, args []any) {
	line := strings.TrimSpace(fmt.Sprintf(format, args...))
	for _, f := range fatalLines {
		if strings.Contains(line, f) {
			w.fail(fmt.Errorf("the store says: %s", line))
			return
		}
	}
	w.warning(line)
}

func (w tripwire) Errorf(format string, args ...any) { w.see(format, args) }
func (w tripwire) Infof(string, ...any)              {}
func (w tripwire) Debugf(string, ...any)             {}

// Warningf is what Badger says of a compaction that has failed.
func (w tripwire) Warningf(format string, args ...any) {
	w.see(format, args)
}

// newestMemtable returns the highest number among Badger's memtable files.
func newestMemtable(dir string) (int, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	newest := 0
	for _, e := range entries {
		if base, ok := strings.CutSuffix(e.Name(), ".mem"); ok {
			if n, err := strconv.Atoi(base); err == nil && n > newest {
				newest = n
			}
		}
	}
	return newest, nil
}

// memtableAfter is newestMemtable for who knows the one that was: Badger numbers them
// one by one. To look for the next costs a seventh of reading the directory, and every
// commit does it.
func memtableAfter(dir string, was int) (int, error) {
	for {
		switch _, err := os.Lstat(filepath.Join(dir, fmt.Sprintf("%05d.mem", was+1))); {
		case errors.Is(err, os.ErrNotExist):
			return was, nil
		case err != nil:
			return 0, err
		}
		was++
	}
}

func storeDir(dir string) string { return filepath.Join(dir, "store") }
