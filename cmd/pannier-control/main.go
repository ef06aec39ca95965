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
	"runtime/debug"
	"syscall"

	"github.com/urfave/cli/v2"
	"k8s.io/klog/v2"

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
	err := newApp(stdout, stderr).RunContext(ctx, args)
	if err == nil {
		return 0
	}
	fmt.Fprintln(stderr, "error: "+err.Error())
	if wrong := (plane.ConfigError{}); errors.As(err, &wrong) || errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitError
}

// errUsage is a command line that cannot be read.
var errUsage = errors.New("see --help")

func newApp(stdout, stderr io.Writer) *cli.App {
	var k cluster
	c := plane.NewCommand(plane.File, k.kind(), plane.Registration, plane.DNS)
	c.Default = []string{kubernetesName, plane.Registration.Name}
	c.Prepare = k.prepare
	return &cli.App{
		Name: "pannier-control", Usage: "tell sidecars in a cluster by xDS where agents live and how to send to them",
		Flags: append(c.Flags(), k.flags()...), Version: version(), HideHelpCommand: true,
		Writer: stdout, ErrWriter: stderr,
		OnUsageError:   func(_ *cli.Context, err error, _ bool) error { return fmt.Errorf("%w: %w", err, errUsage) },
		ExitErrHandler: func(*cli.Context, error) {}, // execute decides how the process ends
		Action: func(ctx *cli.Context) error {
			if ctx.Args().Present() {
				return fmt.Errorf("%q: it takes flags only: %w", ctx.Args().First(), errUsage)
			}
			log := slog.New(slog.NewTextHandler(stderr, nil))
			slog.SetDefault(log)
			klog.SetSlogLogger(log) // what client-go has to say
			return c.Run(ctx.Context, stdout, version())
		},
	}
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version
}
