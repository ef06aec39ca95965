package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"pannier/cmd/inject"
)

// wholeWords are the values of a flag that is said several times. Unlike those of a slice of
// strings they may have commas.
type wholeWords []string

func (w *wholeWords) Set(word string) error {
	*w = append(*w, word)
	return nil
}

func (w *wholeWords) String() string { return strings.Join(*w, " ") }

func injectCommand() *cli.Command {
	set := new(wholeWords)
	return &cli.Command{
		Name: "inject", Usage: "put sidecars into the pods of manifests that ask for one with the annotation pannier.io/inject",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "file", Aliases: []string{"f"}, Usage: "`FILE` of manifests in YAML or JSON, or - for stdin (required)"},
			&cli.StringFlag{Name: "image", EnvVars: []string{"PANNIER_IMAGE"}, Usage: "`IMAGE` of the sidecar, unless a pod says it"},
			&cli.StringFlag{Name: "control-plane", Value: inject.DefaultControlPlane, Usage: "`HOST:PORT` of the control plane, or none, unless a pod says it"},
			&cli.GenericFlag{Name: "set", Value: set, Usage: "`NAME=VALUE`, as if every pod had the annotation pannier.io/NAME, whatever it says itself (repeatable): " + strings.Join(inject.Names(), ", ")},
			&cli.BoolFlag{Name: "all", Usage: "every pod gets one, unless it says \"false\""},
		},
		Action: func(c *cli.Context) error { return injectManifests(c, *set) },
	}
}

func injectManifests(c *cli.Context, set []string) error {
	if _, err := exactArgs(c); err != nil {
		if c.NArg() == 1 {
			return usageError("inject takes no argument, got %s", c.Args().First()).withHint("pannier inject -f %s", c.Args().First())
		}
		return err
	}
	file := c.String("file")
	if file == "" {
		return usageError("inject needs --file FILE").withHint("kustomize build . | pannier inject -f - | kubectl apply -f -")
	}
	o, err := injectOptions(c, set)
	if err != nil {
		return err
	}
	stream, err := readArgument(c, file)
	if err != nil {
		return err
	}
	if file == "-" {
		file = "stdin"
	}
	out, outcomes, err := inject.Stream(file, stream, o)
	if err != nil {
		return &failure{
			exit: exitUsage, what: complaints(err), code: "inject",
			hint: plural(len(flat(err)), "error") + "; nothing was written",
		}
	}
	if _, err := c.App.Writer.Write(out); err != nil {
		return err
	}
	return tellOutcomes(c.App.ErrWriter, outcomes)
}

func injectOptions(c *cli.Context, set []string) (inject.Options, error) {
	o := inject.Options{
		All: c.Bool("all"), Image: c.String("image"), ControlPlane: c.String("control-plane"),
		Set: map[string]string{},
	}
	for _, word := range set {
		name, value, ok := strings.Cut(word, "=")
		if !ok {
			return o, usageError("--set %s has no value", word).withHint("--set NAME=VALUE, such as --set native=false")
		}
		o.Set[strings.TrimPrefix(name, inject.Prefix)] = value
	}
	if err := o.Validate(); err != nil {
		return o, usageError("--set %v", errors.Join(flat(err)...))
	}
	return o, nil
}

func tellOutcomes(w io.Writer, outcomes []inject.Outcome) error {
	for _, o := range outcomes {
		line := fmt.Sprintf("%s %q injected", o.Kind, printable(o.Name))
		if !o.Injected {
			line = fmt.Sprintf("%s %q skipped: %s", o.Kind, printable(o.Name), o.Why)
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	if len(outcomes) == 0 {
		_, err := fmt.Fprintln(w, "nothing here has pods: passed through as it is")
		return err
	}
	return nil
}
