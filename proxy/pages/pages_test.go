package pages_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"pannier/proxy/api"
	"pannier/proxy/pages"
)

// world is a sidecar's routes as far as pages ask them, for one task.
type world struct {
	t       *testing.T
	handler http.Handler
	task    string // the intent, as JSON
	events  string
	thread  string // of it; empty: there is none
	refusal int    // of the next decision; 0: it is taken
	why     string // the refusal, or what /why says
	sent    map[string]any
	key     string // of the decision
	barred  bool   // the visitor may not decide
}

const open = `"intent_id":"I","status":"WAITING","intent_type":"a.v1","from_agent":"agent://acme/prod/orders","to_agent":"agent://acme/people/finance"`

func setup(t *testing.T, task string) *world {
	w := &world{t: t, task: `{` + open + `,` + task + `}`, events: `[]`}
	w.handler = pages.New(pages.Options{App: func(*api.Caller) http.Handler { return http.HandlerFunc(w.serve) }, Log: slog.New(slog.DiscardHandler)})
	return w
}

// Who has only sent a task has no buttons that would be refused.
func TestWhoIsNotAskedHasNoButtons(t *testing.T) {
	w := setup(t, approval)
	if page := w.get("/tasks/I"); !strings.Contains(page, `name="outcome"`) || strings.Contains(page, "Not yours") {
		t.Errorf("who is asked sees %s", page)
	}
	w.barred = true
	if page := w.get("/tasks/I"); strings.Contains(page, `name="outcome"`) || !strings.Contains(page, "Not yours to decide") {
		t.Errorf("who is not asked sees %s", page)
	}
}

func (w *world) serve(rw http.ResponseWriter, r *http.Request) {
	switch {
	case r.URL.Path == "/v1/me/tasks":
		fmt.Fprintf(rw, `{"tasks":[%s]}`, w.task)
	case r.URL.Path == "/v1/intents":
		fmt.Fprintf(rw, `{"intents":[%s],"next_cursor":null}`, w.task)
	case strings.HasSuffix(r.URL.Path, "/why"):
		fmt.Fprint(rw, w.why)
	case strings.HasSuffix(r.URL.Path, "/events"):
		fmt.Fprintf(rw, `{"events":%s}`, w.events)
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v1/inbox/") && w.thread == "":
		rw.WriteHeader(http.StatusNotFound)
	case r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/v1/inbox/"):
		fmt.Fprintf(rw, `{"thread":%s}`, w.thread)
	case r.Method == http.MethodGet:
		fmt.Fprintf(rw, `{"may_decide":%t,"intent":%s}`, !w.barred, w.task)
	case w.refusal != 0:
		rw.WriteHeader(w.refusal)
		fmt.Fprint(rw, w.why)
	default:
		w.key = r.Header.Get("Idempotency-Key")
		body, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(body, &w.sent); err != nil {
			w.t.Errorf("a decision that is no JSON: %s", body)
		}
		fmt.Fprint(rw, `{"ok":true}`)
	}
}

