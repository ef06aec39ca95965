package webhook

import (
	"net/http"
	"strconv"
	"time"

	"pannier/inbound"
	"pannier/journal"
)

// Forwarded is what an app's answer makes of an intent that a reader has polled and
// sent on, as a Pusher would have: what the reader is to say under its lease.
type Forwarded struct {
	Settle string // ack, nack, extend; empty: the app has taken nothing, and the lease goes on
	Result []byte // of an ack, a JSON object; nil for none
	Reject bool   // of a nack
	Reason string // of a nack, or why nothing was taken
	Pause  time.Duration

	shut inbound.Shut // why the door of who has taken nothing shuts; Open: nobody said
}

// Judge is the table of a Pusher's answers (judge), for a reader.
func Judge(status int, h http.Header, body []byte, redelivered bool, now time.Time) Forwarded {
	v := judge(status, h, body, redelivered, now)
	if v.shut != inbound.Open {
		return Forwarded{Reason: v.reason, Pause: v.least, shut: v.shut}
	}
	switch v.came.Came {
	case journal.Done:
		return Forwarded{Settle: "ack", Result: v.came.Result}
	case journal.Taken:
		return Forwarded{Settle: "extend"}
	case journal.Refused:
		return Forwarded{Settle: "nack", Reject: true, Reason: v.came.Reason}
	}
	return Forwarded{Settle: "nack", Reason: v.came.Reason}
}

// Describe puts into the headers of a request what an app is told of a hand-over
// beside its body, and signs it. first is the id of the first ancestor.
func Describe(h http.Header, userAgent, first string, attempt uint32, at time.Time, body []byte, secrets ...Secret) {
	h.Set("Content-Type", "application/json")
	h.Set("User-Agent", userAgent)
	h.Set("Idempotency-Key", first)
	h.Set("Intent-Attempt", strconv.FormatUint(uint64(attempt), 10))
	Sign(h, first, at, body, secrets...)
}
