package webhook_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/state"
	"pannier/proxy/webhook"
)

func quick() webhook.Options {
	o := webhook.DefaultOptions()
	o.HTTPTimeout, o.UserAgent, o.MaxAnswer = 5*time.Second, "Pannier/test", 64<<10
	return o
}

// Each row is an answer of the app to a first hand-over, and what becomes of the
// intent.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		status   int
		body     string
		want     state.Status
		result   string
		attempts uint32 // failed ones, when want is reached
	}{
		{200, `{"charged": 3}`, state.Completed, `{"charged": 3}`, 0},
		{200, ` {"ack" : true} `, state.Acknowledged, "", 0},
		{200, `{"ack":true,"n":1}`, state.Completed, `{"ack":true,"n":1}`, 0},
		{200, `[1]`, state.Completed, ``, 0},
		{200, `ok`, state.Completed, ``, 0},
		{201, `{"n":1}`, state.Completed, `{"n":1}`, 0},
		{204, ``, state.Completed, ``, 0},
		{202, `{"n":1}`, state.Acknowledged, "", 0},
		{400, `no such field`, state.Failed, "", 0},
		{409, ``, state.Failed, "", 0},
		{413, ``, state.Failed, "", 0},
		{415, ``, state.Failed, "", 0},
		{422, ``, state.Failed, "", 0},
		{206, ``, state.Failed, "", 3},
		{301, ``, state.Failed, "", 3},
		{401, ``, state.Failed, "", 3},
		{404, ``, state.Failed, "", 3},
		{408, ``, state.Failed, "", 3},
		{425, ``, state.Failed, "", 3},
		{500, `oops`, state.Failed, "", 3},
		{502, ``, state.Failed, "", 3},
	} {
		t.Run(fmt.Sprint(row.status, row.body), func(t *testing.T) {
			t.Parallel()
			w := setup(t, quick())
			var calls atomic.Int32
			url := w.app(func(rw http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				rw.Header().Set("Location", "/elsewhere")
				rw.WriteHeader(row.status)
				io.WriteString(rw, row.body)
			})
			w.p.Set(map[string]string{billing: url})
			i := w.ends(w.post(1)[0], row.want)
			if i.Outcome != nil && row.want == state.Completed && strings.TrimSpace(string(i.Outcome.Body)) != row.result {
				t.Errorf("result %s, want %s", i.Outcome.Body, row.result)
			}
			if i.Head.Attempts != row.attempts || i.Outcome == nil && row.want.Terminal() {
				t.Errorf("%d failed attempts, want %d", i.Head.Attempts, row.attempts)
			}
			if n := calls.Load(); n != int32(max(1, row.attempts)) {
				t.Errorf("%d calls, want %d", n, max(1, row.attempts))
			}
			if row.want == state.Failed && !strings.Contains(i.Outcome.Text, fmt.Sprint(row.status)) {
				t.Errorf("the reason %q does not name the answer", i.Outcome.Text)
			}
		})
	}
}

// A push on which the sidecar itself fails is a failed attempt, and the process lives.
func TestPushThatPanics(t *testing.T) {
	t.Parallel()
	o := quick()
	o.Told = func(r webhook.Request) {
		if r.Status == 299 {
			panic("planted")
		}
	}
	w := setup(t, o)
	w.p.Set(map[string]string{billing: w.app(func(rw http.ResponseWriter, r *http.Request) { rw.WriteHeader(299) })})
	i := w.ends(w.post(1)[0], state.Failed)
	if i.Head.Attempts != 3 || i.Outcome.Text != "this sidecar failed on it: planted" {
		t.Errorf("after %d attempts: %q", i.Head.Attempts, i.Outcome.Text)
	}
}

// 409 to a hand-over that may not be the first one: it was done before.
func TestConflictAfterARetryIsDone(t *testing.T) {
	t.Parallel()
	w := setup(t, quick())
	var calls atomic.Int32
	w.p.Set(map[string]string{billing: w.app(func(rw http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			panic(http.ErrAbortHandler) // it did the work, and its answer is lost
		}
		rw.WriteHeader(409)
	})})
	i := w.ends(w.post(1)[0], state.Completed)
	if string(i.Outcome.Body) != `{"duplicate":true}` || i.Head.Attempts != 1 {
		t.Errorf("result %s after %d failed attempts", i.Outcome.Body, i.Head.Attempts)
	}
}

