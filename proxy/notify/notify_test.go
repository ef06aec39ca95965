package notify_test

import (
	"encoding/json"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/journal/wire"
	"pannier/proxy/notify"
	"pannier/proxy/webhook"
)

// hostile is a title that wants to be more than text.
const hostile = "Pay <!channel> *now*\u202e evil\r\nBcc: thief@evil.example\r\n\r\nbody\x00 <https://evil.example|click>"

func quoted(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func smtpTarget(address string) notify.Target {
	return notify.Target{Name: "mail", Kind: notify.KindMail, Mail: notify.Mail{
		Server: address, TLS: notify.NoTLS, From: "Pannier <pannier@acme.example>",
		People: map[string]string{finance: "ann@acme.example"}, Domains: []string{"acme.example"},
	}}
}

// A webhook and a chat hear of a task once each, signed, though both were away at first.
func TestPosts(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	got := map[string][]string{}
	var away atomic.Int32
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if away.Add(1) <= 6 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if r.URL.Path == "/hook" {
			secret, _ := webhook.ParseSecret("sixteen-or-more-characters")
			if err := webhook.Verify(r.Header, body, time.Now(), secret); err != nil {
				t.Errorf("its signature: %v", err)
			}
		}
		mu.Lock()
		defer mu.Unlock()
		got[r.URL.Path] = append(got[r.URL.Path], string(body))
		w.WriteHeader(http.StatusAccepted) // which an app would say to answer later
	}))
	defer s.Close()
	w := setup(t,
		notify.Target{Name: "hook", Kind: notify.KindWebhook, URL: s.URL + "/hook", Secret: secretFile(t, "sixteen-or-more-characters")},
		notify.Target{Name: "chat", Kind: notify.KindSlack, URLFile: secretFile(t, s.URL+"/services/T0/secret")},
		notify.Target{Name: "others", Kind: notify.KindWebhook, URL: s.URL + "/others", Agents: []string{"agent://acme/dev/*"}},
		notify.Target{Name: "ends", Kind: notify.KindWebhook, URL: s.URL + "/ends", Turns: []journal.Turn{journal.TaskDecided}},
	)
	id := w.ask(`{"title":` + quoted(hostile) + `,"description":"two\nBy: somebody"}`)
	for _, target := range []string{"hook", "chat"} {
		w.wantStatus(w.ended(target, 1)[0], state.Completed)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(got) != 2 || len(got["/hook"]) != 1 || len(got["/services/T0/secret"]) != 1 {
		t.Fatalf("got %q, want one at each of the two that are told of it", got)
	}
	var news notify.News
	if err := json.Unmarshal([]byte(got["/hook"][0]), &news); err != nil {
		t.Fatal(err)
	}
	const title = "Pay <!channel> *now* evil Bcc: thief@evil.example body <https://evil.example|click>"
	d := news.Data
	if news.Type != "task.assigned" || d.Title != title || d.Description != "two\nBy: somebody" || d.IntentID != id.String() || d.Asked != finance || d.URL != "https://inbox.acme.example/tasks/"+id.String() {
		t.Errorf("the webhook got %s", got["/hook"][0])
	}
	var line struct{ Text string }
	if err := json.Unmarshal([]byte(got["/services/T0/secret"][0]), &line); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(line.Text, "\n<https://inbox.acme.example/tasks/"+id.String()+">\n") {
		t.Errorf("without the link: %q", line.Text)
	}
	for _, markup := range []string{"<!", "\nBy: ", "evil.example|click>", "*now*", "https://evil", "\x00", "\u202e"} {
		if strings.Contains(line.Text, markup) {
			t.Errorf("%q would be more than text: %q", markup, line.Text)
		}
	}
}

// What is wrong with a message ends it, with the server's words; a secret is in none.
func TestRefusedPostsAreDeadLetters(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "invalid_blocks", http.StatusBadRequest)
	}))
	defer s.Close()
	w := setup(t, notify.Target{Name: "chat", Kind: notify.KindSlack, URLFile: secretFile(t, s.URL+"/services/T0/secret")})
	w.ask(`{}`)
	i := w.ended("chat", 1)[0]
	w.wantStatus(i, state.Failed)
	if text := i.Outcome.Text; !strings.Contains(text, "invalid_blocks") || strings.Contains(text, "services") {
		t.Errorf("it ended as %q", text)
	}
}

