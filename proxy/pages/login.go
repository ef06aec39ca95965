package pages

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// loginPages are what somebody sees who has not logged in.
func (s *server) loginPages() {
	s.mux.HandleFunc("GET /login", s.loginForm)
	s.mux.HandleFunc("POST /login", s.login)
	s.page("POST /logout", s.logout)
}

// cookieName is that of one of our cookies. With TLS a browser lets nobody but this host
// set it. Without, it has the port: browsers send cookies to all ports of a host.
func (s *server) cookieName(r *http.Request, of string) string {
	if s.People.secure() {
		return "__Host-pannier_" + of
	}
	_, port, _ := net.SplitHostPort(r.Host) // without one it is the usual port
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		port = ""
	}
	return "pannier" + port + "_" + of
}

const (
	sessionCookie = "session"
	// formCookie is what the token of a log-in form is bound to. Without it another site
	// could log a browser in as somebody else, who would later read what is done there.
	formCookie = "form"
)

// setCookie sets a cookie that no script reads. It is sent when a link of another site, or
// of a mail, is followed (Lax), which changes nothing; and with none of another site's forms.
func (s *server) setCookie(w http.ResponseWriter, r *http.Request, of, value string, age time.Duration) {
	seconds := int(age / time.Second)
	http.SetCookie(w, &http.Cookie{
		Name: s.cookieName(r, of), Value: value, Path: "/", MaxAge: seconds,
		HttpOnly: true, Secure: s.People.secure(), SameSite: http.SameSiteLaxMode,
	})
}

const forget = -time.Second // an age: the browser drops the cookie

func (s *server) cookie(r *http.Request, of string) string {
	c, err := r.Cookie(s.cookieName(r, of))
	if err != nil {
		return ""
	}
	return c.Value
}

// loggedIn is whose session the cookie of a request is; nil: nobody's.
func (s *server) loggedIn(r *http.Request, now time.Time) (*Person, sessionKey) {
	c := s.cookie(r, sessionCookie)
	if c == "" {
		return nil, sessionKey{}
	}
	return s.sessions.find(c, s.People.Roll(), now)
}

// sendToLogin leads to the log-in, and from there back. A form is not taken along: it says
// that nothing was done.
func (s *server) sendToLogin(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodPost {
		show(w, r, http.StatusUnauthorized, loggedOutPage(toLogin(r.URL.Path)))
		return
	}
	http.Redirect(w, r, toLogin(r.URL.RequestURI()), http.StatusSeeOther)
}

func toLogin(back string) string {
	if back = local(back); back == inboxPath {
		return loginPath
	}
	return loginPath + "?" + url.Values{"to": {back}}.Encode()
}

const (
	loginPath = "/login"
	inboxPath = "/inbox"
	maxBack   = 1 << 10
)

// local is where to go after the log-in: a page of ours, or the inbox. What leads elsewhere
// is not followed.
func local(to string) string {
	u, err := url.Parse(to)
	if err != nil || len(to) > maxBack || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" ||
		u.Path != inboxPath && !strings.HasPrefix(u.Path, "/tasks/") || strings.ContainsAny(to, "\\") {
		return inboxPath
	}
	return (&url.URL{Path: u.Path, RawPath: u.RawPath, RawQuery: u.RawQuery}).String()
}

// loginView is what the page of the log-in shows.
type loginView struct {
	FormToken string
	To        string
	Wrong     string // why the last try was none
	Where     string // where a proxy logs people in
	Tokens    bool   // somebody has one
}

func (s *server) loginForm(w http.ResponseWriter, r *http.Request) {
	to := local(r.URL.Query().Get("to"))
	if person, _ := s.loggedIn(r, time.Now()); person != nil {
		http.Redirect(w, r, to, http.StatusSeeOther)
		return
	}
	s.showLogin(w, r, http.StatusOK, to, "")
}

func (s *server) showLogin(w http.ResponseWriter, r *http.Request, status int, to, wrong string) {
	bound := s.cookie(r, formCookie)
	if bound == "" || len(bound) > maxBack { // one for all pages that are open
		bound = rand.Text()
		s.setCookie(w, r, formCookie, bound, sessionFor)
	}
	v := &loginView{FormToken: s.forms.token(formCookie + bound), To: to, Wrong: wrong, Tokens: s.People.Roll().tokens}
	if s.People.Header != "" && s.People.URL != nil {
		v.Where = s.People.URL.String()
	}
	show(w, r, status, loginPage(v))
}

// login lets in who has a token.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		s.fail(w, r, nil, unreadable)
		return
	}
	to := local(r.PostForm.Get("to"))
	bound := s.cookie(r, formCookie)
	if bound == "" || !s.forms.ours(r.PostForm, formCookie+bound) {
		s.showLogin(w, r, http.StatusForbidden, to, "This form was from before a restart, from elsewhere, or your browser keeps no cookies. Try again.")
		return
	}
	now, from := time.Now(), s.People.from(r)
	if wait := s.guesses.take(from, now); wait > 0 {
		seconds := int(wait/time.Second) + 1
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
		s.showLogin(w, r, http.StatusTooManyRequests, to, "There were too many wrong tokens from where you are. Try again in "+plural(seconds, "second")+".")
		return
	}
	person := s.People.Roll().byToken(strings.TrimSpace(r.PostForm.Get("token")))
	if person == nil {
		s.Log.Warn("log-in refused", "remote", from.String())
		s.showLogin(w, r, http.StatusForbidden, to, "That is nobody's token.")
		return
	}
	s.guesses.giveBack(from, now)
	if _, old := s.loggedIn(r, now); old != (sessionKey{}) {
		s.sessions.end(old)
	}
	s.setCookie(w, r, sessionCookie, s.sessions.begin(person, now), sessionFor)
	s.setCookie(w, r, formCookie, "", forget)
	s.Log.Info("person logged in", "actor", person.Email, "remote", from.String())
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// logout ends the session for good, wherever its cookie may be.
func (s *server) logout(w http.ResponseWriter, r *http.Request, v *visitor) error {
	s.sessions.end(v.key)
	s.setCookie(w, r, sessionCookie, "", forget)
	s.Log.Info("person logged out", "actor", v.name, "remote", v.remote)
	http.Redirect(w, r, loginPath, http.StatusSeeOther)
	return nil
}
