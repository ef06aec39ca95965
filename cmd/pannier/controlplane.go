package main

import (
	"errors"
	"log/slog"

	"github.com/urfave/cli/v2"

	"pannier/cmd/build"
	"pannier/cmd/plane"
)

func controlPlaneCommand() *cli.Command {
	p := plane.NewCommand(plane.File, plane.Registration, plane.DNS)
	return &cli.Command{
		Name: "control-plane", Usage: "tell sidecars by xDS where agents live and how to send to them", Flags: p.Flags(),
		Action: func(c *cli.Context) error {
			if _, err := exactArgs(c); err != nil {
				return err
			}
			logTo(c.App.ErrWriter, slog.LevelInfo)
			err := p.Run(c.Context, c.App.Writer, build.This().Version)
			if wrong := (plane.ConfigError{}); errors.As(err, &wrong) {
				return &failure{exit: exitUsage, what: complaints(wrong), code: "config"}
			}
			return listenError(err, "choose another with --listen, --admin or --health; port 0 takes any free one")
		},
	}
}
