package e2e_test

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// What people are asked is judged as the rest is: by what was seen from outside, when
// nothing is under way any more.

// Kinds of what the office asks.
const (
	askedTask     = "task"   // is decided by whoever is first
	askedReminded = "remind" // is left alone until it has been escalated
	askedExpiring = "expire" // is left alone
	askedLater    = "later"  // goes to an app, not before its time
	askedGated    = "gated"  // goes to an app, after two approvals
)

// wanted is one POST that was answered.
type wanted struct {
	key, id, kind string
	due           time.Time // askedLater: not before; askedExpiring: ends then
}

// saying is one decision, repeated until it was answered.
type saying struct {
	id, actor, outcome string // actor: who has decided, as the answer says; "": it has none
	code               int
	provisional        bool // home had not said that it counts
	where              string
	at                 time.Time // of the answer
}

// passing is a task that was passed on, and answered 200.
type passing struct {
	id, to string
	has    bool // whom it was passed on to, in the end
}

// lot is what became of what was asked, in the end.
type lot struct {
	status string
	events []event
	gates  []gateView
	there  string // who decided, as the sidecar of those who were asked shows it; "": nobody
}

type gateView struct {
	Status string
	Asks   string `json:"intent_id"`
}

// officeHistory is all that the checker may know.
type officeHistory struct {
	mu     sync.Mutex
	wanted []wanted
	said   []saying
	passed []passing
	handed map[string][]time.Time // to the app
	final  map[string]lot         // of what was asked, and of its gates
	made   []time.Time            // times of a schedule of a second for which there are intents
	period [2]time.Time           // the schedule was there from the first of these to the second
}

// checkOffice lists what must not be.
func checkOffice(h *officeHistory) (bad []string) {
	protest := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	keys := map[string]string{}
	for _, w := range h.wanted {
		if other := keys[w.key]; other != "" && other != w.id {
			protest("%s: its key has made %s as well", w.id, other)
		}
		keys[w.key] = w.id
		v, found := h.final[w.id]
		switch {
		case !found:
			protest("%s: asked, and lost", w.id)
		case !terminal(v.status):
			protest("%s: never ended: %s", w.id, v.status)
		default:
			if err := legal(v.events, v.status); err != nil {
				protest("%s: %v", w.id, err)
			}
			if why := h.wrongWith(w, v); why != "" {
				protest("%s: %s", w.id, why)
			}
		}
	}
	for _, p := range h.passed {
		if !p.has {
			protest("%s: passed on to %s, who does not have it", p.id, p.to)
		}
	}
	for i, at := range slices.SortedFunc(slices.Values(h.made), time.Time.Compare) {
		if i == 0 && at.Sub(h.period[0]) > 2*time.Second {
			protest("the schedule made nothing before %s", clock(at))
		}
		if i > 0 {
			before := slices.SortedFunc(slices.Values(h.made), time.Time.Compare)[i-1]
			if gap := at.Sub(before); gap != time.Second {
				protest("the schedule made %s after %s", clock(at), clock(before))
			}
		}
	}
	if n := int(h.period[1].Sub(h.period[0]).Seconds()); len(h.made) < n-1 {
		protest("the schedule made %d intents in %d seconds", len(h.made), n)
	}
	return bad
}

// times counts the events of a type, and of a reason where one is given.
func (v lot) times(kind, reason string) (n int) {
	for _, e := range v.events {
		if e.Type == "intent."+kind && (reason == "" || e.Details["reason"] == reason) {
			n++
		}
	}
	return n
}

// decidedBy is whoever has decided; nobody has what Pannier has ended itself.
func (v lot) decidedBy() string {
	if by := v.events[len(v.events)-1].Actor; by != "pannier" {
		return by
	}
	return ""
}

