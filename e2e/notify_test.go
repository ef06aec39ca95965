package e2e_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/mail"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pannier/proxy/webhook"
)

// listeners are the servers by which people are told of their tasks: a webhook, a chat, and one for
// mail.
type listeners struct {
	t          testing.TB
	http, smtp string
	close      func() // both are away from here on

	mu      sync.Mutex
	refuses int                        // so many more are turned away
	silent  chan struct{}              // not nil: takes what comes and says nothing; closed at the first
	ids     map[string]map[string]bool // by server and headline: under which ids it came
}

// headlines are what each message begins with, by what has happened to the task.
var headlines = []string{"A decision is asked for:", "Still to be decided:", "Decided:"}

const toldSecret = "sixteen-or-more-characters"

// open lets the servers be there, at the addresses they have had.
func (s *listeners) open() {
	s.t.Helper()
	web, err := net.Listen("tcp", s.http)
	if err != nil {
		s.t.Fatal(err)
	}
	post, err := net.Listen("tcp", s.smtp)
	if err != nil {
		s.t.Fatal(err)
	}
	server := &http.Server{Handler: s}
	go server.Serve(web)
	go func() {
		for {
			c, err := post.Accept()
			if err != nil {
				return
			}
			go s.takeMail(c)
		}
	}()
	s.close = func() { server.Close(); post.Close() }
}

// takes notes a message, and reports how it is answered: not at all, with a refusal that
// says later, or well.
func (s *listeners) takes(by, text, id string) (answers, well bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses > 0 {
		s.refuses--
		return true, false
	}
	which := ""
	for _, h := range headlines {
		if strings.Contains(text, h) {
			which = h
		}
	}
	if which == "" || id == "" {
		s.t.Errorf("%s got, under the id %q: %s", by, id, text)
	}
	key := by + ": " + which
	if s.ids[key] == nil {
		s.ids[key] = map[string]bool{}
	}
	s.ids[key][id] = true
	if s.silent == nil {
		return true, true
	}
	select {
	case <-s.silent:
	default:
		close(s.silent)
	}
	return false, false
}

func (s *listeners) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // killed while it sent
	}
	text := string(body)
	if r.URL.Path == "/hook" {
		secret, _ := webhook.ParseSecret(toldSecret)
		if err := webhook.Verify(r.Header, body, time.Now(), secret); err != nil {
			s.t.Errorf("its signature: %v", err)
		}
		var news struct{ Type string }
		if err := json.Unmarshal(body, &news); err != nil {
			s.t.Error(err)
		}
		text = map[string]string{"task.assigned": headlines[0], "task.reminded": headlines[1], "task.decided": headlines[2]}[news.Type]
	}
	switch answers, well := s.takes(r.URL.Path, text, r.Header.Get("webhook-id")); {
	case !answers:
		<-r.Context().Done()
	case !well:
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

// takeMail talks to whoever brings mail, until it says goodbye.
func (s *listeners) takeMail(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	fmt.Fprint(c, "220 mail.test\r\n")
	for {
		command, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if strings.TrimSpace(command) != "DATA" {
			fmt.Fprint(c, "250 ok\r\n")
			continue
		}
		fmt.Fprint(c, "354 go on\r\n")
		var text strings.Builder
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			if line == ".\r\n" {
				break
			}
			text.WriteString(line)
		}
		m, err := mail.ReadMessage(strings.NewReader(text.String()))
		if err != nil {
			s.t.Error(err)
			return
		}
		switch answers, well := s.takes("mail", m.Header.Get("Subject"), m.Header.Get("Message-Id")); {
		case !answers:
			io.Copy(io.Discard, in)
			return
		case !well:
			fmt.Fprint(c, "450 later\r\n")
		default:
			fmt.Fprint(c, "250 taken\r\n")
		}
	}
}

// swallow has the servers say nothing to what comes from here on; what is returned is
// closed when something has.
func (s *listeners) swallow() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent = make(chan struct{})
	return s.silent
}

// answer ends that; so many are still turned away.
func (s *listeners) answer(refuses int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.silent, s.refuses = nil, refuses
}

// heard waits until all three have had a message.
func (s *listeners) heard(headline string) {
	s.t.Helper()
	eventually(s.t, "everybody to hear: "+headline, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, by := range []string{"/hook", "/chat", "mail"} {
			if len(s.ids[by+": "+headline]) == 0 {
				return fmt.Errorf("%s has not", by)
			}
		}
		return nil
	})
}

// TestPeopleAreToldOverKills: that somebody is asked, is reminded, and has decided reaches
// a webhook, a chat and a mail server, each under one id, whoever is killed or away
// meanwhile.
func TestPeopleAreToldOverKills(t *testing.T) {
	t.Parallel()
	s := &listeners{t: t, http: freeAddr(t), smtp: freeAddr(t), ids: map[string]map[string]bool{}}
	dir := t.TempDir()
	for name, text := range map[string]string{"secret": toldSecret, "chat": "http://" + s.http + "/chat"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	all := "events: [assigned, reminded, decided]"
	home := start(t, setup{name: "home", agents: []string{shop}, config: map[string]string{"notify": fmt.Sprintf(
		`[{name: hook, type: webhook, url: "http://%s/hook", secret_file: %s/secret, %s}, {name: chat, type: slack, url_file: %s/chat, %s}, {name: mail, type: mail, server: "%s", tls: none, from: pannier@acme.example, to: [ann@acme.example], %s}]`,
		s.http, dir, all, dir, all, s.smtp, all)}})
	again := func() {
		home.kill()
		home.start()
	}

	// Nobody is there to be told, and the sidecar is killed with the message.
	id := home.post(billing, map[string]any{"n": 1}, map[string]any{
		"human_task": map[string]any{"title": "Refund?"}, "remind_after_seconds": 1, "max_reminders": 1,
	})
	again()

	// Then they are, take it, and say nothing until it is killed again.
	reached := s.swallow()
	s.open()
	defer func() { s.close() }()
	select {
	case <-reached:
	case <-time.After(time.Minute):
		t.Fatal("nobody is told")
	}
	home.kill()
	s.answer(4)
	home.start()
	s.heard(headlines[0])
	s.heard(headlines[1])

	// It is decided while nobody is there.
	eventually(t, "the reminder to end", func() error { return home.toldAll(6) })
	s.close()
	if a := home.call("POST", "/v1/intents/"+id+"/resume", `{"task_result":{"outcome":"approved"}}`); a.code != 200 {
		t.Fatal(a)
	}
	again()
	s.open()
	s.heard(headlines[2])
	eventually(t, "all messages to end", func() error { return home.toldAll(9) })
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, ids := range s.ids {
		if len(ids) != 1 {
			t.Errorf("%s came under %d ids, want one: %v", key, len(ids), ids)
		}
	}
	if len(s.ids) != 9 {
		t.Errorf("%d kinds of messages, want 3 at each of 3: %v", len(s.ids), s.ids)
	}
}

// toldAll reports whether there are so many messages about tasks, all taken.
func (s *sidecar) toldAll(n int) error {
	s.t.Helper()
	for _, i := range s.list("limit=100") {
		switch {
		case i.Type != "task.notification.v1":
		case i.Status != "COMPLETED":
			return fmt.Errorf("%s to %s is %s", i.ID, i.To, i.Status)
		default:
			n--
		}
	}
	if n != 0 {
		return fmt.Errorf("%d are missing", n)
	}
	return nil
}
