package api

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"time"

	"pannier/journal"
	"pannier/proxy/trace"
)

// serve is what every request passes: it is counted, named, checked, routed,
// and a panic or an error becomes a problem document.
func (a *API) serve(w http.ResponseWriter, r *http.Request) {
	a.begin()
	defer a.end()
	requestID := journal.NewID().String()
	h := w.Header()
	h.Set("X-Request-Id", requestID)
	if id := r.Header.Get("X-Trace-Id"); id != "" && len(id) <= maxClientTrace {
		h.Set("X-Trace-Id", id)
	}
	if len(r.TransferEncoding) > 0 {
		// net/http hides whether it came with a Content-Length too. If so, somebody on
		// the way may have read another end of it: what follows must not be taken for
		// a request (RFC 9112, 6.1).
		h.Set("Connection", "close")
	}
	if a.opt.NoTraceHeaders {
		r.Header.Del("Traceparent")
		r.Header.Del("Tracestate")
	}
	out := &response{ResponseWriter: w}
	defer a.freeBody(out)
	defer a.keepAnswer(out, 0)
	r, ended := a.opt.Tracer.Serve(r)
	began := time.Now()
	defer func() {
		ended(out.route, out.status)
		a.opt.Served(Served{r.Method, out.route, out.status, time.Since(began), trace.Exported(r.Context())})
	}()
	defer func() {
		if v := recover(); v != nil {
			if v == http.ErrAbortHandler {
				panic(v)
			}
			a.log.Error("request panicked", "request_id", requestID, "method", r.Method, "err", v, "stack", string(debug.Stack()))
			a.fail(out, refuse(codeInternal, "internal error; the log has the cause under this request id"), requestID)
		}
	}()
	err := a.guard(r)
	if err == nil {
		err = a.route(out, r)
	}
	if err == nil {
		return
	}
	p := problemOf(err)
	if p.code == codeInternal {
		a.log.Error("request failed", "request_id", requestID, "method", r.Method, "err", err)
	}
	a.fail(out, p, requestID)
}

// fail answers with the problem, or cuts a response that has begun: the client
// must not take half an answer for a whole one.
func (a *API) fail(out *response, p *problem, requestID string) {
	if out.begun {
		panic(http.ErrAbortHandler)
	}
	p.write(out, requestID)
}

// response remembers whether an answer has begun.
type response struct {
	http.ResponseWriter
	begun  bool
	status int    // 0: none was sent
	route  string // of the request; empty: none
	err    error  // of the handler the mux called
	room   int64  // that its body has
	answer int64  // that its answer has, see room
}

func (r *response) WriteHeader(status int) {
	r.begun = true
	if r.status < http.StatusOK { // else it is the final one already
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *response) Write(b []byte) (int, error) {
	r.begun = true
	if r.status < http.StatusOK {
		r.status = http.StatusOK
	}
	if r.answer > 0 {
		// A connection without deadlines is one of this process.
		control := http.NewResponseController(r.ResponseWriter)
		_ = control.SetWriteDeadline(time.Now().Add(frameTime + time.Duration(len(b))*time.Second/leastRate))
		defer control.SetWriteDeadline(time.Time{}) // the next request uses it
	}
	return r.ResponseWriter.Write(b)
}

// Unwrap gives http.ResponseController the connection.
func (r *response) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// guard refuses what a browser can be made to send to a port on localhost, and
// requests that contradict themselves.
func (a *API) guard(r *http.Request) error {
	if !a.opt.AnyHost && !onUnixSocket(r.Context()) && !a.hosts[hostName(r.Host)] {
		return refuse(codeHostNotAllowed, "the Host %q is not one of this sidecar's names", clip(r.Host, 64))
	}
	for _, name := range onceHeaders {
		if n := len(r.Header[name]); n > 1 {
			return refuse(codeInvalidRequest, "the header %s is given %d times", name, n)
		}
	}
	if why := crossSite(r); why != "" {
		return refuse(codeCrossSite, "%s", why)
	}
	owners := r.URL.Query()["owner_agent"]
	if len(owners) > 1 {
		return refuse(codeInvalidRequest, "the query parameter owner_agent is given %d times", len(owners))
	}
	owner, header := r.URL.Query().Get("owner_agent"), r.Header.Get("X-Owner-Agent")
	if owner != "" && header != "" && owner != header {
		return refuse(codeInvalidRequest, "owner_agent and the header X-Owner-Agent differ")
	}
	return nil
}

// onceHeaders say who sends a request, and for whom: of two, one reader would
// believe the first and another the last. Names are in canonical form.
var onceHeaders = []string{"Origin", "Sec-Fetch-Site", "X-Api-Key", "X-Owner-Agent"}

func allowedHosts(configured []string) map[string]bool {
	hosts := map[string]bool{"127.0.0.1": true, "localhost": true, "::1": true}
	for _, h := range configured {
		hosts[hostName(h)] = true
	}
	return hosts
}

// hostName returns the lower-case name of a Host header, without port and brackets.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.Trim(host, "[]"))
}

func onUnixSocket(ctx context.Context) bool {
	addr, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	return ok && addr.Network() == "unix"
}

// crossSite says why a request comes from another site's page, or nothing. It
// covers GET too, because a poll takes leases. Programs send neither header.
func crossSite(r *http.Request) string {
	switch site := r.Header.Get("Sec-Fetch-Site"); site {
	case "":
	case "same-origin", "none":
		return ""
	default:
		return "a page of another origin sent this (Sec-Fetch-Site: " + clip(site, 32) + ")"
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return ""
	}
	if u, err := url.Parse(origin); err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host) {
		return ""
	}
	return "a page of the origin " + clip(origin, 64) + " sent this"
}
