package pages

import (
	"embed"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/a-h/templ"

	"pannier/proxy/api"
)

//go:generate templ generate

// Options of the pages.
type Options struct {
	// App answers the app API's routes in this process, as that caller; nil is an operator.
	App func(*api.Caller) http.Handler
	// Operators answers the admin listener's routes in this process; nil, as for People:
	// there are no pages about the sidecar itself.
	Operators http.Handler
	// NotFound answers what is no page; nil: a page does.
	NotFound http.Handler
	// People are whom the pages are for; nil: operators, who see all there are.
	People *People
	Log    *slog.Logger
}

// server serves the pages of one listener.
type server struct {
	Options
	forms *forms
	mux   *http.ServeMux

	sessions *sessions    // of People
	guesses  *guesses     // at their tokens
	warned   atomic.Int64 // when a header was last told of that is not believed
}

//go:embed assets
var assets embed.FS

// New returns the handler of the pages. The guard against foreign hosts is its listener's.
func New(o Options) http.Handler {
	s := &server{Options: o, forms: newForms(), mux: http.NewServeMux(), sessions: newSessions(), guesses: newGuesses()}
	if o.Operators == nil {
		s.page("GET /{$}", func(w http.ResponseWriter, r *http.Request, _ *visitor) error {
			http.Redirect(w, r, "/inbox", http.StatusSeeOther)
			return nil
		})
	} else {
		s.operatorPages()
	}
	if o.People == nil {
		s.page("GET /intents", s.intents)
		s.page("GET /intents/{id}", s.intent)
		s.page("GET /intents/{id}/payload", s.savePayload)
	} else {
		s.loginPages()
	}
	s.page("GET /inbox", s.inbox)
	s.page("GET /tasks/{id}", s.task)
	s.page("GET /tasks/{id}/payload", s.savePayload)
	s.page("POST /tasks/{id}", s.decide)
	s.page("POST /tasks/{id}/comment", s.comment)
	s.page("POST /tasks/{id}/delegate", s.delegate)
	files, err := fs.Sub(assets, "assets")
	if err != nil {
		panic(err) // it is embedded
	}
	s.mux.Handle("GET /assets/", http.StripPrefix("/assets/", http.FileServerFS(files)))
	if o.NotFound != nil {
		s.mux.Handle("/", o.NotFound)
	} else {
		s.page("GET /", func(http.ResponseWriter, *http.Request, *visitor) error {
			return &refused{Status: http.StatusNotFound, Detail: "There is no such page."}
		})
	}
	return s.guard()
}

// policy lets a page load what this process serves, and nothing run that it does not serve:
// what a payload smuggles in is text.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard refuses a form that another site sends, before anything is read of it.
func (s *server) guard() http.Handler {
	sameOrigin := http.NewCrossOriginProtection()
	if p := s.People; p != nil && p.URL != nil {
		// Behind a proxy that asks us by another name, ours is the origin of its pages.
		if err := sameOrigin.AddTrustedOrigin(p.URL.Scheme + "://" + p.URL.Host); err != nil {
			panic(err) // the options were checked
		}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		// With none at all, the Origin of our own forms would be null, and they no longer ours.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-store")
		if s.People != nil && !s.People.expects(r) {
			s.fail(w, r, nil, &refused{Status: http.StatusForbidden, Detail: "The host that this was asked of is not one of the listener's names, such as that of people_url. Nothing was done."})
			return
		}
		if err := sameOrigin.Check(r); err != nil {
			s.fail(w, r, nil, &refused{Status: http.StatusForbidden, Detail: "A page of another site sent this. Nothing was done."})
			return
		}
		s.mux.ServeHTTP(w, r)
	})
}

// visitor is who asks for a page.
type visitor struct {
	name    string // for logs; "operator" of whoever reaches the admin listener
	called  string // how the page calls them; empty: an operator, who did not log in
	caller  *api.Caller
	session string     // what tokens of forms are bound to
	key     sessionKey // zero: there is none to end
	admin   bool       // the pages of operators are there
	remote  string     // where they are
	// formToken is what each form of theirs has.
	formToken string
	now       time.Time
}

// mayLogOut reports whether they logged in here, and not at a proxy.
func (v *visitor) mayLogOut() bool { return v.key != sessionKey{} }

const operator = "operator"

type view func(http.ResponseWriter, *http.Request, *visitor) error

// maxForm is the largest form that is read: a decision may hold as much as a comment
// and the fields of a form.
const maxForm = 256 << 10

var unreadable = &refused{Status: http.StatusBadRequest, Detail: "The form cannot be read, or is larger than 256 KiB. Nothing was done."}

// page serves a page to who may see it. A POST is one of our own forms, or nothing is done.
func (s *server) page(pattern string, serve view) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		v := s.visitor(w, r)
		if v == nil {
			return
		}
		if r.Method == http.MethodPost {
			r.Body = http.MaxBytesReader(w, r.Body, maxForm)
			if err := r.ParseForm(); err != nil {
				s.fail(w, r, v, unreadable)
				return
			}
			if !s.forms.ours(r.PostForm, v.session) {
				s.fail(w, r, v, &refused{Status: http.StatusForbidden, Detail: "This form is from before the sidecar was restarted, or from elsewhere. Nothing was done: open the page again."})
				return
			}
		}
		if err := serve(w, r, v); err != nil {
			s.fail(w, r, v, err)
		}
	})
}

// app asks the app API as the visitor.
func (s *server) app(r *http.Request, v *visitor, q request) (http.Header, error) {
	return ask(r.Context(), s.App(v.caller), q)
}

// fail is the one place where an error becomes a page.
func (s *server) fail(w http.ResponseWriter, r *http.Request, v *visitor, err error) {
	var why *refused
	if !errors.As(err, &why) {
		s.Log.Error("page failed", "path", r.URL.Path, "err", err)
		why = &refused{Status: http.StatusInternalServerError, Detail: "Something went wrong here. The log of the sidecar says what."}
	}
	show(w, r, why.Status, errorPage(v, why))
}

// show writes a page. An error is a reader that hung up.
func show(w http.ResponseWriter, r *http.Request, status int, c templ.Component) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_ = c.Render(r.Context(), w)
}
