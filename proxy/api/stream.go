package api

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"pannier/journal"
)

const (
	// linger is how long after a batch the response to a client ends that sees
	// nothing before its end.
	linger    = 75 * time.Millisecond
	keepAlive = 15 * time.Second
	frameTime = 10 * time.Second // a reader that does not take what is flushed for so long is gone
	// remotePoll is how often a log that home keeps is asked for news.
	remotePoll = 500 * time.Millisecond
	endless    = 365 * 24 * time.Hour
)

// follower streams one intent's log to one reader.
type follower struct {
	api    *API
	id     journal.ID
	since  uint32
	toEnd  bool // this client reads to the end of the response before it looks
	until  time.Time
	frames *frames
}

// eventStream serves GET /v1/intents/{id}/events/stream. The response ends
// after the end of the log, after wait_seconds, or when we drain.
func (a *API) eventStream(w http.ResponseWriter, r *http.Request) error {
	id, err := a.seenID(r)
	if err != nil {
		return err
	}
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	f := &follower{api: a, id: id, since: q.since(r)}
	wait := q.seconds("wait_seconds", endless, 1, 60)
	if err := q.err(); err != nil {
		return err
	}
	f.until = time.Now().Add(wait)
	f.toEnd = strings.HasPrefix(r.Header.Get("X-Axme-Client"), "axme-sdk-typescript/")

	// First watch, then read: an event written in between wakes us.
	wake, stop := a.journal.Watch(id)
	defer stop()
	p, err := a.readLog(r.Context(), id, f.since)
	if err != nil {
		return err // nothing has been written: this is an answer of its own
	}
	f.frames = newFrames(w)
	defer f.frames.end()
	if over, err := f.first(r.Context(), p); over || err != nil {
		return err
	}
	ctx, forbid := a.whileAllowed(r.Context(), r, func(c *Caller) bool {
		i, err := a.journal.Get(id)
		return err == nil && a.maySee(c, i)
	})
	defer forbid()
	return f.follow(ctx, wake, p.remote)
}

// first writes what is there. An intent that has ended with nothing newer than
// since ends the response at once.
func (f *follower) first(ctx context.Context, p *page) (over bool, err error) {
	f.frames.comment("ok")
	if len(p.events) == 0 {
		i, err := f.api.journal.Get(f.id)
		if err != nil {
			return true, err
		}
		if i.Status().Terminal() && !p.remote {
			// It may have ended since the log was read.
			if p, err = f.api.readLog(ctx, f.id, f.since); err != nil {
				return true, err
			}
			if len(p.events) == 0 {
				return true, f.frames.flush()
			}
		}
	}
	return f.write(p)
}

// write sends a page and reports whether the response is over.
func (f *follower) write(p *page) (over bool, err error) {
	for i, ev := range p.events {
		d := newDoc()
		seq := p.first + uint32(i)
		writeEvent(d, f.id, seq, ev, p)
		f.frames.event(uint64(seq), eventName(ev), d)
		d.free()
	}
	f.since = p.next() - 1
	if len(p.events) > 0 && f.toEnd {
		f.until = time.Now().Add(linger)
	}
	return p.ends(), f.frames.flush()
}

// follow writes what comes until the response is over.
func (f *follower) follow(ctx context.Context, wake <-chan struct{}, remote bool) error {
	timer := time.NewTimer(time.Until(f.until))
	defer timer.Stop()
	alive := time.NewTicker(keepAlive)
	defer alive.Stop()
	var poll <-chan time.Time
	if remote {
		t := time.NewTicker(remotePoll)
		defer t.Stop()
		poll = t.C
	}
	for {
		select {
		case <-wake:
		case <-poll:
		case <-alive.C:
			f.frames.comment("ka")
			if f.frames.flush() != nil {
				return nil // the reader is gone
			}
			continue
		case <-timer.C:
			return f.timeOut()
		case <-f.api.drain:
			return f.timeOut()
		case <-ctx.Done():
			return nil
		}
		p, err := f.api.readLog(ctx, f.id, f.since)
		if err != nil && remote {
			continue // home is out of reach for now; the reader's wait goes on
		}
		if err != nil {
			return err
		}
		if len(p.events) == 0 {
			continue
		}
		if over, err := f.write(p); over || err != nil {
			return nil // the log has ended, or the reader is gone
		}
		timer.Reset(time.Until(f.until))
	}
}

func (f *follower) timeOut() error {
	d := newDoc()
	defer d.free()
	d.open('{').boolean("ok", true).num("next_seq", int64(f.since)+1).close('}')
	f.frames.event(0, "stream.timeout", d)
	_ = f.frames.flush() // the response ends here either way
	return nil
}

// frames writes server-sent events: exactly one space after each colon, the
// data on one line, a blank line behind each frame.
type frames struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buf     bytes.Buffer
}

func newFrames(w http.ResponseWriter) *frames {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache, no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	return &frames{w: w, control: http.NewResponseController(w)}
}

func (f *frames) comment(text string) { f.buf.WriteString(": " + text + "\n\n") }

// event adds a frame; id 0 is no number.
func (f *frames) event(id uint64, name string, data *doc) {
	if id > 0 {
		f.buf.WriteString("id: " + strconv.FormatUint(id, 10) + "\n")
	}
	f.buf.WriteString("event: " + name + "\ndata: ")
	for i, c := range data.b {
		// Raw values keep their bytes. Outside strings a line break is white
		// space, and inside one it cannot be.
		if c == '\n' || c == '\r' {
			data.b[i] = ' '
		}
	}
	f.buf.Write(data.b)
	f.buf.WriteString("\n\n")
}

// flush sends what was added. An error means that the reader is gone.
func (f *frames) flush() error {
	// A connection without deadlines has a write that may block; nothing else
	// depends on it.
	_ = f.control.SetWriteDeadline(time.Now().Add(frameTime))
	_, err := f.w.Write(f.buf.Bytes())
	f.buf.Reset()
	if err != nil {
		return err
	}
	return f.control.Flush()
}

// end takes the deadline off the connection, which the next request uses.
func (f *frames) end() { _ = f.control.SetWriteDeadline(time.Time{}) }
