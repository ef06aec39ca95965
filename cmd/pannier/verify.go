package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/urfave/cli/v2"

	"pannier/journal"
)

func verifyCommand() *cli.Command {
	return &cli.Command{
		Name: "verify", ArgsUsage: "[DIR]", Usage: "check a journal that no sidecar has open, and change nothing in it",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "journal", EnvVars: []string{"PANNIER_JOURNAL"}, Usage: "`DIR` of the journal, where it is not the argument"},
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
	dir := c.String("journal")
	switch n := c.NArg(); {
	case n == 1:
		dir = c.Args().First()
	case n > 1:
		return usageError("verify takes one directory, got %d", n).withHint("pannier verify [DIR]")
	}
	if dir == "" {
		return usageError("verify needs the DIR of a journal").withHint("the directory that `pannier run --journal` was given; ./pannier-data unless it was")
	}
	report, err := journal.Verify(dir)
	if err != nil {
		hint := "name the directory of a sidecar that is stopped"
		if system := (*journal.SystemError)(nil); errors.As(err, &system) {
			hint = "" // it says what to do
		}
		return &failure{exit: exitError, what: "cannot verify a journal", why: err.Error(), hint: hint, code: "journal_unreadable"}
	}
	if err := printReport(c, asJSON, report); err != nil {
		return err
	}
	if n := len(report.Damages); n > 0 {
		return &failure{exit: exitError, what: fmt.Sprintf("the journal in %s is damaged in %s", dir, plural(n, "place")), code: "journal_corrupt"}
	}
	return nil
}

// damage is one that was found, as -o json prints it.
type damage struct {
	Kind   journal.DamageKind `json:"kind"`
	Intent string             `json:"intent_id,omitempty"`
	Key    string             `json:"key,omitempty"` // hex
	What   string             `json:"what"`
	Do     string             `json:"do"`
}

func printReport(c *cli.Context, asJSON bool, report journal.VerifyReport) error {
	if asJSON {
		found := []damage{}
		for _, d := range report.Damages {
			one := damage{Kind: d.Kind, Key: hex.EncodeToString(d.Key), What: d.What, Do: d.Do()}
			if !d.Intent.IsZero() {
				one.Intent = d.Intent.String()
			}
			found = append(found, one)
		}
		return json.NewEncoder(c.App.Writer).Encode(struct {
			OK      bool     `json:"ok"`
			Intents int      `json:"intents"`
			Live    int      `json:"live"`
			Damages []damage `json:"damages"`
		}{len(found) == 0, report.Intents, report.Live, found})
	}
	told := map[journal.DamageKind]bool{}
	for _, d := range report.Damages {
		if _, err := fmt.Fprintln(c.App.Writer, printable(d.String())); err != nil {
			return err
		}
		told[d.Kind] = true
	}
	for _, d := range report.Damages {
		if told[d.Kind] {
			told[d.Kind] = false // once for each kind
			talk(c, "%s: %s", d.Kind, d.Do())
		}
	}
	state := "no damage"
	if n := len(report.Damages); n > 0 {
		state = "damaged in " + plural(n, "place")
	}
	_, err := fmt.Fprintf(c.App.Writer, "%s, %d of them open, %s\n", plural(report.Intents, "intent"), report.Live, state)
	return err
}
