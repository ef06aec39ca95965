package pages_test

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"pannier/proxy/api"
	"pannier/proxy/pages"
)

// office is the admin listener's routes as far as pages ask them.
type office struct {
	t       *testing.T
	handler http.Handler
	answers map[string]string // by path; LONG in one is more than three hours ago
	asked   []string          // paths, with their queries
	sent    []map[string]any  // what was posted
}

const letter = `{"intent_id":"I","cause":"rejected","code":"rejected","last_answer":"no such order","intent_type":"order.v1","to_agent":"agent://acme/prod/billing","ended_at":"LONG","attempts":{"n":1,"max":10}}`

func openOffice(t *testing.T, but map[string]string) *office {
	o := &office{t: t, answers: map[string]string{
		"/v1/admin/status": `{"version":"v1","checks":[{"name":"journal","ok":true}],"journal":{"bytes":52428800,"free_bytes":9126805504,"syncs":{"of":9,"p50_ms":1.25}},
			"backlogs":[{"place":"due","count":4,"later":2,"oldest":"LONG"},{"place":"held","count":5},{"place":"parked","count":6},{"place":"mail","count":7}]}`,
		"/v1/admin/dead-letters/groups":  `{"at":"LONG","groups":[]}`,
		"/v1/admin/dead-letters":         `{"dead_letters":[]}`,
		"/v1/admin/dead-letters/redrive": `{"matched":2,"until":"2026-01-02T03:04:05Z","sample":[` + letter + `],"failed":[],"redriven":[{"redriven_as":"S"},{"redriven_as":"T"}]}`,
		"/v1/admin/dead-letters/purge":   `{"matched":2,"until":"2026-01-02T03:04:05Z","sample":[` + letter + `],"failed":[],"purged":2}`,
	}}
	maps.Copy(o.answers, but)
	app := func(*api.Caller) http.Handler { return http.HandlerFunc(o.serve) }
	o.handler = pages.New(pages.Options{App: app, Operators: http.HandlerFunc(o.serve), Log: slog.New(slog.DiscardHandler)})
	return o
}

func (o *office) serve(w http.ResponseWriter, r *http.Request) {
	o.asked = append(o.asked, strings.TrimSuffix(r.URL.Path+"?"+r.URL.RawQuery, "?"))
	body, _ := io.ReadAll(r.Body)
	if r.Method == http.MethodPost {
		sent := map[string]any{}
		if err := json.Unmarshal(body, &sent); err != nil {
			o.t.Errorf("posted what is no JSON: %s", body)
		}
		o.sent = append(o.sent, sent)
		if n, confirmed := sent["confirm"]; confirmed && n != 2.0 {
			w.WriteHeader(http.StatusConflict)
			fmt.Fprint(w, `{"detail":"confirm: another number","error":{"code":"confirmation_required"}}`)
			return
		}
	}
	answer, ok := o.answers[r.URL.Path]
	if !ok {
		answer = "{}"
	}
	fmt.Fprint(w, strings.ReplaceAll(answer, "LONG", time.Now().Add(-190*time.Minute).Format(time.RFC3339Nano)))
}

func (o *office) get(path string) string {
	o.t.Helper()
	rec := httptest.NewRecorder()
	o.handler.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
	if rec.Code != http.StatusOK {
		o.t.Fatalf("GET %s: %d %s", path, rec.Code, rec.Body)
	}
	return rec.Body.String()
}

