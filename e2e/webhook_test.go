package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pannier/proxy/webhook"
)

// hook is an app that receives by http. It can be stopped and started again on
// the same port.
type hook struct {
	t       testing.TB
	addr    string
	answer  http.HandlerFunc // set before it is started
	server  *http.Server
	mu      sync.Mutex
	calls   []hooked
	secrets func() []webhook.Secret // nil: signatures are not looked at
	wrap    http.HandlerFunc        // nil: serve
}

// hooked is one request it got.
type hooked struct {
	at     time.Time
	item   item
	header http.Header
}

func newHook(t testing.TB, answer http.HandlerFunc) *hook {
	h := &hook{t: t, addr: "127.0.0.1:0", answer: answer}
	h.start()
	t.Cleanup(h.stop)
	return h
}

func (h *hook) start() {
	h.t.Helper()
	var l net.Listener
	eventually(h.t, "the port of the app to be free", func() (err error) {
		l, err = net.Listen("tcp", h.addr)
		return err
	})
	h.addr = l.Addr().String()
	serve := h.serve
	if h.wrap != nil {
		serve = h.wrap
	}
	h.server = &http.Server{Handler: http.HandlerFunc(serve)}
	go h.server.Serve(l)
}

// stop breaks what is open, as a process that dies does.
func (h *hook) stop() { h.server.Close() }

func (h *hook) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	got := hooked{at: time.Now(), header: r.Header}
	if err != nil || json.Unmarshal(body, &got.item) != nil {
		w.WriteHeader(400)
		return
	}
	if h.secrets != nil {
		if err := webhook.Verify(r.Header, body, time.Now(), h.secrets()...); err != nil {
			h.t.Errorf("%s: %v", got.item.ID, err)
			w.WriteHeader(401)
			return
		}
	}
	h.mu.Lock()
	h.calls = append(h.calls, got)
	h.mu.Unlock()
	h.answer(w, r)
}

// of lists what it got of one intent.
func (h *hook) of(id string) (out []hooked) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.calls {
		if c.item.ID == id {
			out = append(out, c)
		}
	}
	return out
}

// count is how many requests it got.
func (h *hook) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.calls)
}

func say(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// hookPair is home, and a holder that sends to the app.
func hookPair(t testing.TB, app *hook, config map[string]string) (home, holder *sidecar) {
	t.Helper()
	holder = newSidecar(t, setup{name: "holder", agents: []string{billing + "=http:http://" + app.addr + "/hook"}, config: config})
	home = newSidecar(t, setup{name: "home", agents: []string{shop}, peers: peersFile(t, map[string][]string{billing: {holder.peer}}), config: config})
	for _, s := range []*sidecar{home, holder} {
		s.launch()
		s.awaitReady()
	}
	app.secrets = func() []webhook.Secret { return secretsIn(t, holder) }
	return home, holder
}

// secretsIn reads what a holder signs with, as the owner of its app would.
func secretsIn(t testing.TB, holder *sidecar) (out []webhook.Secret) {
	files, err := filepath.Glob(filepath.Join(holder.dir, "secrets", "*.json"))
	if err != nil || len(files) != 1 {
		t.Errorf("files of secrets: %v, %v", files, err)
		return nil
	}
	content, err := os.ReadFile(files[0])
	var ring struct{ Secrets []struct{ Secret string } }
	if err != nil || json.Unmarshal(content, &ring) != nil {
		t.Errorf("%s: %v", files[0], err)
	}
	for _, s := range ring.Secrets {
		secret, err := webhook.ParseSecret(s.Secret)
		if err != nil {
			t.Error(err)
		}
		out = append(out, secret)
	}
	return out
}

// TestWebhook: what is posted at home is posted to the app, signed, and its
// answer is the result; nobody else can ask for it.
func TestWebhook(t *testing.T) {
	t.Parallel()
	app := newHook(t, say(200, `{"charged":true}`))
	home, holder := hookPair(t, app, nil)
	began := time.Now()
	id := home.post(billing, map[string]any{"n": 1})
	home.status(id, "COMPLETED")
	calls := app.of(id)
	if len(calls) != 1 {
		t.Fatalf("%d calls", len(calls))
	}
	t.Logf("figure: POST at home to the request at the holder's app: %v", calls[0].at.Sub(began).Round(100*time.Microsecond))
	if it := calls[0].item; string(it.Payload) != `{"n":1}` || it.DeliveryAttempt != 1 || it.Redelivered || it.Lease != "" || it.To != billing {
		t.Errorf("item %+v", it)
	}
	if got := home.get(id); string(got.Result) != `{"charged":true}` {
		t.Errorf("result %s", got.Result)
	}
	if a := holder.call("GET", agentPath(billing, "/intents"), nil); a.code != 409 || a.errorCode() != "wrong_binding" {
		t.Errorf("a poll of it: %v, want 409 wrong_binding", a)
	}
	if a := holder.call("GET", agentPath(billing, "/intents/stream?wait_seconds=1"), nil); a.code != 409 || a.errorCode() != "wrong_binding" {
		t.Errorf("a stream of it: %v, want 409 wrong_binding", a)
	}
}

// TestWebhookAcknowledges: 202, and the answer comes by resume; an app that
// answers with ack and is not heard of again is asked again.
func TestWebhookAcknowledges(t *testing.T) {
	t.Parallel()
	app := newHook(t, say(202, ``))
	home, holder := hookPair(t, app, map[string]string{"work_timeout": "1s"})
	id := home.post(billing, map[string]any{"n": 1})
	home.status(id, "ACKNOWLEDGED")
	if a := holder.call("POST", "/v1/intents/"+id+"/resume", map[string]any{"charged": 3}); a.code != 200 {
		t.Errorf("resume: %v", a)
	}
	if got := home.status(id, "COMPLETED"); !jsonEqual(`{"charged":3}`, got.Result) {
		t.Errorf("result %s", got.Result)
	}
	silent := home.post(billing, map[string]any{"n": 2})
	attempts(t, home, silent, 1)
	eventually(t, "it is sent again", func() error {
		if calls := app.of(silent); len(calls) < 2 || !calls[1].item.Redelivered || calls[1].item.DeliveryAttempt != 2 {
			return fmt.Errorf("calls %+v", calls)
		}
		return nil
	})
}

// TestWebhookAppRestarts: while the app is down nothing is counted, and what
// waited is sent when it is back.
func TestWebhookAppRestarts(t *testing.T) {
	t.Parallel()
	app := newHook(t, say(204, ``))
	home, holder := hookPair(t, app, nil)
	home.status(home.post(billing, map[string]any{"n": 0}), "COMPLETED")
	app.stop()
	var ids []string
	for n := range 20 {
		ids = append(ids, home.post(billing, map[string]any{"n": n}))
	}
	eventually(t, "why to name the app", func() error {
		for _, id := range []string{ids[0], ids[len(ids)-1]} { // also of one that waits at home for credit
			if w := home.why(id); len(w.Causes) == 0 || w.Causes[0].Code != "app_unreachable" {
				return fmt.Errorf("why %+v", w)
			}
		}
		return nil
	})
	app.start()
	for _, id := range ids {
		home.status(id, "COMPLETED")
		for _, e := range home.events(id) {
			if e.Type == "intent.delivery_failed" {
				t.Errorf("%s: an attempt was counted while the app was down", id)
			}
		}
	}
	if code, _ := holder.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// TestWebhookThroughKills: the holder is killed with requests under way, again
// and again: every intent ends, and what an app gets twice is marked.
func TestWebhookThroughKills(t *testing.T) {
	t.Parallel()
	app := newHook(t, func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond) // its work
		w.WriteHeader(204)
	})
	home, holder := hookPair(t, app, nil)
	var ids []string
	for round := range 12 {
		for n := range 25 {
			ids = append(ids, home.post(billing, map[string]any{"n": round*100 + n}))
		}
		seen := ids[len(ids)-1-rand.IntN(25)]
		eventually(t, "some are under way", func() error {
			if len(app.of(seen)) == 0 {
				return fmt.Errorf("%s was not sent", seen)
			}
			return nil
		})
		holder.kill()
		holder.launch()
		holder.awaitReady()
	}
	twice := 0
	for _, id := range ids {
		home.status(id, "COMPLETED")
		calls := app.of(id)
		if len(calls) == 0 {
			t.Errorf("%s is completed, and was never sent", id)
		}
		for i, c := range calls {
			if (i > 0) && !c.item.Redelivered {
				t.Errorf("%s: sent again without redelivered", id)
			}
		}
		if len(calls) > 1 {
			twice++
		}
		for _, e := range home.events(id) {
			if e.Type == "intent.delivery_failed" {
				t.Errorf("%s: a kill counted as an attempt", id)
			}
		}
	}
	t.Logf("figure: %d intents by webhook through 12 SIGKILLs: all completed, %d sent twice or more", len(ids), twice)
	holder.stop()
	holder.verify()
}

