package inbound_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/wire"
)

// world is one holder: a journal on disk, its mailbox and its peer server,
// running.
type world struct {
	t       *testing.T
	dir     string
	o       inbound.Options
	j       *journal.Journal
	m       *inbound.Mailbox
	s       *inbound.Server
	knocked chan string
	pause   atomic.Pointer[func()] // called on the committer after a commit into a mailbox
	stop    func()                 // the process ends: loops are joined, the journal is closed
}

const agent = "agent://acme/prod/billing"

// fast are options with times a test can wait for.
func fast() inbound.Options {
	o := inbound.DefaultOptions()
	o.NoReaderAfter = 10 * time.Second
	o.ReleaseAfter = 50 * time.Millisecond
	o.ProbeMin, o.ProbeMax = 5*time.Millisecond, 10*time.Millisecond
	o.KnockMin, o.KnockMax = 10*time.Millisecond, 50*time.Millisecond
	return o
}

// bubble runs f with a clock of its own: nothing in it waits for real.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func setup(t *testing.T, o inbound.Options) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), o: o}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

// halt makes the committer stop after its next commit into a mailbox, before
// anybody hears of it. halted is closed when it has; goOn lets it go on.
func (w *world) halt() (halted <-chan struct{}, goOn func()) {
	stopped, resume := make(chan struct{}), make(chan struct{})
	var once sync.Once
	f := func() { once.Do(func() { close(stopped); <-resume }) }
	w.pause.Store(&f)
	return stopped, sync.OnceFunc(func() { close(resume) })
}

// hooks are those of the parts, once they exist.
type hooks struct {
	mu sync.Mutex
	m  *inbound.Mailbox
	s  *inbound.Server
}

func (h *hooks) parts() (*inbound.Mailbox, *inbound.Server) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.m, h.s
}

func (w *world) start() {
	w.t.Helper()
	h := &hooks{}
	j, err := journaltest.Open(journal.Options{Dir: w.dir, Backoff: func(int) time.Duration { return time.Millisecond }, Hooks: journal.Hooks{
		Mail: func(a journal.Agent) {
			if f := w.pause.Load(); f != nil {
				(*f)()
			}
			if m, _ := h.parts(); m != nil {
				m.Mail(a)
			}
		},
		Moved: func(v journal.Moved) {
			if m, _ := h.parts(); m != nil {
				m.Moved(v)
			}
		},
		Spoken: func(s journal.Spoken) {
			if m, _ := h.parts(); m != nil {
				m.Spoken(s)
			}
		},
		Reports: func(home journal.ID) {
			if _, s := h.parts(); s != nil {
				s.Reports(home)
			}
		},
	}})
	if err != nil {
		w.t.Fatalf("open journal: %v", err)
	}
	log := slog.New(slog.NewTextHandler(testWriter{w.t}, nil))
	m := inbound.NewMailbox(w.o, j, log)
	m.Configure([]string{agent}, "local")
	w.knocked = make(chan string, 10)
	knocked := w.knocked
	s := inbound.NewServer(w.o, j, m, inbound.Self{Identity: j.Identity(), Address: "here:1"}, func(_ journal.Identity, address string) { knocked <- address }, insecureDial(), log)
	h.mu.Lock()
	h.m, h.s = m, s
	h.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	var loops sync.WaitGroup
	loops.Go(func() {
		if err := m.Run(ctx); err != nil {
			w.t.Errorf("mailbox: %v", err)
		}
	})
	loops.Go(func() {
		if err := s.Run(ctx); err != nil {
			w.t.Errorf("server: %v", err)
		}
	})
	w.j, w.m, w.s = j, m, s
	var once sync.Once
	w.stop = func() {
		once.Do(func() {
			cancel()
			loops.Wait()
			if err := j.Close(); err != nil {
				w.t.Errorf("close journal: %v", err)
			}
		})
	}
}

// testWriter logs to the test while it runs.
type testWriter struct{ t *testing.T }

func (t testWriter) Write(p []byte) (int, error) {
	if t.t.Context().Err() == nil {
		t.t.Logf("%s", p)
	}
	return len(p), nil
}

