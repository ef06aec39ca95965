package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/urfave/cli/v2"

	"pannier/proxy"
	"pannier/proxy/yaml"
)

func configCommand(args []string) *cli.Command {
	validate, effective := newSettings(args, "config", "validate"), newSettings(args, "config", "print")
	return &cli.Command{
		Name: "config", Usage: "check and show the settings of a sidecar, without running it",
		Subcommands: []*cli.Command{
			{
				Name: "validate", Usage: "say all that is wrong with what `run` would be given", Flags: append(validate.flags(), outputFlag()),
				Action: func(c *cli.Context) error { return validateConfig(c, validate) },
			},
			{
				Name: "print", Usage: "print all settings as a config file",
				Flags:  append(effective.flags(), &cli.BoolFlag{Name: "origin", Usage: "say beside each where it comes from"}, outputFlag()),
				Action: func(c *cli.Context) error { return printConfig(c, effective) },
			},
			{
				Name: "schema", Usage: "print the JSON Schema of the config file, for editors",
				Action: func(c *cli.Context) error {
					if _, err := exactArgs(c); err != nil {
						return err
					}
					return writeIndented(c.App.Writer, proxy.ConfigSchema())
				},
			},
		},
	}
}

func validateConfig(c *cli.Context, s *settings) error {
	asJSON, err := beforeConfig(c)
	if err != nil {
		return err
	}
	_, wrong := s.options(c)
	switch {
	case asJSON:
		return reportConfig(c.App.Writer, wrong)
	case wrong != nil:
		return configError(wrong)
	case s.file != "":
		_, err = fmt.Fprintf(c.App.Writer, "%s: valid\n", s.file)
	default:
		_, err = fmt.Fprintln(c.App.Writer, "valid, without a config file: name one with --config / "+configEnv)
	}
	return err
}

func beforeConfig(c *cli.Context) (asJSON bool, err error) {
	if _, err := exactArgs(c); err != nil {
		if c.NArg() == 1 { // the file, most likely
			return false, usageError("%s takes no argument, got %s", verbOf(c), c.Args().First()).withHint("%s --config %s", c.Command.HelpName, c.Args().First())
		}
		return false, err
	}
	return wantsJSON(c)
}

// complaint is one thing that is wrong, with its place where it is in a file.
type complaint struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Key    string `json:"key,omitempty"`
	Text   string `json:"text"`
}

func reportConfig(w io.Writer, wrong error) error {
	report := struct {
		Valid  bool        `json:"valid"`
		Errors []complaint `json:"errors"`
	}{wrong == nil, []complaint{}}
	for _, err := range flat(wrong) {
		at := (*yaml.Error)(nil)
		if errors.As(err, &at) {
			report.Errors = append(report.Errors, complaint{at.File, at.Line, at.Column, at.Key, at.Text})
		} else {
			report.Errors = append(report.Errors, complaint{Text: err.Error()})
		}
	}
	if err := writeIndented(w, report); err != nil || wrong == nil {
		return err
	}
	return &failure{exit: exitUsage, what: fmt.Sprintf("the configuration is wrong in %s", plural(len(report.Errors), "place")), code: "config"}
}

func writeIndented(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// printConfig prints settings that `run` would have, whether it would take them or not is for
// `config validate`; but what cannot be read cannot be printed.
func printConfig(c *cli.Context, s *settings) error {
	asJSON, err := beforeConfig(c)
	if err != nil {
		return err
	}
	if s.fileErr != nil {
		return configError(s.fileErr)
	}
	if _, err := s.options(c); err != nil {
		return configError(err)
	}
	type line struct {
		Key    string          `json:"key"`
		Value  json.RawMessage `json:"value"`
		Origin string          `json:"origin"`
	}
	var lines []line
	for _, of := range proxy.Settings() {
		if value := s.value(of); value != "" {
			lines = append(lines, line{of.Key, json.RawMessage(value), s.origin(c, of)})
		}
	}
	if asJSON {
		return writeIndented(c.App.Writer, lines)
	}
	tw := tabwriter.NewWriter(c.App.Writer, 0, 0, 2, ' ', 0)
	for _, l := range lines {
		fmt.Fprintf(tw, "%s: %s", l.Key, l.Value)
		if c.Bool("origin") {
			fmt.Fprintf(tw, "\t# %s", l.Origin)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// configError is what is wrong with the settings of a sidecar.
func configError(err error) error {
	return &failure{
		exit: exitUsage, what: complaints(err), code: "config",
		hint: plural(len(flat(err)), "error") + "; \"pannier config schema\" describes every setting",
	}
}

// complaints shows each with the line it is about.
func complaints(err error) string {
	var b strings.Builder
	for i, err := range flat(err) {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(printable(err.Error()))
		if at := (*yaml.Error)(nil); errors.As(err, &at) {
			b.WriteString(excerpt(at))
		}
	}
	return b.String()
}

// flat lists the errors that were joined.
func flat(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	var all []error
	for _, err := range joined.Unwrap() {
		all = append(all, flat(err)...)
	}
	return all
}
