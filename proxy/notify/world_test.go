package notify_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pannier/inbound"
	"pannier/journal"
	"pannier/journal/journaltest"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/proxy/notify"
	"pannier/proxy/webhook"
)

const finance = "agent://acme/prod/finance"

// world is a journal whose tasks are told of, and what takes the messages.
type world struct {
	*testing.T
	dir   string
	rules *notify.Rules
	j     *journal.Journal
	m     *inbound.Mailbox
	stop  func()
}

func setup(t *testing.T, targets ...notify.Target) *world {
	t.Helper()
	if err := notify.Validate(targets); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, dir: t.TempDir(), rules: &notify.Rules{Targets: targets, Pages: "https://inbox.acme.example/"}}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) start() {
	w.Helper()
	var mu sync.Mutex
	var m *inbound.Mailbox
	mailbox := func() *inbound.Mailbox { mu.Lock(); defer mu.Unlock(); return m }
	j, err := journaltest.Open(journal.Options{Dir: w.dir, Tell: w.rules.Tell, Backoff: func(int) time.Duration { return time.Millisecond }, Hooks: journal.Hooks{
		Mail: func(a journal.Agent) {
			if m := mailbox(); m != nil {
				m.Mail(a)
			}
		},
		Moved: func(v journal.Moved) { mailbox().Moved(v) },
	}})
	if err != nil {
		w.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	in := inbound.DefaultOptions()
	in.ProbeMin, in.ProbeMax = 5*time.Millisecond, 10*time.Millisecond
	mu.Lock()
	m = inbound.NewMailbox(in, j, log)
	mu.Unlock()
	w.j, w.m = j, m
	couriers := w.rules.Couriers("Pannier/test", nil)
	var own []string
	for address := range couriers {
		own = append(own, address)
	}
	m.Own(own)
	p := webhook.New(webhook.DefaultOptions(), m, webhook.NewKeyring(filepath.Join(w.dir, "secrets")), nil, log)
	p.SetCouriers(couriers)
	ctx, stop := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = p.Run(ctx) })
	all.Go(func() { _ = m.Run(ctx) })
	all.Go(func() {
		for tick := time.NewTicker(time.Millisecond); ctx.Err() == nil; <-tick.C {
			for _, address := range own {
				w.offer(ctx, address)
			}
		}
	})
	w.stop = sync.OnceFunc(func() {
		stop()
		all.Wait()
		if err := j.Close(); err != nil {
			w.Error(err)
		}
	})
}

// offer gives what is due to our own mailbox, as home's dispatcher does.
func (w *world) offer(ctx context.Context, address string) {
	a, ok := w.j.AgentNo(address)
	if !ok {
		return
	}
	offers, _, err := w.j.Due(a, time.Now(), 100, func(journal.ID) bool { return false })
	if err != nil {
		w.Error(err)
		return
	}
	if len(offers) == 0 {
		return
	}
	results, err := w.m.Take(ctx, address, offers)
	for i, r := range results {
		if err != nil || r.Err != nil {
			w.j.Rewind(a, offers[i].Due)
		}
	}
}

// ask asks somebody to decide.
func (w *world) ask(task string) journal.ID {
	w.Helper()
	e := &wire.Envelope{IntentType: "expense.approve.v1", FromAgent: "agent://acme/prod/orders", ToAgent: finance, Payload: []byte("{}"), HumanTask: []byte(task)}
	got, err := w.j.Accept(w.Context(), []journal.Accept{{Envelope: e}})
	if err != nil || got[0].Err != nil {
		w.Fatal(err, got)
	}
	return got[0].ID
}

// messages are what there is to a target, newest first.
func (w *world) messages(target string) []*journal.Intent {
	w.Helper()
	page, _, err := w.j.List(journal.Filter{To: journal.NotifyAddress(target), Limit: 100})
	if err != nil {
		w.Fatal(err)
	}
	return page
}

