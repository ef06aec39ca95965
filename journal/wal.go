package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// wal is the log of Badger's memtable, as the committer sees it. Badger writes it
// through a mapping; what is in that is in the page cache of the file, and a sync of
// any descriptor of the file makes it durable, like msync (fsync(2), mmap(2)).
//
// We sync it ourselves because Badger, asked to sync its writes, syncs its value log
// before, which has nothing in it: each commit then waits for two flushes of the disk,
// one after the other (2.1 ms instead of 1.0 where one takes 1.0).
//
// Why the newest file is the right one: a commit is one request to Badger, which
// rotates the memtable before it writes a request and at no other time, so that a
// request is in one memtable whole. There is one committer, and it syncs each commit
// before it makes the next: what is in older files was synced when they were new.
// (DB.Sync would not do: it syncs the value log too, and is no part of a commit.)
type wal struct {
	dir   string
	no    int // of the memtable
	file  *os.File
	path  string
	is    unix.Stat_t
	again func(open func() error) error // opens, and tries again where it may
}

// sync makes durable what was committed last.
func (w *wal) sync() error {
	newest, err := memtableAfter(w.dir, w.no)
	if err != nil {
		return err
	}
	if newest != w.no || w.file == nil {
		if err := w.again(func() error { return w.open(newest) }); err != nil {
			return err
		}
	}
	if err := uninterrupted(func() error { return unix.Fdatasync(int(w.file.Fd())) }); err != nil {
		return err
	}
	return w.stillThere()
}

// uninterrupted calls the system again where a signal has ended the call, as the runtime's do on
// some file systems: that is no failure of the disk.
func uninterrupted(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// open goes on to another file. Badger creates them without syncing the directory: if
// we crash before that is done, nothing in the file was acknowledged.
func (w *wal) open(no int) error {
	path := filepath.Join(w.dir, fmt.Sprintf("%05d.mem", no))
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	w.close()
	w.no, w.file, w.path = no, f, path
	return errors.Join(unix.Fstat(int(f.Fd()), &w.is), syncDir(w.dir))
}

// stillThere finds out a log that somebody has removed, or moved with its directory: it would
// take commits for as long as we run, and no start would find them. It comes after the sync: xfs
// tells one that is under way while it shuts itself down that all went well (Linux 6.18: 8 of
// 120 times, and what was synced was gone), and an error to who looks at a file from then on.
func (w *wal) stillThere() error {
	var is unix.Stat_t
	if err := unix.Stat(w.path, &is); err != nil {
		return fmt.Errorf("the log that is written to, %s, is gone, or its volume: %w", w.path, err)
	}
	if is.Dev != w.is.Dev || is.Ino != w.is.Ino {
		return fmt.Errorf("the log that is written to, %s, is another file by now", w.path)
	}
	return nil
}

func (w *wal) close() {
	if w.file != nil {
		w.file.Close() // it was only synced: there is nothing to lose
		w.file = nil
	}
}
