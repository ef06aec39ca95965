package webhook

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"pannier/inbound"
	"pannier/journal"
)

// verdict is what an answer of the app makes of the intent: one of the two.
type verdict struct {
	came   journal.Pushed // Came zero: it was turned away
	shut   inbound.Shut
	least  time.Duration
	reason string
	status int // of the answer; 0: none came whole
}

const (
	goneTime     = 5 * time.Minute // between two tries of an app that said 410
	longestPause = time.Hour       // of a Retry-After that is believed
	reasonBytes  = 200             // of a body, as the reason of a failure
)

// judge is the table of answers.
//
//	200 201 204            done; a JSON object is the result, {"ack":true} alone acknowledges
//	202                    acknowledged: the app will resume or resolve
//	400 413 415 422        refused: a dead letter
//	409                    done before, if this may not be the first time; else refused
//	410                    the door, tried every five minutes
//	429 503, Retry-After   the door
//	anything else          a failed attempt
func judge(status int, h http.Header, body []byte, redelivered bool, now time.Time) verdict {
	switch status {
	case http.StatusOK, http.StatusCreated, http.StatusNoContent:
		return done(body)
	case http.StatusAccepted:
		return verdict{came: journal.Pushed{Came: journal.Taken}}
	case http.StatusConflict:
		if redelivered {
			return verdict{came: journal.Pushed{Came: journal.Done, Result: []byte(`{"duplicate":true}`)}}
		}
		return verdict{came: journal.Pushed{Came: journal.Refused, Reason: reason(status, body)}}
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return verdict{came: journal.Pushed{Came: journal.Refused, Reason: reason(status, body)}}
	case http.StatusGone:
		return verdict{shut: inbound.Gone, least: goneTime, reason: reason(status, body)}
	}
	pause, asked := retryAfter(h, now)
	if status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable || asked {
		return verdict{shut: inbound.Throttled, least: pause, reason: reason(status, body)}
	}
	return failure(reason(status, body))
}

func failure(why string) verdict {
	return verdict{came: journal.Pushed{Came: journal.Failed, Reason: why, Delay: -1}}
}

// done reads what an app sends with its success.
func done(body []byte) verdict {
	v := jsontext.Value(bytes.TrimSpace(body))
	if v.Kind() != '{' || !v.IsValid() {
		return verdict{came: journal.Pushed{Came: journal.Done}}
	}
	compact := bytes.Clone(v)
	if c := jsontext.Value(compact); c.Compact() == nil && string(c) == `{"ack":true}` {
		return verdict{came: journal.Pushed{Came: journal.Taken}}
	}
	return verdict{came: journal.Pushed{Came: journal.Done, Result: v}}
}

// reason is an answer in a few words.
func reason(status int, body []byte) string {
	text := fmt.Sprintf("the app answered %d %s", status, http.StatusText(status))
	if said := bytes.ToValidUTF8(bytes.TrimSpace(body[:min(len(body), reasonBytes)]), nil); len(said) > 0 {
		text += ": " + string(said)
	}
	return text
}

// retryAfter reads how long the app wants to be left alone (RFC 9110, 10.2.3).
func retryAfter(h http.Header, now time.Time) (pause time.Duration, asked bool) {
	text := h.Get("Retry-After")
	if text == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil && seconds >= 0 {
		pause = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		pause = max(0, at.Sub(now))
	} else {
		return 0, false
	}
	return min(pause, longestPause), true
}
