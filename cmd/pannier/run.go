package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"pannier/proxy"
)

const configEnv = "PANNIER_CONFIG"

// runCommand builds the flags of `run` straight onto the options. The config file is read first,
// so that what it says is the default of each flag: default < file < environment < flag.
func runCommand(force context.Context, args []string) *cli.Command {
	opts := proxy.DefaultOptions()
	var fileErr error
	if path := configPath(args); path != "" {
		fileErr = proxy.LoadConfig(path, &opts)
	}
	agents, servers := cli.NewStringSlice(), cli.NewStringSlice()
	return &cli.Command{
		Name: "run", Usage: "run a sidecar", Flags: runFlags(&opts, agents, servers),
		Action: func(c *cli.Context) error {
			if _, err := exactArgs(c); err != nil {
				return err
			}
			if fileErr != nil {
				return configError(fileErr)
			}
			if c.IsSet("agent") {
				if err := parseAgents(&opts, agents.Value()); err != nil {
					return err
				}
			}
			if c.IsSet("xds") {
				opts.XDS = servers.Value()
			}
			logTo(c.App.ErrWriter, slog.LevelInfo)
			return serve(c.Context, force, opts, c.App.Writer)
		},
	}
}

func runFlags(o *proxy.Options, agents, servers *cli.StringSlice) []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "config", EnvVars: []string{configEnv}, Usage: "YAML `FILE` with any of these settings"},
		&cli.StringSliceFlag{Name: "agent", EnvVars: []string{"PANNIER_AGENT"}, Destination: agents, Usage: "`ADDRESS[=poll]` served here (repeatable)"},
		&cli.StringFlag{Name: "api", EnvVars: []string{"PANNIER_API"}, Value: o.API, Destination: &o.API, Usage: "listen for the app on `ADDR`"},
		&cli.StringFlag{Name: "peer", EnvVars: []string{"PANNIER_PEER"}, Value: o.Peer, Destination: &o.Peer, Usage: "listen for other sidecars on `ADDR`; unless said, 127.0.0.1:7401, and 0.0.0.0:7401 with an identity"},
		&cli.StringFlag{Name: "advertise", EnvVars: []string{"PANNIER_ADVERTISE"}, Value: o.Advertise, Destination: &o.Advertise, Usage: "`HOST:PORT` where other sidecars reach this one"},
		&cli.StringFlag{Name: "admin", EnvVars: []string{"PANNIER_ADMIN"}, Value: o.Admin, Destination: &o.Admin, Usage: "listen for operators on `ADDR`"},
		&cli.StringFlag{Name: "journal", EnvVars: []string{"PANNIER_JOURNAL"}, Value: o.Journal, Destination: &o.Journal, Usage: "`DIR` of the journal"},
		&cli.StringFlag{Name: "api-keys", EnvVars: []string{"PANNIER_API_KEYS"}, Value: o.APIKeys, Destination: &o.APIKeys, Usage: "YAML `FILE` of the keys that the app API asks for; it is watched"},
		&cli.StringFlag{Name: "peers", EnvVars: []string{"PANNIER_PEERS"}, Value: o.Peers, Destination: &o.Peers, Usage: "YAML `FILE` that says which sidecars serve which agents; it is watched"},
		&cli.StringSliceFlag{Name: "xds", EnvVars: []string{"PANNIER_XDS"}, Destination: servers, Usage: "`HOST:PORT` of a control plane that says which sidecars serve which agents (repeatable, in order of preference)"},
		&cli.StringFlag{Name: "xds-name", EnvVars: []string{"PANNIER_XDS_NAME"}, Value: o.XDSName, Destination: &o.XDSName, Usage: "`NAME` that control planes prove, a SPIFFE ID or a DNS name; unless said, the host that is dialed"},
		&cli.BoolFlag{Name: "xds-trust", EnvVars: []string{"PANNIER_XDS_TRUST"}, Value: o.XDSTrust, Destination: &o.XDSTrust, Usage: "trust the authorities that control planes name, beside those of --tls-ca"},
		&cli.StringFlag{Name: "zone", EnvVars: []string{"PANNIER_ZONE"}, Value: o.Zone, Destination: &o.Zone, Usage: "`NAME` of the zone this sidecar runs in"},
		&cli.StringFlag{Name: "tls-cert", EnvVars: []string{"PANNIER_TLS_CERT"}, Value: o.Identity.TLSCert, Destination: &o.Identity.TLSCert, Usage: "PEM `FILE` of this sidecar's certificate, for other sidecars; it is read again when it changes"},
		&cli.StringFlag{Name: "tls-key", EnvVars: []string{"PANNIER_TLS_KEY"}, Value: o.Identity.TLSKey, Destination: &o.Identity.TLSKey, Usage: "PEM `FILE` of its private key"},
		&cli.StringFlag{Name: "tls-ca", EnvVars: []string{"PANNIER_TLS_CA"}, Value: o.Identity.TLSCA, Destination: &o.Identity.TLSCA, Usage: "PEM `FILE` of the authorities that vouch for other sidecars"},
		&cli.StringFlag{Name: "spiffe-socket", EnvVars: []string{"PANNIER_SPIFFE_SOCKET", "SPIFFE_ENDPOINT_SOCKET"}, Value: o.Identity.SPIFFESocket, Destination: &o.Identity.SPIFFESocket, Usage: "take certificates from the SPIFFE Workload API at `ADDR`, such as unix:///run/spire/agent.sock"},
		&cli.StringFlag{Name: "keyring", EnvVars: []string{"PANNIER_KEYRING"}, Value: o.Identity.Keyring, Destination: &o.Identity.Keyring, Usage: "YAML `FILE` of keys shared by sidecars without certificates; it is watched"},
		&cli.BoolFlag{Name: "insecure-peer", EnvVars: []string{"PANNIER_INSECURE_PEER"}, Value: o.InsecurePeer, Destination: &o.InsecurePeer, Usage: "allow plain text between sidecars beyond loopback"},
		&cli.IntFlag{Name: "max-body", EnvVars: []string{"PANNIER_MAX_BODY"}, Value: o.MaxBody, Destination: &o.MaxBody, Usage: "largest payload, in `BYTES`"},
		&cli.StringFlag{Name: "learn", EnvVars: []string{"PANNIER_LEARN"}, Value: o.Learn, Destination: &o.Learn, Usage: "serve an unknown agent that asks for its intents: `MODE` off, local or advertise"},
		&cli.BoolFlag{Name: "accept-loss", EnvVars: []string{"PANNIER_ACCEPT_LOSS"}, Value: o.AcceptLoss, Destination: &o.AcceptLoss, Usage: "open a journal that has provably lost its newest records"},
	}
}

