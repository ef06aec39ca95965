package pages

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pannier/proxy/waterfall"
)

// filters are the lists of intents, each by its status. An empty one is all of them.
var filters = []struct{ Status, Label string }{
	{"", "All"}, {"pending", "Open"}, {"WAITING", "Waits for somebody"}, {"FAILED", "Failed"}, {"TIMED_OUT", "Timed out"}, {"COMPLETED", "Completed"}, {"CANCELED", "Canceled"},
}

// intentList is a page of intents.
type intentList struct {
	Status, To string
	List       []*intent
	Next       string
}

// query is the link to this list, or to another of its filters or pages.
func (l *intentList) query(status, cursor string) string {
	q := url.Values{}
	for name, value := range map[string]string{"status": status, "to": l.To, "cursor": cursor} {
		if value != "" {
			q.Set(name, value)
		}
	}
	return "/intents?" + q.Encode()
}

const intentsPageSize = "50"

// intents lists what is homed or held here, newest first. An id that was typed leads to
// its page.
func (s *server) intents(w http.ResponseWriter, r *http.Request, v *visitor) error {
	asked := r.URL.Query()
	if id := strings.TrimSpace(asked.Get("id")); id != "" {
		http.Redirect(w, r, "/intents/"+url.PathEscape(id), http.StatusSeeOther)
		return nil
	}
	l := &intentList{Status: asked.Get("status"), To: strings.TrimSpace(asked.Get("to"))}
	query := url.Values{"limit": {intentsPageSize}}
	for name, value := range map[string]string{"status": l.Status, "to_agent": l.To, "cursor": asked.Get("cursor")} {
		if value != "" {
			query.Set(name, value)
		}
	}
	var got struct {
		Intents []*intent
		Next    *string `json:"next_cursor"`
	}
	if _, err := s.app(r, v, request{method: http.MethodGet, path: "/v1/intents", query: query, into: &got}); err != nil {
		return err
	}
	l.List = got.Intents
	if got.Next != nil {
		l.Next = *got.Next
	}
	show(w, r, http.StatusOK, intentsPage(v, l))
	return nil
}

// intentView is what the page of an intent shows.
type intentView struct {
	Intent  *intent
	Why     string
	Next    time.Time // when it is tried again
	Tried   int
	Most    int
	Payload *payload
	Result  *payload
	Failure *payload
	Log     []happening
	Bars    []waterfall.Bar
	TraceID string
	NoLog   bool // its home is out of reach
	Said    string
	Dead    *deadLetter // nil: it is none
	Remedy  []run       // of it
}

func (s *server) intent(w http.ResponseWriter, r *http.Request, v *visitor) error {
	id := r.PathValue("id")
	var got struct{ Intent *intent }
	if _, err := s.app(r, v, request{method: http.MethodGet, path: intentPath(id, ""), into: &got}); err != nil {
		return err
	}
	i := got.Intent
	t := &intentView{
		Said: s.forms.said(v.session, r.URL.Query()), Intent: i, Payload: showPayload(i.Payload), Result: showPayload(i.Result), Failure: showPayload(i.Failure), TraceID: waterfall.TraceID(i.Traceparent),
	}
	var why struct {
		Text     string    `json:"text"`
		Next     time.Time `json:"next_try_at"`
		Attempts struct{ N, Max int }
	}
	if _, err := s.app(r, v, request{method: http.MethodGet, path: intentPath(id, "/why"), into: &why}); err != nil {
		return err
	}
	t.Why, t.Next, t.Tried, t.Most = why.Text, why.Next, why.Attempts.N, why.Attempts.Max
	var log struct{ Events []json.RawMessage }
	if _, err := s.app(r, v, request{method: http.MethodGet, path: intentPath(id, "/events"), into: &log}); err != nil {
		t.NoLog = true // what is known here is shown all the same
	}
	if err := t.read(log.Events, v.now); err != nil {
		return err
	}
	var err error
	if t.Dead, err = s.deadHere(r, i); err != nil {
		return err
	}
	if t.Dead != nil {
		t.Why, t.Remedy = meant(t.Dead.Cause)
	}
	show(w, r, http.StatusOK, intentPage(v, t))
	return nil
}

