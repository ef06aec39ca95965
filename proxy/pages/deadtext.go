package pages

import (
	"cmp"
	"fmt"
	"strings"
)

// title asks the question of the page.
func (a *deadAct) title() string {
	if a.Matched == 1 {
		return capital(a.Verb) + " this dead letter?"
	}
	return capital(a.Verb) + " " + plural(a.Matched, "dead letter") + "?"
}

// explained says what the answer yes does.
func (a *deadAct) explained() string {
	var text []string
	switch {
	case a.Purge && a.Matched == 1:
		text = append(text, "It is removed for good, with its payload and events. What is left says when that was, and by whom.")
	case a.Matched == 1:
		text = append(text, "It gets a successor, which is delivered anew. The dead letter stays, and shows it.")
	case a.Purge:
		text = append(text, "They are removed for good, with their payloads and events. What is left says when that was, and by whom.")
	default:
		text = append(text, "Each gets a successor, which is delivered anew. The dead letter stays, and shows it.")
		if n := a.Matched; n > redriveAtOnce {
			text = append(text, fmt.Sprintf("One press redrives %d of them, %d a second.", redriveAtOnce, redriveRate))
		} else if n > redriveRate {
			text = append(text, fmt.Sprintf("%d a second go: it takes about %d s.", redriveRate, (n+redriveRate-1)/redriveRate))
		}
	}
	if a.More {
		text = append(text, "There are more than are done at once: repeat it for the rest.")
	}
	return strings.Join(text, " ")
}

func (a *deadAct) sampled() string {
	if n := a.Matched - len(a.Sample.Rows); n > 0 {
		return fmt.Sprintf("%d of them", len(a.Sample.Rows))
	}
	if a.Matched == 1 {
		return "This one"
	}
	return "These"
}

// title says which kind is shown.
func (d *deadView) title() string {
	if d.Agent == "" || d.Reason == "" {
		return cmp.Or(short(d.Agent), words(d.Reason))
	}
	return words(d.Reason) + ", to " + short(d.Agent)
}

func rowsTitle(d *deadView) string {
	switch {
	case d.Show == showWaiting:
		return "Out of attempts, and held"
	case d.Kinds == nil:
		return "The newest first"
	}
	return "The newest"
}