// Mail comes once, as a mail of ours whatever the task says, though the server was away
// when the task was made and put it off twice.
func TestMail(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	target := smtpTarget(address)
	target.Mail.Username, target.Mail.Password = "pannier", secretFile(t, "tr0mbone")
	w := setup(t, target)
	id := w.ask(`{"title":` + quoted(hostile) + `,"notify_email":"bob@ACME.example","description":` + quoted(strings.Repeat("long. ", 500)) + `}`)
	var later atomic.Int32
	s := mailServerAt(t, address, func(command string) string {
		if strings.HasPrefix(command, "RCPT") && later.Add(1) <= 2 {
			return "450 4.2.0 greylisted"
		}
		return ""
	})
	for _, i := range w.ended("mail", 2) {
		w.wantStatus(i, state.Completed)
	}
	mails := s.taken()
	if len(mails) != 2 || !strings.Contains(s.commands(), "AUTH PLAIN AHBhbm5pZXIAdHIwbWJvbmU=") {
		t.Fatalf("%d mails after\n%s", len(mails), s.commands())
	}
	to := map[string]bool{}
	for _, text := range mails {
		for _, l := range strings.Split(text, "\r\n") {
			if len(l) > 200 || len(l) > 77 && strings.Contains(l, "=?") {
				t.Errorf("a line of %d bytes: %s", len(l), l)
			}
		}
		m, err := mail.ReadMessage(strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		to[m.Header.Get("To")] = true
		subject, err := (&mime.WordDecoder{}).DecodeHeader(m.Header.Get("Subject"))
		if err != nil || !strings.HasPrefix(subject, "A decision is asked for: Pay <!channel> *now* evil Bcc: thief@evil.example") {
			t.Errorf("subject %q, %v", subject, err)
		}
		if m.Header.Get("Bcc") != "" || len(m.Header) != 10 {
			t.Errorf("headers %v", m.Header)
		}
		body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
		if err != nil || !utf8.Valid(body) || !strings.Contains(string(body), "open https://inbox.acme.example/tasks/"+id.String()) || len(body) > 3000 {
			t.Errorf("body of %d bytes, %v:\n%s", len(body), err, body)
		}
	}
	if !to["ann@acme.example"] || !to["bob@ACME.example"] {
		t.Errorf("mails to %v", to)
	}
}

// A subject that is not ASCII is folded between encoded words.
func TestSubjectsAreFolded(t *testing.T) {
	t.Parallel()
	s := mailServerAt(t, "127.0.0.1:0", nil)
	w := setup(t, smtpTarget(s.Addr().String()))
	title := strings.Repeat("Überweisung 💶 ", 12)
	w.ask(`{"title":` + quoted(title) + `}`)
	w.ended("mail", 1)
	text := s.taken()[0]
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	subject, err := (&mime.WordDecoder{}).DecodeHeader(m.Header.Get("Subject"))
	if err != nil || !strings.HasPrefix(subject, "A decision is asked for: Überweisung 💶 Überweisung") || !strings.HasSuffix(subject, "…") {
		t.Errorf("subject %q, %v", subject, err)
	}
	for _, l := range strings.Split(text, "\r\n") {
		if len(l) > 200 || len(l) > 77 && strings.Contains(l, "=?") {
			t.Errorf("a line of %d bytes: %s", len(l), l)
		}
	}
}

// What a server says decides what becomes of a mail, and its words are kept.
func TestMailServersSay(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, at, says string
		ends           state.Status // None: it waits
		why            string
	}{
		{"no such person", "RCPT", "550 5.1.1 no such\x1b[31m person here", state.Failed, "550 5.1.1 no such [31m person here"},
		{"the mail is refused", ".", "554 5.7.1 looks like spam", state.Failed, "554 5.7.1 looks like spam"},
		{"always later", "RCPT", "451 4.7.1 later", state.Failed, "451 4.7.1 later"},
		{"the login is refused", "AUTH", "535 5.7.8 wrong password", state.None, ""},
		{"the sender is refused", "MAIL", "550 5.7.1 who are you", state.None, ""},
		{"it is closing", "RCPT", "421 4.3.2 going down", state.None, ""},
	} {
		t.Run(row.rule, func(t *testing.T) {
			t.Parallel()
			var again atomic.Int32
			s := mailServerAt(t, "127.0.0.1:0", func(command string) string {
				if strings.HasPrefix(command, row.at) {
					again.Add(1)
					return row.says
				}
				return ""
			})
			target := smtpTarget(s.Addr().String())
			target.Mail.Username, target.Mail.Password = "pannier", secretFile(t, "tr0mbone")
			w := setup(t, target)
			w.ask(`{}`)
			if row.ends == state.None {
				tries := int32(3)
				if row.says[0] == '4' {
					tries = 1 // it is left alone for a while then
				}
				w.until("it was tried", func() bool { return again.Load() >= tries || !w.messages("mail")[0].Status().Open() })
				i := w.messages("mail")[0]
				if events, _, err := w.j.Events(i.ID, 0); err != nil || !i.Status().Open() || i.Head.Attempts != 0 {
					t.Errorf("it is %s after %d attempts (%v, %v), want it to wait without any", i.Status(), i.Head.Attempts, events, err)
				}
				return
			}
			i := w.ended("mail", 1)[0]
			w.wantStatus(i, row.ends)
			if !strings.Contains(i.Outcome.Text+string(i.Outcome.Body), row.why) {
				t.Errorf("it ended as %q %s, want %q", i.Outcome.Text, i.Outcome.Body, row.why)
			}
			if len(s.taken()) > 1 {
				t.Errorf("%d mails", len(s.taken()))
			}
		})
	}
}

