package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/proxy/checkup"
)

// checkCommand asks one sidecar all it knows of itself and says what of it is wrong.
func checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "say what is right and wrong with a sidecar: process, journal, receivers, destinations, peers, control planes, dead letters; exit code 1 if anything keeps it from delivering",
		Flags: append(adminFlags(), &cli.DurationFlag{Name: "wait", Usage: "look again for this `DURATION` until nothing does"}),
		Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
			screen, err := screenOf(c)
			if err != nil {
				return err
			}
			found, err := examine(c.Context, cl, c.Duration("wait"))
			if err != nil {
				return err
			}
			switch cl.format {
			case formatText:
				err = printFindings(screen, found)
			case formatLines:
				err = encodeLines(screen, found)
			default:
				err = encodeLines(screen, []any{struct {
					OK     bool      `json:"ok"`
					Checks []finding `json:"checks"`
				}{!checkup.Broken(found), found}})
			}
			if err != nil {
				return err
			}
			if checkup.Broken(found) {
				return &failure{exit: exitError, what: "something is wrong with the sidecar at " + cl.target, code: "check_failed"}
			}
			return nil
		}),
	}
}

// lookAgain is the pause between two looks of a check that waits.
const lookAgain = 500 * time.Millisecond

// examine looks at a sidecar, again and again for as long as something is wrong and there is time.
func examine(ctx context.Context, cl *client, within time.Duration) ([]finding, error) {
	over := time.Now().Add(within)
	for {
		s, err := look(ctx, cl)
		var found []finding
		if err == nil {
			found = findings(s, time.Now())
		}
		if err == nil && !checkup.Broken(found) || !time.Now().Before(over) {
			return found, err
		}
		if sleep(ctx, lookAgain); ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// marks are how bad a finding is, for the eye.
var marks = map[checkup.Level]struct {
	sign string
	in   colour
}{checkup.Fine: {"√", green}, checkup.Warning: {"‼", yellow}, checkup.Wrong: {"×", red}}

// printFindings prints a heading for each group, and below each that is not fine what to do.
func printFindings(w io.Writer, all []finding) error {
	group := ""
	count := map[checkup.Level]int{}
	for _, f := range all {
		if f.Group != group {
			if group != "" {
				fmt.Fprintln(w)
			}
			group = f.Group
			fmt.Fprintln(w, paint(w, bold, group))
		}
		count[f.Level]++
		if err := printFinding(w, f); err != nil {
			return err
		}
	}
	sum := "all is well"
	if count[checkup.Wrong]+count[checkup.Warning] > 0 {
		sum = plural(count[checkup.Wrong], "error") + ", " + plural(count[checkup.Warning], "warning")
	}
	_, err := fmt.Fprintf(w, "\n%s\n", paint(w, bold, sum))
	return err
}

func printFinding(w io.Writer, f finding) error {
	mark := marks[f.Level]
	line := "  " + paint(w, mark.in, mark.sign) + "  " + printable(f.About)
	if f.Detail != "" {
		line += ": " + printable(f.Detail)
	}
	if f.Hint != "" {
		line += "\n       " + paint(w, faint, printable(f.Hint))
	}
	_, err := fmt.Fprintln(w, line)
	return err
}
