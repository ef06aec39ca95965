package xds

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// disk is what keeping a file needs of one, in the order of use. What is written
// survives a crash once it is synced, a new name once its directory is.
type disk interface {
	Create(path string) (file, error) // empties what is there
	Rename(from, to string) error
	SyncDir(path string) error
	Read(path string, most int64) ([]byte, error)
}

type file interface {
	io.WriteCloser
	Sync() error
}

// replace makes a file have this content, or leaves what was there.
func replace(d disk, path string, content []byte) error {
	temporary := path + ".new"
	f, err := d.Create(temporary)
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		f.Close()
		return err
	}
	// Before the rename: else the name could outlive a crash that the content does
	// not. If we crash up to here, the file is the old one, and what there is of
	// the new one is overwritten next time.
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := d.Rename(temporary, path); err != nil {
		return err
	}
	// If we crash here the file is the old one or the new one, whole either way.
	return d.SyncDir(filepath.Dir(path))
}

type osDisk struct{}

func (osDisk) Create(path string) (file, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
}

func (osDisk) Rename(from, to string) error { return os.Rename(from, to) }

func (osDisk) SyncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func (osDisk) Read(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("larger than %d bytes", most)
	}
	return content, err
}
