package e2e_test

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// Each row plants one violation in a clean history of the office.
func TestOfficeCheckerFindsPlantedViolations(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		plant func(*officeHistory)
		want  string
	}{
		"clean":              {func(*officeHistory) {}, ""},
		"lost":               {func(h *officeHistory) { delete(h.final, "t") }, "t: asked, and lost"},
		"a gate is lost":     {func(h *officeHistory) { delete(h.final, "g2") }, "gate g2 is lost"},
		"doubled":            {func(h *officeHistory) { h.wanted = append(h.wanted, wanted{key: "kt", id: "t2", kind: askedTask}) }, "has made t as well"},
		"still open":         {func(h *officeHistory) { alter(h, "t", func(v *lot) { v.status = "WAITING" }) }, "never ended"},
		"a decision is lost": {func(h *officeHistory) { h.said[0].outcome = "rejected" }, "ann was told that it is rejected"},
		"decided by nobody":  {func(h *officeHistory) { h.said = h.said[1:] }, "who has not decided that"},
		"two decisions stand": {func(h *officeHistory) {
			h.said = append(h.said, saying{id: "t", actor: "bob", outcome: "rejected", code: 200, provisional: false})
		}, "bob was told"},
		"the second was told that it may be overruled": {func(h *officeHistory) {
			h.said = append(h.said, saying{id: "t", actor: "bob", outcome: "rejected", code: 200, provisional: true})
		}, ""},
		"the second was refused": {func(h *officeHistory) {
			h.said = append(h.said, saying{id: "t", actor: "bob", outcome: "rejected", code: 409, provisional: false})
		}, ""},
		"shown otherwise there":                   {func(h *officeHistory) { alter(h, "t", func(v *lot) { v.there = "bob" }) }, "shown as decided by bob"},
		"shown as decided there, and out of time": {func(h *officeHistory) { alter(h, "e", func(v *lot) { v.there = "bob" }) }, "shown as decided by bob"},
		"passed on, and lost":                     {func(h *officeHistory) { h.passed[0].has = false }, "t: passed on to cy"},
		"asked twice": {func(h *officeHistory) {
			alter(h, "t", func(v *lot) { v.events = numbered(slices.Insert(v.events, 3, v.events[3]), 1) })
		}, "asked 2 times"},
		"no reminder": {func(h *officeHistory) {
			alter(h, "r", func(v *lot) { v.events = numbered(slices.Delete(v.events, 4, 5), 1) })
		}, "reminded 0 times"},
		"escalated twice": {func(h *officeHistory) {
			alter(h, "r", func(v *lot) { v.events = numbered(slices.Insert(v.events, 5, v.events[5]), 1) })
		}, "escalated 2 times"},
		"expired early":         {func(h *officeHistory) { h.wanted[2].due = second(100) }, "to run out of time"},
		"handed over early":     {func(h *officeHistory) { h.handed["l"] = []time.Time{second(1)} }, "to be so from"},
		"never handed over":     {func(h *officeHistory) { delete(h.handed, "l") }, "handed over at []"},
		"passed without a word": {func(h *officeHistory) { alter(h, "p", func(v *lot) { v.gates[1].Status = "asked" }) }, "its gate g2 is asked, and ended COMPLETED"},
		"passed twice": {func(h *officeHistory) {
			alter(h, "p", func(v *lot) { v.events = numbered(slices.Insert(v.events, 3, v.events[3]), 1) })
		}, "2 passed, and its log has 2 and 3"},
		"delivered on one word": {func(h *officeHistory) { refuse(h); h.handed["p"] = []time.Time{second(9)} }, "handed over 1 times with 1 approvals"},
		"refused":               {refuse, ""},
		"refused at one, and asked no more at the other": {lapse, ""},
		"approved, and asked no more": {func(h *officeHistory) {
			lapse(h)
			h.said = append(h.said, saying{id: "g1", actor: "ann", outcome: "approved", code: 200, provisional: false})
		}, "ann was told that it is approved"},
		"a task of its own lapses": {func(h *officeHistory) {
			h.said = h.said[1:]
			alter(h, "t", func(v *lot) {
				v.status, v.there, v.events = "CANCELED", "", append(v.events[:4:4], by("pannier", ev(5, "canceled")))
			})
		}, "who has not decided that"},
		"approved, and no app":    {func(h *officeHistory) { delete(h.handed, "p") }, "handed over 0 times"},
		"a time is lost":          {func(h *officeHistory) { h.made = slices.Delete(h.made, 2, 3) }, "the schedule made"},
		"a time is doubled":       {func(h *officeHistory) { h.made = append(h.made, h.made[2]) }, "the schedule made"},
		"the last times are lost": {func(h *officeHistory) { h.made = h.made[:3] }, "3 intents in 6 seconds"},
	} {
		t.Run(name, func(t *testing.T) {
			h := cleanOffice()
			row.plant(h)
			got := strings.Join(checkOffice(h), "\n")
			if row.want == "" && got != "" || !strings.Contains(got, row.want) {
				t.Errorf("violations %q, want one with %q", got, row.want)
			}
		})
	}
}

