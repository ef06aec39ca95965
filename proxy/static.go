package proxy

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"

	"pannier/outbound"
	"pannier/proxy/api"
)

const (
	// rereadEvery covers what the watch cannot see: a symlink into another
	// directory, a directory that was replaced, no inotify at all.
	rereadEvery = 30 * time.Second
	// settleFor lets an editor that truncates and then writes finish.
	settleFor = 50 * time.Millisecond
)

// peersFile is the directory of endpoints for a sidecar without a control
// plane: a YAML file, watched.
//
//	agents:
//	  agent://acme/prod/billing: ["10.0.0.7:7401", "10.0.0.8:7401"]
//
// The last good content stays in force whatever becomes of the file. Without
// a file the directory is known and empty.
type peersFile struct {
	path string
	log  *slog.Logger

	mu struct {
		sync.Mutex
		self    []string // addresses that are this sidecar, normalized
		agents  map[string][]string
		changed chan struct{} // closed at the next change
		seen    [sha256.Size]byte
		absent  bool
	}
}

var _ outbound.Directory = (*peersFile)(nil)

// openPeers reads the file for the first time, when an error is one of
// configuration. An empty path is no file.
func openPeers(path string, log *slog.Logger) (*peersFile, error) {
	f := &peersFile{path: path, log: log}
	f.mu.changed = make(chan struct{})
	if path == "" {
		return f, nil
	}
	text, err := readBounded(path)
	if err != nil {
		return nil, fmt.Errorf("peers: %w; make the file or leave the setting out", err)
	}
	if f.mu.agents, err = parsePeers(path, text); err != nil {
		return nil, err
	}
	f.mu.seen = sha256.Sum256(text)
	return f, nil
}

// iAm says which addresses in the file are this sidecar's own. Nobody dials
// itself: what this sidecar serves it takes without a wire.
func (f *peersFile) iAm(addresses ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range addresses {
		f.mu.self = append(f.mu.self, normalize(a))
	}
}

// Endpoints implements outbound.Directory.
func (f *peersFile) Endpoints(agent string) (eps []outbound.Endpoint, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.mu.agents[agent] {
		if !slices.Contains(f.mu.self, a) {
			eps = append(eps, outbound.Endpoint{Address: a})
		}
	}
	return eps, true
}

// Changed implements outbound.Directory.
func (f *peersFile) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.changed
}

// elsewhere reports whether an agent lives at other sidecars and not here.
func (f *peersFile) elsewhere(agent string) (elsewhere, known bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.mu.agents[agent]
	here := slices.ContainsFunc(all, func(a string) bool { return slices.Contains(f.mu.self, a) })
	return len(all) > 0 && !here, true
}

// Run watches the file until ctx ends. It watches the directory: a file that
// is replaced by rename, as editors and Kubernetes do it, takes a watch on
// itself along.
func (f *peersFile) Run(ctx context.Context) error {
	if f.path == "" {
		<-ctx.Done()
		return nil
	}
	events, watch, done := f.watch()
	defer done()
	f.reread() // what was written since openPeers

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
func (f *peersFile) watch() (events <-chan fsnotify.Event, again func(), done func()) {
	nothing := func() {}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		f.log.Warn("peers file is not watched, only read again from time to time", "path", f.path, "every", rereadEvery, "err", err)
		return nil, nothing, nothing
	}
	again = func() { w.Add(filepath.Dir(f.path)) } // a directory that is gone is tried again at the next tick
	if err := w.Add(filepath.Dir(f.path)); err != nil {
		f.log.Warn("peers file is not watched, only read again from time to time", "path", f.path, "every", rereadEvery, "err", err)
	}
	drained := make(chan struct{})
	go func() { // an overflow of the queue is made good by the next re-read; ends when the watcher is closed
		defer close(drained)
		for range w.Errors {
		}
	}()
	return w.Events, again, func() { w.Close(); <-drained }
}

// reread takes over what the file says now. A content that was already
// looked at, good or bad, is not looked at again.
func (f *peersFile) reread() {
	text, err := readBounded(f.path)
	if err != nil {
		f.mu.Lock()
		first := !f.mu.absent
		f.mu.absent = true
		f.mu.Unlock()
		if first {
			f.log.Error("peers file cannot be read, the last good one stays in force", "path", f.path, "err", err)
		}
		return
	}
	sum := sha256.Sum256(text)
	f.mu.Lock()
	known := f.mu.seen == sum
	f.mu.seen, f.mu.absent = sum, false
	f.mu.Unlock()
	if known {
		return
	}
	agents, err := parsePeers(f.path, text)
	if err != nil {
		f.log.Error("peers file is wrong, the last good one stays in force", "path", f.path, "err", err)
		return
	}
	f.mu.Lock()
	f.mu.agents = agents
	close(f.mu.changed)
	f.mu.changed = make(chan struct{})
	f.mu.Unlock()
	f.log.Info("peers file read", "path", f.path, "agents", len(agents))
}

// readBounded reads a file of at most maxFile bytes, and one byte more of a
// larger one, which parseMapping refuses.
func readBounded(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(io.LimitReader(file, maxFile+1))
}

// parsePeers reads the content of a peers file: address to endpoints, in the
// file's order. All that is wrong is reported at once.
func parsePeers(file string, text []byte) (map[string][]string, error) {
	top, err := parseMapping(file, text)
	if err != nil {
		return nil, err
	}
	if len(top) == 0 {
		// Half of a file that is just being written must not empty the directory.
		return nil, &FileError{file, 1 + bytes.Count(text, []byte("\n")), 1, "", `the file is empty, want "agents:"`}
	}
	agents := map[string][]string{}
	var errs []error
	for _, e := range top {
		if e.key != "agents" {
			errs = append(errs, errorAt(file, e.at, e.key, `not a setting of a peers file, want "agents"`))
			continue
		}
		list, err := entriesOf(file, e.value)
		if err != nil {
			errs = append(errs, errorAt(file, e.value.GetToken(), e.key,
				fmt.Sprintf("got %s, want a mapping of addresses to lists of HOST:PORT", kindOf(e.value))))
			continue
		}
		for _, a := range list {
			errs = append(errs, addPeers(file, a, agents))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return agents, nil
}

// addPeers reads one line of the file: an address and its endpoints.
func addPeers(file string, a entry, agents map[string][]string) error {
	agent, err := api.Address(a.key)
	if err != nil {
		return errorAt(file, a.at, a.key, err.Error())
	}
	if _, twice := agents[agent]; twice {
		return errorAt(file, a.at, a.key, "this address is listed twice")
	}
	items, err := stringsOf(file, a.key, a.value)
	if err != nil {
		return err
	}
	endpoints := make([]string, 0, len(items))
	for _, item := range items {
		if err := checkHostPort(item.key); err != nil {
			return errorAt(file, item.at, a.key, err.Error())
		}
		endpoint := normalize(item.key)
		if slices.Contains(endpoints, endpoint) {
			return errorAt(file, item.at, a.key, fmt.Sprintf("%s is listed twice", item.key))
		}
		endpoints = append(endpoints, endpoint)
	}
	agents[agent] = endpoints
	return nil
}

// normalize makes two spellings of one address equal: a host is compared
// without regard to case, and localhost is 127.0.0.1.
func normalize(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	host = strings.ToLower(host)
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip := net.ParseIP(host); ip != nil {
		host = ip.String()
	}
	return net.JoinHostPort(host, port)
}
