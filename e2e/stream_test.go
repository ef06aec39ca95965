package e2e_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"pannier/proxy/api/apitest"
)

// reading is an app on the stream of its agent, on a connection of its own,
// reading line by line.
type reading struct {
	t      testing.TB
	cancel context.CancelFunc
	frames chan frame // closed at the end of the response
}

type frame struct {
	event, id, data string
	at              time.Time
}

// read opens the stream of billing; query is what comes behind the path.
func (s *sidecar) read(query string) *reading {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, "GET", "http://"+s.api+agentPath(billing, "/intents/stream")+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	own := &http.Transport{}
	resp, err := own.RoundTrip(req)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		cancel()
		s.t.Fatalf("stream at %s: %v %v", s.set.name, resp, err)
	}
	r := &reading{t: s.t, cancel: cancel, frames: make(chan frame, 1000)}
	s.t.Cleanup(cancel)
	go func() {
		defer close(r.frames)
		defer own.CloseIdleConnections()
		defer resp.Body.Close()
		var f frame
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			name, value, _ := strings.Cut(lines.Text(), ": ")
			switch name {
			case "event":
				f.event = value
			case "id":
				f.id = value
			case "data":
				f.data = value
			case "":
				if f.event != "" {
					f.at = time.Now()
					r.frames <- f
				}
				f = frame{}
			}
		}
	}()
	return r
}

// next waits for the next frame, which must be a hand-over.
func (r *reading) next() (item, frame) {
	r.t.Helper()
	select {
	case f, ok := <-r.frames:
		if !ok || f.event != "intent.delivered" {
			r.t.Fatalf("want a hand-over, got %+v (open: %v)", f, ok)
		}
		return itemOf(r.t, f), f
	case <-time.After(time.Duration(number(r.t, "E2E_PATIENCE", 60)) * time.Second):
		r.t.Fatal("no frame came")
		return item{}, frame{}
	}
}

func itemOf(t testing.TB, f frame) (it item) {
	t.Helper()
	if err := json.Unmarshal([]byte(f.data), &it); err != nil || fmt.Sprint(it.Seq) != f.id {
		t.Errorf("frame %+v: %v", f, err)
	}
	return it
}

// ends waits for the end of the response, which must say stream.timeout.
func (r *reading) ends() {
	r.t.Helper()
	f := <-r.frames
	if f.event != "stream.timeout" {
		r.t.Fatalf("got %+v, want stream.timeout", f)
	}
	if f, open := <-r.frames; open {
		r.t.Fatalf("after stream.timeout came %+v", f)
	}
}

// TestStreamLog: what is posted elsewhere comes on the stream in the order of
// numbers, at once; what a lost connection carried comes again under its number
// on the next, and an answer without a lease ends it.
func TestStreamLog(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	app := holder.read("")
	began := time.Now()
	first := home.post(billing, map[string]any{"n": 0})
	it, f := app.next()
	t.Logf("figure: POST at home to its frame at the holder's app: %v", f.at.Sub(began).Round(100*time.Microsecond))
	if it.ID != first || it.Seq != 1 || string(it.Payload) != `{"n":0}` || it.Status != "DELIVERED" || it.DeliveryAttempt != 1 {
		t.Errorf("first frame %+v", it)
	}
	second := home.post(billing, map[string]any{"n": 1})
	if it, _ := app.next(); it.ID != second || it.Seq != 2 {
		t.Errorf("second frame %+v", it)
	}
	holder.takeNothing(billing, 1)
	app.cancel()
	again := holder.read("?since=0&wait_seconds=20")
	for n, id := range []string{first, second} {
		if it, _ := again.next(); it.ID != id || it.Seq != int64(n+1) || it.DeliveryAttempt != 1 || !it.Redelivered {
			t.Errorf("taken up: %+v, want %s under number %d", it, id, n+1)
		}
	}
	if _, open := <-again.frames; open {
		t.Error("a response with wait_seconds goes on after its batch")
	}
	if a := holder.resume(first, `{"action": "complete", "total": 3}`); a.code != 200 {
		t.Fatalf("resume: %v", a)
	}
	home.status(first, "COMPLETED")
	after := holder.read("?since=1")
	if it, _ := after.next(); it.ID != second {
		t.Errorf("after number 1: %+v", it)
	}
	holder.kill()
	holder.start()
	restarted := holder.read("?since=0")
	it, _ = restarted.next()
	if it.ID != second || it.Seq != 2 || it.DeliveryAttempt != 1 {
		t.Errorf("after a SIGKILL: %+v, want %s under number 2", it, second)
	}
	holder.ack(it, nil)
	home.status(second, "COMPLETED")
	third := home.post(billing, map[string]any{"n": 2})
	if it, _ := restarted.next(); it.ID != third || it.Seq <= 2 {
		t.Errorf("after the restart: %+v, want a higher number", it)
	}
	holder.ack(it, nil)
}

