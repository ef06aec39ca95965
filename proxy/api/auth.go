package api

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// openRoutes are answered without a key: method and path must be just these.
var openRoutes = map[string]bool{
	"GET /health": true, "GET /v1/health": true, "GET /healthz": true, "GET /readyz": true,
	"GET /openapi.json": true,
}

// maxBearers is how many tokens of one request are looked at.
const maxBearers = 4

// keyed lets only callers with a key pass to the endpoint. Whether a route is
// open is decided here, by the route that has matched, and not by the look of
// the path.
func (a *API) keyed(e endpoint) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		if openRoutes[r.Method+" "+e.path] {
			return e.serve(w, r)
		}
		r, err := a.authenticate(r)
		if err != nil {
			return err
		}
		return e.serve(w, r)
	}
}

// authenticate finds out whose key a request has. Without keys configured it
// changes nothing.
func (a *API) authenticate(r *http.Request) (*http.Request, error) {
	if a.opt.Identify == nil || isInside(r) {
		return r, nil
	}
	c, err := a.identify(r.Header)
	if err != nil {
		a.figures.unauthenticated.Add(1)
		return nil, err
	}
	if err := checkOwner(r, c); err != nil {
		return nil, err
	}
	return withCaller(r, c), nil
}

// identify reads the key of a request: x-api-key, or a bearer token where that
// is absent. SDKs send a bearer that is no key beside a valid x-api-key, and
// two tokens in one header.
func (a *API) identify(h http.Header) (*Caller, error) {
	keys := h.Values("X-Api-Key")
	if len(keys) > 1 {
		return nil, refuse(codeInvalidRequest, "the header X-Api-Key is given %d times", len(keys))
	}
	if len(keys) == 0 {
		keys = bearers(h)
	}
	if len(keys) == 0 {
		return nil, unauthorized("no key: send it as x-api-key, or as Authorization: Bearer")
	}
	for _, key := range keys {
		if c := a.opt.Identify(key); c != nil {
			return c, nil
		}
		if c := a.accountCaller(key); c != nil {
			return c, nil
		}
	}
	return nil, unauthorized("the key is not one of this sidecar's")
}

func unauthorized(why string) *problem {
	p := refuse(codeAuthFailed, "%s", why)
	p.header = []pair{{"WWW-Authenticate", `Bearer realm="pannier"`}}
	return p
}

// bearers lists the tokens of the Authorization header, which one SDK sends as
// "Bearer A, Bearer B".
func bearers(h http.Header) (tokens []string) {
	for _, line := range h.Values("Authorization") {
		for part := range strings.SplitSeq(line, ",") {
			scheme, token, ok := strings.Cut(strings.TrimSpace(part), " ")
			token = strings.TrimSpace(token)
			if ok && strings.EqualFold(scheme, "Bearer") && token != "" && len(tokens) < maxBearers {
				tokens = append(tokens, token)
			}
		}
	}
	return tokens
}

// checkOwner refuses a request in the name of an agent that is not the key's. A
// bare name stands for an agent of the key that ends with it: clients listen
// under the one and answer under the other.
func checkOwner(r *http.Request, c *Caller) error {
	given := owner(r)
	if given == someApp {
		return nil
	}
	agent, err := Address(given)
	if err != nil {
		return err
	}
	if c.May(agent) {
		return nil
	}
	for _, granted := range c.Agents {
		if strings.HasSuffix(granted, "/"+agent) {
			return nil
		}
	}
	return refuse(codePolicyDenied, "owner_agent: the key does not speak for %s", clip(agent, 64))
}

// KeysChanged tells that a key may have become invalid: whoever waits under
// one is looked at again.
func (a *API) KeysChanged() {
	a.keys.Lock()
	defer a.keys.Unlock()
	close(a.keys.changed)
	a.keys.changed = make(chan struct{})
}

func (a *API) keysChanged() <-chan struct{} {
	a.keys.Lock()
	defer a.keys.Unlock()
	return a.keys.changed
}

// whileAllowed ends with ctx, or when the key of the request no longer allows
// what it was let in for, or ends by itself: a stream may be open for days.
func (a *API) whileAllowed(ctx context.Context, r *http.Request, allowed func(*Caller) bool) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	if a.opt.Identify == nil {
		return ctx, cancel
	}
	changed := a.keysChanged()
	ends, ok := a.stillAllowed(r, allowed)
	if !ok {
		cancel() // since it was let in
	}
	go func() { // ends with the request
		for ok {
			select {
			case <-ctx.Done():
				return
			case <-changed:
			case <-ends:
			}
			changed = a.keysChanged()
			ends, ok = a.stillAllowed(r, allowed)
		}
		cancel()
	}()
	return ctx, cancel
}

// stillAllowed looks at the key of a request again, and says when to do so next.
func (a *API) stillAllowed(r *http.Request, allowed func(*Caller) bool) (next <-chan time.Time, ok bool) {
	c, err := a.identify(r.Header)
	switch {
	case err != nil || !allowed(c):
		return nil, false
	case c.until.IsZero():
		return nil, true
	}
	return time.After(time.Until(c.until)), true
}