func alter(h *officeHistory, id string, f func(*lot)) {
	v := h.final[id]
	f(&v)
	h.final[id] = v
}

// refuse lets the second gate be refused.
func refuse(h *officeHistory) {
	alter(h, "p", func(v *lot) {
		v.status, v.gates[1].Status = "CANCELED", "refused"
		v.events = append(v.events[:5:5], ev(6, "canceled"))
	})
	alter(h, "g2", func(v *lot) {
		v.status = "CANCELED"
		v.events = append(v.events[:4:4], by("ann", ev(5, "canceled")))
	})
	h.said[3].outcome = "rejected"
	delete(h.handed, "p")
}

// lapse lets the second of two gates that are asked at once be refused before the first
// has been decided.
func lapse(h *officeHistory) {
	refuse(h)
	alter(h, "p", func(v *lot) {
		v.gates[0].Status = "expired"
		v.events = numbered([]event{v.events[0], v.events[1], v.events[2], v.events[4], v.events[5]}, 1)
	})
	alter(h, "g1", func(v *lot) {
		v.status, v.events = "CANCELED", append(v.events[:4:4], by("pannier", ev(5, "canceled")))
	})
	h.said = slices.DeleteFunc(h.said, func(s saying) bool { return s.id == "g1" })
}

func by(actor string, e event) event { e.Actor = actor; return e }

// kept is an informational event.
func kept(seq int, kind, status, reason string) event {
	return event{Seq: seq, Type: "intent." + kind, Status: status, At: second(seq), Details: map[string]any{"reason": reason}}
}

// cleanOffice is one of each kind, and a schedule of six seconds.
func cleanOffice() *officeHistory {
	task := func(more ...event) []event {
		log := []event{ev(1, "created"), ev(2, "submitted"), ev(3, "waiting"), kept(4, "human_task_assigned", "WAITING", "")}
		return numbered(append(log, more...), 1)
	}
	done := func() []event { return task(ev(0, "in_progress"), by("ann", ev(0, "completed"))) }
	h := &officeHistory{
		wanted: []wanted{{key: "kt", id: "t", kind: askedTask}, {key: "kr", id: "r", kind: askedReminded}, {key: "ke", id: "e", kind: askedExpiring, due: second(4)},
			{key: "kl", id: "l", kind: askedLater, due: second(3)}, {key: "kp", id: "p", kind: askedGated}},
		handed: map[string][]time.Time{"l": {second(3)}, "p": {second(9)}},
		period: [2]time.Time{second(0), second(6)},
		passed: []passing{{"t", "cy", true}},
		final: map[string]lot{
			"t": {status: "COMPLETED", events: done(), there: "ann"}, "g1": {status: "COMPLETED", events: done()}, "g2": {status: "COMPLETED", events: done(), there: "ann"},
			"r": {status: "COMPLETED", events: task(kept(0, "reminder", "WAITING", ""), kept(0, "escalated", "WAITING", ""), ev(0, "in_progress"), by("ann", ev(0, "completed")))},
			"e": {status: "TIMED_OUT", events: task(ev(5, "timed_out"))},
			"l": {status: "COMPLETED", events: log()},
			"p": {status: "COMPLETED", gates: []gateView{{"approved", "g1"}, {"approved", "g2"}}, events: numbered([]event{
				ev(1, "created"), ev(2, "submitted"), kept(3, "human_task_assigned", "SUBMITTED", ""), kept(4, "transfer", "SUBMITTED", "gate_approved"),
				kept(5, "human_task_assigned", "SUBMITTED", ""), kept(6, "transfer", "SUBMITTED", "gate_approved"), ev(7, "delivered"), ev(8, "in_progress"), ev(9, "completed"),
			}, 1)},
		},
	}
	for _, id := range []string{"t", "r", "g1", "g2"} {
		h.said = append(h.said, saying{id: id, actor: "ann", outcome: "approved", code: 200})
	}
	for n := 1; n <= 6; n++ {
		h.made = append(h.made, second(n))
	}
	return h
}