// What the app did not take is no attempt, and it is tried when it asked to be.
func TestTurnedAway(t *testing.T) {
	t.Parallel()
	for name, turn := range map[string]func(rw http.ResponseWriter){
		"429": func(rw http.ResponseWriter) { rw.WriteHeader(429) },
		"503": func(rw http.ResponseWriter) { rw.WriteHeader(503) },
		"500 with Retry-After": func(rw http.ResponseWriter) {
			rw.Header().Set("Retry-After", "0")
			rw.WriteHeader(500)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := setup(t, quick())
			var calls atomic.Int32
			w.p.Set(map[string]string{billing: w.app(func(rw http.ResponseWriter, r *http.Request) {
				if calls.Add(1) <= 5 {
					turn(rw)
				}
			})})
			for _, id := range w.post(3) {
				if i := w.ends(id, state.Completed); i.Head.Attempts != 0 {
					t.Errorf("%d failed attempts, want none", i.Head.Attempts)
				}
			}
			if n := calls.Load(); n < 8 {
				t.Errorf("%d calls, want the five that were turned away and three more", n)
			}
		})
	}
}

func TestPauseIsKept(t *testing.T) {
	t.Parallel()
	w := setup(t, quick())
	var first, second atomic.Int64
	w.p.Set(map[string]string{billing: w.app(func(rw http.ResponseWriter, r *http.Request) {
		if first.CompareAndSwap(0, time.Now().UnixNano()) {
			rw.Header().Set("Retry-After", "1")
			rw.WriteHeader(503)
			return
		}
		second.CompareAndSwap(0, time.Now().UnixNano())
	})})
	w.ends(w.post(1)[0], state.Completed)
	if d := time.Duration(second.Load() - first.Load()); d < time.Second-10*time.Millisecond {
		t.Errorf("asked for a second, it was called after %v", d)
	}
}

// An app that is not up is no attempt; it gets everything when it is.
func TestAppThatIsNotThere(t *testing.T) {
	t.Parallel()
	w := setup(t, quick())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	w.p.Set(map[string]string{billing: "http://" + address})
	ids := w.post(1)
	w.until("the door is shut", func() bool { return w.m.Door(billing).Reason == "unreachable" })
	if c := w.m.Why(ids[0]); len(c) == 0 || c[0].Cause != state.CauseAppUnreachable && c[0].Cause != state.CauseSending {
		t.Errorf("why: %+v", c)
	}
	if l, err = net.Listen("tcp", address); err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	if i := w.ends(ids[0], state.Completed); i.Head.Attempts != 0 || i.Head.DeliveryAttempt != 1 {
		t.Errorf("%d failed attempts, hand-over %d; want none, and the first", i.Head.Attempts, i.Head.DeliveryAttempt)
	}
}

// Apps that misbehave: each is a failed attempt, with a reason.
func TestBadApps(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		app  http.HandlerFunc
		want string
	}{
		"hangs": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "no answer within"},
		"drips": {func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				io.WriteString(rw, " ")
				rw.(http.Flusher).Flush()
				time.Sleep(time.Millisecond)
			}
		}, "no answer within"},
		"answers without end": {func(rw http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := rw.Write(make([]byte, 32<<10)); err != nil {
					return
				}
			}
		}, "larger than"},
		"dies": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "EOF"},
		"dies in its answer": {func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Content-Length", "10")
			io.WriteString(rw, "{")
			rw.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "broke off"},
		"endless headers": {func(rw http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				rw.Header().Set(fmt.Sprint("X-", i), strings.Repeat("x", 100))
			}
		}, "header"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := quick()
			if row.want == "no answer within" {
				o.HTTPTimeout = 200 * time.Millisecond
			}
			w := setup(t, o)
			w.p.Set(map[string]string{billing: w.app(row.app)})
			i := w.ends(w.post(1)[0], state.Failed)
			if i.Head.Attempts != 3 || !strings.Contains(i.Outcome.Text, row.want) {
				t.Errorf("%d failed attempts, reason %q; want 3 and %q", i.Head.Attempts, i.Outcome.Text, row.want)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	w := setup(t, quick())
	var elsewhere, calls atomic.Int32
	codes := []int{http.StatusFound, http.StatusTemporaryRedirect}
	other := w.app(func(http.ResponseWriter, *http.Request) { elsewhere.Add(1) })
	w.p.Set(map[string]string{billing: w.app(func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, other, codes[calls.Add(1)%2])
	})})
	for _, id := range w.post(2) {
		w.ends(id, state.Failed)
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("the redirect was followed %d times", n)
	}
}

