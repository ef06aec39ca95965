package pages_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pannier/proxy/api"
	"pannier/proxy/pages"
)

const (
	annToken = "ann-0123456789abcdef"
	bobToken = "bob-0123456789abcdef"
	public   = "https://approvals.example"
	afar     = "192.0.2.7:1234"
	proxyAt  = "10.9.0.1:5555"
)

func ann() pages.Person {
	return pages.Person{Email: "ann@acme.example", Name: "Ann Lee", Token: sha256.Sum256([]byte(annToken)), Agents: []string{"agent://acme/people/finance"}}
}

func bob() pages.Person {
	return pages.Person{Email: "bob@acme.example", Token: sha256.Sum256([]byte(bobToken)), Agents: []string{"agent://acme/people/*"}}
}

// lobby is a listener for people in front of a sidecar's routes.
type lobby struct {
	*world
	roll   atomic.Pointer[pages.Roll]
	people *pages.People
	log    bytes.Buffer
	asked  *api.Caller // by the last request to the routes
}

func openLobby(t *testing.T, change func(*pages.People)) *lobby {
	l := &lobby{world: setup(t, approval)}
	l.put(ann(), bob())
	l.people = &pages.People{
		Roll: l.roll.Load, URL: &url.URL{Scheme: "https", Host: "approvals.example"},
		Header: "X-Forwarded-Email", Proxies: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/24")},
	}
	if change != nil {
		change(l.people)
	}
	l.handler = pages.New(pages.Options{App: func(c *api.Caller) http.Handler {
		l.asked = c
		return http.HandlerFunc(l.serve)
	}, People: l.people, Log: slog.New(slog.NewTextHandler(&l.log, nil))})
	return l
}

func (l *lobby) put(people ...pages.Person) { l.roll.Store(pages.NewRoll(people)) }

// browser keeps cookies and follows nothing.
type browser struct {
	l       *lobby
	cookies []*http.Cookie
	remote  string
	header  http.Header
	host    string
}

func (l *lobby) browser() *browser {
	return &browser{l: l, remote: afar, header: http.Header{}, host: "approvals.example"}
}

func (b *browser) send(method, path string, form url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
	r.RemoteAddr, r.Host = b.remote, b.host
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", public)
	}
	for name, values := range b.header {
		r.Header[name] = values
	}
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	rec := httptest.NewRecorder()
	b.l.handler.ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		b.cookies = slices.DeleteFunc(b.cookies, func(old *http.Cookie) bool { return old.Name == c.Name })
		if c.MaxAge >= 0 {
			b.cookies = append(b.cookies, c)
		}
	}
	return rec
}

func (b *browser) get(path string) *httptest.ResponseRecorder {
	return b.send(http.MethodGet, path, nil)
}

// fill sends the form of a page, with its hidden fields unless typed has them.
func (b *browser) fill(page, to string, typed url.Values) *httptest.ResponseRecorder {
	b.l.t.Helper()
	for _, m := range hidden.FindAllStringSubmatch(b.get(page).Body.String(), -1) {
		if !typed.Has(m[1]) {
			typed.Set(m[1], m[2])
		}
	}
	return b.send(http.MethodPost, to, typed)
}

func (b *browser) login(token string) *httptest.ResponseRecorder {
	b.l.t.Helper()
	return b.fill("/login", "/login", url.Values{"token": {token}})
}

// in is a browser that has logged in.
func (l *lobby) in(token string) *browser {
	l.t.Helper()
	b := l.browser()
	if rec := b.login(token); rec.Code != http.StatusSeeOther {
		l.t.Fatalf("log-in: %d %s", rec.Code, rec.Body)
	}
	return b
}

// isIn reports whether pages are shown to the browser.
func (b *browser) isIn() bool { return b.get("/inbox").Code == http.StatusOK }