// Who gets mail about a task: never somebody that only the task names, unless the
// configuration says so.
func TestNobodyIsMailedOnATasksWord(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule, email string
		domains     []string
		mails       int
	}{
		{"within no domain", "x@acme.example", nil, 1},
		{"within another", "x@evil.example", []string{"acme.example"}, 1},
		{"within a subdomain", "x@acme.example.evil.example", []string{"acme.example"}, 1},
		{"within it", "x@acme.example", []string{"acme.example"}, 2},
		{"any", "x@evil.example", []string{"*"}, 2},
		{"with a header", "x@acme.example\r\nBcc: y@acme.example", []string{"*"}, 1},
		{"with a name", "X <x@acme.example>", []string{"*"}, 1},
		{"two", "x@acme.example,y@acme.example", []string{"*"}, 1},
		{"of somebody who gets it anyway", "ann@acme.example", []string{"*"}, 1},
	} {
		target := smtpTarget("127.0.0.1:1")
		target.Mail.Domains = row.domains
		rules := notify.Rules{Targets: []notify.Target{target}}
		n := &journal.TaskNews{Turn: journal.TaskAssigned, Asked: finance, Envelope: envelopeOf(`{"notify_email":` + quoted(row.email) + `}`)}
		if got := rules.Tell(n); len(got) != row.mails {
			t.Errorf("%s: %d mails, want %d", row.rule, len(got), row.mails)
		}
	}
}

