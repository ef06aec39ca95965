package main

import (
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
)

func xdsCommand() *cli.Command {
	return &cli.Command{
		Name: "xds", Usage: "show what control planes have told this sidecar",
		Subcommands: []*cli.Command{
			{
				Name: "status", Usage: "servers, agents and resources: state, version, age and what was refused", Flags: adminFlags(),
				Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
					body, err := cl.call(c.Context, request{doing: "ask for the xDS status", method: http.MethodGet, path: "/v1/admin/xds"})
					if err != nil {
						return err
					}
					return present(c, cl, body, printXDS)
				}),
			},
			{
				Name: "dump", Usage: "all of it as JSON, with the resources themselves", Flags: adminFlags(),
				Action: onAdmin(func(c *cli.Context, cl *client, _ []string) error {
					body, err := cl.call(c.Context, request{doing: "ask for the xDS resources", method: http.MethodGet, path: "/v1/admin/xds/dump"})
					if err != nil {
						return err
					}
					return printJSON(c.App.Writer, body)
				}),
			},
		},
	}
}

func printXDS(w io.Writer, a xdsAnswer) error {
	if !a.Configured {
		_, err := fmt.Fprintln(w, "this sidecar asks no control plane (--xds)")
		return err
	}
	var servers, agents, resources [][]string
	for _, s := range a.Servers {
		said := s.LastError
		if said == "" && s.Refused != "" {
			said = "this sidecar is not announced as it asks to be: " + s.Refused
		}
		servers = append(servers, []string{s.Address, s.State, when(w, s.Since.Format(time.RFC3339)), strconv.FormatUint(s.Nacks, 10), said})
	}
	for _, g := range a.Agents {
		place := "unknown"
		if g.Known {
			place = plural(g.Endpoints, "endpoint")
		}
		if g.Here {
			place += ", here"
		}
		if g.Paused {
			place += ", paused"
		}
		agents = append(agents, []string{g.Agent, place})
	}
	for _, r := range a.Resources {
		age := ""
		if r.Version != "" {
			age = (time.Duration(r.Age) * time.Second).String()
		}
		resources = append(resources, []string{r.Type, r.Name, r.State, brief(r.Version), age, r.Error})
	}
	if err := table(w, []string{"SERVER", "STATE", "SINCE", "REFUSED", "LAST ERROR"}, servers); err != nil {
		return err
	}
	fmt.Fprintln(w)
	if err := table(w, []string{"AGENT", "PLACE"}, agents); err != nil {
		return err
	}
	fmt.Fprintln(w)
	return table(w, []string{"TYPE", "NAME", "STATE", "VERSION", "AGE", "ERROR"}, resources)
}

// brief is enough of a version to tell two apart: some servers' are hashes.
func brief(version string) string {
	const enough = 16
	if len(version) > enough {
		return version[:enough]
	}
	return version
}
