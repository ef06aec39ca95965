package notify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pannier/journal"
	"pannier/proxy/api"
)

// Rules say who is told of a turn of a task.
type Rules struct {
	Targets []Target
	Pages   string // base URL of the pages that people open; empty: there are no links
}

// News is what a message says, and what a webhook gets, in the form of Standard Webhooks.
type News struct {
	Type      string `json:"type"` // task. and the turn, or that of a step
	Timestamp string `json:"timestamp"`
	Data      Data   `json:"data"`
	To        string `json:"to,omitempty"` // address of a mail; no part of what a webhook gets
}

const (
	stepType = "scenario.notification"
	stamp    = "2006-01-02T15:04:05.000Z07:00"
)

// Data is about the task, or the intent with the step. Texts are the sender's, as text makes them harmless.
type Data struct {
	IntentID    string   `json:"intent_id"`
	IntentType  string   `json:"intent_type"`
	From        string   `json:"from_agent"`
	To          string   `json:"to_agent"`
	Correlation string   `json:"correlation_id,omitempty"`
	Status      string   `json:"status"`
	Title       string   `json:"title"`
	Description string   `json:"description,omitempty"`
	TaskType    string   `json:"task_type,omitempty"`
	Assignees   []string `json:"assignees,omitempty"`
	Asked       string   `json:"asked"` // whose it is from now on, or was at its end
	DueAt       string   `json:"due_at,omitempty"`
	Reminder    uint32   `json:"reminder,omitempty"` // of Reminders
	Reminders   uint32   `json:"max_reminders,omitempty"`
	By          string   `json:"by,omitempty"`      // who decided, or passed it on
	Outcome     string   `json:"outcome,omitempty"` // of a decision
	Comment     string   `json:"comment,omitempty"`
	URL         string   `json:"url,omitempty"` // of its page
}

// task is what of a human_task is told. The app API has checked it; journals of others
// have not.
type task struct {
	Title       string   `json:"title"`
	Description string   `json:"description"`
	TaskType    string   `json:"task_type"`
	Assignees   []string `json:"assignees"`
	NotifyEmail string   `json:"notify_email"`
}

const (
	mostTitle     = 255
	mostText      = 1000 // with it a message is within what the journal takes, whatever is escaped
	mostWord      = 383  // of an address
	mostOutcome   = 64
	mostAssignees = 20
	mostAssignee  = 120
)

// Tell makes the messages about a turn, for journal.Options.Tell. It reads memory only.
func (r *Rules) Tell(n *journal.TaskNews) (all []journal.Notification) {
	if n.Turn == journal.StepTold {
		return r.tellStep(n)
	}
	var of *task
	for i := range r.Targets {
		t := &r.Targets[i]
		if !t.hears(n) {
			continue
		}
		if of == nil {
			of = readTask(n.Envelope.HumanTask)
		}
		news := r.newsOf(n, of)
		if t.Kind != KindMail {
			all = append(all, message(t, news))
			continue
		}
		for _, to := range t.Mail.recipients(n, of) {
			news.To = to
			all = append(all, message(t, news))
		}
	}
	return all
}

// Find returns the target of that name, or the only one where none is given, and says why
// it cannot tell whom an address stands for; empty: whoever the target is for.
func (r *Rules) Find(name, to string) (string, error) {
	names := make([]string, 0, len(r.Targets))
	for i := range r.Targets {
		t := &r.Targets[i]
		if t.Name == name || name == "" && len(r.Targets) == 1 {
			if t.Kind == KindMail && len(t.Mail.told(to)) == 0 {
				return "", fmt.Errorf("is mail to nobody: %q of notify in the config file has neither to nor, under people, whoever is to be told", t.Name)
			}
			return t.Name, nil
		}
		names = append(names, t.Name)
	}
	switch {
	case len(names) == 0:
		return "", errors.New("cannot be: this sidecar tells nobody anything; have a target added under notify in its config file")
	case name == "":
		return "", fmt.Errorf("is required: one of %s", strings.Join(names, ", "))
	}
	return "", fmt.Errorf("is no target of notify in the config file of this sidecar: use one of %s, or have it added", strings.Join(names, ", "))
}

