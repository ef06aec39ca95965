package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/proxy"
)

func drainCommand(force context.Context, args []string) *cli.Command {
	settings := newSettings(args, "drain")
	var timeout time.Duration
	return &cli.Command{
		Name: "drain", Usage: "empty the journal of a sidecar that is gone for good, as of a volume that nobody mounts any more",
		Description: "Run it where the sidecar's name and identity are good. It takes the settings of run and, but for an app API and agents, runs like it: what the journal is home of is " +
			"delivered, what it holds for others is given back to them, and reports are made until they are heard. " +
			"It ends with 0 when nothing is left, and else with 1 and a line for each that is. " +
			"What two such journals hold for each other, which is so only where a sidecar was killed, neither can give back: its home is looked for where it was. Start these sidecars once more instead.",
		Flags: append(settings.flags(), &cli.DurationFlag{Name: "timeout", Value: 15 * time.Minute, Destination: &timeout, Usage: "give up after `DURATION`"}),
		Action: func(c *cli.Context) error {
			if _, err := exactArgs(c); err != nil {
				return err
			}
			opts, err := settings.options(c)
			if err != nil {
				return configError(err)
			}
			if timeout <= 0 {
				return usageError("--timeout %s: use a duration above zero", timeout)
			}
			logTo(c.App.ErrWriter, slog.LevelWarn)
			return empty(c, force, opts, timeout)
		},
	}
}

func empty(c *cli.Context, force context.Context, opts proxy.Options, timeout time.Duration) error {
	p, err := newSidecar(opts)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.Context, timeout)
	defer cancel()
	left, err := p.Empty(ctx, force)
	if errors.Is(err, proxy.ErrNoJournal) {
		return &failure{exit: exitError, what: fmt.Sprintf("there is no journal in %s", opts.Journal), hint: "name the directory of a sidecar that is gone: --journal DIR", code: "journal_unreadable"}
	}
	if err != nil {
		return listenError(err, "choose another with --peer or --admin; port 0 takes any free one")
	}
	for _, i := range left.First {
		fmt.Fprintf(c.App.Writer, "%s to %s: %s\n", i.ID, printable(i.To), printable(i.Why))
	}
	if more := left.Open + left.Held - len(left.First); more > 0 {
		fmt.Fprintf(c.App.Writer, "and %d more\n", more)
	}
	for _, peer := range left.Unacked {
		fmt.Fprintf(c.App.Writer, "%s has not heard all of what became of its intents\n", printable(peer))
	}
	if left.None() {
		_, err := fmt.Fprintln(c.App.Writer, "nothing is left: the journal can go")
		return err
	}
	return &failure{exit: exitError, what: fmt.Sprintf("the journal in %s is not empty: %s", opts.Journal, strings.Join(leftWords(left), ", ")),
		hint: "run it again, with a longer --timeout; or see to what the lines say", code: "journal_not_empty"}
}

// leftWords say how much is left of each kind.
func leftWords(left proxy.Left) (words []string) {
	if left.Open > 0 {
		words = append(words, plural(left.Open, "intent")+" of its own")
	}
	if left.Held > 0 {
		words = append(words, plural(left.Held, "intent")+" of others")
	}
	if n := len(left.Unacked); n > 0 {
		words = append(words, plural(n, "sidecar")+" to be told")
	}
	return words
}
