package pages

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"pannier/journal/state"
	"pannier/proxy/checkup"
)

const (
	deadPath      = "/dead-letters"
	deadRoute     = "/v1/admin/dead-letters"
	deadPageSize  = "50"
	redriveAtOnce = 250 // by one press, for which somebody waits
	redriveRate   = 50  // a second
)

// selectedField is in what comes from the list: without it nothing chosen means all there
// are, and who has selected none does not mean that.
const selectedField = "selected"

// What of dead letters is shown.
const (
	showOpen    = "" // those without a successor
	showAll     = "all"
	showWaiting = "waiting" // instead what waits for an operator, and has not ended
)

// deadLetter is one as the admin listener shows it.
type deadLetter struct {
	ID         string    `json:"intent_id"`
	Reason     string    `json:"reason"`
	Cause      string    `json:"cause"`
	Code       string    `json:"code"`
	LastAnswer string    `json:"last_answer"`
	Type       string    `json:"intent_type"`
	To         string    `json:"to_agent"`
	CreatedAt  time.Time `json:"created_at"`
	EndedAt    time.Time `json:"ended_at"`
	RedrivenAs string    `json:"redriven_as"`
	Attempts   struct{ N, Max int }
}

// chosen is which dead letters are meant: some by id, or all of an agent and cause, or
// just all.
type chosen struct {
	IDs    []string
	Agent  string
	Reason string
	Show   string
	Until  string // those that ended before: what dies later was not looked at
}

// chosenOf reads it from a link or a form.
func chosenOf(q url.Values) chosen {
	return chosen{IDs: q["id"], Agent: q.Get("agent"), Reason: q.Get("reason"), Show: q.Get("show"), Until: q.Get("until")}
}

// values are what a link or a form says to mean the same.
func (c *chosen) values() url.Values {
	q := url.Values{}
	for name, value := range map[string]string{"agent": c.Agent, "reason": c.Reason, "show": c.Show, "until": c.Until} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if len(c.IDs) > 0 {
		q["id"] = c.IDs
	}
	return q
}

func (c *chosen) link(path string) string {
	if q := c.values().Encode(); q != "" {
		return path + "?" + q
	}
	return path
}

// filter is the part of it that a list can be asked for.
func (c *chosen) filter() map[string]string {
	f := map[string]string{}
	for name, value := range map[string]string{"agent": c.Agent, "reason": c.Reason, "until": c.Until} {
		if value != "" {
			f[name] = value
		}
	}
	if c.Show == showOpen {
		f["redriven"] = "false"
	}
	return f
}

// asked is the body that means them at the admin listener.
func (c *chosen) asked(v *visitor) map[string]any {
	body := map[string]any{"actor": v.name}
	if len(c.IDs) > 0 {
		body["ids"] = c.IDs
	} else {
		body["filter"] = c.filter()
	}
	return body
}

// command is what does the same on the command line.
func (c *chosen) command(verb string) string {
	words := []string{"pannier dlq", verb}
	for _, id := range c.IDs {
		words = append(words, shellWord(id))
	}
	if c.Agent != "" {
		words = append(words, "--to", shellWord(c.Agent))
	}
	if c.Reason != "" {
		words = append(words, "--reason", shellWord(c.Reason))
	}
	if len(words) == 2 && verb != "list" {
		words = append(words, "--all")
	}
	if verb == "list" && c.Show == showOpen {
		words = append(words, "--open")
	}
	if c.Show == showWaiting {
		words = append(words, "--waiting")
	}
	return strings.Join(words, " ")
}

