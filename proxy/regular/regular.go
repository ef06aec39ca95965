// Package regular opens what an operator names as a file, if it is one. A named pipe
// would hold up whoever opens it until somebody writes, for ever at a start, and a
// device has no end.
package regular

import (
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// Open opens a regular file for reading, or a symbolic link to one. It never waits.
func Open(path string) (*os.File, error) {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is %s, want a regular file", path, kindOf(info.Mode()))
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func kindOf(mode fs.FileMode) string {
	switch {
	case mode.IsDir():
		return "a directory"
	case mode&fs.ModeNamedPipe != 0:
		return "a named pipe"
	}
	return "a device or socket"
}

// Private refuses a file of secrets that others can read or change. Where another
// user owns it, as of a secret that Kubernetes mounts for a group, the group is
// how this process reads it.
func Private(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	open := info.Mode().Perm() & 0o077
	if s, ok := info.Sys().(*syscall.Stat_t); ok && int(s.Uid) != os.Geteuid() {
		open &^= 0o040
	}
	if open != 0 {
		return fmt.Errorf("%s has mode %04o, and others could read or change it: chmod 600", path, info.Mode().Perm())
	}
	return nil
}