// Only loopback is called, whatever a name says, unless the host was named. An
// address that is not here can be dialed without anybody noticing.
func TestOnlyLoopbackIsCalled(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	var calls atomic.Int32
	s := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { calls.Add(1) })}
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	own := ownAddress(t)
	for _, row := range []struct {
		host    string
		remote  []string
		allowed bool
	}{
		{"127.0.0.1", nil, true},
		{"localhost", nil, true},
		{own, nil, false},
		{"[::ffff:" + own + "]", nil, false},
		{own, []string{"other.example"}, false},
		{own, []string{own}, true},
	} {
		t.Run(row.host+fmt.Sprint(row.remote), func(t *testing.T) {
			before := calls.Load()
			o := quick()
			o.HTTPRemote = row.remote
			w := setup(t, o)
			w.p.Set(map[string]string{billing: "http://" + net.JoinHostPort(strings.Trim(row.host, "[]"), port)})
			ids := w.post(1)
			if row.allowed {
				w.ends(ids[0], state.Completed)
				return
			}
			w.until("it is refused", func() bool { return w.m.Door(billing).Reason == "unreachable" })
			w.stop()
			if n := calls.Load() - before; n != 0 {
				t.Errorf("it was called %d times", n)
			}
		})
	}
}

// ownAddress is one of this machine that is not on loopback.
func ownAddress(t *testing.T) string {
	t.Helper()
	list, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && !n.IP.IsLoopback() {
			return n.IP.String()
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this machine has no address but loopback")
	}
	t.Skip("this machine has no address but loopback")
	return ""
}

// A request has the signatures of both standards over its bytes, and headers to
// dedupe by.
func TestRequest(t *testing.T) {
	t.Parallel()
	w := setup(t, quick())
	type request struct {
		h    http.Header
		body []byte
	}
	got := make(chan request, 9)
	w.p.Set(map[string]string{billing: w.app(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- request{r.Header, body}
	})})
	id := w.post(1)[0]
	r := <-got
	secrets, err := w.keys.Signing(billing)
	if err != nil {
		t.Fatal(err)
	}
	if err := webhook.Verify(r.h, r.body, time.Now(), secrets...); err != nil {
		t.Error(err)
	}
	mac := hmac.New(sha256.New, []byte(secrets[0].Reveal()))
	mac.Write(r.body)
	if want := "sha256=" + hex.EncodeToString(mac.Sum(nil)); r.h.Get("X-Axme-Signature") != want {
		t.Errorf("X-Axme-Signature %s, want %s", r.h.Get("X-Axme-Signature"), want)
	}
	for name, want := range map[string]string{
		"Webhook-Id": id.String(), "Idempotency-Key": id.String(), "Intent-Attempt": "1", "Content-Type": "application/json", "User-Agent": "Pannier/test",
	} {
		if r.h.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, r.h.Get(name), want)
		}
	}
	var body map[string]any
	if err := json.Unmarshal(r.body, &body); err != nil || body["intent_id"] != id.String() {
		t.Errorf("body %s", r.body)
	}
}

