package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
)

// showing prints what a listener takes, and what becomes of it.
type showing struct {
	*screen
	how string
	mu  sync.Mutex // one at a time
}

// The ways to show it.
const (
	interactive = "interactive" // its payload as well; where a person looks
	compact     = "compact"     // a line each; elsewhere
	quiet       = "quiet"
)

func showingOf(c *cli.Context) (*showing, error) {
	screen, err := screenOf(c)
	if err != nil {
		return nil, err
	}
	s := &showing{screen: screen, how: c.String("output")}
	switch s.how {
	case interactive, compact, quiet, string(formatJSON), string(formatLines):
	case "":
		s.how = compact
		if screen.terminal {
			s.how = interactive
		}
	default:
		return nil, usageError("-o %s is not a format", s.how).withHint("listen prints -o interactive, compact, quiet or ndjson")
	}
	return s, nil
}

// arrived shows what was taken. Who answers by hand needs its lease.
func (s *showing) arrived(h *handed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.how {
	case string(formatJSON), string(formatLines):
		_, err := fmt.Fprintln(s, oneLine(h.raw))
		return err
	case quiet:
		return nil
	case compact:
		_, err := fmt.Fprintf(s, "%s  %s  attempt %d  lease %s\n", printable(h.ID), printable(h.Type), h.Attempt, printable(h.Lease))
		return err
	}
	var payload bytes.Buffer
	if json.Indent(&payload, h.Payload, "    ", "  ") != nil {
		payload.Reset()
		payload.Write(h.Payload)
	}
	lines := strings.Split(payload.String(), "\n")
	for i, line := range lines {
		lines[i] = printable(line)
	}
	_, err := fmt.Fprintf(s, "%s %s  %s  attempt %d\n    from %s  to %s  lease %s\n    %s\n", paint(s.screen, bold, "▶"), printable(h.ID),
		paint(s.screen, bold, printable(h.Type)), h.Attempt, printable(h.From), printable(h.To), printable(h.Lease), strings.Join(lines, "\n"))
	return err
}

// away shows that the app has taken nothing.
func (s *showing) away(h *handed, r reply, again time.Duration) error {
	return s.line(h, yellow, fmt.Sprintf("%s: not taken, again in %s", r.said, again.Round(time.Millisecond)))
}

// outcomes are what has become of an intent, by how it was settled.
var outcomes = map[string]string{"ack": "done", "nack": "failed attempt", "extend": "acknowledged"}

// settled shows what has become of it.
func (s *showing) settled(h *handed, r reply, took time.Duration) error {
	in, outcome := green, outcomes[r.Settle]
	switch {
	case r.Reject:
		in, outcome = red, "dead letter"
	case r.Settle == "nack":
		in = red
	}
	if r.said != "" && r.said != outcome {
		outcome = r.said + ": " + outcome
	}
	return s.line(h, in, fmt.Sprintf("%s, after %s", outcome, took.Round(time.Millisecond)))
}

func (s *showing) line(h *handed, in colour, text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	switch s.how {
	case interactive:
		_, err = fmt.Fprintf(s, "%s %s\n", paint(s.screen, in, "◀"), paint(s.screen, in, printable(text)))
	case compact:
		_, err = fmt.Fprintf(s, "%s  %s\n", printable(h.ID), paint(s.screen, in, printable(text)))
	}
	return err
}
