package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"

	"github.com/urfave/cli/v2"

	"pannier/cmd/cmdline"
)

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print in this `FORMAT`: json is what the API answered, byte for byte (default: text)"}
}

func wantsJSON(c *cli.Context) (bool, error) {
	switch format := c.String("output"); format {
	case "", "json":
		return format == "json", nil
	default:
		return false, usageError("-o %s is not a format", format).withHint("the formats are -o json and, without the flag, text")
	}
}

// printJSON writes an answer as it came, on lines of its own.
func printJSON(w io.Writer, body []byte) error {
	_, err := fmt.Fprintf(w, "%s\n", strings.TrimRight(string(body), "\n"))
	return err
}

// present prints an answer: as it came under -o json, else by the given function from its decoded form.
func present[T any](c *cli.Context, cl *client, body json.RawMessage, plain func(io.Writer, T) error) error {
	if cl.asJSON {
		return printJSON(c.App.Writer, body)
	}
	var decoded T
	if err := json.Unmarshal(body, &decoded); err != nil {
		return fmt.Errorf("read the answer of %s: %w", cl.target, err)
	}
	return plain(c.App.Writer, decoded)
}

// table prints rows in aligned columns under a header.
func table(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(header, "\t"))
	for _, row := range rows {
		for i, cell := range row {
			row[i] = printable(cell)
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// pairs prints "name  value" lines and leaves out what has no value. They come as name, value, name, value.
func pairs(w io.Writer, namesAndValues ...string) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for i := 0; i < len(namesAndValues); i += 2 {
		if namesAndValues[i+1] != "" {
			fmt.Fprintf(tw, "%s\t%s\n", namesAndValues[i], printable(namesAndValues[i+1]))
		}
	}
	return tw.Flush()
}

// oneLine is a JSON value without its white space, and nothing for a value that is not there.
func oneLine(value json.RawMessage) string {
	var b bytes.Buffer
	if len(value) == 0 || json.Compact(&b, value) != nil {
		return ""
	}
	return b.String()
}

// printable keeps text from other machines from steering the terminal or breaking a column.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// talk says something to a person that no script should read.
func talk(c *cli.Context, format string, args ...any) {
	fmt.Fprintf(c.App.ErrWriter, format+"\n", args...)
}

// exactArgs returns the arguments, or complains when they are not as many as the command's help names.
func exactArgs(c *cli.Context) ([]string, error) {
	names := strings.Fields(c.Command.ArgsUsage)
	switch {
	case c.NArg() == len(names):
		return c.Args().Slice(), nil
	case len(names) == 0 && len(cmdline.Visible(c.Command.Subcommands)) > 0:
		return nil, explained(cmdline.Unknown(c.Command.HelpName, c.Command.Subcommands, c.Args().First()))
	}
	return nil, usageError("%s takes %s, got %d", verbOf(c), plural(len(names), "argument"), c.NArg()).
		withHint("%s", strings.TrimSpace(c.Command.HelpName+" "+c.Command.ArgsUsage))
}

// verbOf is the command as typed behind the program's name.
func verbOf(c *cli.Context) string { return strings.TrimPrefix(c.Command.HelpName, c.App.Name+" ") }

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
