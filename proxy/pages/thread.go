package pages

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// thread is what people have said about a task.
type thread struct {
	Entries []entry `json:"timeline"`
}

type entry struct {
	ID      string    `json:"event_id"`
	Type    string    `json:"event_type"`
	Actor   string    `json:"actor"`
	At      time.Time `json:"at"`
	Details struct {
		Message    string `json:"message"`
		DelegateTo string `json:"delegate_to"`
		Note       string `json:"note"`
	} `json:"details"`
}

// said is one line of how a task came to where it is: what happened to it, or what
// somebody said or did.
type said struct {
	What, Text, Actor string
	At                time.Time
}

// talk is what a form about the thread had, when it comes back.
type talk struct {
	Message, DelegateTo, Note string
}

// sayings are the events and the entries of a task, in the order of their times. Of the
// entries those are left out that tell of an event.
func (t *taskView) sayings() (all []said) {
	for _, e := range t.Log {
		if what := told(e); what != "" {
			all = append(all, said{What: what, Actor: e.Actor, At: e.At})
		}
	}
	if t.Thread == nil {
		return all
	}
	for _, e := range t.Thread.Entries {
		switch e.Type {
		case "message.sent":
			all = append(all, said{What: "Comment", Text: e.Details.Message, Actor: e.Actor, At: e.At})
		case "thread.delegated":
			all = append(all, said{What: strings.TrimSpace("Passed on to " + short(e.Details.DelegateTo)), Text: e.Details.Note, Actor: e.Actor, At: e.At})
		}
	}
	slices.SortStableFunc(all, func(a, b said) int { return a.At.Compare(b.At) })
	return all
}

func threadPath(id, rest string) string { return "/v1/inbox/" + url.PathEscape(id) + rest }

// comment says something about a task, which does not decide it.
func (s *server) comment(w http.ResponseWriter, r *http.Request, v *visitor) error {
	t := talk{Message: textOf(r.PostForm, "message")}
	return s.say(w, r, v, "comment", "/reply", t, map[string]any{"message": t.Message})
}

// delegate passes a task on to the people of another agent, who may decide it then, too.
func (s *server) delegate(w http.ResponseWriter, r *http.Request, v *visitor) error {
	t := talk{DelegateTo: strings.TrimSpace(r.PostForm.Get("delegate_to")), Note: textOf(r.PostForm, "note")}
	if t.DelegateTo == "" {
		return s.refuseTalk(w, r, v, t, &refused{Status: http.StatusUnprocessableEntity, Faults: []refusedFault{{Pointer: "/delegate_to", Detail: "is required"}}})
	}
	body := map[string]any{"delegate_to": t.DelegateTo}
	if t.Note != "" {
		body["note"] = t.Note
	}
	return s.say(w, r, v, "delegation", "/delegate", t, body)
}

func textOf(typed url.Values, field string) string {
	return strings.TrimSpace(strings.ReplaceAll(typed.Get(field), "\r\n", "\n"))
}

func (s *server) say(w http.ResponseWriter, r *http.Request, v *visitor, what, route string, t talk, body map[string]any) error {
	id := r.PathValue("id")
	_, err := s.app(r, v, request{method: http.MethodPost, path: threadPath(id, route), key: formKey(r.PostForm), body: body})
	var why *refused
	switch {
	case err == nil:
		s.Log.Info("task talked about", "intent_id", id, "actor", v.name, "what", what, "remote", v.remote)
		http.Redirect(w, r, "/tasks/"+url.PathEscape(id)+"?said#log", http.StatusSeeOther)
		return nil
	case errors.As(err, &why) && (why.Status == http.StatusUnprocessableEntity || why.Status == http.StatusBadRequest || why.Status == http.StatusConflict):
		return s.refuseTalk(w, r, v, t, why)
	}
	return err
}

// refuseTalk brings a form back with what was typed, and what is wrong with it.
func (s *server) refuseTalk(w http.ResponseWriter, r *http.Request, v *visitor, typed talk, why *refused) error {
	t, err := s.readTask(r, v)
	if err != nil {
		return err
	}
	t.Talk = typed
	for _, f := range why.Faults {
		t.Faults[f.Pointer] = plain(f.Detail)
	}
	if len(why.Faults) == 0 {
		t.Faults["/talk"] = plain(why.Detail)
	}
	show(w, r, why.Status, taskPage(v, t))
	return nil
}

// readThread reads what was said. A task without a thread can be decided no less.
func (s *server) readThread(r *http.Request, v *visitor, id string) *thread {
	var got struct{ Thread *thread }
	if _, err := s.app(r, v, request{method: http.MethodGet, path: threadPath(id, ""), into: &got}); err != nil {
		return nil
	}
	return got.Thread
}
