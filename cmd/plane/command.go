// Package plane is the command line of a control plane: the flags that every
// program has which runs one, what they name, and the run itself. The programs
// differ in the kinds of sources they know.
//
//	flags, environment ─▶ Command ──Run──▶ controlplane.Options ─▶ controlplane.Run ─▶ ready line
//
// It holds no state between runs and writes nothing but the ready line and the log.
// Errors of the configuration are a [ConfigError]; the program makes exit codes of
// them.
package plane

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"

	"github.com/urfave/cli/v2"

	"pannier/proxy/controlplane"
)

// Command is a control plane as a command line describes it.
type Command struct {
	opts  controlplane.Options
	kinds []Kind
	words *cli.StringSlice // of --source
}

// NewCommand returns the command that knows these kinds of sources, the most
// believed first.
func NewCommand(kinds ...Kind) *Command {
	return &Command{opts: controlplane.DefaultOptions(), kinds: kinds, words: cli.NewStringSlice()}
}

// ConfigError is something wrong with the command line or with what it names, for
// the operator to mend.
type ConfigError struct{ error }

// Unwrap is what is wrong.
func (e ConfigError) Unwrap() error { return e.error }

// Flags are bound to the command.
func (c *Command) Flags() []cli.Flag {
	o := &c.opts
	return []cli.Flag{
		&cli.StringFlag{Name: "listen", EnvVars: []string{"PANNIER_LISTEN"}, Value: o.Listen, Destination: &o.Listen, Usage: "listen for xDS clients on `ADDR`"},
		&cli.StringFlag{Name: "admin", EnvVars: []string{"PANNIER_ADMIN"}, Value: o.Admin, Destination: &o.Admin, Usage: "listen for operators on `ADDR`"},
		&cli.StringSliceFlag{Name: "source", EnvVars: []string{"PANNIER_SOURCE"}, Destination: c.words, DefaultText: registration, Usage: "`SOURCE` of agents: " + usages(c.kinds) + " (repeatable)"},
		&cli.BoolFlag{Name: "insecure", EnvVars: []string{"PANNIER_INSECURE"}, Destination: &o.Insecure, Usage: "allow plain text beyond loopback"},
	}
}

// Run runs the control plane until ctx ends. Its only output is the ready line, for
// whoever started it. version is the program's.
func (c *Command) Run(ctx context.Context, stdout io.Writer, version string) error {
	words := c.words.Value()
	if len(words) == 0 {
		words = []string{registration}
	}
	opts := c.opts
	opts.Version = version
	var err error
	if opts.Sources, err = openSources(c.kinds, words, slog.Default()); err != nil {
		return ConfigError{err}
	}
	p, err := controlplane.New(opts)
	if err != nil {
		return ConfigError{err}
	}
	ready := json.NewEncoder(stdout)
	return p.Run(ctx, func(i controlplane.Info) {
		if err := ready.Encode(i); err != nil {
			// The starter hung up on us; the control plane is of use all the same.
			slog.Warn("ready line not written", "err", err)
		}
	})
}
