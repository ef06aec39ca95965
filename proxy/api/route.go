package api

import (
	"net/http"
	"net/url"
	"path"
	"strings"
)

// handler answers a request, or returns why not before it has written anything.
type handler func(w http.ResponseWriter, r *http.Request) error

// ServeHTTP lets the mux call a handler; serve finds its error in the response.
func (h handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { w.(*response).err = h(w, r) }

// endpoint is one line of the route table in doc.go, and a path of openapi.yaml.
type endpoint struct {
	method, path string
	serve        handler
}

func (a *API) endpoints() []endpoint {
	return []endpoint{
		{"GET", "/health", a.health},
		{"GET", "/v1/health", a.health},
		{"GET", "/healthz", a.health},
		{"GET", "/readyz", a.ready},
		{"GET", "/openapi.json", a.describe},
		{"GET", "/v1/capabilities", a.capabilities},
		{"POST", "/v1/schemas", a.putSchema},
		{"GET", "/v1/schemas/{type}", a.getSchema},
		{"POST", "/v1/webhooks/subscriptions", a.subscribe},
		{"GET", "/v1/webhooks/subscriptions", a.subscriptions},
		{"DELETE", "/v1/webhooks/subscriptions/{id}", a.unsubscribe},
		{"POST", "/v1/webhooks/events", a.publish},
		{"POST", "/v1/webhooks/events/{id}/replay", a.replay},
		{"POST", "/v1/schedules", a.addSchedule},
		{"GET", "/v1/schedules", a.schedules},
		{"GET", "/v1/schedules/{id}", a.schedule},
		{"DELETE", "/v1/schedules/{id}", a.removeSchedule},
		{"POST", "/v1/schedules/{id}/pause", a.pauseSchedule},
		{"POST", "/v1/schedules/{id}/resume", a.resumeSchedule},
		{"POST", "/v1/scenarios/validate", a.validateScenario},
		{"POST", "/v1/scenarios/apply", a.applyScenario},
		{"POST", "/v1/intents", a.create},
		{"POST", "/v1/intents:batch", a.createBatch},
		{"POST", "/v1/intents/bulk-cancel", a.bulkCancel},
		{"GET", "/v1/intents", a.list},
		{"GET", "/v1/intents/{id}", a.get},
		{"GET", "/v1/intents/{id}/events", a.events},
		{"GET", "/v1/intents/{id}/events/stream", a.eventStream},
		{"GET", "/v1/intents/{id}/why", a.why},
		{"POST", "/v1/intents/{id}/resolve", a.resolve},
		{"POST", "/v1/intents/{id}/resume", a.resume},
		{"POST", "/v1/intents/{id}/controls", a.controls},
		{"POST", "/v1/intents/{id}/policy", a.policy},
		{"POST", "/v1/intents/{id}/ack", a.ack},
		{"POST", "/v1/intents/{id}/nack", a.nack},
		{"POST", "/v1/intents/{id}/extend", a.extend},
		{"GET", "/v1/me/tasks", a.tasks},
		{"GET", "/v1/inbox", a.inbox},
		{"GET", "/v1/inbox/changes", a.inboxChanges},
		{"GET", "/v1/inbox/{id}", a.inboxThread},
		{"POST", "/v1/inbox/{id}/reply", a.inboxReply},
		{"POST", "/v1/inbox/{id}/delegate", a.inboxDelegate},
		{"POST", "/v1/inbox/{id}/approve", a.inboxApprove},
		{"POST", "/v1/inbox/{id}/reject", a.inboxReject},
		{"POST", "/v1/inbox/{id}/messages/delete", a.inboxDelete},
		{"POST", "/v1/inbox/{id}/read", a.inboxRead},
		{"POST", "/v1/approvals/{id}/decision", a.approve},
		{"GET", "/v1/deliveries", a.listDeliveries},
		{"GET", "/v1/deliveries/{id}", a.getDelivery},
		{"POST", "/v1/deliveries/{id}/replay", a.replayDelivery},
		{"POST", "/v1/deliveries", a.noDelivery},
		{"POST", "/v1/deliveries/reconcile", a.noDelivery},
		{"GET", "/v1/agents", a.agents},
		{"POST", "/v1/mesh/heartbeat", a.heartbeat},
		{"GET", "/v1/mesh/agents", a.meshAgents},
		{"GET", "/v1/mesh/agents/{id}", a.meshAgent},
		{"POST", "/v1/mesh/agents/{id}/kill", a.meshKill},
		{"POST", "/v1/mesh/agents/{id}/resume", a.meshResume},
		{"GET", "/v1/mesh/events", a.meshEvents},
		{"GET", "/v1/service-accounts", a.accounts},
		{"POST", "/v1/service-accounts", a.addAccount},
		{"GET", "/v1/service-accounts/{id}", a.account},
		{"DELETE", "/v1/service-accounts/{id}", a.dropAccount},
		{"POST", "/v1/service-accounts/{id}/keys", a.addAccountKey},
		{"POST", "/v1/service-accounts/{id}/keys/{key}/revoke", a.revokeAccountKey},
	}
}

// agentHandler answers a request below /v1/agents/ADDRESS.
type agentHandler func(w http.ResponseWriter, r *http.Request, agent, tail string) error

// agentEndpoint is a line of the route table whose path ends with a suffix
// behind an address. {type} is one segment.
type agentEndpoint struct {
	method, suffix string
	serve          agentHandler
}

func (a *API) agentEndpoints() []agentEndpoint {
	return []agentEndpoint{
		{"GET", "/intents/stream", a.agentStream},
		{"GET", "/intents", a.poll},
		{"POST", "/intents:settle", a.settle},
		{"POST", "/intents/{type}", a.createShort},
		{"GET", "", a.agent},
	}
}

func (a *API) newMux() *http.ServeMux {
	mux := http.NewServeMux()
	for _, e := range a.endpoints() {
		mux.Handle(e.method+" "+e.path, a.keyed(e))
	}
	mux.Handle("/", handler(a.noRoute))
	return mux
}

const agentPrefix = "/v1/agents/"

// route finds the handler. All decisions are made on the escaped path, once:
// an escaped slash inside an address is never a separator. Paths that are not
// clean are refused rather than redirected, for a redirected POST is lost.
func (a *API) route(w *response, r *http.Request) error {
	escaped := r.URL.EscapedPath()
	if rest, ok := strings.CutPrefix(escaped, agentPrefix); ok {
		return a.routeAgent(w, r, rest)
	}
	// HEAD is GET to the mux; here it would wait for what it cannot show. The mux
	// reads escapes of plain letters, so the path to compare is the one without them.
	unclean := path.Clean(escaped) != escaped || escaped[0] != '/' // "*" of OPTIONS
	if unclean || r.Method == http.MethodHead && strings.HasPrefix(r.URL.Path, "/v1/intents") {
		return a.noRoute(w, r)
	}
	a.mux.ServeHTTP(w, r)
	if _, path, ok := strings.Cut(r.Pattern, " "); ok {
		w.route = path
	}
	return w.err
}

// noRoute says whether the path exists at all, to callers with a key.
func (a *API) noRoute(_ http.ResponseWriter, r *http.Request) error {
	if _, err := a.authenticate(r); err != nil {
		return err
	}
	var allow []string
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete} {
		probe := &http.Request{Method: method, URL: r.URL, Host: r.Host}
		if h, pattern := a.mux.Handler(probe); pattern != "/" && isHandler(h) {
			allow = append(allow, method)
		}
	}
	return refuseRoute(r, r.URL.EscapedPath(), allow)
}