func (w *world) get(path string) string {
	w.t.Helper()
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	if rec.Code != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s", path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// press fills in the form of the task and sends it; typed may take hidden fields out.
func (w *world) press(typed url.Values, headers ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	for _, m := range hidden.FindAllStringSubmatch(w.get("/tasks/I"), -1) {
		if !typed.Has(m[1]) {
			typed.Set(m[1], m[2])
		}
	}
	r := httptest.NewRequest("POST", "/tasks/I", strings.NewReader(typed.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	w.handler.ServeHTTP(rec, r)
	return rec
}

const approval = `"human_task":{"title":"Refund?","task_type":"approval","allowed_outcomes":["approved","rejected"]}`

// A form of another site, or without our token, decides nothing; nor does any GET.
func TestOnlyOurOwnFormsDecide(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		rule    string
		typed   url.Values
		headers []string
		want    int
	}{
		{"ours", url.Values{"outcome": {"approved"}}, nil, http.StatusSeeOther},
		{"ours, from our origin", url.Values{"outcome": {"approved"}}, []string{"Origin: http://example.com"}, http.StatusSeeOther},
		{"no token", url.Values{"outcome": {"approved"}, "form_token": {""}}, nil, http.StatusForbidden},
		{"another token", url.Values{"outcome": {"approved"}, "form_token": {"x"}}, nil, http.StatusForbidden},
		{"another origin", url.Values{"outcome": {"approved"}}, []string{"Origin: http://evil.example"}, http.StatusForbidden},
		{"another site", url.Values{"outcome": {"approved"}}, []string{"Sec-Fetch-Site: cross-site"}, http.StatusForbidden},
		{"more than is read", url.Values{"outcome": {"approved"}, "comment": {strings.Repeat("x", 300<<10)}}, nil, http.StatusBadRequest},
	} {
		w := setup(t, approval)
		rec := w.press(row.typed, row.headers...)
		if decided := w.sent != nil; rec.Code != row.want || decided != (row.want == http.StatusSeeOther) {
			t.Errorf("%s: %d, decided: %v; want %d", row.rule, rec.Code, decided, row.want)
		}
		if row.want == http.StatusSeeOther && !strings.HasPrefix(w.key, "page-") {
			t.Errorf("%s: the decision has the key %q, so a form sent twice is two", row.rule, w.key)
		}
	}
	w := setup(t, approval)
	w.get("/tasks/I?outcome=approved&decided")
	if w.sent != nil {
		t.Errorf("a link has decided: %v", w.sent)
	}
}

// An inbox whose newest tasks are all others' does not look like an empty one.
func TestInboxGoesOn(t *testing.T) {
	t.Parallel()
	for next, want := range map[string]string{"": "Nothing to decide<", "C": `href="/inbox?cursor=C"`} {
		app := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Pannier-Next-Cursor", next)
			fmt.Fprint(w, `{"tasks":[]}`)
		})
		rec := httptest.NewRecorder()
		pages.New(pages.Options{App: func(*api.Caller) http.Handler { return app }, Log: slog.New(slog.DiscardHandler)}).ServeHTTP(rec, httptest.NewRequest("GET", "/inbox", nil))
		if page := rec.Body.String(); !strings.Contains(page, want) || (next != "") == strings.Contains(page, "Nothing to decide<") {
			t.Errorf("before %q: %s", next, page)
		}
	}
}

// Whatever an app sends is text on the page.
func TestHostileText(t *testing.T) {
	t.Parallel()
	const attack = `</pre><script>alert(1)</script>`
	big := strings.Repeat("x", 1<<20)
	deep := strings.Repeat(`{"a":[`, 4000) + strings.Repeat(`]}`, 4000)
	for name, payload := range map[string]string{
		"markup": `{"</td><b>":"` + attack + `"}`, "list": `["` + attack + `","a\u202eb\u0000\u200b"]`, "direction": `{"a\u2066":"a\u202eb\u0000\u200b"}`,
		"large": `{"a":"` + big + `"}`, "deep": deep, "a string": `"` + attack + `"`,
	} {
		w := setup(t, `"payload":`+payload+`,"human_task":{"title":"</title>`+attack+`\u202e","task_type":"x\"><b>","description":"`+attack+`","allowed_outcomes":["a\"><b>"]}`)
		for _, path := range []string{"/tasks/I", "/inbox"} {
			page := w.get(path)
			for _, bad := range []string{"<script", "<b>", "\u202e", "\u2066", "\u200b", "\x00"} {
				if strings.Contains(page, bad) {
					t.Errorf("%s, %s: the page has %q", name, path, bad)
				}
			}
			if len(page) > 200<<10 {
				t.Errorf("%s, %s: the page has %d bytes", name, path, len(page))
			}
		}
	}
}

