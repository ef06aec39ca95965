package main

import (
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"pannier/proxy/checkup"
)

// screen is standard output and what may be done on it.
type screen struct {
	io.Writer
	terminal bool      // a person looks at it now: ages are of more use than times
	colours  bool      // it shows them
	now      time.Time // what ages are counted from
}

// colour is what a terminal is told before a text, of ECMA-48's SGR.
type colour string

const (
	plain  colour = ""
	bold   colour = "\x1b[1m"
	faint  colour = "\x1b[2m"
	red    colour = "\x1b[31m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"

	uncolour = "\x1b[0m"
)

// colourFlag is a flag of every verb that shows something.
func colourFlag() cli.Flag {
	return &cli.StringFlag{Name: "color", Usage: "`WHEN` to show colours: auto (on a terminal), always, never"}
}

// screenOf says what the output of a command may look like. The flag beats NO_COLOR
// (no-color.org), that CLICOLOR_FORCE, and that what the terminal is.
func screenOf(c *cli.Context) (*screen, error) {
	s := &screen{Writer: c.App.Writer, now: time.Now()}
	if f, ok := c.App.Writer.(*os.File); ok {
		s.terminal = term.IsTerminal(int(f.Fd()))
	}
	force := os.Getenv("CLICOLOR_FORCE")
	switch asked := c.String("color"); {
	case asked == "always" || asked == "never":
		s.colours = asked == "always"
	case asked != "" && asked != "auto":
		return nil, usageError("--color %s is not a choice", asked).withHint("the choices are auto, always and never")
	case os.Getenv("NO_COLOR") != "":
	case force != "" && force != "0":
		s.colours = true
	default:
		s.colours = s.terminal && os.Getenv("TERM") != "dumb"
	}
	return s, nil
}

// paint colours a text that is printable, where w shows colours.
func paint(w io.Writer, c colour, text string) string {
	if s, ok := w.(*screen); !ok || !s.colours || c == plain || text == "" {
		return text
	}
	return string(c) + text + uncolour
}

// when is a time of the API, as an age where a person looks at it.
func when(w io.Writer, stamp string) string {
	s, ok := w.(*screen)
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if !ok || !s.terminal || err != nil {
		return stamp
	}
	if d := s.now.Sub(at); d >= 0 {
		return checkup.Age(d) + " ago"
	} else if d > -time.Second {
		return "now"
	}
	return "in " + checkup.Age(at.Sub(s.now))
}
