package main

import (
	"io"
	"net/http"

	"github.com/urfave/cli/v2"
)

func agentsCommand() *cli.Command {
	return &cli.Command{
		Name: "agents", Usage: "show the agents served here, and how their apps receive", Flags: adminFlags(),
		Subcommands: []*cli.Command{setBindingCommand()},
		Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
			body, err := cl.call(c.Context, request{doing: "list agents", method: http.MethodGet, path: "/v1/admin/agents"})
			if err != nil {
				return err
			}
			return present(c, cl, body, printAgents)
		}),
	}
}

func setBindingCommand() *cli.Command {
	return &cli.Command{
		Name: "set", ArgsUsage: "AGENT BINDING", Flags: adminFlags(),
		Usage: "change how an app receives, at once: stream, poll, http:URL, or \"configured\"",
		Action: onAdmin(func(c *cli.Context, cl *client, args []string) error {
			binding := args[1]
			if binding == "configured" {
				binding = ""
			}
			body, err := cl.call(c.Context, request{
				doing: "set the binding of " + args[0], lists: "agents", method: http.MethodPost, path: "/v1/admin/agents/set",
				body: struct {
					Agent   string `json:"agent"`
					Binding string `json:"binding"`
				}{agentAddress(args[0]), binding},
			})
			if err != nil {
				return err
			}
			return present(c, cl, body, printAgents)
		}),
	}
}

func printAgents(w io.Writer, a agentsAnswer) error {
	rows := make([][]string, 0, len(a.Agents))
	for _, one := range a.Agents {
		from := one.Served
		if one.Set {
			from += ", set"
		}
		rows = append(rows, []string{one.Agent, one.Binding, from, one.Door.Reason, when(w, one.Door.NextProbe), one.URL})
	}
	return table(w, []string{"AGENT", "RECEIVES BY", "SERVED", "DOOR", "NEXT PROBE", "URL"}, rows)
}
