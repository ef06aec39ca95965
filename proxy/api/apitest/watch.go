package apitest

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"testing"
)

const (
	// maxFindings is how many a test shows: one mistake is often found a thousand times.
	maxFindings = 5
	// Of a flood of one kind the first exchanges are judged, and then some: judging
	// takes as long as answering.
	floodFrom  = 200
	floodEvery = 64
)

// Watch returns a transport that holds every exchange to the description. What
// it finds fails the test at its end, also where the test itself did not look.
func Watch(t testing.TB, through http.RoundTripper) http.RoundTripper {
	t.Helper()
	d, err := Load()
	if err != nil {
		t.Fatal(err)
	}
	w := &watcher{description: d, through: through}
	w.mu.seen = map[string]int{}
	t.Cleanup(func() {
		for _, err := range w.findings() {
			t.Error(err)
		}
	})
	return w
}

type watcher struct {
	description *Description
	through     http.RoundTripper

	mu struct {
		sync.Mutex
		found []error
		seen  map[string]int // by route and status
	}
}

func (w *watcher) findings() []error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.mu.found
}

func (w *watcher) check(x *Exchange) {
	if !w.turn(w.description.kind(x)) {
		return
	}
	err := w.description.Check(x)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil && len(w.mu.found) < maxFindings {
		w.mu.found = append(w.mu.found, err)
	}
}

// turn reports whether one more exchange of a kind is judged.
func (w *watcher) turn(kind string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.mu.seen[kind]++
	n := w.mu.seen[kind]
	return n <= floodFrom || n%floodEvery == 0
}

// CloseIdleConnections is what http.Client asks a transport for.
func (w *watcher) CloseIdleConnections() {
	if c, ok := w.through.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// RoundTrip checks an exchange when the answer has been read to its end, or a
// stream has been closed.
func (w *watcher) RoundTrip(r *http.Request) (*http.Response, error) {
	x := &Exchange{Request: r}
	if r.Body != nil {
		sent, err := io.ReadAll(r.Body)
		_ = r.Body.Close()
		if err != nil {
			return nil, err
		}
		x.Sent = sent
		r = r.Clone(r.Context())
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	res, err := w.through.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	x.Status, x.Header = res.StatusCode, res.Header.Clone()
	stream := x.Header.Get("Content-Type") == "text/event-stream"
	res.Body = &overheard{ReadCloser: res.Body, done: func(read []byte, whole bool) {
		if x.Body = read; whole || stream {
			w.check(x)
		}
	}}
	return res, nil
}

// maxOverheard bounds what is kept of a stream: its first frames stand for it.
const maxOverheard = 4 << 20

// overheard is a body that tells what was read of it.
type overheard struct {
	io.ReadCloser
	read  bytes.Buffer
	whole bool
	once  sync.Once
	done  func(read []byte, whole bool)
}

func (o *overheard) Read(p []byte) (int, error) {
	n, err := o.ReadCloser.Read(p)
	if o.read.Len() < maxOverheard {
		o.read.Write(p[:n])
	}
	if err == io.EOF {
		o.whole = true
		o.tell()
	}
	return n, err
}

func (o *overheard) Close() error {
	err := o.ReadCloser.Close()
	o.tell()
	return err
}

func (o *overheard) tell() {
	o.once.Do(func() { o.done(o.read.Bytes(), o.whole && o.read.Len() < maxOverheard) })
}