const form = `"human_task":{"title":"Supplier","task_type":"form","allowed_outcomes":["submitted","rejected"],"required_comment":true,"form_schema":{
	"type":"object","required":["iban","limit"],"properties":{
	"iban":{"type":"string"},"limit":{"type":"integer"},"share":{"type":"number"},"vat":{"type":"boolean"},"risk":{"enum":["low",2]},
	"tags":{"type":"array","items":{"enum":["a","b"]}},"names":{"type":"array","items":{"type":"string"}},
	"at":{"type":"string","format":"date-time"},"contact":{"type":"object","properties":{"mail":{"type":"string","format":"email"}}},
	"extra":{"type":["object","null"]},"a/b~c":{"type":"string"}}}}`

// What is typed becomes the JSON that the schema is about.
func TestFormBecomesJSON(t *testing.T) {
	t.Parallel()
	w := setup(t, form)
	w.press(url.Values{
		"outcome": {"submitted"}, "comment": {"line\r\nline"}, "data.iban": {"DE1"}, "data.limit": {"12"}, "data.share": {"0.5"}, "data.vat": {"true"},
		"data.risk": {"2"}, "data.tags": {`"b"`, `"forged"`}, "data.names": {"x\r\n\r\ny"}, "data.at": {"2026-01-02T03:04"}, "data.contact.mail": {"a@b"},
		"data.extra": {`{"k":[1]}`}, "data.a/b~c": {"s"}, "data.unknown": {"x"},
	})
	got, _ := json.Marshal(w.sent["task_result"])
	const want = `{"comment":"line\nline","data":{"a/b~c":"s","at":"2026-01-02T03:04:00Z","contact":{"mail":"a@b"},"extra":{"k":[1]},"iban":"DE1","limit":12,"names":["x","y"],"risk":2,"share":0.5,"tags":["b"],"vat":true},"outcome":"submitted"}`
	if string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	w.press(url.Values{"outcome": {"rejected"}})
	if got, _ := json.Marshal(w.sent["task_result"]); string(got) != `{"data":{"vat":false},"outcome":"rejected"}` {
		t.Errorf("nothing typed is %s", got)
	}
}