// Nobody sees a page, or does anything, before they have logged in; then they are who
// they are, at once, and until they log out.
func TestLogIn(t *testing.T) {
	t.Parallel()
	l := openLobby(t, nil)
	b := l.browser()
	for _, path := range []string{"/", "/inbox", "/tasks/I", "/tasks/I/payload"} {
		rec := b.get(path)
		if to := rec.Header().Get("Location"); rec.Code != http.StatusSeeOther || !strings.HasPrefix(to, "/login") {
			t.Errorf("GET %s before the log-in: %d to %q", path, rec.Code, to)
		}
	}
	if rec := b.send(http.MethodPost, "/tasks/I", url.Values{"outcome": {"approved"}}); rec.Code != http.StatusUnauthorized || !strings.Contains(rec.Body.String(), "Nothing was done") {
		t.Errorf("a decision before the log-in: %d %s", rec.Code, rec.Body)
	}
	if l.asked != nil {
		t.Fatalf("the routes were asked as %+v", l.asked)
	}
	for _, token := range []string{"", "x", annToken + "x", annToken[1:]} {
		if rec := b.login(token); rec.Code != http.StatusForbidden || !strings.Contains(rec.Body.String(), "nobody&#39;s token") || b.isIn() {
			t.Errorf("the token %q: %d", token, rec.Code)
		}
	}
	if rec := b.login(" " + annToken + "\n"); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/inbox" {
		t.Fatalf("log-in: %d to %q", rec.Code, rec.Header().Get("Location"))
	}
	page := b.get("/inbox").Body.String()
	if !strings.Contains(page, "Ann Lee") || strings.Contains(page, "/intents") {
		t.Errorf("the page lacks her name, or has what is for operators:\n%s", page)
	}
	if l.asked == nil || l.asked.Person != "ann@acme.example" || !slices.Equal(l.asked.Agents, ann().Agents) {
		t.Errorf("the routes are asked as %+v", l.asked)
	}
	if rec := b.get("/intents"); rec.Code != http.StatusNotFound {
		t.Errorf("a page of operators: %d", rec.Code)
	}
	if rec := b.get("/login?to=/tasks/I"); rec.Code != http.StatusSeeOther || rec.Header().Get("Location") != "/tasks/I" {
		t.Errorf("the log-in of who is in: %d to %q", rec.Code, rec.Header().Get("Location"))
	}
	if rec := b.fill("/tasks/I", "/tasks/I", url.Values{"outcome": {"approved"}}); rec.Code != http.StatusSeeOther || l.sent == nil {
		t.Errorf("a decision: %d %s", rec.Code, rec.Body)
	}

	kept := slices.Clone(b.cookies)
	if rec := b.send(http.MethodPost, "/logout", url.Values{}); rec.Code != http.StatusForbidden || !b.isIn() {
		t.Errorf("a log-out without a form of ours: %d", rec.Code)
	}
	if rec := b.fill("/inbox", "/logout", url.Values{}); rec.Code != http.StatusSeeOther || b.isIn() {
		t.Errorf("log-out: %d, still in: %v", rec.Code, b.isIn())
	}
	if b.cookies = kept; b.isIn() {
		t.Error("what the cookie was is good after the log-out")
	}
	for _, want := range []string{`"person logged in" actor=ann@acme.example remote=192.0.2.7`, `"task decided" intent_id=I actor=ann@acme.example outcome=approved remote=192.0.2.7`, `"person logged out" actor=ann@acme.example`, `"log-in refused" remote=192.0.2.7`} {
		if !strings.Contains(l.log.String(), want) {
			t.Errorf("the log lacks %s:\n%s", want, &l.log)
		}
	}
	if strings.Contains(l.log.String(), annToken) {
		t.Error("a token is in the log")
	}
}

