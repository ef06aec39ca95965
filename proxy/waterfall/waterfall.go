// Package waterfall says where an intent has spent its time, from its events alone: what
// `pannier trace` prints and the page of an intent draws.
package waterfall

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"pannier/journal/state"
)

// Bar is one part of an intent's way, by home's clock.
type Bar struct {
	Name    string     `json:"name"` // journal, queue, wire, mailbox, app or report, or the code of a delay
	Delay   bool       `json:"delay,omitempty"`
	Attempt int        `json:"attempt,omitempty"`
	Start   time.Time  `json:"start"`
	End     *time.Time `json:"end,omitempty"` // nil: it goes on
	Note    string     `json:"note,omitempty"`
	TraceID string     `json:"trace_id,omitempty"` // of the attempt
}

// Event is an event of an intent, with what it says of an attempt.
type Event struct {
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
		Delay       string    `json:"delay"` // until NextTryAt
		Delayed     delayed   `json:"delayed"`
		Gate        struct {
			To string `json:"to"` // who was asked to approve
		} `json:"gate"`
		Step struct {
			ID string `json:"step_id"` // of its workflow, which it waited for or waits for now
		} `json:"step"`
	} `json:"details"`
}

// delayed is a part of a wait of which it is known what it was for.
type delayed struct {
	Code  string    `json:"code"`
	From  time.Time `json:"from"`
	Until time.Time `json:"until"`
}

// Draw says what became of an intent from its events alone. Each is told when
// home had heard of it; what happened at a holder is told by its clock, and is put on
// home's where the two cannot both be right.
//
//	created  submitted  offered  held    handed       answered   told
//	   ├─journal─┼──queue──┼─wire──┼─mailbox─┼────app─────┼──report──┤
//	                               └─mailbox─┼────app─────┤  each further attempt
//
// A queue or a mailbox is cut where the events say what the wait was for: scheduled,
// breaker_open, backing_off.
func Draw(created time.Time, events []Event, now time.Time) []Bar {
	f := &fall{}
	for i := range events {
		e := &events[i]
		switch {
		case i == 0:
			f.reached, f.created = e.At, created
		case i == 1:
			f.bar("journal", 0, f.created, e.At)
			f.reached = e.At
			f.delay(e.Details.Delay, e.At, e.Details.NextTryAt)
		default:
			f.take(e)
		}
	}
	if n := len(events); n > 0 && !ended(events[n-1].Status) {
		f.goesOn(events[n-1].Status, now)
	}
	return f.bars
}

// fall is a waterfall as far as it has been read.
type fall struct {
	created time.Time
	reached time.Time // all until then is drawn
	bars    []Bar
	attempt int    // the last that was handed over
	offer   string // the holder and number it was offered under
	held    bool   // it is in a mailbox
	delays  []delayed
	open    int    // 1 + the index of the bar of an app that has it; 0: none has
	step    string // of its workflow that it waits for; "": none
	shift   time.Duration
}

func (f *fall) bar(name string, attempt int, from, to time.Time) *Bar {
	if from.IsZero() || to.Before(from) {
		from = to
	}
	f.bars = append(f.bars, Bar{Name: name, Attempt: attempt, Start: from, End: &to})
	return &f.bars[len(f.bars)-1]
}

func (f *fall) take(e *Event) {
	d := &e.Details
	if !d.HandedAt.IsZero() && d.Attempt > f.attempt {
		f.handed(e)
	}
	switch {
	case d.Step.ID != "": // no app has it: its steps are intents of their own
		f.stepped(e)
	case e.Type == "intent.transfer" && d.Gate.To != "": // no app has had it
		f.delay(d.Delayed.Code, d.Delayed.From, d.Delayed.Until)
	case e.Type == "intent.transfer":
		f.close(e.At, "holder lost")
		f.held = false
	case e.Type == "intent.delivery_failed" && f.open > 0:
		at := f.home(d.HolderAt, e.At)
		f.close(at, strings.TrimSpace("failed: "+cmp.Or(d.Message, d.Reason)))
		f.delay(d.Delay, at, f.home(d.NextTryAt, at))
	case ended(e.Status):
		if d.Gate.To != "" {
			f.delay(d.Delayed.Code, d.Delayed.From, d.Delayed.Until)
		}
		at := f.home(d.HolderAt, e.At)
		f.close(at, "")
		if !d.HolderAt.IsZero() {
			f.bar("report", 0, at, e.At)
		} else if f.reached.Before(e.At) {
			f.wait(f.waits(), 0, e.At)
		}
		f.bars[len(f.bars)-1].Note = strings.TrimSpace(e.Status + " " + d.EndedBy)
		f.reached = e.At
	}
}

