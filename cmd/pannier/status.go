package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pannier/proxy/checkup"
)

func statusCommand() *cli.Command {
	return &cli.Command{
		Name: "status", Usage: "show on one screen how a sidecar is, and first what needs attention; exit code 1 if anything does", Flags: adminFlags(),
		Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
			s, err := look(c.Context, cl)
			if err != nil {
				return err
			}
			screen, err := screenOf(c)
			if err != nil {
				return err
			}
			needed := checkup.Attention(findings(s, screen.now))
			if cl.format == formatText {
				err = printStatus(screen, s, cl.target, needed)
			} else {
				err = encodeLines(screen, []any{document(s, needed)})
			}
			if err == nil && len(needed) > 0 {
				err = &failure{exit: exitError, what: "the sidecar at " + cl.target + " needs attention", code: "needs_attention"}
			}
			return err
		}),
	}
}

// document is the status as JSON: the answers it was made of, and what was found in them.
func document(s *checkup.Answers, needed []finding) map[string]any {
	d := map[string]any{"ok": len(needed) == 0, "attention": append([]finding{}, needed...)}
	for member, answer := range s.Raw {
		d[member] = json.RawMessage(strings.TrimSpace(string(answer)))
	}
	return d
}

func printStatus(w *screen, s *checkup.Answers, target string, needed []finding) error {
	if len(needed) == 0 {
		fmt.Fprintf(w, "%s  all is well with the sidecar at %s\n", paint(w, green, "√"), target)
	} else {
		fmt.Fprintln(w, paint(w, bold, "needs attention"))
		for _, f := range needed {
			f.About = f.Group + ": " + f.About
			if err := printFinding(w, f); err != nil {
				return err
			}
		}
	}
	fmt.Fprintln(w)
	l, j := s.Status.Listeners, s.Status.Journal
	listens, about := "", ""
	for _, one := range [][2]string{{"api ", l.API}, {"peer ", l.Peer}, {"admin ", l.Admin}} {
		if one[1] != "" {
			listens += "  " + one[0] + one[1]
		}
	}
	if j.ID != "" {
		about = fmt.Sprintf("%s  epoch %d  %s", j.ID, j.Epoch, size(j.Bytes))
		if j.Durable != nil && !*j.Durable {
			about += ", on an ephemeral volume"
		}
	}
	err := pairs(w,
		"version", s.Status.Version,
		"listens", strings.TrimSpace(listens),
		"journal", about,
		"syncs", s.Status.SyncText(),
		"intents", places(s, w.now),
		"discovery", discovery(s, w.now),
	)
	if err != nil {
		return err
	}
	return tables(w, s, nil)
}

// placeTexts are the backlogs of /v1/admin/status in words. What is open is in one of the others.
var placeTexts = []struct{ place, text string }{
	{"due", "due"}, {"held", "held elsewhere"}, {"parked", "waiting for somebody"}, {"mail", "here for apps"}, {"dead", "dead"},
}

func places(s *checkup.Answers, now time.Time) string {
	var parts []string
	for _, known := range placeTexts {
		for _, b := range s.Status.Backlogs {
			if b.Place != known.place {
				continue
			}
			part := strconv.Itoa(b.Count) + " " + known.text
			if b.Oldest != nil {
				part += " (" + checkup.Age(max(0, now.Sub(*b.Oldest))) + ")"
			}
			if parts = append(parts, part); b.Later > 0 {
				parts = append(parts, strconv.Itoa(b.Later)+" later")
			}
		}
	}
	return strings.Join(parts, ", ")
}

func discovery(s *checkup.Answers, now time.Time) string {
	switch x := s.XDS; {
	case slices.Contains(s.Lacks, "xds"):
		return ""
	case !x.Configured:
		return "a peers file, or none"
	case x.Stale && x.Confirmed != nil:
		return "stale: no control plane for " + checkup.Age(max(0, now.Sub(*x.Confirmed)))
	case x.Stale:
		return "no control plane yet"
	default:
		return fmt.Sprintf("%s, %s, %s", plural(len(x.Servers), "control plane"), plural(len(x.Agents), "agent"), plural(len(x.Resources), "resource"))
	}
}

// tables show each agent served here, each one sent to, and each sidecar these are at; with rates
// also how fast things go.
func tables(w *screen, s *checkup.Answers, r *rates) error {
	agents := [][]string{{"AGENT HERE", "RECEIVES BY", "DOOR", "READERS", "UNSETTLED", "OLDEST"}}
	destinations := [][]string{{"SENT TO", "DUE", "OFFERED", "LATER", "OLDEST", "WAITS FOR"}}
	peers := [][]string{{"PEER", "STATE", "BREAKER", "HELD"}}
	if r != nil {
		agents[0], peers[0] = append(agents[0], "HAND-OVERS/S", "FAILED/S"), append(peers[0], "TAKES/S")
	}
	agents[0], peers[0] = append(agents[0], "URL"), append(peers[0], "AGENTS", "LAST ERROR")
	for _, a := range s.Agents.Agents {
		row := []string{a.Agent, a.Binding, a.Door.Reason, strconv.Itoa(a.Readers), strconv.Itoa(a.Unsettled), since(a.Oldest, w.now)}
		if r != nil {
			row = append(row, r.text(countAnswered, a.Agent), r.text(countFailed, a.Agent))
		}
		agents = append(agents, append(row, a.URL))
	}
	for _, d := range s.Destinations.Destinations {
		why := ""
		if len(d.Why) > 0 {
			why = d.Why[0].Code
		}
		destinations = append(destinations, []string{d.Agent, strconv.Itoa(d.Waiting), strconv.Itoa(d.InFlight), strconv.Itoa(d.Later), since(d.Oldest, w.now), why})
	}
	for _, p := range s.Peers.Peers {
		row := []string{p.Address, p.State, p.Breaker, strconv.FormatInt(p.Held, 10)}
		if r != nil {
			row = append(row, r.text(countHeld, p.Address))
		}
		peers = append(peers, append(row, strings.Join(p.Agents, " "), p.LastError))
	}
	for _, rows := range [][][]string{agents, destinations, peers} {
		if len(rows) == 1 {
			continue
		}
		fmt.Fprintln(w)
		if err := table(w, rows[0], rows[1:]); err != nil {
			return err
		}
	}
	return nil
}

func since(at *time.Time, now time.Time) string {
	if at == nil {
		return ""
	}
	return checkup.Age(max(0, now.Sub(*at)))
}

// size is a number of bytes as people say it.
func size(bytes int64) string {
	const unit = 1024
	switch {
	case bytes < unit*unit:
		return fmt.Sprintf("%d KiB", (bytes+unit-1)/unit)
	case bytes < unit*unit*unit:
		return fmt.Sprintf("%d MiB", bytes/(unit*unit))
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(unit*unit*unit))
}
