package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"pannier/proxy/checkup"
)

func topCommand() *cli.Command {
	return &cli.Command{
		Name: "top", Usage: "watch a sidecar: rates, and what waits for whom, again every second; in a pipe, frame after frame",
		Flags: append(adminFlags(),
			&cli.BoolFlag{Name: "once", Usage: "print one frame and stop"},
			&cli.DurationFlag{Name: "interval", Value: time.Second, Usage: "look again after this `DURATION`, which is also what rates are of"},
		),
		Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
			screen, err := screenOf(c)
			if err != nil {
				return err
			}
			t := &top{client: cl, screen: screen, every: c.Duration("interval")}
			if t.every < 100*time.Millisecond {
				return usageError("--interval %s: look again after 100ms or more", t.every)
			}
			if t.last, err = count(c.Context, cl); err != nil {
				return err
			}
			if stdin, ok := c.App.Reader.(*os.File); ok && screen.terminal && cl.format == formatText && !c.Bool("once") {
				return t.live(c.Context, stdin)
			}
			return t.frames(c.Context, c.Bool("once"))
		}),
	}
}

// top looks at a sidecar again and again.
type top struct {
	client *client
	screen *screen
	every  time.Duration
	last   *counters
}

// frames prints one after the other, for whom no screen can be drawn anew, until ctx ends.
func (t *top) frames(ctx context.Context, once bool) error {
	for {
		sleep(ctx, t.every)
		if ctx.Err() != nil {
			return nil
		}
		s, r, err := t.look(ctx)
		if err != nil {
			return err
		}
		if t.client.format == formatText {
			err = t.print(t.screen, s, r)
		} else {
			d := document(s, nil)
			delete(d, "attention")
			d["at"], d["rates"] = r.after.at.UTC(), r.document()
			err = encodeLines(t.screen, []any{d})
		}
		if err != nil || once {
			return err
		}
		if t.client.format == formatText {
			fmt.Fprintln(t.screen)
		}
	}
}

func (t *top) look(ctx context.Context) (*checkup.Answers, rates, error) {
	s, err := checkup.LookAt(ctx, asking(t.client), "status", "agents", "destinations", "peers")
	if err != nil {
		return nil, rates{}, err
	}
	now, err := count(ctx, t.client)
	if err != nil {
		return nil, rates{}, err
	}
	r := rates{before: t.last, after: now}
	t.last = now
	return s, r, nil
}

// print writes a frame.
func (t *top) print(w *screen, s *checkup.Answers, r rates) error {
	w.now = r.after.at
	health := paint(w, green, "nothing is held up")
	if n := len(checkup.Attention(findings(s, w.now))); n > 0 {
		health = paint(w, red, plural(n, "thing")+" to look at: pannier status")
	}
	fmt.Fprintf(w, "%s  %s  %s\n", paint(w, bold, t.client.target), r.after.at.Format(time.TimeOnly), health)
	if r.after.none {
		fmt.Fprintln(w, "no rates: this sidecar has no page of metrics")
	} else {
		fmt.Fprintf(w, "in %.1f/s  ended %.1f/s  badly %.1f/s\n", r.of(countIn, ""), r.of(countEnded, ""), r.of(countBadly, ""))
	}
	err := pairs(w, "intents", places(s, w.now), "syncs", s.Status.SyncText())
	if err != nil {
		return err
	}
	return tables(w, s, &r)
}

// What a terminal is told, of ECMA-48 and xterm.
const (
	enterScreen = "\x1b[?1049h\x1b[?25l\x1b[?7l" // another page, no cursor, long lines cut
	leaveScreen = "\x1b[?7h\x1b[?25h\x1b[?1049l"
	goHome      = "\x1b[H"
	clearLine   = "\x1b[K"
	clearRest   = "\x1b[J"
)

// live draws frames over one another until ctx ends or a key says so. Whatever ends it, the
// terminal is as it was. A library for screens was 2 MB, of what a sidecar may be.
func (t *top) live(ctx context.Context, stdin *os.File) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	if fd := int(stdin.Fd()); term.IsTerminal(fd) {
		was, err := term.MakeRaw(fd)
		if err != nil {
			return fmt.Errorf("read keys: %w", err)
		}
		defer func() { _ = term.Restore(fd, was) }() // a terminal that is gone needs it no more
		// Nobody waits for it: a read of a terminal cannot be ended, and the process is about to.
		go quitOn(stdin, stop)
	}
	if _, err := fmt.Fprint(t.screen, enterScreen); err != nil {
		return err
	}
	defer fmt.Fprint(t.screen, leaveScreen)
	for {
		var frame bytes.Buffer
		s, r, err := t.look(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			fmt.Fprintf(&frame, "%s\n%s", t.screen.now.Format(time.TimeOnly), explain(err))
		default:
			on := *t.screen
			on.Writer = &frame
			if err := t.print(&on, s, r); err != nil {
				return err
			}
		}
		if err := t.draw(frame.String()); err != nil {
			return err
		}
		sleep(ctx, t.every)
	}
}

// draw puts a frame over the last one: as much of it as there is room for now.
func (t *top) draw(frame string) error {
	lines := strings.Split(strings.TrimRight(frame, "\n"), "\n")
	if f, ok := t.screen.Writer.(*os.File); ok {
		if _, height, err := term.GetSize(int(f.Fd())); err == nil && height > 1 {
			lines = lines[:min(len(lines), height-1)]
		}
	}
	_, err := fmt.Fprint(t.screen, goHome+strings.Join(lines, clearLine+"\r\n")+clearLine+"\r\n"+clearRest)
	return err
}

// quitOn calls stop at q or Ctrl-C, which is a key like others while it reads keys.
func quitOn(keys *os.File, stop func()) {
	const ctrlC = 3
	key := make([]byte, 1)
	for {
		n, err := keys.Read(key)
		if n == 1 && (key[0] == 'q' || key[0] == 'Q' || key[0] == ctrlC) || err != nil {
			stop()
			return
		}
	}
}
