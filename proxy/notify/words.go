package notify

import (
	"fmt"
	"strings"
)

// headlines say what has happened, by turn.
var headlines = map[string]string{
	"task.assigned":  "A decision is asked for:",
	"task.delegated": "A decision was passed on to you:",
	"task.reminded":  "Still to be decided:",
	"task.escalated": "Escalated, and yours to decide now:",
	"task.decided":   "Decided:",
	"task.expired":   "Nobody decided in time:",
	stepType:         "For your information:",
}

func headline(n *News) string {
	if h := headlines[n.Type]; h != "" {
		return h
	}
	return "About a task:"
}

// said is one line of a message.
type said struct{ name, said string }

// lines are what a person is told of a task beside its title.
func lines(n *News) (out []said) {
	add := func(name, text string) {
		if text != "" {
			out = append(out, said{name, text})
		}
	}
	d := &n.Data
	add("From", d.From)
	add("For", d.Asked)
	if d.Outcome != "" || d.Status == "COMPLETED" || d.Status == "CANCELED" {
		add("Decision", strings.TrimSpace(d.Outcome+" ("+d.Status+")"))
	}
	add("By", d.By)
	add("Comment", d.Comment)
	add("Due", d.DueAt)
	if d.Reminder > 0 {
		add("Reminder", fmt.Sprintf("%d of %d", d.Reminder, d.Reminders))
	}
	about, description := "Task", "What is asked"
	if n.Type == stepType {
		about, description = "Intent", "Message"
	}
	add(about, d.IntentID)
	add(description, d.Description)
	return out
}
