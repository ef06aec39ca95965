// Package watch reads files of the operator's again whenever they change: the
// last good content stays in force whatever becomes of a file.
package watch

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fsnotify/fsnotify"

	"pannier/proxy/regular"
	"pannier/proxy/yaml"
)

const (
	// rereadEvery covers what the watch cannot see: a symlink into another
	// directory, a directory that was replaced, no inotify at all.
	rereadEvery = 30 * time.Second
	// settleFor lets an editor that truncates and then writes finish.
	settleFor = 50 * time.Millisecond
)

// File is one such file.
type File struct {
	Key  string // the setting that names it
	Kind string // begins each line of the log
	Path string // empty: there is none
	Log  *slog.Logger
	// Take checks a content and, where it is good, makes it the one in force.
	// It returns what to log of it, never what may be secret.
	Take func(text []byte) ([]any, error)
	// Missing, where it is set, hears that the file cannot be read any more. Once it can,
	// Take is called even if it says what it said.
	Missing func(error)

	mu struct {
		sync.Mutex
		seen    [sha256.Size]byte
		refused string // how the file stood when what was seen was refused; empty: it was taken
		absent  bool
	}
}

// Open reads the file for the first time, when an error is one of
// configuration.
func (f *File) Open() error {
	if f.Path == "" {
		return nil
	}
	text, err := ReadBounded(f.Path)
	if err != nil {
		return fmt.Errorf("%s: %w; make the file or leave the setting out", f.Key, err)
	}
	f.mu.seen = sha256.Sum256(text)
	_, err = f.Take(text)
	return err
}

// Run watches the file until ctx ends. It watches the directory: a file that
// is replaced by rename, as editors and Kubernetes do it, takes a watch on
// itself along.
func (f *File) Run(ctx context.Context) error {
	if f.Path == "" {
		<-ctx.Done()
		return nil
	}
	events, watch, done := f.watch()
	defer done()
	f.reread() // what was written since open

	tick := time.NewTicker(rereadEvery)
	defer tick.Stop()
	settle := time.NewTimer(0)
	<-settle.C
	pending := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-events:
			// Any event of the directory: a ConfigMap changes under another name.
			// The timer is not pushed back, or a busy directory would hide the change.
			if !pending {
				settle.Reset(settleFor)
				pending = true
			}
		case <-settle.C:
			pending = false
			f.reread()
		case <-tick.C:
			watch()
			f.reread()
		}
	}
}

// watch starts watching the directory. Without inotify (its limits are per
// user, and shared with everything else) the re-read goes on alone.
func (f *File) watch() (events <-chan fsnotify.Event, again func(), done func()) {
	nothing := func() {}
	unwatched := func(err error) {
		f.Log.Warn(f.Kind+" is not watched, only read again from time to time", "path", f.Path, "every", rereadEvery, "err", err)
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		unwatched(err)
		return nil, nothing, nothing
	}
	again = func() { w.Add(filepath.Dir(f.Path)) } // a directory that is gone is tried again at the next tick
	if err := w.Add(filepath.Dir(f.Path)); err != nil {
		unwatched(err)
	}
	go func() { // an overflow of the queue is made good by the next re-read; ends when the watcher is closed
		for range w.Errors {
		}
	}()
	// Nobody waits for the kernel: it takes as long as it likes to close an inotify instance.
	return w.Events, again, func() { go w.Close() }
}

// reread takes over what the file says now. A content that was already looked at,
// good or bad, is not looked at again, unless it was refused and the file stands
// otherwise now: its mode may have been what was wrong.
func (f *File) reread() {
	text, stands, err := read(f.Path)
	if err != nil {
		f.mu.Lock()
		first := !f.mu.absent
		f.mu.absent = true
		if f.Missing != nil {
			f.mu.seen = [sha256.Size]byte{}
		}
		f.mu.Unlock()
		if first && f.Missing != nil {
			f.Missing(err)
		}
		if first {
			f.Log.Error(f.Kind+" cannot be read, the last good one stays in force", "path", f.Path, "err", err)
		}
		return
	}
	sum := sha256.Sum256(text)
	f.mu.Lock()
	known := f.mu.seen == sum && (f.mu.refused == "" || f.mu.refused == stands)
	f.mu.seen, f.mu.absent = sum, false
	f.mu.Unlock()
	if known {
		return
	}
	said, err := f.Take(text)
	f.mu.Lock()
	f.mu.refused = ""
	if err != nil {
		f.mu.refused = stands
	}
	f.mu.Unlock()
	if err != nil {
		f.Log.Error(f.Kind+" is wrong, the last good one stays in force", "path", f.Path, "err", err)
		return
	}
	f.Log.Info(f.Kind+" read", append([]any{"path", f.Path}, said...)...)
}

// ReadBounded reads a file of at most yaml.MaxFile bytes, and one byte more of a
// larger one, which yaml.ParseMapping refuses.
func ReadBounded(path string) ([]byte, error) {
	text, _, err := read(path)
	return text, err
}

// read is ReadBounded, and who may do what with the file.
func read(path string) (text []byte, stands string, err error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, "", err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, "", err
	}
	stands = info.Mode().String()
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		stands = fmt.Sprint(stands, " ", s.Uid, " ", s.Gid)
	}
	text, err = io.ReadAll(io.LimitReader(file, yaml.MaxFile+1))
	return text, stands, err
}