// isHandler tells our handlers from the mux's redirects.
func isHandler(h http.Handler) bool {
	_, ok := h.(handler)
	return ok
}

func refuseRoute(r *http.Request, escaped string, allow []string) error {
	if len(allow) == 0 {
		p := refuse(codeRouteNotFound, "%s %s is not served by this sidecar", clip(r.Method, 16), clip(escaped, 128))
		if why := outOfScope(escaped); why != "" {
			p.detail += ": " + why
		}
		return p
	}
	p := refuse(codeMethodNotAllowed, "%s does not take %s", clip(escaped, 128), clip(r.Method, 16))
	p.header = []pair{{"Allow", strings.Join(allow, ", ")}}
	return p
}

// routeAgent serves what is below /v1/agents/. An address has any number of
// segments, so the suffix decides, and wins over an address that ends like it.
func (a *API) routeAgent(w *response, r *http.Request, rest string) error {
	r, err := a.authenticate(r)
	if err != nil {
		return err
	}
	var allow []string
	for _, e := range a.agentEndpoints() {
		address, tail, ok := cutSuffix(rest, e.suffix)
		if !ok || e.suffix == "" && len(allow) > 0 {
			continue
		}
		if r.Method != e.method {
			allow = append(allow, e.method)
			continue
		}
		agent, err := pathAddress(address)
		if err != nil {
			return err
		}
		w.route = agentPrefix + "{agent}" + e.suffix
		return e.serve(w, r, agent, tail)
	}
	return refuseRoute(r, agentPrefix+rest, allow)
}

// cutSuffix takes a suffix of literal segments, the last of which may be
// {type}, off an escaped path.
func cutSuffix(rest, suffix string) (address, tail string, ok bool) {
	literal, wild := strings.CutSuffix(suffix, "/{type}")
	if wild {
		i := strings.LastIndexByte(rest, '/')
		if i < 0 {
			return "", "", false
		}
		segment, err := url.PathUnescape(rest[i+1:])
		if err != nil {
			return "", "", false
		}
		rest, tail = rest[:i], segment
	}
	address, ok = strings.CutSuffix(rest, literal)
	if !ok {
		// Some clients escape the colon.
		address, ok = strings.CutSuffix(rest, strings.ReplaceAll(literal, ":", "%3A"))
	}
	return address, tail, ok && address != ""
}

// pathAddress reads an address from the path: raw or percent-encoded, with or
// without agent://.
func pathAddress(escaped string) (string, error) {
	text, err := url.PathUnescape(escaped)
	if err != nil {
		return "", refuse(codeInvalidAddress, "the address in the path has a bad percent escape")
	}
	return Address(text)
}

func (a *API) health(w http.ResponseWriter, _ *http.Request) error {
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).str("service", "pannier").str("status", "ok").opt("version", a.opt.Version).close('}')
	return answer(w, d)
}

// ready is health for who wants to send intents.
func (a *API) ready(w http.ResponseWriter, r *http.Request) error {
	if a.isDraining() {
		return errDraining
	}
	if err := a.journal.Err(); err != nil {
		return err
	}
	return a.health(w, r)
}

var errDraining = refuse(codeDraining, "the sidecar is stopping and takes no new intents")
