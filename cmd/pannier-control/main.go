// Command pannier-control is the control plane of a cluster: that of `pannier
// control-plane`, which also knows the Services and EndpointSlices of Kubernetes. It
// is a program of its own so that no sidecar links what asks an API server.
//
// The ready line goes to stdout and the log to stderr. It ends with 0 when it is told
// to stop, with 2 where its flags are wrong, and with 1 at any other failure.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
	"k8s.io/klog/v2"

	"pannier/cmd/build"
	"pannier/cmd/cmdline"
	"pannier/cmd/plane"
)

// Exit codes, as those of pannier.
const (
	exitError = 1
	exitUsage = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(execute(ctx, os.Args, os.Stdout, os.Stderr))
}

// execute runs the command line until ctx ends, and returns its exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	app := &cli.App{Name: "pannier-control", Writer: stdout, ErrWriter: stderr}
	err := cmdline.Run(ctx, app, newCommand(stdout, stderr), args[1:])
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "error: "+err.Error())
	wrong, usage := plane.ConfigError{}, (*cmdline.UsageError)(nil)
	if errors.As(err, &usage) {
		fmt.Fprintln(stderr, "  see --help")
	}
	if usage != nil || errors.As(err, &wrong) {
		return exitUsage
	}
	return exitError
}

func newCommand(stdout, stderr io.Writer) *cli.Command {
	var k cluster
	c := plane.NewCommand(plane.File, k.kind(), plane.Registration, plane.DNS)
	c.Default = []string{kubernetesName, plane.Registration.Name}
	c.Prepare = k.prepare
	return &cli.Command{
		Usage: "tell sidecars in a cluster by xDS where agents live and how to send to them",
		Flags: append(append(c.Flags(), k.flags()...), &cli.BoolFlag{Name: "version", Aliases: []string{"v"}, Usage: "print which build this is"}, &cli.BoolFlag{Name: "sbom", Usage: "write what it is made of, as CycloneDX"}, cmdline.HelpFlag()),
		Action: func(ctx *cli.Context) error {
			if ctx.Args().Present() {
				return &cmdline.UsageError{Text: fmt.Sprintf("%q: it takes flags only", ctx.Args().First())}
			}
			if ctx.Bool("version") {
				_, err := fmt.Fprintln(stdout, "pannier-control version", build.This().Version)
				return err
			}
			if ctx.Bool("sbom") {
				return build.Materials(stdout)
			}
			log := slog.New(slog.NewTextHandler(stderr, nil))
			slog.SetDefault(log)
			klog.SetSlogLogger(log) // what client-go has to say
			return c.Run(ctx.Context, stdout, build.This().Version)
		},
	}
}