// TestStreamEndsInWords: with nothing to say it ends as AXP's clients expect,
// and so it does at a stop, which waits for no open stream.
func TestStreamEndsInWords(t *testing.T) {
	t.Parallel()
	s := start(t, setup{name: "alone", agents: []string{billing}})
	began := time.Now()
	s.read("?since=7&wait_seconds=1").ends()
	if took := time.Since(began); took < time.Second {
		t.Errorf("a wait of one second ended after %v", took)
	}
	open := s.read("")
	began = time.Now()
	s.signal(syscall.SIGTERM)
	open.ends()
	s.awaitExit()
	t.Logf("figure: stopped with an open stream in %v", time.Since(began).Round(time.Millisecond))
	if code := s.proc.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestStreamsShareTheWork: several readers that read to the end of each
// response and ask on, as AXP's agents do, some of which die; each intent is
// finished once, nothing is lost, and no attempt is counted.
func TestStreamsShareTheWork(t *testing.T) {
	t.Parallel()
	home, holder := startPair(t, nil)
	const total = 200
	var mu sync.Mutex
	done := map[string]int{}
	ctx, cancel := context.WithCancel(context.Background())
	var apps sync.WaitGroup
	for n := range 4 {
		apps.Go(func() {
			for ctx.Err() == nil {
				own := &http.Client{Transport: apitest.Watch(t, &http.Transport{})}
				life := 5 + n // responses until it dies
				for since := int64(0); life > 0 && ctx.Err() == nil; life-- {
					since = workOnce(ctx, t, holder, own, since, life > 1 || n == 0, func(id string) {
						mu.Lock()
						defer mu.Unlock()
						done[id]++
					})
				}
				own.CloseIdleConnections()
			}
		})
	}
	for n := range total {
		home.post(billing, map[string]any{"n": n})
	}
	eventually(t, "all to be finished", func() error {
		mu.Lock()
		defer mu.Unlock()
		if len(done) < total {
			return fmt.Errorf("%d of %d", len(done), total)
		}
		return nil
	})
	cancel()
	apps.Wait()
	for id, n := range done {
		if n != 1 {
			t.Errorf("%s was finished %d times", id, n)
		}
		if got := home.status(id, "COMPLETED"); got.ID != id {
			t.Errorf("%+v", got)
		}
		if w := home.why(id); w.Attempts.N != 0 {
			t.Errorf("%s: %d failed attempts", id, w.Attempts.N)
		}
	}
}

// workOnce reads one response to its end and finishes what came; an app that
// dies has read it and finishes nothing.
func workOnce(ctx context.Context, t *testing.T, s *sidecar, own *http.Client, since int64, lives bool, finished func(string)) int64 {
	url := fmt.Sprintf("http://%s%s?since=%d&wait_seconds=1", s.api, agentPath(billing, "/intents/stream"), since)
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		t.Error(err)
		return since
	}
	resp, err := own.Do(req)
	if err != nil {
		return since // the end of the test
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	for _, f := range strings.Split(string(body), "\n\n") {
		_, data, ok := strings.Cut(f, "event: intent.delivered\ndata: ")
		var it item
		if !ok || json.Unmarshal([]byte(data), &it) != nil {
			continue
		}
		since = max(since, it.Seq)
		if !lives {
			continue
		}
		if a := s.call("POST", "/v1/intents/"+it.ID+"/resume", `{"action": "complete"}`); a.code == 200 {
			finished(it.ID)
		} else if ctx.Err() == nil {
			t.Errorf("resume: %v", a)
		}
	}
	return since
}
