package main

import (
	"io"
	"net/http"
	"time"

	"github.com/urfave/cli/v2"
)

func secretCommand() *cli.Command {
	return &cli.Command{
		Name: "secret", Usage: "what requests to apps that receive by http are signed with",
		Subcommands: []*cli.Command{
			{
				Name: "list", Usage: "show which secrets there are, and the files they are in", Flags: adminFlags(),
				Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
					body, err := cl.call(c.Context, request{doing: "list secrets", method: http.MethodGet, path: "/v1/admin/secrets"})
					if err != nil {
						return err
					}
					return present(c, cl, body, printSecrets)
				}),
			},
			rotateCommand(),
		},
	}
}

func rotateCommand() *cli.Command {
	return &cli.Command{
		Name: "rotate", ArgsUsage: "AGENT",
		Usage: "sign with a new secret, and with the old one too for a while",
		Flags: append(adminFlags(),
			&cli.DurationFlag{Name: "overlap", Value: 24 * time.Hour, Usage: "for this `DURATION` both sign"},
			&cli.BoolFlag{Name: "prepare", Usage: "only make the new one, for the app to learn; the next rotate makes it sign"},
		),
		Action: onAdmin(func(c *cli.Context, cl *client, args []string) error {
			body, err := cl.call(c.Context, request{
				doing: "rotate the secret of " + args[0], lists: "agents", method: http.MethodPost, path: "/v1/admin/secrets/rotate",
				body: struct {
					Agent   string `json:"agent"`
					Overlap int64  `json:"overlap_seconds"`
					Prepare bool   `json:"prepare"`
				}{agentAddress(args[0]), int64(c.Duration("overlap") / time.Second), c.Bool("prepare")},
			})
			if err != nil {
				return err
			}
			return present(c, cl, body, printSecrets)
		}),
	}
}

func printSecrets(w io.Writer, a secretsAnswer) error {
	rows := make([][]string, 0, len(a.Secrets))
	for _, s := range a.Secrets {
		rows = append(rows, []string{s.Agent, s.Fingerprint, s.State, s.Made, s.Retires, s.LastUsed, s.Path})
	}
	return table(w, []string{"AGENT", "FINGERPRINT", "STATE", "MADE", "RETIRES", "LAST USED", "PATH"}, rows)
}