var _ io.Writer = testWriter{}

// envelope is an intent as another home would offer it.
func envelope(n int) (journal.ID, []byte) { return sized(n, 0) }

// sized is an envelope with a payload of about size bytes.
func sized(n, size int) (journal.ID, []byte) {
	id := journal.NewID()
	b, err := proto.Marshal(&wire.Envelope{
		Id: id[:], IntentType: "charge.v1", FromAgent: "orders", ToAgent: agent, Payload: fmt.Appendf(nil, `{"n":%d,"text":"%s"}`, n, strings.Repeat("x", size)),
		CreatedAtMs: time.Now().UnixMilli(), MaxDeliveryAttempts: 10,
	})
	if err != nil {
		panic(err)
	}
	return id, b
}

// accept posts n intents to our own home.
func (w *world) accept(n int) (ids []journal.ID) {
	w.t.Helper()
	in := make([]journal.Accept, n)
	for i := range in {
		in[i].Envelope = &wire.Envelope{IntentType: "charge.v1", FromAgent: "orders", ToAgent: agent, Payload: fmt.Appendf(nil, `{"n":%d}`, i)}
	}
	out, err := w.j.Accept(w.t.Context(), in)
	if err != nil {
		w.t.Fatalf("accept: %v", err)
	}
	for _, a := range out {
		if a.Err != nil {
			w.t.Fatalf("accept: %v", a.Err)
		}
		ids = append(ids, a.ID)
	}
	return ids
}

// take offers what is due to the mailbox, as home's dispatcher would, and
// returns how many it took.
func (w *world) take(most int) int {
	w.t.Helper()
	no, known := w.j.AgentNo(agent)
	if !known {
		return 0
	}
	offers, _, err := w.j.Due(no, time.Now(), most, func(journal.ID) bool { return false })
	if err != nil {
		w.t.Fatalf("due: %v", err)
	}
	if len(offers) == 0 {
		return 0
	}
	results, err := w.m.Take(w.t.Context(), agent, offers)
	if err != nil {
		w.t.Fatalf("take: %v", err)
	}
	n := 0
	for i, r := range results {
		if r.Err != nil {
			w.j.Rewind(no, offers[i].Due)
			continue
		}
		n++
	}
	return n
}

// pull hands over up to limit intents, waiting as long as a test may.
func (w *world) pull(limit int) []journal.Handed {
	w.t.Helper()
	got, err := w.m.Pull(w.t.Context(), inbound.PullRequest{Agent: agent, Limit: limit, Wait: 5 * time.Second, Lease: time.Minute})
	if err != nil {
		w.t.Fatalf("pull: %v", err)
	}
	return got
}

// ready is what a pull that does not wait gets.
func (w *world) ready(limit int) []journal.Handed {
	w.t.Helper()
	got, err := w.m.Pull(w.t.Context(), inbound.PullRequest{Agent: agent, Limit: limit, Lease: time.Minute})
	if err != nil {
		w.t.Fatalf("pull: %v", err)
	}
	return got
}

func (w *world) settle(action journal.Action, got ...journal.Handed) []journal.Settled {
	w.t.Helper()
	items := make([]journal.Settle, len(got))
	for i, h := range got {
		items[i] = journal.Settle{ID: h.ID, Lease: h.Lease, Action: action}
	}
	out, err := w.m.Settle(w.t.Context(), items)
	if err != nil {
		w.t.Fatalf("settle: %v", err)
	}
	return out
}

func (w *world) get(id journal.ID) *journal.Intent {
	w.t.Helper()
	i, err := w.j.Get(id)
	if err != nil {
		w.t.Fatalf("get %s: %v", id, err)
	}
	return i
}

// due is how many of our own intents are in the due index.
func (w *world) due(ids []journal.ID) (n int) {
	w.t.Helper()
	for _, id := range ids {
		if journal.Place(w.get(id).Head.Place) == journal.PlaceDue {
			n++
		}
	}
	return n
}

// until waits for a condition.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}
