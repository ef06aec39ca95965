package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"pannier/cmd/cmdline"
	"pannier/journal/state"
)

func outputFlag() cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "print in this `FORMAT`: json is what the API answered, byte for byte, ndjson what it lists, one a line (default: text)"}
}

// format is how a verb prints what it was answered.
type format string

const (
	formatText  format = ""
	formatJSON  format = "json"
	formatLines format = "ndjson"
)

func formatOf(c *cli.Context) (format, error) {
	switch f := format(c.String("output")); f {
	case formatText, formatJSON, formatLines:
		return f, nil
	default:
		return f, usageError("-o %s is not a format", f).withHint("the formats are -o json, -o ndjson and, without the flag, text")
	}
}

// wantsJSON is formatOf for what is one JSON value, and so the same in both forms.
func wantsJSON(c *cli.Context) (bool, error) {
	f, err := formatOf(c)
	return f != formatText, err
}

// printJSON writes an answer as it came, on lines of its own.
func printJSON(w io.Writer, body []byte) error {
	_, err := fmt.Fprintf(w, "%s\n", strings.TrimRight(string(body), "\n"))
	return err
}

// printLines writes the elements of the one list that an answer has, each on a line,
// and says where the rest is. An answer that is not a list is one line.
func printLines(c *cli.Context, body json.RawMessage) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	lines, lists := []json.RawMessage{body}, 0
	for _, value := range members {
		if strings.HasPrefix(string(value), "[") {
			lists++
			lines = nil
			if err := json.Unmarshal(value, &lines); err != nil {
				return fmt.Errorf("read the answer: %w", err)
			}
		}
	}
	if lists > 1 {
		lines = []json.RawMessage{body}
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(c.App.Writer, oneLine(line)); err != nil {
			return err
		}
	}
	var next string
	if json.Unmarshal(members["next_cursor"], &next) == nil && next != "" {
		talk(c, "there may be more: --cursor %s", next)
	}
	return nil
}

// encodeLines writes values of our own, each as a line of JSON.
func encodeLines[T any](w io.Writer, values []T) error {
	for _, v := range values {
		line, err := encode(v)
		if err != nil {
			return err
		}
		if _, err := w.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// present prints an answer: as it was asked for, or by the given function from its decoded form.
func present[T any](c *cli.Context, cl *client, body json.RawMessage, plain func(io.Writer, T) error) error {
	switch cl.format {
	case formatJSON:
		return printJSON(c.App.Writer, body)
	case formatLines:
		return printLines(c, body)
	}
	screen, err := screenOf(c)
	if err != nil {
		return err
	}
	var decoded T
	if err := json.Unmarshal(body, &decoded); err != nil {
		return fmt.Errorf("read the answer of %s: %w", cl.target, err)
	}
	return plain(screen, decoded)
}

// table prints rows in aligned columns under a header.
func table(w io.Writer, header []string, rows [][]string) error {
	widths := make([]int, len(header))
	for _, row := range append([][]string{header}, rows...) {
		for i, cell := range row {
			row[i] = printable(cell)
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	put := func(row []string, how func(cell string) colour) error {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(paint(w, how(cell), cell))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		_, err := fmt.Fprintln(w, line.String())
		return err
	}
	if err := put(header, func(string) colour { return faint }); err != nil {
		return err
	}
	for _, row := range rows {
		if err := put(row, colourOf); err != nil {
			return err
		}
	}
	return nil
}

// colourOf is the colour of a word that says how something is.
func colourOf(cell string) colour {
	if s, ok := state.ParseStatus(cell); ok && s.Terminal() {
		if s == state.Completed {
			return green
		}
		return red
	}
	switch cell {
	case "up", "connected", "closed", "ACKED":
		return green
	case "down", "breaker_open", "journal_put_back", "peer_put_back", "NACKED", "failing", "rejecting", "unreachable", "gone":
		return red
	case "half_open", "no_reader", "throttled", "waiting", "STALE":
		return yellow
	}
	return plain
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

// printable keeps text from other machines from steering the terminal, breaking a column, or
// turning what follows: who decides must see a sum as it is.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
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