// What is refused comes back beside the fields it is about, with all that was typed.
func TestRefusedFormComesBack(t *testing.T) {
	t.Parallel()
	w := setup(t, form)
	w.refusal, w.why = http.StatusUnprocessableEntity, `{"detail":"d","errors":[{"pointer":"/task_result/data","detail":"missing property 'iban'"},
		{"pointer":"/task_result/data/limit","detail":"got string, want integer"},{"pointer":"/task_result/data/contact/mail","detail":"no address"},{"pointer":"/task_result/comment","detail":"is required by the task"}]}`
	rec := w.press(url.Values{"outcome": {"submitted"}, "data.limit": {"twelve"}, "data.contact.mail": {"nobody"}, "data.vat": {"true"}})
	page := rec.Body.String()
	if rec.Code != http.StatusUnprocessableEntity {
		t.Errorf("answered %d", rec.Code)
	}
	for _, want := range []string{
		`id="data.limit-error"><span aria-hidden="true">✕</span> got string, want integer`, `id="data.iban-error"><span aria-hidden="true">✕</span> is required`,
		`id="data.contact.mail-error"><span aria-hidden="true">✕</span> no address`, `href="#comment">Comment</a> is required by the task`, `href="#data.limit"`,
		`value="twelve"`, `value="nobody"`, `value="true" checked`,
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// Who comes second is told who was first, and when, and that theirs was not recorded.
func TestSomebodyWasFaster(t *testing.T) {
	t.Parallel()
	w := setup(t, approval)
	w.refusal, w.why = http.StatusConflict, `{"detail":"the intent has ended COMPLETED"}`
	decided := `{` + strings.Replace(open, "WAITING", "COMPLETED", 1) + `,"result":{"outcome":"approved","comment":"fine"},` + approval + `}`
	w.events = `[{"seq":1,"event_type":"intent.completed","at":"2026-01-02T03:04:05Z","actor":"ann@acme.example"}]`
	rec := w.press(url.Values{"outcome": {"rejected"}})
	if rec.Code != http.StatusConflict {
		t.Fatalf("answered %d", rec.Code)
	}
	w.task = decided
	rec = w.press(url.Values{"outcome": {"rejected"}, "form_token": {hidden.FindStringSubmatch(setupToken(w))[2]}})
	page := rec.Body.String()
	for _, want := range []string{"Somebody was faster", "ann@acme.example", "2026-01-02T03:04:05Z", "Approved", "fine"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if strings.Contains(page, "<button name=\"outcome\"") {
		t.Error("what is decided has buttons")
	}
}

// setupToken is the page of the task as if it were open.
func setupToken(w *world) string {
	task := w.task
	w.task = `{` + open + `,` + approval + `}`
	defer func() { w.task = task }()
	return w.get("/tasks/I")
}

// No page has a script, an inline style, or may load what is not this process's.
func TestPolicyOfContent(t *testing.T) {
	t.Parallel()
	w := setup(t, form)
	for _, path := range []string{"/inbox", "/tasks/I"} {
		if page := w.get(path); strings.Contains(page, "<script") || strings.Contains(page, "style=") || strings.Contains(page, " on") && regexp.MustCompile(` on[a-z]+="`).MatchString(page) {
			t.Errorf("%s has a script or a style in it", path)
		}
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if csp := rec.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy is %q", path, csp)
		}
	}
}

// What apps answered after the end is on the page of the intent, each with when, who and what.
func TestIntentPageShowsLateAnswers(t *testing.T) {
	t.Parallel()
	w := setup(t, `"created_at":"2026-01-02T03:04:05Z","payload":{},"late_answers":[{"holder":"H-1","kind":"complete","at":"2026-01-02T03:06:00Z","body":"{\"invoice\":\"</td>7\"}"},{"kind":"fail","at":"2026-01-02T03:07:00Z","body":"`+strings.Repeat("x", 500)+`"}]`)
	w.why, w.events = `{"text":"It has ended."}`, `[]`
	page := w.get("/intents/I")
	for _, want := range []string{"Answers after its end", ">complete<", "H-1", "2026-01-02T03:06:00Z", "&#34;invoice&#34;:&#34;&lt;/td&gt;7&#34;", ">fail<", "xxx…"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
}

// The page of an intent says why it stands where it does, and draws where its time went,
// with a table that says the same.
func TestIntentPage(t *testing.T) {
	t.Parallel()
	w := setup(t, `"created_at":"2026-01-02T03:04:05Z","payload":{"n":1}`)
	w.why = `{"text":"The app has it and has not answered.","attempts":{"n":2,"max":10}}`
	w.events = `[{"seq":1,"event_type":"intent.created","status":"CREATED","at":"2026-01-02T03:04:05Z","actor":"a","details":{}},
		{"seq":2,"event_type":"intent.submitted","status":"SUBMITTED","at":"2026-01-02T03:04:06Z","actor":"a","details":{}},
		{"seq":3,"event_type":"intent.timed_out","status":"TIMED_OUT","at":"2026-01-02T03:05:06Z","actor":"home","details":{"x":"</code><script>"}}]`
	page := w.get("/intents/I")
	for _, want := range []string{"The app has it and has not answered.", "2 of 10 attempts", "<svg", ">Journal<", ">Queue<", ">1m0s<", "intent.timed_out", "&lt;script&gt;"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if bars, rows := strings.Count(page, "<rect"), strings.Count(page, ">+"); bars != 2 || rows != bars {
		t.Errorf("the picture has %d bars and its table %d rows, want 2 and 2", bars, rows)
	}
	if strings.Contains(page, "Answers after its end") {
		t.Error("the page shows late answers of an intent that has none")
	}
	if list := w.get("/intents?status=WAITING"); !strings.Contains(list, `href="/intents/I"`) || strings.Count(list, "aria-current=\"true\"") != 1 {
		t.Errorf("the list lacks the intent, or does not say which filter it has:\n%s", list)
	}
}
