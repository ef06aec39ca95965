package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pannier/journal/state"
)

// event is one entry of an intent's log. raw is the line it came as.
type event struct {
	Seq       int64           `json:"seq"`
	EventType string          `json:"event_type"`
	Status    string          `json:"status"`
	At        string          `json:"at"`
	Waiting   string          `json:"waiting_reason"`
	Details   json.RawMessage `json:"details"`

	raw []byte
}

// ended tells whether nothing more can happen to an intent in this status.
func ended(status string) bool {
	s, ok := state.ParseStatus(status)
	return ok && s.Terminal()
}

const (
	segmentWait = 15 * time.Second // how long one response of the event stream is held open
	retryFirst  = 200 * time.Millisecond
	retryMost   = 2 * time.Second
)

// follow calls each for every event after since until the intent has ended, and returns the last
// one. A stream that breaks or a sidecar that asks for patience is tried again for as long as ctx
// lasts; a sidecar that never answered at all is an error at once, since nobody started it.
func (cl *client) follow(ctx context.Context, id string, since int64, each func(event) error) (event, error) {
	f := follower{client: cl, id: id, since: since, each: each}
	pause := retryFirst
	for {
		seen, err := f.segment(ctx)
		switch {
		case err == nil && ended(f.last.Status):
			return f.last, nil
		case err == nil && seen:
			pause = retryFirst
			continue
		case err == nil:
			// Ended at once and empty: the log holds nothing newer, because it is closed or lags.
			if done, err := f.closed(ctx); done || err != nil {
				return f.last, err
			}
		case !f.worthRetrying(err):
			return f.last, err
		}
		select {
		case <-ctx.Done():
			return f.last, ctx.Err()
		case <-time.After(pause):
		}
		pause = min(2*pause, retryMost)
	}
}

// follower is the position in one intent's event stream, across its responses.
type follower struct {
	client *client
	id     string
	since  int64
	last   event
	each   func(event) error
	met    bool // the sidecar has answered at least once
}

// segment reads one response to its end and reports whether it held any frame.
func (f *follower) segment(ctx context.Context) (seen bool, err error) {
	wait := segmentWait
	if deadline, ok := ctx.Deadline(); ok {
		wait = min(wait, max(time.Until(deadline), time.Second))
	}
	ctx, cancel := context.WithTimeout(ctx, wait+answerTime) // a connection that died silently must not hold us for ever
	defer cancel()
	resp, err := f.client.open(ctx, request{
		doing: "follow " + f.id, method: http.MethodGet, path: intentPath(f.id) + "/events/stream",
		query: url.Values{"since": {strconv.FormatInt(f.since, 10)}, "wait_seconds": {wholeSeconds(wait)}},
	})
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	f.met = true
	err = readFrames(resp.Body, func(name string, data []byte) error {
		seen = true
		return f.take(name, data)
	})
	var lost *brokenStream
	if errors.As(err, &lost) {
		return seen, f.client.unreachable(ctx, lost.err)
	}
	return seen, err
}

func (f *follower) take(name string, data []byte) error {
	if !strings.HasPrefix(name, "intent.") {
		return nil // stream.timeout: the response ends by itself
	}
	var e event
	if err := json.Unmarshal(data, &e); err != nil {
		return fmt.Errorf("read event of %s: %w", f.id, err)
	}
	if e.Seq <= f.since {
		return nil
	}
	e.raw = data
	f.since, f.last = e.Seq, e
	return f.each(e)
}

// closed reports whether the intent had ended before the place we read from.
func (f *follower) closed(ctx context.Context) (bool, error) {
	body, err := f.client.call(ctx, request{doing: "follow " + f.id, method: http.MethodGet, path: intentPath(f.id)})
	if err != nil {
		if f.worthRetrying(err) {
			return false, nil
		}
		return false, err
	}
	var answer struct {
		Intent struct{ Status string } `json:"intent"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return false, fmt.Errorf("read intent %s: %w", f.id, err)
	}
	return ended(answer.Intent.Status), nil
}

func (f *follower) worthRetrying(err error) bool { return passes(err, f.met) }

// passes reports whether the same may be answered otherwise in a moment. A sidecar that was never met
// was not started by anybody.
func passes(err error, met bool) bool {
	var refused *failure
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.status {
	case 0:
		return met && refused.exit == exitUnreachable
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		return true
	}
	return false
}

// brokenStream says that reading failed, as opposed to what was done with a frame.
type brokenStream struct{ err error }

func (b *brokenStream) Error() string { return b.err.Error() }

// maxFrame is one event with the largest result a sidecar can be told to take.
const maxFrame = 32 << 20

// readFrames calls take with the name and the data of each server-sent event until the stream
// ends. A frame cut off before its blank line did not arrive.
func readFrames(r io.Reader, take func(name string, data []byte) error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxFrame)
	var name string
	var data []byte
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "event":
			name = value
		case "data":
			data = append(data, value...)
		case "":
			if lines.Text() == "" && name != "" {
				if err := take(name, data); err != nil {
					return err
				}
				name, data = "", nil
			}
		}
	}
	if err := lines.Err(); err != nil {
		return &brokenStream{err}
	}
	return nil
}

// wholeSeconds rounds up, so that asking for a moment is not asking for nothing.
func wholeSeconds(d time.Duration) string {
	return strconv.FormatInt(int64((d+time.Second-1)/time.Second), 10)
}
