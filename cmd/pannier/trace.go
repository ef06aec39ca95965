package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/proxy/waterfall"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name: "trace", Usage: "draw where an intent has spent its time, from the journals alone", ArgsUsage: "ID|TRACE-ID", Flags: appFlags(),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			ids, err := cl.traced(c, args[0])
			if err != nil {
				return err
			}
			for i, id := range ids {
				if i > 0 && cl.format == formatText {
					fmt.Fprintln(c.App.Writer)
				}
				if err := cl.draw(c, id); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (cl *client) draw(c *cli.Context, id string) error {
	drawn, err := cl.trace(c, id)
	if err != nil {
		return err
	}
	if cl.format == formatText {
		return drawn.print(c.App.Writer, time.Now())
	}
	body, err := encode(drawn)
	if err != nil {
		return err
	}
	return printJSON(c.App.Writer, body)
}

// tracedMost is how many intents of one trace are drawn.
const tracedMost = 20

// traced are the intents that a word is about: the one of that id, or those that were
// created under a trace of that id, oldest first. An app's X-Trace-Id is mostly a UUID
// too, so the one is asked for first.
func (cl *client) traced(c *cli.Context, word string) ([]string, error) {
	doing := "trace " + word
	_, known := cl.call(c.Context, request{doing: doing, method: http.MethodGet, path: intentPath(word)})
	var missing *failure
	if !errors.As(known, &missing) || missing.status != http.StatusNotFound {
		return []string{word}, known
	}
	query := url.Values{"trace_id": {word}, "limit": {strconv.Itoa(tracedMost)}}
	body, err := cl.call(c.Context, request{doing: doing, method: http.MethodGet, path: "/v1/intents", query: query})
	if err != nil {
		return nil, err
	}
	var page struct {
		Intents []intent
		Next    *string `json:"next_cursor"`
	}
	if err := json.Unmarshal(body, &page); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", cl.target, err)
	}
	if page.Next != nil {
		fmt.Fprintln(c.App.ErrWriter, "older intents have not been looked at: the last 10,000 were, and", tracedMost, "of one trace are drawn")
	}
	if len(page.Intents) == 0 {
		missing.what, missing.why = "cannot "+doing, "no intent here has this id, or was created under a trace of it"
		return nil, missing
	}
	var ids []string
	for _, i := range slices.Backward(page.Intents) {
		ids = append(ids, i.ID)
	}
	return ids, nil
}

// drawing is an intent's way as it is printed.
type drawing struct {
	Intent  string          `json:"intent_id"`
	Status  string          `json:"status"`
	From    string          `json:"from_agent"`
	To      string          `json:"to_agent"`
	TraceID string          `json:"trace_id,omitempty"` // of its creation
	Bars    []waterfall.Bar `json:"bars"`
}

// trace asks for an intent and its events, either sidecar of the two, and for one that
// has not ended also why.
func (cl *client) trace(c *cli.Context, id string) (*drawing, error) {
	doing := "trace " + id
	var got struct {
		Intent struct {
			intent
			Traceparent string `json:"traceparent"`
		} `json:"intent"`
	}
	var log struct {
		Events []waterfall.Event `json:"events"`
	}
	var why whyAnswer
	ask := func(path string, into any) error {
		body, err := cl.call(c.Context, request{doing: doing, method: http.MethodGet, path: intentPath(id) + path, wait: time.Second})
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body, into); err != nil {
			return fmt.Errorf("read the answer of %s: %w", cl.target, err)
		}
		return nil
	}
	if err := ask("", &got); err != nil {
		return nil, err
	}
	if err := ask("/events", &log); err != nil {
		return nil, err
	}
	i := &got.Intent
	created, err := time.Parse(time.RFC3339, i.CreatedAt)
	if err != nil && len(log.Events) > 0 {
		created = log.Events[0].At
	}
	d := &drawing{Intent: i.ID, Status: i.Status, From: i.From, To: i.To, TraceID: waterfall.TraceID(i.Traceparent), Bars: waterfall.Draw(created, log.Events, time.Now())}
	n := len(d.Bars)
	if n == 0 || d.Bars[n-1].End != nil {
		return d, nil
	}
	if err := ask("/why", &why); err != nil {
		return nil, err
	}
	if len(why.Causes) > 0 {
		d.Bars[n-1].Note = why.Causes[0].Code
		if string(why.HeldBy) != "" && string(why.HeldBy) != "null" && d.Bars[n-1].Name == "queue" {
			d.Bars[n-1].Name = "mailbox"
		}
	}
	return d, nil
}

const drawWidth = 48 // of a whole way, in characters

// print draws the bars, each where it lies in the whole.
func (d *drawing) print(w io.Writer, now time.Time) error {
	about := []string{"intent", d.Intent, "status", d.Status, "from", d.From, "to", d.To, "trace", d.TraceID}
	if err := pairs(w, about...); err != nil || len(d.Bars) == 0 {
		return err
	}
	begin, end := waterfall.Span(d.Bars, now)
	rows := make([][]string, len(d.Bars))
	for i, b := range d.Bars {
		name := b.Name
		if b.Attempt > 0 {
			name += fmt.Sprintf(" %d", b.Attempt)
		}
		took := b.Until(now).Sub(b.Start).Round(time.Millisecond).String()
		if b.End == nil {
			took += "…"
		}
		note := b.Note
		if b.TraceID != "" && b.TraceID != d.TraceID {
			note = strings.TrimSpace(note + " trace " + b.TraceID)
		}
		rows[i] = []string{name, b.Start.Sub(begin).Round(time.Millisecond).String(), took, drawBar(&b, begin, end, now), note}
	}
	fmt.Fprintln(w)
	return table(w, []string{"PART", "AT", "TOOK", strings.Repeat(" ", drawWidth), "NOTE"}, rows)
}

// drawBar is the bar among all: at least one character wide, so that nothing is hidden.
func drawBar(b *waterfall.Bar, begin, end, now time.Time) string {
	whole := max(end.Sub(begin), time.Millisecond)
	column := func(t time.Time) int { return int(t.Sub(begin) * drawWidth / whole) }
	from := min(column(b.Start), drawWidth-1)
	to := max(column(b.Until(now)), from+1)
	mark := "░"
	switch {
	case b.Name == "app":
		mark = "█"
	case b.Delay:
		mark = "╌"
	}
	return strings.Repeat(" ", from) + strings.Repeat(mark, to-from)
}
