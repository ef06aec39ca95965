package pages_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// The page has what was said about a task, among what happened to it, and lets people say
// more.
func TestThread(t *testing.T) {
	t.Parallel()
	l := openLobby(t, nil)
	b := l.in(annToken)
	if page := b.get("/tasks/I").Body.String(); strings.Contains(page, `action="/tasks/I/comment"`) {
		t.Error("there is no thread, and the page has a form for it")
	}
	l.events = `[{"seq":1,"event_type":"intent.created","at":"2026-01-02T03:04:05Z","actor":"a"},{"seq":2,"event_type":"intent.reminder","at":"2026-01-02T03:09:00Z","actor":"home"}]`
	l.thread = `{"timeline":[{"event_type":"intent_received","at":"2026-01-02T03:04:05Z","actor":"a","details":{}},
		{"event_type":"message.sent","at":"2026-01-02T03:05:00Z","actor":"bob@acme.example","details":{"message":"Which <b>trip</b>?"}},
		{"event_type":"thread.delegated","at":"2026-01-02T03:06:00Z","actor":"ann@acme.example","details":{"delegate_to":"agent://acme/people/legal","note":"yours\u202e"}}]}`
	page := b.get("/tasks/I").Body.String()
	at := 0
	for _, want := range []string{">Sent<", ">Comment<", "Which &lt;b&gt;trip&lt;/b&gt;?", "bob@acme.example", "Passed on to acme/people/legal", "yours⟨U+202E⟩", ">Reminder<"} {
		n := strings.Index(page[at:], want)
		if n < 0 {
			t.Errorf("the page lacks %s, or has it before what came earlier", want)
			continue
		}
		at += n
	}
	for _, row := range []struct {
		to   string
		form url.Values
		want string
	}{
		{"/tasks/I/comment", url.Values{"message": {" line\r\nline\n"}}, `map[message:line` + "\n" + `line]`},
		{"/tasks/I/delegate", url.Values{"delegate_to": {"acme/people/legal"}}, `map[delegate_to:acme/people/legal]`},
		{"/tasks/I/delegate", url.Values{"delegate_to": {"acme/people/legal"}, "note": {"n"}}, `map[delegate_to:acme/people/legal note:n]`},
	} {
		l.sent, l.key = nil, ""
		rec := b.fill("/tasks/I", row.to, row.form)
		if got := fmt.Sprint(l.sent); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/tasks/I?said#log" || got != row.want || !strings.HasPrefix(l.key, "page-") {
			t.Errorf("%s: %d, %s with the key %q, want %s", row.to, rec.Code, got, l.key, row.want)
		}
		l.sent = nil
		if rec := b.send(http.MethodPost, row.to, row.form); rec.Code != http.StatusSeeOther {
			t.Errorf("%s again: %d", row.to, rec.Code)
		}
		row.form.Set("form_token", "x")
		if l.sent = nil; b.send(http.MethodPost, row.to, row.form).Code != http.StatusForbidden || l.sent != nil {
			t.Errorf("%s: a form that is not ours is taken", row.to)
		}
	}
	l.sent = nil
	rec := b.fill("/tasks/I", "/tasks/I/delegate", url.Values{"delegate_to": {" "}, "note": {"kept"}})
	if page := rec.Body.String(); rec.Code != http.StatusUnprocessableEntity || l.sent != nil || !strings.Contains(page, `href="#delegate_to">To</a> is required`) || !strings.Contains(page, ">kept</textarea>") {
		t.Errorf("to nobody: %d\n%s", rec.Code, page)
	}
	l.refusal, l.why = http.StatusUnprocessableEntity, `{"detail":"d","errors":[{"pointer":"/message","detail":"is required"}]}`
	rec = b.fill("/tasks/I", "/tasks/I/comment", url.Values{"message": {"kept"}})
	if page := rec.Body.String(); rec.Code != http.StatusUnprocessableEntity || !strings.Contains(page, `href="#message">Comment</a> is required`) || !strings.Contains(page, ">kept</textarea>") || !strings.Contains(page, "<details open") {
		t.Errorf("a refused comment: %d\n%s", rec.Code, page)
	}
	l.why = `{"detail":"the thread is full"}`
	l.refusal = http.StatusConflict
	if rec = b.fill("/tasks/I", "/tasks/I/comment", url.Values{"message": {"kept"}}); rec.Code != http.StatusConflict || !strings.Contains(rec.Body.String(), "the thread is full") {
		t.Errorf("a full thread: %d", rec.Code)
	}
}
