package webhook_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/proxy/webhook"
)

// world is a journal with its mailbox, and a pusher that sends to an app.
type world struct {
	*testing.T
	j    *journal.Journal
	m    *inbound.Mailbox
	keys *webhook.Keyring
	p    *webhook.Pusher
	stop func() // of the pusher alone

	batch atomic.Pointer[func(*journal.Tally)] // runs on the committer, before its callers hear
}

func setup(t *testing.T, o webhook.Options) *world {
	t.Helper()
	w := &world{T: t, keys: webhook.NewKeyring(filepath.Join(t.TempDir(), "secrets"))}
	var mu sync.Mutex
	var m *inbound.Mailbox
	mailbox := func() *inbound.Mailbox { mu.Lock(); defer mu.Unlock(); return m }
	j, err := journaltest.Open(journal.Options{Dir: t.TempDir(), Backoff: func(int) time.Duration { return time.Millisecond }, Hooks: journal.Hooks{
		Mail: func(a journal.Agent) {
			if m := mailbox(); m != nil {
				m.Mail(a)
			}
		},
		Counted: func(y *journal.Tally) {
			if f := w.batch.Load(); f != nil {
				(*f)(y)
			}
		},
		Moved:  func(v journal.Moved) { mailbox().Moved(v) },
		Spoken: func(s journal.Spoken) { mailbox().Spoken(s) },
	}})
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(testWriter{t}, nil))
	in := inbound.DefaultOptions()
	in.ProbeMin, in.ProbeMax = 5*time.Millisecond, 10*time.Millisecond
	mu.Lock()
	m = inbound.NewMailbox(in, j, log)
	mu.Unlock()
	m.Configure([]string{billing}, "off")
	w.j, w.m = j, m
	w.p = webhook.New(o, m, w.keys, func(h *journal.Handed) []byte { return fmt.Appendf(nil, `{"intent_id":"%s"}`, h.ID) }, log)
	mailboxCtx, stopMailbox := context.WithCancel(context.Background())
	ctx, stop := context.WithCancel(context.Background())
	var mailboxRuns, pushes sync.WaitGroup
	mailboxRuns.Go(func() {
		if err := m.Run(mailboxCtx); err != nil {
			t.Error(err)
		}
	})
	pushes.Go(func() {
		if err := w.p.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	w.stop = func() { stop(); pushes.Wait() }
	mailboxRuns.Go(func() { w.offer(mailboxCtx) })
	t.Cleanup(func() {
		w.stop()
		stopMailbox()
		mailboxRuns.Wait()
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// testWriter logs to the test while it runs.
type testWriter struct{ t *testing.T }

func (t testWriter) Write(p []byte) (int, error) {
	if t.t.Context().Err() == nil {
		t.t.Logf("%s", p)
	}
	return len(p), nil
}

// app starts one that answers as it is told.
func (w *world) app(answer http.HandlerFunc) string {
	w.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // only then does a server see that its client is gone
		r.Body = io.NopCloser(bytes.NewReader(body))
		answer(rw, r)
	}))
	w.Cleanup(s.Close)
	return s.URL
}

// post accepts n intents.
func (w *world) post(n int) (ids []journal.ID) {
	w.Helper()
	in := make([]journal.Accept, n)
	for i := range in {
		in[i].Envelope = &wire.Envelope{IntentType: "charge.v1", FromAgent: "orders", ToAgent: billing, Payload: []byte(`{}`), MaxDeliveryAttempts: 3}
	}
	out, err := w.j.Accept(w.Context(), in)
	if err != nil {
		w.Fatal(err)
	}
	for _, a := range out {
		ids = append(ids, a.ID)
	}
	return ids
}

// offer plays home's dispatcher: what is due goes into the mailbox as far as that
// has room.
func (w *world) offer(ctx context.Context) {
	for tick := time.NewTicker(time.Millisecond); ; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		no, known := w.j.AgentNo(billing)
		if !known {
			continue
		}
		offers, _, err := w.j.Due(no, time.Now(), 100, func(journal.ID) bool { return false })
		if err != nil || len(offers) == 0 {
			continue
		}
		results, err := w.m.Take(ctx, billing, offers)
		for i, r := range results {
			if err != nil || r.Err != nil {
				w.j.Rewind(no, offers[i].Due)
			}
		}
	}
}

func (w *world) get(id journal.ID) *journal.Intent {
	w.Helper()
	i, err := w.j.Get(id)
	if err != nil {
		w.Fatal(err)
	}
	return i
}

func (w *world) ends(id journal.ID, as state.Status) *journal.Intent {
	w.Helper()
	w.until(fmt.Sprintf("%s is %s", id, as), func() bool { return w.get(id).Status() == as })
	return w.get(id)
}

func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(10 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("waited in vain: %s", what)
		}
	}
}

var _ io.Writer = testWriter{}