// Requests under way at once are bounded, and all of them are used.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	o := quick()
	o.HTTPConcurrency = 4
	w := setup(t, o)
	var mu sync.Mutex
	now, most := 0, 0
	release := make(chan struct{})
	w.p.Set(map[string]string{billing: w.app(func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		now++
		most = max(most, now)
		mu.Unlock()
		<-release
		mu.Lock()
		now--
		mu.Unlock()
	})})
	ids := w.post(12)
	w.until("four are under way", func() bool { mu.Lock(); defer mu.Unlock(); return now == 4 })
	close(release)
	for _, id := range ids {
		w.ends(id, state.Completed)
	}
	if most > 4 {
		t.Errorf("%d requests at once, want at most 4", most)
	}
}

// A request is over when its app has answered: while the disk hangs with the first answer
// the app gets more, up to a bound, and all that has come by then is one commit.
func TestAnswersShareACommit(t *testing.T) {
	t.Parallel()
	o := quick()
	o.HTTPConcurrency = 2
	w := setup(t, o)
	none, gate := make(chan struct{}), make(chan struct{})
	close(none)
	var before atomic.Pointer[chan struct{}]
	before.Store(&none)
	var largest, requests atomic.Int32
	w.p.Set(map[string]string{billing: w.app(func(http.ResponseWriter, *http.Request) {
		requests.Add(1)
		<-*before.Load()
	})})
	for _, id := range w.post(40) { // each opens the window by one
		w.ends(id, state.Completed)
	}
	before.Store(&gate)
	ids := w.post(30)
	for _, id := range ids {
		w.until("it is in the mailbox", func() bool { return w.get(id).Handover != nil })
	}
	disk := make(chan struct{})
	works := sync.OnceFunc(func() { close(disk) })
	defer works()
	batch := func(y *journal.Tally) {
		if n := int32(len(y.Attempts)); n > 0 {
			largest.Store(max(n, largest.Load()))
			<-disk
		}
	}
	w.batch.Store(&batch)
	requests.Store(0)
	close(gate)
	// One answer is with the journal, eight wait, two requests cannot hand theirs over; two of
	// these were sent before.
	w.until("nine more are sent while the first answer is on its way to the disk", func() bool { return requests.Load() >= 9 })
	if n := requests.Load(); n > 2*(1+8)+2 {
		t.Errorf("%d were sent, want no more than may be sent again after a kill", n)
	}
	works()
	for _, id := range ids {
		w.ends(id, state.Completed)
	}
	if n := largest.Load(); n < 5 {
		t.Errorf("at most %d answers shared a commit", n)
	}
}

// Another URL takes over at once; what the former one has is its own to answer.
func TestSwitch(t *testing.T) {
	t.Parallel()
	w := setup(t, quick())
	has, answer := make(chan struct{}), make(chan struct{})
	slow := w.app(func(rw http.ResponseWriter, _ *http.Request) {
		close(has)
		<-answer
		io.WriteString(rw, `{"by":"slow"}`)
	})
	quickApp := w.app(func(rw http.ResponseWriter, _ *http.Request) { io.WriteString(rw, `{"by":"quick"}`) })
	w.p.Set(map[string]string{billing: slow})
	first := w.post(1)[0]
	<-has
	w.p.Set(map[string]string{billing: quickApp})
	if i := w.ends(w.post(1)[0], state.Completed); string(i.Outcome.Body) != `{"by":"quick"}` {
		t.Errorf("after the switch: %s", i.Outcome.Body)
	}
	w.p.Set(nil)
	w.until("a poll may ask", func() bool {
		_, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: billing, Limit: 1})
		return err == nil
	})
	if s := w.get(first).Status(); s.Terminal() {
		t.Fatalf("before its answer the first is %s", s)
	}
	close(answer)
	if i := w.ends(first, state.Completed); string(i.Outcome.Body) != `{"by":"slow"}` || i.Head.DeliveryAttempt != 1 {
		t.Errorf("the first: %s at hand-over %d", i.Outcome.Body, i.Head.DeliveryAttempt)
	}
}

