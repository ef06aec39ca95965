package cmdline

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

// Man writes the manual page of a program, in the roff of man(7): its commands with their flags, and
// then sections of its own, each a heading and its paragraphs. (The library's page is made with
// text/template: see the package.)
func Man(w io.Writer, app *cli.App, version string, sections ...[]string) error {
	p := page{bufio.NewWriter(w)}
	p.raw(".TH %s 1 \"\" %s\n", quoted(strings.ToUpper(app.Name)), quoted(app.Name+" "+version))
	p.raw(".SH NAME\n%s \\- %s\n", roff(app.Name), roff(app.Usage))
	p.raw(".SH SYNOPSIS\n.B %s\nCOMMAND [OPTIONS] [ARGUMENTS]\n", roff(app.Name))
	p.raw(".SH COMMANDS\n")
	for _, c := range app.Commands {
		p.command(app.Name, c)
	}
	for _, section := range sections {
		p.raw(".SH %s\n", quoted(section[0]))
		for _, paragraph := range section[1:] {
			p.raw(".PP\n%s\n", roff(paragraph))
		}
	}
	return p.Flush()
}

// page is a manual page being written. Its errors are Flush's.
type page struct{ *bufio.Writer }

func (p page) raw(format string, words ...any) { fmt.Fprintf(p, format, words...) }

func (p page) command(of string, c *cli.Command) {
	if c.Hidden {
		return
	}
	name := of + " " + c.Name
	if c.Action != nil {
		p.raw(".SS %s\n%s\n", quoted(strings.TrimSpace(name+" [OPTIONS] "+c.ArgsUsage)), roff(c.Usage))
		for paragraph := range strings.SplitSeq(strings.TrimSpace(c.Description), "\n\n") {
			if paragraph != "" {
				p.raw(".PP\n%s\n", roff(paragraph))
			}
		}
		for _, f := range c.Flags {
			if f.Names()[0] == HelpFlag().Names()[0] {
				continue // every command has it, and who reads this needs it no more
			}
			names, usage, _ := strings.Cut(f.String(), "\t")
			p.raw(".TP\n.B %s\n%s\n", roff(names), roff(strings.Join(strings.Fields(usage), " ")))
		}
	}
	for _, sub := range c.Subcommands {
		p.command(name, sub)
	}
}

var roffSafe = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`)

// roff is a text in which nothing is taken for a request, and what was typed comes out as it can be typed.
func roff(text string) string {
	lines := strings.Split(roffSafe.Replace(text), "\n")
	for i, line := range lines {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, ".") {
			line = `\&` + line
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}

// quoted is one argument of a request.
func quoted(text string) string { return `"` + strings.ReplaceAll(roff(text), `"`, `\(dq`) + `"` }
