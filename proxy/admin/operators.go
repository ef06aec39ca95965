package admin

import (
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"strings"
)

// A Check is one condition of readiness.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail,omitempty"`
	// Advice is something to know that does not make the process unready.
	Advice bool `json:"advice,omitempty"`
}

// Health is what a process says about itself at one moment.
type Health struct {
	Started bool // it has been ready
	Checks  []Check
}

// Ready reports whether every condition is met.
func (h Health) Ready() bool {
	return !slices.ContainsFunc(h.Checks, func(c Check) bool { return !c.OK && !c.Advice })
}

// operators is what every listener for operators has, whatever its pages.
type operators struct {
	version string
	health  func() Health
	hosts   []string
}

// Operators adds the health pages to a mux and guards all of it against what a
// browser was talked into sending. hosts are the names, beside loopback's and
// literal addresses, under which it may be asked.
func Operators(mux *http.ServeMux, version string, health func() Health, hosts []string) http.Handler {
	o := &operators{version, health, hosts}
	mux.HandleFunc("GET /healthz", o.healthz)
	mux.HandleFunc("GET /readyz", o.readyz)
	mux.HandleFunc("GET /startupz", o.startupz)
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusForbidden, "cross_site_request", "a page of another origin sent this")
	}))
	return o.guard(sameOrigin.Handler(mux))
}

// Probes returns the handler of a listener that anybody may reach: the health pages
// and the metrics, where there are any, of what [Operators] serves.
func Probes(version string, health func() Health, metrics http.Handler, hosts []string) http.Handler {
	mux := http.NewServeMux()
	if metrics != nil {
		mux.Handle("GET /metrics", metrics)
	}
	mux.HandleFunc("/", NotFound("no such page: see /healthz, /readyz, /startupz, /metrics"))
	return Operators(mux, version, health, hosts)
}

// guard refuses what a browser was talked into sending: a page may point its
// own host name at our address, but cannot make that name a literal address.
func (o *operators) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !o.hostAllowed(r.Host) {
			refuse(w, http.StatusForbidden, "host_not_allowed", "ask for localhost or for the listener's address: the Host header names something else")
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

func (o *operators) hostAllowed(hostport string) bool {
	host := hostport
	if name, _, err := net.SplitHostPort(hostport); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(strings.ToLower(host), "["), "]")
	return host == "localhost" || net.ParseIP(host) != nil || slices.Contains(o.hosts, host)
}

type healthAnswer struct {
	Status  string  `json:"status"`
	Version string  `json:"version,omitempty"`
	Checks  []Check `json:"checks,omitempty"`
}

func (o *operators) healthz(w http.ResponseWriter, _ *http.Request) {
	Write(w, http.StatusOK, healthAnswer{Status: "ok", Version: o.version})
}

func (o *operators) readyz(w http.ResponseWriter, r *http.Request) {
	now := o.health()
	answer := healthAnswer{Status: "ready", Version: o.version}
	status := http.StatusOK
	if !now.Ready() {
		answer.Status, status = "not ready", http.StatusServiceUnavailable
	}
	for _, c := range now.Checks {
		// Unasked, only what is wrong: it is the first thing anybody wants to know.
		if r.URL.Query().Has("verbose") || !c.OK && !c.Advice {
			answer.Checks = append(answer.Checks, c)
		}
	}
	Write(w, status, answer)
}

func (o *operators) startupz(w http.ResponseWriter, _ *http.Request) {
	if !o.health().Started {
		Write(w, http.StatusServiceUnavailable, healthAnswer{Status: "starting", Version: o.version})
		return
	}
	Write(w, http.StatusOK, healthAnswer{Status: "started", Version: o.version})
}

// Write answers with JSON.
func Write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // an error here is a reader that hung up
}
