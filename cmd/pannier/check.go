package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// checkCommand asks one sidecar all it knows of itself and says what of it is wrong.
func checkCommand() *cli.Command {
	return &cli.Command{
		Name: "check", Usage: "say what is wrong with a sidecar: health, journal, discovery, peers; exit code 1 if anything keeps it from delivering", Flags: adminFlags(),
		Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
			found, err := examine(c.Context, cl)
			if err != nil {
				return err
			}
			if cl.format != formatText {
				body, err := json.Marshal(struct {
					OK     bool      `json:"ok"`
					Checks []finding `json:"checks"`
				}{!broken(found), found})
				if err != nil {
					return err
				}
				if err := printJSON(c.App.Writer, body); err != nil {
					return err
				}
			} else if err := printFindings(c.App.Writer, found); err != nil {
				return err
			}
			if broken(found) {
				return &failure{exit: exitError, what: "something is wrong with the sidecar at " + cl.target, code: "check_failed"}
			}
			return nil
		}),
	}
}

// level is how bad a finding is.
type level string

const (
	fine    level = "ok"
	warning level = "warning" // it delivers, and somebody should know
	wrong   level = "error"   // something is not delivered because of it
)

// finding is one line of the check.
type finding struct {
	About  string `json:"about"`
	Level  level  `json:"level"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`
}

func broken(all []finding) bool {
	for _, f := range all {
		if f.Level == wrong {
			return true
		}
	}
	return false
}

// examine gathers the findings. Only that the sidecar cannot be asked is an error.
func examine(ctx context.Context, cl *client) ([]finding, error) {
	var status struct {
		Checks []struct {
			Name   string `json:"name"`
			OK     bool   `json:"ok"`
			Detail string `json:"detail"`
			Advice bool   `json:"advice"`
		} `json:"checks"`
	}
	var peers peersAnswer
	var xds xdsAnswer
	for _, one := range []struct {
		path string
		into any
	}{{"/v1/admin/status", &status}, {"/v1/admin/peers", &peers}, {"/v1/admin/xds", &xds}} {
		body, err := cl.call(ctx, request{doing: "check the sidecar", method: http.MethodGet, path: one.path})
		if err == nil {
			err = json.Unmarshal(body, one.into)
		}
		if err != nil {
			return nil, err
		}
	}
	var all []finding
	for _, c := range status.Checks {
		f := finding{About: c.Name, Level: fine, Detail: c.Detail}
		switch {
		case c.Name == "discovery":
			continue // below, with more to say
		case !c.OK && c.Advice:
			f.Level = warning
		case !c.OK:
			f.Level = wrong
		}
		all = append(all, f)
	}
	return append(append(all, examineXDS(xds, time.Now())...), examinePeers(peers)...), nil
}

// examineXDS finds servers out of reach, what is stale because of it, what was
// refused, and agents nobody knows.
func examineXDS(a xdsAnswer, now time.Time) (all []finding) {
	if !a.Configured {
		return nil
	}
	for _, s := range a.Servers {
		f := finding{About: "control plane " + s.Address, Level: fine, Detail: s.State}
		if s.LastError != "" {
			f.Level, f.Detail = warning, s.State+": "+s.LastError
		} else if s.Refused != "" {
			f.Level, f.Detail = wrong, s.State+", and does not announce this sidecar as it asks to be: "+s.Refused
			f.Hint = "others may not find it: give it an identity that may speak for its agents, or map the one it has under identities at the control plane"
		}
		all = append(all, f)
	}
	if a.Stale {
		f := finding{About: "discovery", Level: warning, Detail: "stale: no control plane answers, and none ever has", Hint: "is --xds right, and does a control plane run there?"}
		if a.Confirmed != nil {
			f.Detail = fmt.Sprintf("stale: what was known %s ago is in force", now.Sub(*a.Confirmed).Round(time.Second))
		}
		all = append(all, f)
	}
	for _, r := range a.Resources {
		if r.State == "NACKED" {
			all = append(all, finding{
				About: "resource " + r.Type + " " + r.Name, Level: wrong, Detail: "refused: " + r.Error,
				Hint: "mend it at the control plane; until then the last good one is in force",
			})
		}
	}
	for _, g := range a.Agents {
		switch {
		case !g.Known:
			all = append(all, finding{About: "agent " + g.Agent, Level: warning, Detail: "asked for, and no control plane has said where it is"})
		case g.Endpoints == 0 && !g.Here:
			all = append(all, finding{About: "agent " + g.Agent, Level: warning, Detail: "nobody serves it: what is sent to it waits"})
		}
		if g.Paused {
			all = append(all, finding{About: "agent " + g.Agent, Level: warning, Detail: "paused by a switch of the control plane: nothing is sent to it"})
		}
	}
	return all
}

// examinePeers finds sidecars that something waits for and that do not answer.
func examinePeers(a peersAnswer) (all []finding) {
	for _, p := range a.Peers {
		f := finding{About: "peer " + p.Address, Level: fine, Detail: p.State}
		if p.State == "down" || p.State == "breaker_open" {
			f.Level, f.Detail = wrong, p.State
			if p.LastError != "" {
				f.Detail += ": " + p.LastError
			}
			if p.Held > 0 {
				f.Detail += ", holding " + plural(int(p.Held), "intent")
			}
		}
		all = append(all, f)
	}
	return all
}

func printFindings(w io.Writer, all []finding) error {
	marks := map[level]string{fine: "ok", warning: "!!", wrong: "XX"}
	for _, f := range all {
		line := marks[f.Level] + "  " + printable(f.About)
		if f.Detail != "" {
			line += ": " + printable(f.Detail)
		}
		if f.Hint != "" {
			line += "\n    " + printable(f.Hint)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}
