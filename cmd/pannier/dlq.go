package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

const deadPath = "/v1/admin/dead-letters"

func dlqCommand() *cli.Command {
	return &cli.Command{
		Name: "dlq", Usage: "dead letters: intents that ended for a reason of delivery, at their home or their holder",
		Subcommands: []*cli.Command{dlqListCommand(), dlqShowCommand(), dlqRedriveCommand(), dlqPurgeCommand()},
	}
}

// deadFlags choose dead letters.
func deadFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "to", Usage: "only those to this `AGENT`"},
		&cli.StringFlag{Name: "type", Usage: "only those of this intent `TYPE`"},
		&cli.StringFlag{Name: "reason", Usage: "only those that ended for this `REASON`: exhausted, rejected, expired, sidecar_fault, or a cause as show prints it"},
		&cli.StringFlag{Name: "since", Usage: "only those that ended after `TIME`, or at most a duration such as 2h ago"},
		&cli.StringFlag{Name: "until", Usage: "only those that ended before `TIME`, or at least a duration ago"},
	}
}

// deadFilter reads deadFlags.
func deadFilter(c *cli.Context, now time.Time) (map[string]string, error) {
	f := map[string]string{}
	for _, name := range []string{"type", "reason"} {
		if text := c.String(name); text != "" {
			f[name] = text
		}
	}
	if to := c.String("to"); to != "" {
		f["agent"] = agentAddress(to)
	}
	for _, name := range []string{"since", "until"} {
		text := c.String(name)
		if text == "" {
			continue
		}
		if d, err := time.ParseDuration(text); err == nil {
			text = now.Add(-d).UTC().Format(time.RFC3339Nano)
		} else if _, err := time.Parse(time.RFC3339Nano, text); err != nil {
			return nil, usageError("--%s %s is neither a duration like 2h nor a time like 2026-01-02T15:04:05Z", name, text)
		}
		f[name] = text
	}
	return f, nil
}

// deadSelection is which dead letters a command means: by id, by filter, or all.
type deadSelection struct {
	IDs    []string           `json:"ids,omitempty"`
	Filter *map[string]string `json:"filter,omitempty"`
}

// onDead is an action on the dead letters that its arguments choose.
func onDead(do func(c *cli.Context, cl *client, chosen deadSelection) error) cli.ActionFunc {
	return func(c *cli.Context) error {
		cl, err := adminClient(c)
		if err != nil {
			return err
		}
		chosen, err := selectDead(c)
		if err != nil {
			return err
		}
		return do(c, cl, chosen)
	}
}

func selectDead(c *cli.Context) (deadSelection, error) {
	f, err := deadFilter(c, time.Now())
	switch {
	case err != nil:
		return deadSelection{}, err
	case c.NArg() > 0 && (len(f) > 0 || c.Bool("all")):
		return deadSelection{}, usageError("give ids, or choose by filter, but not both")
	case c.NArg() > 0:
		return deadSelection{IDs: c.Args().Slice()}, nil
	case len(f) == 0 && !c.Bool("all"):
		return deadSelection{}, usageError("%s takes ids, a filter, or --all", c.Command.Name).withHint("pannier dlq %s --help", c.Command.Name)
	}
	return deadSelection{Filter: &f}, nil
}

type deadLetter struct {
	ID         string `json:"intent_id"`
	Status     string `json:"status"`
	Reason     string `json:"reason"`
	Code       string `json:"code"`
	Cause      string `json:"cause"`
	LastAnswer string `json:"last_answer"`
	Type       string `json:"intent_type"`
	From       string `json:"from_agent"`
	To         string `json:"to_agent"`
	TraceID    string `json:"trace_id"`
	Role       string `json:"role"`
	Peer       string `json:"peer"`
	EndedAt    string `json:"ended_at"`
	RedriveOf  string `json:"redrive_of"`
	RedrivenAs string `json:"redriven_as"`
	Attempts   struct {
		N, Max int
		Failed []struct {
			Attempt int    `json:"attempt"`
			At      string `json:"at"`
			Reason  string `json:"reason"`
			Message string `json:"message"`
		}
	} `json:"attempts"`
	Error       rawText `json:"error"`
	Payload     rawText `json:"payload"`
	ContentLost bool    `json:"content_lost"`
}

// rawText is a JSON value as it came.
type rawText string

