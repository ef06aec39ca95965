package main

import (
	"encoding/json"
	"fmt"

	"github.com/urfave/cli/v2"

	"pannier/journal"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", Usage: "check a journal that no sidecar has open",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "journal", EnvVars: []string{"PANNIER_JOURNAL"}, Usage: "`DIR` of the journal (required)"},
			outputFlag(),
		},
		Action: verify,
	}
}

func verify(c *cli.Context) error {
	asJSON, err := wantsJSON(c)
	if err != nil {
		return err
	}
	if _, err := exactArgs(c); err != nil {
		return err
	}
	dir := c.String("journal")
	if dir == "" {
		return usageError("verify needs --journal DIR").withHint("the directory that `pannier run --journal` was given; ./pannier-data unless it was")
	}
	report, err := journal.Verify(dir)
	if err != nil {
		return &failure{exit: exitError, what: "cannot verify a journal", why: err.Error(), hint: "name the directory of a sidecar that is stopped: --journal DIR", code: "journal_unreadable"}
	}
	if err := printReport(c, asJSON, report); err != nil {
		return err
	}
	if n := len(report.Problems); n > 0 {
		return &failure{exit: exitError, what: fmt.Sprintf("the journal in %s has %d problems", dir, n), code: "journal_corrupt"}
	}
	return nil
}

func printReport(c *cli.Context, asJSON bool, report journal.VerifyReport) error {
	if asJSON {
		return json.NewEncoder(c.App.Writer).Encode(struct {
			OK       bool     `json:"ok"`
			Intents  int      `json:"intents"`
			Live     int      `json:"live"`
			Problems []string `json:"problems"`
		}{len(report.Problems) == 0, report.Intents, report.Live, append([]string{}, report.Problems...)})
	}
	for _, p := range report.Problems {
		if _, err := fmt.Fprintln(c.App.Writer, printable(p)); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(c.App.Writer, "%d intents, %d of them open, %d problems\n", report.Intents, report.Live, len(report.Problems))
	return err
}
