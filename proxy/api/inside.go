package api

import (
	"context"
	"net/http"
)

type insideKey struct{}

// Inside returns the routes for this process itself, whose pages ask them as an app
// does: so there is one way to list, and one to decide. Each request is the caller's
// and needs no key; nil may do everything, as an operator. Requests must be made by the
// process, for localhost, and not be handed on from a listener: their headers are
// believed.
func (a *API) Inside(c *Caller) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.serve(w, withCaller(r.WithContext(context.WithValue(r.Context(), insideKey{}, true)), c))
	})
}

func isInside(r *http.Request) bool { return r.Context().Value(insideKey{}) != nil }
