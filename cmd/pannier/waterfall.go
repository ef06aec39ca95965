package main

import (
	"cmp"
	"strconv"
	"strings"
	"time"
)

// bar is one part of an intent's way, by home's clock.
type bar struct {
	Name    string     `json:"name"` // journal, queue, wire, mailbox, app or report
	Attempt int        `json:"attempt,omitempty"`
	Start   time.Time  `json:"start"`
	End     *time.Time `json:"end,omitempty"` // nil: it goes on
	Note    string     `json:"note,omitempty"`
	TraceID string     `json:"trace_id,omitempty"` // of the attempt
}

// traced is an event with what it says of an attempt.
type traced struct {
	At      time.Time `json:"at"`
	Type    string    `json:"event_type"`
	Status  string    `json:"status"`
	Details struct {
		Attempt     int       `json:"delivery_attempt"`
		OfferNo     int       `json:"offer_no"`
		Holder      string    `json:"holder"`
		HolderAt    time.Time `json:"holder_at"`
		NextTryAt   time.Time `json:"next_try_at"`
		OfferedAt   time.Time `json:"offered_at"`
		HeldAt      time.Time `json:"held_at"`
		HandedAt    time.Time `json:"handed_at"`
		Traceparent string    `json:"traceparent"`
		Reason      string    `json:"reason"`
		EndedBy     string    `json:"ended_by"`
		Message     string    `json:"message"`
	} `json:"details"`
}

// waterfall draws up what became of an intent from its events alone. Each is told when
// home had heard of it; what happened at a holder is told by its clock, and is put on
// home's where the two cannot both be right.
//
//	created  submitted  offered  held    handed       answered   told
//	   ├─journal─┼──queue──┼─wire──┼─mailbox─┼────app─────┼──report──┤
//	                               └─mailbox─┼────app─────┤  each further attempt
func waterfall(created time.Time, events []traced) []bar {
	f := &fall{}
	for i := range events {
		e := &events[i]
		switch {
		case i == 0:
			f.reached, f.created = e.At, created
		case i == 1:
			f.bar("journal", 0, f.created, e.At)
			f.reached = e.At
		default:
			f.take(e)
		}
	}
	if n := len(events); n > 0 && !ended(events[n-1].Status) {
		f.goesOn(events[n-1].Status)
	}
	return f.bars
}

// fall is a waterfall as far as it has been read.
type fall struct {
	created time.Time
	reached time.Time // all until then is drawn
	bars    []bar
	attempt int    // the last that was handed over
	offer   string // the holder and number it was offered under
	held    bool   // it is in a mailbox
	open    int    // 1 + the index of the bar of an app that has it; 0: none has
	shift   time.Duration
}

func (f *fall) bar(name string, attempt int, from, to time.Time) *bar {
	if from.IsZero() || to.Before(from) {
		from = to
	}
	f.bars = append(f.bars, bar{Name: name, Attempt: attempt, Start: from, End: &to})
	return &f.bars[len(f.bars)-1]
}

func (f *fall) take(e *traced) {
	d := &e.Details
	if !d.HandedAt.IsZero() && d.Attempt > f.attempt {
		f.handed(e)
	}
	switch {
	case e.Type == "intent.transfer":
		f.close(e.At, "holder lost")
		f.held = false
	case e.Type == "intent.delivery_failed" && f.open > 0:
		f.close(f.home(d.HolderAt, e.At), strings.TrimSpace("failed: "+cmp.Or(d.Message, d.Reason)))
	case ended(e.Status):
		at := f.home(d.HolderAt, e.At)
		f.close(at, "")
		if !d.HolderAt.IsZero() {
			f.bar("report", 0, at, e.At)
		} else if f.reached.Before(e.At) {
			f.bar(f.waits(), 0, f.reached, e.At)
		}
		f.bars[len(f.bars)-1].Note = strings.TrimSpace(e.Status + " " + d.EndedBy)
		f.reached = e.At
	}
}

// handed adds the bars that lead to a hand-over, and begins that of the app.
func (f *fall) handed(e *traced) {
	d := &e.Details
	f.close(f.reached, "") // of one whose end nobody has told
	offer := d.Holder + "/" + strconv.Itoa(d.OfferNo)
	if offer != f.offer {
		f.offer = offer
		f.shift = shiftOf(e)
		held := d.HeldAt.Add(f.shift)
		if d.OfferedAt.IsZero() { // no wire between
			f.bar("queue", 0, f.reached, held)
		} else {
			f.bar("queue", 0, f.reached, d.OfferedAt)
			f.bar("wire", 0, d.OfferedAt, held)
		}
		f.reached = held
	}
	at := d.HandedAt.Add(f.shift)
	f.bar("mailbox", d.Attempt, f.reached, at)
	app := f.bar("app", d.Attempt, at, at)
	app.End, app.TraceID = nil, traceIDOf(d.Traceparent)
	f.open, f.attempt, f.held, f.reached = len(f.bars), d.Attempt, true, at
}

func (f *fall) close(at time.Time, note string) {
	if f.open == 0 {
		return
	}
	b := &f.bars[f.open-1]
	if at.Before(b.Start) {
		at = b.Start
	}
	b.End, b.Note, f.open, f.reached = &at, note, 0, at
}

// goesOn is the bar of what has not ended yet.
func (f *fall) goesOn(status string) {
	if f.open > 0 {
		f.bars[f.open-1].Note = status
		return
	}
	f.bars = append(f.bars, bar{Name: f.waits(), Start: f.reached, Note: status})
}

// waits is where an intent is that no app has.
func (f *fall) waits() string {
	if f.held {
		return "mailbox"
	}
	return "queue"
}

// home is a time of the holder's by home's clock; otherwise where it has said none.
func (f *fall) home(holder, otherwise time.Time) time.Time {
	if holder.IsZero() {
		return otherwise
	}
	return holder.Add(f.shift)
}

// shiftOf is what must be added to a holder's times: nothing, unless it would have held
// the intent before it was offered, or have told of something before it happened.
func shiftOf(e *traced) time.Duration {
	d := &e.Details
	if d.OfferedAt.IsZero() {
		return 0
	}
	least, most := d.OfferedAt.Sub(d.HeldAt), e.At.Sub(d.HolderAt)
	switch {
	case d.HolderAt.IsZero(), least > most:
		return max(0, least)
	case most < 0:
		return most
	}
	return max(0, least)
}

// traceIDOf is the second field of a traceparent.
func traceIDOf(traceparent string) string {
	if fields := strings.Split(traceparent, "-"); len(fields) == 4 {
		return fields[1]
	}
	return ""
}