// A session is what the browser was given and no more, for as long as its person is on
// the roll with that token, and for half a day.
func TestSessionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLobby(t, nil)
		b := l.in(annToken)
		right := b.cookies[0].Value
		for _, wrong := range []string{"", right[:len(right)-1], right + "A", strings.Repeat("A", len(right)), strings.ToUpper(right), annToken} {
			if b.cookies[0].Value = wrong; b.isIn() {
				t.Errorf("the cookie %q is good", wrong)
			}
		}
		b.cookies[0].Value = right
		time.Sleep(12*time.Hour - time.Second)
		if !b.isIn() {
			t.Error("over before its time")
		}
		time.Sleep(time.Second)
		if b.isIn() {
			t.Error("after 12 h it is good")
		}
	})
	for name, people := range map[string][]pages.Person{
		"gone":          {bob()},
		"another token": {bob(), func() pages.Person { p := ann(); p.Token[0]++; return p }()},
		"another name":  {bob(), func() pages.Person { p := ann(); p.Name = "Eve"; return p }()},
		"no token":      {bob(), func() pages.Person { p := ann(); p.Token = [32]byte{}; return p }()},
	} {
		l := openLobby(t, nil)
		b, other := l.in(annToken), l.in(bobToken)
		if l.put(people...); b.isIn() {
			t.Errorf("%s: she is still in", name)
		}
		if !other.isIn() {
			t.Errorf("%s: somebody else is out", name)
		}
		if l.put(ann(), bob()); b.isIn() {
			t.Errorf("%s: what has ended is good again", name)
		}
	}
	l := openLobby(t, nil)
	b := l.in(annToken)
	p := ann()
	p.Agents = []string{"agent://acme/people/legal"}
	if l.put(p); !b.isIn() || !slices.Equal(l.asked.Agents, p.Agents) {
		t.Errorf("whom she acts for has changed; she is asked for as %+v", l.asked)
	}
	var all []*browser
	for range 9 {
		all = append(all, l.in(annToken))
	}
	if all[0].isIn() || !all[1].isIn() || !all[8].isIn() || b.isIn() {
		t.Error("of ten sessions of one person not the last eight are open")
	}
}

// A log-in begins a new session, whatever cookie came along, and ends the one it had.
func TestSessionIsNotFixed(t *testing.T) {
	t.Parallel()
	l := openLobby(t, nil)
	eve := l.in(bobToken)
	b := l.browser()
	b.cookies = append(b.cookies, eve.cookies...)
	page := l.browser()
	form := page.get("/login")
	b.cookies = append(b.cookies, page.cookies...)
	rec := b.send(http.MethodPost, "/login", url.Values{"token": {annToken}, "form_token": {hidden.FindStringSubmatch(form.Body.String())[2]}})
	if rec.Code != http.StatusSeeOther || !b.isIn() || l.asked.Person != "ann@acme.example" {
		t.Fatalf("log-in over another session: %d, asked as %+v", rec.Code, l.asked)
	}
	if eve.isIn() {
		t.Error("the session that was there before is still open")
	}
	for _, c := range b.cookies {
		if c.Value == eve.cookies[0].Value {
			t.Error("the cookie that was there before is hers now")
		}
	}
}

