package api

import (
	"time"

	"pannier/journal/wire"
)

const (
	maxRemind    = 366 * 24 * 3600 // seconds
	maxReminders = 100
	// someReminders are given where max_reminders says nothing: one without an interval.
	someReminders = 10
)

// takeReminders takes AXP's fields about reminders; nil where there is none. They are of
// a person's task: what waits for an app is tried again of itself.
func takeReminders(body *object, name func(string) string, task bool) *wire.Reminders {
	after, remind := body.integer(name("remind_after_seconds"), 1, maxRemind)
	interval, repeat := body.integer(name("remind_interval_seconds"), 1, maxRemind)
	most, limited := body.integer(name("max_reminders"), 1, maxReminders)
	to := body.address(name("escalate_to"), false)
	for _, f := range []struct {
		name  string
		given bool
	}{{"remind_after_seconds", remind}, {"remind_interval_seconds", repeat}, {"max_reminders", limited}, {"escalate_to", to != ""}} {
		switch {
		case !f.given:
		case !task:
			body.fault(name(f.name), codeNotAvailable, "is for a human_task; of anything else it is not available yet, and refused rather than ignored")
		case !remind:
			body.fault(name(f.name), codeSchemaInvalid, "needs remind_after_seconds: from when on")
		}
	}
	if !remind || !task {
		return nil
	}
	if !limited {
		most = 1
		if repeat {
			most = someReminders
		}
	}
	return &wire.Reminders{
		AfterMs: after * time.Second.Milliseconds(), IntervalMs: interval * time.Second.Milliseconds(), Most: uint32(most), EscalateTo: to,
	}
}