// ended waits until all messages to a target have ended, and returns them.
func (w *world) ended(target string, n int) []*journal.Intent {
	w.Helper()
	w.until(fmt.Sprintf("%d messages to %s have ended", n, target), func() bool {
		open := 0
		all := w.messages(target)
		for _, i := range all {
			if i.Status().Open() {
				open++
			}
		}
		return len(all) >= n && open == 0
	})
	return w.messages(target)
}

func (w *world) until(what string, ok func() bool) {
	w.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			w.Fatalf("not within a minute: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (w *world) wantStatus(i *journal.Intent, want state.Status) {
	w.Helper()
	if i.Status() != want {
		w.Errorf("the message is %s: %s, want %s", i.Status(), i.Outcome, want)
	}
}

// secretFile is a file of a secret that only we read.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// mailServer is a scripted one: it answers each command as says tells it to.
type mailServer struct {
	net.Listener
	says func(command string) string // "" : as usual; "-": hangs up
	tls  *tls.Config                 // of STARTTLS; nil: it has none

	mu    sync.Mutex
	mails []string // as they came, without the last dot
	heard []string // commands
}

func mailServerAt(t *testing.T, address string, says func(string) string) *mailServer {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &mailServer{Listener: l, says: says}
	s.run(t)
	return s
}

// run takes connections until the test ends.
func (s *mailServer) run(t *testing.T) {
	l := s.Listener
	var open sync.WaitGroup
	open.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { defer c.Close(); s.serve(c) })
		}
	})
	t.Cleanup(func() { l.Close(); open.Wait() })
}

// usual are the answers of a server that takes everything.
var usual = map[string]string{
	"GREET": "220 mail.test", "EHLO": "250-mail.test\r\n250 AUTH PLAIN", "AUTH": "235 welcome", "MAIL": "250 ok", "RCPT": "250 ok",
	"DATA": "354 go on", "STARTTLS": "220 go on", ".": "250 taken", "QUIT": "221 bye",
}

func (s *mailServer) serve(c net.Conn) {
	in := bufio.NewReader(c)
	_, private := c.(*tls.Conn)
	answer := func(command string) bool {
		verb, _, _ := strings.Cut(command, " ")
		s.mu.Lock()
		if s.heard = append(s.heard, command); private {
			s.heard[len(s.heard)-1] = "over TLS: " + command
		}
		s.mu.Unlock()
		text := ""
		if s.says != nil {
			text = s.says(command)
		}
		if text == "" {
			text = usual[strings.ToUpper(verb)]
		}
		if verb == "EHLO" && s.tls != nil && !private {
			text = "250-mail.test\r\n250 STARTTLS"
		}
		if text == "-" {
			return false
		}
		_, err := fmt.Fprintf(c, "%s\r\n", text)
		return err == nil && !strings.HasPrefix(text, "221")
	}
	if !answer("GREET") {
		return
	}
	for {
		command, err := in.ReadString('\n')
		if err != nil || !answer(strings.TrimSpace(command)) {
			return
		}
		if strings.TrimSpace(command) == "STARTTLS" && s.tls != nil {
			c, private = tls.Server(c, s.tls), true
			in = bufio.NewReader(c)
			continue
		}
		if strings.TrimSpace(command) != "DATA" {
			continue
		}
		var mail strings.Builder
		for {
			l, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if l == ".\r\n" {
				break
			}
			mail.WriteString(l)
		}
		s.mu.Lock()
		s.mails = append(s.mails, mail.String())
		s.mu.Unlock()
		if !answer(".") {
			return
		}
	}
}

func (s *mailServer) taken() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mails...)
}

func (s *mailServer) commands() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.heard, "\n")
}

func envelopeOf(task string) *wire.Envelope {
	return &wire.Envelope{IntentType: "expense.approve.v1", FromAgent: "agent://acme/prod/orders", ToAgent: finance, HumanTask: []byte(task)}
}
