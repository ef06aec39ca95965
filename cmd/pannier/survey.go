package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"pannier/cmd/build"
	"pannier/proxy/checkup"
)

// The answers of the admin listener, and what is found in them.
type (
	statusAnswer  = checkup.Status
	agentsAnswer  = checkup.Agents
	peersAnswer   = checkup.Peers
	xdsAnswer     = checkup.XDS
	secretsAnswer = checkup.Secrets
	finding       = checkup.Finding
)

// look asks a sidecar for all that it says of itself.
func look(ctx context.Context, cl *client) (*checkup.Answers, error) {
	return checkup.Look(ctx, asking(cl))
}

// findings are those of this program, whose version may be another than the sidecar's.
func findings(s *checkup.Answers, now time.Time) []finding {
	return s.Findings(now, build.This().Version)
}

func asking(cl *client) checkup.Ask {
	return func(ctx context.Context, path string) ([]byte, bool, error) {
		body, err := cl.call(ctx, request{doing: "check the sidecar", method: http.MethodGet, path: path})
		return body, unknownThere(err), err
	}
}

// unknownThere reports whether a sidecar has no such page, or does not know a parameter
// of it.
func unknownThere(err error) bool {
	var f *failure
	if !errors.As(err, &f) {
		return false
	}
	switch f.status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusBadRequest, http.StatusUnprocessableEntity:
		return true
	}
	return false
}