// Whatever a task says, its messages are within what the journal takes.
func TestMessagesAreSmall(t *testing.T) {
	t.Parallel()
	for _, letter := range []string{`"`, `\`, "\n", "\u2028", "<", "\x01", "ü", "\xff"} {
		long := strings.Repeat(letter, 60_000)
		names := `[` + strings.TrimSuffix(strings.Repeat(quoted(long[:3000])+",", 20), ",") + `]`
		e := envelopeOf(`{"title":` + quoted(long) + `,"description":` + quoted(long) + `,"task_type":` + quoted(long) + `,"assignees":` + names + `}`)
		n := &journal.TaskNews{Turn: journal.TaskDecided, Asked: finance, Envelope: e, By: long, Body: []byte(`{"outcome":` + quoted(long) + `,"comment":` + quoted(long) + `}`)}
		rules := notify.Rules{Targets: []notify.Target{{Name: "a", Kind: notify.KindWebhook, Turns: []journal.Turn{journal.TaskDecided}}}}
		got := rules.Tell(n)
		if len(got) != 1 || len(got[0].Payload) > 16<<10 {
			t.Errorf("of %q: %d messages, the first of %d bytes", letter, len(got), len(got[0].Payload))
		}
	}
}

// A step of a workflow tells one target, and only that; what is in it is text.
func TestStepsAreTold(t *testing.T) {
	t.Parallel()
	bodies := make(chan string, 8)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies <- r.URL.Path + " " + string(body)
	}))
	defer s.Close()
	mails := mailServerAt(t, "127.0.0.1:0", nil)
	mail := smtpTarget(mails.Addr().String())
	mail.Mail.To, mail.Mail.People = []string{"all@acme.example"}, map[string]string{"agent://acme/prod/ops": "ops@acme.example"}
	w := setup(t, mail,
		notify.Target{Name: "hook", Kind: notify.KindWebhook, URL: s.URL + "/hook"},
		notify.Target{Name: "chat", Kind: notify.KindSlack, URLFile: secretFile(t, s.URL+"/chat")})
	tell := func(target, to string, then uint32) *wire.Part {
		payload := `{"title":` + quoted(hostile) + `,"text":"It is done.","to":"` + to + `"}`
		return &wire.Part{
			Child: &wire.Envelope{IntentType: journal.NotificationType, ToAgent: journal.NotifyAddress(target), Payload: []byte(payload)},
			Step:  &wire.Step{Id: target, Kind: uint32(journal.StepNotification), OnSuccess: then},
		}
	}
	e := &wire.Envelope{IntentType: "t.v1", FromAgent: "agent://acme/prod/orders", ToAgent: journal.CoreAgent, Payload: []byte("{}")}
	plan := &wire.Plan{Scenario: "s.v1", Parts: []*wire.Part{tell("chat", "", 2), tell(mail.Name, "agent://acme/prod/ops", 3), tell(mail.Name, "", 0)}}
	if got, err := w.j.Accept(t.Context(), []journal.Accept{{Envelope: e, Plan: plan}}); err != nil || got[0].Err != nil {
		t.Fatal(err, got)
	}
	for target, n := range map[string]int{"chat": 1, mail.Name: 2} {
		for _, i := range w.ended(target, n) {
			w.wantStatus(i, state.Completed)
		}
	}
	if n := len(w.messages("hook")); n != 0 || len(bodies) != 1 {
		t.Errorf("%d messages to a target that no step names, %d requests, want one to the chat", n, len(bodies))
	}
	if line := <-bodies; !strings.HasPrefix(line, "/chat ") || !strings.Contains(line, "It is done.") || strings.Contains(line, "<!") || strings.Contains(line, "tasks/") {
		t.Errorf("the chat got %s", line)
	}
	if got := strings.Join(mails.taken(), "\n"); strings.Count(got, "To: ops@acme.example\r\n") != 1 || strings.Count(got, "To: all@acme.example\r\n") != 1 || strings.Contains(got, "\r\nBcc:") {
		t.Errorf("mail: %s", got)
	}
	for _, c := range []struct{ name, to, found, why string }{
		{"chat", "", "chat", ""}, {"hook", "agent://acme/prod/ops", "hook", ""}, {mail.Name, "agent://x", mail.Name, ""},
		{"", "", "", "is required: one of " + mail.Name + ", hook, chat"}, {"chta", "", "", "is no target of notify"},
	} {
		found, err := w.rules.Find(c.name, c.to)
		if found != c.found || (err == nil) != (c.why == "") || err != nil && !strings.HasPrefix(err.Error(), c.why) {
			t.Errorf("the target %q for %q is %q, %v", c.name, c.to, found, err)
		}
	}
	mail.Mail.To = nil
	alone := notify.Rules{Targets: []notify.Target{mail}}
	if found, err := alone.Find("", "agent://acme/prod/ops"); found != mail.Name || err != nil {
		t.Errorf("the only target is %q, %v", found, err)
	}
	if _, err := alone.Find("", "agent://x"); err == nil {
		t.Error("mail to nobody is no error")
	}
}
