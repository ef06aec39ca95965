package pages

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"pannier/journal"
	"pannier/journal/state"
	"pannier/proxy/checkup"
)

// operatorPages serves what is for those who may see and do all there is.
func (s *server) operatorPages() {
	s.page("GET /{$}", s.overview)
	s.page("GET "+deadPath, s.deadLetters)
	for _, verb := range []string{"redrive", "purge"} {
		s.page("GET "+deadPath+"/"+verb, s.act(verb))
		s.page("POST "+deadPath+"/"+verb, s.act(verb))
	}
}

// admin asks a route of the admin listener as the visitor.
func (s *server) admin(r *http.Request, q request) error {
	q.remote = r.RemoteAddr
	_, err := ask(r.Context(), s.Operators, q)
	return err
}

// overview is what the page of all shows.
type overview struct {
	Needs   []need
	Version string
	Figures []figure
	Grids   []titled
}

// need is something that is wrong, and what to do about it.
type need struct {
	Wrong       bool // something is not delivered because of it
	Title       string
	Detail      string
	Hint        []run
	Link, Label string
}

// run is a part of a text, of which a command is shown as one.
type run struct {
	Text    string
	Command bool
}

// figure is a number that is worth a look.
type figure struct{ Name, Value, Note, Link string }

// titled is a grid with a heading, and where links lead to it.
type titled struct {
	ID, Title string
	*grid
}

// overview shows what needs attention, and how things are. All of it is from memory: the
// page is there while a disk hangs.
func (s *server) overview(w http.ResponseWriter, r *http.Request, v *visitor) error {
	a, err := checkup.Glance(r.Context(), func(_ context.Context, path string) ([]byte, bool, error) {
		var body json.RawMessage
		err := s.admin(r, request{method: http.MethodGet, path: path, into: &body})
		var why *refused
		return body, errors.As(err, &why) && why.Status == http.StatusNotFound, err
	})
	if err != nil {
		return err
	}
	o := &overview{Version: a.Status.Version, Figures: figures(a, v.now), Grids: grids(a)}
	for _, f := range checkup.Attention(a.Findings(v.now, a.Status.Version)) {
		o.Needs = append(o.Needs, needOf(f))
	}
	show(w, r, http.StatusOK, overviewPage(v, o))
	return nil
}

func needOf(f checkup.Finding) need {
	detail := strings.Replace(f.Detail, "breaker_open", "its breaker is open", 1)
	n := need{Wrong: f.Level == checkup.Wrong, Title: plain(f.Title()), Detail: sentence(detail), Hint: runs(f.Hint)}
	switch f.Group {
	case "receivers", "destinations":
		agent := strings.TrimSuffix(f.About, " (completions)")
		n.Link, n.Label = "/intents?"+url.Values{"status": {"pending"}, "to": {agent}}.Encode(), "Show the intents"
	case "peers":
		n.Link, n.Label = "#peers", "Show the peers"
	case "dead letters":
		n.Link, n.Label = deadPath, "Show the dead letters"
		if strings.Contains(f.Hint, "--waiting") {
			n.Link, n.Label = deadPath+"?show="+showWaiting, "Show the intents"
		}
	}
	return n
}

// sentence is a text from elsewhere as one begins and ends.
func sentence(s string) string {
	if s = capital(s); s == "" || strings.ContainsAny(s[len(s)-1:], ".!?") {
		return s
	}
	return s + "."
}

// commands are those that hints name: between quotes, or by a verb.
var commands = regexp.MustCompile(`"pannier [^"]*"|\bpannier (peers forget|inbox list|xds status|dlq list --waiting|dlq redrive|[a-z]+)\b`)

// runs tells commands from what is said around them.
func runs(hint string) (all []run) {
	hint = sentence(hint)
	at := 0
	for _, found := range commands.FindAllStringIndex(hint, -1) {
		if found[0] > at {
			all = append(all, run{hint[at:found[0]], false})
		}
		all = append(all, run{strings.Trim(hint[found[0]:found[1]], `"`), true})
		at = found[1]
	}
	if at < len(hint) {
		all = append(all, run{hint[at:], false})
	}
	return all
}

// places are the backlogs in words, and the intents in them.
var places = []struct{ place, name, link string }{
	{journal.BacklogDue, "Due", "/intents?status=pending"},
	{journal.BacklogHeld, "Held elsewhere", "/intents?status=pending"},
	{journal.BacklogParked, "Waiting for somebody", "/intents?status=WAITING"},
	{journal.BacklogMail, "Here for apps", "#agents"},
}

// journalTable is about how much the journal writes before it is a table, and counted.
const journalTable = 16 << 20