// TestWebhookStop: a stop lets requests under way be answered.
func TestWebhookStop(t *testing.T) {
	t.Parallel()
	has, goOn := make(chan struct{}), make(chan struct{})
	app := newHook(t, func(w http.ResponseWriter, _ *http.Request) {
		close(has)
		<-goOn
		io.WriteString(w, `{"late":true}`)
	})
	home, holder := hookPair(t, app, nil)
	id := home.post(billing, map[string]any{"n": 1})
	<-has
	stopped := make(chan int, 1)
	go func() { code, _ := holder.stop(); stopped <- code }()
	if err := within(300*time.Millisecond, func() error {
		select {
		case <-stopped:
			return fmt.Errorf("it stopped before the app had answered")
		default:
			return nil
		}
	}); err != nil {
		t.Error(err)
	}
	close(goOn)
	if code := <-stopped; code != 0 {
		t.Errorf("exit code %d", code)
	}
	if got := home.status(id, "COMPLETED"); string(got.Result) != `{"late":true}` || len(app.of(id)) != 1 {
		t.Errorf("result %s after %d calls", got.Result, len(app.of(id)))
	}
}

// TestSecretRotation under load, by the command line: nothing is refused, and no
// output has a secret in it.
func TestSecretRotation(t *testing.T) {
	t.Parallel()
	app := newHook(t, say(204, ``))
	home, holder := hookPair(t, app, nil)
	var ids []string
	for n := range 5 {
		for range 10 {
			ids = append(ids, home.post(billing, map[string]any{"n": n}))
		}
		out, err := exec.Command(holder.bin, "secret", "rotate", billing, "--overlap", "1h", "--admin", holder.admin).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "retiring") {
			t.Fatalf("rotate: %v: %s", err, out)
		}
	}
	for _, id := range ids {
		home.status(id, "COMPLETED")
		if n := len(app.of(id)); n != 1 {
			t.Errorf("%s: %d calls", id, n)
		}
	}
	list, err := exec.Command(holder.bin, "secret", "list", "--admin", holder.admin).CombinedOutput()
	if err != nil || strings.Count(string(list), "retiring") != 5 {
		t.Errorf("list: %v: %s", err, list)
	}
	all := holder.stderr() + string(list)
	for _, s := range secretsIn(t, holder) {
		if strings.Contains(all, strings.TrimPrefix(s.Reveal(), "whsec_")) {
			t.Errorf("secret %s is in what the sidecar prints", s.Fingerprint())
		}
	}
}
