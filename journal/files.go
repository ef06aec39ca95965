package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"
)

// Badger takes some damage of its files for what a crash leaves, and goes on without what
// comes after it; some ends the process in a goroutine of its own, with no word of which
// file it is. So the files are read here before it opens them.
//
//	file         what Badger makes of a wrong bit        what we do
//	MANIFEST     a length: drops the rest, and then      look whether the rest is a record
//	             deletes the tables that it does not     under another length, and what is
//	             know of                                 in those tables (checkUnnamed)
//	NNNNNN.sst   a footer, the end of a block: panics    check index and blocks
//	NNNNN.mem    drops the rest; a key: does not open    see checkLog
//	KEYREGISTRY  takes it for one with a key             see checkSpare
//	N.vlog       the same, in its head                   likewise
//	DISCARD      nothing; what it cannot open as a file  likewise
//	             ends the process, without a word of ours
//	LOCK         nothing; likewise it does not open      likewise
//	all others   nothing rests on it                     nothing

// badFile is a file of a store that Badger is not to see.
type badFile struct {
	name  string
	kind  fileKind
	table uint64 // its number, of a table
	why   error
}

type fileKind string

const (
	manifestFile fileKind = "MANIFEST" // all else rests on it
	tableFile    fileKind = "table"
	logFile      fileKind = "log"
	spareFile    fileKind = "file" // of which Badger makes another, and nothing rests on it
)

func (b badFile) Error() string {
	switch b.kind {
	case manifestFile:
		return b.why.Error()
	case spareFile:
		return fmt.Sprintf("file %s, on which nothing rests: %v", b.name, b.why)
	}
	return fmt.Sprintf("%s %s: %v", b.kind, b.name, b.why)
}

// together is what is wrong with several, in one line.
func together(bad []badFile) error {
	var all []string
	for _, b := range bad {
		all = append(all, b.Error())
	}
	return errors.New(strings.Join(all, "; "))
}

// checkFiles reads what is there of a store that no process has open. It says, too, what
// Badger is going to read of each table.
func checkFiles(store string) (bad []badFile, ends map[uint64]tableEnds) {
	path := filepath.Join(store, badger.ManifestFilename)
	tables, _, err := readManifest(path)
	if err == nil {
		err = storeTakes(path)
	}
	if err == nil {
		err = checkUnnamed(store, tables)
	}
	if err != nil {
		bad = append(bad, badFile{name: badger.ManifestFilename, kind: manifestFile, why: err})
		tables = everyTable(store)
	}
	wrong, ends := checkTables(store, tables)
	bad = append(bad, wrong...)
	logs, _ := filepath.Glob(filepath.Join(store, "*.mem")) // the one error is of a bad pattern
	for _, path := range logs {
		b, err := readLog(path)
		if err == nil {
			err = checkLog(b)
		}
		if err != nil {
			bad = append(bad, badFile{name: filepath.Base(path), kind: logFile, why: err})
		}
	}
	return append(bad, checkSpare(store)...), ends
}

// checkSpare reads the files that keep Badger from opening, and have nothing in them: the
// registry of keys, as we encrypt nothing, the value log, which gets no value, what could be thrown
// away of that, and the number of a process that had the store.
func checkSpare(store string) (bad []badFile) {
	keys, err := badger.OpenKeyRegistry(badger.KeyRegistryOptions{Dir: store, ReadOnly: true}) // of none where there is no file
	if err == nil {
		err = keys.Close()
	}
	if err != nil {
		bad = append(bad, badFile{name: badger.KeyRegistryFileName, kind: spareFile, why: err})
	}
	logs, _ := filepath.Glob(filepath.Join(store, "*.vlog")) // the one error is of a bad pattern
	for _, path := range logs {
		if err := checkValueLog(path); err != nil {
			bad = append(bad, badFile{name: filepath.Base(path), kind: spareFile, why: err})
		}
	}
	for _, name := range []string{discardName, badgerLockName} {
		if err := checkOpens(filepath.Join(store, name)); err != nil {
			bad = append(bad, badFile{name: name, kind: spareFile, why: err})
		}
	}
	return bad
}

// Names of files that Badger keeps to itself.
const (
	discardName    = "DISCARD"
	badgerLockName = "LOCK"
)

var errNoFile = errors.New("it is a directory, or something else that is no file")

