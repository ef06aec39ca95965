package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/urfave/cli/v2"
)

// thread is an intent as people read it.
type thread struct {
	ID        string `json:"thread_id"`
	Status    string `json:"status"`
	Owner     string `json:"owner_agent"`
	From      string `json:"from_agent"`
	To        string `json:"to_agent"`
	Type      string `json:"intent_type"`
	UpdatedAt string `json:"updated_at"`
	Timeline  []struct {
		Type    string          `json:"event_type"`
		Actor   string          `json:"actor"`
		At      string          `json:"at"`
		Details json.RawMessage `json:"details"`
	} `json:"timeline"`
}

// asFlag is in whose name something is said in a thread.
func asFlag() cli.Flag {
	return &cli.StringFlag{Name: "as", Usage: "speak in the name of `AGENT`, in whose inbox it is"}
}

func passOnCommand(name, usage string) *cli.Command {
	return &cli.Command{
		Name: name, Usage: usage, ArgsUsage: "ID AGENT",
		Flags: append(appFlags(), asFlag(), &cli.StringFlag{Name: "note", Usage: "`TEXT` for whoever gets it"}),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			return actOn(c, cl, args[0], "delegate", struct {
				To   string `json:"delegate_to"`
				Note string `json:"note,omitempty"`
			}{agentAddress(args[1]), c.String("note")})
		}),
	}
}

func commentCommand() *cli.Command {
	return &cli.Command{
		Name: "comment", Usage: "say something in the thread, to all who have it", ArgsUsage: "ID TEXT", Flags: append(appFlags(), asFlag()),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			return actOn(c, cl, args[0], "reply", struct {
				Message string `json:"message"`
			}{args[1]})
		}),
	}
}

// actOn does something with a thread, and shows it as it is then.
func actOn(c *cli.Context, cl *client, id, verb string, what any) error {
	query := url.Values{}
	if as := c.String("as"); as != "" {
		query.Set("owner_agent", agentAddress(as))
	}
	body, err := cl.call(c.Context, request{
		doing: c.Command.Name + " " + id, lists: "inbox list", method: http.MethodPost,
		path: "/v1/inbox/" + url.PathEscape(id) + "/" + verb, query: query, body: what,
	})
	if err != nil {
		return err
	}
	return present(c, cl, body, printThread)
}

func printThread(w io.Writer, answer struct {
	Thread thread `json:"thread"`
}) error {
	th := answer.Thread
	if err := pairs(w, "thread", th.ID, "status", th.Status, "type", th.Type, "from", th.From, "to", th.To, "inbox", th.Owner); err != nil {
		return err
	}
	rows := make([][]string, 0, len(th.Timeline))
	for _, e := range th.Timeline {
		rows = append(rows, []string{when(w, e.At), e.Actor, strings.TrimPrefix(e.Type, "thread."), oneLine(e.Details)})
	}
	return table(w, []string{"AT", "ACTOR", "EVENT", "DETAILS"}, rows)
}