func (h *officeHistory) wrongWith(w wanted, v lot) string {
	last := v.events[len(v.events)-1]
	switch w.kind {
	case askedExpiring:
		switch {
		case v.status != "TIMED_OUT" || last.At.Before(w.due):
			return fmt.Sprintf("it is %s at %s, to run out of time at %s", v.status, clock(last.At), clock(w.due))
		case v.there != "":
			return "it ran out of time, and is shown as decided by " + v.there
		}
	case askedLater:
		hands := h.handed[w.id]
		if v.status != "COMPLETED" || len(hands) == 0 || hands[0].Before(w.due) {
			return fmt.Sprintf("it is %s, handed over at %v, to be so from %s on", v.status, hands, clock(w.due))
		}
	case askedReminded:
		if v.times("reminder", "") != 1 || v.times("escalated", "") != 1 {
			return fmt.Sprintf("reminded %d times, escalated %d times, each to be once", v.times("reminder", ""), v.times("escalated", ""))
		}
		return h.decidedWrong(w.id, v, false)
	case askedTask:
		return h.decidedWrong(w.id, v, false)
	case askedGated:
		return h.gatedWrong(w.id, v)
	}
	return ""
}

// decidedWrong: a task is asked once, ends as somebody has decided it, and whoever was
// told that it was them has decided it. One that may lapse need not be decided.
func (h *officeHistory) decidedWrong(id string, v lot, mayLapse bool) string {
	last := v.events[len(v.events)-1]
	if n := v.times("human_task_assigned", ""); n != 1 {
		return fmt.Sprintf("asked %d times", n)
	}
	by := false
	for _, s := range h.said {
		if s.id != id {
			continue
		}
		end := "COMPLETED"
		if s.outcome == "rejected" {
			end = "CANCELED"
		}
		mine := s.actor == last.Actor && end == v.status
		by = by || mine && s.code == 200 || s.code == 0 && end == v.status && (mine || s.actor == "")
		if s.code == 200 && !s.provisional && !mine {
			return fmt.Sprintf("%s was told that it is %s, and it is %s by %s", s.actor, s.outcome, v.status, last.Actor)
		}
	}
	switch {
	case !by && (v.decidedBy() != "" || !mayLapse):
		return fmt.Sprintf("%s by %s, who has not decided that", v.status, last.Actor)
	case v.there != "" && v.there != v.decidedBy():
		return fmt.Sprintf("decided by %s, and shown as decided by %s where people were asked", last.Actor, v.there)
	}
	return ""
}

// gatedWrong: each gate is asked and passed once, in turn, and the app has what both have
// approved and nothing else.
func (h *officeHistory) gatedWrong(id string, v lot) string {
	yes, asks := 0, 0
	for _, g := range v.gates {
		if g.Status == "approved" {
			yes++
		}
		if g.Asks == "" {
			continue
		}
		asks++
		part, found := h.final[g.Asks]
		switch {
		case !found || !terminal(part.status):
			return fmt.Sprintf("its gate %s is lost, or open: %s", g.Asks, part.status)
		case (g.Status == "approved") != (part.status == "COMPLETED"):
			return fmt.Sprintf("its gate %s is %s, and ended %s", g.Asks, g.Status, part.status)
		}
		lapsed := v.status == "CANCELED" && part.status == "CANCELED" // another has refused before
		if why := h.decidedWrong(g.Asks, part, lapsed); why != "" {
			return "its gate " + g.Asks + ": " + why
		}
	}
	approved, hands := v.status == "COMPLETED", len(h.handed[id])
	switch {
	case v.times("human_task_assigned", "") != asks || v.times("transfer", "gate_approved") != yes:
		return fmt.Sprintf("%d gates are asked and %d passed, and its log has %d and %d", asks, yes, v.times("human_task_assigned", ""), v.times("transfer", "gate_approved"))
	case approved && yes < 2:
		return fmt.Sprintf("it was delivered with %d approvals", yes)
	case hands > 0 && yes < 2, approved && hands == 0:
		return fmt.Sprintf("it is %s, handed over %d times with %d approvals", v.status, hands, yes)
	}
	return ""
}
