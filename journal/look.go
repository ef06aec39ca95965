package journal

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// copyToLook makes a directory in which the store of a stopped journal can be opened
// without changing it: opening it to read alone is refused after an unclean stop, and any
// other open moves what is in the logs into tables. Tables are never written to once they
// are there, so those are linked to, and the copy is of tens of megabytes at most; it is
// made where temporary files go (TMPDIR), if that has room for it and for those tables.
//
// What another takes of that room once it has been looked for, while the store makes a table,
// ends the process by SIGBUS in a goroutine of the store, which nobody can catch: the journal is
// as it was, and the copy stays.
func copyToLook(store string) (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "pannier-verify-")
	if err != nil {
		return "", nil, inTemp(fmt.Errorf("make a directory to look at a copy in: %w", err))
	}
	remove = func() { os.RemoveAll(dir) } // it is in a place for what may be left
	err = hasRoomToLook(store, dir)
	if err == nil {
		err = copyFiles(store, dir)
	}
	if err != nil {
		remove()
		return "", nil, fmt.Errorf("copy what is to be verified: %w", err)
	}
	return dir, remove, nil
}

// errTemp is of an error of where temporary files go.
var errTemp = errors.New("temporary files go to")

// inTemp says of an error that it is one of there, and where that is.
func inTemp(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w (%w %s, see TMPDIR)", err, errTemp, os.TempDir())
}

// hasRoomToLook refuses a copy of a store where there is too little room for it in a directory,
// or for what the store makes of it.
func hasRoomToLook(store, in string) error {
	takes, err := roomToLook(store)
	if err != nil {
		return err
	}
	return hasRoomFor(takes, in)
}

func hasRoomFor(takes room, in string) error {
	free, total, ok := statfs(in)
	switch {
	case !ok: // a copy for which there is none fails by itself
		return nil
	case free.bytes < takes.bytes:
		return inTemp(fmt.Errorf("%w: %s are needed, also for what the store makes of its logs, and %s are left", unix.ENOSPC, mebibytes(takes.bytes+mib-1), mebibytes(free.bytes)))
	case total.inodes > 0 && free.inodes < takes.inodes:
		return inTemp(fmt.Errorf("%w: %d files (inodes) are needed, and %d can be made", unix.ENOSPC, takes.inodes, free.inodes))
	}
	return nil
}

// storeMakes is how many files a store makes when it is opened, beside a table of each log.
const storeMakes = 8

// roomToLook is how much room a copy of a store takes, and the tables that are made of its logs.
func roomToLook(store string) (takes room, err error) {
	entries, err := os.ReadDir(store)
	if err != nil {
		return takes, err
	}
	var logs int64
	takes.inodes = storeMakes
	for _, e := range entries {
		takes.inodes++
		if path := filepath.Join(store, e.Name()); e.Type().IsRegular() && !isLinked(path) {
			n, err := nonZero(path)
			if err != nil {
				return takes, err
			}
			takes.bytes += n
			if filepath.Ext(path) == ".mem" {
				logs += n
				takes.inodes++
			}
		}
	}
	takes.bytes += tablesOf(logs)
	return takes, nil
}

// isLinked reports whether a file of a store is only linked to: a table that may be written to, as
// the store asks for no less.
func isLinked(path string) bool {
	return filepath.Ext(path) == tableExt && unix.Access(path, unix.W_OK) == nil
}

func copyFiles(store, to string) error {
	store, err := filepath.Abs(store)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(store)
	if err != nil {
		return err
	}
	for _, e := range entries {
		from, at := filepath.Join(store, e.Name()), filepath.Join(to, e.Name())
		switch {
		case e.IsDir(): // where a file is to be it is said to be one
			err = inTemp(os.Mkdir(at, 0o700))
		case !e.Type().IsRegular():
			continue
		case isLinked(from):
			err = inTemp(os.Symlink(from, at))
		default:
			err = copySparse(from, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const tableExt = ".sst"

// copySparse copies a file and leaves out what is zero: logs are sixteen megabytes of
// which little is written.
func copySparse(from, to string) error {
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return inTemp(err)
	}
	size, err := eachNonZero(from, func(b []byte, at int64) error {
		_, err := out.WriteAt(b, at)
		return inTemp(err)
	})
	return errors.Join(err, inTemp(out.Truncate(size)), inTemp(out.Close()))
}

// nonZero is how many bytes of a file copySparse copies.
func nonZero(path string) (bytes int64, err error) {
	if filepath.Ext(path) == tableExt { // which has no holes, and may be many gigabytes with others
		info, err := os.Stat(path)
		if err != nil {
			return 0, err
		}
		return info.Size(), nil
	}
	_, err = eachNonZero(path, func(b []byte, _ int64) error {
		bytes += int64(len(b))
		return nil
	})
	return bytes, err
}

// eachNonZero visits the parts of a file that are not zero.
func eachNonZero(path string, visit func(b []byte, at int64) error) (size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	buf, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(f, buf)
		if !bytes.Equal(buf[:n], zero[:n]) {
			if err := visit(buf[:n], size); err != nil {
				return size, err
			}
		}
		size += int64(n)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return size, nil
		case err != nil:
			return size, err
		}
	}
}
