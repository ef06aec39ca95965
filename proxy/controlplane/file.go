package controlplane

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"pannier/proxy/regular"
	"pannier/proxy/yaml"
)

const (
	// pollEvery is how often the files are looked at. A change counts when it has
	// stood still for one look: an editor, or a copy, may be in the middle of it.
	pollEvery = 250 * time.Millisecond
	// readEvery is how often they are read though nothing seems to have changed.
	readEvery = 30 * time.Second
	// notYet is how files look before the first look. A directory without any looks like nothing.
	notYet = "not yet looked at"
	// maxFiles bounds a directory.
	maxFiles = 1_000
)

// extensions are the files of a directory that are read. JSON is YAML.
var extensions = []string{".yaml", ".yml", ".json"}

// File is the source of what operators write: one file, or all of a directory.
// They are read as one whole and taken over as one; while anything in them is
// wrong, the last good state stays in force.
type File struct {
	path string
	log  *slog.Logger

	first Update // of the start
	seen  [sha256.Size]byte
	mu    struct {
		sync.Mutex
		trouble string
	}
}

// OpenFile reads a file or directory for the first time, when an error is one of
// configuration.
func OpenFile(path string, log *slog.Logger) (*File, error) {
	f := &File{path: path, log: log}
	texts, err := readAll(path)
	if err != nil {
		return nil, fmt.Errorf("file: %w", err)
	}
	f.seen = hashOf(texts)
	f.first, err = parseFiles(texts)
	return f, err
}

// Name implements Source.
func (f *File) Name() string { return "file" }

// Trouble implements Troubled.
func (f *File) Trouble() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.trouble
}

// Run implements Source.
func (f *File) Run(ctx context.Context, report func(Update)) error {
	report(f.first)
	look := time.NewTicker(pollEvery)
	defer look.Stop()
	taken, last := notYet, notYet // how the files looked when they were last read, and looked at
	read := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
		}
		now := looks(f.path)
		still := now == last
		last = now
		if still && now != taken || time.Since(read) >= readEvery {
			taken, read = now, time.Now()
			f.reread(report)
		}
	}
}

// reread takes over what the files say now. A content that was already looked at,
// good or bad, is not looked at again.
func (f *File) reread(report func(Update)) {
	texts, err := readAll(f.path)
	if err != nil {
		f.stay(err)
		return
	}
	sum := hashOf(texts)
	if sum == f.seen {
		f.stay(nil)
		return
	}
	if len(texts) == 0 {
		// A volume that is not mounted, most likely: half of a change must not empty the
		// world. Who means it leaves a file with "agents: {}".
		f.stay(fmt.Errorf("%s has no file of agents any more", f.path))
		return
	}
	update, err := parseFiles(texts)
	if err != nil {
		f.stay(err)
		f.seen = sum
		return
	}
	f.seen = sum
	f.stay(nil)
	f.log.Info("files read", "path", f.path, "files", len(texts), "agents", len(update.Services))
	report(update)
}

// stay says why the last good state stays in force, once; nil is that it need not.
func (f *File) stay(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if text != "" && text != f.mu.trouble {
		f.log.Error("files are wrong, the last good state stays in force", "path", f.path, "err", err)
	}
	f.mu.trouble = text
}

// content is one file.
type content struct {
	path string
	text []byte
}

// names are the files there are, in one order.
func names(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return []string{path}, nil
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, err
	}
	var files []string
	for _, e := range entries {
		// A ConfigMap's own files begin with two dots, an editor's with one.
		if strings.HasPrefix(e.Name(), ".") || !slices.Contains(extensions, filepath.Ext(e.Name())) {
			continue
		}
		if file := filepath.Join(path, e.Name()); isFile(file) {
			files = append(files, file)
		}
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("%s has %d files, at most %d are read", path, len(files), maxFiles)
	}
	return files, nil
}

// isFile follows links. What has gone meanwhile is read all the same, and missed.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().IsRegular()
}

// looks tells a state of the files from another without reading them.
func looks(path string) string {
	files, err := names(path)
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			fmt.Fprintln(&b, err)
			continue
		}
		fmt.Fprintln(&b, file, info.Size(), info.ModTime().UnixNano())
	}
	return b.String()
}

func readAll(path string) (texts []content, err error) {
	files, err := names(path)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := readBounded(file)
		if err != nil {
			return nil, err
		}
		texts = append(texts, content{file, text})
	}
	return texts, nil
}

// readBounded reads one byte more of a file that is too large, which is refused.
func readBounded(path string) ([]byte, error) {
	file, err := regular.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, yaml.MaxFile+1))
}

func hashOf(texts []content) [sha256.Size]byte {
	h := sha256.New()
	for _, c := range texts {
		fmt.Fprintf(h, "%q %d\n", c.path, len(c.text))
		h.Write(c.text)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// parseFiles makes one update of all files. All that is wrong is reported at once.
func parseFiles(texts []content) (Update, error) {
	p := &parser{places: map[string]string{}}
	var errs []error
	for _, c := range texts {
		errs = append(errs, p.file(c.path, c.text))
	}
	return p.update, errors.Join(errs...)
}