// stepped adds the bar of a step that is over, or remembers the one that is begun.
func (f *fall) stepped(e *Event) {
	d := &e.Details
	if d.Delayed.Code == "" {
		if e.Type == "intent.waiting" {
			f.step = d.Step.ID
		}
		return
	}
	if f.reached.Before(d.Delayed.From) {
		f.bar(f.waits(), 0, f.reached, d.Delayed.From)
	}
	b := f.bar(d.Delayed.Code, 0, d.Delayed.From, d.Delayed.Until)
	b.Delay, b.Note = true, strings.TrimSpace(d.Step.ID+" "+d.Message)
	if ended(e.Status) {
		b.Note = strings.TrimSpace(d.Step.ID + " " + e.Status + " " + d.EndedBy)
	}
	f.step, f.reached = "", d.Delayed.Until
}

// handed adds the bars that lead to a hand-over, and begins that of the app.
func (f *fall) handed(e *Event) {
	d := &e.Details
	f.close(f.reached, "") // of one whose end nobody has told
	offer := d.Holder + "/" + strconv.Itoa(d.OfferNo)
	if offer != f.offer {
		f.offer = offer
		f.shift = shiftOf(e)
		held := d.HeldAt.Add(f.shift)
		if d.OfferedAt.IsZero() { // no wire between
			f.wait("queue", 0, held)
		} else {
			f.delay(d.Delayed.Code, d.Delayed.From, d.Delayed.Until)
			f.wait("queue", 0, d.OfferedAt)
			f.bar("wire", 0, d.OfferedAt, held)
		}
		f.reached = held
	}
	at := d.HandedAt.Add(f.shift)
	f.wait("mailbox", d.Attempt, at)
	app := f.bar("app", d.Attempt, at, at)
	app.End, app.TraceID = nil, TraceID(d.Traceparent)
	f.open, f.attempt, f.held, f.reached = len(f.bars), d.Attempt, true, at
}

// delay remembers what a part of a wait is for.
func (f *fall) delay(code string, from, until time.Time) {
	if code != "" && from.Before(until) {
		f.delays = append(f.delays, delayed{code, from, until})
	}
}

// wait adds the bars of a wait from what is drawn until then: what is left of it beside
// the delays in it has its name.
func (f *fall) wait(name string, attempt int, to time.Time) {
	at, cut := f.reached, false
	for _, d := range f.delays {
		from, until := later(d.From, at), earlier(d.Until, to)
		if !from.Before(until) {
			continue
		}
		if at.Before(from) {
			f.bar(name, attempt, at, from)
		}
		f.bar(d.Code, attempt, from, until).Delay = true
		at, cut = until, true
	}
	if !cut || at.Before(to) {
		f.bar(name, attempt, at, to)
	}
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
func (f *fall) goesOn(status string, now time.Time) {
	if f.open > 0 {
		f.bars[f.open-1].Note = status
		return
	}
	rest := Bar{Name: f.waits(), Start: f.reached, Note: status}
	if f.step != "" {
		rest.Name, rest.Delay, rest.Note = state.CauseStep.String(), true, f.step
	}
	if n := len(f.delays); n > 0 && f.reached.Before(f.delays[n-1].Until) {
		last := &f.delays[n-1]
		if last.Until.After(now) {
			rest.Name, rest.Delay = last.Code, true
		} else {
			f.wait(rest.Name, 0, last.Until)
			rest.Start = last.Until
		}
	}
	f.bars = append(f.bars, rest)
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
func shiftOf(e *Event) time.Duration {
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

// TraceID is the second field of a traceparent.
func TraceID(traceparent string) string {
	if fields := strings.Split(traceparent, "-"); len(fields) == 4 {
		return fields[1]
	}
	return ""
}

// ended reports whether an intent with that status is over.
func ended(status string) bool {
	s, ok := state.ParseStatus(status)
	return ok && s.Terminal()
}

// Span is from when to when the bars are.
func Span(bars []Bar, now time.Time) (begin, end time.Time) {
	for i, b := range bars {
		if i == 0 {
			begin, end = b.Start, b.Start
		}
		begin, end = earlier(begin, b.Start), later(end, b.Until(now))
	}
	return begin, end
}

// Until is where a bar ends, one that goes on now.
func (b *Bar) Until(now time.Time) time.Time {
	if b.End != nil {
		return *b.End
	}
	return later(now, b.Start)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