func (r *rawText) UnmarshalJSON(b []byte) error {
	*r = rawText(b)
	return nil
}

func dlqListCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list dead letters, the last to have ended first",
		Flags: append(append(adminFlags(), deadFlags()...),
			&cli.BoolFlag{Name: "open", Usage: "only those without a successor"},
			&cli.BoolFlag{Name: "waiting", Usage: "instead those that wait for an operator, and have not ended (on_exhausted: hold)"},
			&cli.IntFlag{Name: "limit", Value: 50, Usage: "at most `N`"},
			&cli.StringFlag{Name: "cursor", Usage: "go on where an earlier list ended"},
		),
		Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
			f, err := deadFilter(c, time.Now())
			if err != nil {
				return err
			}
			query := url.Values{"limit": {strconv.Itoa(c.Int("limit"))}}
			for name, value := range f {
				query.Set(name, value)
			}
			if c.Bool("open") {
				query.Set("redriven", "false")
			}
			if c.Bool("waiting") {
				query.Set("waiting", "true")
			}
			if cursor := c.String("cursor"); cursor != "" {
				query.Set("cursor", cursor)
			}
			body, err := cl.call(c.Context, request{doing: "list dead letters", method: http.MethodGet, path: deadPath, query: query})
			if err != nil {
				return err
			}
			return present(c, cl, body, printDead)
		}),
	}
}

type deadLetters struct {
	List []deadLetter `json:"dead_letters"`
	Next string       `json:"next_cursor"`
}

func printDead(w io.Writer, answer deadLetters) error {
	rows := make([][]string, 0, len(answer.List))
	for _, d := range answer.List {
		rows = append(rows, []string{d.ID, d.Reason, d.Type, d.To, strconv.Itoa(d.Attempts.N), when(w, d.EndedAt), d.RedrivenAs, d.LastAnswer})
	}
	if err := table(w, []string{"INTENT", "REASON", "TYPE", "TO", "ATTEMPTS", "ENDED", "REDRIVEN AS", "LAST ANSWER"}, rows); err != nil || answer.Next == "" {
		return err
	}
	_, err := fmt.Fprintf(w, "there may be more: --cursor %s\n", answer.Next)
	return err
}

func dlqShowCommand() *cli.Command {
	return &cli.Command{
		Name: "show", Usage: "show a dead letter: why it ended, its failed attempts, its payload", ArgsUsage: "ID", Flags: adminFlags(),
		Action: onAdmin(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{doing: "show " + args[0], lists: "dlq list", method: http.MethodGet, path: deadPath + "/" + url.PathEscape(args[0])})
			if err != nil {
				return err
			}
			return present(c, cl, body, printDeadLetter)
		}),
	}
}

func printDeadLetter(w io.Writer, answer struct {
	Letter deadLetter `json:"dead_letter"`
}) error {
	d := answer.Letter
	lines := []string{
		"intent", d.ID, "status", d.Status, "reason", d.Reason, "cause", d.Cause, "code", d.Code, "error", d.said(), "last answer", d.LastAnswer,
		"attempts", fmt.Sprintf("%d of %d", d.Attempts.N, d.Attempts.Max),
	}
	for _, a := range d.Attempts.Failed {
		lines = append(lines, "  failed", strings.TrimSpace(fmt.Sprintf("%s  hand-over %d  %s  %s", a.At, a.Attempt, a.Reason, a.Message)))
	}
	return pairs(w, append(lines, "type", d.Type, "from", d.From, "to", d.To, "trace", d.TraceID, "role", d.Role, "peer", d.Peer,
		"ended", d.EndedAt, "redrive of", d.RedriveOf, "redriven as", d.RedrivenAs, "payload", d.content())...)
}

// said is the message of its error, where that is more than the last answer.
func (d *deadLetter) said() string {
	var e struct{ Message string }
	if err := json.Unmarshal([]byte(d.Error), &e); err != nil || e.Message == d.LastAnswer {
		return "" // an app's error need not have one
	}
	return e.Message
}

// content is what was sent. Of a record that could not be read nothing is left, and what stands
// in for it is not to be taken for it.
func (d *deadLetter) content() string {
	if d.ContentLost {
		return "lost: it cannot be read, and is not redriven; send it again from where it came"
	}
	return oneLine([]byte(d.Payload))
}