// checkOpens finds out whether Badger can open a file, and read what it begins with, if it is there.
func checkOpens(path string) error {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular(): // to read some of these is to wait
		return errNoFile
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.ReadAt(make([]byte, 1), 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// keySize is how many bytes the number of a key takes, that a log of either kind begins with: there
// is none but zero.
const keySize = 8

var errEncrypted = errors.New("it says that it is encrypted")

// checkValueLog reads the key of a value log.
func checkValueLog(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	var key [keySize]byte
	if _, err := io.ReadFull(f, key[:]); err != nil {
		return err
	}
	if key != [keySize]byte{} {
		return errEncrypted
	}
	return nil
}

// checkTables reads all tables, side by side, and more than there are processors, which
// wait for the disk: they are most of what a start takes. It names each that is bad, in the
// order of their numbers.
func checkTables(store string, tables map[uint64]bool) (bad []badFile, ends map[uint64]tableEnds) {
	ids := slices.Sorted(maps.Keys(tables))
	wrong, found := make([]error, len(ids)), make([]tableEnds, len(ids))
	var group errgroup.Group
	group.SetLimit(3 * runtime.GOMAXPROCS(0))
	spare := sync.Pool{New: func() any { return new([]byte) }}
	for i, id := range ids {
		if !tables[id] {
			continue // a tool of Badger's has written it, which checks it: see checksums
		}
		group.Go(func() error {
			buf := spare.Get().(*[]byte)
			defer spare.Put(buf)
			found[i], wrong[i] = checkTable(filepath.Join(store, tableName(id)), buf)
			return nil // the others are read all the same
		})
	}
	_ = group.Wait() // none returns an error
	ends = map[uint64]tableEnds{}
	for i, err := range wrong {
		ends[ids[i]] = found[i]
		if err != nil {
			bad = append(bad, badFile{tableName(ids[i]), tableFile, ids[i], err})
		}
	}
	return bad, ends
}

func tableName(id uint64) string { return fmt.Sprintf("%06d%s", id, tableExt) }

var errDirectory = errors.New("it is a directory: move that away, and bring the file back")

// checkTable verifies a table, through buf.
func checkTable(path string, buf *[]byte) (ends tableEnds, err error) {
	f, err := os.Open(path)
	if err != nil {
		return ends, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return ends, err
	}
	if info.IsDir() {
		return ends, errDirectory
	}
	return checkBlocks(f, info.Size(), buf)
}

// checkBlocks verifies the footer, the index and each block of a table of left bytes, each of
// which ends with its checksum and the length of that. It reads block by block into buf, which is
// used again: a table may be a large part of what a sidecar has of memory.
func checkBlocks(f io.ReaderAt, left int64, buf *[]byte) (ends tableEnds, err error) {
	index, err := readIndex(f, left)
	if err != nil {
		return ends, err
	}
	left -= index.bytes // without what has been read from its end
	ends.index = left
	root := fb.GetRootAsTableIndex(index.data, 0)
	for n := range root.OffsetsLength() {
		var at fb.BlockOffset
		if !root.Offsets(&at, n) || int64(at.Offset())+int64(at.Len()) > left {
			return ends, fmt.Errorf("block %d is not in it", n)
		}
		ends.last = int64(at.Offset())
		*buf = slices.Grow((*buf)[:0], int(at.Len()))[:at.Len()]
		if _, err := f.ReadAt(*buf, int64(at.Offset())); err != nil {
			return ends, fmt.Errorf("block %d: %w", n, err)
		}
		block, sum, err := cutSum(*buf)
		if err != nil {
			return ends, fmt.Errorf("block %d: %w", n, err)
		}
		if !matches(block, sum) {
			return ends, fmt.Errorf("the checksum of block %d is wrong", n)
		}
	}
	return ends, nil
}

// tableIndex is the index of a table, and how much it takes with its lengths and checksum.
type tableIndex struct {
	data  []byte
	bytes int64
}

// readIndex reads it off the end of a table, where there are in turn the index, its length,
// its checksum and the length of that.
func readIndex(f io.ReaderAt, size int64) (t tableIndex, err error) {
	const most = 64 // bytes of a checksum, with all lengths: one has about ten
	end := make([]byte, min(size, most))
	if _, err := f.ReadAt(end, size-int64(len(end))); err != nil {
		return t, err
	}
	b, sum, err := cutSum(end)
	if err != nil {
		return t, fmt.Errorf("footer: %w", err)
	}
	if len(b) < 4 {
		return t, errors.New("it has no index")
	}
	length := int64(binary.BigEndian.Uint32(b[len(b)-4:]))
	ends := size - int64(len(end)-len(b)) - 4
	if length > ends {
		return t, errors.New("its index is longer than the table")
	}
	t = tableIndex{make([]byte, length), size - ends + length}
	if _, err := f.ReadAt(t.data, ends-length); err != nil {
		return t, err
	}
	if len(t.data) == 0 || !matches(t.data, sum) { // the checksum of nothing is zero, like a footer that was lost
		return t, errors.New("the checksum of its index is wrong")
	}
	return t, nil
}

// cutSum takes a checksum off the end of what it is of.
func cutSum(b []byte) (of []byte, sum *pb.Checksum, err error) {
	if len(b) < 4 {
		return nil, nil, errors.New("too short for a checksum")
	}
	length := binary.BigEndian.Uint32(b[len(b)-4:])
	if b = b[:len(b)-4]; uint64(length) > uint64(len(b)) {
		return nil, nil, errors.New("its checksum is longer than all of it")
	}
	sum = &pb.Checksum{}
	if err := proto.Unmarshal(b[len(b)-int(length):], sum); err != nil {
		return nil, nil, fmt.Errorf("its checksum cannot be read: %w", err)
	}
	return b[:len(b)-int(length)], sum, nil
}

// matches compares with the one kind of checksum that Badger writes for us: it panics at
// one that it does not know.
func matches(b []byte, sum *pb.Checksum) bool {
	return sum.Algo == pb.Checksum_CRC32C && sum.Sum == uint64(crc32.Checksum(b, castagnoli))
}