// Another site cannot log a browser in: the form is bound to a cookie that it cannot set.
func TestLogInFormIsOurs(t *testing.T) {
	t.Parallel()
	l := openLobby(t, nil)
	mine := l.browser()
	token := hidden.FindStringSubmatch(mine.get("/login").Body.String())[2]
	for name, try := range map[string]struct {
		of   *browser
		form url.Values
		set  http.Header
	}{
		"no token":            {l.browser(), url.Values{}, nil},
		"a token, no cookie":  {l.browser(), url.Values{"form_token": {token}}, nil},
		"another one's token": {func() *browser { b := l.browser(); b.get("/login"); return b }(), url.Values{"form_token": {token}}, nil},
		"another origin":      {mine, url.Values{"form_token": {token}}, http.Header{"Origin": {"https://evil.example"}}},
		"another site":        {mine, url.Values{"form_token": {token}}, http.Header{"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}}},
	} {
		try.form.Set("token", annToken)
		try.of.header = try.set
		if rec := try.of.send(http.MethodPost, "/login", try.form); rec.Code != http.StatusForbidden {
			t.Errorf("%s: %d", name, rec.Code)
		}
		if try.of.header = nil; try.of.isIn() {
			t.Errorf("%s: logged in", name)
		}
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		url, host, name string
		secure          bool
	}{
		{public, "approvals.example", "__Host-pannier_session", true},
		{"", "127.0.0.1:7404", "pannier7404_session", false},
		{"http://localhost:7404", "localhost", "pannier_session", false},
	} {
		l := openLobby(t, func(p *pages.People) {
			if p.URL = nil; row.url != "" {
				p.URL, _ = url.Parse(row.url)
			}
		})
		b := l.browser()
		b.host, b.header = row.host, http.Header{"Origin": {"http://" + row.host}}
		if row.url != "" {
			b.header.Set("Origin", row.url)
		}
		if rec := b.login(annToken); rec.Code != http.StatusSeeOther {
			t.Errorf("%s: %d", row.host, rec.Code)
			continue
		}
		c := b.cookies[0]
		if c.Name != row.name || c.Secure != row.secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 12*60*60 {
			t.Errorf("%s: the cookie is %+v", row.host, c)
		}
	}
}

// Who comes by a link is led back to it after the log-in, and nowhere else.
func TestBackAfterLogIn(t *testing.T) {
	t.Parallel()
	l := openLobby(t, nil)
	if to := l.browser().get("/tasks/I?a=b").Header().Get("Location"); to != "/login?to=%2Ftasks%2FI%3Fa%3Db" {
		t.Errorf("a link leads to %s", to)
	}
	for _, row := range []struct{ to, want string }{
		{"/tasks/I", "/tasks/I"}, {"/tasks/I?decided", "/tasks/I?decided"}, {"/inbox?cursor=1", "/inbox?cursor=1"}, {"/inbox", "/inbox"}, {"", "/inbox"},
		{"https://evil.example/tasks/I", "/inbox"}, {"//evil.example/tasks/I", "/inbox"}, {`/\evil.example/tasks/I`, "/inbox"}, {`\\evil.example`, "/inbox"},
		{"/tasks/I\r\nX: y", "/inbox"}, {"javascript:alert(1)", "/inbox"}, {"/logout", "/inbox"}, {"tasks/I", "/inbox"}, {"/tasks/" + strings.Repeat("x", 2000), "/inbox"},
		{"///evil.example/tasks/", "/inbox"}, {"/inbox/../x", "/inbox"},
	} {
		b := l.browser()
		rec := b.fill("/login?"+url.Values{"to": {row.to}}.Encode(), "/login", url.Values{"token": {annToken}})
		if got := rec.Header().Get("Location"); got != row.want {
			t.Errorf("to %q: led to %q, want %q", row.to, got, row.want)
		}
		b = l.browser()
		rec = b.fill("/login", "/login", url.Values{"token": {annToken}, "to": {row.to}})
		if got := rec.Header().Get("Location"); got != row.want {
			t.Errorf("to %q in the form: led to %q, want %q", row.to, got, row.want)
		}
	}
}

// After ten wrong tokens an address waits, with the right one too; others do not.
func TestGuessesAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLobby(t, nil)
		b, other, proxied := l.browser(), l.in(annToken), l.browser()
		for i := range 10 {
			if rec := b.login("wrong"); rec.Code != http.StatusForbidden {
				t.Fatalf("guess %d: %d", i+1, rec.Code)
			}
		}
		rec := b.login(annToken)
		if rec.Code != http.StatusTooManyRequests || rec.Header().Get("Retry-After") != "31" {
			t.Errorf("the eleventh: %d, wait %q", rec.Code, rec.Header().Get("Retry-After"))
		}
		if !other.isIn() {
			t.Error("who is in is out")
		}
		if other.remote = "192.0.2.8:1"; other.fill("/inbox", "/logout", url.Values{}).Code != http.StatusSeeOther || other.login(annToken).Code != http.StatusSeeOther {
			t.Error("another address has to wait, too")
		}
		proxied.remote, proxied.header = proxyAt, http.Header{"X-Forwarded-For": {"198.51.100.1, 192.0.2.7"}}
		if rec := proxied.login(annToken); rec.Code != http.StatusTooManyRequests {
			t.Errorf("the same address behind our proxy: %d", rec.Code)
		}
		if proxied.header.Set("X-Forwarded-For", "192.0.2.7, 198.51.100.1"); proxied.login(annToken).Code != http.StatusSeeOther {
			t.Error("another address behind our proxy has to wait, too")
		}
		time.Sleep(31 * time.Second)
		if rec := b.login(annToken); rec.Code != http.StatusSeeOther {
			t.Errorf("after the wait: %d", rec.Code)
		}
	})
}

