package pages

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"pannier/proxy/api"
)

// intent is one as the routes show it.
type intent struct {
	ID          string          `json:"intent_id"`
	Status      string          `json:"status"`
	Type        string          `json:"intent_type"`
	From        string          `json:"from_agent"`
	To          string          `json:"to_agent"`
	Correlation string          `json:"correlation_id"`
	Role        string          `json:"role"`
	CreatedAt   time.Time       `json:"created_at"`
	UpdatedAt   time.Time       `json:"updated_at"`
	DeliverBy   time.Time       `json:"deliver_by"`
	DeadlineAt  time.Time       `json:"deadline_at"`
	RemindAt    time.Time       `json:"next_reminder_at"`
	Attempt     int             `json:"delivery_attempt"`
	MaxAttempts int             `json:"max_delivery_attempts"`
	Traceparent string          `json:"traceparent"`
	RedriveOf   string          `json:"redrive_of"`
	RedrivenAs  string          `json:"redriven_as"`
	Waiting     string          `json:"lifecycle_waiting_reason"`
	Payload     json.RawMessage `json:"payload"`
	ContentLost bool            `json:"content_lost"` // that payload stands for nothing
	Result      json.RawMessage `json:"result"`
	Failure     json.RawMessage `json:"error"`
	Refusal     json.RawMessage `json:"task_result"` // of a decision that ended it CANCELED
	Task        *humanTask      `json:"human_task"`
	Parent      string          `json:"parent_intent_id"`
	Gates       []gate          `json:"gates"`
	Late        []lateAnswer    `json:"late_answers"`
	PendingWith struct {
		Name string `json:"name"`
	} `json:"pending_with"`
}

// humanTask is what a person is asked.
type humanTask struct {
	Title       string          `json:"title"`
	Description string          `json:"description"`
	Kind        string          `json:"task_type"`
	Outcomes    []string        `json:"allowed_outcomes"`
	Assignees   []string        `json:"assignees"`
	Comment     bool            `json:"required_comment"`
	Evidence    bool            `json:"evidence_required"`
	Form        json.RawMessage `json:"form_schema"`
}

// happening is one event of an intent.
type happening struct {
	Seq     int             `json:"seq"`
	Type    string          `json:"event_type"`
	Status  string          `json:"status"`
	At      time.Time       `json:"at"`
	Actor   string          `json:"actor"`
	Details json.RawMessage `json:"details"`
}

// taskView is what the page of a task shows.
type taskView struct {
	Intent    *intent
	MayDecide bool // this visitor
	Payload   *payload
	Whole     *whole // nil: it is asked for its own sake
	Fields    []*field
	Once      string
	Comment   string
	Evidence  string
	Fresh     bool              // this visitor has just decided it
	Beaten    bool              // this visitor wanted to decide it, and somebody else has
	Wanted    string            // the outcome they pressed
	Faults    map[string]string // by pointer, those that are of no field
	Wrong     []*field
	Decision  *decision // nil: it is open
	Log       []happening
	Thread    *thread // nil: there is none
	Talk      talk
}

// decision is how a task ended.
type decision struct {
	Outcome string
	Comment string
	Data    *payload
	By      string
	At      time.Time
	Refusal bool
}

func (s *server) task(w http.ResponseWriter, r *http.Request, v *visitor) error {
	t, err := s.readTask(r, v)
	if err != nil {
		return err
	}
	t.Fresh = r.URL.Query().Has("decided") && t.Decision != nil && t.Decision.By == v.name
	show(w, r, http.StatusOK, taskPage(v, t))
	return nil
}

func (s *server) readTask(r *http.Request, v *visitor) (*taskView, error) {
	id := r.PathValue("id")
	var got struct {
		Intent    *intent
		MayDecide bool `json:"may_decide"`
	}
	if _, err := s.app(r, v, request{method: http.MethodGet, path: intentPath(id, ""), into: &got}); err != nil {
		return nil, err
	}
	if got.Intent.Task == nil {
		return nil, &refused{Status: http.StatusNotFound, Detail: "This intent asks nobody: it is one for an app."}
	}
	t := &taskView{
		Intent: got.Intent, MayDecide: got.MayDecide, Payload: showPayload(got.Intent.Payload), Fields: formOf(got.Intent.Task.Form),
		Once: once(), Faults: map[string]string{},
	}
	s.readWhole(r, v, t)
	var log struct{ Events []happening }
	if _, err := s.app(r, v, request{method: http.MethodGet, path: intentPath(id, "/events"), into: &log}); err == nil {
		t.Log = log.Events // its home may be out of reach just now: the task can be decided without
	}
	t.Thread = s.readThread(r, v, id)
	if ended(t.Intent.Status) {
		t.Decision = decisionOf(t.Intent, t.Log)
	}
	return t, nil
}

func ended(status string) bool {
	return slices.Contains([]string{"COMPLETED", "FAILED", "CANCELED", "TIMED_OUT"}, status)
}

