package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/journal/state"
)

func waitCommand() *cli.Command {
	return &cli.Command{
		Name: "wait", Usage: "wait until intents have ended and print their last events", ArgsUsage: "ID…",
		Flags: append(appFlags(),
			&cli.DurationFlag{Name: "timeout", DefaultText: "never", Usage: "give up after this `DURATION`, for all of them together"}),
		Action: func(c *cli.Context) error {
			cl, err := appClient(c)
			if err != nil {
				return err
			}
			if c.NArg() == 0 {
				return usageError("wait takes at least one ID").withHint("pannier wait --help")
			}
			if c.Duration("timeout") < 0 {
				return usageError("--timeout %s is in the past", c.Duration("timeout")).withHint("give a duration such as 30s, or leave it out to wait for ever")
			}
			ctx, cancel := withTimeout(c.Context, c.Duration("timeout"))
			defer cancel()
			var failed []error
			for _, id := range c.Args().Slice() {
				if err := awaitEnd(ctx, c, cl, id); err != nil {
					failed = append(failed, err)
				}
			}
			return severally(c, failed, c.NArg())
		},
	}
}

// withTimeout is context.WithTimeout where zero means no limit.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// awaitEnd prints the event that ended the intent; an end other than COMPLETED is an error too.
func awaitEnd(ctx context.Context, c *cli.Context, cl *client, id string) error {
	last, err := cl.follow(ctx, id, 0, func(event) error { return nil })
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && err != nil {
		return &failure{
			exit: exitTimeout, what: id + " has not ended in time", why: "last seen " + firstOf(last.Status, "nowhere"),
			hint: "it goes on; ask again with \"pannier wait " + id + "\", or why with \"pannier why " + id + "\"", code: "wait_timeout",
		}
	}
	if err != nil {
		return err
	}
	if !ended(last.Status) {
		return &failure{exit: exitError, what: id + " has ended, and its events are no longer kept", code: "history_gone"}
	}
	if err := printJSON(c.App.Writer, last.raw); err != nil {
		return err
	}
	if last.Status != state.Completed.String() {
		return &failure{
			exit: exitEndedBadly, what: id + " ended " + last.Status, why: whyEnded(last.Details),
			hint: "\"pannier watch " + id + "\" shows how it came to that", code: "ended_badly",
		}
	}
	return nil
}

// whyEnded is what the details of a last event say in the fewest words.
func whyEnded(details json.RawMessage) string {
	var d struct {
		Error   struct{ Message string } `json:"error"`
		Reason  string                   `json:"reason"`
		EndedBy string                   `json:"ended_by"`
	}
	if json.Unmarshal(details, &d) != nil {
		return oneLine(details)
	}
	return printable(firstOf(d.Error.Message, d.Reason, d.EndedBy))
}

// severally is the outcome of one verb over many ids: the error itself when there was one id, the
// exit code all agree on when none succeeded, "partly" otherwise.
func severally(c *cli.Context, failed []error, of int) error {
	if len(failed) == 0 {
		return nil
	}
	if of == 1 {
		return failed[0]
	}
	exit := exitCode(failed[0])
	for _, err := range failed {
		talk(c, "%s", explain(err))
		if exitCode(err) != exit {
			exit = exitPartly
		}
	}
	if len(failed) < of && exit != exitTimeout {
		exit = exitPartly
	}
	return &failure{exit: exit, what: fmt.Sprintf("%d of %d did not complete", len(failed), of)}
}

func watchCommand() *cli.Command {
	return &cli.Command{
		Name: "watch", Usage: "print an intent's events as they happen, until it has ended", ArgsUsage: "ID",
		Flags: append(appFlags(),
			&cli.Int64Flag{Name: "since", Usage: "only events after this `SEQ`"}),
		Action: onApp(func(c *cli.Context, cl *client, args []string) error {
			_, err := cl.follow(c.Context, args[0], c.Int64("since"), func(e event) error {
				if cl.format != formatText {
					return printJSON(c.App.Writer, e.raw)
				}
				return printEvent(c.App.Writer, e)
			})
			return err
		}),
	}
}

// printEvent writes one line. The columns have fixed widths, since the next event may be an hour away.
func printEvent(w io.Writer, e event) error {
	rest := printable(oneLine(e.Details))
	if rest == "{}" {
		rest = ""
	}
	if e.Waiting != "" {
		rest = printable(e.Waiting) + " " + rest
	}
	_, err := fmt.Fprintf(w, "%3d  %-27s  %-24s  %-12s  %s\n", e.Seq, printable(e.At), printable(e.EventType), printable(e.Status), rest)
	return err
}
