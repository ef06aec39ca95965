// Package cmdline runs commands of urfave/cli and prints their help.
//
// The library would do so, too, but its App draws help with text/template, which calls methods by
// names that only a run knows: for that the linker keeps every method of every type, 5 MB of a
// sidecar and 6 MB of a control plane. So the library gives flags, with their variables, defaults and
// contexts, and nothing here may refer to App.Run or to what it calls.
package cmdline

import (
	"context"
	"flag"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"
)

// UsageError is a command line that cannot be run.
type UsageError struct {
	Text string
	Hint string // what to do, where there is one thing to do
}

func (e *UsageError) Error() string { return e.Text }

// Dispatch runs the command that the first words name: commands, then flags, "--" and arguments.
func Dispatch(ctx context.Context, app *cli.App, words []string) error {
	at := chosen{name: app.Name, usage: app.Usage, flags: app.Flags, commands: app.Commands}
	var cmd *cli.Command
	for len(words) > 0 {
		next := Find(at.commands, words[0])
		if next == nil {
			break
		}
		cmd, at, words = next, at.below(next), words[1:]
	}
	switch {
	case cmd == nil, len(words) > 0 && IsHelp(words[0]):
		return at.help(app.Writer)
	case cmd.Action == nil && len(words) > 1: // "--", and what is none of its commands
		return Unknown(at.name, at.commands, words[1])
	case cmd.Action == nil:
		return at.help(app.Writer)
	}
	cmd.HelpName = at.name
	return run(ctx, app, cmd, words)
}

// Run runs the one command of a program.
func Run(ctx context.Context, app *cli.App, cmd *cli.Command, words []string) error {
	for _, word := range words {
		if word == "--" {
			break
		}
		if IsHelp(word) {
			return chosen{name: app.Name}.below(cmd).help(app.Writer)
		}
	}
	cmd.HelpName = app.Name
	return run(ctx, app, cmd, words)
}

func run(ctx context.Context, app *cli.App, cmd *cli.Command, words []string) error {
	set := flag.NewFlagSet(cmd.HelpName, flag.ContinueOnError)
	set.SetOutput(io.Discard) // what is wrong is in the error
	if err := apply(cmd.Flags, set); err != nil {
		return err
	}
	if err := parse(cmd.Flags, set, words); err != nil {
		return err
	}
	if err := settleAliases(cmd.Flags, set); err != nil {
		return &UsageError{Text: err.Error()}
	}
	c := cli.NewContext(app, set, nil)
	c.Context, c.Command = ctx, cmd
	return cmd.Action(c)
}

// settleAliases gives a flag the value that was given under another name of its.
func settleAliases(flags []cli.Flag, set *flag.FlagSet) (err error) {
	typed := map[string]string{}
	set.Visit(func(f *flag.Flag) { typed[f.Name] = f.Value.String() })
	for _, f := range flags {
		names := f.Names()
		for _, alias := range names[1:] {
			if value, given := typed[alias]; given && err == nil {
				err = set.Set(names[0], value)
			}
		}
	}
	return err
}

// Find is the command of that name; nil for none.
func Find(commands []*cli.Command, name string) *cli.Command {
	for _, c := range commands {
		if c.HasName(name) {
			return c
		}
	}
	return nil
}

// Visible are the commands that the help lists.
func Visible(commands []*cli.Command) (visible []*cli.Command) {
	for _, c := range commands {
		if !c.Hidden {
			visible = append(visible, c)
		}
	}
	return visible
}

// IsHelp reports whether a word asks for help.
func IsHelp(word string) bool { return word == "--help" || word == "-h" }

// Unknown is the error of a word that names no command.
func Unknown(name string, commands []*cli.Command, word string) error {
	var names []string
	for _, c := range Visible(commands) {
		names = append(names, c.Name)
	}
	return &UsageError{
		Text: fmt.Sprintf("there is no command %q", word),
		Hint: fmt.Sprintf("%s%s --help lists all commands", didYouMean(word, names), name),
	}
}