// read takes each event twice: as the page lists it, and as the waterfall reads it.
func (t *intentView) read(events []json.RawMessage, now time.Time) error {
	var parts []waterfall.Event
	for _, raw := range events {
		var listed happening
		var part waterfall.Event
		for _, into := range []any{&listed, &part} {
			if err := json.Unmarshal(raw, into); err != nil {
				return err
			}
		}
		t.Log, parts = append(t.Log, listed), append(parts, part)
	}
	t.Bars = waterfall.Draw(t.Intent.CreatedAt, parts, now)
	return nil
}

// lateAnswer is what an app said of an intent that had ended: a holder that was cut off had
// handed it over all the same.
type lateAnswer struct {
	Holder string    `json:"holder"`
	Kind   string    `json:"kind"`
	At     time.Time `json:"at"`
	Body   string    `json:"body"`
}

// detail is an event's details as one line.
func (e happening) detail() string {
	if s := string(e.Details); s != "{}" && s != "null" {
		return beginning(s)
	}
	return ""
}

// beginning is that of a text, for a cell.
func beginning(s string) string {
	s, left := cut(s, 400)
	if left > 0 {
		s += "…"
	}
	return plain(s)
}

// The picture is fallWidth wide, of which names have a part.
const (
	fallWidth = 720
	fallNames = 120
	fallRow   = 26
)

// drawnBar is a bar in the picture.
type drawnBar struct {
	Name, At, Took, Note string
	X, Width, Y          int
	Class                string
}

// drawn places the bars. One too short to be seen is drawn all the same.
func drawn(bars []waterfall.Bar, now time.Time) (all []drawnBar) {
	begin, end := waterfall.Span(bars, now)
	whole := max(end.Sub(begin), time.Millisecond)
	place := func(t time.Time) int {
		return fallNames + int(float64(fallWidth-fallNames-4)*float64(t.Sub(begin))/float64(whole))
	}
	for n, b := range bars {
		d := drawnBar{Name: words(b.Name), Note: plain(b.Note), Y: n * fallRow, X: place(b.Start), Class: "part"}
		until := b.Until(now)
		d.Width = max(place(until)-d.X, 3)
		d.At, d.Took = "+"+exact(b.Start.Sub(begin)), exact(until.Sub(b.Start))
		if b.End == nil {
			d.Took += " so far"
		}
		if b.Attempt > 0 {
			d.Name += " " + strconv.Itoa(b.Attempt)
		}
		switch {
		case strings.HasPrefix(b.Note, "failed"):
			d.Class = "failed"
		case b.Name == "app":
			d.Class = "app"
		case b.Delay:
			d.Class = "delay"
		}
		all = append(all, d)
	}
	return all
}

func exact(d time.Duration) string {
	if d < time.Minute {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}

func middle(y int) string { return strconv.Itoa(y + fallRow/2 + 4) }

func viewBox(bars int) string {
	return "0 0 " + strconv.Itoa(fallWidth) + " " + strconv.Itoa(bars*fallRow)
}

func rowsOfIntents(list []*intent) *grid {
	g := &grid{Label: "Intents", Heads: []string{"Intent", "Status", "To", "Hand-overs", "Age"}}
	for _, i := range list {
		g.add(cell{Text: rowTitle(i), Link: "/intents/" + i.ID, Below: i.ID}, cell{Sign: statusSign(i.Status), Class: "status " + statusClass(i.Status), Text: statusWord(i.Status)},
			text(short(i.To)), text(strconv.Itoa(i.Attempt)), cell{At: i.CreatedAt})
	}
	return g
}

func rowsOfEvents(log []happening) *grid {
	g := &grid{Label: "Events", Heads: []string{"No.", "Event", "When", "By", "Details"}}
	for _, e := range log {
		g.add(text(strconv.Itoa(e.Seq)), text(plain(e.Type)), cell{At: e.At}, text(short(e.Actor)), cell{Class: "code", Text: e.detail()})
	}
	return g
}

func rowsOfLate(late []lateAnswer) *grid {
	g := &grid{Label: "Answers after its end", Heads: []string{"Answer", "When", "Sidecar", "Body"}}
	for _, a := range late {
		g.add(text(plain(a.Kind)), cell{At: a.At}, text(plain(a.Holder)), cell{Class: "code", Text: beginning(a.Body)})
	}
	return g
}

func rowsOfBars(bars []drawnBar) *grid {
	g := &grid{Label: "Parts of its way", Heads: []string{"Part", "At", "Took", "Note"}}
	for _, b := range bars {
		g.add(text(b.Name), text(b.At), text(b.Took), text(b.Note))
	}
	return g
}
