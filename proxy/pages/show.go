package pages

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/a-h/templ"
)

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func andMore(next string) string {
	if next == "" {
		return ""
	}
	return ", and older ones"
}

func sizeText(bytes int) string {
	const unit = 1024
	switch {
	case bytes < unit:
		return plural(bytes, "byte")
	case bytes < unit*unit:
		return fmt.Sprintf("%d KiB", bytes/unit)
	}
	if bytes < unit*unit*unit {
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(unit*unit))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(unit*unit*unit))
}

// looks are how a status is shown: a sign, a word and a class, for whom any of them is lost.
var looks = map[string][3]string{
	"CREATED": {"○", "Created", "open"}, "SUBMITTED": {"○", "Waiting", "open"},
	"DELIVERED": {"◐", "Delivered", "open"}, "ACKNOWLEDGED": {"◐", "Acknowledged", "open"},
	"IN_PROGRESS": {"◐", "In progress", "open"}, "WAITING": {"◔", "Waits for somebody", "wait"},
	"COMPLETED": {"✓", "Completed", "good"}, "FAILED": {"✕", "Failed", "bad"},
	"CANCELED": {"–", "Canceled", "off"}, "TIMED_OUT": {"✕", "Timed out", "bad"},
}

func statusSign(of string) string  { return looks[of][0] }
func statusClass(of string) string { return looks[of][2] }

func statusWord(of string) string {
	if look, known := looks[of]; known {
		return look[1]
	}
	return words(strings.ToLower(of))
}

func errorTitle(status int) string {
	switch status {
	case http.StatusNotFound:
		return "Not found"
	case http.StatusForbidden, http.StatusUnauthorized:
		return "Not allowed"
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		return "Not just now"
	case http.StatusInternalServerError:
		return "Something went wrong"
	}
	return "That did not work"
}

func decidedSign(d *decision) string {
	if d.Refusal {
		return "✕"
	}
	return "✓"
}

// told is an event of a task in words; empty where it says a reader nothing.
func told(e happening) string {
	switch strings.TrimPrefix(e.Type, "intent.") {
	case "created":
		return "Sent"
	case "human_task_assigned":
		return "Asked for a decision"
	case "reminder":
		return "Reminder"
	case "escalated":
		var to struct {
			To string `json:"escalated_to"`
		}
		_ = json.Unmarshal(e.Details, &to) // it is for the reader
		return strings.TrimSpace("Escalated to " + short(to.To))
	case "completed":
		return "Decided"
	case "canceled":
		return "Refused or canceled"
	case "failed":
		return "Failed"
	case "timed_out":
		return "Nobody decided in time"
	case "submitted", "waiting", "in_progress":
		return ""
	}
	return words(strings.TrimPrefix(e.Type, "intent."))
}

func waitsFor(i *intent) string {
	switch {
	case ended(i.Status):
		return "nobody: it is over"
	case i.PendingWith.Name != "":
		return short(i.PendingWith.Name)
	case len(i.Task.Assignees) > 0:
		return plain(strings.Join(i.Task.Assignees, ", "))
	}
	return short(i.To)
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// faultLabel and faultTarget say where a fault is that is of no field of the form.
func faultLabel(pointer string) string {
	switch pointer {
	case "/comment":
		return "Comment"
	case "/data/evidence":
		return "Evidence"
	case "/outcome":
		return "Decision"
	case "/message":
		return "Comment"
	case "/delegate_to":
		return "To"
	case "/note":
		return "Note"
	case "/talk":
		return "Comment or passing on"
	case "", "/":
		return "Form"
	}
	return plain(strings.TrimPrefix(pointer, "/"))
}

func faultTarget(pointer string) string {
	switch pointer {
	case "/comment":
		return "#comment"
	case "/data/evidence":
		return "#evidence-text"
	case "/outcome":
		return "#decision"
	case "/message", "/delegate_to", "/note", "/talk":
		return "#" + pointer[1:]
	}
	return "#form"
}

// input is the type of an input. A number is typed as text: browsers keep to themselves
// what they take for none, and then nobody can say what is wrong with it.
func (f *field) input() string {
	switch f.Kind {
	case date, email, link:
		return string(f.Kind)
	case moment:
		return "datetime-local"
	}
	return "text"
}

// described names the texts that belong to a field.
func (f *field) described() string {
	var ids []string
	if f.Help != "" {
		ids = append(ids, f.Name+"-help")
	}
	if f.Error != "" {
		ids = append(ids, f.Name+"-error")
	}
	return strings.Join(ids, " ")
}

func (f *field) attributes() templ.Attributes {
	a := templ.Attributes{}
	if d := f.described(); d != "" {
		a["aria-describedby"] = d
	}
	if f.Error != "" {
		a["aria-invalid"] = "true"
	}
	if f.Required && f.Kind != check {
		a["aria-required"] = "true"
	}
	if f.Kind == number {
		a["inputmode"] = "decimal"
	}
	return a
}

// presses are what buttons of common outcomes say: what one does, not what it will have been.
var presses = map[string]string{
	"approved": "Approve", "rejected": "Reject", "confirmed": "Confirm", "denied": "Deny", "changes_requested": "Request changes",
	"assigned": "Accept", "declined": "Decline", "submitted": "Submit", "provided": "Provide", "completed": "Complete",
	"failed": "Mark as failed", "override_approved": "Approve the override",
}

func press(outcome string) string {
	if p, known := presses[outcome]; known {
		return p
	}
	return words(outcome)
}
