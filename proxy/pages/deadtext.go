package pages

import (
	"fmt"
	"strings"
)

// title asks the question of the page.
func (a *deadAct) title() string {
	return capital(a.Verb) + " " + plural(a.Matched, "dead letter") + "?"
}

// explained says what the answer yes does.
func (a *deadAct) explained() string {
	var text []string
	if a.Purge {
		text = append(text, "They are removed for good, with their payloads and events. What is left says when that was, and by whom.")
	} else {
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
	return "These"
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