// configPath finds the config file before any flag is parsed, and only for the command that has one.
func configPath(args []string) string {
	if len(args) == 0 || args[0] != "run" {
		return ""
	}
	for i, word := range args {
		name, value, inline := strings.Cut(strings.TrimLeft(word, "-"), "=")
		switch {
		case word == "--":
			return os.Getenv(configEnv)
		case !strings.HasPrefix(word, "-") || name != "config":
		case inline:
			return value
		case i+1 < len(args):
			return args[i+1]
		}
	}
	return os.Getenv(configEnv)
}

// parseAgents puts the agents of the command line in the place of those of the file.
func parseAgents(o *proxy.Options, words []string) error {
	o.Agents = nil
	for _, word := range words {
		agent, err := proxy.ParseAgent(word)
		if err != nil {
			return configError(fmt.Errorf("--agent %s: %w", word, err))
		}
		o.Agents = append(o.Agents, agent)
	}
	return nil
}

// serve runs one sidecar until ctx ends. Its only output is the ready line, for whoever started it.
func serve(ctx, force context.Context, opts proxy.Options, stdout io.Writer) error {
	p, err := newSidecar(opts)
	if err != nil {
		return err
	}
	ready := json.NewEncoder(stdout)
	return listenError(p.Run(ctx, force, func(i proxy.Info) {
		if err := ready.Encode(i); err != nil {
			// The starter hung up on us; the sidecar is of use all the same.
			slog.Warn("ready line not written", "err", err)
		}
	}), "choose another with --api, --peer or --admin; port 0 takes any free one")
}

// newSidecar fails only for what its configuration says.
func newSidecar(opts proxy.Options) (*proxy.Proxy, error) {
	opts.Version = thisBuild().Version
	p, err := proxy.New(opts)
	if err != nil {
		return nil, configError(err)
	}
	return p, nil
}

func logTo(w io.Writer, level slog.Level) {
	slog.SetDefault(slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})))
}

func configError(err error) error {
	return &failure{exit: exitUsage, what: err.Error(), code: "config"}
}

// listenError names the port where the error is that somebody else has it.
func listenError(err error, whatToDo string) error {
	var op *net.OpError
	if !errors.Is(err, syscall.EADDRINUSE) || !errors.As(err, &op) || op.Addr == nil {
		return err
	}
	return &failure{
		exit: exitError, what: "cannot listen on " + op.Addr.String(), why: "another process, perhaps another pannier, has this port",
		hint: "stop it, or " + whatToDo, code: "port_in_use",
	}
}
