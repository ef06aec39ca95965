// Command pannier is the sidecar and its client in one binary: `run`, `dev`, `demo` and `control-plane` serve,
// bench, config, drain, explain, inject, man, verify, version and webhook work alone, and every other verb talks to a
// running sidecar over HTTP as any other program could.
//
// Data goes to stdout and talk to stderr, so that every verb works in a pipe. The exit codes
// (failure.go) are a contract with scripts.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"

	"pannier/cmd/cmdline"
)

func main() {
	ctx, stop := context.WithCancel(context.Background())
	force, halt := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() { // lives as long as the process: a signal may come at any time
		<-signals
		stop()
		<-signals
		halt()
	}()
	os.Exit(execute(ctx, force, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// execute runs one command line and returns its exit code. The end of ctx asks the command to
// finish, the end of force to finish at once.
func execute(ctx, force context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	app := newApp(force, args)
	app.Reader, app.Writer, app.ErrWriter = stdin, stdout, stderr

	if len(args) > 0 && args[0] == completeVerb {
		for _, c := range candidates(ctx, app, args[1:]) {
			fmt.Fprintln(stdout, printable(c))
		}
		return 0
	}
	argv, err := arrange(app, args)
	if err == nil {
		err = cmdline.Dispatch(ctx, app, argv)
	}
	if err = explained(err); err != nil {
		fmt.Fprintln(stderr, explain(err))
	}
	return exitCode(err)
}

// newApp builds the command tree. It needs the arguments because the defaults of `run` are what
// the config file named there says.
func newApp(force context.Context, args []string) *cli.App {
	app := &cli.App{
		Name:  "pannier",
		Usage: "a sidecar that delivers messages durably between services, without a broker",
		Commands: []*cli.Command{
			runCommand(force, args),
			devCommand(force),
			demoCommand(),
			controlPlaneCommand(),
			sendCommand(),
			waitCommand(),
			watchCommand(),
			getCommand(),
			listCommand(),
			whyCommand(),
			traceCommand(),
			cancelCommand(),
			inboxCommand(),
			scheduleCommand(),
			listenCommand(force),
			pollCommand(),
			ackCommand(),
			nackCommand(),
			extendCommand(),
			peersCommand(),
			breakerCommand(),
			xdsCommand(),
			statusCommand(),
			topCommand(),
			checkCommand(),
			agentsCommand(),
			dlqCommand(),
			secretCommand(),
			webhookCommand(),
			injectCommand(),
			explainCommand(),
			benchCommand(),
			verifyCommand(),
			drainCommand(force, args),
			configCommand(args),
			completionCommand(),
			manCommand(),
			versionCommand(),
		},
		Flags: []cli.Flag{cmdline.HelpFlag()},
	}
	for _, c := range app.Commands {
		prepare(c)
	}
	return app
}

// prepare gives a command and its subcommands what all of them share.
func prepare(c *cli.Command) {
	c.Flags = append(c.Flags, cmdline.HelpFlag())
	for _, sub := range c.Subcommands {
		prepare(sub)
	}
}
