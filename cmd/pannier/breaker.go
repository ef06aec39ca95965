package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/urfave/cli/v2"
)

func breakerCommand() *cli.Command {
	return &cli.Command{
		Name: "breaker", Usage: "show when sidecars that do not answer are left alone, and for how long", Flags: adminFlags(),
		Subcommands: []*cli.Command{
			setBreakerCommand("open", "leave a sidecar alone until its breaker is closed, or this one starts again"),
			setBreakerCommand("close", "forget a sidecar's failures, so that it is tried at once"),
		},
		Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
			body, err := cl.call(c.Context, request{doing: "list breakers", method: http.MethodGet, path: "/v1/admin/peers"})
			if err != nil {
				return err
			}
			return present(c, cl, body, printBreakers)
		}),
	}
}

func printBreakers(w io.Writer, a peersAnswer) error {
	rows := make([][]string, 0, len(a.Peers))
	for _, p := range a.Peers {
		next := when(w, p.NextTry)
		if p.Forced {
			next = "when an operator closes it"
		}
		rows = append(rows, []string{
			p.Address, p.Breaker, next, strconv.Itoa(p.Opens.After), p.Opens.Interval, p.Opens.Least + " - " + p.Opens.Most, p.LastError,
		})
	}
	return table(w, []string{"ADDRESS", "BREAKER", "NEXT TRY", "OPENS AFTER", "WITHIN", "FOR", "LAST ERROR"}, rows)
}

func setBreakerCommand(name, usage string) *cli.Command {
	return &cli.Command{
		Name: name, ArgsUsage: "HOST:PORT", Flags: adminFlags(), Usage: usage,
		Action: onAdmin(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{
				doing: name + " the breaker of " + args[0], lists: "peers", method: http.MethodPost, path: "/v1/admin/breakers/" + name,
				body: map[string]string{"address": args[0]},
			})
			if err != nil {
				return err
			}
			return present(c, cl, body, func(w io.Writer, a struct{ Address, Breaker string }) error {
				_, err := fmt.Fprintln(w, a.Address, a.Breaker)
				return err
			})
		}),
	}
}
