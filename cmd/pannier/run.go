package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/urfave/cli/v2"

	"pannier/cmd/build"
	"pannier/proxy"
	"pannier/proxy/trace/otlp"
)

func runCommand(force context.Context, args []string) *cli.Command {
	settings := newSettings(args, "run")
	return &cli.Command{
		Name: "run", Usage: "run a sidecar", Flags: settings.flags(),
		Action: func(c *cli.Context) error {
			if _, err := exactArgs(c); err != nil {
				return err
			}
			opts, err := settings.options(c)
			if err != nil {
				return configError(err)
			}
			logTo(c.App.ErrWriter, slog.LevelInfo)
			return serve(c.Context, force, opts, c.App.Writer)
		},
	}
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
	}), "choose another with --api, --peer, --admin or --health; port 0 takes any free one")
}

// newSidecar fails only for what its configuration says.
func newSidecar(opts proxy.Options) (*proxy.Proxy, error) {
	opts.Version = build.This().Version
	asked := tracing()
	opts.Tracing.OTLP, opts.Tracing.NoHeaders = asked.OTLP, asked.NoHeaders
	p, err := proxy.New(opts)
	if err != nil {
		return nil, configError(err)
	}
	return p, nil
}

// tracing is what the environment says of traces. What is wrong in it is said once,
// also by a process of several sidecars.
var tracing = sync.OnceValue(func() (t proxy.Tracing) {
	var err error
	if t.OTLP, err = otlp.Asked(os.Getenv); err != nil {
		slog.Warn("traces are not exported", "err", err)
	}
	headers, err := otlp.Propagated(os.Getenv)
	if t.NoHeaders = !headers; err != nil {
		slog.Warn("trace contexts are propagated as far as they can be", "err", err)
	}
	return t
})

func logTo(w io.Writer, level slog.Level) {
	slog.SetDefault(slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})))
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
