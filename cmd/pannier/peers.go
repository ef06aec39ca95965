package main

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

func peersCommand() *cli.Command {
	return &cli.Command{
		Name: "peers", Usage: "show the sidecars this one delivers to", Flags: adminFlags(),
		Subcommands: []*cli.Command{forgetCommand()},
		Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
			body, err := cl.call(c.Context, request{doing: "list peers", method: http.MethodGet, path: "/v1/admin/peers"})
			if err != nil {
				return err
			}
			return present(c, cl, body, printPeers)
		}),
	}
}

func printPeers(w io.Writer, a peersAnswer) error {
	rows := make([][]string, 0, len(a.Peers))
	for _, p := range a.Peers {
		rows = append(rows, []string{
			p.Address, p.JournalID, strconv.FormatUint(p.Epoch, 10), p.State, p.Breaker, strconv.FormatInt(p.Held, 10),
			oneLine(p.Credit), strings.Join(p.Agents, " "), p.LastError,
		})
	}
	if err := table(w, []string{"ADDRESS", "JOURNAL", "EPOCH", "STATE", "BREAKER", "HELD", "CREDIT", "AGENTS", "LAST ERROR"}, rows); err != nil {
		return err
	}
	return printServed(w, a)
}

// printServed shows what discovery and policy say, where they say anything.
func printServed(w io.Writer, a peersAnswer) error {
	var rows [][]string
	for _, p := range a.Peers {
		for _, s := range p.Serves {
			if s.Health == "healthy" && s.Zone == "" && s.Priority == 0 && s.Subset == "" && string(s.Policy) == "{}" {
				continue
			}
			rows = append(rows, []string{p.Address, s.Agent, s.Health, s.Zone, strconv.Itoa(s.Priority), s.Subset, oneLine(s.Policy)})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	return table(w, []string{"ADDRESS", "AGENT", "HEALTH", "ZONE", "PRIORITY", "SUBSET", "POLICY"}, rows)
}

func forgetCommand() *cli.Command {
	return &cli.Command{
		Name: "forget", ArgsUsage: "JOURNAL_ID", Flags: adminFlags(),
		Usage: "give a sidecar up for lost, so that what it holds is offered elsewhere; what it still finishes may run twice",
		Action: onAdmin(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{
				doing: "forget peer " + args[0], lists: "peers", method: http.MethodPost, path: "/v1/admin/peers/" + url.PathEscape(args[0]) + "/forget",
			})
			if err != nil {
				return err
			}
			return present(c, cl, body, func(w io.Writer, _ struct{}) error {
				_, err := fmt.Fprintln(w, args[0], "forgotten")
				return err
			})
		}),
	}
}
