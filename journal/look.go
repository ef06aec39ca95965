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
// made where temporary files go (TMPDIR).
func copyToLook(store string) (dir string, remove func(), err error) {
	dir, err = os.MkdirTemp("", "pannier-verify-")
	if err != nil {
		return "", nil, fmt.Errorf("make a directory to look at a copy in, see TMPDIR: %w", err)
	}
	remove = func() { os.RemoveAll(dir) } // it is in a place for what may be left
	if err := copyFiles(store, dir); err != nil {
		remove()
		return "", nil, fmt.Errorf("copy what is to be verified, see TMPDIR: %w", err)
	}
	return dir, remove, nil
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
			err = os.Mkdir(at, 0o700)
		case !e.Type().IsRegular():
			continue
		case filepath.Ext(e.Name()) == tableExt && unix.Access(from, unix.W_OK) == nil: // the store asks for no less
			err = os.Symlink(from, at)
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
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	size, err := copyNonZero(out, in)
	return errors.Join(err, out.Truncate(size), out.Close())
}

func copyNonZero(out io.WriterAt, in io.Reader) (size int64, err error) {
	buf, zero := make([]byte, 64<<10), make([]byte, 64<<10)
	for {
		n, err := io.ReadFull(in, buf)
		if !bytes.Equal(buf[:n], zero[:n]) {
			if _, err := out.WriteAt(buf[:n], size); err != nil {
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
