package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"pannier/cmd/build"
	"pannier/cmd/cmdline"
)

func manCommand() *cli.Command {
	return &cli.Command{
		Name: "man", Usage: "print the manual page, for man(1): pannier man | man -l -",
		Action: func(c *cli.Context) error {
			if _, err := exactArgs(c); err != nil {
				return err
			}
			exits := []string{"EXIT STATUS"}
			for _, code := range exitCodes {
				exits = append(exits, fmt.Sprintf("%d: %s", code.exit, code.means))
			}
			return cmdline.Man(c.App.Writer, c.App, build.This().Version, exits,
				[]string{"OUTPUT",
					"Data goes to standard output and talk to standard error. With -o json it is what the API answered, byte for byte; with -o ndjson what that lists, one a line.",
					"On a terminal there are colours, and ages in place of times: --color, NO_COLOR, CLICOLOR_FORCE and TERM decide."},
				[]string{"ENVIRONMENT", "A flag takes its value from the variable that its text names, where it is not given. " +
					"PANNIER_ADDR and PANNIER_ADMIN say which sidecar is asked, PANNIER_API_KEY as whom, and PANNIER_CONFIG which file a sidecar is started with."},
				[]string{"SEE ALSO", "pannier COMMAND --help says the same of one command; pannier explain CODE says what an error means; GET /openapi.json describes the API."})
		},
	}
}
