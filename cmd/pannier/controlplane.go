package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"pannier/proxy/controlplane"
)

func controlPlaneCommand() *cli.Command {
	opts := controlplane.DefaultOptions()
	sources := cli.NewStringSlice()
	return &cli.Command{
		Name: "control-plane", Usage: "tell sidecars by xDS where agents live and how to send to them",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "listen", EnvVars: []string{"PANNIER_LISTEN"}, Value: opts.Listen, Destination: &opts.Listen, Usage: "listen for xDS clients on `ADDR`"},
			&cli.StringFlag{Name: "admin", EnvVars: []string{"PANNIER_ADMIN"}, Value: opts.Admin, Destination: &opts.Admin, Usage: "listen for operators on `ADDR`"},
			&cli.StringSliceFlag{Name: "source", EnvVars: []string{"PANNIER_SOURCE"}, Destination: sources, DefaultText: sourceRegistration, Usage: "`SOURCE` of agents: registration, file=PATH or dns=AGENT=HOST:PORT (repeatable)"},
			&cli.BoolFlag{Name: "insecure", EnvVars: []string{"PANNIER_INSECURE"}, Destination: &opts.Insecure, Usage: "allow plain text beyond loopback"},
		},
		Action: func(c *cli.Context) error {
			if _, err := exactArgs(c); err != nil {
				return err
			}
			logTo(c.App.ErrWriter, slog.LevelInfo)
			words := sources.Value()
			if len(words) == 0 {
				words = []string{sourceRegistration}
			}
			var err error
			if opts.Sources, err = parseSources(words); err != nil {
				return err
			}
			opts.Version = thisBuild().Version
			p, err := controlplane.New(opts)
			if err != nil {
				return configError(err)
			}
			ready := json.NewEncoder(c.App.Writer)
			return listenError(p.Run(c.Context, func(i controlplane.Info) {
				if err := ready.Encode(i); err != nil {
					// The starter hung up on us; the control plane is of use all the same.
					slog.Warn("ready line not written", "err", err)
				}
			}), "choose another with --listen or --admin; port 0 takes any free one")
		},
	}
}

// The kinds of sources, the most believed first.
const (
	sourceFile         = "file"
	sourceRegistration = "registration"
	sourceDNS          = "dns"
)

var sourceKinds = []string{sourceFile, sourceRegistration, sourceDNS}

// parseSources makes the sources of the command line, in the order in which they are believed,
// however they are listed.
func parseSources(words []string) ([]controlplane.Source, error) {
	byKind := map[string]controlplane.Source{}
	var names []string // dns is one source of many names
	for _, word := range words {
		kind, argument, given := strings.Cut(word, "=")
		if byKind[kind] != nil {
			return nil, usageError("--source %s: %s is named twice", word, kind)
		}
		var err error
		switch {
		case kind == sourceRegistration && !given:
			byKind[kind] = controlplane.NewRegistration(slog.Default())
		case kind == sourceFile && argument != "":
			byKind[kind], err = controlplane.OpenFile(argument, slog.Default())
		case kind == sourceDNS && argument != "":
			names = append(names, argument)
		default:
			return nil, usageError("--source %s: use registration, file=PATH or dns=AGENT=HOST:PORT", word)
		}
		if err != nil {
			return nil, configError(fmt.Errorf("--source %s: %w", word, err))
		}
	}
	if len(names) > 0 {
		var err error
		if byKind[sourceDNS], err = controlplane.NewDNS("", names, slog.Default()); err != nil {
			return nil, configError(fmt.Errorf("--source: %w", err))
		}
	}
	var sources []controlplane.Source
	for _, kind := range sourceKinds {
		if s := byKind[kind]; s != nil {
			sources = append(sources, s)
		}
	}
	return slices.Clip(sources), nil
}
