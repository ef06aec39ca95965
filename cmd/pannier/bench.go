package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"pannier/cmd/bench"
)

func benchCommand() *cli.Command {
	o := bench.DefaultOptions()
	only := cli.NewStringSlice()
	return &cli.Command{
		Name: "bench", Usage: "measure two sidecars on this machine, beside an HTTP echo and a synced file",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "dir", Value: o.Dir, Destination: &o.Dir, Usage: "keep the journals below `DIR` meanwhile: it is that volume which is measured"},
			&cli.StringSliceFlag{Name: "only", Destination: only, Usage: "measure this `ITEM` alone (repeatable): accept, webhook, poll, poll-batch, stream-batch, batch, latency, overload"},
			&cli.DurationFlag{Name: "time", Value: o.Time, Destination: &o.Time, Usage: "post for so `LONG` in each slot"},
			&cli.IntFlag{Name: "pairs", Value: o.Pairs, Destination: &o.Pairs, Usage: "take `N` slots of each item, each beside one of the echo; 10 for figures to be quoted"},
			&cli.IntFlag{Name: "clients", Value: o.Clients, Destination: &o.Clients, Usage: "post with `N` clients at once"},
			&cli.IntFlag{Name: "window", Value: o.Window, Destination: &o.Window, Usage: "have at most `N` intents for each client that the app has not answered"},
			&cli.IntFlag{Name: "payload", Value: o.Payload, Destination: &o.Payload, Usage: "send payloads of so many `BYTES`"},
			&cli.IntFlag{Name: "batch", Value: o.Batch, Destination: &o.Batch, Usage: "send `N` intents in a batch"},
			&cli.IntFlag{Name: "rate", Value: o.Rate, Destination: &o.Rate, Usage: "send `N` a second where latency is measured"},
			&cli.StringFlag{Name: "pprof", Destination: &o.Profiles, Usage: "leave CPU profiles of both sidecars under each load in `DIR`"},
			&cli.BoolFlag{Name: "quick", Usage: "take a few seconds; what --time, --pairs and --clients say does not count"},
			outputFlag(),
		},
		Subcommands: []*cli.Command{{
			Name: "echo", Usage: "serve the HTTP echo that bench compares with", Hidden: true,
			Action: func(c *cli.Context) error { return bench.Echo(c.Context, c.App.Writer) },
		}},
		Action: func(c *cli.Context) error {
			o.Items = only.Value()
			if c.Bool("quick") {
				o.Quick()
			}
			return measure(c, o)
		},
	}
}

func measure(c *cli.Context, o bench.Options) error {
	asJSON, err := wantsJSON(c)
	if err != nil {
		return err
	}
	if _, err := exactArgs(c); err != nil {
		return err
	}
	if err := o.Validate(); err != nil {
		return usageError("%v", err)
	}
	if o.Program, err = os.Executable(); err != nil {
		return fmt.Errorf("find our own program: %w", err)
	}
	o.Progress = func(what string) { talk(c, "%s", what) }
	report, err := bench.Run(c.Context, o)
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return fmt.Errorf("bench: %w", err)
	case asJSON:
		return json.NewEncoder(c.App.Writer).Encode(report)
	}
	return report.Print(c.App.Writer)
}
