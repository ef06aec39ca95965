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

	"pannier/journal/state"
)

func intentPath(id string) string { return "/v1/intents/" + url.PathEscape(id) }

// intent is what the plain output shows of one.
type intent struct {
	ID            string          `json:"intent_id"`
	Status        string          `json:"status"`
	Type          string          `json:"intent_type"`
	From          string          `json:"from_agent"`
	To            string          `json:"to_agent"`
	Correlation   string          `json:"correlation_id"`
	Attempt       int             `json:"delivery_attempt"`
	WaitingReason string          `json:"lifecycle_waiting_reason"`
	Role          string          `json:"role"`
	CreatedAt     string          `json:"created_at"`
	UpdatedAt     string          `json:"updated_at"`
	DeadlineAt    string          `json:"deadline_at"`
	Payload       json.RawMessage `json:"payload"`
	Result        json.RawMessage `json:"result"`
	Error         json.RawMessage `json:"error"`
	Reason        string          `json:"reason"`
	Decision      json.RawMessage `json:"task_result"`
}

func getCommand() *cli.Command {
	return &cli.Command{
		Name: "get", Usage: "show an intent", ArgsUsage: "ID", Flags: appFlags(),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{doing: "get " + args[0], method: http.MethodGet, path: intentPath(args[0])})
			if err != nil {
				return err
			}
			return present(c, cl, body, printIntent)
		}),
	}
}

func printIntent(w io.Writer, answer struct {
	Intent intent `json:"intent"`
}) error {
	i := answer.Intent
	attempt := ""
	if i.Attempt > 0 {
		attempt = strconv.Itoa(i.Attempt)
	}
	return pairs(w,
		"intent", i.ID, "status", i.Status, "waiting", i.WaitingReason, "type", i.Type, "from", i.From, "to", i.To,
		"correlation", i.Correlation, "role", i.Role, "attempt", attempt, "created", i.CreatedAt, "updated", i.UpdatedAt,
		"deadline", i.DeadlineAt, "payload", oneLine(i.Payload), "result", oneLine(i.Result), "error", oneLine(i.Error),
		"reason", i.Reason, "decision", oneLine(i.Decision))
}

func listCommand() *cli.Command {
	return &cli.Command{
		Name: "list", Usage: "list intents, newest first",
		Flags: append(appFlags(),
			&cli.StringFlag{Name: "status", Usage: "only those with this `STATUS`: " + statuses()},
			&cli.StringFlag{Name: "to", Usage: "only those to this `AGENT`"},
			&cli.IntFlag{Name: "limit", Value: 50, Usage: "at most `N`"},
			&cli.StringFlag{Name: "cursor", Usage: "go on where an earlier list ended"},
		),
		Action: onApp(func(c *cli.Context, cl *client, _ []string) error {
			query := url.Values{"limit": {strconv.Itoa(c.Int("limit"))}}
			if cursor := c.String("cursor"); cursor != "" {
				query.Set("cursor", cursor)
			}
			if status := c.String("status"); status != "" {
				if _, ok := state.ParseStatus(status); !ok && status != "pending" {
					return usageError("--status %s is no status", status).withHint("use %s; or pending", statuses())
				}
				query.Set("status", status)
			}
			if to := c.String("to"); to != "" {
				query.Set("to_agent", agentAddress(to))
			}
			body, err := cl.call(c.Context, request{doing: "list intents", method: http.MethodGet, path: "/v1/intents", query: query})
			if err != nil {
				return err
			}
			return present(c, cl, body, printList)
		}),
	}
}

// statuses names all that an intent can be in.
func statuses() string {
	names := make([]string, 0, len(state.Statuses()))
	for _, s := range state.Statuses() {
		names = append(names, s.String())
	}
	return strings.Join(names, ", ")
}

func printList(w io.Writer, answer struct {
	Intents []intent `json:"intents"`
	Next    string   `json:"next_cursor"`
}) error {
	rows := make([][]string, 0, len(answer.Intents))
	for _, i := range answer.Intents {
		rows = append(rows, []string{i.ID, i.Status, i.Type, i.To, when(w, firstOf(i.UpdatedAt, i.CreatedAt))})
	}
	if err := table(w, []string{"INTENT", "STATUS", "TYPE", "TO", "UPDATED"}, rows); err != nil || answer.Next == "" {
		return err
	}
	_, err := fmt.Fprintf(w, "there may be more: --cursor %s\n", answer.Next)
	return err
}

func whyCommand() *cli.Command {
	return &cli.Command{
		Name: "why", Usage: "say why an intent is where it is", ArgsUsage: "ID", Flags: appFlags(),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{
				doing: "explain " + args[0], method: http.MethodGet, path: intentPath(args[0]) + "/why",
				wait: time.Second, // the home sidecar asks the holder
			})
			if err != nil {
				return err
			}
			return present(c, cl, body, printWhy)
		}),
	}
}

type whyAnswer struct {
	Status string `json:"status"`
	Text   string `json:"text"`
	Causes []struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Until  string `json:"until"`
		Peer   string `json:"peer"`
	} `json:"causes"`
	Attempts struct {
		N   int `json:"n"`
		Max int `json:"max"`
	} `json:"attempts"`
	NextTryAt string `json:"next_try_at"`
	HeldBy    string `json:"held_by"`
}

func printWhy(w io.Writer, a whyAnswer) error {
	if _, err := fmt.Fprintf(w, "%s: %s\n", printable(a.Status), printable(a.Text)); err != nil {
		return err
	}
	var lines []string
	for _, cause := range a.Causes {
		detail := cause.Detail
		if cause.Peer != "" {
			detail += " (" + cause.Peer + ")"
		}
		if cause.Until != "" {
			detail += " until " + cause.Until
		}
		lines = append(lines, cause.Code, detail)
	}
	if a.Attempts.Max > 0 {
		lines = append(lines, "attempts", fmt.Sprintf("%d of %d", a.Attempts.N, a.Attempts.Max))
	}
	return pairs(w, append(lines, "next try", a.NextTryAt, "held by", a.HeldBy)...)
}

func cancelCommand() *cli.Command {
	return &cli.Command{
		Name: "cancel", Usage: "end an intent; whoever works on it may still finish, and is not heard", ArgsUsage: "ID",
		Flags: append(appFlags(), &cli.StringFlag{Name: "reason", Usage: "`TEXT` for its last event"}),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{
				doing: "cancel " + args[0], method: http.MethodPost, path: intentPath(args[0]) + "/resolve",
				body: struct {
					Status string `json:"status"`
					Reason string `json:"reason,omitempty"`
				}{state.Canceled.String(), c.String("reason")},
				wait: time.Second, // the holder waits for the verdict of the home sidecar
			})
			if err != nil {
				return err
			}
			return present(c, cl, body, printIntent)
		}),
	}
}
