package cmdline

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"
)

// HelpFlag is what Dispatch and Run look for; a command has it for its help.
func HelpFlag() cli.Flag {
	return &cli.BoolFlag{Name: "help", Aliases: []string{"h"}, Usage: "show help"}
}

// chosen is where the words of a command line have led.
type chosen struct {
	name, usage, arguments, description string
	flags                               []cli.Flag
	commands                            []*cli.Command
	acts                                bool // without one of its commands, too
}

func (at chosen) below(c *cli.Command) chosen {
	name := at.name
	if c.Name != "" {
		name += " " + c.Name
	}
	return chosen{name, c.Usage, c.ArgsUsage, c.Description, c.Flags, c.Subcommands, c.Action != nil}
}

// help prints what a command is for, its commands and its flags.
func (at chosen) help(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "NAME:\n   %s - %s\n\nUSAGE:\n   %s", at.name, at.usage, at.name)
	commands := Visible(at.commands)
	switch {
	case len(commands) > 0 && at.acts:
		fmt.Fprint(tw, " [COMMAND]")
	case len(commands) > 0:
		fmt.Fprint(tw, " COMMAND")
	}
	fmt.Fprintln(tw, strings.TrimRight(" [OPTIONS] "+at.arguments, " "))
	if at.description != "" {
		fmt.Fprintf(tw, "\nDESCRIPTION:\n")
		for line := range strings.Lines(strings.TrimSpace(at.description)) {
			fmt.Fprintln(tw, strings.TrimRight("   "+line, " \n"))
		}
	}
	if len(commands) > 0 {
		fmt.Fprint(tw, "\nCOMMANDS:\n")
		for _, c := range commands {
			fmt.Fprintf(tw, "   %s\t%s\n", c.Name, c.Usage)
		}
	}
	fmt.Fprint(tw, "\nOPTIONS:\n")
	for _, f := range at.flags {
		fmt.Fprintf(tw, "   %s\n", strings.ReplaceAll(f.String(), "\n", " "))
	}
	return tw.Flush()
}