// However many addresses guess, what is kept of them is bounded.
func TestGuessersAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := pages.NewGuesses()
		at := func(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}) }
		for i := range 3000 {
			g.Take(at(i), time.Now())
		}
		if n := g.Len(); n > 1001 {
			t.Errorf("%d addresses are kept", n)
		}
		if g.Take(at(2999), time.Now()) == 0 {
			t.Error("those who are not told apart do not wait")
		}
		if g.Take(at(1), time.Now()) != 0 {
			t.Error("one that is told apart waits for others")
		}
		time.Sleep(10 * time.Minute)
		if g.Take(at(5000), time.Now()) != 0 {
			t.Error("after they are forgotten a new one waits")
		}
		a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
		for range 10 {
			g.Take(a, time.Now())
		}
		if g.Take(b, time.Now()) == 0 {
			t.Error("one household has many tries, by its many addresses")
		}
	})
}

// What a proxy says of who somebody is counts only from where it is, and only of who is on
// the roll.
func TestHeaderOfTheProxy(t *testing.T) {
	t.Parallel()
	header := func(values ...string) http.Header { return http.Header{"X-Forwarded-Email": values} }
	for _, row := range []struct {
		rule   string
		remote string
		header http.Header
		code   int
		person string
	}{
		{"from the proxy", proxyAt, header("Ann@Acme.example"), 200, "ann@acme.example"},
		{"from elsewhere", afar, header("ann@acme.example"), 303, ""},
		{"from elsewhere, as if forwarded", afar, http.Header{"X-Forwarded-Email": {"ann@acme.example"}, "X-Forwarded-For": {"10.9.0.1"}}, 303, ""},
		{"from an IPv4 proxy at an IPv6 listener", "[::ffff:10.9.0.1]:5555", header("ann@acme.example"), 200, "ann@acme.example"},
		{"of nobody", proxyAt, header(""), 403, ""},
		{"of a stranger", proxyAt, header("eve@acme.example"), 403, ""},
		{"twice", proxyAt, header("ann@acme.example", "bob@acme.example"), 403, ""},
		{"two in one", proxyAt, header("ann@acme.example,bob@acme.example"), 403, ""},
		{"another header", proxyAt, http.Header{"X-Auth-Request-Email": {"ann@acme.example"}}, 303, ""},
		{"a remote that is none", "@", header("ann@acme.example"), 303, ""},
	} {
		l := openLobby(t, nil)
		b := l.browser()
		b.remote, b.header = row.remote, row.header
		rec := b.get("/inbox")
		var person string
		if l.asked != nil {
			person = l.asked.Person
		}
		if rec.Code != row.code || person != row.person {
			t.Errorf("%s: %d as %q, want %d as %q", row.rule, rec.Code, person, row.code, row.person)
		}
		if ignored := strings.Contains(l.log.String(), "header of the login proxy ignored"); ignored != (row.code == 303 && row.rule != "another header") {
			t.Errorf("%s: the log tells of an ignored header: %v", row.rule, ignored)
		}
		if row.code != 200 {
			continue
		}
		if page := rec.Body.String(); strings.Contains(page, "Log out") || !strings.Contains(page, "Ann Lee") {
			t.Errorf("%s: the page offers to log out, or does not say who is in", row.rule)
		}
		if rec := b.fill("/tasks/I", "/tasks/I", url.Values{"outcome": {"approved"}, "form_token": {"x"}}); rec.Code != http.StatusForbidden || l.sent != nil {
			t.Errorf("%s: a form that is not ours: %d", row.rule, rec.Code)
		}
		if rec := b.fill("/tasks/I", "/tasks/I", url.Values{"outcome": {"approved"}}); rec.Code != http.StatusSeeOther || l.sent == nil {
			t.Errorf("%s: a decision: %d %s", row.rule, rec.Code, rec.Body)
		}
	}
	l := openLobby(t, func(p *pages.People) { p.Header, p.Proxies = "", nil })
	b := l.browser()
	b.remote, b.header = proxyAt, header("ann@acme.example")
	if b.isIn() {
		t.Error("a header is believed that nobody has configured")
	}
}