// tellStep makes the messages of a step of a workflow. Nobody is to decide anything, so
// there is no link.
func (r *Rules) tellStep(n *journal.TaskNews) (all []journal.Notification) {
	for i := range r.Targets {
		t := &r.Targets[i]
		if t.Name != n.Target {
			continue
		}
		e := n.Envelope
		news := News{Type: stepType, Timestamp: n.At.UTC().Format(stamp), Data: Data{
			IntentID: n.ID.String(), IntentType: e.IntentType, From: line(e.FromAgent, mostWord), To: e.ToAgent, Correlation: e.CorrelationId, Status: n.Status.String(),
			Title: line(n.Title, mostTitle), Description: text(n.Text, mostText), Asked: n.Asked,
		}}
		if t.Kind != KindMail {
			return append(all, message(t, news))
		}
		for _, news.To = range t.Mail.told(n.Asked) {
			all = append(all, message(t, news))
		}
	}
	return all
}

// told are who gets mail from a step that tells an address.
func (m *Mail) told(to string) []string {
	if address := m.People[to]; address != "" {
		return []string{address}
	}
	return m.To
}

func message(t *Target, n News) journal.Notification {
	var payload bytes.Buffer
	e := json.NewEncoder(&payload)
	e.SetEscapeHTML(false)
	if err := e.Encode(n); err != nil {
		panic(err) // texts and numbers always encode
	}
	return journal.Notification{Target: t.Name, To: n.To, Payload: bytes.TrimSpace(payload.Bytes())}
}

// hears reports whether the target is told of it.
func (t *Target) hears(n *journal.TaskNews) bool {
	turns := t.Turns
	if turns == nil {
		turns = usualTurns
	}
	return slices.Contains(turns, n.Turn) && (len(t.Agents) == 0 || slices.ContainsFunc(t.Agents, func(grant string) bool {
		return api.Covers(grant, n.Envelope.ToAgent) || api.Covers(grant, n.Asked)
	}))
}

func readTask(raw []byte) *task {
	t := &task{}
	// What is no task of ours is told with what could be read of it.
	_ = json.Unmarshal(raw, t)
	t.Title, t.Description, t.TaskType = line(t.Title, mostTitle), text(t.Description, mostText), line(t.TaskType, mostOutcome)
	t.Assignees = t.Assignees[:min(len(t.Assignees), mostAssignees)]
	for i, name := range t.Assignees {
		t.Assignees[i] = line(name, mostAssignee)
	}
	return t
}

func (r *Rules) newsOf(n *journal.TaskNews, of *task) News {
	e := n.Envelope
	d := Data{
		IntentID: n.ID.String(), IntentType: e.IntentType, From: line(e.FromAgent, mostWord), To: e.ToAgent, Correlation: e.CorrelationId, Status: n.Status.String(),
		Title: of.Title, Description: of.Description, TaskType: of.TaskType, Assignees: of.Assignees, Asked: n.Asked,
	}
	if d.Title == "" {
		d.Title = line(e.IntentType, mostTitle)
	}
	if !n.Deadline.IsZero() {
		d.DueAt = n.Deadline.UTC().Format(time.RFC3339)
	}
	switch n.Turn {
	case journal.TaskReminded:
		d.Reminder, d.Reminders = n.No, e.Reminders.GetMost()
	case journal.TaskDelegated:
		d.By, d.Comment = line(n.By, mostWord), text(n.Text, mostText)
	case journal.TaskDecided:
		var said struct{ Outcome, Comment string }
		// A decision that is no object has no outcome that could be named.
		_ = json.Unmarshal(n.Body, &said)
		d.By, d.Outcome, d.Comment = line(n.By, mostWord), line(said.Outcome, mostOutcome), text(said.Comment, mostText)
	}
	if r.Pages != "" {
		d.URL = strings.TrimSuffix(r.Pages, "/") + "/tasks/" + d.IntentID
	}
	return News{Type: "task." + n.Turn.String(), Timestamp: n.At.UTC().Format(stamp), Data: d}
}

// recipients are who gets mail about it, each once.
func (m *Mail) recipients(n *journal.TaskNews, of *task) []string {
	to := slices.Clone(m.To)
	add := func(address string) {
		if address != "" && !slices.Contains(to, address) {
			to = append(to, address)
		}
	}
	add(m.People[n.Asked])
	if n.Turn != journal.TaskDelegated && n.Turn != journal.TaskEscalated { // of those one alone is asked anew
		for _, name := range of.Assignees {
			add(m.People[name])
		}
		if m.believes(of.NotifyEmail) {
			add(of.NotifyEmail)
		}
	}
	return to
}

// believes reports whether a task may have mail sent to that address.
func (m *Mail) believes(address string) bool {
	if _, err := mailbox(address); err != nil {
		return false
	}
	domain := strings.ToLower(address[strings.LastIndexByte(address, '@')+1:])
	return slices.ContainsFunc(m.Domains, func(one string) bool { return one == "*" || strings.ToLower(one) == domain })
}
