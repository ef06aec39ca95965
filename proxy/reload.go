package proxy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pannier/proxy/admin"
	"pannier/proxy/watch"
)

// configFile takes over from an edited config file what can change in a running
// sidecar (Setting.Live), and says what waits for a restart. A file that is wrong
// in any setting changes none.
type configFile struct {
	watch.File
	started *Options // with what the sidecar was started
	peers   *peersFile
	limits  atomic.Pointer[Limits] // in force: of them the live ones change

	mu struct {
		sync.Mutex
		fault   error     // of the file as it is now
		good    time.Time // when it was last taken
		waiting []string  // keys that differ from what the sidecar was started with
	}
}

func newConfigFile(o *Options, peers *peersFile) *configFile {
	f := &configFile{started: o, peers: peers, File: watch.File{Key: "config", Kind: "config file", Path: o.Config, Log: o.Log}}
	f.Take, f.Missing = f.take, f.missing
	f.limits.Store(&o.Limits)
	f.mu.good = time.Now()
	return f
}

func (f *configFile) missing(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mu.fault = err
}

func (f *configFile) take(text []byte) ([]any, error) {
	o, err := f.read(text)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mu.fault = err; err != nil {
		return nil, err
	}
	f.mu.waiting, f.mu.good = nil, time.Now()
	now := *f.started
	for _, s := range settings {
		switch {
		case !s.Live && !s.same(f.started, o):
			f.mu.waiting = append(f.mu.waiting, s.Key)
		case s.Live && s.nested == nil:
			if err := s.copy(&now, o); err != nil {
				return nil, err
			}
		}
	}
	f.limits.Store(&now.Limits)
	f.peers.configure(o.Policies)
	if len(f.mu.waiting) > 0 {
		return []any{"restart_for", strings.Join(f.mu.waiting, " ")}, nil
	}
	return nil, nil
}

// read gives the options of a sidecar that is started with the file as it is now
// and the same flags.
func (f *configFile) read(text []byte) (*Options, error) {
	o := DefaultOptions()
	o.Log, o.Version = f.started.Log, f.started.Version
	if _, err := parseConfig(f.Path, text, &o); err != nil {
		return nil, err
	}
	for _, s := range settings {
		if slices.Contains(f.started.Given, s.Key) {
			if err := s.copy(&o, f.started); err != nil {
				return nil, err
			}
		}
	}
	return &o, o.Validate()
}

// check is advice: the sidecar goes on with what it has.
func (f *configFile) check() admin.Check {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := admin.Check{Name: "config", OK: true, Advice: true}
	switch {
	case f.mu.fault != nil:
		c.OK, c.Detail = false, "the file is wrong, and what it said before is in force: "+f.mu.fault.Error()
	case len(f.mu.waiting) > 0:
		c.OK, c.Detail = false, fmt.Sprintf("%s changed in the file: restart the sidecar for that", strings.Join(f.mu.waiting, ", "))
	}
	return c
}

// figures say whether the file as it is now was taken, and when one last was.
func (f *configFile) figures() (ok bool, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.mu.fault == nil, f.mu.good
}

// same reports whether two sidecars have the same value of a setting.
func (s Setting) same(a, b *Options) bool {
	switch {
	case s.list != nil:
		return slices.Equal(s.list(a), s.list(b))
	case s.Field != nil:
		return reflect.DeepEqual(s.Field(a), s.Field(b))
	}
	return reflect.DeepEqual(s.nested(a), s.nested(b))
}

// copy sets the setting, which is a field or a list, to the value it has elsewhere.
func (s Setting) copy(to, from *Options) error {
	if s.list != nil {
		return s.setList(to, s.list(from))
	}
	reflect.ValueOf(s.Field(to)).Elem().Set(reflect.ValueOf(s.Field(from)).Elem())
	return nil
}