func decisionOf(i *intent, log []happening) *decision {
	d := &decision{Refusal: i.Status != "COMPLETED"}
	var said struct {
		Outcome string          `json:"outcome"`
		Comment string          `json:"comment"`
		Data    json.RawMessage `json:"data"`
	}
	raw := i.Result
	if d.Refusal {
		raw = i.Refusal
	}
	_ = json.Unmarshal(raw, &said) // one of another shape is shown as no outcome
	d.Outcome, d.Comment, d.Data = said.Outcome, said.Comment, showPayload(said.Data)
	if n := len(log); n > 0 {
		last := log[n-1]
		d.By, d.At = last.Actor, last.At
		if d.Outcome == "" {
			var why struct {
				Reason string `json:"reason"`
			}
			_ = json.Unmarshal(last.Details, &why) // it is for the reader
			d.Outcome = why.Reason
		}
	}
	if d.Outcome == "" {
		d.Outcome = strings.ToLower(i.Status)
	}
	return d
}

// decide takes a decision: by the same route as an app's, whose word on what is wrong with
// it goes back into the form, with all that was typed.
func (s *server) decide(w http.ResponseWriter, r *http.Request, v *visitor) error {
	t, err := s.readTask(r, v)
	if err != nil {
		return err
	}
	if t.Decision != nil {
		t.Beaten = t.Decision.By != v.name
		show(w, r, http.StatusConflict, taskPage(v, t))
		return nil
	}
	typed := r.PostForm
	t.Wanted, t.Comment, t.Evidence = typed.Get("outcome"), strings.ReplaceAll(typed.Get("comment"), "\r\n", "\n"), typed.Get("evidence")
	// Who the log says it was is what the gate knows; without one, that it was here.
	_, err = s.app(r, v, request{
		method: http.MethodPost, path: intentPath(t.Intent.ID, "/resume"), key: formKey(typed),
		body: map[string]any{"actor": v.name, "task_result": t.result(typed)},
	})
	var why *refused
	switch {
	case err == nil:
		s.Log.Info("task decided", "intent_id", t.Intent.ID, "actor", v.name, "outcome", t.Wanted, "remote", v.remote)
		http.Redirect(w, r, "/tasks/"+url.PathEscape(t.Intent.ID)+"?decided", http.StatusSeeOther)
		return nil
	case errors.As(err, &why) && why.Status == http.StatusConflict:
		return s.beaten(w, r, v)
	case errors.As(err, &why) && (why.Status == http.StatusUnprocessableEntity || why.Status == http.StatusBadRequest):
		t.complain(why)
		show(w, r, why.Status, taskPage(v, t))
		return nil
	}
	return err
}

// beaten says who was first, and when.
func (s *server) beaten(w http.ResponseWriter, r *http.Request, v *visitor) error {
	t, err := s.readTask(r, v)
	if err != nil {
		return err
	}
	t.Beaten = true
	show(w, r, http.StatusConflict, taskPage(v, t))
	return nil
}

// formKey is what makes a form that is sent twice be done once.
func formKey(typed url.Values) string {
	if key := typed.Get(onceField); key != "" {
		return "page-" + key
	}
	return ""
}

// result is the task_result that was typed.
func (t *taskView) result(typed url.Values) json.RawMessage {
	all := []named{{"outcome", encode(t.Wanted)}}
	if strings.TrimSpace(t.Comment) != "" {
		all = append(all, named{"comment", encode(t.Comment)})
	}
	var data json.RawMessage
	if len(t.Fields) > 0 {
		data = take(t.Fields, typed)
	}
	if strings.TrimSpace(t.Evidence) != "" {
		members, _ := orderedMembers(data)
		data = object(append(members, named{"evidence", encode(t.Evidence)}))
	}
	if data != nil {
		all = append(all, named{"data", data})
	}
	return object(all)
}

const inResult = "/task_result"

func (t *taskView) complain(why *refused) {
	for _, f := range why.Faults {
		pointer := strings.TrimPrefix(f.Pointer, inResult)
		if at, ok := strings.CutPrefix(pointer, "/data"); ok && at != "/evidence" {
			pointer = at
		}
		t.Faults[pointer] = plain(f.Detail)
	}
	if len(why.Faults) == 0 {
		t.Faults["/"] = plain(why.Detail)
	}
	blame(t.Fields, t.Faults)
	if t.Wrong = faulty(t.Fields); len(t.Wrong) > 0 {
		delete(t.Faults, "") // what is missing is said where it is missing
	}
}

// refuses reports whether an outcome says no: of a form it needs nothing.
func refuses(outcome string) bool { return api.Refuses(outcome) }

// savePayload gives the payload as a file: a page shows no more than its beginning.
func (s *server) savePayload(w http.ResponseWriter, r *http.Request, v *visitor) error {
	var got struct{ Intent intent }
	if _, err := s.app(r, v, request{method: http.MethodGet, path: intentPath(r.PathValue("id"), ""), into: &got}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Disposition", `attachment; filename="payload.json"`)
	_, _ = w.Write(got.Intent.Payload) // an error is a reader that hung up
	return nil
}
