package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"math"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// A log of Badger's has a header of 20 bytes and then entries, each with a checksum; the
// last entry of a transaction says so. Where an entry cannot be read Badger takes that for
// the end. It is the end only if the process, or its host, stopped while it wrote there:
// then nobody was told of that transaction, because each is synced before the next is
// written. What tells that from a wrong bit:
//
//   - The end of a later transaction is there: what came before it had been synced.
//   - Its own end is there, and no sector of the disk before that is missing. A process
//     that is killed leaves no hole; a power cut leaves one where a sector was not written.
//   - What cannot be read is that end, whole but for a byte or two.
const (
	logHeader = 20
	logTxn    = 1 << 6 // in an entry's first byte: it is of a transaction
	logEnd    = 1 << 7 // the last of one
	logSector = 512
	logKeyMax = 1 << 16
)

var logEndKey = []byte("!badger!txn")

var errLogDamaged = errors.New("a transaction that was synced cannot be read")

// readLog reads a log as far as anything has been written. What follows is a hole, which reads
// as zeros: of a log of sixteen megabytes it is nearly all, and to read it would be a quarter of
// what a start after a kill takes.
func readLog(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.IsDir() {
		return nil, cmp.Or(err, errDirectory)
	}
	end, err := endOfData(f)
	if err != nil {
		return nil, err
	}
	b := make([]byte, end)
	_, err = f.ReadAt(b, 0)
	return b, err
}

// endOfData is where the hole begins that a file ends with; where it ends with none, or its
// volume knows of none, that is its end.
func endOfData(f *os.File) (end int64, err error) {
	for {
		data, err := f.Seek(end, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO): // there is no more
			return end, nil
		case err != nil:
			return f.Seek(0, io.SeekEnd)
		}
		if end, err = f.Seek(data, unix.SEEK_HOLE); err != nil {
			return f.Seek(0, io.SeekEnd)
		}
	}
}

type logEntry struct {
	meta       byte
	key, value []byte
	next       int // where the one after it begins
}

// readLogEntry reads the entry at an offset; ok is false where there is none that is whole.
func readLogEntry(b []byte, at int) (e logEntry, ok bool) {
	h, ok := readLogHead(b, at)
	if !ok || h.end+4 > len(b) || binary.BigEndian.Uint32(b[h.end:]) != crc32.Checksum(b[at:h.end], castagnoli) {
		return e, false
	}
	return logEntry{meta: b[at], key: b[h.key:h.value], value: b[h.value:h.end], next: h.end + 4}, true
}

// logHead says where an entry has its key, its value and the end of that, which its checksum
// follows.
type logHead struct{ key, value, end int }

// readLogHead reads the lengths that the entry at an offset begins with; ok is false where there
// are none. Its end may lie behind all there is.
func readLogHead(b []byte, at int) (h logHead, ok bool) {
	if at+2 > len(b) {
		return h, false
	}
	p := at + 2
	var lengths [3]uint64 // of the key, of the value, and the time it expires
	for i := range lengths {
		v, n := binary.Uvarint(b[p:])
		if n <= 0 {
			return h, false
		}
		lengths[i], p = v, p+n
	}
	if lengths[0] > logKeyMax || lengths[1] > uint64(len(b)) {
		return h, false
	}
	k := p + int(lengths[0])
	return logHead{key: p, value: k, end: k + int(lengths[1])}, true
}

// version is the transaction that wrote an entry.
func (e logEntry) version() uint64 { return versionOf(e.key) }

func versionOf(key []byte) uint64 {
	if len(key) < 8 {
		return 0
	}
	return math.MaxUint64 - binary.BigEndian.Uint64(key[len(key)-8:])
}

// checkLog tells a log that a crash has cut from one that is damaged.
func checkLog(b []byte) error {
	if len(b) >= keySize && [keySize]byte(b) != [keySize]byte{} {
		return errEncrypted
	}
	at, under := logHeader, uint64(0) // the transaction that the entry at at is of; 0: not known
	inside := false
	for {
		e, ok := readLogEntry(b, at)
		if !ok {
			break
		}
		v := e.version()
		if inside && v != under {
			return errLogDamaged
		}
		at, under, inside = e.next, v, true
		if e.meta&(logTxn|logEnd) != logTxn {
			under, inside = v+1, false
		}
	}
	if at >= len(b) {
		return nil
	}
	rest := bytes.TrimRight(b[at:], "\x00")
	switch ends := logEnds(rest); {
	case len(ends) > 1, len(ends) == 1 && under != 0 && ends[0].version != under,
		len(ends) == 1 && !hole(b, at, at+ends[0].at),
		nearly(rest, endOfTransaction(under)):
		return errLogDamaged
	}
	return nil
}

type foundEnd struct {
	at      int
	version uint64
}

// logEnds finds whole ends of transactions. Their head is five bytes, so the key says where
// they begin.
func logEnds(b []byte) (ends []foundEnd) {
	const head = 5
	for from := 0; ; {
		i := bytes.Index(b[from:], logEndKey)
		if i < 0 {
			return ends
		}
		at := from + i - head
		if from += i + len(logEndKey); at < 0 {
			continue
		}
		if e, _ := readLogEntry(b, at); e.meta&logEnd != 0 {
			ends = append(ends, foundEnd{at, e.version()})
		}
	}
}

// hole reports whether a sector between two offsets is missing: all zero, as the file was
// before it was written.
func hole(b []byte, from, to int) bool {
	for at := from; at < to; {
		end := min((at/logSector+1)*logSector, to)
		if len(bytes.TrimRight(b[at:end], "\x00")) == 0 {
			return true
		}
		at = end
	}
	return false
}

// endOfTransaction is the entry that ends one.
func endOfTransaction(version uint64) []byte {
	value := strconv.FormatUint(version, 10)
	b := []byte{logEnd, 0, byte(len(logEndKey) + 8), byte(len(value)), 0}
	b = binary.BigEndian.AppendUint64(append(b, logEndKey...), math.MaxUint64-version)
	b = append(b, value...)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// nearly reports whether what is there is what was to be, but for at most two bytes that
// are not its last: those may not have been written yet.
func nearly(is, want []byte) bool {
	if len(is) > len(want) {
		return false
	}
	is = append(bytes.Clone(is), make([]byte, len(want)-len(is))...) // a checksum may end with zeros
	wrong, last := 0, 0
	for i := range want {
		if is[i] != want[i] {
			wrong, last = wrong+1, i
		}
	}
	return wrong <= 2 && (last < len(want)-2 || is[last] != 0)
}
