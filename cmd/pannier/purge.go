package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

func dlqPurgeCommand() *cli.Command {
	return &cli.Command{
		Name: "purge", ArgsUsage: "ID…",
		Usage: "remove dead letters for good, once you have typed how many that is",
		Flags: append(append(adminFlags(), deadFlags()...),
			&cli.BoolFlag{Name: "all", Usage: "all of them"},
			&cli.BoolFlag{Name: "yes", Usage: "do not ask"},
			&cli.BoolFlag{Name: "dry-run", Usage: "only say how many, and show a few"},
		),
		Action: onDead(purge),
	}
}

type purgeAnswer struct {
	Matched int          `json:"matched"`
	More    bool         `json:"more"`
	Purged  int          `json:"purged"`
	Failed  []failedLine `json:"failed"`
	Until   string       `json:"until"`
	Sample  []deadLetter `json:"sample"`
}

func purge(c *cli.Context, cl *client, chosen deadSelection) error {
	dry, raw, err := askPurge(c, cl, chosen, nil)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") && cl.format != formatText {
		return printJSON(c.App.Writer, raw)
	}
	sayWhich(c, dry, "removed for good")
	if c.Bool("dry-run") {
		return nil
	}
	if dry.Matched > 0 && !c.Bool("yes") {
		if err := typed(c, dry.Matched); err != nil {
			return err
		}
	}
	if chosen.Filter != nil {
		(*chosen.Filter)["until"] = dry.Until // what dies meanwhile was not confirmed
	}
	done, raw, err := askPurge(c, cl, chosen, &dry.Matched)
	if err != nil {
		return err
	}
	if cl.format != formatText {
		err = printJSON(c.App.Writer, raw)
	} else {
		_, err = fmt.Fprintf(c.App.Writer, "%d purged\n", done.Purged)
	}
	for _, f := range done.Failed {
		talk(c, "%s not purged: %s [%s]", printable(f.ID), printable(f.Message), printable(f.Code))
	}
	if err == nil && len(done.Failed) > 0 {
		err = &failure{exit: exitPartly, what: fmt.Sprintf("%d of %s were not purged", len(done.Failed), plural(dry.Matched, "dead letter")), code: "partly_failed"}
	}
	return err
}

// askPurge asks to remove as many as confirm says; nil: only how many that is.
func askPurge(c *cli.Context, cl *client, chosen deadSelection, confirm *int) (got purgeAnswer, raw json.RawMessage, err error) {
	raw, err = cl.call(c.Context, request{
		doing: "purge dead letters", method: http.MethodPost, path: deadPath + "/purge",
		body: struct {
			deadSelection
			DryRun  bool `json:"dry_run,omitempty"`
			Confirm *int `json:"confirm,omitempty"`
		}{chosen, confirm == nil, confirm},
		wait: time.Minute,
	})
	if err != nil {
		return got, nil, err
	}
	if err := json.Unmarshal(raw, &got); err != nil {
		return got, nil, fmt.Errorf("read the answer of %s: %w", cl.target, err)
	}
	return got, raw, nil
}

// sayWhich says how many dead letters something would be done to, and shows a few.
func sayWhich(c *cli.Context, dry purgeAnswer, done string) {
	talk(c, "%s would be %s", plural(dry.Matched, "dead letter"), done)
	for _, d := range dry.Sample {
		talk(c, "  %s", printable(strings.Join([]string{d.ID, d.Reason, d.Type, d.To, d.EndedAt}, "  ")))
	}
	if more := dry.Matched - len(dry.Sample); more > 0 {
		talk(c, "  and %d more", more)
	}
	if dry.More {
		talk(c, "there are more than are counted at once")
	}
}

// typed has the number typed back.
func typed(c *cli.Context, n int) error {
	fmt.Fprintf(c.App.ErrWriter, "type %d to remove them: ", n)
	line, err := bufio.NewReader(io.LimitReader(c.App.Reader, 64)).ReadString('\n')
	if got := strings.TrimSpace(line); got != strconv.Itoa(n) {
		if err != nil && got == "" {
			talk(c, "")
		}
		return &failure{exit: exitRefused, what: "nothing was removed", why: "not confirmed", hint: "type the number, or give --yes", code: "confirmation_required"}
	}
	return nil
}