// press sends the form of a page as it is there, but for what is typed.
func (o *office) press(page string, typed url.Values, headers ...string) *httptest.ResponseRecorder {
	o.t.Helper()
	form := url.Values{}
	for _, m := range hidden.FindAllStringSubmatch(o.get(page), -1) {
		form.Add(m[1], m[2])
	}
	maps.Copy(form, typed)
	path, _, _ := strings.Cut(page, "?")
	r := httptest.NewRequest("POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	o.sent = nil // of the dry run
	rec := httptest.NewRecorder()
	o.handler.ServeHTTP(rec, r)
	return rec
}

// done are those of what was posted that were no dry run.
func (o *office) done() (all []map[string]any) {
	for _, s := range o.sent {
		if s["dry_run"] != true {
			all = append(all, s)
		}
	}
	return all
}

func has(t *testing.T, page string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if t.Failed() && testing.Verbose() {
		t.Log(page)
	}
}

// The overview says in words what is wrong, how much of it, since when, what to do, and
// where to look; and one calm sentence where nothing is.
func TestOverview(t *testing.T) {
	t.Parallel()
	well := openOffice(t, nil).get("/")
	has(t, well, "All is well", ">Due</a>", "4 <span", "oldest 3 h ago, 2 later", "50.0 MiB", "8.5 GiB free", ">7 <")
	if strings.Contains(well, "Not delivering") {
		t.Error("all is well, and something is not delivered")
	}
	o := openOffice(t, map[string]string{
		"/v1/admin/agents":              `{"agents":[{"agent":"agent://a/b/c","binding":"poll","unsettled":2,"oldest":"LONG","door":{"reason":"no_reader"}}]}`,
		"/v1/admin/destinations":        `{"destinations":[{"agent":"agent://a/b/d","waiting":3,"oldest":"LONG","why":[{"code":"no_endpoint","text":"Nobody serves it."}]}]}`,
		"/v1/admin/peers":               `{"peers":[{"address":"h:1","state":"breaker_open","breaker":"open","last_error":"refused","held":1}]}`,
		"/v1/admin/dead-letters/groups": `{"at":"LONG","groups":[{"count":4,"oldest":"LONG","newest":"LONG"}],"waiting_for_operator":{"count":1}}`,
	})
	page := o.get("/")
	has(t, page, "What is sent to a/b/d waits", "3 intents due, the oldest for 3 h. Nobody serves it.", `href="/intents?status=pending&amp;to=agent%3A%2F%2Fa%2Fb%2Fd"`,
		"The app of a/b/c takes nothing", "not connected", "The sidecar at h:1 cannot be reached", "Its breaker is open: refused, holding 1 intent.", `href="#peers"`, `id="peers"`,
		"4 intents, the oldest for 3 h.", `href="/dead-letters"`, "<code>pannier dlq list --open</code>", "<code>pannier peers</code>", `href="/dead-letters?show=waiting"`)
	for _, path := range o.asked {
		if strings.Contains(path, "limit=") || strings.Contains(path, "secrets") {
			t.Errorf("the overview asked for %s, which is read from a disk", path)
		}
	}
}

// Dead letters are shown by agent and cause, and one by one.
func TestDeadLetters(t *testing.T) {
	t.Parallel()
	o := openOffice(t, map[string]string{
		"/v1/admin/dead-letters": `{"dead_letters":[` + letter + `],"next_cursor":"C"}`,
		"/v1/admin/dead-letters/groups": `{"at":"LONG","groups":[{"to_agent":"agent://acme/prod/billing","cause":"rejected","code":"rejected","count":40,"oldest":"LONG","newest":"LONG"},
			{"to_agent":"agent://acme/prod/billing","cause":"rejected","redriven":true,"count":2,"oldest":"LONG","newest":"LONG"}]}`,
	})
	has(t, o.get("/dead-letters"), "40 dead letters, by agent and cause", `href="/dead-letters?agent=agent%3A%2F%2Facme%2Fprod%2Fbilling&amp;reason=rejected"`, `href="/dead-letters/purge?agent=`, ">3 h ago<",
		`name="id" value="I"`, "no such order", "1 of 10", `href="/intents/I"`, "cursor=C")
	has(t, o.get("/dead-letters?show=all"), "42 dead letters")
	has(t, o.get("/dead-letters?agent=agent://acme/prod/billing&reason=rejected"), "Rejected, to acme/prod/billing", "The app has said that it will never take it", "<code>pannier dlq redrive</code>", "Redrive all of these", "pannier dlq list --to agent://acme/prod/billing --reason rejected --open")
	has(t, o.get("/dead-letters?show=waiting"), "pannier dlq list --waiting")
	has(t, openOffice(t, nil).get("/dead-letters"), "No dead letters")
	has(t, o.get("/dead-letters?agent=x%27%3Breboot"), `--to &#39;x&#39;\&#39;&#39;;reboot&#39;`)
	if len(o.sent) != 0 {
		t.Errorf("looking at them has posted %v", o.sent)
	}
	want := "/v1/admin/dead-letters?agent=agent%3A%2F%2Facme%2Fprod%2Fbilling&limit=50&reason=rejected&redriven=false"
	if !strings.Contains(strings.Join(o.asked, " "), want) {
		t.Errorf("asked for %q, not for %s", o.asked, want)
	}
}

// A purge is one of our own forms in which the number was typed; nothing else removes
// anything, and no link does.
func TestPurgeIsTyped(t *testing.T) {
	t.Parallel()
	const page = "/dead-letters/purge?agent=agent://acme/prod/billing&reason=rejected"
	typed := func(n string) url.Values { return url.Values{"confirm": {n}} }
	for _, row := range []struct {
		rule    string
		typed   url.Values
		headers []string
		want    int
		purged  bool
	}{
		{"the number was typed", typed(" 2 "), nil, http.StatusSeeOther, true},
		{"another number", typed("3"), nil, http.StatusConflict, false},
		{"no number", typed(""), nil, http.StatusConflict, false},
		{"a word", typed("yes"), nil, http.StatusConflict, false},
		{"no token", url.Values{"confirm": {"2"}, "form_token": {""}}, nil, http.StatusForbidden, false},
		{"another origin", typed("2"), []string{"Origin: http://evil.example"}, http.StatusForbidden, false},
		{"another site", typed("2"), []string{"Sec-Fetch-Site: cross-site"}, http.StatusForbidden, false},
	} {
		o := openOffice(t, nil)
		rec := o.press(page, row.typed, row.headers...)
		done := o.done()
		if rec.Code != row.want || row.purged != (len(done) == 1 && done[0]["confirm"] == 2.0) || !row.purged && len(done) == 1 && done[0]["confirm"] == 2.0 {
			t.Errorf("%s: answered %d, and posted %v", row.rule, rec.Code, done)
		}
		if row.want == http.StatusConflict {
			has(t, rec.Body.String(), "Type 2 to remove them for good", `role="alert"`, `aria-invalid="true"`)
		}
	}
	o := openOffice(t, nil)
	o.get(page + "&confirm=2")
	if done := o.done(); len(done) != 0 {
		t.Errorf("a link has posted %v", done)
	}
	o.press(page, typed("2"))
	want := map[string]any{"agent": "agent://acme/prod/billing", "reason": "rejected", "redriven": "false", "until": "2026-01-02T03:04:05Z"}
	if got := o.done()[0]; fmt.Sprint(got["filter"]) != fmt.Sprint(want) || got["actor"] != "operator" {
		t.Errorf("purged %v as %v, want what the dry run was of: %v", got["filter"], got["actor"], want)
	}
}

// What was done is said on the page that follows, and only what we have said ourselves.
func TestRedriveSaysWhatWasDone(t *testing.T) {
	t.Parallel()
	o := openOffice(t, nil)
	const page = "/dead-letters/redrive?id=I&id=J"
	has(t, o.get(page), "Redrive 2 dead letters?", "no such order", "pannier dlq redrive I J")
	if done := o.done(); len(done) != 0 {
		t.Errorf("the dry run has posted %v", done)
	}
	rec := o.press(page, nil)
	done := o.done()
	if rec.Code != http.StatusSeeOther || len(done) != 1 || fmt.Sprint(done[0]["ids"]) != "[I J]" || done[0]["rate_per_second"] != 50.0 {
		t.Fatalf("answered %d, and posted %v", rec.Code, done)
	}
	to := rec.Header().Get("Location")
	has(t, o.get(to), "2 dead letters redriven.", `role="status"`)
	if forged := o.get(strings.Replace(to, "2+dead", "9+dead", 1)); strings.Contains(forged, `role="status"`) {
		t.Error("a link from elsewhere has the page say what was not done")
	}
}

// Who presses a button of the list and has selected none does not mean all there are.
func TestNoneSelected(t *testing.T) {
	t.Parallel()
	o := openOffice(t, map[string]string{"/v1/admin/dead-letters": `{"dead_letters":[` + letter + `]}`})
	has(t, o.get("/dead-letters"), `name="selected" value="1"`)
	o.asked = nil
	for _, verb := range []string{"redrive", "purge"} {
		rec := httptest.NewRecorder()
		o.handler.ServeHTTP(rec, httptest.NewRequest("GET", "/dead-letters/"+verb+"?selected=1", nil))
		if rec.Code != http.StatusBadRequest || !strings.Contains(rec.Body.String(), "None is selected") || len(o.asked) != 0 {
			t.Errorf("%s of none: %d, after asking for %q", verb, rec.Code, o.asked)
		}
	}
	has(t, o.get("/dead-letters/redrive?selected=1&id=I&id=J"), "Redrive 2 dead letters?")
}

// What an app sends and answers is text on the pages of operators, too.
func TestHostileTextForOperators(t *testing.T) {
	t.Parallel()
	const bad = `</td><script>alert(1)</script>\u202e`
	hostile := `{"intent_id":"\"><b>","cause":"x` + bad + `","last_answer":"` + bad + strings.Repeat("x", 1<<20) + `","intent_type":"` + bad + `","to_agent":"agent://` + bad + `","redriven_as":"\" onx=\""}`
	o := openOffice(t, map[string]string{
		"/v1/admin/agents":               `{"agents":[{"agent":"` + bad + `","binding":"` + bad + `","unsettled":1,"door":{"reason":"failing"}}]}`,
		"/v1/admin/destinations":         `{"destinations":[{"agent":"` + bad + `","waiting":1,"oldest":"LONG","why":[{"code":"` + bad + `","text":"` + bad + `"}]}]}`,
		"/v1/admin/peers":                `{"peers":[{"address":"` + bad + `","state":"down","last_error":"` + bad + `","agents":["` + bad + `"]}]}`,
		"/v1/admin/dead-letters":         `{"dead_letters":[` + hostile + `]}`,
		"/v1/admin/dead-letters/groups":  `{"groups":[{"to_agent":"` + bad + `","cause":"` + bad + `","code":"` + bad + `","count":1}]}`,
		"/v1/admin/dead-letters/purge":   `{"matched":1,"sample":[` + hostile + `],"failed":[{"intent_id":"` + bad + `","message":"` + bad + `"}]}`,
		"/v1/admin/dead-letters/redrive": `{"matched":1,"sample":[` + hostile + `],"failed":[{"intent_id":"` + bad + `","message":"` + bad + `"}]}`,
	})
	query := "?" + url.Values{"agent": {"\"><script>"}, "reason": {"'><script>"}, "id": {"\"><script>"}, "show": {"\"><b>"}}.Encode()
	for _, path := range []string{"/", "/dead-letters", "/dead-letters" + query, "/dead-letters?show=waiting", "/dead-letters/purge" + query, "/dead-letters/redrive" + query} {
		page := o.get(path)
		for _, what := range []string{"<script", "<b>", "\u202e", `" onx=`, "style="} {
			if strings.Contains(page, what) {
				t.Errorf("%s: the page has %q", path, what)
			}
		}
		if len(page) > 100<<10 {
			t.Errorf("%s: the page has %d bytes", path, len(page))
		}
	}
}

// Where the admin listener's routes are not there, its pages are not either.
func TestNoPagesOfOperators(t *testing.T) {
	t.Parallel()
	w := setup(t, `"payload":{}`)
	for path, want := range map[string]int{"/": http.StatusSeeOther, "/dead-letters": http.StatusNotFound, "/dead-letters/purge": http.StatusNotFound} {
		rec := httptest.NewRecorder()
		w.handler.ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		if rec.Code != want {
			t.Errorf("%s: %d, want %d", path, rec.Code, want)
		}
	}
}
