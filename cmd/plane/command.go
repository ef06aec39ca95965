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
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"pannier/proxy/controlplane"
	"pannier/proxy/identity"
	"pannier/proxy/identity/identityfile"
)

// Command is a control plane as a command line describes it.
type Command struct {
	opts  controlplane.Options
	who   identity.Options
	names string // file of the mappings of names to agents
	kinds []Kind
	words *cli.StringSlice // of --source

	// Default are the sources where --source names none.
	Default []string
	// Prepare, where there is one, has the last word before the control plane is made.
	Prepare func(*controlplane.Options) error
}

// NewCommand returns the command that knows these kinds of sources, the most
// believed first.
func NewCommand(kinds ...Kind) *Command {
	return &Command{opts: controlplane.DefaultOptions(), kinds: kinds, words: cli.NewStringSlice(), Default: []string{registration}}
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
		&cli.StringFlag{Name: "health", EnvVars: []string{"PANNIER_HEALTH"}, Destination: &o.Health, Usage: "serve health pages and metrics, and nothing else, on `ADDR` too; for probes and scrapes from elsewhere"},
		&cli.StringSliceFlag{Name: "source", EnvVars: []string{"PANNIER_SOURCE"}, Destination: c.words, DefaultText: strings.Join(c.Default, ", "), Usage: "`SOURCE` of agents: " + usages(c.kinds) + " (repeatable)"},
		&cli.StringFlag{Name: "tls-cert", EnvVars: []string{"PANNIER_TLS_CERT"}, Destination: &c.who.TLSCert, Usage: "PEM `FILE` of this control plane's certificate, in which sidecars look for the name they dial; it is read again when it changes"},
		&cli.StringFlag{Name: "tls-key", EnvVars: []string{"PANNIER_TLS_KEY"}, Destination: &c.who.TLSKey, Usage: "PEM `FILE` of its private key"},
		&cli.StringFlag{Name: "tls-ca", EnvVars: []string{"PANNIER_TLS_CA"}, Destination: &c.who.TLSCA, Usage: "PEM `FILE` of the authorities that vouch for clients"},
		&cli.StringFlag{Name: "spiffe-socket", EnvVars: []string{"PANNIER_SPIFFE_SOCKET", "SPIFFE_ENDPOINT_SOCKET"}, Destination: &c.who.SPIFFESocket, Usage: "take certificates from the SPIFFE Workload API at `ADDR`, such as unix:///run/spire/agent.sock"},
		&cli.StringFlag{Name: "keyring", EnvVars: []string{"PANNIER_KEYRING"}, Destination: &c.who.Keyring, Usage: "YAML `FILE` of keys shared with clients without certificates; it is watched"},
		&cli.StringFlag{Name: "identities", EnvVars: []string{"PANNIER_IDENTITIES"}, Destination: &c.names, Usage: "YAML `FILE` that says, under identities, which agents the names of certificates may announce"},
		&cli.BoolFlag{Name: "insecure", EnvVars: []string{"PANNIER_INSECURE"}, Destination: &o.Insecure, Usage: "allow plain text beyond loopback"},
	}
}

// Run runs the control plane until ctx ends. Its only output is the ready line, for
// whoever started it. version is the program's.
func (c *Command) Run(ctx context.Context, stdout io.Writer, version string) error {
	words := c.words.Value()
	if len(words) == 0 {
		words = c.Default
	}
	opts := c.opts
	opts.Version = version
	follow, err := c.openTrust(&opts)
	if err != nil {
		return ConfigError{err}
	}
	if opts.Sources, err = openSources(c.kinds, words, slog.Default()); err != nil {
		return ConfigError{err}
	}
	if c.Prepare != nil {
		if err := c.Prepare(&opts); err != nil {
			return ConfigError{err}
		}
	}
	p, err := controlplane.New(opts)
	if err != nil {
		return ConfigError{err}
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, run := range follow {
		group.Go(func() error { return run(ctx) })
	}
	ready := json.NewEncoder(stdout)
	group.Go(func() error {
		return p.Run(ctx, func(i controlplane.Info) {
			if err := ready.Encode(i); err != nil {
				// The starter hung up on us; the control plane is of use all the same.
				slog.Warn("ready line not written", "err", err)
			}
		})
	})
	return group.Wait()
}

// openTrust reads who this control plane is, where that was said, and returns the
// loops that keep up with it.
func (c *Command) openTrust(opts *controlplane.Options) (follow []func(context.Context) error, err error) {
	if c.names != "" {
		if c.who.Identities, err = identityfile.ReadMappings(c.names); err != nil {
			return nil, err
		}
	}
	trust, keyring, err := identityfile.Open(c.who, slog.Default())
	if err != nil || !c.who.Configured() {
		return nil, err
	}
	opts.Trust = trust
	return []func(context.Context) error{trust.Run, keyring.Run}, nil
}