// shellWord is a word of a command that may be copied to a shell.
func shellWord(s string) string {
	s = plain(s)
	if strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@") == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// deadView is what the page of dead letters shows.
type deadView struct {
	chosen
	Said   string
	Kinds  *grid // nil: one of them is shown
	Of     int   // how many dead letters these are
	More   bool  // only the newest are counted
	Rows   *grid
	Number int // of rows
	Means  string
	Remedy []run
	Older  string // the link to the next page
}

// deadLetters lists them by kind, and below the last to have ended.
func (s *server) deadLetters(w http.ResponseWriter, r *http.Request, v *visitor) error {
	q := r.URL.Query()
	d := &deadView{chosen: chosenOf(q), Said: s.forms.said(v.session, q)}
	d.IDs, d.Until = nil, ""
	if d.Show != showWaiting && d.Agent == "" && d.Reason == "" {
		var kinds checkup.DeadKinds
		if err := s.admin(r, request{method: http.MethodGet, path: deadRoute + "/groups", into: &kinds}); err != nil {
			return err
		}
		d.count(&kinds)
	}
	d.Means, d.Remedy = meant(d.Reason)
	query := url.Values{"limit": {deadPageSize}}
	for name, value := range d.filter() {
		query.Set(name, value)
	}
	if d.Show == showWaiting {
		query = url.Values{"limit": {deadPageSize}, "waiting": {"true"}}
	}
	if after := q.Get("cursor"); after != "" {
		query.Set("cursor", after)
	}
	var got struct {
		List []deadLetter `json:"dead_letters"`
		Next string       `json:"next_cursor"`
	}
	if err := s.admin(r, request{method: http.MethodGet, path: deadRoute, query: query, into: &got}); err != nil {
		return err
	}
	d.Number, d.Rows = len(got.List), rowsOfDead(got.List, d.Show != showWaiting)
	if got.Next != "" {
		older := d.values()
		older.Set("cursor", got.Next)
		d.Older = deadPath + "?" + older.Encode()
	}
	show(w, r, http.StatusOK, deadPage(v, d))
	return nil
}

// count makes a row of each kind; with and without a successor is one where all are shown.
func (d *deadView) count(kinds *checkup.DeadKinds) {
	d.Kinds, d.More = &grid{Label: "Dead letters by agent and cause", Heads: []string{"To", "Why", "Dead letters", "Oldest", "Newest", "All of these"}}, kinds.More
	at := map[[2]string]*checkup.DeadKind{}
	var order []*checkup.DeadKind
	for i := range kinds.Kinds {
		k := &kinds.Kinds[i]
		if k.Redriven && d.Show == showOpen {
			continue
		}
		d.Of += k.Count
		one := at[[2]string{k.Agent, k.Cause}]
		if one == nil {
			at[[2]string{k.Agent, k.Cause}] = k
			order = append(order, k)
			continue
		}
		one.Count += k.Count
		if k.Oldest.Before(one.Oldest) {
			one.Oldest = k.Oldest
		}
		if k.Newest.After(one.Newest) {
			one.Newest = k.Newest
		}
	}
	for _, k := range order {
		c := chosen{Agent: k.Agent, Reason: k.Cause, Show: d.Show}
		code := plain(k.Code)
		if k.Code == k.Cause {
			code = ""
		}
		d.Kinds.add(
			cell{Text: short(k.Agent), Link: c.link(deadPath)}, cell{Text: words(k.Cause), Below: code}, text(strconv.Itoa(k.Count)), cell{At: k.Oldest}, cell{At: k.Newest},
			cell{Links: []anchor{{c.link(deadPath + "/redrive"), "Redrive…"}, {c.link(deadPath + "/purge"), "Purge…"}}},
		)
	}
}

// meant is why dead letters of a cause are some, and what to do, in words.
func meant(cause string) (means string, remedy []run) {
	why, known := state.ParseReason(cause)
	if !known {
		return words(cause), nil
	}
	return why.Sentence(), runs(why.Remedy())
}

// maxAnswer is how much of an app's last answer a row has.
const maxAnswer = 200

func rowsOfDead(list []deadLetter, pick bool) *grid {
	g := &grid{Label: "Dead letters", Heads: []string{"Intent", "To", "Why", "Attempts", "Ended"}}
	if pick {
		g.Heads = append([]string{"Select"}, g.Heads...)
	}
	for _, d := range list {
		answer, left := cut(d.LastAnswer, maxAnswer)
		if left > 0 {
			answer += "…"
		}
		title := cmp.Or(plain(d.Type), "Body no longer kept")
		ended := cell{At: d.EndedAt}
		if d.EndedAt.IsZero() {
			ended = cell{Text: "waits"}
		}
		if d.RedrivenAs != "" {
			ended.Links = []anchor{{"/intents/" + d.RedrivenAs, "Redriven"}}
		}
		row := []cell{
			{Text: title, Link: "/intents/" + d.ID, Below: d.ID}, text(short(d.To)), {Text: words(cmp.Or(d.Cause, d.Reason)), Below: plain(answer)},
			text(fmt.Sprintf("%d of %d", d.Attempts.N, d.Attempts.Max)), ended,
		}
		if pick {
			row = append([]cell{{Pick: d.ID, Text: title + " " + d.ID}}, row...)
		}
		g.add(row...)
	}
	return g
}

// deadAct is a page that asks before something is done to dead letters.
type deadAct struct {
	chosen
	Verb    string
	Purge   bool
	Matched int
	More    bool
	None    []string // what of those chosen are no dead letters, and why
	Sample  *grid
	Typed   string
	Wrong   string // what is wrong with it
}

// would is the answer of a dry run, and of what was done.
type would struct {
	Matched  int
	More     bool
	Until    string
	Sample   []deadLetter
	Purged   int
	Redriven []struct {
		As string `json:"redriven_as"`
	}
	Next   string `json:"next_cursor"`
	Failed []struct {
		ID      string `json:"intent_id"`
		Message string
	}
}

// act shows what would be done, and does it where a form of ours says so.
func (s *server) act(verb string) view {
	return func(w http.ResponseWriter, r *http.Request, v *visitor) error {
		a := &deadAct{chosen: chosenOf(r.URL.Query()), Verb: verb, Purge: verb == "purge"}
		if r.Method == http.MethodPost {
			a.chosen = chosenOf(r.PostForm)
			return s.done(w, r, v, a)
		}
		if r.URL.Query().Has(selectedField) && len(a.IDs) == 0 {
			return &refused{Status: http.StatusBadRequest, Detail: "None is selected. Nothing was done: go back, and select some."}
		}
		if err := s.dryRun(r, v, a); err != nil {
			return err
		}
		show(w, r, http.StatusOK, deadActPage(v, a))
		return nil
	}
}

// dryRun asks what would be done.
func (s *server) dryRun(r *http.Request, v *visitor, a *deadAct) error {
	body := a.asked(v)
	body["dry_run"] = true
	var got would
	if err := s.admin(r, request{method: http.MethodPost, path: deadRoute + "/" + a.Verb, body: body, into: &got}); err != nil {
		return err
	}
	a.Matched, a.More, a.Sample = got.Matched-len(got.Failed), got.More, rowsOfDead(got.Sample, false)
	if a.Purge {
		a.Matched = got.Matched // what is to be typed is what is sent
	}
	if len(a.IDs) == 0 {
		a.Until = got.Until
	}
	for _, f := range got.Failed {
		a.None = append(a.None, plain(f.ID+": "+f.Message))
	}
	return nil
}

// done does it, and leads to a page that says what was done: a form that is sent again
// by going back finds nothing left to do.
func (s *server) done(w http.ResponseWriter, r *http.Request, v *visitor, a *deadAct) error {
	body, path := a.asked(v), deadRoute+"/"+a.Verb
	if a.Purge {
		a.Typed = strings.TrimSpace(r.PostForm.Get("confirm"))
		n, err := strconv.Atoi(a.Typed)
		if err != nil {
			return s.again(w, r, v, a, "Type the number of dead letters to be removed.")
		}
		body["confirm"] = n
	} else {
		body["rate_per_second"], body["limit"] = redriveRate, redriveAtOnce
	}
	var got would
	err := s.admin(r, request{method: http.MethodPost, path: path, body: body, into: &got})
	var why *refused
	if errors.As(err, &why) && why.Status == http.StatusConflict {
		return s.again(w, r, v, a, "That is not the number. Nothing was removed.")
	}
	if err != nil {
		return err
	}
	text := a.told(&got)
	back := chosen{Agent: a.Agent, Reason: a.Reason, Show: a.Show}
	to := deadPath
	switch {
	case len(a.IDs) == 1 && !a.Purge:
		to = "/intents/" + url.PathEscape(a.IDs[0])
	case got.Next != "" || got.More:
		to = back.link(deadPath)
	}
	http.Redirect(w, r, s.forms.say(v.session, to, text), http.StatusSeeOther)
	return nil
}

// again shows the question once more, with what was wrong with the answer.
func (s *server) again(w http.ResponseWriter, r *http.Request, v *visitor, a *deadAct, wrong string) error {
	if err := s.dryRun(r, v, a); err != nil {
		return err
	}
	a.Wrong = wrong
	show(w, r, http.StatusConflict, deadActPage(v, a))
	return nil
}

// told says what was done.
func (a *deadAct) told(got *would) string {
	text := plural(got.Purged, "dead letter") + " removed for good."
	if !a.Purge {
		text = plural(len(got.Redriven), "dead letter") + " redriven."
		if len(got.Redriven) == 1 {
			text = "1 dead letter redriven, as " + got.Redriven[0].As + "."
		}
		if got.Next != "" {
			text += " There are more: redrive the rest when you are ready."
		}
	}
	if n := len(got.Failed); n > 0 {
		text += fmt.Sprintf(" %d not: %s", n, sentence(got.Failed[0].Message))
	}
	return text
}

// deadHere is the dead letter that an intent is; nil where it is none.
func (s *server) deadHere(r *http.Request, i *intent) (*deadLetter, error) {
	if s.Operators == nil || i.Status != "FAILED" && i.Status != "TIMED_OUT" {
		return nil, nil
	}
	var got struct {
		Letter *deadLetter `json:"dead_letter"`
	}
	err := s.admin(r, request{method: http.MethodGet, path: deadRoute + "/" + url.PathEscape(i.ID), into: &got})
	var why *refused
	if errors.As(err, &why) {
		return nil, nil // it is none
	}
	return got.Letter, err
}