// The token of a form is one person's: nobody decides with what another one's page has.
func TestFormsAreOnePersons(t *testing.T) {
	t.Parallel()
	l := openLobby(t, nil)
	a, b := l.in(annToken), l.in(bobToken)
	token := hidden.FindStringSubmatch(a.get("/tasks/I").Body.String())[2]
	if rec := b.send(http.MethodPost, "/tasks/I", url.Values{"outcome": {"approved"}, "form_token": {token}}); rec.Code != http.StatusForbidden || l.sent != nil {
		t.Errorf("with another one's form: %d", rec.Code)
	}
}

// The listener is asked by its names alone, and its pages stand in no frame and no cache.
func TestHostsAndHeaders(t *testing.T) {
	t.Parallel()
	l := openLobby(t, func(p *pages.People) { p.Hosts = []string{"inner"} })
	for host, want := range map[string]int{
		"approvals.example": 200, "Approvals.Example:443": 200, "127.0.0.1:7404": 200, "[::1]:7404": 200, "localhost:7404": 200, "inner:80": 200,
		"evil.example": 403, "": 403, "approvals.example.evil.example": 403,
	} {
		b := l.browser()
		b.host = host
		rec := b.get("/login")
		if rec.Code != want {
			t.Errorf("%q: %d, want %d", host, rec.Code, want)
		}
		h := rec.Header()
		for name, has := range map[string]string{"Content-Security-Policy": "frame-ancestors 'none'", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"} {
			if !strings.Contains(h.Get(name), has) {
				t.Errorf("%q: %s is %q", host, name, h.Get(name))
			}
		}
	}
	b := l.browser()
	b.host, b.remote = "whatever", proxyAt
	if rec := b.get("/login"); rec.Code != http.StatusOK {
		t.Errorf("a proxy of ours that asks by another name: %d", rec.Code)
	}
}

// An address with a letter that Unicode takes for another's is another address.
func TestAddressThatLooksTheSame(t *testing.T) {
	t.Parallel()
	l := openLobby(t, nil)
	l.put(pages.Person{Email: "kim@acme.example", Agents: []string{"agent://acme/people/finance"}})
	for address, want := range map[string]int{"Kim@ACME.example": 200, "\u212aim@acme.example": 403} {
		b := l.browser()
		b.remote, b.header = proxyAt, http.Header{"X-Forwarded-Email": {address}}
		if rec := b.get("/inbox"); rec.Code != want {
			t.Errorf("%q: %d, want %d", address, rec.Code, want)
		}
	}
}

// A page that has pointed its own name at loopback is not taken for the proxy there: its
// browser would be whomever it names.
func TestNameThatPointsAtLoopback(t *testing.T) {
	t.Parallel()
	l := openLobby(t, func(p *pages.People) { p.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	for host, want := range map[string]int{"evil.example:7404": 403, "approvals.example": 200, "127.0.0.1:7404": 200} {
		b := l.browser()
		b.host, b.remote, b.header = host, "127.0.0.1:5555", http.Header{"X-Forwarded-Email": {"ann@acme.example"}}
		if rec := b.get("/inbox"); rec.Code != want {
			t.Errorf("%s: %d, want %d", host, rec.Code, want)
		}
	}
}

// The page of the log-in says where to go when nobody has a token.
func TestLogInByProxyAlone(t *testing.T) {
	t.Parallel()
	l := openLobby(t, nil)
	p := ann()
	p.Token = [32]byte{}
	l.put(p)
	b := l.browser()
	page := b.get("/login?to=/tasks/I").Body.String()
	if !strings.Contains(page, fmt.Sprintf("href=%q", public+"/tasks/I")) || strings.Contains(page, "<form") {
		t.Errorf("the page of the log-in:\n%s", page)
	}
}
