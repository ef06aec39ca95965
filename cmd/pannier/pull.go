package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
)

func pollCommand() *cli.Command {
	return &cli.Command{
		Name: "poll", Usage: "take what waits for an agent, each under a lease", ArgsUsage: "AGENT",
		Flags: append(appFlags(),
			&cli.IntFlag{Name: "max", Value: 10, Usage: "take at most `N`"},
			&cli.DurationFlag{Name: "wait", Value: 20 * time.Second, Usage: "wait this `DURATION` for the first one"},
			&cli.DurationFlag{Name: "lease", Value: 30 * time.Second, Usage: "keep them for this `DURATION`; ack, nack or extend within it"},
		),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{
				doing: "poll " + args[0], method: http.MethodGet, path: "/v1/agents/" + agentPath(args[0]) + "/intents",
				query: url.Values{
					"limit":         {strconv.Itoa(c.Int("max"))},
					"wait_seconds":  {wholeSeconds(c.Duration("wait"))},
					"lease_seconds": {wholeSeconds(c.Duration("lease"))},
				},
				wait: c.Duration("wait"),
			})
			if err != nil {
				return err
			}
			return present(c, cl, body, func(w io.Writer, h handovers) error {
				if len(h.Intents) == 0 {
					talk(c, "nothing waits for %s at %s; to ask another sidecar, set %s", args[0], cl.target, cl.how)
					return nil
				}
				return printHandovers(w, h)
			})
		}),
	}
}

// handovers is the answer to a poll.
type handovers struct {
	Intents []struct {
		ID      string          `json:"intent_id"`
		Lease   string          `json:"lease_id"`
		Until   string          `json:"lease_until"`
		Attempt int             `json:"delivery_attempt"`
		Type    string          `json:"intent_type"`
		Payload json.RawMessage `json:"payload"`
	} `json:"intents"`
}

func printHandovers(w io.Writer, h handovers) error {
	rows := make([][]string, 0, len(h.Intents))
	for _, i := range h.Intents {
		rows = append(rows, []string{i.ID, i.Lease, when(w, i.Until), strconv.Itoa(i.Attempt), i.Type, oneLine(i.Payload)})
	}
	return table(w, []string{"INTENT", "LEASE", "UNTIL", "ATTEMPT", "TYPE", "PAYLOAD"}, rows)
}

func ackCommand() *cli.Command {
	return settleCommand("ack", "say that a leased intent is done",
		func(c *cli.Context, s *settleBody) error {
			if !c.IsSet("result") {
				return nil
			}
			s.Result = json.RawMessage(c.String("result"))
			if !json.Valid(s.Result) {
				return usageError("--result is not JSON: %.60s", s.Result)
			}
			return nil
		},
		&cli.StringFlag{Name: "result", Usage: "what the sender is to get, a `JSON` object"})
}

func nackCommand() *cli.Command {
	return settleCommand("nack", "give a leased intent back as a failed attempt, or refuse it",
		func(c *cli.Context, s *settleBody) error {
			s.Reason, s.Reject = c.String("reason"), c.Bool("reject")
			if c.IsSet("delay") {
				seconds := int64(c.Duration("delay").Round(time.Second) / time.Second)
				s.Delay = &seconds
			}
			return nil
		},
		&cli.DurationFlag{Name: "delay", Usage: "try again after this `DURATION`, not after the usual backoff"},
		&cli.StringFlag{Name: "reason", Usage: "`TEXT` for the event"},
		&cli.BoolFlag{Name: "reject", Usage: "never try again: a dead letter"})
}

func extendCommand() *cli.Command {
	return settleCommand("extend", "say that a leased intent is still worked on",
		func(c *cli.Context, s *settleBody) error {
			s.Lease = c.Int64("lease-seconds")
			return nil
		},
		&cli.Int64Flag{Name: "lease-seconds", DefaultText: "the sidecar's work timeout", Usage: "keep it `N` seconds from now"})
}

// settleBody is the body of ack, nack and extend; each uses its own fields of it.
type settleBody struct {
	LeaseID string          `json:"lease_id"`
	Result  json.RawMessage `json:"result,omitempty"`
	Delay   *int64          `json:"delay_seconds,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Reject  bool            `json:"reject,omitempty"`
	Lease   int64           `json:"lease_seconds,omitempty"`
}

// settleCommand is a verb that answers a hand-over. fill puts the verb's flags into the body.
func settleCommand(verb, usage string, fill func(*cli.Context, *settleBody) error, flags ...cli.Flag) *cli.Command {
	flags = append(flags, &cli.StringFlag{Name: "lease", Usage: "the `LEASE` it was handed over under (required)"})
	return &cli.Command{
		Name: verb, Usage: usage, ArgsUsage: "ID", Flags: append(appFlags(), flags...),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			body := settleBody{LeaseID: c.String("lease")}
			if body.LeaseID == "" {
				return usageError("%s needs --lease LEASE", verb).withHint("\"pannier poll\" shows it")
			}
			if err := fill(c, &body); err != nil {
				return err
			}
			answer, err := cl.call(c.Context, request{
				doing: verb + " " + args[0], method: http.MethodPost, path: intentPath(args[0]) + "/" + verb, body: body,
			})
			if err != nil {
				return err
			}
			return present(c, cl, answer, func(w io.Writer, settled struct {
				Status string `json:"status"`
			}) error {
				_, err := fmt.Fprintln(w, args[0], printable(settled.Status))
				return err
			})
		}),
	}
}
