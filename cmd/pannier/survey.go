package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"
)

// survey is all that one sidecar says of itself at a moment.
type survey struct {
	status       statusAnswer
	agents       agentsAnswer
	destinations destinationsAnswer
	peers        peersAnswer
	xds          xdsAnswer
	dead         deadLetters // those without a successor, deadCounted of them at most
	held         deadLetters // those that wait for an operator, likewise
	secrets      secretsAnswer

	lacks []string                   // members that this sidecar has no answer for, or none that is understood here
	raw   map[string]json.RawMessage // the answers as they came, by member
}

// deadCounted is how many dead letters are counted before it is enough to say that there are many.
const deadCounted = 50

// statusAnswer is the part of /v1/admin/status that people read.
type statusAnswer struct {
	Ready     bool   `json:"ready"`
	Version   string `json:"version"`
	Listeners struct {
		API   string `json:"api"`
		Peer  string `json:"peer"`
		Admin string `json:"admin"`
	} `json:"listeners"`
	Checks []struct {
		Name   string `json:"name"`
		OK     bool   `json:"ok"`
		Detail string `json:"detail"`
		Advice bool   `json:"advice"`
	} `json:"checks"`
	Journal struct {
		ID      string `json:"id"`
		Epoch   uint64 `json:"epoch"`
		Unclean bool   `json:"unclean"`
		Durable *bool  `json:"durable"` // nil: it does not say
		Bytes   int64  `json:"bytes"`
		Syncs   struct {
			Of  int     `json:"of"`
			P50 float64 `json:"p50_ms"`
			P99 float64 `json:"p99_ms"`
		} `json:"syncs"`
	} `json:"journal"`
	Backlogs []struct {
		Place  string     `json:"place"`
		Count  int        `json:"count"`
		Later  int        `json:"later"`
		Oldest *time.Time `json:"oldest"`
	} `json:"backlogs"`
	Limits []struct {
		Name string `json:"name"`
		Used int    `json:"used"`
		Most int    `json:"most"`
	} `json:"limits"`
}

// destinationsAnswer is whom something is due for.
type destinationsAnswer struct {
	Total        int `json:"total"`
	Destinations []struct {
		Agent       string     `json:"agent"`
		Completions bool       `json:"completions"`
		Waiting     int        `json:"waiting"`
		Later       int        `json:"later"`
		Oldest      *time.Time `json:"oldest"`
		InFlight    int        `json:"in_flight"`
		Why         []struct {
			Code string `json:"code"`
			Text string `json:"text"`
			Peer string `json:"peer"`
		} `json:"why"`
	} `json:"destinations"`
}

// look asks a sidecar for all of it. Only that it cannot be asked is an error.
func look(ctx context.Context, cl *client) (*survey, error) {
	return lookAt(ctx, cl, "status", "agents", "destinations", "peers", "xds", "dead_letters", "waiting_for_operator", "secrets")
}

// lookAt asks for some of it. What a sidecar of another version does not know is left
// out, and said to be; one that knows nothing of it is none.
func lookAt(ctx context.Context, cl *client, members ...string) (*survey, error) {
	s := &survey{raw: map[string]json.RawMessage{}}
	var first error
	for _, one := range []struct {
		member, path string
		into         any
	}{
		{"status", "/v1/admin/status", &s.status},
		{"agents", "/v1/admin/agents", &s.agents},
		{"destinations", "/v1/admin/destinations", &s.destinations},
		{"peers", "/v1/admin/peers", &s.peers},
		{"xds", "/v1/admin/xds", &s.xds},
		{"dead_letters", deadPath + "?limit=50&redriven=false", &s.dead},
		{"waiting_for_operator", deadPath + "?limit=50&waiting=true", &s.held},
		{"secrets", "/v1/admin/secrets", &s.secrets},
	} {
		if !slices.Contains(members, one.member) {
			continue
		}
		body, err := cl.call(ctx, request{doing: "check the sidecar", method: http.MethodGet, path: one.path})
		if err != nil && !unknownThere(err) {
			return nil, err
		}
		if err == nil {
			err = json.Unmarshal(body, one.into)
		}
		if err != nil {
			first = cmp.Or(first, err)
			s.lacks = append(s.lacks, one.member)
			continue
		}
		s.raw[one.member] = body
	}
	if len(s.raw) == 0 {
		return nil, first
	}
	return s, nil
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