// Once the pusher has acted on a switch the app may ask for its intents, or may not.
func TestActed(t *testing.T) {
	t.Parallel()
	w := setup(t, quick())
	url := w.app(func(http.ResponseWriter, *http.Request) {})
	for n := range 50 {
		for _, pushed := range []bool{true, false} {
			apps := map[string]string{}
			if pushed {
				apps[billing] = url
			}
			w.p.Set(apps)
			if err := w.p.Acted(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, err := w.m.Pull(t.Context(), inbound.PullRequest{Agent: billing, Limit: 1})
			if errors.Is(err, inbound.ErrPushed) != pushed {
				t.Fatalf("switch %d, to pushing: %v: a pull got %v", n, pushed, err)
			}
		}
	}
	w.stop()
	w.p.Set(nil)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.p.Acted(over); !errors.Is(err, context.Canceled) {
		t.Errorf("of one that does not run: %v", err)
	}
}

// A stop in the middle of a request is no attempt, and the next start says that
// the app may have had it.
func TestStopCutsOff(t *testing.T) {
	t.Parallel()
	w := setup(t, quick())
	has := make(chan struct{})
	w.p.Set(map[string]string{billing: w.app(func(_ http.ResponseWriter, r *http.Request) { close(has); <-r.Context().Done() })})
	id := w.post(1)[0]
	<-has
	w.stop()
	got, err := w.j.Peek(context.Background(), []journal.ID{id}, nil)
	if err != nil || got[0].Err != nil || !got[0].Redelivered || w.get(id).Handover.Attempts != 0 {
		t.Errorf("after the stop: %+v, want it ready, redelivered, and no attempt (%v)", got, err)
	}
}

// Rotation under load: a receiver that knows the secrets it was told refuses
// nothing.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	w := setup(t, quick())
	var refused atomic.Int32
	known := func() []webhook.Secret { // as its owner sets it: both, while both sign
		list, err := w.keys.Signing(billing)
		if err != nil {
			t.Error(err)
		}
		return list
	}
	w.p.Set(map[string]string{billing: w.app(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if err := webhook.Verify(r.Header, body, time.Now(), known()...); err != nil {
			refused.Add(1)
			rw.WriteHeader(401)
		}
	})})
	var ids []journal.ID
	for range 10 {
		ids = append(ids, w.post(10)...)
		if _, err := w.keys.Rotate(billing, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range ids {
		w.ends(id, state.Completed)
	}
	if n := refused.Load(); n != 0 {
		t.Errorf("%d requests were refused over the rotations", n)
	}
}

// TestSubscriber: it is sent the payload as it is, signed with its own secret, and
// any 2xx is done.
func TestSubscriber(t *testing.T) {
	t.Parallel()
	w := setup(t, webhook.DefaultOptions())
	own := secret(t, "a subscriber's own secret")
	bodies := make(chan string, 10)
	url := w.app(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = webhook.Verify(r.Header, body, time.Now(), own)
		}
		if err != nil {
			t.Error(err)
		}
		bodies <- string(body)
		rw.WriteHeader(http.StatusAccepted)
		io.WriteString(rw, `{"ack":true}`)
	})
	w.p.SetSubscribers(map[string]webhook.Subscriber{billing: {URL: url, Secret: own}})
	w.ends(w.post(1)[0], state.Completed)
	if body := <-bodies; body != `{}` {
		t.Errorf("body %s", body)
	}
	if got := w.p.Agents(); len(got) != 0 {
		t.Errorf("a subscriber counts as an app: %v", got)
	}
}

func TestCheckCallback(t *testing.T) {
	t.Parallel()
	for url, ok := range map[string]bool{
		"http://127.0.0.1:1/x": true, "https://localhost/x": true, "http://[::1]/": true, "http://127.1.2.3/": true, "https://hooks.example/x": true,
		"http://192.0.2.1/": false, "http://other.example/": false, "http://localhost.example/": false, "http://0.0.0.0/": false, "ftp://127.0.0.1/": false, "http://u:p@127.0.0.1/": false,
	} {
		if err := webhook.CheckCallback(url, []string{"Hooks.Example"}); (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
	}
}