func figures(a *checkup.Answers, now time.Time) (all []figure) {
	for _, p := range places {
		for _, b := range a.Status.Backlogs {
			if b.Place != p.place {
				continue
			}
			f := figure{Name: p.name, Value: strconv.Itoa(b.Count), Link: p.link, Note: oldestText(b.Oldest, now)}
			if b.Later > 0 {
				f.Note = strings.TrimPrefix(f.Note+", "+strconv.Itoa(b.Later)+" later", ", ")
			}
			all = append(all, f)
		}
	}
	n, oldest := a.DeadKinds.Open()
	dead := figure{Name: "Dead letters", Value: strconv.Itoa(n), Note: oldestText(oldest, now), Link: deadPath}
	if a.DeadKinds.At.IsZero() {
		dead.Value, dead.Note = "–", "not counted yet"
	} else if a.DeadKinds.More {
		dead.Value += "+"
	}
	j := figure{Name: "Journal", Value: sizeText(int(a.Status.Journal.Bytes))}
	if a.Status.Journal.Bytes < journalTable {
		j.Value = "< 16 MiB" // only whole tables are counted
	}
	if syncs := a.Status.Journal.Syncs; syncs.Of > 0 {
		j.Note = "a write takes " + strconv.FormatFloat(syncs.P50, 'f', 1, 64) + " ms"
	}
	if free := a.Status.Journal.Free; free > 0 {
		j.Note = strings.TrimPrefix(j.Note+", "+sizeText(int(free))+" free", ", ")
	}
	return append(all, dead, j)
}

func oldestText(at *time.Time, now time.Time) string {
	if at == nil {
		return ""
	}
	return "oldest " + ago(*at, now)
}

// grids are the agents served here, whom things are sent to, and the sidecars these are at.
func grids(a *checkup.Answers) []titled {
	agents := &grid{Label: "Agents here", Heads: []string{"Agent", "Receives by", "App", "To settle", "Oldest"}}
	for _, one := range a.Agents.Agents {
		app := cell{Sign: "✓", Class: "good", Text: "takes"}
		if why := doors[one.Door.Reason]; why != "" {
			app = cell{Sign: "✕", Class: "bad", Text: why}
			if one.Unsettled == 0 {
				app.Sign, app.Class = "–", "faint"
			}
		}
		if one.Readers > 0 {
			app.Below = plural(one.Readers, "reader")
		}
		agents.add(cell{Text: short(one.Agent), Link: "/intents?" + url.Values{"to": {one.Agent}}.Encode()}, text(plain(one.Binding)), app, text(strconv.Itoa(one.Unsettled)), instant(one.Oldest))
	}
	sent := &grid{Label: "Sent to", Heads: []string{"To", "Due", "Offered", "Later", "Oldest", "Waits for"}}
	for _, d := range a.Destinations.Destinations {
		why := cell{}
		if len(d.Why) > 0 {
			why.Text = words(d.Why[0].Code)
		}
		sent.add(cell{Text: short(d.Agent), Link: "/intents?" + url.Values{"status": {"pending"}, "to": {d.Agent}}.Encode()},
			text(strconv.Itoa(d.Waiting)), text(strconv.Itoa(d.InFlight)), text(strconv.Itoa(d.Later)), instant(d.Oldest), why)
	}
	peers := &grid{Label: "Peers", Heads: []string{"Sidecar", "Stream", "Breaker", "Holds of ours", "Last error"}}
	for _, p := range a.Peers.Peers {
		stream := cell{Sign: "○", Text: words(p.State)}
		switch p.State {
		case "open":
			stream.Sign, stream.Class = "✓", "good"
		case "down", "breaker_open", state.CausePutBack.String(), state.CausePeerPutBack.String():
			stream.Sign, stream.Class = "✕", "bad"
		}
		peers.add(cell{Text: plain(p.Address), Below: shortAll(p.Agents)}, stream, text(words(p.Breaker)), text(strconv.FormatInt(p.Held, 10)), text(plain(p.LastError)))
	}
	var all []titled
	for _, g := range []titled{{"agents", "Agents here", agents}, {"sent", "Sent to", sent}, {"peers", "Peers", peers}} {
		if len(g.Rows) > 0 {
			all = append(all, g)
		}
	}
	return all
}

// doors say why an app is not handed what is there; those not listed let it through.
var doors = map[string]string{
	"no_reader": "not connected", "failing": "fails", "rejecting": "rejects", "unreachable": "unreachable", "throttled": "asked for a pause", "gone": "says it is gone",
}

func shortAll(agents []string) string {
	var all []string
	for _, a := range agents {
		all = append(all, short(a))
	}
	return strings.Join(all, ", ")
}
